//! Which batches were changed of late: told to the one who acts on it, and would otherwise have to look
//! through all that are open again and again.

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Mutex, PoisonError};

use super::Store;
use super::engine::{Op, Space};
use super::keys;
use crate::model::BatchId;

/// Where more are remembered than this, everything is to be looked at.
const REMEMBERED_MAX: usize = 10_000;

/// What was changed since it was asked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Nothing is remembered: the process has just begun, or nobody asked for long.
    Anything,
    /// The records of these, or what is ordered of them.
    Batches(BTreeSet<BatchId>),
}

/// What commits of this process changed.
#[derive(Debug)]
pub(super) struct Changes(Mutex<Changed>);

impl Default for Changes {
    fn default() -> Changes {
        Changes(Mutex::new(Changed::Anything))
    }
}

impl Changes {
    pub(super) fn note(&self, touched: &[BatchId]) {
        if touched.is_empty() {
            return;
        }
        let mut changed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Changed::Batches(batches) = &mut *changed {
            batches.extend(touched);
            if batches.len() > REMEMBERED_MAX {
                *changed = Changed::Anything;
            }
        }
    }
}

/// The batches whose record or orders a commit changes.
pub(super) fn touched(ops: &[Op]) -> Vec<BatchId> {
    let told = ops.iter().filter_map(|op| match op {
        Op::Put(Space::Batches | Space::Orders, key, _) => keys::batch_of(key),
        _ => None,
    });
    told.collect()
}

impl Store {
    /// Which batches were changed since this was asked last; the first time, any may have been. It is told
    /// once, to one who asks.
    pub fn changed(&self) -> Changed {
        let mut changed = self.changes.0.lock().unwrap_or_else(PoisonError::into_inner);
        mem::replace(&mut *changed, Changed::Batches(BTreeSet::new()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{at, chunk, claimed};
    use super::*;
    use crate::batch::BatchEvent;
    use crate::model::ControlOp;
    use crate::store::{Acceptance, Commands, SimulatedDisk};

    #[test]
    fn a_batch_is_told_of_when_it_runs_and_when_something_is_asked_of_it() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        assert_eq!(store.changed(), Changed::Anything);
        let only = |id| Changed::Batches(BTreeSet::from([id]));
        let nothing = Changed::Batches(BTreeSet::new());
        let record = store.open_batch(claimed(7)).unwrap();
        assert_eq!(store.changed(), only(record.id));
        store.put_chunks(record.id, &[chunk(0, Some(at(5)))]).unwrap();
        assert_eq!(store.changed(), nothing);
        let accepted = BatchEvent::FileAccepted;
        let record = store.conclude(record, accepted, &Acceptance::default()).unwrap();
        assert_eq!(store.changed(), only(record.id), "whoever holds the store");
        assert_eq!(store.changed(), nothing);
        let mut commands = Commands::new("operator".to_owned(), at(6));
        let paused = store.command(&mut commands, ControlOp::Pause, record.id, None).unwrap();
        assert!(paused.is_ok());
        assert_eq!(store.changed(), nothing, "it is not written yet");
        store.carry_out(&commands).unwrap();
        assert_eq!(store.changed(), only(record.id));
    }

    #[test]
    fn who_does_not_ask_for_long_is_told_to_look_at_everything() {
        let changes = Changes(Mutex::new(Changed::Batches(BTreeSet::new())));
        let ids: Vec<BatchId> = (0..=REMEMBERED_MAX as u64).map(BatchId::from_u64).collect();
        changes.note(&ids[1..]);
        assert!(
            matches!(&*changes.0.lock().unwrap(), Changed::Batches(all) if all.len() == 10_000)
        );
        changes.note(&ids[..1]);
        assert_eq!(*changes.0.lock().unwrap(), Changed::Anything);
        changes.note(&ids[..1]);
        assert_eq!(*changes.0.lock().unwrap(), Changed::Anything);
    }
}

//! Operations on batches: decided one after the other, written in one commit.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;

use super::Store;
use super::engine::{Expect, Op, Space, StoreError};
use super::keys;
use super::open::listing;
use super::orders::{OrderAct, OrderRecord};
use super::records::{BatchRecord, ChunkRecord, RECORD_VERSION, decode, encode};
use crate::batch::decide_retry;
use crate::batch::{BatchEvent, BatchState, Effect, Publication, Standing, Unfit, apply, decide};
use crate::codes::ReasonCode;
use crate::model::{BatchId, ControlOp};

/// What somebody asks of some batches, so far as it was decided. Nothing of it is written yet.
#[derive(Debug, Clone)]
pub struct Commands {
    /// Who asks, as the orders keep it.
    by: String,
    at: Timestamp,
    /// Why this program itself asks.
    because: Option<ReasonCode>,
    touched: BTreeMap<BatchId, Touched>,
}

/// One batch as it was, as it is to be, and what goes with it.
#[derive(Debug, Clone)]
struct Touched {
    before: Vec<u8>,
    record: BatchRecord,
    /// Where the batch will stand once its hold is ended, which the caller does.
    ends_as: Option<BatchState>,
    ops: Vec<Op>,
    /// Rows of it ended failed, expired or unknown; none as long as nobody asked.
    resendable: Option<bool>,
}

impl Commands {
    pub fn new(by: String, at: Timestamp) -> Commands {
        Commands { by, at, because: None, touched: BTreeMap::new() }
    }

    /// What this program itself asks, and why.
    pub fn because(code: ReasonCode, at: Timestamp) -> Commands {
        Commands { because: Some(code), ..Commands::new("dropchute".to_owned(), at) }
    }

    /// Changes that the commit will hold.
    pub fn len(&self) -> usize {
        self.changed().map(|touched| touched.ops.len() + 1).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn changed(&self) -> impl Iterator<Item = &Touched> {
        self.touched.values().filter(|touched| !touched.ops.is_empty())
    }

    pub(super) fn ops(&self) -> impl Iterator<Item = Op> + '_ {
        self.changed().flat_map(|touched| {
            let (key, value) = (keys::batch(touched.record.id), encode(&touched.record));
            touched.ops.iter().cloned().chain([Op::Put(Space::Batches, key, value)])
        })
    }

    pub(super) fn expected(&self) -> impl Iterator<Item = Expect> + '_ {
        self.changed().map(|touched| {
            let key = keys::batch(touched.record.id);
            Expect::Value(Space::Batches, key, touched.before.clone())
        })
    }
}

impl Touched {
    /// Where the batch stands; of its rows nothing is known.
    fn standing(&self) -> Standing {
        let record = &self.record;
        Standing {
            state: self.ends_as.unwrap_or(record.state),
            paused: record.control.paused,
            cancelled: record.control.cancelled,
            reopened: record.control.reopened_at.is_some(),
            was_held: record.hold.is_some(),
            resendable: false,
        }
    }

    /// Orders dispatch to do something, or only to look at the record again.
    fn order(&mut self, act: OrderAct, row: Option<u64>, by: &str, at: Timestamp) {
        self.record.control.orders += 1;
        let number = self.record.control.orders;
        let by = by.to_owned();
        let order = OrderRecord { number, act, row, next_chunk: 0, changed: 0, at, by };
        let key = keys::numbered(self.record.id, number);
        self.ops.push(Op::Put(Space::Orders, key, encode(&order)));
    }

    /// Orders an answer; by its moment it is told from one that is being written.
    fn publish(&mut self, publication: Publication, at: Timestamp) {
        let key = keys::publication(self.record.id, publication);
        let mut value = vec![RECORD_VERSION];
        value.extend(at.as_millisecond().to_be_bytes());
        self.ops.push(Op::Put(Space::Publications, key, value));
    }
}

/// The answers that are written when nothing is left to send.
const LATE: [Publication; 3] = [Publication::Result, Publication::Final, Publication::Summary];

impl Store {
    /// Decides an operation on a batch, or on one row of it, after those that were decided before.
    /// What `Release` and `RefuseHeld` stand for is left to the caller.
    pub fn command(
        &self,
        commands: &mut Commands,
        op: ControlOp,
        batch: BatchId,
        row: Option<u64>,
    ) -> Result<Result<Effect, Unfit>, StoreError> {
        let because = commands.because;
        let (touched, by, at) = self.touch(commands, batch)?;
        let standing = self.standing(touched, op)?;
        let effect = match decide(op, row.is_some(), &standing) {
            Ok(effect) => effect,
            Err(unfit) => return Ok(Err(unfit)),
        };
        match effect {
            Effect::Nothing => {}
            Effect::Release => touched.ends_as = Some(BatchState::Released),
            Effect::RefuseHeld => touched.ends_as = Some(BatchState::Refused),
            Effect::Pause | Effect::Resume => {
                touched.record.control.paused = effect == Effect::Pause;
                touched.record.control.paused_for = because.filter(|_| effect == Effect::Pause);
                touched.order(OrderAct::Look, None, &by, at);
            }
            Effect::Cancel => {
                touched.record.control.cancelled |= row.is_none();
                touched.order(OrderAct::Cancel, row, &by, at);
            }
            Effect::Reopen => {
                reopen(touched, at)?;
                touched.record.control.resends += 1;
                touched.order(OrderAct::Resend, row, &by, at);
            }
            Effect::Resend => {
                // A cancel that came before holds no longer, and rows have their time from now on.
                touched.record.control.cancelled = false;
                touched.record.control.reopened_at = Some(at);
                touched.record.control.resends += 1;
                touched.order(OrderAct::Resend, row, &by, at);
            }
            Effect::Retry => touched.order(OrderAct::Retry, row, &by, at),
            Effect::Report => report(touched, at),
        }
        Ok(Ok(effect))
    }

    /// Decides that the rows of a batch are tried now which wait for their next try.
    pub fn retry(
        &self,
        commands: &mut Commands,
        batch: BatchId,
    ) -> Result<Result<Effect, Unfit>, StoreError> {
        let (touched, by, at) = self.touch(commands, batch)?;
        let decided = decide_retry(&touched.standing());
        if decided.is_ok() {
            touched.order(OrderAct::Retry, None, &by, at);
        }
        Ok(decided)
    }

    /// A batch as the commands leave it so far, who asks, and when.
    fn touch<'c>(
        &self,
        commands: &'c mut Commands,
        batch: BatchId,
    ) -> Result<(&'c mut Touched, String, Timestamp), StoreError> {
        let (by, at) = (commands.by.clone(), commands.at);
        let touched = match commands.touched.entry(batch) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => {
                let before = self.engine.get(Space::Batches, &keys::batch(batch))?;
                let before = before.ok_or(StoreError::Conflict)?;
                let record: BatchRecord = decode("batches", &before)?;
                place.insert(Touched {
                    before,
                    record,
                    ends_as: None,
                    ops: Vec::new(),
                    resendable: None,
                })
            }
        };
        Ok((touched, by, at))
    }

    /// Writes what was decided. `Conflict` where a batch changed meanwhile: decide anew.
    pub fn carry_out(&self, commands: &Commands) -> Result<(), StoreError> {
        if commands.is_empty() {
            return Ok(());
        }
        self.commit(commands.ops().collect(), commands.expected().collect())
    }

    /// True where nothing that the commands were decided on has changed.
    pub(super) fn still_holds(&self, commands: &Commands) -> Result<bool, StoreError> {
        for touched in commands.changed() {
            let key = keys::batch(touched.record.id);
            if self.engine.get(Space::Batches, &key)?.as_ref() != Some(&touched.before) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn standing(&self, touched: &mut Touched, op: ControlOp) -> Result<Standing, StoreError> {
        let record = &touched.record;
        let asks_rows = op == ControlOp::Resend
            && matches!(record.state, BatchState::Closed | BatchState::Running);
        if asks_rows && touched.resendable.is_none() {
            touched.resendable = Some(self.has_resendable(record.id)?);
        }
        let resendable = asks_rows && touched.resendable == Some(true);
        Ok(Standing { resendable, ..touched.standing() })
    }

    /// True where a row of the batch ended failed, expired or unknown, or nobody counted them yet: who
    /// follows the order does.
    fn has_resendable(&self, batch: BatchId) -> Result<bool, StoreError> {
        let mut from = 0;
        loop {
            let page = self.chunks(batch, from, 500)?;
            let Some(last) = page.last() else { return Ok(false) };
            from = last.number + 1;
            if page.iter().any(ChunkRecord::may_be_resendable) {
                return Ok(true);
            }
        }
    }
}

/// The batch runs again: answers about its end that are not written yet are not written any more,
/// those that are go to the archive.
fn reopen(touched: &mut Touched, at: Timestamp) -> Result<(), StoreError> {
    let (state, publications) =
        apply(touched.record.state, BatchEvent::Reopened).map_err(|_| StoreError::Conflict)?;
    let record = &mut touched.record;
    record.state = state;
    record.closed_at = None;
    record.control.reopened_at = Some(at);
    record.control.cancelled = false;
    record.control.wholly_cancelled = false;
    record.control.paused = false;
    record.control.paused_for = None;
    for late in LATE {
        let key = keys::publication(record.id, late);
        touched.ops.push(Op::Delete(Space::Publications, key));
    }
    publications.iter().for_each(|publication| touched.publish(*publication, at));
    touched.ops.push(listing(&touched.record));
    Ok(())
}

fn report(touched: &mut Touched, at: Timestamp) {
    touched.record.control.reported = true;
    for publication in [Publication::Errors, Publication::Rejected, Publication::Ack] {
        touched.publish(publication, at);
    }
    if touched.record.is_rehearsed() {
        touched.publish(Publication::Rendered, at);
    }
    if touched.record.state == BatchState::Closed {
        LATE.into_iter().for_each(|publication| touched.publish(publication, at));
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{at, chunk, claimed};
    use super::*;
    use crate::store::{Acceptance, ChunkRecord, SimulatedDisk};

    #[test]
    fn a_batch_that_many_rows_name_is_looked_through_once() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let record = store.open_batch(claimed(7)).unwrap();
        let failed = ChunkRecord { open: 0, resendable: Some(1), ..chunk(0, None) };
        store.put_chunks(record.id, std::slice::from_ref(&failed)).unwrap();
        let accepted = BatchEvent::FileAccepted;
        let record = store.conclude(record, accepted, &Acceptance::default()).unwrap();
        store.close_batch(record.id, at(9)).unwrap().unwrap();

        let mut commands = Commands::new("operator".to_owned(), at(10));
        let mut resend =
            |row| store.command(&mut commands, ControlOp::Resend, record.id, Some(row)).unwrap();
        assert_eq!(resend(1), Ok(Effect::Reopen));
        // Whoever looked now would find nothing.
        let counted = ChunkRecord { resendable: Some(0), ..failed };
        store.release_windows(record.id, &[], &failed, &counted).unwrap();
        assert_eq!(resend(2), Ok(Effect::Resend));
    }

    /// A closed batch of which a row failed, opened again, then wholly cancelled.
    fn cancelled_again(store: &Store, batch: u64) -> BatchRecord {
        let record = store.open_batch(claimed(batch)).unwrap();
        let failed = ChunkRecord { open: 0, resendable: Some(2), ..chunk(0, None) };
        store.put_chunks(record.id, &[failed]).unwrap();
        let accepted = BatchEvent::FileAccepted;
        let record = store.conclude(record, accepted, &Acceptance::default()).unwrap();
        store.close_batch(record.id, at(9)).unwrap().unwrap();
        assert_eq!(ask(store, ControlOp::Resend, record.id, Some(1)), Effect::Reopen);
        assert_eq!(ask(store, ControlOp::Cancel, record.id, None), Effect::Cancel);
        record
    }

    fn ask(store: &Store, op: ControlOp, batch: BatchId, row: Option<u64>) -> Effect {
        let mut commands = Commands::new("operator".to_owned(), at(10));
        let effect = store.command(&mut commands, op, batch, row).unwrap().unwrap();
        store.carry_out(&commands).unwrap();
        effect
    }

    #[test]
    fn what_is_resent_after_a_cancel_can_be_cancelled_again() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let record = cancelled_again(&store, 7);
        assert_eq!(ask(&store, ControlOp::Cancel, record.id, None), Effect::Nothing);
        assert_eq!(ask(&store, ControlOp::Resend, record.id, Some(2)), Effect::Resend);
        assert_eq!(ask(&store, ControlOp::Cancel, record.id, None), Effect::Cancel);
    }

    #[test]
    fn however_many_orders_a_batch_has_they_hide_no_others() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let many = cancelled_again(&store, 7);
        (1..300).for_each(|row| {
            ask(&store, ControlOp::Resend, many.id, Some(row));
        });
        let other = cancelled_again(&store, 8);
        let next: Vec<BatchId> = store.next_orders().unwrap().iter().map(|(id, _)| *id).collect();
        assert_eq!(next, [many.id, other.id]);
    }

    #[test]
    fn an_answer_that_is_asked_for_again_while_it_is_written_is_written_again() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let record = cancelled_again(&store, 7);
        let ack = || store.ordered(record.id, Publication::Ack).unwrap();
        let first = ack().unwrap();
        assert_eq!(ask(&store, ControlOp::ResendReport, record.id, None), Effect::Report);
        store.published(&first).unwrap();
        let again = ack().unwrap();
        store.published(&again).unwrap();
        assert!(ack().is_none());
    }
}

//! What the operator has stopped: tenants whose messages wait, providers that get nothing new.
//!
//! The end of a halt has two commits: from the first on it holds no more, and after the second every batch
//! that waited for it is ordered to look again. A crash in between leaves the record, and the next start
//! gives the orders.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Expect, KeyValue, Op, Space, StoreError, after_prefix};
use super::keys;
use super::orders::{OrderAct, OrderRecord};
use super::records::{BatchRecord, decode, encode};
use crate::batch::BatchState;
use crate::model::TenantId;

/// Keys of tenants begin so, those of providers with the other.
const TENANT: u8 = b't';
const PROVIDER: u8 = b'p';
/// Batches that are told in one commit to look again.
const TOLD_AT_ONCE: usize = 100;

/// What is stopped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Halted {
    Tenant(TenantId),
    Provider(String),
}

/// Since when, by whom and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltRecord {
    pub at: Timestamp,
    /// Who asked for it.
    pub by: String,
    /// Why, in the words of who asked; empty where they gave none.
    pub reason: String,
    /// It holds no more, and batches that waited for its end are being told.
    #[serde(default)]
    pub ended: bool,
}

impl Store {
    /// Every halt, those whose end is not told yet among them.
    pub fn halts(&self) -> Result<Vec<(Halted, HaltRecord)>, StoreError> {
        let all = self.engine.scan(Space::Halts, &[], &after_prefix(&[]), usize::MAX)?;
        let read = |(key, value): KeyValue| Ok((halted_of(&key)?, decode("halts", &value)?));
        all.into_iter().map(read).collect()
    }

    /// Stops something. False where it is stopped already: who did it first stays on record.
    pub fn halt(&self, what: &Halted, record: &HaltRecord) -> Result<bool, StoreError> {
        self.halt_over(what, record, "")
    }

    /// The same, where what `whose` did gives way.
    pub fn halt_over(
        &self,
        what: &Halted,
        record: &HaltRecord,
        whose: &str,
    ) -> Result<bool, StoreError> {
        let key = key(what);
        loop {
            let before = self.engine.get(Space::Halts, &key)?;
            let earlier: Option<HaltRecord> =
                before.as_ref().map(|bytes| decode("halts", bytes)).transpose()?;
            if earlier.is_some_and(|earlier| !earlier.ended && earlier.by != whose) {
                return Ok(false);
            }
            let put = Op::Put(Space::Halts, key.clone(), encode(record));
            match self.commit(vec![put], vec![expect(&key, before)]) {
                Err(StoreError::Conflict) => {}
                result => return result.map(|()| true),
            }
        }
    }

    /// Ends a halt: it holds no more. False where there is none.
    pub fn end_halt(&self, what: &Halted) -> Result<bool, StoreError> {
        let key = key(what);
        loop {
            let Some(before) = self.engine.get(Space::Halts, &key)? else { return Ok(false) };
            let record: HaltRecord = decode("halts", &before)?;
            if record.ended {
                return Ok(false);
            }
            let ended = encode(&HaltRecord { ended: true, ..record });
            let put = Op::Put(Space::Halts, key.clone(), ended);
            match self.commit(vec![put], vec![expect(&key, Some(before))]) {
                Err(StoreError::Conflict) => {}
                result => return result.map(|()| true),
            }
        }
    }

    /// Tells every running batch that may have waited for it that a halt has ended, then forgets it.
    /// Returns how many were told. Nudge dispatch afterwards.
    pub fn tell_end_of_halt(
        &self,
        what: &Halted,
        by: &str,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        let concerned = |record: &BatchRecord| match what {
            Halted::Tenant(tenant) => record.tenant == *tenant,
            Halted::Provider(_) => !record.realm().is_test(),
        };
        let mut waiting = self.open_batches()?;
        waiting.retain(|record| record.state == BatchState::Running && concerned(record));
        let told = self.tell(&waiting, by, at)?;
        self.forget_halt(what)?;
        Ok(told)
    }

    /// Tells every running batch that it is to be looked at again, whatever it waits for. Returns how many were told.
    pub fn look_at_all(&self, by: &str, at: Timestamp) -> Result<usize, StoreError> {
        let mut running = self.open_batches()?;
        running.retain(|record| record.state == BatchState::Running);
        self.tell(&running, by, at)
    }

    fn tell(&self, batches: &[BatchRecord], by: &str, at: Timestamp) -> Result<usize, StoreError> {
        let mut told = 0;
        for some in batches.chunks(TOLD_AT_ONCE) {
            match self.look_again(some, by, at) {
                Ok(count) => told += count,
                // One of them changed meanwhile: each is asked for itself.
                Err(StoreError::Conflict) => {
                    for record in some {
                        told += self.look_again_surely(record, by, at)?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(told)
    }

    fn look_again_surely(
        &self,
        record: &BatchRecord,
        by: &str,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        loop {
            match self.look_again(std::slice::from_ref(record), by, at) {
                Err(StoreError::Conflict) => {}
                result => return result,
            }
        }
    }

    fn look_again(
        &self,
        batches: &[BatchRecord],
        by: &str,
        at: Timestamp,
    ) -> Result<usize, StoreError> {
        let (mut ops, mut expected) = (Vec::new(), Vec::new());
        for batch in batches {
            let key = keys::batch(batch.id);
            let before = self.engine.get(Space::Batches, &key)?.ok_or(StoreError::Conflict)?;
            let mut record: BatchRecord = decode("batches", &before)?;
            if record.state != BatchState::Running {
                continue;
            }
            record.control.orders += 1;
            let number = record.control.orders;
            let (act, by) = (OrderAct::Look, by.to_owned());
            let order = OrderRecord { number, act, row: None, next_chunk: 0, changed: 0, at, by };
            ops.push(Op::Put(Space::Orders, keys::numbered(batch.id, number), encode(&order)));
            ops.push(Op::Put(Space::Batches, key.clone(), encode(&record)));
            expected.push(Expect::Value(Space::Batches, key, before));
        }
        if !ops.is_empty() {
            self.commit(ops, expected)?;
        }
        Ok(batches.len())
    }

    /// Forgets a halt that has ended, unless it was begun anew meanwhile.
    fn forget_halt(&self, what: &Halted) -> Result<(), StoreError> {
        let key = key(what);
        let Some(before) = self.engine.get(Space::Halts, &key)? else { return Ok(()) };
        if !decode::<HaltRecord>("halts", &before)?.ended {
            return Ok(());
        }
        let delete = Op::Delete(Space::Halts, key.clone());
        match self.commit(vec![delete], vec![expect(&key, Some(before))]) {
            Err(StoreError::Conflict) => Ok(()),
            result => result,
        }
    }
}

fn expect(key: &[u8], found: Option<Vec<u8>>) -> Expect {
    match found {
        Some(bytes) => Expect::Value(Space::Halts, key.to_vec(), bytes),
        None => Expect::Absent(Space::Halts, key.to_vec()),
    }
}

fn key(what: &Halted) -> Vec<u8> {
    let (of, name) = match what {
        Halted::Tenant(tenant) => (TENANT, tenant.as_str()),
        Halted::Provider(provider) => (PROVIDER, provider.as_str()),
    };
    [&[of], name.as_bytes()].concat()
}

fn halted_of(key: &[u8]) -> Result<Halted, StoreError> {
    let damaged = || StoreError::Damaged { space: "halts" };
    let (of, name) = key.split_first().ok_or_else(damaged)?;
    let name = std::str::from_utf8(name).map_err(|_| damaged())?;
    match *of {
        TENANT => Ok(Halted::Tenant(name.parse().map_err(|_| damaged())?)),
        PROVIDER => Ok(Halted::Provider(name.to_owned())),
        _ => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{at, chunk, claimed};
    use super::*;
    use crate::batch::BatchEvent;
    use crate::store::{Acceptance, SimulatedDisk};

    fn record(seconds: i64) -> HaltRecord {
        let (by, reason) = ("operator:ann".to_owned(), String::new());
        HaltRecord { at: at(seconds), by, reason, ended: false }
    }

    #[test]
    fn a_halt_outlives_a_restart_and_belongs_to_who_began_it() {
        let disk = SimulatedDisk::default();
        let tenant = Halted::Tenant("acme".parse().unwrap());
        let provider = Halted::Provider("acme".to_owned());
        let store = Store::simulated(&disk).unwrap();
        assert!(store.halt(&tenant, &record(1)).unwrap());
        assert!(store.halt(&provider, &record(2)).unwrap());
        assert!(!store.halt(&tenant, &record(3)).unwrap(), "it is halted already");
        let store = Store::simulated(&disk).unwrap();
        let expected = [(provider, record(2)), (tenant.clone(), record(1))];
        assert_eq!(store.halts().unwrap(), expected);
        assert!(store.end_halt(&tenant).unwrap());
        assert!(!store.end_halt(&tenant).unwrap(), "it has ended already");
    }

    #[test]
    fn the_end_of_a_halt_is_told_to_every_batch_though_a_crash_comes_between() {
        let disk = SimulatedDisk::default();
        let store = Store::simulated(&disk).unwrap();
        let acme = Halted::Tenant("acme".parse().unwrap());
        for (id, tenant) in [(7, "acme"), (8, "acme"), (9, "other")] {
            let batch = BatchRecord { tenant: tenant.parse().unwrap(), ..claimed(id) };
            let record = store.open_batch(batch).unwrap();
            store.put_chunks(record.id, &[chunk(0, Some(at(9)))]).unwrap();
            store.conclude(record, BatchEvent::FileAccepted, &Acceptance::default()).unwrap();
        }
        store.halt(&acme, &record(1)).unwrap();
        store.end_halt(&acme).unwrap();
        drop(store);
        let store = Store::simulated(&disk).unwrap();
        assert!(store.halts().unwrap()[0].1.ended, "the next start knows that it must be told");
        assert_eq!(store.tell_end_of_halt(&acme, "operator:ann", at(2)).unwrap(), 2);
        assert_eq!(store.halts().unwrap(), []);
        let told: Vec<u64> =
            store.next_orders().unwrap().into_iter().map(|(batch, _)| batch.as_u64()).collect();
        assert_eq!(told, [7, 8]);
    }

    #[test]
    fn a_halt_that_is_begun_anew_while_its_end_is_told_stays() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let provider = Halted::Provider("mail".to_owned());
        store.halt(&provider, &record(1)).unwrap();
        store.end_halt(&provider).unwrap();
        assert!(store.halt(&provider, &record(5)).unwrap());
        store.tell_end_of_halt(&provider, "operator", at(6)).unwrap();
        assert_eq!(store.halts().unwrap(), [(provider, record(5))]);
    }
}

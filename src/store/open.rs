//! Batches that are being read or sent, listed: found without walking over all that have ended.

use super::Store;
use super::engine::{Op, Space, StoreError, after_prefix};
use super::keys;
use super::records::{BatchRecord, RECORD_VERSION};
use crate::model::BatchId;

/// Listed batches read at a time.
const PAGE: usize = 256;
/// Says in `Meta` that the list is whole: stores of the first version have none.
const WHOLE: &[u8] = b"open_listed";

impl Store {
    /// Every batch that is being read, or has rows to send; oldest first.
    pub fn open_batches(&self) -> Result<Vec<BatchRecord>, StoreError> {
        let mut found = self.listed(Space::Open)?;
        // One that ended while the page was read is over.
        found.retain(|record| record.state.is_open());
        Ok(found)
    }

    /// The ids of these, and of some that ended just now.
    pub fn open_ids(&self) -> Result<Vec<BatchId>, StoreError> {
        let (mut from, mut ids) = (Vec::new(), Vec::new());
        loop {
            let page = self.engine.scan(Space::Open, &from, &after_prefix(&[]), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(ids) };
            from = last.clone();
            from.push(0);
            for (key, _) in &page {
                ids.push(keys::batch_of(key).ok_or(StoreError::Damaged { space: "open" })?);
            }
        }
    }

    /// The batches that a list names, oldest first.
    pub(super) fn listed(&self, list: Space) -> Result<Vec<BatchRecord>, StoreError> {
        let (mut from, mut found) = (Vec::new(), Vec::new());
        loop {
            let page = self.engine.scan(list, &from, &after_prefix(&[]), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            from = last.clone();
            from.push(0);
            for (key, _) in &page {
                let damaged = StoreError::Damaged { space: list.as_str() };
                found.extend(self.batch(keys::batch_of(key).ok_or(damaged)?)?);
            }
        }
    }

    /// Lists what is open, where an earlier version did not.
    pub(super) fn list_open_once(&self) -> Result<(), StoreError> {
        match self.engine.get(Space::Meta, WHOLE)? {
            Some(_) => Ok(()),
            None => self.list_open(),
        }
    }

    /// Walks over all batches and lists those that are open. After a crash it begins anew.
    pub(super) fn list_open(&self) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let page = self.batches(after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            let open = page.iter().filter(|record| record.state.is_open());
            let ops: Vec<Op> = open.map(listing).collect();
            if !ops.is_empty() {
                self.commit(ops, Vec::new())?;
            }
        }
        self.commit(vec![lists_open()], Vec::new())
    }
}

/// Lists a batch, or strikes it from the list.
pub(super) fn listing(record: &BatchRecord) -> Op {
    let key = keys::batch(record.id);
    match record.state.is_open() {
        true => Op::Put(Space::Open, key, vec![RECORD_VERSION]),
        false => Op::Delete(Space::Open, key),
    }
}

/// From here on the list is whole.
pub(super) fn lists_open() -> Op {
    Op::Put(Space::Meta, WHOLE.to_vec(), vec![RECORD_VERSION])
}

//! What dispatch was ordered to do with the rows of open batches, and how far it is.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Expect, Op, Space, StoreError, after_prefix};
use super::intake::order_of;
use super::keys;
use super::open::listing;
use super::records::{BatchRecord, ChunkRecord, act_text, decode, encode};
use crate::batch::{BatchEvent, BatchState, Publication, apply};
use crate::model::BatchId;

/// What an order asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderAct {
    /// Look at the batch's record again: it was paused or resumed.
    Look,
    /// Rows that were not attempted end `cancelled`.
    Cancel,
    /// Rows that ended failed, expired or unknown are open again.
    Resend,
    /// Rows that wait for their next try are due.
    Retry,
}

impl OrderAct {
    pub(super) const ALL: [OrderAct; 4] =
        [OrderAct::Look, OrderAct::Cancel, OrderAct::Resend, OrderAct::Retry];

    pub const fn as_str(self) -> &'static str {
        match self {
            OrderAct::Look => "look",
            OrderAct::Cancel => "cancel",
            OrderAct::Resend => "resend",
            OrderAct::Retry => "retry",
        }
    }
}

/// One order; the orders of a batch are followed one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    #[serde(skip)]
    pub number: u32,
    #[serde(with = "act_text")]
    pub act: OrderAct,
    /// The one row it is about; none for all.
    pub row: Option<u64>,
    /// Chunks before this one are done.
    pub next_chunk: u32,
    /// Rows that it changed so far.
    pub changed: u64,
    pub at: Timestamp,
    /// Who asked for it.
    pub by: String,
}

impl Store {
    /// The next order of every batch that has one: however many a batch has, it hides no other's.
    pub fn next_orders(&self) -> Result<Vec<(BatchId, OrderRecord)>, StoreError> {
        let (mut from, mut orders) = (Vec::new(), Vec::new());
        loop {
            let next = self.orders_within(&from, &after_prefix(&[]), 1)?.pop();
            let Some((batch, order)) = next else { return Ok(orders) };
            from = after_prefix(&keys::batch(batch));
            orders.push((batch, order));
        }
    }

    /// The next order of a batch.
    pub fn next_order(&self, batch: BatchId) -> Result<Option<OrderRecord>, StoreError> {
        let prefix = keys::batch(batch);
        let found = self.orders_within(&prefix, &after_prefix(&prefix), 1)?;
        Ok(found.into_iter().next().map(|(_, order)| order))
    }

    fn orders_within(
        &self,
        from: &[u8],
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<(BatchId, OrderRecord)>, StoreError> {
        let damaged = || StoreError::Damaged { space: "orders" };
        let page = self.engine.scan(Space::Orders, from, until, limit)?;
        let read = |(key, bytes): &(Vec<u8>, Vec<u8>)| {
            let mut order: OrderRecord = decode("orders", bytes)?;
            order.number = keys::number_of(key).ok_or_else(damaged)?;
            Ok((keys::batch_of(key).ok_or_else(damaged)?, order))
        };
        page.iter().map(read).collect()
    }

    /// Stores what an order made of some chunks, whose rows' outcomes are synced, and how far it is. That is no
    /// order given: nobody need ask again what is ordered.
    pub fn advance_order(
        &self,
        batch: BatchId,
        order: &OrderRecord,
        chunks: &[(ChunkRecord, ChunkRecord)],
    ) -> Result<(), StoreError> {
        let key = keys::numbered(batch, order.number);
        let mut ops = vec![Op::Put(Space::Orders, key, encode(order))];
        let mut expected = Vec::new();
        for (before, after) in chunks {
            expected.push(self.replace_chunk(batch, before, after, &mut ops)?);
        }
        self.commit_untold(ops, expected)
    }

    /// Strikes an order that was followed, or that speaks to a batch that is over; returns the batch
    /// as it is now. A batch of which every accepted row was cancelled is remembered as such.
    pub fn end_order(
        &self,
        batch: BatchId,
        order: &OrderRecord,
    ) -> Result<BatchRecord, StoreError> {
        let key = keys::batch(batch);
        loop {
            let before = self.engine.get(Space::Batches, &key)?.ok_or(StoreError::Conflict)?;
            let mut record: BatchRecord = decode("batches", &before)?;
            let wholly = order.act == OrderAct::Cancel
                && record.control.reopened_at.is_none()
                && order.changed == record.facts.rows_accepted;
            record.control.wholly_cancelled |= wholly;
            if order.act == OrderAct::Resend {
                record.control.resent_rows += order.changed;
            }
            let ops = vec![
                Op::Delete(Space::Orders, keys::numbered(batch, order.number)),
                Op::Put(Space::Batches, key.clone(), encode(&record)),
            ];
            match self.commit(ops, vec![Expect::Value(Space::Batches, key.clone(), before)]) {
                Err(StoreError::Conflict) => {}
                result => return result.map(|()| record),
            }
        }
    }

    /// Closes a batch of which no row is open; `None` where something is left to do: a row, an order,
    /// or the earlier answers of a batch that was opened again.
    pub fn close_batch(
        &self,
        batch: BatchId,
        at: Timestamp,
    ) -> Result<Option<BatchRecord>, StoreError> {
        let key = keys::batch(batch);
        loop {
            let before = self.engine.get(Space::Batches, &key)?.ok_or(StoreError::Conflict)?;
            let mut record: BatchRecord = decode("batches", &before)?;
            if record.state != BatchState::Running {
                return Ok(Some(record));
            }
            let recall = keys::publication(batch, Publication::Recall);
            if !self.timers(batch, 1)?.is_empty()
                || self.next_order(batch)?.is_some()
                || self.engine.get(Space::Publications, &recall)?.is_some()
            {
                return Ok(None);
            }
            let (state, publications) =
                apply(record.state, BatchEvent::RowsSettled).map_err(|_| StoreError::Conflict)?;
            record.state = state;
            record.closed_at = Some(at);
            let mut ops: Vec<Op> =
                publications.iter().map(|publication| order_of(batch, *publication)).collect();
            ops.push(listing(&record));
            ops.push(Op::Put(Space::Batches, key.clone(), encode(&record)));
            match self.commit(ops, vec![Expect::Value(Space::Batches, key.clone(), before)]) {
                Err(StoreError::Conflict) => {}
                result => return result.map(|()| Some(record)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::conformance::{at, chunk, claimed};
    use super::*;
    use crate::model::ControlOp;
    use crate::store::{Acceptance, Changed, Commands, SimulatedDisk};

    #[test]
    fn only_who_gives_an_order_has_others_ask_for_it() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let record = store.open_batch(claimed(7)).unwrap();
        let record =
            store.conclude(record, BatchEvent::FileAccepted, &Acceptance::default()).unwrap();
        let before = ChunkRecord { open: 1, ..chunk(0, Some(at(9))) };
        store.put_chunks(record.id, std::slice::from_ref(&before)).unwrap();
        let given = store.orders_given();
        let mut commands = Commands::new("operator".to_owned(), at(10));
        store.command(&mut commands, ControlOp::Cancel, record.id, None).unwrap().unwrap();
        store.carry_out(&commands).unwrap();
        assert_ne!(store.orders_given(), given);
        let (given, _told) = (store.orders_given(), store.changed());
        let order = store.next_order(record.id).unwrap().unwrap();
        let followed = OrderRecord { next_chunk: 1, changed: 1, ..order };
        let after = ChunkRecord { open: 0, due: None, ..before };
        store.advance_order(record.id, &followed, &[(before, after)]).unwrap();
        assert_eq!(store.next_order(record.id).unwrap(), Some(followed));
        assert_eq!(store.orders_given(), given);
        assert_eq!(store.changed(), Changed::Batches(BTreeSet::new()));
    }
}

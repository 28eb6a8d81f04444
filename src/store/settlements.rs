//! What the operator says became of rows that ended unknown. It changes no published answer: it stands in
//! the stream of receipts, and a later `resend` goes by it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Expect, Op, Space, StoreError, after_prefix};
use super::keys;
use super::records::{BatchRecord, ChunkRecord, decode, encode, status_text};
use super::streams::StreamText;
use crate::batch::BatchState;
use crate::model::{BatchId, Status, Stream};

/// The operator's word on one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    #[serde(with = "status_text")]
    pub status: Status,
    /// When the row ended unknown: of a row that was sent again since, nothing is said.
    pub ended_at: Option<Timestamp>,
    pub at: Timestamp,
    /// Who says so.
    pub by: String,
    /// Why, in their words; empty where they gave none.
    pub reason: String,
}

impl Settlement {
    /// True where the row may be sent again: it did not arrive.
    pub fn is_resendable(&self) -> bool {
        self.status == Status::Failed
    }
}

/// A row that is settled, with its line in the stream of receipts.
#[derive(Debug, Clone)]
pub struct SettledRow {
    pub row: u64,
    pub settlement: Settlement,
    pub receipt: StreamText,
}

impl Store {
    /// The settlements of a batch, by row.
    pub fn settlements(&self, batch: BatchId) -> Result<BTreeMap<u64, Settlement>, StoreError> {
        let prefix = keys::batch(batch);
        let found =
            self.engine.scan(Space::Settlements, &prefix, &after_prefix(&prefix), usize::MAX)?;
        let damaged = || StoreError::Damaged { space: "settlements" };
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let row = key.get(8..).and_then(|row| row.try_into().ok()).ok_or_else(damaged)?;
            Ok((u64::from_be_bytes(row), decode("settlements", &value)?))
        };
        found.into_iter().map(read).collect()
    }

    /// Settles rows of one chunk, all or none; at most 200 together. `Conflict` where the batch is not closed
    /// (any more): its rows may be on the wire.
    pub fn settle(
        &self,
        batch: BatchId,
        chunk: u32,
        rows: &[SettledRow],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        loop {
            match self.settle_once(batch, chunk, rows, at) {
                // Somebody else said something in the stream, or settled in the same chunk.
                Err(StoreError::Conflict) if self.is_closed(batch)? => {}
                result => return result,
            }
        }
    }

    fn is_closed(&self, batch: BatchId) -> Result<bool, StoreError> {
        Ok(self.batch(batch)?.is_some_and(|record| record.state == BatchState::Closed))
    }

    fn settle_once(
        &self,
        batch: BatchId,
        chunk: u32,
        rows: &[SettledRow],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let before = self.engine.get(Space::Batches, &keys::batch(batch))?;
        let before = before.ok_or(StoreError::Conflict)?;
        let record: BatchRecord = decode("batches", &before)?;
        if record.state != BatchState::Closed {
            return Err(StoreError::Conflict);
        }
        let mut expected = vec![Expect::Value(Space::Batches, keys::batch(batch), before)];
        let mut ops = Vec::new();
        // What may be sent again is counted with its chunk.
        let key = keys::numbered(batch, chunk);
        let before = self.engine.get(Space::Chunks, &key)?.ok_or(StoreError::Conflict)?;
        let mut counted: ChunkRecord = decode("chunks", &before)?;
        let settled = self.settlements(batch)?;
        for SettledRow { row, settlement, .. } in rows {
            let earlier = settled.get(row).filter(|of| of.ended_at == settlement.ended_at);
            let was = earlier.is_none_or(Settlement::is_resendable);
            if let Some(resendable) = &mut counted.resendable {
                *resendable = (*resendable + u32::from(settlement.is_resendable()))
                    .saturating_sub(u32::from(was));
            }
            ops.push(Op::Put(Space::Settlements, key_of(batch, *row), encode(settlement)));
        }
        ops.push(Op::Put(Space::Chunks, key.clone(), encode(&counted)));
        expected.push(Expect::Value(Space::Chunks, key, before));
        let stream = Stream::receipts(record.realm());
        let lines = rows.iter().map(|row| &row.receipt);
        self.append_lines((&record.tenant, stream), lines, at, &mut ops, &mut expected)?;
        self.commit(ops, expected)
    }
}

/// `batch u64 | row u64`.
fn key_of(batch: BatchId, row: u64) -> Vec<u8> {
    [keys::batch(batch).as_slice(), &row.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{at, chunk, claimed};
    use super::*;
    use crate::batch::BatchEvent;
    use crate::model::ControlOp;
    use crate::store::{Acceptance, Commands, SimulatedDisk};

    fn settled(row: u64, status: Status) -> SettledRow {
        let (by, reason) = ("operator:ann".to_owned(), String::new());
        let settlement = Settlement { status, ended_at: Some(at(5)), at: at(20), by, reason };
        let receipt = StreamText { cells: vec![row.to_string()], x: Vec::new() };
        SettledRow { row, settlement, receipt }
    }

    #[test]
    fn what_is_settled_is_counted_said_once_and_only_while_the_batch_is_closed() {
        let disk = SimulatedDisk::default();
        let store = Store::simulated(&disk).unwrap();
        let record = store.open_batch(claimed(7)).unwrap();
        let unknown = ChunkRecord { open: 0, resendable: Some(2), ..chunk(0, None) };
        store.put_chunks(record.id, std::slice::from_ref(&unknown)).unwrap();
        let accepted = BatchEvent::FileAccepted;
        let record = store.conclude(record, accepted, &Acceptance::default()).unwrap();
        let settle = |rows: &[SettledRow]| store.settle(record.id, 0, rows, at(20));
        let rows = [settled(1, Status::Delivered)];
        assert_eq!(settle(&rows), Err(StoreError::Conflict), "it is still being sent");
        store.close_batch(record.id, at(9)).unwrap().unwrap();
        let resendable = || store.chunk(record.id, 0).unwrap().unwrap().resendable;
        for (row, status, left) in [
            (1, Status::Delivered, 1),
            (2, Status::Failed, 1),
            (2, Status::Sent, 0),
            (1, Status::Failed, 1),
            (1, Status::Delivered, 0),
        ] {
            settle(&[settled(row, status)]).unwrap();
            assert_eq!(resendable(), Some(left), "row {row} {status}");
        }
        let store = Store::simulated(&disk).unwrap();
        let found = store.settlements(record.id).unwrap();
        let said: Vec<_> = found.iter().map(|(row, of)| (*row, of.status)).collect();
        assert_eq!(said, [(1, Status::Delivered), (2, Status::Sent)]);
        let lines = store.stream_lines(&record.tenant, Stream::Receipts, 0, 99).unwrap();
        assert_eq!(lines.len(), 5);
        // Nothing is left to send again.
        let mut commands = Commands::new("operator".to_owned(), at(30));
        let resend = store.command(&mut commands, ControlOp::Resend, record.id, None).unwrap();
        assert!(resend.is_err());
    }
}

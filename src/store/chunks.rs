//! Chunks, their timers, and the windows claimed in them.

use jiff::Timestamp;

use super::Store;
use super::engine::{Expect, Op, Space, StoreError, after_prefix};
use super::keys;
use super::records::{ChunkRecord, RECORD_VERSION, WindowRecord, decode, encode};
use crate::model::BatchId;

/// Windows that end in one commit.
const WINDOWS_AT_ONCE: usize = 500;

impl Store {
    pub fn chunk(&self, batch: BatchId, number: u32) -> Result<Option<ChunkRecord>, StoreError> {
        let found = self.engine.get(Space::Chunks, &keys::numbered(batch, number))?;
        found.map(|bytes| chunk_of(number, &bytes)).transpose()
    }

    /// Up to `limit` chunks from number `from` on.
    pub fn chunks(
        &self,
        batch: BatchId,
        from: u32,
        limit: usize,
    ) -> Result<Vec<ChunkRecord>, StoreError> {
        let end = after_prefix(&keys::batch(batch));
        let page = self.engine.scan(Space::Chunks, &keys::numbered(batch, from), &end, limit)?;
        page.iter()
            .map(|(key, bytes)| {
                let number = keys::number_of(key).ok_or(StoreError::Damaged { space: "chunks" })?;
                chunk_of(number, bytes)
            })
            .collect()
    }

    /// The chunks of a batch that are due first: their numbers and times, at most `limit`.
    pub fn timers(
        &self,
        batch: BatchId,
        limit: usize,
    ) -> Result<Vec<(Timestamp, u32)>, StoreError> {
        let prefix = keys::batch(batch);
        let page = self.engine.scan(Space::Timers, &prefix, &after_prefix(&prefix), limit)?;
        page.iter()
            .map(|(key, _)| keys::timer_of(key).ok_or(StoreError::Damaged { space: "timers" }))
            .collect()
    }

    /// Every batch of which rows are claimed: after a start, where a crash left something.
    pub fn batches_with_windows(&self) -> Result<Vec<BatchId>, StoreError> {
        let (mut from, mut batches) = (Vec::new(), Vec::new());
        loop {
            let next = self.engine.scan(Space::Windows, &from, &after_prefix(&[]), 1)?;
            let Some((key, _)) = next.first() else { return Ok(batches) };
            let batch = keys::batch_of(key).ok_or(StoreError::Damaged { space: "windows" })?;
            batches.push(batch);
            from = after_prefix(&keys::batch(batch));
        }
    }

    /// Claims rows for sending: durable before the first byte of any of them leaves.
    pub fn claim_window(&self, batch: BatchId, window: &WindowRecord) -> Result<(), StoreError> {
        let key = keys::numbered(batch, window.number);
        let put = Op::Put(Space::Windows, key.clone(), encode(window));
        self.commit(vec![put], vec![Expect::Absent(Space::Windows, key)])
    }

    /// Ends windows whose outcomes are synced and stores what is left of their chunk.
    pub fn release_windows(
        &self,
        batch: BatchId,
        windows: &[u32],
        before: &ChunkRecord,
        after: &ChunkRecord,
    ) -> Result<(), StoreError> {
        let end = |number: &u32| Op::Delete(Space::Windows, keys::numbered(batch, *number));
        // Nothing of them is under way any more: those that find no room beside the chunk may end before it.
        let (first, last) = windows.split_at(windows.len().saturating_sub(WINDOWS_AT_ONCE));
        for windows in first.chunks(WINDOWS_AT_ONCE) {
            self.commit(windows.iter().map(end).collect(), Vec::new())?;
        }
        let mut ops: Vec<Op> = last.iter().map(end).collect();
        let expected = self.replace_chunk(batch, before, after, &mut ops)?;
        self.commit(ops, vec![expected])
    }

    /// Adds what puts a chunk and its timer into another's place; gives what the commit must find. That
    /// is what stands there, read anew: an earlier version wrote the same chunk with fewer fields.
    pub(super) fn replace_chunk(
        &self,
        batch: BatchId,
        before: &ChunkRecord,
        after: &ChunkRecord,
        ops: &mut Vec<Op>,
    ) -> Result<Expect, StoreError> {
        let key = keys::numbered(batch, before.number);
        let stored = self.engine.get(Space::Chunks, &key)?.ok_or(StoreError::Conflict)?;
        if chunk_of(before.number, &stored)? != *before {
            return Err(StoreError::Conflict);
        }
        ops.push(Op::Put(Space::Chunks, key.clone(), encode(after)));
        if before.due != after.due {
            let timer = |due| keys::timer(batch, due, before.number);
            ops.extend(before.due.map(|due| Op::Delete(Space::Timers, timer(due))));
            ops.extend(
                after.due.map(|due| Op::Put(Space::Timers, timer(due), vec![RECORD_VERSION])),
            );
        }
        Ok(Expect::Value(Space::Chunks, key, stored))
    }

    /// Up to where a batch's outcomes are known to be on the disk.
    pub fn outcomes_bytes(&self, batch: BatchId) -> Result<u64, StoreError> {
        let (mut most, mut from) = (0, 0);
        loop {
            let page = self.chunks(batch, from, 500)?;
            let Some(last) = page.last() else { return Ok(most) };
            from = last.number + 1;
            most = page.iter().fold(most, |most, chunk| most.max(chunk.outcomes_bytes));
        }
    }

    /// Windows that were claimed and not released: after a start, what a crash left.
    pub fn windows(&self, batch: BatchId) -> Result<Vec<WindowRecord>, StoreError> {
        let prefix = keys::batch(batch);
        let (mut from, mut windows) = (prefix.clone(), Vec::new());
        loop {
            let page = self.engine.scan(Space::Windows, &from, &after_prefix(&prefix), 500)?;
            let Some((last, _)) = page.last() else { return Ok(windows) };
            from = last.clone();
            from.push(0);
            for (key, bytes) in &page {
                let mut window: WindowRecord = decode("windows", bytes)?;
                window.number =
                    keys::number_of(key).ok_or(StoreError::Damaged { space: "windows" })?;
                windows.push(window);
            }
        }
    }
}

fn chunk_of(number: u32, bytes: &[u8]) -> Result<ChunkRecord, StoreError> {
    let mut chunk: ChunkRecord = decode("chunks", bytes)?;
    chunk.number = number;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{at, chunk, claimed};
    use super::*;
    use crate::store::SimulatedDisk;

    /// A slow provider makes windows of one row: a thousand and more of a chunk are more than a commit holds.
    #[test]
    fn any_number_of_windows_ends_with_their_chunk() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let record = store.open_batch(claimed(7)).unwrap();
        let before = ChunkRecord { open: 1, ..chunk(0, Some(at(9))) };
        store.put_chunks(record.id, std::slice::from_ref(&before)).unwrap();
        let numbers: Vec<u32> = (1..=1024).collect();
        for number in &numbers {
            let rows = vec![(number - 1, 1)];
            let boot_id = "b".to_owned();
            let window = WindowRecord { number: *number, chunk: 0, rows, boot_id };
            store.claim_window(record.id, &window).unwrap();
        }
        let after = ChunkRecord { open: 0, due: None, ..before };
        store.release_windows(record.id, &numbers, &before, &after).unwrap();
        assert!(store.windows(record.id).unwrap().is_empty());
        assert_eq!(store.chunk(record.id, 0).unwrap(), Some(after));
    }
}

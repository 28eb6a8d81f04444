//! What became of rows that earlier files had: the hint of a used `row_id` says so.

use std::collections::{HashMap, HashSet};

use crate::model::{BatchId, Status};
use crate::spool::{LogReader, OutcomeLog, Spool};
use crate::store::Store;

use super::OutboxError;

/// Earlier batches that are kept open at once.
const OPEN_MAX: usize = 32;

/// Looks up earlier rows; rows of one chunk cost one look.
pub(super) struct EarlierRows<'a> {
    store: &'a Store,
    spool: &'a Spool,
    open: HashMap<BatchId, EarlierBatch>,
}

struct EarlierBatch {
    name: String,
    chunks: u32,
    log: OutcomeLog,
    reader: Option<LogReader>,
    chunk: Option<EarlierChunk>,
}

/// The chunk looked at last.
struct EarlierChunk {
    first_row: u64,
    rows: u32,
    statuses: HashMap<u32, Status>,
}

impl<'a> EarlierRows<'a> {
    pub(super) fn new(store: &'a Store, spool: &'a Spool) -> EarlierRows<'a> {
        EarlierRows { store, spool, open: HashMap::new() }
    }

    /// `accepted before: row 7 of file a.csv (batch …), status sent`. The status is the one of now;
    /// it is left out where the outcomes are no longer kept.
    pub(super) fn describe(&mut self, batch: BatchId, row: u64) -> Result<String, OutboxError> {
        if !self.open.contains_key(&batch) {
            if self.open.len() >= OPEN_MAX {
                self.open.clear();
            }
            let Some(record) = self.store.batch(batch)? else {
                return Ok(format!("accepted before: row {row} of batch {batch}"));
            };
            let outcomes = self.spool.batch(batch).outcomes();
            let log = OutcomeLog::scan(&outcomes, &HashSet::new(), 0)?;
            let (name, chunks) = (record.name().to_owned(), record.chunks);
            let reader = LogReader::open_if_there(&outcomes)?;
            self.open.insert(batch, EarlierBatch { name, chunks, log, reader, chunk: None });
        }
        let earlier = self.open.get_mut(&batch).expect("opened above");
        let status = match earlier.status(self.store, batch, row)? {
            Some(status) => format!(", status {status}"),
            None => String::new(),
        };
        Ok(format!("accepted before: row {row} of file {} (batch {batch}){status}", earlier.name))
    }
}

impl EarlierBatch {
    fn status(
        &mut self,
        store: &Store,
        batch: BatchId,
        row: u64,
    ) -> Result<Option<Status>, OutboxError> {
        let holds =
            |c: &EarlierChunk| (c.first_row..c.first_row + u64::from(c.rows)).contains(&row);
        if !self.chunk.as_ref().is_some_and(holds) {
            self.chunk = self.find(store, batch, row)?;
        }
        let Some(chunk) = self.chunk.as_ref().filter(|chunk| holds(chunk)) else {
            return Ok(None);
        };
        let index = (row - chunk.first_row) as u32;
        Ok(Some(chunk.statuses.get(&index).copied().unwrap_or(Status::Accepted)))
    }

    /// Chunks follow each other without gaps: the last one that begins at or before the row.
    fn find(
        &self,
        store: &Store,
        batch: BatchId,
        row: u64,
    ) -> Result<Option<EarlierChunk>, OutboxError> {
        let (mut low, mut high) = (0, self.chunks);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match store.chunk(batch, middle)? {
                Some(chunk) if chunk.first_row <= row => low = middle,
                _ => high = middle,
            }
        }
        let Some(chunk) = store.chunk(batch, low)? else { return Ok(None) };
        let latest = match &self.reader {
            Some(reader) => self.log.latest(reader, chunk.number)?,
            None => HashMap::new(),
        };
        let statuses = latest.into_iter().map(|(index, row)| (index, row.status)).collect();
        Ok(Some(EarlierChunk { first_row: chunk.first_row, rows: chunk.rows, statuses }))
    }
}

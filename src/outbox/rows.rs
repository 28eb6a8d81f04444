//! A batch's rows for answers: chunk by chunk, so that memory does not grow with the file.

use std::path::Path;

use crate::model::BatchId;
use crate::spool::{BatchFolder, Chunk, LogReader, Position, RowHead};
use crate::store::{ChunkRecord, Store};

use super::OutboxError;

/// Chunk records read from the store at a time.
const PAGE: usize = 256;

/// The stored rows of one batch.
pub(super) struct BatchRows<'a> {
    store: &'a Store,
    batch: BatchId,
    /// `None` where the file was refused before its first row.
    rows: Option<LogReader>,
    duplicates: Option<LogReader>,
    head: RowHead,
}

impl<'a> BatchRows<'a> {
    pub(super) fn open(
        store: &'a Store,
        batch: BatchId,
        folder: &BatchFolder,
    ) -> Result<BatchRows<'a>, OutboxError> {
        let mut rows = open_log(&folder.rows())?;
        let (mut head, mut body) = (RowHead::default(), Vec::new());
        if let Some(log) = &mut rows
            && let Some((RowHead::KIND, _)) = log.next(&mut body)?
        {
            head = RowHead::from_bytes(&body).map_err(crate::spool::SpoolError::from)?;
        }
        let duplicates = open_log(&folder.duplicates())?;
        Ok(BatchRows { store, batch, rows, duplicates, head })
    }

    /// Names of the `x_*` columns.
    pub(super) fn x_columns(&self) -> &[String] {
        &self.head.x_columns
    }

    /// Up to a page of chunk records from number `from` on; empty behind the last.
    pub(super) fn records(&self, from: u32) -> Result<Vec<ChunkRecord>, OutboxError> {
        if self.rows.is_none() {
            return Ok(Vec::new());
        }
        Ok(self.store.chunks(self.batch, from, PAGE)?)
    }

    /// Every chunk record, in order.
    pub(super) fn each_record(
        &self,
        mut each: impl FnMut(&ChunkRecord) -> Result<(), OutboxError>,
    ) -> Result<(), OutboxError> {
        let mut from = 0;
        loop {
            let page = self.records(from)?;
            let Some(last) = page.last() else { return Ok(()) };
            from = last.number + 1;
            page.iter().try_for_each(&mut each)?;
        }
    }

    /// The rows of a chunk, with what turned out later laid over them.
    pub(super) fn read(&self, record: &ChunkRecord) -> Result<Chunk, OutboxError> {
        let rows = self.rows.as_ref().expect("chunks are only listed where there are rows");
        let marks = match (&self.duplicates, record.duplicates) {
            (Some(log), Some((offset, bytes))) => Some((log, Position { offset, bytes })),
            _ => None,
        };
        let position = Position { offset: record.offset, bytes: record.bytes };
        Ok(Chunk::read(rows, position, marks)?)
    }
}

/// A log that may not have been needed.
pub(super) fn open_log(path: &Path) -> Result<Option<LogReader>, OutboxError> {
    if path.exists() { Ok(Some(LogReader::open(path)?)) } else { Ok(None) }
}

//! A batch's rows for answers: chunk by chunk, so that memory does not grow with the file.

use crate::model::BatchId;
use crate::spool::{BatchFolder, Chunk, LogReader, Position, RowHead, SpoolError};
use crate::store::{ChunkRecord, Store};

use super::OutboxError;

/// Chunk records read from the store at a time.
const PAGE: usize = 256;

/// The stored rows of one batch.
pub(super) struct BatchRows<'a> {
    store: &'a Store,
    batch: BatchId,
    folder: BatchFolder,
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
        let mut rows = LogReader::open_if_there(&folder.rows())?;
        let (mut head, mut body) = (RowHead::default(), Vec::new());
        if let Some(log) = &mut rows
            && let Some((RowHead::KIND, _)) = log.next(&mut body)?
        {
            head = RowHead::from_bytes(&body).map_err(SpoolError::from)?;
        }
        let duplicates = LogReader::open_if_there(&folder.duplicates())?;
        Ok(BatchRows { store, batch, folder: folder.clone(), rows, duplicates, head })
    }

    /// Names of the `x_*` columns.
    pub(super) fn x_columns(&self) -> &[String] {
        &self.head.x_columns
    }

    /// Up to a page of chunk records from number `from` on; empty behind the last.
    pub(super) fn records(&self, from: u32) -> Result<Vec<ChunkRecord>, OutboxError> {
        let page = self.store.chunks(self.batch, from, PAGE)?;
        match self.rows.is_none() && !page.is_empty() {
            true => Err(SpoolError::Missing { path: self.folder.rows() }.into()),
            false => Ok(page),
        }
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
            (None, Some(_)) => {
                return Err(SpoolError::Missing { path: self.folder.duplicates() }.into());
            }
            (_, None) => None,
        };
        let position = Position { offset: record.offset, bytes: record.bytes };
        Ok(Chunk::read(rows, position, marks)?)
    }
}

//! Rows that turned out to be "same row again" once the whole file was known.
//!
//! A chunk's rows are written before that; what changes is kept beside them, one record a chunk.

use super::bytes::{Bytes, Undecodable, put_u64};
use super::log::{LogReader, Position, SpoolError};
use super::row::{RowState, StoredRow, chunk_rows};
use crate::codes::ReasonCode;
use crate::model::BatchId;

/// One accepted row that is a duplicate after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DuplicateMark {
    /// Position in the chunk, 0-based.
    pub index: u32,
    pub code: ReasonCode,
    /// The batch that has the first one; none where it stands in this file.
    pub batch: Option<BatchId>,
    /// The first one's data row.
    pub row: u64,
}

impl DuplicateMark {
    /// The kind byte of a record of marks.
    pub const KIND: u8 = b'D';

    pub fn encode(marks: &[DuplicateMark]) -> Vec<u8> {
        let mut out = Vec::with_capacity(marks.len() * 8);
        for mark in marks {
            put_u64(&mut out, u64::from(mark.index));
            put_u64(&mut out, u64::from(mark.code.index()));
            put_u64(&mut out, mark.batch.map_or(0, BatchId::as_u64));
            put_u64(&mut out, mark.row);
        }
        out
    }

    pub fn decode(body: &[u8]) -> Result<Vec<DuplicateMark>, Undecodable> {
        let (mut bytes, mut marks) = (Bytes(body), Vec::new());
        while !bytes.0.is_empty() {
            let index = u32::try_from(bytes.u64()?).map_err(|_| Undecodable)?;
            let code = u16::try_from(bytes.u64()?).map_err(|_| Undecodable)?;
            let code = ReasonCode::from_index(code).ok_or(Undecodable)?;
            let batch = match bytes.u64()? {
                0 => None,
                raw => Some(BatchId::from_u64(raw)),
            };
            marks.push(DuplicateMark { index, code, batch, row: bytes.u64()? });
        }
        Ok(marks)
    }
}

/// A chunk as it counts: its rows, with the marks laid over them.
#[derive(Debug)]
pub struct Chunk {
    body: Vec<u8>,
    marks: Vec<DuplicateMark>,
}

impl Chunk {
    /// Reads a chunk from the rows file and, where it has some, its marks from the duplicates file.
    pub fn read(
        rows: &LogReader,
        position: Position,
        duplicates: Option<(&LogReader, Position)>,
    ) -> Result<Chunk, SpoolError> {
        let marks = match duplicates {
            Some((log, at)) => DuplicateMark::decode(&log.read_at(at)?)?,
            None => Vec::new(),
        };
        Ok(Chunk { body: rows.read_at(position)?, marks })
    }

    /// The rows, in order; marked ones are duplicates.
    pub fn rows(&self) -> Result<Vec<StoredRow<'_>>, SpoolError> {
        let mut rows = chunk_rows(&self.body)?;
        for mark in &self.marks {
            let row = rows.get_mut(mark.index as usize).ok_or(Undecodable)?;
            row.state = RowState::Duplicate(mark.code);
        }
        Ok(rows)
    }

    pub fn marks(&self) -> &[DuplicateMark] {
        &self.marks
    }
}

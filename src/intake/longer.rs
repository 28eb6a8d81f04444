//! "The longer version of a cut file": its first rows were taken with the earlier version already.
//!
//! No file is kept for it: each batch stores the digest of all its records but the last, since the last
//! one may have been cut, and whether its last line was open. A newer file of the name is digested up to
//! the same row while it is read.

use jiff::SignedDuration;

use super::IntakeError;
use super::concluding::Desk;
use super::earlier::BatchRows;
use super::reading::{Pass, Reading};
use super::same_again::MarkSorter;
use crate::model::{BatchId, Proof};
use crate::spool::RowState;
use crate::store::BatchRecord;

/// How long a cut file's longer version is waited for.
const LONGER_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// The rows at a file's beginning that an earlier version of it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lead {
    pub(super) batch: BatchId,
    pub(super) rows: u64,
}

impl Lead {
    /// What the ACK says of it.
    pub(super) fn sentence(&self) -> String {
        let Lead { batch, rows } = self;
        format!(
            "a longer version of the file taken as batch {batch}: its first {rows} rows were there \
             already, only the rest is taken"
        )
    }
}

impl Desk {
    /// The earlier file of the name that this one may be the longer version of.
    pub(super) fn shorter_version(
        &self,
        record: &BatchRecord,
        now: jiff::Timestamp,
    ) -> Result<Option<BatchRecord>, IntakeError> {
        let earlier = self.store.name_accepted(record)?;
        Ok(earlier.filter(|earlier| {
            let may_be_cut = matches!(earlier.proof, Some(Proof::Close | Proof::Quiet));
            let is_young =
                earlier.validated_at.is_some_and(|at| now.duration_since(at) <= LONGER_WITHIN);
            // Of a file that was cancelled before its first message nothing was sent.
            let is_void = earlier.control.wholly_cancelled;
            may_be_cut && is_young && !is_void && !earlier.facts.lead_sha256.is_empty()
        }))
    }

    /// Marks the rows that the earlier version had and that were accepted there.
    pub(super) fn mark_lead(
        &self,
        pass: Pass<'_>,
        reading: &Reading,
        marks: &mut MarkSorter,
    ) -> Result<Option<Lead>, IntakeError> {
        let Some(earlier) = pass.shorter else { return Ok(None) };
        let rows = lead_rows(earlier, reading);
        if rows == 0 || reading.directives.allow_duplicate() {
            return Ok(None);
        }
        let own = BatchRows::own(pass.folder, reading.writer.chunks())?;
        let Some(before) = BatchRows::stored(self, earlier.id, earlier.chunks)? else {
            return Ok(None);
        };
        let is_accepted = |state: RowState| state == RowState::Accepted;
        let (mut row, mut marked) = (1, 0);
        let (mut here, mut there) = (own.chunk_with(1)?, before.chunk_with(1)?);
        // Both go through their chunks in order, the chunks of each ending where they do.
        while let (Some((here_at, here_chunk)), Some((there_at, there_chunk))) = (&here, &there)
            && row <= rows
        {
            let (here_rows, there_rows) = (here_chunk.rows()?, there_chunk.rows()?);
            let here_end = here_at.first_row + here_rows.len() as u64;
            let there_end = there_at.first_row + there_rows.len() as u64;
            let end = here_end.min(there_end).min(rows + 1);
            while row < end {
                let now = here_rows[(row - here_at.first_row) as usize].state;
                let then = there_rows[(row - there_at.first_row) as usize].state;
                if is_accepted(now) && is_accepted(then) {
                    marks.push(row, false, Some(earlier.id), row)?;
                    marked += 1;
                }
                row += 1;
            }
            if row == here_end {
                here = own.chunk_with(row)?;
            }
            if row == there_end {
                there = before.chunk_with(row)?;
            }
        }
        Ok((marked > 0).then_some(Lead { batch: earlier.id, rows }))
    }
}

/// How many rows at the beginning are those of the earlier version. Its last row counts only where the
/// two say the same there too, and more follows.
fn lead_rows(earlier: &BatchRecord, reading: &Reading) -> u64 {
    let (before, now) = (&earlier.facts, &reading.facts);
    let is = |digest: Option<[u8; 32]>, text: &str| digest.is_some_and(|d| hex::encode(d) == text);
    let (rows_before, rows) = (before.rows_total, now.rows);
    if rows > rows_before && is(now.watched_all, &before.records_sha256) {
        return rows_before;
    }
    // As many rows are more than before only where the last one may have been cut.
    let is_longer = rows > rows_before || (rows == rows_before && before.last_line_open);
    if is_longer && is(now.watched_lead, &before.lead_sha256) { rows_before - 1 } else { 0 }
}

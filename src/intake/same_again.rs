//! "Same row again": row ids used before, messages that stand in a file twice, and the rows of an
//! earlier, shorter version of the file.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::IntakeError;
use super::concluding::Desk;
use super::longer::Lead;
use super::reading::{Pass, Reading};
use super::row_memory::{UsedIds, scope_of};
use crate::codes::ReasonCode;
use crate::model::BatchId;
use crate::spool::{DuplicateMark, IdDigest, IdEntry, IdFile, IdSorter, SortedIds};
use crate::store::BatchRecord;

/// The digest of some texts, told apart by their lengths.
pub(super) fn digest_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> IdDigest {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let word =
        |at: usize| u64::from_be_bytes(digest[at..at + 8].try_into().expect("eight bytes are cut"));
    [word(0), word(8)]
}

/// What of a file was there before.
pub(super) struct SameRows {
    /// One mark for each accepted row that is a duplicate after all.
    pub(super) marks: MarkSorter,
    /// The scope of the new `row_id`s and how many stand in the batch's digest file.
    pub(super) row_ids: Option<(String, u64)>,
    /// The earlier version whose rows the file begins with.
    pub(super) lead: Option<Lead>,
}

impl Desk {
    /// Finds rows that are "the same again" and leaves the digest file of the new `row_id`s.
    pub(super) fn same_rows(
        &self,
        pass: Pass<'_>,
        record: &BatchRecord,
        reading: &mut Reading,
    ) -> Result<SameRows, IntakeError> {
        let scratch = |ending: &str| pass.folder.scratch().with_extension(ending);
        let mut marks = MarkSorter::new(scratch("marks"));
        reading.writer.end_chunk()?;
        let lead = self.mark_lead(pass, reading, &mut marks)?;
        let taken = || IdSorter::new(scratch("taken"));
        marks.push_repeats(std::mem::replace(&mut reading.messages, taken()), false)?;
        let ids = std::mem::replace(&mut reading.row_ids, taken());
        let mut row_ids = None;
        if let Some(scope) = scope_of(record.realm(), pass.profile).filter(|_| !ids.is_empty()) {
            let since = pass.now - pass.tenant.row_id_window;
            let (memory, oldest) = self.row_memory(&record.tenant, &scope, since)?;
            let path = self.spool.row_ids(&record.tenant, record.id, 0);
            let mut judge = UsedIds { memory, oldest, marks: &mut marks };
            let file = IdFile::create(&path, record.id, ids, &mut judge)?;
            row_ids = Some((scope, file.len()));
        } else {
            marks.push_repeats(ids, true)?;
        }
        let chunks = reading.writer.chunks();
        let marks = self.confirm(pass.folder, chunks, reading.dedupe, marks)?;
        Ok(SameRows { marks, row_ids, lead })
    }
}

/// Collects marks in any order and gives them back in the order of rows, with bounded memory.
#[derive(Debug)]
pub(super) struct MarkSorter {
    sorter: IdSorter,
}

/// Set in a mark's reference row where it is about a `row_id`.
const ABOUT_ID: u64 = 1 << 63;

impl MarkSorter {
    pub(super) fn new(scratch: PathBuf) -> MarkSorter {
        MarkSorter { sorter: IdSorter::new(scratch) }
    }

    /// Row `row` repeats row `first`, of an earlier batch or of this file.
    pub(super) fn push(
        &mut self,
        row: u64,
        about_id: bool,
        batch: Option<BatchId>,
        first: u64,
    ) -> Result<(), IntakeError> {
        let key = [row, batch.map_or(0, BatchId::as_u64)];
        let value = first | if about_id { ABOUT_ID } else { 0 };
        Ok(self.sorter.push(key, value)?)
    }

    /// Marks every entry whose digest stands before it.
    fn push_repeats(&mut self, ids: IdSorter, about_id: bool) -> Result<(), IntakeError> {
        let mut ids = ids.sorted()?;
        let mut first: Option<IdEntry> = None;
        while let Some((digest, row)) = ids.next_entry()? {
            match first {
                Some((same, earlier)) if same == digest => {
                    self.push(row, about_id, None, earlier)?;
                }
                _ => first = Some((digest, row)),
            }
        }
        Ok(())
    }

    pub(super) fn len(&self) -> u64 {
        self.sorter.len()
    }

    pub(super) fn sorted(self) -> Result<Marks, IntakeError> {
        let mut marks = Marks { sorted: self.sorter.sorted()?, head: None };
        marks.head = marks.read()?;
        Ok(marks)
    }
}

/// Marks in the order of rows.
#[derive(Debug)]
pub(super) struct Marks {
    sorted: SortedIds,
    head: Option<(u64, DuplicateMark)>,
}

impl Marks {
    /// The marks of the rows `first_row..first_row + rows`; chunks are asked for in order.
    pub(super) fn of_chunk(
        &mut self,
        first_row: u64,
        rows: u32,
    ) -> Result<Vec<DuplicateMark>, IntakeError> {
        let mut marks = Vec::new();
        while let Some((row, mark)) = self.head
            && row < first_row + u64::from(rows)
        {
            let index = (row - first_row) as u32;
            marks.push(DuplicateMark { index, ..mark });
            self.head = self.read()?;
        }
        Ok(marks)
    }

    fn read(&mut self) -> Result<Option<(u64, DuplicateMark)>, IntakeError> {
        let Some(([row, batch], value)) = self.sorted.next_entry()? else { return Ok(None) };
        let batch = Some(batch).filter(|raw| *raw != 0).map(BatchId::from_u64);
        let code =
            if value & ABOUT_ID != 0 { ReasonCode::RowIdUsed } else { ReasonCode::RowDuplicate };
        Ok(Some((row, DuplicateMark { index: 0, code, batch, row: value & !ABOUT_ID })))
    }
}

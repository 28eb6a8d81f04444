//! "Same row again": row ids used before, and messages that stand in a file twice.

use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::IntakeError;
use super::concluding::Desk;
use super::reading::{Pass, Reading};
use super::settings::RowIdScope;
use crate::codes::ReasonCode;
use crate::model::{BatchId, TenantId};
use crate::spool::{DuplicateMark, IdDigest, IdEntry, IdFile, IdJudge, IdSorter, SortedIds, Spool};
use crate::store::{BatchRecord, Store};

/// The digest of some texts, told apart by their lengths.
pub(super) fn digest_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> IdDigest {
    let mut hash = Sha256::new();
    for text in texts {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hash.finalize()[..16]);
    digest
}

impl Desk {
    /// Finds rows that are "the same again" and leaves the digest file of the new `row_id`s.
    pub(super) fn same_rows(
        &self,
        pass: Pass<'_>,
        record: &BatchRecord,
        reading: &mut Reading,
        marks: &mut MarkSorter,
    ) -> Result<Option<(String, u64)>, IntakeError> {
        let none = || IdSorter::new(pass.folder.scratch());
        let mut messages = std::mem::replace(&mut reading.messages, none()).sorted()?;
        let mut first: Option<IdEntry> = None;
        while let Some((digest, row)) = messages.next_entry()? {
            match first {
                Some((same, earlier)) if same == digest => marks.push(row, false, None, earlier)?,
                _ => first = Some((digest, row)),
            }
        }
        let ids = std::mem::replace(&mut reading.row_ids, none());
        if ids.is_empty() {
            return Ok(None);
        }
        let scope = match pass.profile.row_id_scope {
            RowIdScope::Tenant => "tenant".to_owned(),
            RowIdScope::Profile => format!("profile:{}", pass.profile.name),
            RowIdScope::File => format!("file:{}", record.id),
        };
        let since = pass.now - pass.tenant.row_id_window;
        let earlier =
            EarlierIds::of_scope(&self.store, &self.spool, &record.tenant, &scope, since)?;
        let path = self.spool.row_ids(&record.tenant, record.id);
        let file = IdFile::create(&path, ids, &mut UsedIds { earlier, marks })?;
        Ok(Some((scope, file.len())))
    }

    pub(super) fn remove_row_ids(&self, record: &BatchRecord) -> Result<(), IntakeError> {
        match std::fs::remove_file(self.spool.row_ids(&record.tenant, record.id)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(IntakeError::Input { source })
            }
            _ => Ok(()),
        }
    }
}

/// The digest files of earlier batches in a scope: any number of them, opened one at a time.
#[derive(Debug)]
pub(super) struct EarlierIds {
    files: Vec<(BatchId, PathBuf)>,
}

impl EarlierIds {
    /// The files of a scope accepted since `since`.
    pub(super) fn of_scope(
        store: &Store,
        spool: &Spool,
        tenant: &TenantId,
        scope: &str,
        since: Timestamp,
    ) -> Result<EarlierIds, IntakeError> {
        let named = store.row_id_files(tenant, scope)?.into_iter();
        let files = named
            .filter(|file| file.accepted_at >= since && file.ids > 0)
            .map(|file| (file.batch, spool.row_ids(tenant, file.batch)));
        Ok(EarlierIds { files: files.collect() })
    }

    /// The batch and row that used each of some ascending digests, where one did.
    pub(super) fn find(&self, ids: &[IdEntry]) -> Result<Vec<Option<(BatchId, u64)>>, IntakeError> {
        let mut found = vec![None; ids.len()];
        for (batch, path) in &self.files {
            let file = IdFile::open(path)?;
            // Where many ids are looked up, the file is walked along in order instead of searched.
            if (ids.len() as u64).saturating_mul(16) > file.len() {
                let mut entries = file.entries()?;
                let mut head = entries.next_entry()?;
                for ((digest, _), found) in ids.iter().zip(&mut found) {
                    while head.is_some_and(|(earlier, _)| earlier < *digest) {
                        head = entries.next_entry()?;
                    }
                    if let Some((_, row)) = head.filter(|(earlier, _)| earlier == digest) {
                        *found = found.or(Some((*batch, row)));
                    }
                }
            } else {
                for ((digest, _), found) in ids.iter().zip(&mut found) {
                    if found.is_none() {
                        *found = file.find(digest)?.map(|row| (*batch, row));
                    }
                }
            }
        }
        Ok(found)
    }
}

/// Marks the rows whose `row_id` was used before, in this file or in an earlier one.
#[derive(Debug)]
pub(super) struct UsedIds<'a> {
    pub(super) earlier: EarlierIds,
    pub(super) marks: &'a mut MarkSorter,
}

impl IdJudge for UsedIds<'_> {
    type Error = IntakeError;

    fn repeated(&mut self, (_, row): IdEntry, first: u64) -> Result<(), IntakeError> {
        self.marks.push(row, true, None, first)
    }

    fn keep(&mut self, entries: &[IdEntry]) -> Result<Vec<bool>, IntakeError> {
        let found = self.earlier.find(entries)?;
        for ((_, row), used) in entries.iter().zip(&found) {
            if let Some((batch, first)) = used {
                self.marks.push(*row, true, Some(*batch), *first)?;
            }
        }
        Ok(found.iter().map(Option::is_none).collect())
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
        let mut key = [0; 16];
        key[..8].copy_from_slice(&row.to_be_bytes());
        key[8..].copy_from_slice(&batch.map_or(0, BatchId::as_u64).to_be_bytes());
        let value = first | if about_id { ABOUT_ID } else { 0 };
        Ok(self.sorter.push(key, value)?)
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
        let Some((key, value)) = self.sorted.next_entry()? else { return Ok(None) };
        let word = |at: usize| {
            u64::from_be_bytes(key[at..at + 8].try_into().expect("eight bytes are cut"))
        };
        let batch = Some(word(8)).filter(|raw| *raw != 0).map(BatchId::from_u64);
        let code =
            if value & ABOUT_ID != 0 { ReasonCode::RowIdUsed } else { ReasonCode::RowDuplicate };
        Ok(Some((word(0), DuplicateMark { index: 0, code, batch, row: value & !ABOUT_ID })))
    }
}

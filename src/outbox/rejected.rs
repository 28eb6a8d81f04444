//! The rejected file: the refused rows as they came, out of the original.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};

use super::OutboxError;
use super::problems::{Problems, code_of, severity_of};
use super::publication::OpenBatch;
use super::rows::BatchRows;
use crate::codes::{ReasonCode, Severity};
use crate::model::FileState;
use crate::records::{MANIFEST_MAX_BYTES, Manifest, ReadSettings, RejectedRow, write_rejects};
use crate::spool::{RowState, StoredRow};
use crate::store::ChunkRecord;

/// Refusals that give every row back.
const REFUSED_BY_ROW: [ReasonCode; 2] =
    [ReasonCode::FileTooManyBadRows, ReasonCode::FileApprovalNeeded];

impl OpenBatch {
    /// True where the batch has a rejected file.
    pub(super) fn has_rejected(&self) -> bool {
        !self.is_duplicate() && self.record.facts.rows_rejected > 0
    }

    /// What the sender said of the file beside it; the file was read with it.
    fn manifest(&self) -> Result<Option<Manifest>, OutboxError> {
        let sidecars = self.folder.sidecars()?;
        let is_manifest = |name: &&String| name.to_ascii_lowercase().ends_with(".manifest.json");
        let file = match sidecars.iter().find(is_manifest) {
            Some(name) => Some(File::open(self.folder.sidecar(name))?),
            None => self.archived(&format!("{}.manifest.json", self.record.name()))?,
        };
        let Some(file) = file else { return Ok(None) };
        let mut json = Vec::new();
        file.take(MANIFEST_MAX_BYTES).read_to_end(&mut json)?;
        Ok(Manifest::parse(&json, self.record.name()).ok())
    }

    /// How the file was read.
    pub(super) fn read_settings(&self) -> Result<ReadSettings, OutboxError> {
        let settings = (self.tenant.read_settings)(&self.record.facts.profile);
        // Files that were read by an earlier version kept nothing.
        let before = self.folder.read_as()?.and_then(|json| serde_json::from_slice(&json).ok());
        Ok(match before {
            Some(before) => settings.reading_as(before),
            None => settings,
        })
    }

    pub(super) fn write_rejected(
        &self,
        mut original: File,
        out: &mut dyn Write,
    ) -> Result<(), OutboxError> {
        let mut settings = self.read_settings()?;
        settings.kind = self.record.facts.kind.unwrap_or(settings.kind);
        if let Some(manifest) = self.manifest()? {
            manifest.announce(&mut settings);
        }
        let settings = settings.for_form(self.record.facts.form, &original)?;
        original.rewind()?;
        let original = BufReader::new(original);
        let refused = self.record.facts.state == Some(FileState::Rejected);
        let code = self.record.facts.code.filter(|_| refused);
        let all_for = code.filter(|code| REFUSED_BY_ROW.contains(code));
        let mut failure = None;
        let rejected = RejectedRows {
            rows: BatchRows::open(&self.store, self.record.id, &self.folder)?,
            problems: Problems::open(&self.folder.problems())?,
            all_for,
            next_chunk: 0,
            page: VecDeque::new(),
            ready: VecDeque::new(),
            failure: &mut failure,
        };
        write_rejects(original, &settings, rejected, out)?;
        failure.map_or(Ok(()), Err)
    }
}

/// The rejected rows of a batch in order, a chunk in memory at a time. What fails ends the iteration
/// and is left in `failure`.
struct RejectedRows<'a> {
    rows: BatchRows<'a>,
    problems: Problems,
    /// Set where the file was refused together with its rows: all but duplicates count as rejected.
    all_for: Option<ReasonCode>,
    next_chunk: u32,
    page: VecDeque<ChunkRecord>,
    ready: VecDeque<RejectedRow>,
    failure: &'a mut Option<OutboxError>,
}

impl Iterator for RejectedRows<'_> {
    type Item = RejectedRow;

    fn next(&mut self) -> Option<RejectedRow> {
        while self.ready.is_empty() {
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    *self.failure = Some(error);
                    return None;
                }
            }
        }
        self.ready.pop_front()
    }
}

impl RejectedRows<'_> {
    /// Takes the next chunk; false behind the last one.
    fn fill(&mut self) -> Result<bool, OutboxError> {
        if self.page.is_empty() {
            self.page = self.rows.records(self.next_chunk)?.into();
        }
        let Some(record) = self.page.pop_front() else { return Ok(false) };
        self.next_chunk = record.number + 1;
        let chunk = self.rows.read(&record)?;
        for row in chunk.rows()? {
            let code = match (row.state, self.all_for) {
                (RowState::Rejected(code), _) => code,
                (RowState::Accepted, Some(code)) => code,
                _ => continue,
            };
            let rejected = self.describe(&row, code)?;
            self.ready.push_back(rejected);
        }
        Ok(true)
    }

    /// Names the row's first error; one that only shares its file's fate has none.
    fn describe(
        &mut self,
        row: &StoredRow<'_>,
        code: ReasonCode,
    ) -> Result<RejectedRow, OutboxError> {
        let hint = code.advice().to_owned();
        let mut rejected = RejectedRow { row: row.row, code, column_name: String::new(), hint };
        let mut is_described = false;
        while let Some(problem) = self.problems.next_up_to(row.row)? {
            let problem_code = code_of(&problem);
            let is_error = severity_of(&problem) == Severity::Error;
            if problem.row == row.row && is_error && !is_described {
                is_described = true;
                rejected.code = problem_code;
                rejected.column_name = problem.column_name;
                if !problem.hint.is_empty() {
                    rejected.hint = problem.hint;
                }
            }
        }
        Ok(rejected)
    }
}

//! The verdict on a file that was read to its end.

use sha2::{Digest, Sha256};

use super::IntakeError;
use super::concluding::Desk;
use super::reading::{Pass, Reading};
use super::same_again::MarkSorter;
use crate::batch::{BatchEvent, Counts, Thresholds, judge};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState};
use crate::store::{Acceptance, BatchRecord, ChunkRecord, Facts, StoreError};

impl Desk {
    /// Judges a file that was read to its end.
    pub(super) fn judge(
        &self,
        pass: Pass<'_>,
        mut record: BatchRecord,
        mut reading: Reading,
    ) -> Result<BatchRecord, IntakeError> {
        let content = content_of(&record, &reading);
        if let Some(earlier) = self.duplicate_of(pass, &record, &reading, &content)? {
            return self.duplicate(record, &reading, earlier);
        }
        let mut marks = MarkSorter::new(pass.folder.scratch().with_extension("marks"));
        let row_ids = self.same_rows(pass, &record, &mut reading, &mut marks)?;
        let duplicate = marks.len();
        let counts =
            Counts { accepted: reading.counts.accepted - duplicate, duplicate, ..reading.counts };
        let thresholds = Thresholds {
            reject_threshold: reading
                .directives
                .reject_threshold()
                .unwrap_or(pass.profile.thresholds.reject_threshold),
            ..pass.profile.thresholds
        };
        let verdict = judge(counts, thresholds);
        let problems = reading.writer.problem_lines() + duplicate;
        let (suppressed, deferred) = (reading.suppressed, reading.deferred);
        let first_send_at = reading.first_send_at;
        let marks = if duplicate > 0 { Some(marks.sorted()?) } else { None };
        let chunks = reading.writer.finish(pass.folder, marks)?;
        let code = verdict.code.or(reading.first_error);
        record.facts = Facts {
            state: Some(verdict.state),
            code,
            message: code.map_or("", ReasonCode::meaning).to_owned(),
            rows_total: counts.total,
            rows_accepted: counts.accepted,
            rows_rejected: counts.rejected,
            rows_duplicate: counts.duplicate,
            problems,
            ..record.facts
        };
        let facts = &mut record.facts;
        record.chunks = chunks.len() as u32;
        if verdict.state == FileState::Rejected {
            return self.refuse_rows(record, chunks);
        }
        // Duplicates were counted as suppressed or deferred when they were read.
        facts.rows_suppressed = suppressed.min(facts.rows_accepted);
        facts.rows_deferred = deferred.min(facts.rows_accepted - facts.rows_suppressed);
        facts.first_send_at = first_send_at.filter(|_| facts.rows_accepted > facts.rows_suppressed);
        self.store.put_chunks(record.id, &chunks)?;
        let acceptance = Acceptance { content: Some(content), row_ids, ..Acceptance::default() };
        let record = self.store.conclude(record, BatchEvent::FileAccepted, &acceptance)?;
        if chunks.iter().any(|chunk| chunk.open > 0) {
            return Ok(record);
        }
        let closed = BatchRecord { closed_at: record.validated_at, ..record };
        match self.store.conclude(closed.clone(), BatchEvent::RowsSettled, &Acceptance::default()) {
            // Dispatch looks for such batches at start, and may have been quicker.
            Err(StoreError::Conflict) => Ok(closed),
            result => Ok(result?),
        }
    }

    /// Refuses a file for its bad rows: every row that is no duplicate counts as rejected.
    fn refuse_rows(
        &self,
        mut record: BatchRecord,
        chunks: Vec<ChunkRecord>,
    ) -> Result<BatchRecord, IntakeError> {
        let facts = &mut record.facts;
        facts.rows_rejected = facts.rows_total - facts.rows_duplicate;
        facts.rows_accepted = 0;
        self.remove_row_ids(&record)?;
        // The rejected file is made from the chunks, so they are named; none of them is due.
        let closed: Vec<ChunkRecord> = chunks
            .into_iter()
            .map(|chunk| ChunkRecord { open: 0, deferred: 0, due: None, ..chunk })
            .collect();
        self.store.put_chunks(record.id, &closed)?;
        Ok(self.store.conclude(record, BatchEvent::FileRefused, &Acceptance::default())?)
    }

    fn duplicate_of(
        &self,
        pass: Pass<'_>,
        record: &BatchRecord,
        reading: &Reading,
        content: &[u8; 32],
    ) -> Result<Option<BatchId>, IntakeError> {
        if reading.directives.allow_duplicate() || reading.counts.total == 0 {
            return Ok(None);
        }
        let earlier = self.store.content(&record.tenant, content)?;
        let since = pass.now - pass.profile.duplicate_window;
        Ok(earlier.filter(|(_, at)| *at >= since).map(|(batch, _)| batch))
    }

    fn duplicate(
        &self,
        mut record: BatchRecord,
        reading: &Reading,
        earlier: BatchId,
    ) -> Result<BatchRecord, IntakeError> {
        let facts = &mut record.facts;
        facts.state = Some(FileState::Duplicate);
        facts.code = Some(ReasonCode::FileDuplicate);
        facts.message = ReasonCode::FileDuplicate.meaning().to_owned();
        facts.duplicate_of = Some(earlier);
        facts.rows_total = reading.counts.total;
        facts.rows_duplicate = reading.counts.total;
        Ok(self.store.conclude(record, BatchEvent::FileDuplicate, &Acceptance::default())?)
    }
}

/// "The same file": kind, profile, directives and records; the last two are in one digest.
fn content_of(record: &BatchRecord, reading: &Reading) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(record.facts.kind.map_or("", |k| k.as_str()));
    hash.update([0]);
    hash.update(&record.facts.profile);
    hash.update([0]);
    hash.update(reading.facts.records_sha256);
    hash.finalize().into()
}

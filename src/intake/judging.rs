//! The verdict on a file that was read to its end.

use sha2::{Digest, Sha256};

use super::IntakeError;
use super::concluding::Desk;
use super::numbering::check_place;
use super::reading::{Pass, Reading, calendar, decide_now};
use super::same_again::SameRows;
use crate::batch::{BatchEvent, BatchState, Counts, Thresholds, judge};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState};
use crate::records::FileProblem;
use crate::spool::StoredRow;
use crate::store::{Acceptance, BatchRecord, ChunkRecord, Facts, Series};

/// A file whose rows were counted and written.
struct Weighed {
    record: BatchRecord,
    chunks: Vec<ChunkRecord>,
    /// The scope of the new row ids, and how many there are.
    row_ids: Option<(String, u64)>,
}

impl Desk {
    /// Judges a file that was read to its end: the first that holds of duplicate, name used
    /// before, place in the sequence, bad rows, and reasons to wait.
    pub(super) fn judge(
        &self,
        pass: Pass<'_>,
        record: BatchRecord,
        reading: Reading,
    ) -> Result<BatchRecord, IntakeError> {
        let content = content_of(&record, &reading);
        let same = self.same_content(pass, &record, &content)?;
        let asked_for = reading.directives.allow_duplicate() || reading.counts.total == 0;
        if let Some(earlier) = same.filter(|_| !asked_for) {
            return self.duplicate(pass, record, &reading, earlier);
        }
        if !pass.profile.reuse_names
            && record.hold.is_none()
            && let Some(earlier) = self.name_used_by(&record)?
        {
            let message = format!("the name was used by the file taken as batch {earlier}");
            let problem = FileProblem::new(ReasonCode::FileNameReused, message);
            return self.refuse(record, &[problem], pass.folder, pass.profile.is_numbered());
        }
        let series = self.store.series((&record.tenant, record.realm()), &pass.profile.name)?;
        if let Err(problem) = in_sequence(pass, &record, &series) {
            drop(reading);
            return self.refuse(record, &[*problem], pass.folder, pass.profile.is_numbered());
        }
        let weighed = self.weigh(pass, record, reading)?;
        if weighed.record.facts.state == Some(FileState::Rejected) {
            return self.refuse_rows(pass, weighed);
        }
        let reasons = self.reasons(&weighed.record, pass.profile, &series);
        if reasons.is_empty() {
            return self.accept(pass, weighed, content);
        }
        // The file that counts as the first of its content stays so until this one is accepted.
        let content = same.is_none().then_some(content);
        self.hold(pass, weighed.record, weighed.chunks, &reasons, content)
    }

    /// Finds the rows that are the same again, and counts and writes what is there.
    fn weigh(
        &self,
        pass: Pass<'_>,
        mut record: BatchRecord,
        mut reading: Reading,
    ) -> Result<Weighed, IntakeError> {
        let SameRows { marks, row_ids, lead } = self.same_rows(pass, &record, &mut reading)?;
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
        let code = verdict.code.or(reading.first_error);
        let sentences = [code.map(|code| code.meaning().to_owned()), lead.map(|l| l.sentence())];
        if duplicate > 0 {
            let calendar = calendar(pass.tenant);
            let decide = |row: &StoredRow<'_>| decide_now(pass.tenant, row, (&calendar, pass.now));
            reading.writer.mark(pass.folder, marks.sorted()?, (&decide, pass.now))?;
        }
        let outlook = reading.writer.outlook();
        record.facts = Facts {
            state: Some(verdict.state),
            code,
            message: sentences.into_iter().flatten().collect::<Vec<_>>().join("; "),
            rows_total: counts.total,
            rows_accepted: counts.accepted,
            rows_rejected: counts.rejected,
            rows_duplicate: counts.duplicate,
            rows_suppressed: outlook.suppressed,
            rows_deferred: outlook.deferred,
            parts_estimated: outlook.parts,
            first_send_at: outlook.first_send_at,
            urgencies: reading.writer.urgencies(),
            problems: reading.writer.problem_lines() + duplicate,
            ..record.facts
        };
        let chunks = reading.writer.finish(pass.folder)?;
        record.chunks = chunks.len() as u32;
        Ok(Weighed { record, chunks, row_ids })
    }

    fn accept(
        &self,
        pass: Pass<'_>,
        weighed: Weighed,
        content: [u8; 32],
    ) -> Result<BatchRecord, IntakeError> {
        let Weighed { record, chunks, row_ids } = weighed;
        self.store.put_chunks(record.id, &chunks)?;
        let facts = &record.facts;
        let acceptance = Acceptance {
            content: Some(content),
            row_ids,
            numbered: pass.profile.is_numbered(),
            usual_rows: Some(facts.rows_total).filter(|_| facts.rows_accepted > 0),
            ..Acceptance::default()
        };
        let record = self.store.conclude(record, BatchEvent::FileAccepted, &acceptance)?;
        if chunks.iter().any(|chunk| chunk.open > 0) {
            return Ok(record);
        }
        let at = record.validated_at.unwrap_or(record.claimed_at);
        Ok(self.store.close_batch(record.id, at)?.unwrap_or(record))
    }

    /// Refuses a file for its bad rows: every row that is no duplicate counts as rejected.
    fn refuse_rows(&self, pass: Pass<'_>, weighed: Weighed) -> Result<BatchRecord, IntakeError> {
        let Weighed { mut record, chunks, .. } = weighed;
        let facts = &mut record.facts;
        facts.rows_rejected = facts.rows_total - facts.rows_duplicate;
        (facts.rows_accepted, facts.rows_suppressed, facts.rows_deferred) = (0, 0, 0);
        facts.first_send_at = None;
        self.remove_row_ids(&record)?;
        self.name_closed(record.id, chunks)?;
        let acceptance =
            Acceptance { numbered: pass.profile.is_numbered(), ..Acceptance::default() };
        Ok(self.store.conclude(record, BatchEvent::FileRefused, &acceptance)?)
    }

    /// The file that used the record's name up: one that was refused did not.
    fn name_used_by(&self, record: &BatchRecord) -> Result<Option<BatchId>, IntakeError> {
        if let Some(accepted) = self.store.name_accepted(record)? {
            return Ok(Some(accepted.id));
        }
        let Some(owner) = self.store.name_owner(record)? else { return Ok(None) };
        let owner = self.store.batch(owner)?;
        let waits =
            |owner: &BatchRecord| matches!(owner.state, BatchState::Held | BatchState::Released);
        let same_realm = |owner: &BatchRecord| owner.realm() == record.realm();
        Ok(owner.filter(waits).filter(same_realm).map(|owner| owner.id))
    }

    /// The file that has the same content and still counts: refused ones do not.
    fn same_content(
        &self,
        pass: Pass<'_>,
        record: &BatchRecord,
        content: &[u8; 32],
    ) -> Result<Option<BatchId>, IntakeError> {
        let since = pass.now - pass.profile.duplicate_window;
        let Some((earlier, at)) = self.store.content(&record.tenant, content)? else {
            return Ok(None);
        };
        if at < since || earlier == record.id {
            return Ok(None);
        }
        // Held files count from the moment they came, and no more once they were refused. Of a file
        // that was cancelled before its first message nothing was sent.
        let is_void = |earlier: BatchRecord| {
            earlier.state == BatchState::Refused || earlier.control.wholly_cancelled
        };
        let void = self.store.batch(earlier)?.is_some_and(is_void);
        Ok(Some(earlier).filter(|_| !void))
    }

    fn duplicate(
        &self,
        pass: Pass<'_>,
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
        let acceptance =
            Acceptance { numbered: pass.profile.is_numbered(), ..Acceptance::default() };
        Ok(self.store.conclude(record, BatchEvent::FileDuplicate, &acceptance)?)
    }
}

/// Refuses a number that was used, and one that leaves a gap where the profile wants none. A file that
/// was held has its number, or was let past the gap.
fn in_sequence(
    pass: Pass<'_>,
    record: &BatchRecord,
    series: &Series,
) -> Result<(), Box<FileProblem>> {
    let hold = record.hold.as_ref();
    let Some(number) = record.facts.seq.filter(|_| !hold.is_some_and(|h| h.took_number)) else {
        return Ok(());
    };
    match check_place(number, &series.numbers, pass.profile.sequence) {
        Err(problem) if hold.is_none() || problem.code == ReasonCode::FileSequenceReused => {
            Err(problem)
        }
        _ => Ok(()),
    }
}

/// "The same file": realm, kind, profile, directives and records; the last two are in one digest.
fn content_of(record: &BatchRecord, reading: &Reading) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(record.realm().root());
    hash.update(record.facts.kind.map_or("", |k| k.as_str()));
    hash.update([0]);
    hash.update(&record.facts.profile);
    hash.update([0]);
    hash.update(reading.facts.records_sha256);
    hash.finalize().into()
}

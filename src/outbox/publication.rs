//! One publication of one batch, done. Each can be done twice.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::sync::Arc;

use jiff::civil::Date;

use super::OutboxError;
use super::settings::{Rehearse, Settings, TenantAnswers};
use super::style::AnswerStyle;
use crate::batch::{BatchState, Publication};
use crate::files::AnswerTree;
use crate::model::{BatchId, FileForm, FileState};
use crate::records::{Packing, ReadError, UnpackError, unpack, write_first_sheet};
use crate::report::{Ack, Answer, Progress, Subject};
use crate::spool::{BatchFolder, Spool};
use crate::store::{BatchRecord, Store};

/// A progress file is one short row: more than this cannot be ours.
const PROGRESS_MAX_BYTES: u64 = 4096;

/// An ACK is a header and one row: what is looked at to tell whose it is.
const ACK_MAX_BYTES: u64 = 64 * 1024;

/// Endings of files whose text is another than their bytes.
const PACKED: [&str; 3] = ["gz", "zip", "xlsx"];

/// A batch and everything needed to publish its answers.
pub(super) struct OpenBatch {
    pub(super) store: Store,
    pub(super) spool: Spool,
    pub(super) record: BatchRecord,
    pub(super) folder: BatchFolder,
    pub(super) tree: AnswerTree,
    pub(super) tenant: TenantAnswers,
    pub(super) rehearse: Rehearse,
    style: AnswerStyle,
}

impl OpenBatch {
    pub(super) fn open(
        store: &Store,
        spool: &Spool,
        settings: &Settings,
        record: BatchRecord,
    ) -> Result<OpenBatch, OutboxError> {
        let tenant = (settings.tenant)(&record.tenant)
            .ok_or_else(|| OutboxError::UnknownTenant(record.tenant.clone()))?;
        let tree = AnswerTree::open(&settings.data_dir, &record.tenant)?;
        let folder = spool.batch(record.id);
        let style = tenant.style(&record.facts.profile);
        let (store, spool) = (store.clone(), spool.clone());
        let rehearse = Arc::clone(&settings.rehearse);
        Ok(OpenBatch { store, spool, record, folder, tree, tenant, rehearse, style })
    }

    /// Does it; true where that put an answer into the outbox.
    pub(super) fn perform(&self, publication: Publication) -> Result<bool, OutboxError> {
        match publication {
            Publication::Supersede => self.supersede().map(|()| false),
            Publication::Archive => self.archive().map(|()| false),
            Publication::Recall => self.recall().map(|()| false),
            Publication::Errors if !self.has_errors()? => self.take_back(Answer::Errors),
            Publication::Errors => self.publish(Answer::Errors, |out| self.write_errors(out)),
            Publication::Rejected if !self.has_rejected() => self.take_back(Answer::Rejected),
            Publication::Rejected => {
                // Asked for again after the original is gone, there is nothing to write it from.
                let Some(original) = self.original()? else { return Ok(false) };
                match self.publish(Answer::Rejected, |out| self.write_rejected(original, out)) {
                    Err(OutboxError::Original(ReadError::Refused(_))) => {
                        // No later try can read it either, and the ACK must come all the same.
                        let (tenant, batch) = (&self.record.tenant, self.record.id);
                        tracing::warn!(%tenant, %batch, "the rejected rows cannot be found again");
                        self.take_back(Answer::Rejected)
                    }
                    done => done,
                }
            }
            Publication::Ack => self.acknowledge().map(|()| true),
            Publication::Rendered => self.publish(Answer::Rendered, |out| self.write_rendered(out)),
            Publication::Result => {
                let done = self.publish(Answer::Result, |out| self.write_result(out))?;
                self.remove_progress()?;
                Ok(done)
            }
            // Every row is final with its result: the same lines.
            Publication::Final => self.publish(Answer::Final, |out| self.write_result(out)),
            Publication::Summary => self.publish(Answer::Summary, |out| self.write_summary(out)),
        }
    }

    /// Puts an answer into the outbox, where the tenant wants it; true where it does.
    fn publish(
        &self,
        answer: Answer,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), OutboxError>,
    ) -> Result<bool, OutboxError> {
        if !self.style.writes(answer) {
            return Ok(false);
        }
        let (folder, name) = (self.record.answer_folder(), self.written_name(answer)?);
        if self.style.pattern(answer).is_shared() {
            // It may be about another file, which must not be lost.
            self.tree.supersede(&folder, &[(name.clone(), self.record.id)], self.date())?;
        }
        self.tree.publish(&folder, &name, |out| self.style.write(answer, out, fill))?;
        Ok(true)
    }

    /// True where the file was held and is not any more: its provisional answers are replaced.
    fn was_held(&self) -> bool {
        self.record.hold.is_some() && self.record.facts.state != Some(FileState::Held)
    }

    /// Removes an answer that was given while the file was held and that it has no more.
    fn take_back(&self, answer: Answer) -> Result<bool, OutboxError> {
        // A name that files share may be another one's by now.
        if self.was_held() && !self.style.pattern(answer).is_shared() {
            let name = self.written_name(answer)?;
            self.tree.remove_answer(&self.record.answer_folder(), &name)?;
        }
        Ok(false)
    }

    /// The name under which an answer is written. Of one that comes after the ACK, or with an ACK after
    /// a hold or one that was asked for again, the batch's id tells whose it is when a newer file has
    /// taken the name over.
    fn written_name(&self, answer: Answer) -> Result<String, OutboxError> {
        let after_ack =
            matches!(answer, Answer::Rendered | Answer::Result | Answer::Final | Answer::Summary);
        let is_late = after_ack || self.was_held() || self.record.control.reported;
        if is_late && !self.owns_name()? && (after_ack || !self.is_still_shown()?) {
            let pattern = self.style.pattern(answer);
            return Ok(self.with_subject(|subject| pattern.late_name(subject)));
        }
        Ok(self.name_of(answer))
    }

    /// The name that the ACK tells, of an answer that stands: an original that is archived packed, or
    /// cannot be read again, gives no rejected file.
    fn standing_name(&self, answer: Answer) -> Result<String, OutboxError> {
        let name = self.written_name(answer)?;
        let there = self.tree.read_answer(&self.record.answer_folder(), &name, 0)?;
        Ok(there.map_or_else(String::new, |_| name))
    }

    /// True where the provisional ACK of a file that was held still stands under the usual name: what
    /// follows replaces it there, and goes to the archive with the newer file's answers to come.
    fn is_still_shown(&self) -> Result<bool, OutboxError> {
        let (folder, name) = (self.record.answer_folder(), self.name_of(Answer::Ack));
        let there = self.tree.read_answer(&folder, &name, ACK_MAX_BYTES)?;
        match there.filter(|_| self.was_held()) {
            Some(there) => self.is_our_ack(&there),
            None => Ok(false),
        }
    }

    fn name_of(&self, answer: Answer) -> String {
        self.with_subject(|subject| self.style.pattern(answer).name(subject))
    }

    fn with_subject<T>(&self, then: impl FnOnce(Subject<'_>) -> T) -> T {
        let (name, batch) = (self.record.name(), self.record.id);
        then(Subject {
            name,
            batch,
            date: &self.first_date(&self.record).strftime("%Y%m%d").to_string(),
        })
    }

    pub(super) fn owns_name(&self) -> Result<bool, OutboxError> {
        let owner = self.store.name_owner(&self.record)?;
        Ok(owner.is_none_or(|owner| owner == self.record.id))
    }

    pub(super) fn is_duplicate(&self) -> bool {
        self.record.facts.state == Some(FileState::Duplicate)
    }

    /// The tenant's date of the verdict: the same however often a step is done.
    fn date(&self) -> Date {
        let at = self.record.validated_at.unwrap_or(self.record.claimed_at);
        at.to_zoned(self.tenant.timezone.clone()).date()
    }

    /// The tenant's date of the first verdict: what replaces the answers of a hold has their names.
    fn first_date(&self, record: &BatchRecord) -> Date {
        let judged = record.hold.as_ref().map(|hold| hold.since).or(record.validated_at);
        judged.unwrap_or(record.claimed_at).to_zoned(self.tenant.timezone.clone()).date()
    }

    fn supersede(&self) -> Result<(), OutboxError> {
        let facts = &self.record.facts;
        // Files that were judged by the first version did not learn whose answers they replace.
        let earlier = facts.replaces.unwrap_or(self.record.id);
        let whose = |answer| match answer {
            Answer::Ack => facts.replaces_ack.unwrap_or(earlier),
            _ => earlier,
        };
        let answers = Answer::ALL.into_iter().filter(|answer| *answer != Answer::Progress);
        let own = answers.filter(|answer| self.style.pattern(*answer).names_its_file());
        let named = |answer| self.earlier_name(answer, whose(answer));
        let answers = own.map(named).collect::<Result<Vec<_>, OutboxError>>()?;
        let folder = self.record.answer_folder();
        self.tree.supersede(&folder, &answers, self.date())?;
        // The earlier file's rows run on; its progress is no longer shown.
        if self.progress_owner()? == ProgressOwner::Other {
            self.tree.remove_answer(&folder, &self.progress_name())?;
        }
        Ok(())
    }

    /// What an earlier file's answer is called: by the date and the id of that file, where they are in
    /// its name.
    fn earlier_name(
        &self,
        answer: Answer,
        earlier: BatchId,
    ) -> Result<(String, BatchId), OutboxError> {
        let Some(record) = self.store.batch(earlier)? else {
            return Ok((self.name_of(answer), earlier));
        };
        let date = self.first_date(&record).strftime("%Y%m%d").to_string();
        let subject = Subject { name: record.name(), batch: earlier, date: &date };
        Ok((self.style.pattern(answer).name(subject), earlier))
    }

    /// The batch runs again: what was said of its end goes to the archive.
    fn recall(&self) -> Result<(), OutboxError> {
        let late = [Answer::Result, Answer::Final, Answer::Summary].into_iter();
        // Under a name that files share another one's may stand; ours is set aside by the next.
        let own = late.filter(|answer| !self.style.pattern(*answer).is_shared());
        let named = |answer| self.written_name(answer).map(|name| (name, self.record.id));
        let late = own.map(named).collect::<Result<Vec<_>, _>>()?;
        Ok(self.tree.supersede(&self.record.answer_folder(), &late, self.date())?)
    }

    /// The text of the file: in the batch's folder, or in the archive. What was unpacked is kept no longer
    /// than until the ACK; as long as the file itself is there, it is laid out again.
    fn original(&self) -> Result<Option<File>, OutboxError> {
        let ending = self.record.name().rsplit_once('.').map_or("", |(_, ending)| ending);
        let is_packed = PACKED.iter().any(|packed| ending.eq_ignore_ascii_case(packed));
        if is_packed && !self.folder.is_unpacked()? {
            if !self.folder.has_input()? {
                return Ok(None);
            }
            match self.lay_out() {
                // It was read before: there is nothing more to say of it.
                Err(OutboxError::Unpack(UnpackError::Refused(_))) => return Ok(None),
                result => result?,
            }
        }
        match File::open(self.folder.text()?) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.archived(self.record.name()),
            result => Ok(Some(result?)),
        }
    }

    /// Lays out what is in a packed file or workbook, as intake did.
    fn lay_out(&self) -> Result<(), OutboxError> {
        let settings = self.read_settings()?;
        if let Some(packing) = Packing::of_name(self.record.name()) {
            let bytes = self.record.facts.bytes;
            self.folder.lay_out(|input, mut out| -> Result<_, OutboxError> {
                Ok(unpack(packing, input, bytes, &settings.limits, &mut out)?)
            })?;
        }
        if self.record.facts.form == FileForm::Workbook {
            self.folder.lay_out(|input, mut out| -> Result<_, OutboxError> {
                let bytes = input.metadata()?.len();
                Ok(write_first_sheet(input, bytes, &settings, &mut out)?)
            })?;
        }
        Ok(())
    }

    /// The file, or one that came with it, out of the archive.
    pub(super) fn archived(&self, name: &str) -> Result<Option<File>, OutboxError> {
        let state = self.record.facts.state.unwrap_or(FileState::Rejected);
        Ok(self.tree.archived_original(state, self.record.id, name, self.date())?)
    }

    fn archive(&self) -> Result<(), OutboxError> {
        let state = self.record.facts.state.unwrap_or(FileState::Rejected);
        let (input, name) = (self.folder.input(), self.record.name());
        for sidecar in self.folder.sidecars()? {
            let path = self.folder.sidecar(&sidecar);
            self.tree.archive_original(&path, state, self.record.id, &sidecar, self.date())?;
        }
        self.tree.archive_original(&input, state, self.record.id, name, self.date())?;
        Ok(self.folder.remove_unpacked()?)
    }

    fn acknowledge(&self) -> Result<(), OutboxError> {
        let (name, folder) = (self.written_name(Answer::Ack)?, self.record.answer_folder());
        let mut bytes = Vec::new();
        self.style.write(Answer::Ack, &mut bytes, |out| self.write_ack(out))?;
        let is_shared = self.style.pattern(Answer::Ack).is_shared();
        if self.is_duplicate() || self.was_held() || self.record.control.reported || is_shared {
            // Of the earlier file only the ACK is replaced, and after a hold that of a duplicate that
            // came meanwhile. Our own, provisional or done before, is simply written anew.
            let there = self.tree.read_answer(&folder, &name, ACK_MAX_BYTES)?;
            let is_ours =
                |there: &[u8]| Ok::<_, OutboxError>(there == bytes || self.is_our_ack(there)?);
            if let Some(there) = there
                && !is_ours(&there)?
            {
                let earlier = self.record.facts.replaces_ack.unwrap_or(self.record.id);
                self.tree.supersede(&folder, &[(name.clone(), earlier)], self.date())?;
            }
        }
        self.tree.publish::<OutboxError>(&folder, &name, |out| Ok(out.write_all(&bytes)?))?;
        match self.record.facts.state {
            Some(FileState::Accepted | FileState::AcceptedWithErrors) => return Ok(()),
            // It may wait for days, and what is in it be a hundred times as large.
            Some(FileState::Held) if self.record.state == BatchState::Held => {
                self.folder.remove_unpacked()?;
            }
            _ => {}
        }
        self.remove_progress()
    }

    /// True where the ACK that stands there is about this batch, whatever it says.
    fn is_our_ack(&self, there: &[u8]) -> Result<bool, OutboxError> {
        let beginning = Ack::beginning(self.record.name(), self.record.id);
        let mut ours = Vec::new();
        self.style.write(Answer::Ack, &mut ours, |out| out.write_all(&beginning))?;
        Ok(self.style.tells_batch(Answer::Ack) && self.style.same_row(&ours, there))
    }

    fn write_ack(&self, out: &mut dyn Write) -> Result<(), OutboxError> {
        let (record, facts) = (&self.record, &self.record.facts);
        let named = |answer, is_there: bool| match is_there && self.style.writes(answer) {
            true => self.standing_name(answer),
            false => Ok(String::new()),
        };
        let errors = named(Answer::Errors, self.has_errors()?)?;
        let rejected = named(Answer::Rejected, self.has_rejected())?;
        let ack = Ack {
            file: record.name(),
            batch: record.id,
            kind: facts.kind,
            profile: &facts.profile,
            file_ref: &facts.file_ref,
            seq: facts.seq,
            next_seq: facts.next_seq,
            campaign: &facts.campaign,
            state: facts.state,
            code: facts.code,
            message: &facts.message,
            received_at: record.received_at,
            validated_at: record.validated_at,
            proof: record.proof,
            bytes: facts.bytes,
            sha256: &facts.sha256,
            records_sha256: &facts.records_sha256,
            encoding: &facts.encoding,
            delimiter: &facts.delimiter,
            rows_total: facts.rows_total,
            rows_accepted: facts.rows_accepted,
            rows_rejected: facts.rows_rejected,
            rows_duplicate: facts.rows_duplicate,
            rows_suppressed: facts.rows_suppressed,
            rows_deferred: facts.rows_deferred,
            warnings: facts.warnings,
            parts_estimated: facts.parts_estimated,
            first_send_at: facts.first_send_at,
            duplicate_of: facts.duplicate_of,
            errors_file: &errors,
            rejected_file: &rejected,
            test: record.realm().is_test(),
            x: &facts.x,
        };
        Ok(ack.write(out)?)
    }

    /// Progress begins before a file's profile is known: it has the tenant's own style throughout.
    fn progress_style(&self) -> AnswerStyle {
        self.tenant.style("")
    }

    fn progress_name(&self) -> String {
        let pattern = self.progress_style().pattern(Answer::Progress);
        self.with_subject(|subject| pattern.name(subject))
    }

    /// Whose progress stands under the answer name.
    pub(super) fn progress_owner(&self) -> Result<ProgressOwner, OutboxError> {
        let folder = self.record.answer_folder();
        let there = self.tree.read_answer(&folder, &self.progress_name(), PROGRESS_MAX_BYTES)?;
        let Some(there) = there else { return Ok(ProgressOwner::Nobody) };
        let beginning = Progress::beginning(self.record.name(), self.record.id);
        let mut ours = Vec::new();
        let fill = |out: &mut dyn Write| out.write_all(&beginning);
        self.progress_style().write(Answer::Progress, &mut ours, fill)?;
        // Progress is not synced: a power cut may leave it short, or as zeros.
        let is_torn = there.len() < ours.len() || there.starts_with(&[0, 0]);
        Ok(match there.starts_with(&ours) {
            true => ProgressOwner::Us,
            false if is_torn => ProgressOwner::Nobody,
            false => ProgressOwner::Other,
        })
    }

    pub(super) fn publish_progress(&self, progress: &Progress<'_>) -> Result<(), OutboxError> {
        let (folder, style) = (self.record.answer_folder(), self.progress_style());
        if !style.writes(Answer::Progress) {
            return Ok(());
        }
        self.tree.publish_progress(&folder, &self.progress_name(), |out| {
            style.write(Answer::Progress, out, |out| Ok(progress.write(out)?))
        })
    }

    fn remove_progress(&self) -> Result<(), OutboxError> {
        if self.progress_owner()? != ProgressOwner::Other {
            self.tree.remove_answer(&self.record.answer_folder(), &self.progress_name())?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProgressOwner {
    Nobody,
    Us,
    /// Another file of the same name.
    Other,
}

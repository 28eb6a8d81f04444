//! One publication of one batch, done. Each can be done twice.

use std::io::Write;

use jiff::civil::Date;

use super::OutboxError;
use super::settings::{Settings, TenantAnswers};
use super::style::AnswerStyle;
use crate::batch::Publication;
use crate::files::AnswerTree;
use crate::model::FileState;
use crate::report::{Ack, Answer, Progress, Subject};
use crate::spool::{BatchFolder, Spool};
use crate::store::{BatchRecord, Store};

/// A progress file is one short row: more than this cannot be ours.
const PROGRESS_MAX_BYTES: u64 = 4096;

/// A batch and everything needed to publish its answers.
pub(super) struct OpenBatch {
    pub(super) store: Store,
    pub(super) spool: Spool,
    pub(super) record: BatchRecord,
    pub(super) folder: BatchFolder,
    pub(super) tree: AnswerTree,
    pub(super) tenant: TenantAnswers,
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
        Ok(OpenBatch { store, spool, record, folder, tree, tenant, style })
    }

    /// Does it; true where that put an answer into the outbox.
    pub(super) fn perform(&self, publication: Publication) -> Result<bool, OutboxError> {
        match publication {
            Publication::Supersede => self.supersede().map(|()| false),
            Publication::Archive => self.archive().map(|()| false),
            Publication::Errors if !self.has_errors()? => Ok(false),
            Publication::Errors => self.publish(Answer::Errors, |out| self.write_errors(out)),
            Publication::Rejected if !self.has_rejected() => Ok(false),
            Publication::Rejected => self.publish(Answer::Rejected, |out| self.write_rejected(out)),
            Publication::Ack => self.acknowledge().map(|()| true),
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
        let is_late = matches!(answer, Answer::Result | Answer::Final | Answer::Summary);
        let pattern = self.style.pattern(answer);
        let name = if is_late && !self.owns_name()? {
            // A newer file has taken the name over.
            self.with_subject(|subject| pattern.late_name(subject))
        } else {
            self.name_of(answer)
        };
        let folder = self.record.answer_folder();
        if pattern.is_shared() {
            // It may be about another file, which must not be lost.
            let there = std::slice::from_ref(&name);
            self.tree.supersede(&folder, there, self.record.id, self.date())?;
        }
        self.tree.publish(&folder, &name, |out| self.style.write(answer, out, fill))?;
        Ok(true)
    }

    fn name_of(&self, answer: Answer) -> String {
        self.with_subject(|subject| self.style.pattern(answer).name(subject))
    }

    fn with_subject<T>(&self, then: impl FnOnce(Subject<'_>) -> T) -> T {
        let (name, batch) = (self.record.name(), self.record.id);
        then(Subject { name, batch, date: &self.date().strftime("%Y%m%d").to_string() })
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

    fn supersede(&self) -> Result<(), OutboxError> {
        let answers = Answer::ALL.into_iter().filter(|answer| *answer != Answer::Progress);
        let own = answers.filter(|answer| self.style.pattern(*answer).names_its_file());
        let answers: Vec<String> = own.map(|answer| self.name_of(answer)).collect();
        let folder = self.record.answer_folder();
        self.tree.supersede(&folder, &answers, self.record.id, self.date())?;
        // The earlier file's rows run on; its progress is no longer shown.
        if self.progress_owner()? == ProgressOwner::Other {
            self.tree.remove_answer(&folder, &self.progress_name())?;
        }
        Ok(())
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
        let (name, folder) = (self.name_of(Answer::Ack), self.record.answer_folder());
        let mut bytes = Vec::new();
        self.style.write(Answer::Ack, &mut bytes, |out| self.write_ack(out))?;
        if self.is_duplicate() || self.style.pattern(Answer::Ack).is_shared() {
            // Of the earlier file only the ACK is replaced; done again, the one there is our own.
            let there = self.tree.read_answer(&folder, &name, bytes.len() as u64 + 1)?;
            if there.is_some_and(|there| there != bytes) {
                self.tree.supersede(
                    &folder,
                    std::slice::from_ref(&name),
                    self.record.id,
                    self.date(),
                )?;
            }
        }
        self.tree.publish::<OutboxError>(&folder, &name, |out| Ok(out.write_all(&bytes)?))?;
        match self.record.facts.state {
            Some(FileState::Accepted | FileState::AcceptedWithErrors) => Ok(()),
            _ => self.remove_progress(),
        }
    }

    fn write_ack(&self, out: &mut dyn Write) -> Result<(), OutboxError> {
        let (record, facts) = (&self.record, &self.record.facts);
        let named = |answer, is_there: bool| {
            let is_written = is_there && self.style.writes(answer);
            if is_written { self.name_of(answer) } else { String::new() }
        };
        let errors = named(Answer::Errors, self.has_errors()?);
        let rejected = named(Answer::Rejected, self.has_rejected());
        let ack = Ack {
            file: record.name(),
            batch: record.id,
            kind: facts.kind,
            profile: &facts.profile,
            file_ref: &facts.file_ref,
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
        Ok(if there.starts_with(&ours) { ProgressOwner::Us } else { ProgressOwner::Other })
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

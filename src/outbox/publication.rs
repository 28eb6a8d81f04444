//! One publication of one batch, done. Each can be done twice.

use std::fs::File;
use std::io::{ErrorKind, Write};

use jiff::civil::Date;

use super::OutboxError;
use super::settings::{Settings, TenantAnswers};
use crate::batch::Publication;
use crate::files::AnswerTree;
use crate::model::FileState;
use crate::report::{Ack, Progress};
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
        Ok(OpenBatch { store: store.clone(), spool: spool.clone(), record, folder, tree, tenant })
    }

    /// Does it; true where that put an answer into the outbox.
    pub(super) fn perform(&self, publication: Publication) -> Result<bool, OutboxError> {
        match publication {
            Publication::Supersede => self.supersede()?,
            Publication::Errors if !self.has_errors()? => {
                self.take_back("errors")?;
                return Ok(false);
            }
            Publication::Errors => {
                self.publish(&self.verdict_answer("errors")?, |out| self.write_errors(out))?;
            }
            Publication::Rejected if !self.has_rejected() => {
                self.take_back("rejected")?;
                return Ok(false);
            }
            Publication::Rejected => {
                // Asked for again after the original is gone, there is nothing to write it from.
                let Some(original) = self.original()? else { return Ok(false) };
                let name = self.verdict_answer("rejected")?;
                self.publish(&name, |out| self.write_rejected(original, out))?;
            }
            Publication::Archive => self.archive()?,
            Publication::Ack => self.acknowledge()?,
            Publication::Result => {
                self.publish(&self.late_answer("result")?, |out| self.write_result(out))?;
                self.remove_progress()?;
            }
            // Every row is final with its result: the same lines.
            Publication::Final => {
                self.publish(&self.late_answer("final")?, |out| self.write_result(out))?;
            }
            Publication::Summary => {
                self.publish(&self.late_answer("summary")?, |out| self.write_summary(out))?;
            }
            Publication::Recall => self.recall()?,
        }
        let moves = [Publication::Supersede, Publication::Archive, Publication::Recall];
        Ok(!moves.contains(&publication))
    }

    fn publish(
        &self,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), OutboxError>,
    ) -> Result<(), OutboxError> {
        self.tree.publish(&self.record.answer_folder(), name, fill)
    }

    fn answer(&self, which: &str) -> String {
        format!("{}.{which}.csv", self.record.name())
    }

    /// True where the file was held and is not any more: its provisional answers are replaced.
    fn was_held(&self) -> bool {
        self.record.hold.is_some() && self.record.facts.state != Some(FileState::Held)
    }

    /// The name of an answer that comes with the ACK. The one after a hold comes late, and so does one
    /// that was asked for again.
    fn verdict_answer(&self, which: &str) -> Result<String, OutboxError> {
        let is_late = self.was_held() || self.record.control.reported;
        if is_late { self.late_answer(which) } else { Ok(self.answer(which)) }
    }

    /// Removes an answer that was given while the file was held and that it has no more.
    fn take_back(&self, which: &str) -> Result<(), OutboxError> {
        if self.was_held() {
            let name = self.late_answer(which)?;
            self.tree.remove_answer(&self.record.answer_folder(), &name)?;
        }
        Ok(())
    }

    /// The name of an answer that comes after the ACK: when a newer file has taken the name over, the
    /// batch's id tells whose answer it is.
    fn late_answer(&self, which: &str) -> Result<String, OutboxError> {
        if self.owns_name()? {
            return Ok(self.answer(which));
        }
        Ok(format!("{}.{}.{which}.csv", self.record.name(), self.record.id))
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
        let facts = &self.record.facts;
        // Files that were judged by the first version did not learn whose answers they replace.
        let earlier = facts.replaces.unwrap_or(self.record.id);
        let answers = ["errors", "rejected", "result", "final", "summary"];
        let mut answers = answers.map(|which| (self.answer(which), earlier)).to_vec();
        answers.push((self.answer("ack"), facts.replaces_ack.unwrap_or(earlier)));
        let folder = self.record.answer_folder();
        self.tree.supersede(&folder, &answers, self.date())?;
        // The earlier file's rows run on; its progress is no longer shown.
        if self.progress_owner()? == ProgressOwner::Other {
            self.tree.remove_answer(&folder, &self.progress_name())?;
        }
        Ok(())
    }

    /// The batch runs again: what was said of its end goes to the archive.
    fn recall(&self) -> Result<(), OutboxError> {
        let late = ["result", "final", "summary"]
            .map(|which| self.late_answer(which).map(|name| (name, self.record.id)));
        let late = late.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(self.tree.supersede(&self.record.answer_folder(), &late, self.date())?)
    }

    /// The text of the file: in the batch's folder, or in the archive. What was unpacked is not kept.
    fn original(&self) -> Result<Option<File>, OutboxError> {
        match File::open(self.folder.text()) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => return Ok(Some(result?)),
        }
        let ending = self.record.name().rsplit_once('.').map_or("", |(_, ending)| ending);
        if PACKED.iter().any(|packed| ending.eq_ignore_ascii_case(packed)) {
            return Ok(None);
        }
        self.archived(self.record.name())
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
        let (name, folder) = (self.verdict_answer("ack")?, self.record.answer_folder());
        let mut bytes = Vec::new();
        self.write_ack(&mut bytes)?;
        if self.is_duplicate() || self.was_held() || self.record.control.reported {
            // Of the earlier file only the ACK is replaced, and after a hold that of a duplicate that
            // came meanwhile. Our own, provisional or done before, is simply written anew.
            let there = self.tree.read_answer(&folder, &name, ACK_MAX_BYTES)?;
            let is_ours = |there: Vec<u8>| {
                let text = String::from_utf8_lossy(&there);
                Ack::is_of(&text, self.record.name(), self.record.id)
            };
            if there.is_some_and(|there| !is_ours(there)) {
                let earlier = self.record.facts.replaces_ack.unwrap_or(self.record.id);
                self.tree.supersede(&folder, &[(name.clone(), earlier)], self.date())?;
            }
        }
        self.publish(&name, |out| Ok(out.write_all(&bytes)?))?;
        match self.record.facts.state {
            Some(FileState::Accepted | FileState::AcceptedWithErrors) => Ok(()),
            _ => self.remove_progress(),
        }
    }

    fn write_ack(&self, out: &mut dyn Write) -> Result<(), OutboxError> {
        let (record, facts) = (&self.record, &self.record.facts);
        let named = |has: bool, which| match has {
            true => self.verdict_answer(which),
            false => Ok(String::new()),
        };
        let errors = named(self.has_errors()?, "errors")?;
        let rejected = named(self.has_rejected(), "rejected")?;
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
            x: &facts.x,
        };
        Ok(ack.write(out)?)
    }

    pub(super) fn progress_name(&self) -> String {
        self.answer("progress")
    }

    /// Whose progress stands under the answer name.
    pub(super) fn progress_owner(&self) -> Result<ProgressOwner, OutboxError> {
        let folder = self.record.answer_folder();
        let there = self.tree.read_answer(&folder, &self.progress_name(), PROGRESS_MAX_BYTES)?;
        let Some(there) = there else { return Ok(ProgressOwner::Nobody) };
        let text = String::from_utf8_lossy(&there);
        let ours = Progress::is_of(&text, self.record.name(), self.record.id);
        Ok(if ours { ProgressOwner::Us } else { ProgressOwner::Other })
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

//! From a claimed file to a concluded batch: the order of writes is spool first, store second.
//!
//! The same path runs the first time and after a crash: it begins by clearing what an unfinished try
//! left, and nothing counts before the one commit at its end.

use std::fs::File;
use std::time::Duration;

use jiff::Timestamp;

use super::IntakeError;
use super::facts::{cut, fill};
use super::identify::{Unidentified, identify};
use super::prepare::Unprepared;
use super::reading::{Pass, read_file};
use super::settings::TenantSettings;
use super::vouchers::Vouchers;
use super::writer::RowWriter;
use crate::batch::{BatchEvent, BatchState, Decider};
use crate::codes::ReasonCode;
use crate::model::{FileState, Proof};
use crate::records::{FileProblem, ReadSettings, RecordReader};
use crate::spool::{BatchFolder, Spool};
use crate::store::{Acceptance, BatchRecord, HoldRecord, Store, StoreError};

/// How long a cut upload waits for somebody's word.
const HELD_FOR: Duration = Duration::from_secs(7 * 86_400);

/// What concluding needs beside the file.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub(super) store: Store,
    pub(super) spool: Spool,
}

impl Desk {
    /// Reads, judges and concludes one claimed file. `is_unchanged` is asked once it was read.
    pub(super) fn conclude(
        &self,
        tenant: &TenantSettings,
        mut record: BatchRecord,
        now: Timestamp,
        is_unchanged: &dyn Fn() -> Result<bool, IntakeError>,
    ) -> Result<BatchRecord, IntakeError> {
        let folder = self.spool.batch(record.id);
        self.store.clear_chunks(record.id)?;
        record.validated_at = Some(now);
        let vouchers = Vouchers::read(&folder, record.name())?;
        self.end_incomplete(&record, now)?;
        if record.state == BatchState::Claimed && record.facts.code.is_some() {
            return self.conclude_unread(tenant, record, &folder, &vouchers);
        }
        let prepared = match self.prepare(tenant, &mut record, &folder, vouchers.manifest()) {
            Ok(prepared) => prepared,
            Err(Unprepared::Refused(why)) => {
                return self.refuse_unread(record, &folder, &why, &vouchers);
            }
            Err(Unprepared::Failed(error)) => return Err(error),
        };
        let profile = prepared.profile;
        record.facts.profile.clone_from(&profile.name);
        record.facts.file_ref = cut(&prepared.file_ref);
        // A whole archive with a good checksum is a proof of its own.
        let strong_proof =
            prepared.original.is_some() || record.proof.is_some_and(|proof| proof.is_strong());
        let manifest = vouchers.manifest();
        let pass = Pass { tenant, profile, strong_proof, manifest, folder: &folder, now };
        let mut reading = read_file(pass, &folder.text())?;
        if !is_unchanged()? {
            return Err(IntakeError::StillWritten);
        }
        fill(&mut record.facts, &reading);
        // What is found at the file's end proves more than how it came.
        let found = match &prepared.original {
            Some(_) => Some(Proof::Archive),
            None => Some(Proof::Trailer).filter(|_| reading.facts.trailer),
        };
        if record.proof.is_some_and(|proof| !proof.is_strong()) {
            record.proof = found.or(record.proof);
        }
        if let Some(original) = prepared.original {
            record.facts.bytes = original.bytes;
            record.facts.sha256 = original.sha256;
        }
        let problem = vouchers.disagreement(&folder, record.facts.bytes, &record.facts.sha256)?;
        reading.refused.splice(0..0, problem);
        if let Some(problem) = reading.refused.first() {
            let (code, message) = (problem.code, problem.message.clone());
            return self.refuse(record, &reading.refused, &folder, code, message);
        }
        self.judge(pass, record, reading)
    }

    /// Ends an upload of the same name that was cut and waits for somebody's word: this file is it, whole.
    fn end_incomplete(&self, record: &BatchRecord, now: Timestamp) -> Result<(), IntakeError> {
        let earlier = self.store.taken(&record.tenant, &record.path, false)?;
        let waits = |hold: &HoldRecord| hold.code == ReasonCode::FileIncomplete;
        let held = |earlier: &BatchRecord| {
            earlier.state == BatchState::Held && earlier.hold.as_ref().is_some_and(waits)
        };
        let Some(earlier) = earlier.filter(|e| e.id != record.id).filter(held) else {
            return Ok(());
        };
        let code = ReasonCode::FileIncomplete;
        match self.store.refuse_held(earlier.id, &Decider::NewerFile, code, now) {
            // Somebody else ended the wait in between.
            Err(StoreError::Conflict) => Ok(()),
            result => Ok(result.map(|_| ())?),
        }
    }

    /// Concludes a file whose verdict stood before it was read.
    fn conclude_unread(
        &self,
        tenant: &TenantSettings,
        mut record: BatchRecord,
        folder: &BatchFolder,
        vouchers: &Vouchers,
    ) -> Result<BatchRecord, IntakeError> {
        let code = record.facts.code.expect("only files with a code come here");
        let message = record.facts.message.clone();
        if record.facts.state != Some(FileState::Held) {
            return self.refuse_unread(record, folder, &Unidentified { code, message }, vouchers);
        }
        self.count_bytes(&mut record, folder)?;
        record.facts.kind = identify(tenant, &record.path).ok().map(|identity| identity.kind);
        let mut writer = RowWriter::create(folder)?;
        writer.file_problem(&FileProblem::new(code, message))?;
        record.facts.problems = writer.problem_lines();
        writer.finish(folder, None)?;
        let since = record.validated_at.unwrap_or(record.claimed_at);
        record.hold = Some(HoldRecord {
            code,
            since,
            until: since.saturating_add(HELD_FOR).unwrap_or(Timestamp::MAX),
            took_number: false,
            ended_by: String::new(),
            ended_at: None,
        });
        Ok(self.store.conclude(record, BatchEvent::FileHeld, &Acceptance::default())?)
    }

    /// Notes size and digest of a file that is not read.
    fn count_bytes(
        &self,
        record: &mut BatchRecord,
        folder: &BatchFolder,
    ) -> Result<(), IntakeError> {
        let input = File::open(folder.input()).map_err(|source| IntakeError::Input { source })?;
        let read = RecordReader::new(input, ReadSettings::default())
            .finish()
            .map_err(|source| IntakeError::Input { source })?;
        record.facts.bytes = read.bytes;
        record.facts.sha256 = hex::encode(read.sha256);
        Ok(())
    }

    /// Refuses a file whose bytes are only counted and digested.
    fn refuse_unread(
        &self,
        mut record: BatchRecord,
        folder: &BatchFolder,
        why: &Unidentified,
        vouchers: &Vouchers,
    ) -> Result<BatchRecord, IntakeError> {
        self.count_bytes(&mut record, folder)?;
        let problem = FileProblem::new(why.code, why.message.clone());
        let lied = vouchers.disagreement(folder, record.facts.bytes, &record.facts.sha256)?;
        let problems: Vec<FileProblem> = lied.into_iter().chain([problem]).collect();
        let (code, message) = (problems[0].code, problems[0].message.clone());
        self.refuse(record, &problems, folder, code, message)
    }

    /// Refuses a file as a whole: its rows do not count.
    fn refuse(
        &self,
        mut record: BatchRecord,
        problems: &[FileProblem],
        folder: &BatchFolder,
        code: ReasonCode,
        message: String,
    ) -> Result<BatchRecord, IntakeError> {
        // Problems of single rows mean nothing where the whole file could not be read.
        let mut writer = RowWriter::create(folder)?;
        for problem in problems {
            writer.file_problem(problem)?;
        }
        record.facts.problems = writer.problem_lines();
        record.facts.warnings = writer.warnings();
        writer.finish(folder, None)?;
        record.facts.state = Some(FileState::Rejected);
        record.facts.code = Some(code);
        record.facts.message = cut(&message);
        Ok(self.store.conclude(record, BatchEvent::FileRefused, &Acceptance::default())?)
    }
}

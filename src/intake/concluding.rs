//! From a claimed file to a concluded batch: the order of writes is spool first, store second.
//!
//! The same path runs the first time and after a crash: it begins by clearing what an unfinished try
//! left, and nothing counts before the one commit at its end.

use std::fs::File;

use jiff::Timestamp;

use super::IntakeError;
use super::facts::{cut, fill};
use super::prepare::{Prepared, Unprepared};
use super::reading::{Pass, read_file};
use super::settings::TenantSettings;
use super::vouchers::Vouchers;
use super::writer::RowWriter;
use crate::batch::{BatchEvent, BatchState};
use crate::codes::ReasonCode;
use crate::model::{FileState, Proof};
use crate::records::{FileProblem, ReadSettings, RecordReader};
use crate::spool::{BatchFolder, Spool};
use crate::store::{Acceptance, BatchRecord, Store};

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
        let given_up = record.facts.code.filter(|_| record.state == BatchState::Claimed);
        if let Some(code) = given_up.filter(|_| record.facts.state == Some(FileState::Rejected)) {
            let why = FileProblem::new(code, record.facts.message.clone());
            return self.refuse_unread(record, &folder, &why, &vouchers);
        }
        let prepared = match self.prepare(tenant, &mut record, &folder, vouchers.manifest()) {
            Err(Unprepared::Failed(error)) => return Err(error),
            // Whoever still writes into the file may yet make it what it should be.
            Err(Unprepared::Refused(_)) if !is_unchanged()? => {
                return Err(IntakeError::StillWritten);
            }
            Err(Unprepared::Refused(why)) => {
                return self.refuse_unread(record, &folder, &why, &vouchers);
            }
            Ok(prepared) => prepared,
        };
        let Prepared { profile, file_ref, laid } = prepared;
        record.facts.profile.clone_from(&profile.name);
        record.facts.file_ref = cut(&file_ref);
        record.facts.form = laid.form;
        // A whole archive with a good checksum is a proof of its own.
        let strong_proof =
            laid.original.is_some() || record.proof.is_some_and(|proof| proof.is_strong());
        let (form, manifest) = (laid.form, vouchers.manifest());
        let pass = Pass { tenant, profile, form, strong_proof, manifest, folder: &folder, now };
        let mut reading = read_file(pass, &folder.text())?;
        if !is_unchanged()? {
            return Err(IntakeError::StillWritten);
        }
        fill(&mut record.facts, &reading);
        // What is found at the file's end proves more than how it came.
        let found = match &laid.original {
            Some(_) => Some(Proof::Archive),
            None => Some(Proof::Trailer).filter(|_| reading.facts.trailer),
        };
        if record.proof.is_some_and(|proof| !proof.is_strong()) {
            record.proof = found.or(record.proof);
        }
        if let Some(original) = laid.original {
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

    /// Refuses a file whose bytes are only counted and digested.
    fn refuse_unread(
        &self,
        mut record: BatchRecord,
        folder: &BatchFolder,
        why: &FileProblem,
        vouchers: &Vouchers,
    ) -> Result<BatchRecord, IntakeError> {
        let input = File::open(folder.input()).map_err(|source| IntakeError::Input { source })?;
        let read = RecordReader::new(input, ReadSettings::default())
            .finish()
            .map_err(|source| IntakeError::Input { source })?;
        record.facts.bytes = read.bytes;
        record.facts.sha256 = hex::encode(read.sha256);
        let lied = vouchers.disagreement(folder, record.facts.bytes, &record.facts.sha256)?;
        let problems: Vec<FileProblem> = lied.into_iter().chain([why.clone()]).collect();
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

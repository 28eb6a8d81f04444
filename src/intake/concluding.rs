//! From a claimed file to a concluded batch: the order of writes is spool first, store second.
//!
//! The same path runs the first time and after a crash: it begins by clearing what an unfinished try
//! left, and nothing counts before the one commit at its end.

use std::fs::File;

use jiff::Timestamp;

use super::IntakeError;
use super::facts::{cut, fill};
use super::identify::Unidentified;
use super::marker::Marker;
use super::reading::{Pass, read_file};
use super::settings::TenantSettings;
use super::writer::RowWriter;
use crate::batch::BatchEvent;
use crate::codes::ReasonCode;
use crate::model::{FileState, Kind};
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
        if let Some(marker) = Marker::of(&record.path.clone()) {
            return self.conclude_marker(tenant, record, marker);
        }
        let pass = match self.prepare(tenant, &mut record, &folder) {
            Ok((profile, file_ref)) => {
                record.facts.file_ref = cut(&file_ref);
                let strong_proof = record.proof.is_some_and(|p| p.is_strong());
                Pass { tenant, profile, strong_proof, folder: &folder, now }
            }
            Err(unidentified) => return self.refuse_unread(record, &folder, &unidentified),
        };
        record.facts.profile.clone_from(&pass.profile.name);
        if record.facts.kind == Some(Kind::Control) {
            return self.conclude_control(pass, record, is_unchanged);
        }
        let reading = read_file(pass, &folder.input())?;
        if !is_unchanged()? {
            return Err(IntakeError::StillWritten);
        }
        fill(&mut record.facts, &reading);
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
        why: &Unidentified,
    ) -> Result<BatchRecord, IntakeError> {
        let input = File::open(folder.input()).map_err(|source| IntakeError::Input { source })?;
        let read = RecordReader::new(input, ReadSettings::default())
            .finish()
            .map_err(|source| IntakeError::Input { source })?;
        record.facts.bytes = read.bytes;
        record.facts.sha256 = hex::encode(read.sha256);
        let problem = FileProblem::new(why.code, why.message.clone());
        self.refuse(record, &[problem], folder, why.code, why.message.clone())
    }

    /// Refuses a file as a whole: its rows do not count.
    pub(super) fn refuse(
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

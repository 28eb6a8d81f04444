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
use super::numbering::number_of;
use super::prepare::Unprepared;
use super::reading::{Pass, read_file};
use super::settings::TenantSettings;
use super::writer::RowWriter;
use crate::batch::BatchEvent;
use crate::model::{FileState, Kind};
use crate::records::{FileProblem, ReadSettings, RecordReader};
use crate::spool::{BatchFolder, Spool};
use crate::store::{Acceptance, BatchRecord, Facts, Store};

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
        // Of a file that was held before, everything is found out anew.
        record.facts = Facts::default();
        record.validated_at = Some(now);
        if let Some(marker) = Marker::of(&record.path.clone()) {
            return self.conclude_marker(tenant, record, marker);
        }
        let prepared = match self.prepare(tenant, &mut record, &folder) {
            Ok(prepared) => prepared,
            Err(Unprepared::Refused(why)) => return self.refuse_unread(record, &folder, &why),
            Err(Unprepared::Failed(error)) => return Err(error),
        };
        let profile = prepared.profile;
        record.facts.profile.clone_from(&profile.name);
        record.facts.file_ref = cut(&prepared.file_ref);
        // A whole archive with a good checksum is a proof of its own.
        let strong_proof =
            prepared.original.is_some() || record.proof.is_some_and(|proof| proof.is_strong());
        let judged_at = record.hold.as_ref().map_or(now, |hold| hold.since);
        let pass = Pass { tenant, profile, strong_proof, folder: &folder, now, judged_at };
        if record.facts.kind == Some(Kind::Control) {
            return self.conclude_control(pass, record, prepared.original, is_unchanged);
        }
        let reading = read_file(pass, &folder.text())?;
        if !is_unchanged()? {
            return Err(IntakeError::StillWritten);
        }
        fill(&mut record.facts, &reading);
        if let Some(original) = prepared.original {
            record.facts.bytes = original.bytes;
            record.facts.sha256 = original.sha256;
        }
        let own = [("the name", prepared.number), ("#seq", reading.directives.seq())];
        // A corrected file of rejected rows has none, whatever its name.
        let number = if reading.redropped { Ok(None) } else { number_of(&own) };
        let numbered = profile.is_numbered();
        record.facts.seq = number.as_ref().ok().copied().flatten();
        if !reading.refused.is_empty() {
            return self.refuse(record, &reading.refused, &folder, numbered);
        }
        if let Err(conflict) = number {
            return self.refuse(record, &[*conflict], &folder, numbered);
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
        self.count_bytes(&mut record, folder)?;
        let problem = FileProblem::new(why.code, why.message.clone());
        self.refuse(record, &[problem], folder, false)
    }

    /// Size and digest of a file whose rows are not looked at.
    pub(super) fn count_bytes(
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

    /// Refuses a file as a whole, for the first of the problems: its rows do not count.
    pub(super) fn refuse(
        &self,
        mut record: BatchRecord,
        problems: &[FileProblem],
        folder: &BatchFolder,
        numbered: bool,
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
        record.facts.code = problems.first().map(|problem| problem.code);
        record.facts.message = cut(problems.first().map_or("", |problem| &problem.message));
        let acceptance = Acceptance { numbered, ..Acceptance::default() };
        Ok(self.store.conclude(record, BatchEvent::FileRefused, &acceptance)?)
    }
}

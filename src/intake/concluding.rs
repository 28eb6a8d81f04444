//! From a claimed file to a concluded batch: the order of writes is spool first, store second.
//!
//! The same path runs the first time and after a crash: it begins by clearing what an unfinished try
//! left, and nothing counts before the one commit at its end.

use std::fs::File;

use jiff::Timestamp;

use super::IntakeError;
use super::facts::{cut, fill};
use super::identify::identify;
use super::marker::Marker;
use super::numbering::number_of;
use super::prepare::{Prepared, Unprepared};
use super::reading::{Pass, Reading, read_file};
use super::settings::TenantSettings;
use super::unpack::Original;
use super::vouchers::{Received, Vouchers};
use super::writer::RowWriter;
use crate::batch::{BatchEvent, BatchState, Decider};
use crate::codes::ReasonCode;
use crate::model::{FileState, Kind, Proof};
use crate::records::{FileProblem, ReadSettings, RecordReader};
use crate::spool::{BatchFolder, Spool};
use crate::store::{Acceptance, BatchRecord, Facts, HoldRecord, Store, StoreError};

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
        let before = begin_anew(&mut record, now);
        let vouchers = Vouchers::of(&record, &before, &folder)?;
        self.end_incomplete(&record, now)?;
        if before.code.is_some() && record.state == BatchState::Claimed {
            return self.conclude_unread(tenant, record, before, &vouchers);
        }
        if let Some(marker) = Marker::of(&record.path.clone()) {
            return self.conclude_marker(tenant, record, marker);
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
        let Prepared { profile, file_ref, laid, number } = prepared;
        record.facts.profile.clone_from(&profile.name);
        record.facts.file_ref = cut(&file_ref);
        record.facts.form = laid.form;
        // A whole archive with a good checksum is a proof of its own.
        let strong_proof =
            laid.original.is_some() || record.proof.is_some_and(|proof| proof.is_strong());
        let shorter = self.shorter_version(&record, now)?;
        let pass = Pass {
            tenant,
            profile,
            form: laid.form,
            strong_proof,
            manifest: vouchers.manifest(),
            folder: &folder,
            shorter: shorter.as_ref(),
            now,
            judged_at: record.hold.as_ref().map_or(now, |hold| hold.since),
        };
        if record.facts.kind == Some(Kind::Control) {
            return self.conclude_control(pass, record, laid.original, &vouchers, is_unchanged);
        }
        let mut reading = read_file(pass, &folder.text()?)?;
        if !is_unchanged()? {
            return Err(IntakeError::StillWritten);
        }
        self.note_reading(&mut record, &mut reading, laid.original, &vouchers)?;
        let own = [("the name", number), ("#seq", reading.directives.seq())];
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

    /// Takes over what was found in a file, and holds it against what was said of it.
    pub(super) fn note_reading(
        &self,
        record: &mut BatchRecord,
        reading: &mut Reading,
        original: Option<Original>,
        vouchers: &Vouchers,
    ) -> Result<(), IntakeError> {
        fill(&mut record.facts, reading);
        note_proof(record, original, reading.facts.trailer);
        let problem = self.lie(record, vouchers)?;
        reading.refused.splice(0..0, problem);
        Ok(())
    }

    /// What was said of a file beside it, and is not so of the bytes that were received.
    fn lie(
        &self,
        record: &BatchRecord,
        vouchers: &Vouchers,
    ) -> Result<Option<FileProblem>, IntakeError> {
        let Facts { bytes, sha256, .. } = &record.facts;
        let input = self.spool.batch(record.id).input();
        vouchers.disagreement(&Received {
            bytes: *bytes,
            sha256,
            open: &|| File::open(&input).map(Some),
        })
    }

    /// Concludes a file whose verdict stood when it was claimed.
    fn conclude_unread(
        &self,
        tenant: &TenantSettings,
        mut record: BatchRecord,
        verdict: Facts,
        vouchers: &Vouchers,
    ) -> Result<BatchRecord, IntakeError> {
        let now = record.validated_at.unwrap_or(record.claimed_at);
        let code = verdict.code.unwrap_or(ReasonCode::FileIncomplete);
        let message = verdict.message;
        if verdict.state == Some(FileState::Held) {
            return self.hold_unread(tenant, record, now, code, &message);
        }
        if let Ok(identity) = identify(tenant, &record.path) {
            record.facts.kind = Some(identity.kind);
            record.facts.profile.clone_from(&identity.profile.name);
        }
        let folder = self.spool.batch(record.id);
        self.refuse_unread(record, &folder, &FileProblem::new(code, message), vouchers)
    }

    /// Ends an upload of the same name that was cut before and waits for somebody's word: this file is
    /// it, whole. One that was held and is read again came before what was cut since.
    fn end_incomplete(&self, record: &BatchRecord, now: Timestamp) -> Result<(), IntakeError> {
        if record.state != BatchState::Claimed {
            return Ok(());
        }
        let earlier = self.store.taken(&record.tenant, &record.path, false)?;
        let waits = |hold: &HoldRecord| hold.code == ReasonCode::FileIncomplete;
        let held = |earlier: &BatchRecord| {
            earlier.state == BatchState::Held && earlier.hold.as_ref().is_some_and(waits)
        };
        let Some(earlier) = earlier.filter(|e| e.id < record.id).filter(held) else {
            return Ok(());
        };
        let code = ReasonCode::FileIncomplete;
        match self.store.refuse_held(earlier.id, &Decider::NewerFile, code, now) {
            // Somebody else ended the wait in between.
            Err(StoreError::Conflict) => Ok(()),
            result => Ok(result.map(|_| ())?),
        }
    }

    /// Refuses a file whose bytes are only counted and digested.
    fn refuse_unread(
        &self,
        mut record: BatchRecord,
        folder: &BatchFolder,
        why: &FileProblem,
        vouchers: &Vouchers,
    ) -> Result<BatchRecord, IntakeError> {
        self.count_bytes(&mut record, folder)?;
        let lied = self.lie(&record, vouchers)?;
        let problems: Vec<FileProblem> = lied.into_iter().chain([why.clone()]).collect();
        self.refuse(record, &problems, folder, false)
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
        writer.finish(folder)?;
        record.facts.state = Some(FileState::Rejected);
        record.facts.code = problems.first().map(|problem| problem.code);
        record.facts.message = cut(problems.first().map_or("", |problem| &problem.message));
        let acceptance = Acceptance { numbered, ..Acceptance::default() };
        Ok(self.store.conclude(record, BatchEvent::FileRefused, &acceptance)?)
    }
}

/// Of a file that was held before, everything is found out anew. Returns what was known.
fn begin_anew(record: &mut BatchRecord, now: Timestamp) -> Facts {
    let before = std::mem::take(&mut record.facts);
    let Facts { replaces, replaces_ack, .. } = before;
    record.facts = Facts { replaces, replaces_ack, ..Facts::default() };
    record.validated_at = Some(now);
    before
}

/// What is found in a file, at its end, proves more than how it came; size and digest are those of what
/// was received.
fn note_proof(record: &mut BatchRecord, original: Option<Original>, has_trailer: bool) {
    let found = match &original {
        Some(_) => Some(Proof::Archive),
        None => Some(Proof::Trailer).filter(|_| has_trailer),
    };
    if record.proof.is_some_and(|proof| !proof.is_strong()) {
        record.proof = found.or(record.proof);
    }
    if let Some(original) = original {
        record.facts.bytes = original.bytes;
        record.facts.sha256 = original.sha256;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::files::{RelPath, Root};
    use crate::intake::testing;
    use crate::store::SimulatedDisk;

    #[test]
    fn a_file_that_is_written_while_it_is_read_is_read_once_more_whole() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let spool = Spool::open(data.path()).unwrap();
        let desk = Desk { store, spool };
        let (tenant, now) = (testing::tenant("acme"), Timestamp::UNIX_EPOCH);
        let inbox = data.path().join("tenant/inbox");
        std::fs::create_dir_all(&inbox).unwrap();
        // A local writer keeps the file open, whatever becomes of its name.
        let mut writer = File::create(inbox.join("messages_a.csv")).unwrap();
        writer.write_all(b"email,text\nann@example.org,One\nbob@exam").unwrap();
        let tree = Root::open(&data.path().join("tenant")).unwrap();
        let version = tree.stat(&RelPath::of("inbox/messages_a.csv")).unwrap().version;
        let record = BatchRecord { path: "inbox/messages_a.csv".to_owned(), ..testing::claimed() };
        let record = desk.claim(&tree, record, version, &[]).unwrap().unwrap();
        let mid = desk.conclude(&tenant, record.clone(), now, &|| {
            (&writer).write_all(b"ple.org,Two\n").unwrap();
            Ok(false)
        });
        assert!(matches!(mid, Err(IntakeError::StillWritten)));
        let there = desk.store.batch(record.id).unwrap().unwrap();
        assert_eq!(there, record, "nothing of the half file counts");
        let done = desk.conclude(&tenant, record, now, &|| Ok(true)).unwrap();
        assert_eq!((done.facts.rows_total, done.facts.rows_rejected, done.facts.bytes), (2, 0, 51));
    }

    /// A file that waits for approval under its number, and the desk.
    fn held(data: &tempfile::TempDir, tenant: &mut TenantSettings) -> (Desk, BatchRecord) {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let desk = Desk { store, spool: Spool::open(data.path()).unwrap() };
        tenant.plain.guards.approve_above = Some(1);
        tenant.plain.sequence = crate::batch::SequenceRule::Hold;
        let path = "inbox/messages_a_s1.csv".to_owned();
        let record = desk.store.open_batch(BatchRecord { path, ..testing::claimed() }).unwrap();
        let folder = desk.spool.batch(record.id);
        folder.create().unwrap();
        std::fs::write(folder.input(), "phone,text\n01701234501,One\n01701234502,Two\n").unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let held = desk.conclude(tenant, record, now, &|| Ok(true)).unwrap();
        assert_eq!((held.state, held.facts.seq), (BatchState::Held, Some(1)));
        (desk, held)
    }

    #[test]
    fn bytes_that_changed_while_the_file_was_held_are_not_what_was_approved() {
        let (data, mut tenant) = (tempfile::tempdir().unwrap(), testing::tenant("acme"));
        let (desk, held) = held(&data, &mut tenant);
        let now = Timestamp::UNIX_EPOCH;
        let other = "phone,text\n01701234501,One\n01701234509,Two\n";
        std::fs::write(desk.spool.batch(held.id).input(), other).unwrap();
        let released = desk.store.release(held.id, &Decider::Operator, now).unwrap();
        let done = desk.conclude(&tenant, released, now, &|| Ok(true)).unwrap();
        assert_eq!(done.facts.state, Some(FileState::Rejected));
        assert_eq!(done.facts.code, Some(ReasonCode::FileChecksumMismatch));
    }

    #[test]
    fn a_released_file_that_is_refused_unread_gives_its_number_back() {
        let (data, mut tenant) = (tempfile::tempdir().unwrap(), testing::tenant("acme"));
        let (desk, held) = held(&data, &mut tenant);
        let numbers =
            || desk.store.series((&tenant.id, crate::model::Realm::Real), "").unwrap().numbers;
        assert_eq!(numbers().place(1), crate::batch::NumberPlace::Used);
        let now = Timestamp::UNIX_EPOCH;
        let released = desk.store.release(held.id, &Decider::Operator, now).unwrap();
        let suspended = TenantSettings { suspended: true, ..tenant.clone() };
        let done = desk.conclude(&suspended, released, now, &|| Ok(true)).unwrap();
        assert_eq!(done.facts.code, Some(ReasonCode::FileTenantSuspended));
        assert_eq!(numbers().place(1), crate::batch::NumberPlace::Next);
    }
}

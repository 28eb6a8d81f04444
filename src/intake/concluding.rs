//! From a claimed file to a concluded batch: the order of writes is spool first, store second.
//!
//! The same path runs the first time and after a crash: it begins by clearing what an unfinished try
//! left, and nothing counts before the one commit at its end.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::IntakeError;
use super::identify::{Unidentified, identify};
use super::reading::{Pass, Reading, read_file};
use super::same_again::{EarlierIds, MarkSorter, UsedIds};
use super::settings::{ProfileSettings, RowIdScope, TenantSettings};
use super::unpack::{Original, Packing, UnpackError, original, unpack};
use crate::batch::{BatchEvent, Counts, Thresholds, judge};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState, Kind};
use crate::records::{FileProblem, ReadSettings, RecordReader};
use crate::spool::{BatchFolder, IdFile, Spool};
use crate::store::{Acceptance, BatchRecord, ChunkRecord, Facts, Store, StoreError};

/// Texts that partners put into a record are cut to this many bytes as they are stored: a record that
/// is too large for the store could never be concluded.
const STORED_TEXT_MAX_BYTES: usize = 256;
const STORED_X_MAX_BYTES: usize = 1024;
/// Brackets, quotes and commas around one `x_*` directive.
const STORED_X_FRAME_BYTES: usize = 8;

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
        let pass = Pass { tenant, profile, strong_proof, folder: &folder, now };
        let reading = read_file(pass, &folder.text())?;
        if !is_unchanged()? {
            return Err(IntakeError::StillWritten);
        }
        self.fill(&mut record.facts, &reading);
        if let Some(original) = prepared.original {
            record.facts.bytes = original.bytes;
            record.facts.sha256 = original.sha256;
        }
        if let Some(problem) = reading.refused.first() {
            let (code, message) = (problem.code, problem.message.clone());
            return self.refuse(record, &reading.refused, &folder, code, message);
        }
        self.judge(pass, record, reading)
    }

    /// Everything that can be said before the first record is read.
    fn prepare<'a>(
        &self,
        tenant: &'a TenantSettings,
        record: &mut BatchRecord,
        folder: &BatchFolder,
    ) -> Result<Prepared<'a>, Unprepared> {
        let refuse =
            |code: ReasonCode, message: String| Unprepared::Refused(Unidentified { code, message });
        if tenant.suspended {
            let code = ReasonCode::FileTenantSuspended;
            return Err(refuse(code, code.meaning().to_owned()));
        }
        let identity = identify(tenant, &record.path)?;
        record.facts.kind = Some(identity.kind);
        let allowed = tenant.account_kinds.get(&record.account);
        if allowed.is_some_and(|kinds| !kinds.contains(&identity.kind)) {
            let message = format!("this account may not drop {}", identity.kind);
            return Err(refuse(ReasonCode::FileKindNotAllowed, message));
        }
        if identity.kind != Kind::Messages {
            let message = format!("this version takes messages only, not {}", identity.kind);
            return Err(refuse(ReasonCode::FileKindNotAllowed, message));
        }
        let original = match identity.packing {
            Some(packing) => Some(unpacked(folder, packing, identity.profile)?),
            None => None,
        };
        let prepared =
            Prepared { profile: identity.profile, file_ref: identity.file_ref, original };
        let Some(name) = directive_profile(&folder.text()) else { return Ok(prepared) };
        let profile = tenant.profile(&name).ok_or_else(|| {
            let message =
                format!("the directive asks for the profile \"{name}\", which does not exist");
            refuse(ReasonCode::HeaderDirectiveInvalid, message)
        })?;
        match profile.kind.filter(|kind| *kind != identity.kind) {
            Some(kind) => {
                let message = format!("the name says {}, the profile says {kind}", identity.kind);
                Err(refuse(ReasonCode::FileKindConflict, message))
            }
            None => Ok(Prepared { profile, ..prepared }),
        }
    }

    fn fill(&self, facts: &mut Facts, reading: &Reading) {
        let read = &reading.facts;
        facts.bytes = read.bytes;
        facts.sha256 = hex::encode(read.sha256);
        facts.records_sha256 = hex::encode(read.records_sha256);
        facts.encoding = read.encoding.to_owned();
        facts.delimiter = match read.delimiter {
            Some(b'\t') => "TAB".to_owned(),
            Some(byte) => char::from(byte).to_string(),
            None => String::new(),
        };
        let directive = |key: &str| cut(reading.directives.get(key).unwrap_or_default());
        if reading.directives.get("ref").is_some() {
            facts.file_ref = directive("ref");
        }
        facts.campaign = directive("campaign");
        let mut room = STORED_X_MAX_BYTES;
        for (key, value) in reading.directives.iter().filter(|(key, _)| key.starts_with("x_")) {
            let (key, value) = (cut(key), cut(value));
            let needed = stored_bytes(&key) + stored_bytes(&value) + STORED_X_FRAME_BYTES;
            if needed <= room {
                room -= needed;
                facts.x.push((key, value));
            }
        }
        facts.warnings = reading.writer.warnings();
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
    fn refuse(
        &self,
        mut record: BatchRecord,
        problems: &[FileProblem],
        folder: &BatchFolder,
        code: ReasonCode,
        message: String,
    ) -> Result<BatchRecord, IntakeError> {
        // Problems of single rows mean nothing where the whole file could not be read.
        let mut writer = super::writer::RowWriter::create(folder)?;
        for problem in problems {
            writer.file_problem(problem)?;
        }
        record.facts.problems = writer.problem_lines();
        record.facts.warnings = writer.warnings();
        writer.finish(folder, None)?;
        self.refusal(&mut record.facts, code, message);
        Ok(self.store.conclude(record, BatchEvent::FileRefused, &Acceptance::default())?)
    }

    fn refusal(&self, facts: &mut Facts, code: ReasonCode, message: String) {
        facts.state = Some(FileState::Rejected);
        facts.code = Some(code);
        facts.message = cut(&message);
    }

    /// Judges a file that was read to its end.
    fn judge(
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
        let acceptance = Acceptance { content: Some(content), row_ids };
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

    /// Finds rows that are "the same again" and leaves the digest file of the new `row_id`s.
    fn same_rows(
        &self,
        pass: Pass<'_>,
        record: &BatchRecord,
        reading: &mut Reading,
        marks: &mut MarkSorter,
    ) -> Result<Option<(String, u64)>, IntakeError> {
        let none = || crate::spool::IdSorter::new(pass.folder.scratch());
        let mut messages = std::mem::replace(&mut reading.messages, none()).sorted()?;
        let mut first: Option<crate::spool::IdEntry> = None;
        while let Some((digest, row)) = messages.next_entry()? {
            match first {
                Some((same, earlier)) if same == digest => marks.push(row, false, None, earlier)?,
                _ => first = Some((digest, row)),
            }
        }
        let ids = std::mem::replace(&mut reading.row_ids, none());
        if ids.is_empty() {
            return Ok(None);
        }
        let scope = match pass.profile.row_id_scope {
            RowIdScope::Tenant => "tenant".to_owned(),
            RowIdScope::Profile => format!("profile:{}", pass.profile.name),
            RowIdScope::File => format!("file:{}", record.id),
        };
        let since = pass.now - pass.tenant.row_id_window;
        let earlier =
            EarlierIds::of_scope(&self.store, &self.spool, &record.tenant, &scope, since)?;
        let path = self.spool.row_ids(&record.tenant, record.id);
        let file = IdFile::create(&path, ids, &mut UsedIds { earlier, marks })?;
        Ok(Some((scope, file.len())))
    }

    fn remove_row_ids(&self, record: &BatchRecord) -> Result<(), IntakeError> {
        match std::fs::remove_file(self.spool.row_ids(&record.tenant, record.id)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(IntakeError::Input { source })
            }
            _ => Ok(()),
        }
    }
}

/// What is known of a file when its first record is read.
struct Prepared<'a> {
    profile: &'a ProfileSettings,
    file_ref: String,
    /// Of a packed file, whose text has another size and digest.
    original: Option<Original>,
}

/// Why no record is read.
enum Unprepared {
    Refused(Unidentified),
    Failed(IntakeError),
}

impl From<Unidentified> for Unprepared {
    fn from(why: Unidentified) -> Unprepared {
        Unprepared::Refused(why)
    }
}

fn unpacked(
    folder: &BatchFolder,
    packing: Packing,
    profile: &ProfileSettings,
) -> Result<Original, Unprepared> {
    let original = original(folder).map_err(Unprepared::Failed)?;
    match unpack(packing, folder, original.bytes, &profile.read.limits) {
        Ok(()) => Ok(original),
        Err(UnpackError::Failed(error)) => Err(Unprepared::Failed(error)),
        Err(UnpackError::Refused(FileProblem { code, message, .. })) => {
            Err(Unprepared::Refused(Unidentified { code, message }))
        }
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

/// The profile that the file itself asks for, read before anything else is known of its dialect.
fn directive_profile(input: &Path) -> Option<String> {
    let mut head = BufReader::new(File::open(input).ok()?.take(64 * 1024));
    let mut line = Vec::new();
    loop {
        line.clear();
        if head.read_until(b'\n', &mut line).ok()? == 0 {
            return None;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.to_ascii_lowercase().starts_with("sep=") {
            continue;
        }
        let (key, value) = text.strip_prefix('#')?.split_once('=')?;
        if key.trim().eq_ignore_ascii_case("profile") {
            return Some(value.trim().trim_end_matches([',', ';', '\t', '|']).to_owned());
        }
    }
}

fn cut(text: &str) -> String {
    let mut bytes = 0;
    let fits = |c: &char| {
        bytes += stored_bytes_of(*c);
        bytes <= STORED_TEXT_MAX_BYTES
    };
    text.chars().take_while(fits).collect()
}

fn stored_bytes(text: &str) -> usize {
    text.chars().map(stored_bytes_of).sum()
}

/// Records are stored as JSON, which escapes.
fn stored_bytes_of(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        '\0'..='\x1f' => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_what_they_take_in_the_store() {
        assert_eq!(cut("plain"), "plain");
        assert_eq!(cut(&"\"".repeat(300)).len(), 128);
        assert_eq!(cut(&"\u{1}".repeat(300)).len(), 42);
        assert_eq!(cut(&"ü".repeat(300)).len(), 256);
        for text in ["\"\\/ü\u{7f}€", "a,b"] {
            assert_eq!(stored_bytes(text) + 2, serde_json::to_string(text).unwrap().len());
        }
    }
}

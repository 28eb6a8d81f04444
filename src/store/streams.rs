//! Streams: numbered lines that become numbered files in an outbox, each line once.
//!
//! A line is here from the moment it is said until it stands in a file. Which lines a file holds, and its
//! number, are committed before the file is written, so that after a crash it is written again with the
//! same bytes; the numbers live here and not in the outbox, so that collecting a file changes nothing.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Expect, Op, Space, StoreError, after_prefix};
use super::keys;
use super::records::{decode, encode};
use crate::model::{Notice, Stream, TenantId};

/// Lines in one file at most.
const FILE_LINES_MAX: u64 = 5000;
/// Lines that are removed in one commit.
const REMOVED_AT_ONCE: usize = 500;

/// Where one tenant's stream stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamRecord {
    /// The number of the last line that was said; lines count from 1 and never begin anew.
    pub last_line: u64,
    /// The last line that stands in a file.
    pub filed_line: u64,
    /// The number of the last file; as lines, they count from 1 and never begin anew.
    pub last_file: u64,
    /// When the oldest line that is in no file was said.
    pub waiting_since: Option<Timestamp>,
    /// The file that is being written.
    pub file: Option<StreamFile>,
}

/// One file of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamFile {
    pub number: u64,
    /// The tenant's date when the file was begun; it stands in the name.
    pub date: Date,
    pub first_line: u64,
    pub last_line: u64,
}

/// One line of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamLine {
    pub number: u64,
    /// What stands behind `spec` and `seq`.
    pub cells: Vec<String>,
    /// `x_*` by name, in order.
    pub x: Vec<(String, String)>,
}

/// What a line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamText {
    /// What stands behind `spec` and `seq`.
    pub cells: Vec<String>,
    /// `x_*` by name, in order.
    pub x: Vec<(String, String)>,
}

impl StreamText {
    /// The bytes of all texts.
    pub fn bytes(&self) -> usize {
        let x = self.x.iter().map(|(name, value)| name.len() + value.len());
        self.cells.iter().map(String::len).chain(x).sum()
    }
}

#[derive(Serialize, Deserialize)]
struct StoredLine {
    cells: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    x: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct StoredNote {
    about: String,
}

impl StreamRecord {
    /// Whether there are enough lines for a file, however young they are.
    pub fn is_full(&self) -> bool {
        self.last_line - self.filed_line >= FILE_LINES_MAX
    }
}

impl Store {
    /// Says something to a tenant, once for all.
    pub fn notice(&self, tenant: &TenantId, notice: &Notice) -> Result<(), StoreError> {
        self.append(tenant, Stream::notices(notice.realm), notice.cells(), notice.at, None)
            .map(|_| ())
    }

    /// Says something to a tenant unless the last that was said under `what` was `about` the same: a
    /// thing that is found again and again, or again after a crash, is said once. True where it was said.
    pub fn notice_once(
        &self,
        tenant: &TenantId,
        notice: &Notice,
        what: &str,
        about: &str,
    ) -> Result<bool, StoreError> {
        let once = Some((what, about));
        self.append(tenant, Stream::notices(notice.realm), notice.cells(), notice.at, once)
    }

    /// Adds a line at the end of a stream.
    fn append(
        &self,
        tenant: &TenantId,
        stream: Stream,
        cells: Vec<String>,
        at: Timestamp,
        once: Option<(&str, &str)>,
    ) -> Result<bool, StoreError> {
        let key = stream_key(tenant, stream);
        let line = encode(&StoredLine { cells, x: Vec::new() });
        loop {
            let (mut record, as_found) = self.stream_record(&key)?;
            record.last_line += 1;
            record.waiting_since = record.waiting_since.or(Some(at));
            let mut ops = vec![
                Op::Put(Space::StreamLines, line_key(&key, record.last_line), line.clone()),
                Op::Put(Space::Streams, key.clone(), encode(&record)),
            ];
            let mut expected = vec![as_found];
            if let Some((what, about)) = once {
                let note_key = keys::named(tenant, what.as_bytes());
                let before = self.engine.get(Space::Noted, &note_key)?;
                if is_about(before.as_deref(), about)? {
                    return Ok(false);
                }
                expected.push(expect(Space::Noted, &note_key, before));
                let note = StoredNote { about: about.to_owned() };
                ops.push(Op::Put(Space::Noted, note_key, encode(&note)));
            }
            match self.commit(ops, expected) {
                // Somebody else said something in between.
                Err(StoreError::Conflict) => {}
                result => return result.map(|()| true),
            }
        }
    }

    /// Adds lines at the end of a stream to what is about to be committed.
    pub(super) fn append_lines<'l>(
        &self,
        (tenant, stream): (&TenantId, Stream),
        lines: impl Iterator<Item = &'l StreamText>,
        at: Timestamp,
        ops: &mut Vec<Op>,
        expected: &mut Vec<Expect>,
    ) -> Result<(), StoreError> {
        let key = stream_key(tenant, stream);
        let (mut record, as_found) = self.stream_record(&key)?;
        for StreamText { cells, x } in lines {
            record.last_line += 1;
            let line = encode(&StoredLine { cells: cells.clone(), x: x.clone() });
            ops.push(Op::Put(Space::StreamLines, line_key(&key, record.last_line), line));
        }
        record.waiting_since = record.waiting_since.or(Some(at));
        ops.push(Op::Put(Space::Streams, key, encode(&record)));
        expected.push(as_found);
        Ok(())
    }

    /// Whether the last that was said under `what` was `about` this.
    pub fn is_noted(&self, tenant: &TenantId, what: &str, about: &str) -> Result<bool, StoreError> {
        let found = self.engine.get(Space::Noted, &keys::named(tenant, what.as_bytes()))?;
        is_about(found.as_deref(), about)
    }

    /// Every stream of every tenant.
    pub fn streams(&self) -> Result<Vec<(TenantId, Stream, StreamRecord)>, StoreError> {
        let damaged = || StoreError::Damaged { space: "streams" };
        let page = self.engine.scan(Space::Streams, &[], &after_prefix(&[]), usize::MAX)?;
        let read = |(key, bytes): (Vec<u8>, Vec<u8>)| {
            let text = String::from_utf8(key).map_err(|_| damaged())?;
            let (tenant, stream) = text.split_once('\0').ok_or_else(damaged)?;
            let tenant = tenant.parse().map_err(|_| damaged())?;
            let stream = Stream::from_text(stream).ok_or_else(damaged)?;
            Ok((tenant, stream, decode("streams", &bytes)?))
        };
        page.into_iter().map(read).collect()
    }

    /// Begins the next file of a stream: its number and its lines hold from here on, whatever happens.
    pub fn begin_stream_file(
        &self,
        tenant: &TenantId,
        stream: Stream,
        date: Date,
    ) -> Result<Option<StreamFile>, StoreError> {
        let key = stream_key(tenant, stream);
        loop {
            let (mut record, as_found) = self.stream_record(&key)?;
            if record.file.is_some() || record.filed_line == record.last_line {
                return Ok(record.file);
            }
            record.last_file += 1;
            let file = StreamFile {
                number: record.last_file,
                date,
                first_line: record.filed_line + 1,
                last_line: record.last_line.min(record.filed_line + FILE_LINES_MAX),
            };
            record.file = Some(file.clone());
            let put = Op::Put(Space::Streams, key.clone(), encode(&record));
            match self.commit(vec![put], vec![as_found]) {
                Err(StoreError::Conflict) => {}
                result => return result.map(|()| Some(file)),
            }
        }
    }

    /// Up to `limit` lines of a stream from number `from` on.
    pub fn stream_lines(
        &self,
        tenant: &TenantId,
        stream: Stream,
        from: u64,
        limit: usize,
    ) -> Result<Vec<StreamLine>, StoreError> {
        let key = stream_key(tenant, stream);
        let end = line_key(&key, u64::MAX);
        let page = self.engine.scan(Space::StreamLines, &line_key(&key, from), &end, limit)?;
        page.iter()
            .map(|(line, bytes)| {
                let damaged = StoreError::Damaged { space: "stream_lines" };
                let number = line.last_chunk().ok_or(damaged)?;
                let stored: StoredLine = decode("stream_lines", bytes)?;
                let StoredLine { cells, x } = stored;
                Ok(StreamLine { number: u64::from_be_bytes(*number), cells, x })
            })
            .collect()
    }

    /// The file stands in the outbox, synced: its lines are not needed any more.
    pub fn end_stream_file(
        &self,
        tenant: &TenantId,
        stream: Stream,
        file: &StreamFile,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let key = stream_key(tenant, stream);
        loop {
            let (mut record, as_found) = self.stream_record(&key)?;
            if record.file.as_ref() != Some(file) {
                break;
            }
            record.file = None;
            record.filed_line = file.last_line;
            record.waiting_since = (record.last_line > file.last_line).then_some(now);
            let put = Op::Put(Space::Streams, key.clone(), encode(&record));
            match self.commit(vec![put], vec![as_found]) {
                Err(StoreError::Conflict) => {}
                result => {
                    result?;
                    break;
                }
            }
        }
        self.forget_lines(&key, file.last_line)
    }

    /// Removes lines that stand in a file; those that a crash leaves go with the next file's.
    fn forget_lines(&self, key: &[u8], last: u64) -> Result<(), StoreError> {
        let (from, end) = (line_key(key, 0), line_key(key, last + 1));
        loop {
            let page = self.engine.scan(Space::StreamLines, &from, &end, REMOVED_AT_ONCE)?;
            if page.is_empty() {
                return Ok(());
            }
            let ops = page.into_iter().map(|(line, _)| Op::Delete(Space::StreamLines, line));
            self.commit(ops.collect(), Vec::new())?;
        }
    }

    fn stream_record(&self, key: &[u8]) -> Result<(StreamRecord, Expect), StoreError> {
        let found = self.engine.get(Space::Streams, key)?;
        let record = match &found {
            Some(bytes) => decode("streams", bytes)?,
            None => StreamRecord::default(),
        };
        Ok((record, expect(Space::Streams, key, found)))
    }
}

fn is_about(note: Option<&[u8]>, about: &str) -> Result<bool, StoreError> {
    let note: Option<StoredNote> = note.map(|bytes| decode("noted", bytes)).transpose()?;
    Ok(note.is_some_and(|note| note.about == about))
}

fn expect(space: Space, key: &[u8], found: Option<Vec<u8>>) -> Expect {
    match found {
        Some(bytes) => Expect::Value(space, key.to_vec(), bytes),
        None => Expect::Absent(space, key.to_vec()),
    }
}

fn stream_key(tenant: &TenantId, stream: Stream) -> Vec<u8> {
    keys::named(tenant, stream.as_str().as_bytes())
}

/// `tenant | 0 | stream | 0 | number u64`.
fn line_key(stream: &[u8], number: u64) -> Vec<u8> {
    let mut key = stream.to_vec();
    key.push(0);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::ReasonCode;
    use crate::store::SimulatedDisk;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn notice(second: i64, file: &str) -> Notice {
        Notice::warning(at(second), ReasonCode::FileIncomplete, file, "m".to_owned())
    }

    #[test]
    fn what_was_said_is_not_said_again_until_it_is_about_something_else() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let acme: TenantId = "acme".parse().unwrap();
        let say = |about| store.notice_once(&acme, &notice(0, "a.csv"), "cut a.csv", about);
        let said = ["1", "1", "2", "2", "1"].map(|about| say(about).unwrap());
        assert_eq!(said, [true, false, true, false, true]);
        assert_eq!(store.streams().unwrap()[0].2.last_line, 3);
        assert!(store.is_noted(&acme, "cut a.csv", "1").unwrap());
        assert!(!store.is_noted(&acme, "cut a.csv", "2").unwrap());
    }

    #[test]
    fn lines_and_files_are_numbered_without_gaps_and_lines_are_in_one_file_each() {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let (acme, stream) = ("acme".parse().unwrap(), Stream::Notices);
        let other: TenantId = "acme-2".parse().unwrap();
        store.notice(&other, &notice(0, "other.csv")).unwrap();
        let date = jiff::civil::date(2026, 11, 23);
        assert_eq!(store.begin_stream_file(&acme, stream, date).unwrap(), None);
        let mut seen = Vec::new();
        for number in 1..=3 {
            for line in 0..number {
                store.notice(&acme, &notice(line, "a.csv")).unwrap();
            }
            let file = store.begin_stream_file(&acme, stream, date).unwrap().unwrap();
            // Said while the file is written: for the next one.
            store.notice(&acme, &notice(9, "b.csv")).unwrap();
            let tomorrow = date.tomorrow().unwrap();
            let same = store.begin_stream_file(&acme, stream, tomorrow).unwrap();
            assert_eq!(same, Some(file.clone()));
            assert_eq!(file.number, number as u64);
            let lines = store.stream_lines(&acme, stream, file.first_line, 100).unwrap();
            seen.extend(lines.iter().map(|l| l.number).filter(|n| *n <= file.last_line));
            store.end_stream_file(&acme, stream, &file, at(10)).unwrap();
            store.end_stream_file(&acme, stream, &file, at(10)).unwrap();
            let left = store.stream_lines(&acme, stream, 0, 100).unwrap();
            assert_eq!(left.len(), 1);
        }
        assert_eq!(seen, (1..=8).collect::<Vec<u64>>());
        assert_eq!(store.stream_lines(&other, stream, 0, 100).unwrap().len(), 1);
    }
}

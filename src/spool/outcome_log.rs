//! What the outcomes file of a batch says, read once from front to back.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::log::{LogReader, Position, SpoolError};
use super::outcome::OutcomeRecord;
use crate::batch::RowOutcome;

/// Where each chunk's outcomes stand, and what is known of the windows that were not released.
#[derive(Debug, Default)]
pub struct OutcomeLog {
    /// Groups of outcomes by chunk, oldest first; a consolidated one replaces those before it.
    groups: HashMap<u32, Vec<(u8, Position)>>,
    /// Rows whose attempt had started and was not answered, by window, with its provider.
    started: HashMap<u32, HashMap<u32, String>>,
    /// Rows with an outcome, by window.
    settled: HashMap<u32, HashSet<u32>>,
    /// The highest window number that any record names.
    last_window: u32,
    /// Where the good records end: a torn tail is cut off here.
    good_end: u64,
}

impl OutcomeLog {
    /// Reads the whole file; start marks and row numbers are kept only for `windows`. What does not reach
    /// to `synced`, where the store knows that an fdatasync succeeded, has no torn tail: it is damaged.
    pub fn scan(
        path: &Path,
        windows: &HashSet<u32>,
        synced: u64,
    ) -> Result<OutcomeLog, SpoolError> {
        let mut log = OutcomeLog::default();
        let Some(mut reader) = LogReader::open_if_there(path)? else {
            // Before a window is claimed there is a file.
            return match windows.is_empty() && synced == 0 {
                true => Ok(log),
                false => Err(SpoolError::Missing { path: path.to_owned() }),
            };
        };
        let mut body = Vec::new();
        while let Some((kind, position)) = reader.next(&mut body)? {
            let (chunk, window) = OutcomeRecord::about(&body)?;
            match kind {
                OutcomeRecord::STARTED => {}
                OutcomeRecord::WHOLE => log.add_whole(chunk, position),
                _ => log.groups.entry(chunk).or_default().push((kind, position)),
            }
            log.last_window = log.last_window.max(window);
            // Of a batch nearly all windows were released: their rows need not be read now.
            if windows.contains(&window) {
                log.note(OutcomeRecord::decode(kind, &body)?);
            }
        }
        log.good_end = reader.good_end();
        match log.good_end < synced {
            true => Err(SpoolError::Damaged { path: path.to_owned(), offset: log.good_end }),
            false => Ok(log),
        }
    }

    /// What a record says about a window that was not released. The order counts: a mark behind an
    /// answer is of another attempt.
    fn note(&mut self, record: OutcomeRecord) {
        match record {
            OutcomeRecord::Started { window, index, provider, .. } => {
                self.started.entry(window).or_default().insert(index, provider);
            }
            OutcomeRecord::Refused { window, rows, .. } => {
                let started = self.started.entry(window).or_default();
                rows.iter().for_each(|row| drop(started.remove(&row.index)));
            }
            OutcomeRecord::Settled { window, rows, .. } => {
                let started = self.started.entry(window).or_default();
                rows.iter().for_each(|row| drop(started.remove(&row.index)));
                self.settled.entry(window).or_default().extend(rows.iter().map(|row| row.index));
            }
            OutcomeRecord::Whole { .. } => {}
        }
    }

    /// New windows are numbered above this one, so that no record is ever taken for another window's.
    pub fn last_window(&self) -> u32 {
        self.last_window
    }

    pub fn good_end(&self) -> u64 {
        self.good_end
    }

    /// Remembers a group of outcomes, or of refusals, that was appended after the scan.
    pub fn add_group(&mut self, chunk: u32, kind: u8, position: Position) {
        self.groups.entry(chunk).or_default().push((kind, position));
    }

    /// Remembers a chunk's consolidated outcomes.
    pub fn add_whole(&mut self, chunk: u32, position: Position) {
        self.groups.insert(chunk, vec![(OutcomeRecord::WHOLE, position)]);
    }

    /// How many groups must be read to know a chunk.
    pub fn group_count(&self, chunk: u32) -> usize {
        self.groups.get(&chunk).map_or(0, Vec::len)
    }

    /// The latest word on each row of a chunk that has one, by position in the chunk.
    pub fn latest(
        &self,
        reader: &LogReader,
        chunk: u32,
    ) -> Result<HashMap<u32, RowOutcome>, SpoolError> {
        let mut latest = HashMap::new();
        for (kind, position) in self.groups.get(&chunk).into_iter().flatten() {
            let body = reader.read_at(*position)?;
            match OutcomeRecord::decode(*kind, &body)? {
                OutcomeRecord::Settled { rows, .. }
                | OutcomeRecord::Refused { rows, .. }
                | OutcomeRecord::Whole { rows, .. } => {
                    latest.extend(rows.into_iter().map(|row| (row.index, row)));
                }
                OutcomeRecord::Started { .. } => {}
            }
        }
        Ok(latest)
    }

    /// The provider of a row's attempt that had started and was not answered, in a window that was not
    /// released.
    pub fn started(&self, window: u32, index: u32) -> Option<&str> {
        self.started.get(&window)?.get(&index).map(String::as_str)
    }

    /// True where the window's last word on the row was written.
    pub fn is_settled(&self, window: u32, index: u32) -> bool {
        self.settled.get(&window).is_some_and(|rows| rows.contains(&index))
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::faults::{self, FileAct};
    use crate::model::Status;
    use crate::spool::LogWriter;

    fn outcome(index: u32, status: Status) -> RowOutcome {
        RowOutcome { status, attempts: 1, ..RowOutcome::untried(index) }
    }

    fn write(log: &LogWriter, record: &OutcomeRecord) -> Position {
        let (kind, body) = record.encode();
        log.append(kind, &body).unwrap()
    }

    #[test]
    fn the_last_word_on_a_row_holds_and_window_numbers_are_never_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes");
        let log = LogWriter::create(&path).unwrap();
        let settled = |chunk, window, rows| OutcomeRecord::Settled { chunk, window, rows };
        let started = |window, index| OutcomeRecord::Started {
            chunk: 0,
            window,
            index,
            provider: "hub".to_owned(),
        };
        write(&log, &started(7, 0));
        write(&log, &settled(0, 7, vec![outcome(0, Status::Deferred)]));
        write(&log, &started(9, 0));
        write(&log, &settled(3, 9, vec![outcome(0, Status::Sent)]));
        let windows = HashSet::from([9]);
        let scanned = OutcomeLog::scan(&path, &windows, 0).unwrap();
        assert_eq!(scanned.last_window(), 9, "also of windows that nobody asks about");
        assert_eq!(scanned.started(9, 0), None, "it was answered");
        assert_eq!(scanned.started(7, 0), None, "nobody asked");
        assert!(scanned.is_settled(9, 0));
        let reader = LogReader::open(&path).unwrap();
        assert_eq!(scanned.latest(&reader, 0).unwrap()[&0].status, Status::Deferred);
        let whole = OutcomeRecord::Whole { chunk: 0, rows: vec![outcome(0, Status::Failed)] };
        write(&log, &whole);
        let scanned = OutcomeLog::scan(&path, &windows, 0).unwrap();
        let reader = LogReader::open(&path).unwrap();
        assert_eq!(scanned.group_count(0), 1);
        assert_eq!(scanned.latest(&reader, 0).unwrap()[&0].status, Status::Failed);
    }
    #[test]
    fn a_mark_counts_until_its_answer_and_a_later_one_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes");
        let log = LogWriter::create(&path).unwrap();
        let started = |provider: &str| OutcomeRecord::Started {
            chunk: 0,
            window: 4,
            index: 1,
            provider: provider.to_owned(),
        };
        let rows = || vec![outcome(1, Status::Deferred)];
        let refused = OutcomeRecord::Refused { chunk: 0, window: 4, rows: rows() };
        let settled = OutcomeRecord::Settled { chunk: 0, window: 4, rows: rows() };
        let windows = HashSet::from([4]);
        for (record, mark, is_settled) in [
            (started("a"), Some("a"), false),
            (refused, None, false),
            (started("b"), Some("b"), false),
            (settled, None, true),
        ] {
            write(&log, &record);
            let scanned = OutcomeLog::scan(&path, &windows, 0).unwrap();
            assert_eq!(scanned.started(4, 1), mark, "{record:?}");
            assert_eq!(scanned.is_settled(4, 1), is_settled, "{record:?}");
        }
        let scanned = OutcomeLog::scan(&path, &windows, 0).unwrap();
        let reader = LogReader::open(&path).unwrap();
        assert_eq!(scanned.latest(&reader, 0).unwrap()[&1].status, Status::Deferred);
    }

    #[test]
    fn only_a_file_that_nothing_rests_on_may_be_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes");
        let none = HashSet::new();
        assert_eq!(OutcomeLog::scan(&path, &none, 0).unwrap().good_end(), 0);
        let windows = HashSet::from([1]);
        for (windows, synced) in [(&windows, 0), (&none, 1)] {
            let gone = OutcomeLog::scan(&path, windows, synced);
            assert!(matches!(gone, Err(SpoolError::Missing { .. })), "{gone:?}");
        }
        LogWriter::create(&path).unwrap();
        let failing = faults::arrange(|act| match act {
            FileAct::Open(_) => {
                Err(io::Error::from_raw_os_error(rustix::io::Errno::IO.raw_os_error()))
            }
            _ => Ok(()),
        });
        let unread = OutcomeLog::scan(&path, &none, 0);
        drop(failing);
        assert!(matches!(unread, Err(SpoolError::Io { act: "open", .. })), "{unread:?}");
    }

    #[test]
    fn what_was_synced_is_no_torn_tail() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("outcomes");
        let log = LogWriter::create(&path).unwrap();
        let rows = vec![outcome(0, Status::Sent)];
        let first =
            write(&log, &OutcomeRecord::Settled { chunk: 0, window: 1, rows: rows.clone() });
        let second = write(&log, &OutcomeRecord::Settled { chunk: 1, window: 2, rows });
        let synced = log.end().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[first.offset as usize + 12] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let scan = |synced| OutcomeLog::scan(&path, &HashSet::new(), synced);
        assert!(second.offset > 0 && scan(0).unwrap().good_end() == 0);
        let damaged = scan(synced);
        assert!(matches!(damaged, Err(SpoolError::Damaged { offset: 0, .. })), "{damaged:?}");
    }
}

//! What the outcomes file of a batch says, read once from front to back.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::log::{LogReader, Position, SpoolError};
use super::outcome::{OutcomeRecord, RowOutcome};

/// Where each chunk's outcomes stand, and what is known of the windows that were not released.
#[derive(Debug, Default)]
pub struct OutcomeLog {
    /// Groups of outcomes by chunk, oldest first; a consolidated one replaces those before it.
    groups: HashMap<u32, Vec<(u8, Position)>>,
    /// Rows whose attempt had started, by window, with the provider tried last.
    started: HashMap<u32, HashMap<u32, String>>,
    /// Rows with an outcome, by window.
    settled: HashMap<u32, HashSet<u32>>,
    /// The highest window number that any record names.
    last_window: u32,
    /// Where the good records end: a torn tail is cut off here.
    good_end: u64,
}

impl OutcomeLog {
    /// Reads the whole file; start marks and row numbers are kept only for `windows`.
    pub fn scan(path: &Path, windows: &HashSet<u32>) -> Result<OutcomeLog, SpoolError> {
        let mut log = OutcomeLog::default();
        if !path.exists() {
            return Ok(log);
        }
        let mut reader = LogReader::open(path)?;
        let mut body = Vec::new();
        while let Some((kind, position)) = reader.next(&mut body)? {
            match OutcomeRecord::decode(kind, &body)? {
                OutcomeRecord::Started { window, index, provider, .. } => {
                    log.last_window = log.last_window.max(window);
                    if windows.contains(&window) {
                        log.started.entry(window).or_default().insert(index, provider);
                    }
                }
                OutcomeRecord::Settled { chunk, window, rows } => {
                    log.last_window = log.last_window.max(window);
                    log.groups.entry(chunk).or_default().push((kind, position));
                    if windows.contains(&window) {
                        let settled = log.settled.entry(window).or_default();
                        settled.extend(rows.iter().map(|row| row.index));
                    }
                }
                OutcomeRecord::Whole { chunk, .. } => log.add_whole(chunk, position),
            }
        }
        log.good_end = reader.good_end();
        Ok(log)
    }

    /// New windows are numbered above this one, so that no record is ever taken for another window's.
    pub fn last_window(&self) -> u32 {
        self.last_window
    }

    pub fn good_end(&self) -> u64 {
        self.good_end
    }

    /// Remembers a group that was appended after the scan.
    pub fn add_group(&mut self, chunk: u32, position: Position) {
        self.groups.entry(chunk).or_default().push((OutcomeRecord::SETTLED, position));
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
                OutcomeRecord::Settled { rows, .. } | OutcomeRecord::Whole { rows, .. } => {
                    latest.extend(rows.into_iter().map(|row| (row.index, row)));
                }
                OutcomeRecord::Started { .. } => {}
            }
        }
        Ok(latest)
    }

    /// The provider that a row's attempt had started at, in a window that was not released.
    pub fn started(&self, window: u32, index: u32) -> Option<&str> {
        self.started.get(&window)?.get(&index).map(String::as_str)
    }

    /// True where the row has an outcome in this window.
    pub fn is_settled(&self, window: u32, index: u32) -> bool {
        self.settled.get(&window).is_some_and(|rows| rows.contains(&index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;
    use crate::spool::LogWriter;

    fn outcome(index: u32, status: Status) -> RowOutcome {
        RowOutcome {
            index,
            status,
            code: None,
            attempts: 1,
            provider: String::new(),
            provider_message_id: String::new(),
            provider_code: String::new(),
            channels_tried: String::new(),
            deferred_until: None,
            submitted_at: None,
            sent_at: None,
            ended_at: None,
        }
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
        let scanned = OutcomeLog::scan(&path, &windows).unwrap();
        assert_eq!(scanned.last_window(), 9, "also of windows that nobody asks about");
        assert_eq!(scanned.started(9, 0), Some("hub"));
        assert_eq!(scanned.started(7, 0), None);
        assert!(scanned.is_settled(9, 0));
        let reader = LogReader::open(&path).unwrap();
        assert_eq!(scanned.latest(&reader, 0).unwrap()[&0].status, Status::Deferred);
        let whole = OutcomeRecord::Whole { chunk: 0, rows: vec![outcome(0, Status::Failed)] };
        write(&log, &whole);
        let scanned = OutcomeLog::scan(&path, &windows).unwrap();
        let reader = LogReader::open(&path).unwrap();
        assert_eq!(scanned.group_count(0), 1);
        assert_eq!(scanned.latest(&reader, 0).unwrap()[&0].status, Status::Failed);
    }
}

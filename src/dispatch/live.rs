//! A batch that has open rows: its files, opened once.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::error::DispatchError;
use crate::batch::{RowMark, RowOutcome};
use crate::spool::{
    Chunk, LogReader, LogWriter, OutcomeLog, OutcomeRecord, Position, RowHead, Spool, SpoolError,
};
use crate::store::{BatchRecord, ChunkRecord};

/// Shared by the tasks of its chunks.
#[derive(Debug)]
pub(super) struct LiveBatch {
    pub(super) record: BatchRecord,
    pub(super) head: RowHead,
    rows: LogReader,
    duplicates: Option<LogReader>,
    duplicates_path: PathBuf,
    outcomes: LogWriter,
    outcome_reader: LogReader,
    log: Mutex<OutcomeLog>,
    /// The last words on the rows of the chunks that are being worked on.
    words: Mutex<HashMap<u32, Words>>,
    next_window: AtomicU32,
    /// Rows of it that went in a second, of late.
    pace: AtomicUsize,
}

/// By position in the chunk; those behind the end are untried.
pub(super) type Words = Vec<LastWord>;

/// What is remembered of the last word on a row while its chunk is worked on.
#[derive(Debug, Clone, Copy)]
pub(super) struct LastWord {
    mark: RowMark,
    pub(super) is_settled: bool,
    pub(super) is_resendable: bool,
    pub(super) deferred_until: Option<Timestamp>,
    pub(super) receipt_until: Option<Timestamp>,
}

impl LastWord {
    const UNTRIED: LastWord = LastWord {
        mark: RowMark::UNTRIED,
        is_settled: false,
        is_resendable: false,
        deferred_until: None,
        receipt_until: None,
    };

    fn of(row: &RowOutcome) -> LastWord {
        LastWord {
            mark: RowMark::of(row),
            is_settled: row.is_settled(),
            is_resendable: row.is_resendable(),
            deferred_until: row.deferred_until,
            receipt_until: row.receipt_until,
        }
    }
}

/// The place of a row's last word.
fn place(words: &mut Words, index: u32) -> &mut LastWord {
    let at = index as usize;
    if at >= words.len() {
        words.resize(at + 1, LastWord::UNTRIED);
    }
    &mut words[at]
}

/// A chunk has more groups of outcomes than this: they are consolidated when it is released.
const GROUPS_MAX: usize = 4;

impl LiveBatch {
    /// Opens the files; a torn tail of the outcomes is cut off, never anything that was `synced`.
    /// `windows` are those not released.
    pub(super) fn open(
        spool: &Spool,
        record: BatchRecord,
        windows: &HashSet<u32>,
        synced: u64,
    ) -> Result<LiveBatch, DispatchError> {
        let folder = spool.batch(record.id);
        let mut rows = LogReader::open(&folder.rows())?;
        let mut body = Vec::new();
        let head = match rows.next(&mut body)? {
            Some((RowHead::KIND, _)) => RowHead::from_bytes(&body).map_err(SpoolError::from)?,
            _ => return Err(SpoolError::Damaged { path: folder.rows(), offset: 0 }.into()),
        };
        let log = OutcomeLog::scan(&folder.outcomes(), windows, synced)?;
        let outcomes = LogWriter::resume(&folder.outcomes(), log.good_end())?;
        folder.sync()?;
        Ok(LiveBatch {
            duplicates_path: folder.duplicates(),
            duplicates: LogReader::open_if_there(&folder.duplicates())?,
            outcome_reader: LogReader::open(&folder.outcomes())?,
            // Above every number ever used: the log keeps records of windows long released.
            next_window: AtomicU32::new(
                windows.iter().copied().fold(log.last_window(), u32::max).saturating_add(1),
            ),
            pace: AtomicUsize::new(0),
            record,
            head,
            rows,
            outcomes,
            log: Mutex::new(log),
            words: Mutex::default(),
        })
    }

    pub(super) fn next_window(&self) -> u32 {
        self.next_window.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn pace(&self) -> usize {
        self.pace.load(Ordering::Relaxed)
    }

    pub(super) fn set_pace(&self, rows_per_second: usize) {
        self.pace.store(rows_per_second, Ordering::Relaxed);
    }

    pub(super) fn chunk(&self, chunk: &ChunkRecord) -> Result<Chunk, DispatchError> {
        let position = Position { offset: chunk.offset, bytes: chunk.bytes };
        let duplicates = match (&self.duplicates, chunk.duplicates) {
            (Some(log), Some((offset, bytes))) => Some((log, Position { offset, bytes })),
            (None, Some(_)) => {
                return Err(SpoolError::Missing { path: self.duplicates_path.clone() }.into());
            }
            (_, None) => None,
        };
        Ok(Chunk::read(&self.rows, position, duplicates)?)
    }

    /// The latest word on each row of a chunk that has one. What is appended to the chunk is held
    /// against these, until it is left.
    pub(super) fn latest(&self, chunk: u32) -> Result<HashMap<u32, RowOutcome>, DispatchError> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let latest = log.latest(&self.outcome_reader, chunk)?;
        drop(log);
        let mut words = Words::new();
        for (index, row) in &latest {
            *place(&mut words, *index) = LastWord::of(row);
        }
        self.words().insert(chunk, words);
        Ok(latest)
    }

    /// The last words on the rows of a chunk that is being worked on.
    pub(super) fn last_words(&self, chunk: u32) -> Words {
        self.words().get(&chunk).cloned().unwrap_or_default()
    }

    fn words(&self) -> MutexGuard<'_, HashMap<u32, Words>> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A chunk is not worked on any more.
    pub(super) fn leave(&self, chunk: u32) {
        self.words().remove(&chunk);
    }

    /// Marks an attempt as begun. The mark is in the kernel's hands on return: it survives a crash of
    /// the process, and costs one small write into the page cache.
    pub(super) fn mark_started(
        &self,
        chunk: u32,
        window: u32,
        index: u32,
        provider: &str,
    ) -> Result<(), DispatchError> {
        let body = OutcomeRecord::mark(chunk, window, index, provider);
        self.outcomes.append(OutcomeRecord::STARTED, &body)?;
        Ok(())
    }

    /// Appends outcomes, not yet synced.
    pub(super) fn append(
        &self,
        chunk: u32,
        window: u32,
        rows: &[RowOutcome],
    ) -> Result<(), DispatchError> {
        self.check(chunk, rows)?;
        self.add(chunk, OutcomeRecord::SETTLED, &OutcomeRecord::group(chunk, window, rows))
    }

    /// Takes a row's start mark back: its provider refused it for certain, and the next is to be tried.
    pub(super) fn take_back(
        &self,
        chunk: u32,
        window: u32,
        row: &RowOutcome,
    ) -> Result<(), DispatchError> {
        let rows = std::slice::from_ref(row);
        self.check(chunk, rows)?;
        self.add(chunk, OutcomeRecord::REFUSED, &OutcomeRecord::group(chunk, window, rows))
    }

    fn add(&self, chunk: u32, kind: u8, body: &[u8]) -> Result<(), DispatchError> {
        let position = self.outcomes.append(kind, body)?;
        self.log.lock().unwrap_or_else(PoisonError::into_inner).add_group(chunk, kind, position);
        Ok(())
    }

    /// Refuses words that must never stand behind those that are there: nothing of them is stored, and
    /// the batch is set aside.
    fn check(&self, chunk: u32, rows: &[RowOutcome]) -> Result<(), DispatchError> {
        let is_known = self.words().contains_key(&chunk);
        if !is_known {
            self.latest(chunk)?;
        }
        let mut words = self.words();
        let words = words.entry(chunk).or_default();
        for row in rows {
            let (before, after) = (place(words, row.index), LastWord::of(row));
            if !after.mark.may_follow(before.mark) {
                let batch = self.record.id.to_string();
                let (before, after) = (Box::new(before.mark), Box::new(after.mark));
                return Err(DispatchError::IllegalWord {
                    batch,
                    chunk,
                    index: row.index,
                    before,
                    after,
                });
            }
            *before = after;
        }
        Ok(())
    }

    /// Writes what is known of a chunk's rows in one place, where it lies in many.
    pub(super) fn consolidate(&self, chunk: u32) -> Result<(), DispatchError> {
        let groups = self.log.lock().unwrap_or_else(PoisonError::into_inner).group_count(chunk);
        if groups <= GROUPS_MAX {
            return Ok(());
        }
        let mut rows: Vec<RowOutcome> = self.latest(chunk)?.into_values().collect();
        rows.sort_unstable_by_key(|row| row.index);
        let (kind, body) = OutcomeRecord::Whole { chunk, rows }.encode();
        let position = self.outcomes.append(kind, &body)?;
        self.log.lock().unwrap_or_else(PoisonError::into_inner).add_whole(chunk, position);
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), DispatchError> {
        Ok(self.outcomes.sync()?)
    }

    /// How long the outcomes are: asked before a sync, stored behind it.
    pub(super) fn outcomes_bytes(&self) -> u64 {
        // After an error nothing is stored, since the sync fails.
        self.outcomes.end().unwrap_or(0)
    }

    /// What the log says of a row in a window that was not released.
    pub(super) fn with_log<T>(&self, ask: impl FnOnce(&OutcomeLog) -> T) -> T {
        ask(&self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

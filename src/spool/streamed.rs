//! A long file of records that goes to the disk while it is still written.
//!
//! Left to the end, one sync of a large file takes as long as all of the writing, with nobody at work
//! beside it. Nothing counts before `finish`, as with any other log.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use super::log::{LogWriter, Position, SpoolError};

/// Bytes behind which the disk is set to work.
const SYNC_BYTES: u64 = 16 << 20;

/// Appends records; the first large piece of them starts a thread that syncs.
#[derive(Debug)]
pub struct StreamedLog {
    log: Arc<LogWriter>,
    unsynced: u64,
    syncing: Option<Syncing>,
}

#[derive(Debug)]
struct Syncing {
    wake: SyncSender<()>,
    thread: JoinHandle<Result<(), SpoolError>>,
}

impl StreamedLog {
    /// A new, empty file; one that stands there from an earlier, unfinished try is emptied.
    pub fn create(path: &Path) -> Result<StreamedLog, SpoolError> {
        let log = Arc::new(LogWriter::create(path)?);
        Ok(StreamedLog { log, unsynced: 0, syncing: None })
    }

    pub fn append(&mut self, kind: u8, body: &[u8]) -> Result<Position, SpoolError> {
        let appended = self.log.append(kind, body);
        if appended.is_err() {
            // The write may fail only because a sync did, which knows why.
            self.end_syncing()?;
        }
        self.unsynced += body.len() as u64;
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            let syncing = self.syncing.get_or_insert_with(|| Syncing::start(&self.log));
            // Whoever still syncs finds the wish when that is done.
            let _wished_already = syncing.wake.try_send(());
        }
        appended
    }

    /// Returns once everything is on the disk.
    pub fn finish(mut self) -> Result<(), SpoolError> {
        self.end_syncing()?;
        self.log.sync()
    }

    fn end_syncing(&mut self) -> Result<(), SpoolError> {
        let Some(Syncing { wake, thread }) = self.syncing.take() else { return Ok(()) };
        drop(wake);
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Syncing {
    fn start(log: &Arc<LogWriter>) -> Syncing {
        let (wake, woken) = sync_channel(1);
        let log = Arc::clone(log);
        let thread = thread::spawn(move || woken.iter().try_for_each(|()| log.sync()));
        Syncing { wake, thread }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::LogReader;

    #[test]
    fn records_that_are_synced_on_the_way_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = StreamedLog::create(&path).unwrap();
        let body = vec![7; 1 << 20];
        let places: Vec<Position> = (0..40).map(|_| log.append(1, &body).unwrap()).collect();
        assert!(log.syncing.is_some());
        log.finish().unwrap();
        let reader = LogReader::open(&path).unwrap();
        assert!(places.into_iter().all(|place| reader.read_at(place).unwrap() == body));
    }
}

//! sled 0.34.7, made durable.
//!
//! sled's `flush()` is not a barrier against power cuts on Linux (it calls sync_file_range): one
//! committer thread groups the commits that wait, runs one transaction, flushes, and then calls
//! fdatasync on a descriptor of sled's `db` file that was opened once and kept, so that the kernel
//! reports every write-back error to it. Any error there ends the handle for good.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::Advice;
use sled::transaction::{ConflictableTransactionError, TransactionError, Transactional};

use super::engine::{
    Engine, Expect, Health, KeyValue, OPS_MAX, Op, Space, StoreError, check_limits,
};

/// Page cache; plan four to five times as much resident memory when the store is large.
const CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// Commits that may wait for the committer.
const WAITING_MAX: usize = 1024;
/// The lock of the database is tried so often, so far apart: two seconds.
const LOCK_TRIES: u32 = 40;
const LOCK_WAIT: Duration = Duration::from_millis(50);
/// A commit that takes longer means the engine hangs.
const COMMIT_MAX: Duration = Duration::from_secs(30);

struct Request {
    ops: Vec<Op>,
    expected: Vec<Expect>,
    reply: SyncSender<Result<(), StoreError>>,
}

/// Keys of batches and of their orders that a group of commits changes: from before it can be read until
/// it is synced.
#[derive(Debug, Default)]
struct InFlight {
    keys: Mutex<Vec<Vec<u8>>>,
    synced: Condvar,
}

impl InFlight {
    fn begin(&self, group: &[Request]) {
        let ops = group.iter().flat_map(|request| &request.ops);
        let keys = ops.filter_map(|op| match op {
            Op::Put(Space::Batches | Space::Publications, key, _) => Some(key.clone()),
            _ => None,
        });
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
    }

    fn end(&self) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.synced.notify_all();
    }

    /// Waits until none of these begins with `prefix`.
    fn pass(&self, prefix: &[u8]) {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let touched = |keys: &mut Vec<Vec<u8>>| keys.iter().any(|key| key.starts_with(prefix));
        // A commit that takes longer fails, and with it the next look at the store.
        let _passed = self.synced.wait_timeout_while(keys, COMMIT_MAX, touched);
    }
}

/// The open database and its committer.
#[derive(Debug)]
pub(super) struct SledEngine {
    folder: PathBuf,
    trees: Vec<sled::Tree>,
    in_flight: Arc<InFlight>,
    failed: Arc<AtomicBool>,
    requests: Mutex<Option<SyncSender<Request>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Whoever holds it keeps commits from being synced.
    #[cfg(test)]
    before_sync: Arc<Mutex<()>>,
}

fn failed(act: &str, error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(format!("{act}: {error}"))
}

/// What is left for an operator to do: nothing is ever deleted or made anew here.
fn unopened(folder: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Failed(format!(
        "open store: {error}; nothing of it was changed: see that no other daemon runs on it and that the disk is \
         sound, keep a copy of {}, then restore data_dir from a backup",
        folder.display()
    ))
}

impl SledEngine {
    pub(super) fn open(folder: &Path) -> Result<SledEngine, StoreError> {
        catch_unwind(|| SledEngine::try_open(folder))
            .unwrap_or_else(|_| Err(unopened(folder, "the engine panicked")))
    }

    fn try_open(folder: &Path) -> Result<SledEngine, StoreError> {
        let config = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(500))
            .mode(sled::Mode::HighThroughput);
        let refused = |error| match error {
            sled::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
                failed("open store", "the disk is full; make room and start again")
            }
            error => unopened(folder, error),
        };
        let db = open_unlocked(&config).map_err(refused)?;
        let mut trees = Vec::new();
        for space in Space::ALL {
            trees.push(db.open_tree(space.as_str()).map_err(refused)?);
        }
        db.flush().map_err(refused)?;
        let log = sync_new_store(folder).map_err(|error| failed("sync store", error))?;
        let is_failed = Arc::new(AtomicBool::new(false));
        let (requests, inbox) = sync_channel(WAITING_MAX);
        let in_flight = Arc::<InFlight>::default();
        #[cfg(test)]
        let before_sync = Arc::default();
        let work = Committer {
            db,
            trees: trees.clone(),
            log,
            in_flight: Arc::clone(&in_flight),
            failed: Arc::clone(&is_failed),
            #[cfg(test)]
            before_sync: Arc::clone(&before_sync),
        };
        let committer = std::thread::Builder::new()
            .name("store-committer".to_owned())
            .spawn(move || work.run(&inbox))
            .map_err(|error| failed("start committer", error))?;
        Ok(SledEngine {
            folder: folder.to_owned(),
            trees,
            in_flight,
            failed: is_failed,
            #[cfg(test)]
            before_sync,
            requests: Mutex::new(Some(requests)),
            committer: Mutex::new(Some(committer)),
        })
    }

    fn tree(&self, space: Space) -> &sled::Tree {
        &self.trees[space as usize]
    }

    fn check_alive(&self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed("an earlier commit failed".to_owned()));
        }
        Ok(())
    }
}

/// Opens the database; waits a little for its lock, since the threads of a handle that was just dropped,
/// or a daemon that is just ending, may hold it a moment longer.
fn open_unlocked(config: &sled::Config) -> sled::Result<sled::Db> {
    let mut tries = LOCK_TRIES;
    loop {
        match config.open() {
            // sled gives its lock's refusal no kind of its own.
            Err(sled::Error::Io(error)) if error.kind() == io::ErrorKind::Other && tries > 0 => {
                tries -= 1;
                std::thread::sleep(LOCK_WAIT);
            }
            result => return result,
        }
    }
}

/// Makes the files of a store durable and opens the descriptor that is kept.
fn sync_new_store(folder: &Path) -> io::Result<File> {
    let log = File::open(folder.join("db"))?;
    log.sync_all()?;
    let blobs = folder.join("blobs");
    if blobs.is_dir() {
        File::open(blobs)?.sync_all()?;
    }
    File::open(folder)?.sync_all()?;
    if let Some(parent) = folder.parent().filter(|p| !p.as_os_str().is_empty()) {
        File::open(parent)?.sync_all()?;
    }
    Ok(log)
}

impl Engine for SledEngine {
    fn commit(&self, ops: Vec<Op>, expected: Vec<Expect>) -> Result<(), StoreError> {
        check_limits(&ops)?;
        self.check_alive()?;
        let (reply, answer) = sync_channel(1);
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gone = || StoreError::Failed("the committer is gone".to_owned());
        let request = Request { ops, expected, reply };
        requests.ok_or_else(gone)?.send(request).map_err(|_| gone())?;
        match answer.recv_timeout(COMMIT_MAX) {
            Ok(result) => result,
            Err(_) => {
                self.failed.store(true, Ordering::Release);
                Err(StoreError::Failed("a commit took longer than 30 s or broke off".to_owned()))
            }
        }
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_alive()?;
        let value = self.tree(space).get(key).map_err(|error| failed("read store", error))?;
        Ok(value.map(|v| v.to_vec()))
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.check_alive()?;
        let mut found = Vec::new();
        if from >= until {
            return Ok(found);
        }
        for item in self.tree(space).range(from..until).take(limit) {
            let (key, value) = item.map_err(|error| failed("scan store", error))?;
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    fn scan_back(
        &self,
        space: Space,
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.check_alive()?;
        let mut found = Vec::new();
        for item in self.tree(space).range(..until).rev().take(limit) {
            let (key, value) = item.map_err(|error| failed("scan store", error))?;
            found.push((key.to_vec(), value.to_vec()));
        }
        Ok(found)
    }

    fn settled(&self, batch: &[u8]) -> Result<(), StoreError> {
        self.in_flight.pass(batch);
        self.check_alive()
    }

    fn health(&self) -> Health {
        let blobs = std::fs::read_dir(self.folder.join("blobs")).map_or(0, |d| d.count() as u64);
        Health { failed: self.failed.load(Ordering::Acquire), blobs }
    }
}

impl Drop for SledEngine {
    fn drop(&mut self) {
        drop(self.requests.lock().unwrap_or_else(PoisonError::into_inner).take());
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(committer) = committer {
            // A panic of the committer has been turned into `failed` already.
            let _ended = committer.join();
        }
        // sled panics where the disk is dead when its last handle goes; the process has an error to tell.
        let trees = std::mem::take(&mut self.trees);
        let _panicked = catch_unwind(AssertUnwindSafe(|| drop(trees)));
    }
}

struct Committer {
    db: sled::Db,
    trees: Vec<sled::Tree>,
    log: File,
    in_flight: Arc<InFlight>,
    failed: Arc<AtomicBool>,
    #[cfg(test)]
    before_sync: Arc<Mutex<()>>,
}

impl Committer {
    fn run(&self, inbox: &Receiver<Request>) {
        while let Ok(first) = inbox.recv() {
            let mut ops = first.ops.len();
            let mut group = vec![first];
            while ops < OPS_MAX {
                let Ok(next) = inbox.try_recv() else { break };
                ops += next.ops.len();
                group.push(next);
            }
            self.in_flight.begin(&group);
            let results = if self.failed.load(Ordering::Acquire) {
                Err(StoreError::Failed("an earlier commit failed".to_owned()))
            } else {
                catch_unwind(AssertUnwindSafe(|| self.commit(&group)))
                    .unwrap_or_else(|_| Err(StoreError::Failed("the engine panicked".to_owned())))
            };
            if results.is_err() {
                self.failed.store(true, Ordering::Release);
            }
            self.in_flight.end();
            for (index, request) in group.into_iter().enumerate() {
                let result = match &results {
                    Ok(each) => each[index].clone(),
                    Err(error) => Err(error.clone()),
                };
                // The caller may have given up waiting; then the handle is marked failed already.
                let _gone = request.reply.send(result);
            }
        }
    }

    /// One transaction, one flush, one fdatasync for the whole group. The inner results tell which
    /// requests found what they expected.
    fn commit(&self, group: &[Request]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let results = self
            .trees
            .transaction(|trees| {
                let mut results = Vec::with_capacity(group.len());
                for request in group {
                    let held = holds(trees, &request.expected)?;
                    if held {
                        for op in &request.ops {
                            match op {
                                Op::Put(space, key, value) => {
                                    trees[*space as usize]
                                        .insert(key.as_slice(), value.as_slice())?;
                                }
                                Op::Delete(space, key) => {
                                    trees[*space as usize].remove(key.as_slice())?;
                                }
                            }
                        }
                    }
                    results.push(if held { Ok(()) } else { Err(StoreError::Conflict) });
                }
                Ok::<_, ConflictableTransactionError<()>>(results)
            })
            .map_err(|error| match error {
                TransactionError::Storage(error) => failed("commit", error),
                TransactionError::Abort(()) => failed("commit", "aborted"),
            })?;
        #[cfg(test)]
        drop(self.before_sync.lock());
        self.db.flush().map_err(|error| failed("flush", error))?;
        self.log.sync_data().map_err(|error| {
            // The kernel keeps what it could not write, as if it stood on the disk: the next start must
            // read what really does.
            let _best_effort = rustix::fs::fadvise(&self.log, 0, None, Advice::DontNeed);
            failed("sync", error)
        })?;
        Ok(results)
    }
}

fn holds(
    trees: &[sled::transaction::TransactionalTree],
    expected: &[Expect],
) -> Result<bool, ConflictableTransactionError<()>> {
    for expect in expected {
        let held = match expect {
            Expect::Absent(space, key) => trees[*space as usize].get(key)?.is_none(),
            Expect::Value(space, key, value) => {
                trees[*space as usize].get(key)?.is_some_and(|found| found == value.as_slice())
            }
        };
        if !held {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// An ACK was published whose verdict a power cut took back.
    #[test]
    fn what_can_be_read_before_it_is_synced_is_settled_only_then() {
        let folder = tempfile::tempdir().unwrap();
        let engine = Arc::new(SledEngine::open(folder.path()).unwrap());
        let (mine, other) = (b"batch 1".to_vec(), b"batch 2".to_vec());
        let not_yet = engine.before_sync.lock().unwrap();
        let commit = std::thread::spawn({
            let (engine, key) = (Arc::clone(&engine), mine.clone());
            move || engine.commit(vec![Op::Put(Space::Batches, key, b"verdict".to_vec())], vec![])
        });
        while engine.get(Space::Batches, &mine).unwrap().is_none() {
            std::thread::yield_now();
        }
        engine.settled(&other).unwrap();
        let (told, settled) = channel();
        let reader = std::thread::spawn({
            let (engine, key) = (Arc::clone(&engine), mine);
            move || told.send(engine.settled(&key)).unwrap()
        });
        assert!(settled.recv_timeout(Duration::from_millis(200)).is_err(), "it is not synced");
        drop(not_yet);
        assert_eq!(settled.recv_timeout(COMMIT_MAX), Ok(Ok(())));
        assert_eq!(commit.join().unwrap(), Ok(()));
        reader.join().unwrap();
    }
}

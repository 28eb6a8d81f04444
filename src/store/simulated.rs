//! An engine in memory whose disk survives it, and whose commits fail when told to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::engine::{Engine, Expect, Health, KeyValue, Op, Space, StoreError, check_limits};

/// What a simulated store has on its disk; open it again after a "crash".
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<Disk>>);

#[derive(Debug, Default)]
struct Disk {
    values: BTreeMap<(Space, Vec<u8>), Vec<u8>>,
    commits: u64,
    fail_at: Option<(u64, bool)>,
    full: bool,
    unsynced: bool,
}

impl SimulatedDisk {
    /// Lets the `nth` commit from now (1 is the next) fail. With `applied` it reached the disk and only
    /// the answer was lost, as after a failed sync; else nothing was changed.
    pub fn fail_commit(&self, nth: u64, applied: bool) {
        let mut disk = self.disk();
        disk.fail_at = Some((disk.commits + nth, applied));
    }

    /// While it is full there is room for no commit; nothing fails for good.
    pub fn fill(&self, full: bool) {
        self.disk().full = full;
    }

    /// While it is so, whoever waits for what can be read to be synced waits in vain: the power goes first.
    pub fn leave_unsynced(&self, unsynced: bool) {
        self.disk().unsynced = unsynced;
    }

    /// True once a commit failed that was told to.
    pub fn has_failed(&self) -> bool {
        let disk = self.disk();
        disk.fail_at.is_some_and(|(at, _)| disk.commits >= at)
    }

    /// The disk is as it is, and its commits succeed again: before another process begins.
    pub fn mend(&self) {
        self.disk().fail_at = None;
    }

    /// Commits tried so far.
    pub fn commits(&self) -> u64 {
        self.disk().commits
    }

    pub(super) fn open(&self) -> SimulatedEngine {
        SimulatedEngine { disk: self.clone(), failed: AtomicBool::new(false) }
    }

    fn disk(&self) -> std::sync::MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(super) struct SimulatedEngine {
    disk: SimulatedDisk,
    failed: AtomicBool,
}

impl SimulatedEngine {
    fn check_alive(&self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) {
            return Err(StoreError::Failed("an earlier commit failed".to_owned()));
        }
        Ok(())
    }
}

impl Engine for SimulatedEngine {
    fn commit(&self, ops: Vec<Op>, expected: Vec<Expect>) -> Result<(), StoreError> {
        check_limits(&ops)?;
        self.check_alive()?;
        let mut disk = self.disk.disk();
        if disk.full {
            return Err(StoreError::Full);
        }
        disk.commits += 1;
        let fault = disk.fail_at.filter(|(at, _)| *at == disk.commits);
        let held = expected.iter().all(|expect| match expect {
            Expect::Absent(space, key) => !disk.values.contains_key(&(*space, key.clone())),
            Expect::Value(space, key, value) => {
                disk.values.get(&(*space, key.clone())) == Some(value)
            }
        });
        if held && fault.is_none_or(|(_, applied)| applied) {
            for op in ops {
                match op {
                    Op::Put(space, key, value) => disk.values.insert((space, key), value),
                    Op::Delete(space, key) => disk.values.remove(&(space, key)),
                };
            }
        }
        if fault.is_some() {
            self.failed.store(true, Ordering::Release);
            return Err(StoreError::Failed("injected fault".to_owned()));
        }
        if held { Ok(()) } else { Err(StoreError::Conflict) }
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_alive()?;
        Ok(self.disk.disk().values.get(&(space, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.check_alive()?;
        if from >= until {
            return Ok(Vec::new());
        }
        let disk = self.disk.disk();
        let range = disk.values.range((space, from.to_vec())..(space, until.to_vec()));
        Ok(range.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn scan_back(
        &self,
        space: Space,
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError> {
        self.check_alive()?;
        let disk = self.disk.disk();
        let range = disk.values.range((space, Vec::new())..(space, until.to_vec())).rev();
        Ok(range.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn settled(&self, _batch: &[u8]) -> Result<(), StoreError> {
        if self.disk.disk().unsynced {
            self.failed.store(true, Ordering::Release);
        }
        self.check_alive()
    }

    fn health(&self) -> Health {
        Health { failed: self.failed.load(Ordering::Acquire), blobs: 0 }
    }
}

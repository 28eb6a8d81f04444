//! One change at a time for each final name: what is published last is recorded last.

use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::RelPath;

/// The final names at which something is being changed. Different names do not wait for each other.
#[derive(Debug, Default)]
pub(super) struct Targets {
    held: Mutex<HashSet<RelPath>>,
    freed: Condvar,
}

/// Names that nobody else changes until this is dropped.
#[derive(Debug)]
pub(super) struct Held<'t> {
    targets: &'t Targets,
    paths: Vec<RelPath>,
}

impl Targets {
    /// Waits until nobody holds any of the names, then holds them all.
    pub(super) fn hold(&self, paths: &[&RelPath]) -> Held<'_> {
        let mut held = self.lock();
        while paths.iter().any(|path| held.contains(*path)) {
            held = self.freed.wait(held).unwrap_or_else(PoisonError::into_inner);
        }
        let paths: Vec<RelPath> = paths.iter().map(|path| (*path).clone()).collect();
        held.extend(paths.iter().cloned());
        Held { targets: self, paths }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<RelPath>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        let mut held = self.targets.lock();
        for path in &self.paths {
            held.remove(path);
        }
        drop(held);
        self.targets.freed.notify_all();
    }
}

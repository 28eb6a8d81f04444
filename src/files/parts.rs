//! The table of a tenant's uploads that are not files yet: those that run, and those that were cut and
//! can be continued.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::folder::Shown;
use super::quota::Amount;
use super::{Entry, EntryKind, RelPath};
use crate::model::FileVersion;

/// Cut uploads that one tenant can have; the oldest makes room.
pub(super) const INCOMPLETE_MAX: usize = 100;

/// One upload that has begun and is no file yet.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) target: RelPath,
    /// The name of its bytes in the hidden folder.
    pub(super) temp: RelPath,
    pub(super) size: Arc<Size>,
    /// Whose upload it is.
    pub(super) account: String,
    /// When it began; of a cut one, when it was cut.
    pub(super) since: Timestamp,
    pub(super) state: PartState,
    /// The bytes that a label on disk vouches for: so many survive a restart.
    pub(super) label: Option<u64>,
}

/// How far an upload is; the one who writes tells all others.
#[derive(Debug, Default)]
pub(super) struct Size {
    /// Bytes that are written, from the beginning on without a hole.
    pub(super) unbroken: AtomicU64,
    /// Bytes that are held against the quota.
    pub(super) counted: AtomicU64,
}

impl Size {
    pub(super) fn of(bytes: u64) -> Arc<Size> {
        let size = Size::default();
        size.set(bytes);
        Arc::new(size)
    }

    pub(super) fn set(&self, bytes: u64) {
        self.unbroken.store(bytes, Ordering::Relaxed);
        self.counted.store(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PartState {
    Running,
    Cut,
}

/// The table, the newest last.
#[derive(Debug, Default)]
pub(super) struct Parts(Mutex<Vec<Part>>);

impl Part {
    pub(super) fn bytes(&self) -> u64 {
        self.size.unbroken.load(Ordering::Relaxed)
    }

    fn entry(&self) -> Entry {
        in_progress_entry(&self.target, self.bytes(), self.since)
    }

    fn is_cut(&self) -> bool {
        self.state == PartState::Cut
    }
}

impl Parts {
    pub(super) fn add(&self, part: Part) {
        self.lock().push(part);
    }

    /// Adds a cut upload that is older than all others of its name; returns what has to go for it.
    pub(super) fn add_cut(&self, part: Part) -> Vec<Part> {
        let mut parts = self.lock();
        let same = parts.iter().position(|other| other.target == part.target);
        let index = same.unwrap_or(parts.len());
        parts.insert(index, part);
        surplus(&mut parts)
    }

    /// Takes an upload out of the table.
    pub(super) fn end(&self, temp: &RelPath) -> Option<Part> {
        let mut parts = self.lock();
        let index = parts.iter().position(|part| part.temp == *temp)?;
        Some(parts.remove(index))
    }

    /// Turns a running upload into a cut one. Returns those that have to go for it: itself where a
    /// newer upload of the name is there, else older cut ones of the name and those beyond the limit.
    pub(super) fn cut(&self, temp: &RelPath, now: Timestamp) -> Vec<Part> {
        let mut parts = self.lock();
        let Some(index) = parts.iter().position(|part| part.temp == *temp) else {
            return Vec::new();
        };
        let mut part = parts.remove(index);
        if parts[index..].iter().any(|other| other.target == part.target) {
            return vec![part];
        }
        part.state = PartState::Cut;
        part.since = now;
        let mut gone = take_out(&mut parts, |other| other.is_cut() && other.target == part.target);
        parts.push(part);
        gone.extend(surplus(&mut parts));
        gone
    }

    /// Lets the newest cut upload of a name run again.
    pub(super) fn resume(&self, target: &RelPath) -> Option<Part> {
        let mut parts = self.lock();
        let index = parts.iter().rposition(|part| part.is_cut() && part.target == *target)?;
        let mut part = parts.remove(index);
        part.state = PartState::Running;
        parts.push(part.clone());
        Some(part)
    }

    /// Takes the cut uploads of a name out of the table.
    pub(super) fn take_cut(&self, target: &RelPath) -> Vec<Part> {
        take_out(&mut self.lock(), |part| part.is_cut() && part.target == *target)
    }

    /// Takes out what was cut so long ago that nobody will continue it.
    pub(super) fn take_expired(&self, now: Timestamp, window: Duration) -> Vec<Part> {
        let expired = |part: &mut Part| {
            part.is_cut() && part.since.saturating_add(window).is_ok_and(|end| end <= now)
        };
        take_out(&mut self.lock(), expired)
    }

    /// Cut uploads that a restart would lose.
    pub(super) fn unlabelled(&self) -> Vec<Part> {
        let parts = self.lock();
        let lost = |part: &&Part| part.is_cut() && part.label != Some(part.bytes());
        parts.iter().filter(lost).cloned().collect()
    }

    /// Notes that a label was written; false where the upload is not a cut one any more.
    pub(super) fn labelled(&self, temp: &RelPath, bytes: u64) -> bool {
        let mut parts = self.lock();
        let part = parts.iter_mut().find(|part| part.is_cut() && part.temp == *temp);
        part.map(|part| part.label = Some(bytes)).is_some()
    }

    /// Notes who goes on with an upload.
    pub(super) fn belong_to(&self, temp: &RelPath, account: &str) {
        if let Some(part) = self.lock().iter_mut().find(|part| part.temp == *temp) {
            account.clone_into(&mut part.account);
        }
    }

    /// Cut uploads that were said before this process began, or since.
    pub(super) fn cut_ones(&self) -> Vec<Part> {
        self.lock().iter().filter(|part| part.is_cut()).cloned().collect()
    }

    /// Notes that a label was removed.
    pub(super) fn unlabel(&self, temp: &RelPath) {
        if let Some(part) = self.lock().iter_mut().find(|part| part.temp == *temp) {
            part.label = None;
        }
    }

    /// The newest upload of a name.
    pub(super) fn newest(&self, target: &RelPath) -> Option<Part> {
        self.lock().iter().rev().find(|part| part.target == *target).cloned()
    }

    pub(super) fn is_cut(&self, target: &RelPath) -> bool {
        self.lock().iter().any(|part| part.is_cut() && part.target == *target)
    }

    pub(super) fn entry(&self, target: &RelPath, cut: bool) -> Option<Entry> {
        self.newest(target).filter(|part| part.is_cut() == cut).map(|part| part.entry())
    }

    /// The uploads whose final names lie in `folder`, as a listing shows them.
    pub(super) fn in_folder(&self, folder: &RelPath) -> Vec<Shown> {
        let parts = self.lock();
        let here = parts.iter().filter(|part| part.target.parent() == *folder);
        here.map(|part| Shown { entry: part.entry(), cut: part.is_cut() }).collect()
    }

    /// What all of them take up.
    pub(super) fn amount(&self) -> Amount {
        let parts = self.lock();
        let bytes = parts.iter().map(|part| part.size.counted.load(Ordering::Relaxed)).sum();
        Amount { bytes, files: parts.len() as u64 }
    }

    pub(super) fn count_cut(&self) -> usize {
        self.lock().iter().filter(|part| part.is_cut()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Part>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out the oldest cut uploads beyond the limit.
fn surplus(parts: &mut Vec<Part>) -> Vec<Part> {
    let mut surplus =
        parts.iter().filter(|part| part.is_cut()).count().saturating_sub(INCOMPLETE_MAX);
    take_out(parts, |part| {
        let too_many = part.is_cut() && surplus > 0;
        surplus -= usize::from(too_many);
        too_many
    })
}

fn take_out(parts: &mut Vec<Part>, mut out: impl FnMut(&mut Part) -> bool) -> Vec<Part> {
    parts.extract_if(.., |part| out(part)).collect()
}

/// An upload under way, as clients see it: under its final name, growing.
pub(super) fn in_progress_entry(target: &RelPath, bytes: u64, since: Timestamp) -> Entry {
    let version = FileVersion { device: 0, inode: 0, bytes, modified_ns: since.as_nanosecond() };
    let name = target.name().unwrap_or_default().to_vec();
    Entry { name, kind: EntryKind::File, mode: 0o640, version }
}

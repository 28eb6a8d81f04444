//! What a tenant's partner has stored, held against its quota.
//!
//! Counted: `/inbox`, `/test/inbox`, `/media` and uploads that are not files yet. Our own answers and the archive are
//! not the partner's to keep small.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::area::is_part;
use super::{EntryKind, HomeError, RelPath, Root};
use crate::world::Clock;

/// Most that a partner may have stored; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    pub bytes: Option<u64>,
    /// Files, and the folders the partner made in `/media`.
    pub files: Option<u64>,
}

/// Counting anew may take one part of the time in so many.
const COUNT_SHARE: u32 = 50;
const COUNT_PAUSE_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Amount {
    pub(super) bytes: u64,
    pub(super) files: u64,
}

impl Amount {
    pub(super) const NONE: Amount = Amount { bytes: 0, files: 0 };

    fn plus(self, other: Amount) -> Amount {
        Amount { bytes: self.bytes + other.bytes, files: self.files + other.files }
    }
}

/// The files in place: never fewer than there are. What was claimed, deleted or replaced meanwhile is
/// only noticed when the number speaks against an upload: then they are counted anew.
#[derive(Debug, Default)]
pub(super) struct Usage(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// `None` until a quota first asks.
    stored: Option<Amount>,
    /// No count before this.
    pause_until: Option<Instant>,
}

impl Usage {
    /// Takes note of a file that was put in place, before it leaves the table of uploads.
    pub(super) fn add(&self, bytes: u64) {
        if let Some(stored) = &mut self.lock().stored {
            *stored = stored.plus(Amount { bytes, files: 1 });
        }
    }

    /// Errs where the files in place and `others` are more than the quota.
    pub(super) fn check(
        &self,
        quota: Quota,
        others: Amount,
        root: &Root,
        clock: &Clock,
    ) -> Result<(), HomeError> {
        if quota == Quota::default() {
            return Ok(());
        }
        let mut counted = self.lock();
        if let Some(stored) = counted.stored {
            let result = quota.allows(stored.plus(others));
            let resting = counted.pause_until.is_some_and(|until| clock.instant() < until);
            if result.is_ok() || resting {
                return result;
            }
        }
        let began = clock.instant();
        let stored = count(root)?;
        let now = clock.instant();
        let pause = (now.duration_since(began) * COUNT_SHARE).min(COUNT_PAUSE_MAX);
        *counted = Counted { stored: Some(stored), pause_until: Some(now + pause) };
        quota.allows(stored.plus(others))
    }

    /// Lets the next check count anew.
    #[cfg(test)]
    pub(super) fn count_now(&self) {
        self.lock().pause_until = None;
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Quota {
    fn allows(self, amount: Amount) -> Result<(), HomeError> {
        match self {
            Quota { bytes: Some(limit), .. } if amount.bytes > limit => {
                Err(HomeError::OverQuota { limit, of: "bytes" })
            }
            Quota { files: Some(limit), .. } if amount.files > limit => {
                Err(HomeError::OverQuota { limit, of: "files" })
            }
            _ => Ok(()),
        }
    }
}

/// Walks the inboxes and `/media`.
fn count(root: &Root) -> io::Result<Amount> {
    let mut amount = Amount::NONE;
    let mut folders = ["inbox", "test/inbox", "media"].map(RelPath::of).to_vec();
    while let Some(folder) = folders.pop() {
        let listing = match root.listing(&folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let ours = folder.name() == Some(b"inbox") && is_part(&folder);
        for entry in listing {
            let entry = entry?;
            match entry.kind {
                EntryKind::File => {
                    amount = amount.plus(Amount { bytes: entry.version.bytes, files: 1 });
                }
                EntryKind::Folder => {
                    folders.push(folder.join(&entry.name));
                    amount.files += u64::from(!ours);
                }
                EntryKind::Other => {}
            }
        }
    }
    Ok(amount)
}

//! Uploads ended so lately that a reset of the connection still says something about them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::UploadEvidence;

/// More in so short a time than any client ends; the oldest go first.
const FRESH_MAX: usize = 8192;

/// The fresh uploads of one connection, oldest first.
#[derive(Debug, Default)]
pub(in crate::transfer) struct Fresh(Mutex<VecDeque<Upload>>);

#[derive(Debug)]
struct Upload {
    channel: u32,
    until: Instant,
    evidence: UploadEvidence,
}

impl Fresh {
    pub(in crate::transfer) fn add(
        &self,
        channel: u32,
        evidence: UploadEvidence,
        now: Instant,
        settle: Duration,
    ) {
        let mut uploads = self.uploads();
        while uploads.front().is_some_and(|oldest| oldest.until < now) || uploads.len() >= FRESH_MAX
        {
            uploads.pop_front();
        }
        uploads.push_back(Upload { channel, until: now + settle, evidence });
    }

    /// A channel was closed in order: what came over it is what the client meant.
    pub(super) fn forget(&self, channel: u32) {
        self.uploads().retain(|upload| upload.channel != channel);
    }

    /// What is still fresh.
    pub(super) fn take(&self, now: Instant) -> Vec<UploadEvidence> {
        let uploads = std::mem::take(&mut *self.uploads());
        let fresh = uploads.into_iter().filter(|upload| upload.until >= now);
        fresh.map(|upload| upload.evidence).collect()
    }

    fn uploads(&self) -> MutexGuard<'_, VecDeque<Upload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileVersion, Proof};

    fn evidence(path: &str) -> UploadEvidence {
        UploadEvidence {
            tenant: "acme".parse().unwrap(),
            path: path.to_owned(),
            account: "erp".to_owned(),
            protocol: "sftp",
            proof: Proof::Close,
            weak: false,
            version: FileVersion { device: 0, inode: 0, bytes: 0, modified_ns: 0 },
            at: jiff::Timestamp::UNIX_EPOCH,
        }
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "paused time needs no world")]
    async fn uploads_are_fresh_for_a_while_and_until_their_channel_closes() {
        let (fresh, start, settle) = (Fresh::default(), Instant::now(), Duration::from_secs(2));
        let at = |seconds| start + Duration::from_secs(seconds);
        fresh.add(1, evidence("old"), at(0), settle);
        fresh.add(1, evidence("closed"), at(3), settle);
        fresh.add(2, evidence("fresh"), at(4), settle);
        fresh.forget(1);
        fresh.add(3, evidence("newest"), at(5), settle);
        let paths: Vec<_> = fresh.take(at(6)).into_iter().map(|upload| upload.path).collect();
        assert_eq!(paths, ["fresh", "newest"]);
        assert!(fresh.take(at(6)).is_empty());
        fresh.add(1, evidence("late"), at(7), settle);
        assert!(fresh.take(at(10)).is_empty());
    }
}

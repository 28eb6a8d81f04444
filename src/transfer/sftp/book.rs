//! What a session does, written down: counters, the log, and uploads that are still fresh.

use std::sync::Arc;

use tokio::time::Instant;

use super::handles::{Download, Receipt};
use crate::files::{HomeError, RelPath};
use crate::model::UploadEvidence;
use crate::transfer::accounts::Login;
use crate::transfer::house::QUICK_SYNC_BYTES;
use crate::transfer::ssh::Fresh;
use crate::transfer::visit::Visit;
use crate::worker::{QuickWork, in_place};
use crate::world::World;

/// Who does it, over which channel, and where it is written down.
pub(in crate::transfer) struct Book {
    pub(in crate::transfer) login: Login,
    pub(in crate::transfer) visit: Visit,
    pub(in crate::transfer) world: Arc<World>,
    pub(in crate::transfer) disk: Arc<QuickWork>,
    pub(in crate::transfer) fresh: Arc<Fresh>,
    pub(in crate::transfer) channel: u32,
}

impl Book {
    pub(super) fn now(&self) -> Instant {
        self.world.clock.instant()
    }

    /// Does a short piece of work on names, or a sync, which is quick on most disks.
    pub(super) fn on_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        self.disk.run(|| self.now(), work)
    }

    /// The end of an upload, as the client hears it.
    pub(super) fn uploaded(&self, receipt: Receipt) -> Result<(), HomeError> {
        let (bytes, path, since) = (receipt.upload.length(), receipt.path, receipt.since);
        let finish = || receipt.upload.finish();
        // Much to be synced takes its time on any disk.
        let finished =
            if bytes > QUICK_SYNC_BYTES { in_place(finish) } else { self.on_disk(finish) };
        match finished {
            Ok(evidence) => {
                self.visit.uploaded();
                if let Some(evidence) = evidence {
                    self.note_fresh(evidence);
                }
                self.log("upload", &path, bytes, since);
                Ok(())
            }
            Err(error) => {
                self.visit.uploads_lost(1);
                self.log("upload failed", &path, bytes, since);
                Err(error)
            }
        }
    }

    /// The session ended, or the connection, before the upload did.
    pub(super) fn cut(&self, receipt: Receipt) {
        self.visit.uploads_lost(1);
        self.log("upload cut", &receipt.path, receipt.upload.length(), receipt.since);
    }

    /// The file was closed. One that nothing was read of was looked at, not downloaded.
    pub(super) fn downloaded(&self, download: &Download) {
        if download.bytes > 0 {
            self.log("download", &download.path, download.bytes, download.since);
        }
    }

    pub(super) fn refused(&self, error: &HomeError) {
        let peer = self.visit.peer;
        match std::error::Error::source(error) {
            // A fault on our side: the partner sees a sentence, the operator the cause.
            Some(source) => tracing::error!(%peer, %source, "sftp: {error}"),
            None => tracing::debug!(%peer, "sftp: {error}"),
        }
    }

    pub(super) fn note_fresh(&self, evidence: UploadEvidence) {
        let settle = self.login.tenant.settle;
        self.fresh.add(self.channel, evidence, self.now(), settle);
    }

    fn log(&self, event: &'static str, path: &RelPath, bytes: u64, since: Instant) {
        let account = &self.login.account;
        let seconds = (self.now() - since).as_secs_f64();
        tracing::info!(
            account = account.name,
            tenant = %account.tenant,
            peer = %self.visit.peer,
            protocol = "sftp",
            path = shown(path),
            bytes,
            seconds,
            "{event}"
        );
    }
}

/// A path for the log: whatever is in the names, it stays on its line.
pub(super) fn shown(path: &RelPath) -> String {
    let text = path.names().join(&b'/');
    format!("/{}", String::from_utf8_lossy(&text).escape_debug())
}

//! Events of the file system: what files that came another road were doing.

use std::path::Path;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::ready::{Doorbell, Sign};
use crate::files::is_temporary_name;
use crate::model::TenantId;

/// Signs that may wait; what does not fit is found by the rescan.
const SIGNS_MAX: usize = 4096;

/// One sign about one path.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) tenant: TenantId,
    pub(super) path: String,
    pub(super) sign: Sign,
}

/// Watches all inboxes; dropping it ends the watch.
#[derive(Debug)]
pub(super) struct InboxWatch {
    watcher: Option<RecommendedWatcher>,
    pub(super) signs: Receiver<Seen>,
}

impl InboxWatch {
    /// Starts to watch below `tenants`. Where the system gives no watch (inotify's limits), the
    /// rescan alone finds files, more slowly; that is said once.
    pub(super) fn start(tenants: &Path, doorbell: Arc<Doorbell>) -> InboxWatch {
        let (sender, signs) = channel(SIGNS_MAX);
        let base = tenants.to_owned();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                pass_on(&base, &event, &sender, &doorbell);
            }
        });
        let mut watch = InboxWatch { watcher: watcher.ok(), signs };
        if watch.watcher.is_none() {
            tracing::warn!("file system events are not available; only rescans find files");
        }
        watch.add_all(tenants);
        watch
    }

    /// Watches the inboxes of tenants that are there now.
    pub(super) fn add_all(&mut self, tenants: &Path) {
        let Some(watcher) = &mut self.watcher else { return };
        for entry in std::fs::read_dir(tenants).into_iter().flatten().flatten() {
            let inbox = entry.path().join("inbox");
            if let Err(error) = watcher.watch(&inbox, RecursiveMode::Recursive) {
                tracing::warn!(%error, "an inbox cannot be watched; only rescans find its files");
            }
        }
    }

    /// No watch at all: for simulations and journeys on paused time.
    pub(super) fn none() -> InboxWatch {
        InboxWatch { watcher: None, signs: channel(1).1 }
    }
}

fn pass_on(base: &Path, event: &Event, sender: &Sender<Seen>, doorbell: &Doorbell) {
    let signed = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
            event.paths.first().map(|path| (path, Sign::Closed))
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => match &event.paths[..] {
            [from, to] => {
                let name = from.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes);
                name.is_some_and(is_temporary_name).then_some((to, Sign::Renamed))
            }
            _ => None,
        },
        EventKind::Access(_) => return,
        _ => None,
    };
    for path in &event.paths {
        if let Some((tenant, _)) = inbox_path(base, path) {
            doorbell.ring(&tenant);
        }
    }
    if let Some((path, sign)) = signed
        && let Some((tenant, path)) = inbox_path(base, path)
    {
        // A full queue loses only speed: the file then counts as ready after `quiet`.
        let _full = sender.try_send(Seen { tenant, path, sign });
    }
}

/// The tenant and the path below its root.
fn inbox_path(base: &Path, path: &Path) -> Option<(TenantId, String)> {
    let below = path.strip_prefix(base).ok()?.to_str()?;
    let (tenant, path) = below.split_once('/')?;
    Some((tenant.parse().ok()?, path.to_owned()))
}

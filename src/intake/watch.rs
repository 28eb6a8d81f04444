//! Events of the file system: what files that came another road were doing.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::doorbell::Doorbell;
use super::ready::Sign;
use crate::files::is_temporary_name;
use crate::model::{Realm, TenantId};

/// Signs that may wait; what does not fit is found by the rescan.
const SIGNS_MAX: usize = 1 << 16;

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
    /// The folder of all tenants, absolute.
    tenants: PathBuf,
    /// Inboxes that are watched or could not be: neither is tried again.
    known: HashSet<PathBuf>,
    pub(super) signs: Receiver<Seen>,
}

impl InboxWatch {
    /// Starts to watch below `tenants`. Where the system gives no watch (inotify's limits), the
    /// rescan alone finds files, more slowly; that is said once.
    pub(super) fn start(tenants: &Path, doorbell: Arc<Doorbell>) -> InboxWatch {
        let (sender, signs) = channel(SIGNS_MAX);
        // Events name absolute paths whatever was asked to be watched.
        let base = std::path::absolute(tenants).unwrap_or_else(|_| tenants.to_owned());
        let all = base.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event {
                pass_on(&base, &event, &sender, &doorbell);
            }
        });
        let mut watch =
            InboxWatch { watcher: watcher.ok(), tenants: all, known: HashSet::new(), signs };
        if watch.watcher.is_none() {
            tracing::warn!("file system events are not available; only rescans find files");
        }
        watch.add_all();
        watch
    }

    /// Watches the inboxes of tenants that are there now and were not before.
    pub(super) fn add_all(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for entry in std::fs::read_dir(&self.tenants).into_iter().flatten().flatten() {
            for realm in Realm::ALL {
                let inbox = entry.path().join(format!("{}inbox", realm.root()));
                if !self.known.insert(inbox.clone()) {
                    continue;
                }
                if let Err(error) = watcher.watch(&inbox, RecursiveMode::Recursive) {
                    tracing::warn!(%error, "an inbox cannot be watched; only rescans find its files");
                }
            }
        }
    }

    /// No watch at all: for simulations and journeys on paused time.
    pub(super) fn none() -> InboxWatch {
        InboxWatch {
            watcher: None,
            tenants: PathBuf::new(),
            known: HashSet::new(),
            signs: channel(1).1,
        }
    }
}

fn pass_on(base: &Path, event: &Event, sender: &Sender<Seen>, doorbell: &Doorbell) {
    let signed = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
            // What is never taken needs no sign of its end.
            event.paths.first().filter(|path| !is_temporary(path)).map(|path| (path, Sign::Closed))
        }
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => match &event.paths[..] {
            [from, to] => is_temporary(from).then_some((to, Sign::Renamed)),
            _ => None,
        },
        EventKind::Access(_) => return,
        _ => None,
    };
    if let Some((path, sign)) = signed
        && let Some((tenant, path)) = inbox_path(base, path)
    {
        // A full queue loses only speed: the file then counts as ready after `quiet`.
        let _full = sender.try_send(Seen { tenant, path, sign });
    }
    // Who hears the ring finds the sign.
    for path in &event.paths {
        if let Some((tenant, path)) = inbox_path(base, path) {
            doorbell.ring_at(&tenant, &path);
        }
    }
}

fn is_temporary(path: &Path) -> bool {
    let name = path.file_name().map(std::os::unix::ffi::OsStrExt::as_bytes);
    name.is_some_and(is_temporary_name)
}

/// The tenant and the path below its root.
fn inbox_path(base: &Path, path: &Path) -> Option<(TenantId, String)> {
    let below = path.strip_prefix(base).ok()?.to_str()?;
    let (tenant, path) = below.split_once('/')?;
    Some((tenant.parse().ok()?, path.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_local_writer_who_closes_and_one_who_renames_are_seen_below_a_relative_path() {
        let folder = tempfile::tempdir_in(".").unwrap();
        let tenants = Path::new(folder.path().file_name().unwrap()).join("tenants");
        let inbox = tenants.join("acme/inbox");
        std::fs::create_dir_all(&inbox).unwrap();
        let mut watch = InboxWatch::start(&tenants, Arc::default());
        std::fs::write(inbox.join("a.csv"), "x").unwrap();
        std::fs::write(inbox.join("b.csv.tmp"), "x").unwrap();
        #[allow(clippy::disallowed_methods, reason = "a local writer does as it likes")]
        std::fs::rename(inbox.join("b.csv.tmp"), inbox.join("b.csv")).unwrap();
        let mut seen = Vec::new();
        while !seen.contains(&("inbox/b.csv".to_owned(), Sign::Renamed)) {
            let next = tokio::time::timeout(Duration::from_secs(20), watch.signs.recv()).await;
            let next = next.unwrap_or_else(|_| panic!("only {seen:?}")).unwrap();
            assert_eq!(next.tenant.as_str(), "acme");
            seen.push((next.path, next.sign));
        }
        assert!(seen.contains(&("inbox/a.csv".to_owned(), Sign::Closed)), "{seen:?}");
    }
}

//! One tenant's folders on disk, shared by all who are logged in: the visible tree, the hidden
//! folder of temporary files beside it, and the table of uploads under way.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::area::fixed_folders;
use super::{Entry, EntryKind, HomeError, RelPath, Root};
use crate::model::{FileVersion, TenantId, UploadEvidence};
use crate::world::World;

/// Writes evidence down and returns when it is durable; only then does the client hear "success".
pub type Journal =
    Arc<dyn Fn(UploadEvidence) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync>;

/// What holds for every tenant's uploads.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TreeSettings {
    /// Largest file, in bytes.
    pub upload_max_bytes: u64,
    /// Share of the disk that uploads leave free.
    pub disk_reserve: f64,
}

impl Default for TreeSettings {
    fn default() -> TreeSettings {
        TreeSettings { upload_max_bytes: 2 << 30, disk_reserve: 0.05 }
    }
}

/// A tenant's folders, opened once per process.
pub struct TenantTree {
    pub(super) tenant: TenantId,
    pub(super) root: Root,
    pub(super) uploads: Root,
    pub(super) settings: TreeSettings,
    pub(super) journal: Journal,
    pub(super) world: Arc<World>,
    in_progress: Mutex<Vec<InProgress>>,
}

/// One upload that has begun and not ended.
#[derive(Debug, Clone)]
struct InProgress {
    target: RelPath,
    temp: RelPath,
    bytes: Arc<AtomicU64>,
    since: Timestamp,
}

impl TenantTree {
    /// Makes the tenant's folders where they are not there yet; at start and at reload.
    pub fn prepare(data_dir: &Path, tenant: &TenantId) -> io::Result<()> {
        std::fs::create_dir_all(data_dir)?;
        let data = Root::open(data_dir)?;
        let home = RelPath::of(&format!("tenants/{tenant}"));
        let mut made = data.make_folders(&home)?;
        made |= data.make_folders(&RelPath::of(&format!("uploads/{tenant}")))?;
        let root = data.sub(&home)?;
        for folder in fixed_folders() {
            made |= root.make_folders(&folder)?;
        }
        // One sync for a tenant's folders: with one for each, a first start takes many seconds.
        if made { root.sync_file_system() } else { Ok(()) }
    }

    /// Opens the tenant's folders and sweeps the temporary files an earlier process left. Once per
    /// process and tenant: a second sweep would take uploads that are under way.
    pub fn open(
        data_dir: &Path,
        tenant: &TenantId,
        settings: TreeSettings,
        journal: Journal,
        world: Arc<World>,
    ) -> io::Result<TenantTree> {
        TenantTree::prepare(data_dir, tenant)?;
        let data = Root::open(data_dir)?;
        let uploads = data.sub(&RelPath::of(&format!("uploads/{tenant}")))?;
        for entry in uploads.entries(&RelPath::root())? {
            if entry.kind == EntryKind::File {
                uploads.remove_file(&RelPath::root().join(&entry.name))?;
            }
        }
        Ok(TenantTree {
            tenant: tenant.clone(),
            root: data.sub(&RelPath::of(&format!("tenants/{tenant}")))?,
            uploads,
            settings,
            journal,
            world,
            in_progress: Mutex::new(Vec::new()),
        })
    }

    /// Errs where the disk is nearly full.
    pub(super) fn check_space(&self) -> Result<(), HomeError> {
        let (free, total) = self.root.space()?;
        if (free as f64) < total as f64 * self.settings.disk_reserve {
            return Err(HomeError::DiskFull);
        }
        Ok(())
    }

    /// A new temporary file for `target`, entered in the table.
    pub(super) fn begin(
        &self,
        target: &RelPath,
        since: Timestamp,
    ) -> io::Result<(File, RelPath, Arc<AtomicU64>)> {
        let temp = RelPath::root().join(self.world.dice.token(16).as_bytes());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = self.uploads.open_file(&temp, flags, 0o640)?;
        let bytes = Arc::new(AtomicU64::new(0));
        self.table().push(InProgress {
            target: target.clone(),
            temp: temp.clone(),
            bytes: bytes.clone(),
            since,
        });
        Ok((file, temp, bytes))
    }

    pub(super) fn end(&self, temp: &RelPath) {
        self.table().retain(|upload| upload.temp != *temp);
    }

    /// The uploads under way whose final names lie in `folder`, as entries of it.
    pub(super) fn uploads_in(&self, folder: &RelPath) -> Vec<Entry> {
        let here = |upload: &&InProgress| upload.target.parent() == *folder;
        self.table().iter().filter(here).map(InProgress::entry).collect()
    }

    /// The newest upload under way to this final name.
    pub(super) fn upload_to(&self, target: &RelPath) -> Option<Entry> {
        self.table().iter().rev().find(|upload| upload.target == *target).map(InProgress::entry)
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Vec<InProgress>> {
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InProgress {
    fn entry(&self) -> Entry {
        in_progress_entry(&self.target, self.bytes.load(Ordering::Relaxed), self.since)
    }
}

/// An upload under way, as clients see it: under its final name, growing.
pub(super) fn in_progress_entry(target: &RelPath, bytes: u64, since: Timestamp) -> Entry {
    let version = FileVersion { device: 0, inode: 0, bytes, modified_ns: since.as_nanosecond() };
    let name = target.name().unwrap_or_default().to_vec();
    Entry { name, kind: EntryKind::File, mode: 0o640, version }
}

impl fmt::Debug for TenantTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantTree").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

//! The storage layer on a real disk.

mod home;
mod hostile;
mod order;
mod quota;
mod resume;

use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::model::{Proof, UploadEvidence};
use crate::world::World;

/// A tenant's disk and one login on it.
struct Disk {
    folder: tempfile::TempDir,
    tree: Arc<TenantTree>,
    home: Home,
    journal: Arc<Mutex<Vec<JournalEntry>>>,
}

const ALL_RIGHTS: Rights = Rights { drop: true, collect: true, control: true, approve: true };

#[derive(Clone, Copy, Default)]
struct Rights {
    drop: bool,
    collect: bool,
    control: bool,
    approve: bool,
}

/// In memory where that is possible: every upload is three syncs.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn small() -> TreeSettings {
    TreeSettings { upload_max_bytes: 1 << 20, disk_reserve: 0.0, ..TreeSettings::default() }
}

impl Disk {
    fn new() -> Disk {
        Disk::with(small(), ALL_RIGHTS)
    }

    fn with(settings: TreeSettings, rights: Rights) -> Disk {
        Disk::in_folder(folder(), World::real(), settings, rights)
    }

    fn in_folder(
        folder: tempfile::TempDir,
        world: World,
        settings: TreeSettings,
        rights: Rights,
    ) -> Disk {
        let journal = Arc::new(Mutex::new(Vec::new()));
        let write: Journal = Arc::new({
            let journal = journal.clone();
            move |entry| {
                journal.lock().unwrap().push(entry);
                Ok(())
            }
        });
        let tenant = "acme".parse().unwrap();
        let tree =
            TenantTree::open(folder.path(), &tenant, settings, write, Arc::new(world)).unwrap();
        let tree = Arc::new(tree);
        let home = Disk::login(&tree, "sftp", rights);
        Disk { folder, tree, home, journal }
    }

    /// The same folder in a new process.
    fn restart(self, world: World, settings: TreeSettings) -> Disk {
        let Disk { folder, tree, home, .. } = self;
        drop((tree, home));
        Disk::in_folder(folder, world, settings, ALL_RIGHTS)
    }

    fn login(tree: &Arc<TenantTree>, protocol: &'static str, rights: Rights) -> Home {
        let aliases = Aliases::from([
            ("IN".to_owned(), RelPath::of("inbox")),
            ("Send_SMS".to_owned(), RelPath::of("inbox/messages")),
        ]);
        let visitor = Visitor {
            account: "acme-erp".to_owned(),
            protocol,
            may_drop: rights.drop,
            may_collect: rights.collect,
            may_control: rights.control,
            may_approve: rights.approve,
        };
        Home::new(tree.clone(), visitor, Arc::new(aliases))
    }

    fn real(&self, path: &str) -> std::path::PathBuf {
        self.folder.path().join("tenants/acme").join(path)
    }

    fn begin(&self, path: &str, start: UploadStart) -> Result<Upload, HomeError> {
        self.home.begin_upload(&RelPath::of(path), start)
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Result<Option<UploadEvidence>, HomeError> {
        let mut upload = self.begin(path, UploadStart::FRESH)?;
        upload.write_at(0, bytes)?;
        upload.finish()
    }

    /// An upload whose client dies after these bytes.
    fn put_cut(&self, path: &str, bytes: &[u8]) {
        self.begin(path, UploadStart::FRESH).unwrap().write_at(0, bytes).unwrap();
    }

    fn bytes(&self, path: &str) -> u64 {
        self.home.stat(&RelPath::of(path)).unwrap().version.bytes
    }

    fn names(&self, path: &str) -> Vec<String> {
        let entries = self.home.list(&RelPath::of(path)).unwrap();
        entries.into_iter().map(|e| String::from_utf8_lossy(&e.name).into_owned()).collect()
    }

    /// The evidence recorded so far.
    fn recorded(&self) -> Vec<UploadEvidence> {
        let journal = self.journal.lock().unwrap();
        let whole = |entry: &JournalEntry| match entry {
            JournalEntry::Whole(evidence) => Some(evidence.clone()),
            _ => None,
        };
        journal.iter().filter_map(whole).collect()
    }

    /// Files in the hidden folder of uploads, labels included.
    fn hidden_files(&self) -> usize {
        std::fs::read_dir(self.folder.path().join("uploads/acme")).unwrap().count()
    }
}

const CONTINUE: UploadStart = UploadStart { keep: Keep::All, ..UploadStart::FRESH };

fn from(offset: u64) -> UploadStart {
    UploadStart { keep: Keep::First(offset), ..UploadStart::FRESH }
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap()
}

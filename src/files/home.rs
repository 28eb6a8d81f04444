//! One login's view of a tenant's tree: what may be done where. The doors go through here only.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use super::area::{Area, TOP_FOLDERS, is_fixed, is_inbox_folder, is_kind, upload_area};
use super::upload::{UploadStart, evidence};
use super::{Entry, EntryKind, HomeError, RelPath, TenantTree, Upload, is_temporary_name};
use crate::model::{Proof, UploadEvidence};

/// Who is looking: goes into evidence and decides what may be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    pub account: String,
    /// `sftp`, `ftps` or `ftp`.
    pub protocol: &'static str,
    /// May put files into `/inbox` and `/media`, and change them there.
    pub may_drop: bool,
    /// May list, read and delete answers.
    pub may_collect: bool,
}

/// Other names for folders, at the top of the tree: `IN` for `inbox`.
pub type Aliases = BTreeMap<String, RelPath>;

/// A tenant's tree as one login sees it. Every method blocks; paths are as the client names them.
#[derive(Debug, Clone)]
pub struct Home {
    tree: Arc<TenantTree>,
    visitor: Arc<Visitor>,
    aliases: Arc<Aliases>,
}

impl Home {
    pub fn new(tree: Arc<TenantTree>, visitor: Visitor, aliases: Arc<Aliases>) -> Home {
        Home { tree, visitor: Arc::new(visitor), aliases }
    }

    /// The entries of a folder, sorted by name. Uploads under way stand under their final names.
    pub fn list(&self, path: &RelPath) -> Result<Vec<Entry>, HomeError> {
        let path = self.real(path);
        let area = self.look(&path)?;
        self.check_collect(area)?;
        let mut entries = match area {
            Area::Top => self.top_entries()?,
            _ => self.tree.root.entries(&path)?,
        };
        entries.retain(|entry| shown(&path, entry));
        for upload in self.tree.uploads_in(&path) {
            if !entries.iter().any(|entry| entry.name == upload.name) {
                entries.push(upload);
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    pub fn stat(&self, path: &RelPath) -> Result<Entry, HomeError> {
        let path = self.real(path);
        self.look(&path)?;
        match self.tree.root.stat(&path) {
            Ok(entry) if path.is_root() || shown(&path.parent(), &entry) => Ok(entry),
            Ok(_) => Err(HomeError::NotFound),
            Err(error) => self.tree.upload_to(&path).ok_or_else(|| error.into()),
        }
    }

    /// Opens a file for reading.
    pub fn open(&self, path: &RelPath) -> Result<File, HomeError> {
        let path = self.real(path);
        self.look(&path)?;
        if self.tree.root.stat(&path)?.kind != EntryKind::File {
            return Err(HomeError::Refused("this is not a file"));
        }
        Ok(self.tree.root.read_file(&path)?)
    }

    pub fn begin_upload(&self, path: &RelPath, start: UploadStart) -> Result<Upload, HomeError> {
        let path = self.real(path);
        let area = self.upload_area(&path)?;
        // Without this a missing folder would only be noticed after the last byte.
        if self.tree.root.stat(&path.parent())?.kind != EntryKind::Folder {
            return Err(HomeError::NotFound);
        }
        Upload::begin(self.tree.clone(), self.visitor.clone(), area, path, start)
    }

    /// Renames within one part of the tree. In the inbox a rename from a temporary name to a normal
    /// one is the sender's word that the file is whole.
    pub fn rename(&self, from: &RelPath, to: &RelPath, replace: bool) -> Result<(), HomeError> {
        let (from, to) = (self.real(from), self.real(to));
        let area = self.changeable(&from)?;
        let to_area = self.upload_area(&to)?;
        if area != to_area || area == Area::Outbox {
            return Err(HomeError::Refused("files are renamed within /inbox or within /media"));
        }
        let entry = self.tree.root.stat(&from)?;
        if entry.kind == EntryKind::Other {
            return Err(HomeError::NotFound);
        }
        if from == to {
            return Ok(());
        }
        self.tree.root.rename(&from, &self.tree.root, &to, replace)?;
        self.tree.root.sync_folder(&to.parent())?;
        if from.parent() != to.parent() {
            self.tree.root.sync_folder(&from.parent())?;
        }
        if area == Area::Inbox && !is_temporary_name(to.name().unwrap_or_default()) {
            let was_temporary = is_temporary_name(from.name().unwrap_or_default());
            let proof = if was_temporary { Proof::Rename } else { Proof::Close };
            // The entry of before the rename: another upload may have replaced the name since.
            let evidence = evidence(&self.tree, &self.visitor, &to, proof, entry.version)?;
            (self.tree.journal)(evidence).map_err(HomeError::Journal)?;
        }
        Ok(())
    }

    /// Records once more, as weak, what says that an upload is whole: its connection was reset soon after.
    pub fn weaken(&self, evidence: &UploadEvidence) -> Result<(), HomeError> {
        let weak = UploadEvidence { weak: true, ..evidence.clone() };
        (self.tree.journal)(weak).map_err(HomeError::Journal)
    }

    pub fn remove_file(&self, path: &RelPath) -> Result<(), HomeError> {
        let path = self.real(path);
        self.changeable(&path)?;
        match self.tree.root.stat(&path)?.kind {
            EntryKind::File => {}
            EntryKind::Folder => return Err(HomeError::Refused("this is a folder, not a file")),
            EntryKind::Other => return Err(HomeError::NotFound),
        }
        self.tree.root.remove_file(&path)?;
        Ok(self.tree.root.sync_folder(&path.parent())?)
    }

    pub fn make_folder(&self, path: &RelPath) -> Result<(), HomeError> {
        let path = self.real(path);
        self.check_media_folder(&path)?;
        self.tree.root.create_folder(&path)?;
        Ok(self.tree.root.sync_folder(&path.parent())?)
    }

    pub fn remove_folder(&self, path: &RelPath) -> Result<(), HomeError> {
        let path = self.real(path);
        self.check_media_folder(&path)?;
        self.tree.root.remove_folder(&path)?;
        Ok(self.tree.root.sync_folder(&path.parent())?)
    }

    /// Times and permissions are taken and not used: the modification time tells versions of a file
    /// apart, and the evidence already recorded speaks of it.
    pub fn set_attributes(&self, path: &RelPath) -> Result<(), HomeError> {
        self.stat(path).map(|_| ())
    }

    /// Free and total bytes of the disk.
    pub fn space(&self) -> Result<(u64, u64), HomeError> {
        Ok(self.tree.root.space()?)
    }

    /// The path on disk for a client's path.
    fn real(&self, path: &RelPath) -> RelPath {
        let Some((first, rest)) = path.names().split_first() else { return RelPath::root() };
        let alias = std::str::from_utf8(first).ok().and_then(|name| self.aliases.get(name));
        match alias {
            Some(target) => rest.iter().fold(target.clone(), |path, name| path.join(name)),
            None => path.clone(),
        }
    }

    /// Which part of the tree this is, where the visitor may look into it.
    fn look(&self, path: &RelPath) -> Result<Area, HomeError> {
        let area = Area::of(path).ok_or(HomeError::NotFound)?;
        // The folder itself may be seen by everyone: it stands in the listing of the top.
        if path.names().len() > 1 {
            self.check_collect(area)?;
        }
        Ok(area)
    }

    fn check_collect(&self, area: Area) -> Result<(), HomeError> {
        if matches!(area, Area::Outbox | Area::Archive) && !self.visitor.may_collect {
            return Err(HomeError::Refused("this account may not collect answers"));
        }
        Ok(())
    }

    fn upload_area(&self, path: &RelPath) -> Result<Area, HomeError> {
        let area = upload_area(path)?;
        if !self.visitor.may_drop {
            return Err(HomeError::Refused("this account may not drop files"));
        }
        Ok(area)
    }

    /// Which part of the tree this is, where the visitor may remove or rename things in it.
    fn changeable(&self, path: &RelPath) -> Result<Area, HomeError> {
        let area = self.look(path)?;
        if is_fixed(path) {
            return Err(HomeError::Refused("this folder is part of the tree and stays"));
        }
        match area {
            Area::Inbox | Area::Media if self.visitor.may_drop => Ok(area),
            Area::Outbox if self.visitor.may_collect => Ok(area),
            Area::Inbox | Area::Media => {
                Err(HomeError::Refused("this account may not change files here"))
            }
            _ => Err(HomeError::Refused("this folder is read-only")),
        }
    }

    fn check_media_folder(&self, path: &RelPath) -> Result<(), HomeError> {
        if self.changeable(path)? != Area::Media {
            return Err(HomeError::Refused("folders are made and removed in /media only"));
        }
        Ok(())
    }

    fn top_entries(&self) -> Result<Vec<Entry>, HomeError> {
        let mut entries = Vec::new();
        for name in TOP_FOLDERS {
            entries.push(self.tree.root.stat(&RelPath::of(name))?);
        }
        for (alias, target) in self.aliases.iter() {
            // An alias of a folder that is not there (yet) is simply not shown.
            if let Ok(entry) = self.tree.root.stat(target) {
                entries.push(Entry { name: alias.clone().into_bytes(), ..entry });
            }
        }
        Ok(entries)
    }
}

/// Links, pipes and devices are shown to nobody, and an inbox has no folders but ours.
fn shown(folder: &RelPath, entry: &Entry) -> bool {
    match entry.kind {
        EntryKind::File => true,
        EntryKind::Other => false,
        EntryKind::Folder => {
            !is_inbox_folder(folder) || (folder.names().len() == 1 && is_kind(&entry.name))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Mutex;

    use super::*;
    use crate::files::{Journal, Keep, TreeSettings};
    use crate::model::UploadEvidence;
    use crate::world::World;

    struct Disk {
        folder: tempfile::TempDir,
        home: Home,
        recorded: Arc<Mutex<Vec<UploadEvidence>>>,
    }

    impl Disk {
        fn new(may_drop: bool, may_collect: bool) -> Disk {
            let settings = TreeSettings { upload_max_bytes: 1 << 20, disk_reserve: 0.0 };
            Disk::with(settings, may_drop, may_collect)
        }

        fn with(settings: TreeSettings, may_drop: bool, may_collect: bool) -> Disk {
            let folder = tempfile::tempdir().unwrap();
            let recorded = Arc::new(Mutex::new(Vec::new()));
            let journal: Journal = Arc::new({
                let recorded = recorded.clone();
                move |evidence| {
                    recorded.lock().unwrap().push(evidence);
                    Ok(())
                }
            });
            let tenant = "acme".parse().unwrap();
            let world = Arc::new(World::real());
            let tree = TenantTree::open(folder.path(), &tenant, settings, journal, world).unwrap();
            let aliases = Aliases::from([
                ("IN".to_owned(), RelPath::of("inbox")),
                ("Send_SMS".to_owned(), RelPath::of("inbox/messages")),
            ]);
            let account = "acme-erp".to_owned();
            let visitor = Visitor { account, protocol: "sftp", may_drop, may_collect };
            Disk { home: Home::new(Arc::new(tree), visitor, Arc::new(aliases)), folder, recorded }
        }

        fn real(&self, path: &str) -> std::path::PathBuf {
            self.folder.path().join("tenants/acme").join(path)
        }

        fn put(&self, path: &str, bytes: &[u8]) -> Result<Option<UploadEvidence>, HomeError> {
            let mut upload = self.home.begin_upload(&RelPath::of(path), UploadStart::FRESH)?;
            upload.write_at(0, bytes)?;
            upload.finish()
        }

        fn names(&self, path: &str) -> Vec<String> {
            let entries = self.home.list(&RelPath::of(path)).unwrap();
            entries.into_iter().map(|e| String::from_utf8_lossy(&e.name).into_owned()).collect()
        }

        fn temporary_files(&self) -> usize {
            std::fs::read_dir(self.folder.path().join("uploads/acme")).unwrap().count()
        }
    }

    fn read(path: impl AsRef<Path>) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_finished_upload_is_there_and_recorded() {
        let disk = Disk::new(true, true);
        let evidence = disk.put("inbox/messages/a.csv", b"one").unwrap().unwrap();
        assert_eq!(evidence.path, "inbox/messages/a.csv");
        assert_eq!((evidence.proof, evidence.weak), (Proof::Close, false));
        assert_eq!(disk.recorded.lock().unwrap().as_slice(), std::slice::from_ref(&evidence));
        let path = RelPath::of("inbox/messages/a.csv");
        assert_eq!(disk.home.stat(&path).unwrap().version, evidence.version);
        assert_eq!(disk.temporary_files(), 0);
        assert!(disk.put("media/x.jpg", b"x").unwrap().is_none());
        assert_eq!(disk.recorded.lock().unwrap().len(), 1);
    }

    #[test]
    fn an_upload_under_way_is_seen_and_the_older_file_stays() {
        let disk = Disk::new(true, true);
        let new = RelPath::of("inbox/new.csv");
        let mut upload = disk.home.begin_upload(&new, UploadStart::FRESH).unwrap();
        upload.write_at(0, b"12345").unwrap();
        assert!(disk.names("inbox").contains(&"new.csv".to_owned()));
        assert_eq!(disk.home.stat(&new).unwrap().version.bytes, 5);
        assert!(!disk.real("inbox/new.csv").exists());
        drop(upload);
        assert!(matches!(disk.home.stat(&new), Err(HomeError::NotFound)));
        assert_eq!(disk.temporary_files(), 0);

        disk.put("inbox/old.csv", b"whole").unwrap();
        let old = RelPath::of("inbox/old.csv");
        let mut upload = disk.home.begin_upload(&old, UploadStart::FRESH).unwrap();
        upload.write_at(0, b"1").unwrap();
        assert_eq!(disk.home.stat(&old).unwrap().version.bytes, 5);
        drop(upload);
        assert_eq!(read(disk.real("inbox/old.csv")), "whole");
    }

    #[test]
    fn uploads_continue_on_a_copy() {
        let disk = Disk::new(true, true);
        disk.put("inbox/a.csv", b"0123456789").unwrap();
        let path = RelPath::of("inbox/a.csv");
        let keep = |keep, append| UploadStart { keep, append, ..UploadStart::FRESH };
        let mut upload = disk.home.begin_upload(&path, keep(Keep::First(4), false)).unwrap();
        upload.write_at(4, b"x").unwrap();
        assert_eq!(read(disk.real("inbox/a.csv")), "0123456789");
        upload.finish().unwrap();
        assert_eq!(read(disk.real("inbox/a.csv")), "0123x");
        let mut upload = disk.home.begin_upload(&path, keep(Keep::All, true)).unwrap();
        upload.write_at(0, b"yz").unwrap();
        upload.finish().unwrap();
        assert_eq!(read(disk.real("inbox/a.csv")), "0123xyz");
        assert!(disk.home.begin_upload(&path, keep(Keep::First(8), false)).is_err());
    }

    #[test]
    fn files_with_holes_or_beyond_the_limits_are_refused() {
        let disk = Disk::new(true, true);
        let path = RelPath::of("inbox/a.csv");
        let begin = || disk.home.begin_upload(&path, UploadStart::FRESH).unwrap();
        let mut upload = begin();
        upload.write_at(10, b"late").unwrap();
        assert!(matches!(upload.finish(), Err(HomeError::Incomplete)));
        let mut upload = begin();
        upload.write_at(4, b"5678").unwrap();
        upload.write_at(0, b"1234").unwrap();
        upload.finish().unwrap();
        assert_eq!(read(disk.real("inbox/a.csv")), "12345678");
        for offset in [1 << 20, u64::MAX - 1, u64::MAX] {
            let mut upload = begin();
            assert!(matches!(upload.write_at(offset, b"x"), Err(HomeError::TooLarge { .. })));
            // The client may not notice and close calmly.
            assert!(matches!(upload.finish(), Err(HomeError::Incomplete)));
        }
        let mut upload = begin();
        upload.write_at(0, b"123").unwrap();
        upload.write_at(10, b"late").unwrap();
        upload.truncate(5).unwrap();
        assert!(matches!(upload.finish(), Err(HomeError::Incomplete)));
        begin().finish().unwrap();
        assert_eq!(read(disk.real("inbox/a.csv")), "");

        let settings = TreeSettings { upload_max_bytes: 1 << 40, disk_reserve: 0.0 };
        let disk = Disk::with(settings, true, true);
        let mut upload = disk.home.begin_upload(&path, UploadStart::FRESH).unwrap();
        assert!(matches!(upload.write_at(1 << 30, b"x"), Err(HomeError::Refused(_))));
    }

    #[test]
    fn below_the_reserve_nothing_is_taken_but_all_else_goes_on() {
        let disk =
            Disk::with(TreeSettings { disk_reserve: 1.1, ..TreeSettings::default() }, true, true);
        assert!(matches!(disk.put("inbox/a.csv", b"x"), Err(HomeError::DiskFull)));
        std::fs::write(disk.real("outbox/a.ack.csv"), "x").unwrap();
        disk.home.list(&RelPath::of("outbox")).unwrap();
        disk.home.remove_file(&RelPath::of("outbox/a.ack.csv")).unwrap();
    }

    #[test]
    fn a_rename_from_a_temporary_name_is_strong_proof() {
        let disk = Disk::new(true, true);
        // The temporary name itself leaves no evidence that nobody would ever use up.
        assert_eq!(disk.put("inbox/a.csv.part", b"x").unwrap(), None);
        let rename =
            |from, to, replace| disk.home.rename(&RelPath::of(from), &RelPath::of(to), replace);
        rename("inbox/a.csv.part", "IN/a.csv", false).unwrap();
        let last = disk.recorded.lock().unwrap().last().cloned().unwrap();
        assert_eq!((last.proof, last.path.as_str()), (Proof::Rename, "inbox/a.csv"));
        assert_eq!(last.version, disk.home.stat(&RelPath::of("inbox/a.csv")).unwrap().version);
        rename("inbox/a.csv", "inbox/messages/b.csv", false).unwrap();
        assert_eq!(disk.recorded.lock().unwrap().last().unwrap().proof, Proof::Close);
        disk.put("inbox/c.csv", b"y").unwrap();
        let kept = rename("inbox/c.csv", "inbox/messages/b.csv", false);
        assert!(matches!(kept, Err(HomeError::AlreadyThere)));
        rename("inbox/c.csv", "inbox/messages/b.csv", true).unwrap();
        assert_eq!(read(disk.real("inbox/messages/b.csv")), "y");
        for (from, to) in [
            ("inbox/messages/b.csv", "media/b.csv"),
            ("inbox/messages/b.csv", "outbox/b.csv"),
            ("inbox/messages/b.csv", "inbox/contacts"),
            ("inbox/messages", "inbox/new"),
            ("inbox", "media/inbox"),
            ("outbox/messages", "outbox/x"),
        ] {
            assert!(rename(from, to, true).is_err(), "{from} -> {to}");
        }
    }

    #[test]
    fn each_part_of_the_tree_keeps_its_rules() {
        let disk = Disk::new(true, true);
        let top = ["IN", "Send_SMS", "archive", "inbox", "media", "outbox", "spec"];
        assert_eq!(disk.names(""), top);
        disk.put("Send_SMS/a.csv", b"x").unwrap();
        assert_eq!(disk.names("inbox/messages"), ["a.csv"]);
        disk.home.make_folder(&RelPath::of("media/logos")).unwrap();
        disk.home.remove_folder(&RelPath::of("media/logos")).unwrap();
        for path in ["inbox/x", "outbox/x", "x", "spec/x", "inbox/messages/x"] {
            assert!(disk.home.make_folder(&RelPath::of(path)).is_err(), "{path}");
        }
        for path in ["inbox", "inbox/messages", "media", "outbox/messages", "spec", ""] {
            assert!(disk.home.remove_folder(&RelPath::of(path)).is_err(), "{path}");
        }
        std::fs::write(disk.real("spec/README.txt"), "x").unwrap();
        assert!(disk.home.remove_file(&RelPath::of("spec/README.txt")).is_err());
        disk.home.open(&RelPath::of("spec/README.txt")).unwrap();
        std::fs::create_dir(disk.real("private")).unwrap();
        for path in ["private", "test", "tenants"] {
            assert!(matches!(disk.home.list(&RelPath::of(path)), Err(HomeError::NotFound)));
        }
    }

    #[test]
    fn rights_decide_over_dropping_and_collecting() {
        let dropper = Disk::new(true, false);
        dropper.put("inbox/a.csv", b"x").unwrap();
        std::fs::write(dropper.real("outbox/a.ack.csv"), "x").unwrap();
        assert!(dropper.home.list(&RelPath::of("outbox")).is_err());
        assert!(dropper.home.open(&RelPath::of("outbox/a.ack.csv")).is_err());
        assert!(dropper.home.remove_file(&RelPath::of("outbox/a.ack.csv")).is_err());
        dropper.home.stat(&RelPath::of("outbox")).unwrap();

        let collector = Disk::new(false, true);
        assert!(collector.put("inbox/a.csv", b"x").is_err());
        assert!(collector.put("media/a.jpg", b"x").is_err());
        std::fs::write(collector.real("outbox/a.ack.csv"), "x").unwrap();
        assert_eq!(collector.home.list(&RelPath::of("outbox/messages")).unwrap(), []);
        collector.home.remove_file(&RelPath::of("outbox/a.ack.csv")).unwrap();
    }

    #[test]
    fn links_are_shown_to_nobody() {
        let disk = Disk::new(true, true);
        std::os::unix::fs::symlink("/etc/passwd", disk.real("inbox/passwd")).unwrap();
        std::os::unix::fs::symlink("/etc", disk.real("media/etc")).unwrap();
        assert!(!disk.names("inbox").contains(&"passwd".to_owned()));
        assert_eq!(disk.names("media"), Vec::<String>::new());
        for path in ["inbox/passwd", "media/etc", "media/etc/passwd"] {
            let path = RelPath::of(path);
            assert!(disk.home.stat(&path).is_err(), "{path:?}");
            assert!(disk.home.open(&path).is_err(), "{path:?}");
            assert!(disk.home.remove_file(&path).is_err(), "{path:?}");
        }
        // An upload of the name replaces the link itself, never what it points to.
        assert!(disk.home.begin_upload(&RelPath::of("media/etc/x"), UploadStart::FRESH).is_err());
    }

    #[test]
    fn a_new_process_sweeps_what_the_old_one_left() {
        let disk = Disk::new(true, true);
        std::fs::write(disk.folder.path().join("uploads/acme/left"), "x").unwrap();
        let journal: Journal = Arc::new(|_| Ok(()));
        let world = Arc::new(World::real());
        let (tenant, settings) = ("acme".parse().unwrap(), TreeSettings::default());
        TenantTree::open(disk.folder.path(), &tenant, settings, journal, world).unwrap();
        assert_eq!(disk.temporary_files(), 0);
    }
}

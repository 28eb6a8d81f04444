//! A folder's handle under which every path is opened: the kernel keeps us inside.
//!
//! Every look-up goes through `openat2` with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS (Linux 5.6), so
//! neither `..` nor a link, planted at any moment, can lead out.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags, RenameFlags, ResolveFlags};

use rustix::io::Errno;

use super::RelPath;
use super::listing::Listing;
use crate::disk::Space;
use crate::faults::{self, FileAct, Place};
use crate::model::FileVersion;

/// What a directory entry is. Anything but files and folders is shown to nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    File,
    Folder,
    Other,
}

/// One file or folder, as `stat` saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: Vec<u8>,
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    pub version: FileVersion,
}

impl Entry {
    pub(super) fn of(name: Vec<u8>, stat: &rustix::fs::Stat) -> Entry {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => EntryKind::File,
            FileType::Directory => EntryKind::Folder,
            _ => EntryKind::Other,
        };
        Entry { name, kind, mode: stat.st_mode & 0o7777, version: version_of(stat) }
    }
}

fn version_of(stat: &rustix::fs::Stat) -> FileVersion {
    FileVersion {
        device: stat.st_dev,
        inode: stat.st_ino,
        bytes: stat.st_size as u64,
        modified_ns: i128::from(stat.st_mtime) * 1_000_000_000 + stat.st_mtime_nsec as i128,
    }
}

/// A directory handle; cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
}

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    /// Opens a folder of the operator's by its path; links in *this* path are the operator's.
    pub fn open(path: &Path) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Root { dir: rustix::fs::open(path, flags, Mode::empty())? })
    }

    /// A root further down.
    pub fn sub(&self, path: &RelPath) -> io::Result<Root> {
        Ok(Root { dir: self.open_folder(path)? })
    }

    /// Opens a file below. `flags` decides reading, writing, creating; links are never followed.
    pub fn open_file(&self, path: &RelPath, flags: OFlags, mode: u32) -> io::Result<File> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let name = path.to_bytes();
        faults::before(FileAct::Open(Place::below(&self.dir, as_path(&name))))?;
        let fd = rustix::fs::openat2(
            &self.dir,
            OsStr::from_bytes(&name),
            flags,
            if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(mode) } else { Mode::empty() },
            BENEATH,
        )?;
        Ok(File::from(fd))
    }

    /// Opens an existing regular file for reading; anything else (fifo, device) is refused.
    pub fn read_file(&self, path: &RelPath) -> io::Result<File> {
        let file = self.open_file(path, OFlags::RDONLY, 0)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(file)
    }

    /// The entry itself, not what a link points to.
    pub fn stat(&self, path: &RelPath) -> io::Result<Entry> {
        let Some(name) = path.name() else {
            return Ok(Entry::of(Vec::new(), &rustix::fs::fstat(&self.dir)?));
        };
        let parent = self.open_folder(&path.parent())?;
        let stat = rustix::fs::statat(&parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Entry::of(name.to_vec(), &stat))
    }

    /// All entries of a folder, sorted by name; those that vanish meanwhile are left out.
    pub fn entries(&self, path: &RelPath) -> io::Result<Vec<Entry>> {
        let mut entries: Vec<Entry> = self.listing(path)?.collect::<io::Result<_>>()?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The entries of a folder one by one.
    pub(super) fn listing(&self, path: &RelPath) -> io::Result<Listing> {
        Listing::of(self.open_folder(path)?)
    }

    /// Moves a file or folder, within this root or to another on the same file system, in one step.
    /// With `replace` false an existing target is an error (`AlreadyExists`).
    pub fn rename(
        &self,
        from: &RelPath,
        to: &Root,
        to_path: &RelPath,
        replace: bool,
    ) -> io::Result<()> {
        let from_folder = self.open_folder(&from.parent())?;
        let to_folder = to.open_folder(&to_path.parent())?;
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        let (name, to_name) = (as_path(last_name(from)?), as_path(last_name(to_path)?));
        let places = (Place::below(&from_folder, name), Place::below(&to_folder, to_name));
        faults::before(FileAct::Rename(places.0, places.1))?;
        rustix::fs::renameat_with(&from_folder, name, &to_folder, to_name, flags)?;
        Ok(())
    }

    pub fn remove_file(&self, path: &RelPath) -> io::Result<()> {
        self.unlink(path, AtFlags::empty())
    }

    /// Removes an empty folder.
    pub fn remove_folder(&self, path: &RelPath) -> io::Result<()> {
        self.unlink(path, AtFlags::REMOVEDIR)
    }

    pub fn create_folder(&self, path: &RelPath) -> io::Result<()> {
        let parent = self.open_folder(&path.parent())?;
        let name = as_path(last_name(path)?);
        faults::before(FileAct::MakeFolder(Place::below(&parent, name)))?;
        Ok(rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(0o750))?)
    }

    /// Makes every folder on the way that is not there, and syncs each parent of a new one.
    pub fn create_folders(&self, path: &RelPath) -> io::Result<()> {
        let mut here = RelPath::root();
        for name in path.names() {
            let parent = here.clone();
            here = here.join(name);
            match self.create_folder(&here) {
                Ok(()) => self.sync_folder(&parent)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Makes every folder on the way that is not there, and syncs nothing; true where it made one.
    pub(super) fn make_folders(&self, path: &RelPath) -> io::Result<bool> {
        match self.create_folder(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make_folders(&path.parent())?;
                self.create_folder(path).map(|()| true)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes all that was written to the file system survive a power cut: for many folders at once.
    pub(super) fn sync_file_system(&self) -> io::Result<()> {
        let folder = self.open_folder(&RelPath::root())?;
        faults::before(FileAct::Sync(folder.as_fd()))?;
        Ok(rustix::fs::syncfs(folder)?)
    }

    /// Makes the names in a folder survive a power cut.
    pub fn sync_folder(&self, path: &RelPath) -> io::Result<()> {
        // O_PATH-free handle: fsync needs a descriptor opened for reading.
        let folder = self.open_folder(path)?;
        faults::before(FileAct::Sync(folder.as_fd()))?;
        Ok(rustix::fs::fsync(folder)?)
    }

    /// Whether new entries can be made in a folder.
    pub fn writable(&self, path: &RelPath) -> io::Result<bool> {
        let folder = self.open_folder(path)?;
        let allowed = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(&folder, ".", allowed, AtFlags::EACCESS) {
            Ok(()) => Ok(true),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// What is left on the file system.
    pub fn space(&self) -> io::Result<Space> {
        Space::around(&self.dir)
    }

    fn unlink(&self, path: &RelPath, flags: AtFlags) -> io::Result<()> {
        let parent = self.open_folder(&path.parent())?;
        let name = as_path(last_name(path)?);
        faults::before(FileAct::Remove(Place::below(&parent, name)))?;
        Ok(rustix::fs::unlinkat(&parent, name, flags)?)
    }

    fn open_folder(&self, path: &RelPath) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let name = path.to_bytes();
        Ok(rustix::fs::openat2(&self.dir, OsStr::from_bytes(&name), flags, Mode::empty(), BENEATH)?)
    }
}

/// The version of an open file.
pub(super) fn version_of_file(file: &File) -> io::Result<FileVersion> {
    Ok(version_of(&rustix::fs::fstat(file)?))
}

fn as_path(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

fn last_name(path: &RelPath) -> io::Result<&[u8]> {
    path.name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the root itself"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_gone_or_closed_is_not_writable() {
        let tenant = tempfile::tempdir().unwrap();
        let root = Root::open(tenant.path()).unwrap();
        assert!(root.writable(&RelPath::of("outbox")).is_err());
        root.create_folder(&RelPath::of("outbox")).unwrap();
        assert!(root.writable(&RelPath::of("outbox")).unwrap());
        std::fs::write(tenant.path().join("file"), "x").unwrap();
        assert!(root.writable(&RelPath::of("file")).is_err());
    }

    #[test]
    fn links_and_parents_never_lead_out() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let tenant = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), tenant.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), tenant.path().join("file"))
            .unwrap();
        let root = Root::open(tenant.path()).unwrap();
        for path in ["link/secret", "file", "link"] {
            assert!(root.read_file(&RelPath::of(path)).is_err(), "{path}");
        }
        assert!(root.entries(&RelPath::of("link")).is_err());
        assert!(
            root.rename(&RelPath::of("file"), &root, &RelPath::of("link/stolen"), true).is_err()
        );
        assert_eq!(root.stat(&RelPath::of("link")).unwrap().kind, EntryKind::Other);
    }

    #[test]
    fn renames_do_not_replace_unless_asked() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        root.create_folders(&RelPath::of("a/b")).unwrap();
        std::fs::write(folder.path().join("a/one"), "1").unwrap();
        std::fs::write(folder.path().join("a/b/two"), "2").unwrap();
        let (one, two) = (RelPath::of("a/one"), RelPath::of("a/b/two"));
        let kept = root.rename(&one, &root, &two, false).unwrap_err();
        assert_eq!(kept.kind(), io::ErrorKind::AlreadyExists);
        root.rename(&one, &root, &two, true).unwrap();
        assert_eq!(root.entries(&RelPath::of("a/b")).unwrap().len(), 1);
    }
}

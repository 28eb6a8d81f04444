//! One login's view of a tenant's tree: what may be done where. The doors go through here only.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use jiff::Timestamp;

use super::area::{Area, TOP_FOLDERS, is_fixed, is_part, upload_area};
use super::folder::{Shown, shown};
use super::upload::{UploadStart, evidence};
use super::{
    Entry, EntryKind, Folder, HomeError, JournalEntry, RelPath, TenantTree, Upload, Visitor,
    is_temporary_name,
};
use crate::model::{Proof, UploadEvidence};

/// Other names for folders, at the top of the tree: `IN` for `inbox`.
pub type Aliases = BTreeMap<String, RelPath>;

const INCOMPLETE: HomeError = HomeError::Refused(
    "the upload of this file was cut: send the rest of it, send it again, or delete it",
);

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

    /// Opens a folder for listing. Uploads under way, and those that were cut, stand under their
    /// final names.
    pub fn folder(&self, path: &RelPath) -> Result<Folder, HomeError> {
        let path = self.real(path);
        let area = self.area(&path)?;
        self.visitor.check_look(area)?;
        if area == Area::Top {
            let entries = self.top_entries()?;
            let fixed = entries.into_iter().map(|entry| Shown { entry, cut: false }).collect();
            return Ok(Folder::new(path, None, fixed));
        }
        let disk = self.tree.root.listing(&path)?;
        let uploads = self.tree.parts.in_folder(&path);
        Ok(Folder::new(path, Some(disk), uploads))
    }

    /// All entries of a folder, sorted by name.
    pub fn list(&self, path: &RelPath) -> Result<Vec<Entry>, HomeError> {
        let mut entries = self.folder(path)?.next(usize::MAX)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// An upload that was cut stands in front of an older file of its name; one under way behind it.
    pub fn stat(&self, path: &RelPath) -> Result<Entry, HomeError> {
        let path = self.real(path);
        self.look(&path)?;
        if let Some(cut) = self.tree.parts.entry(&path, true) {
            return Ok(cut);
        }
        match self.tree.root.stat(&path) {
            Ok(entry) if path.is_root() || shown(&path.parent(), &entry) => Ok(entry),
            Ok(_) => Err(HomeError::NotFound),
            Err(error) => self.tree.parts.entry(&path, false).ok_or_else(|| error.into()),
        }
    }

    /// Opens a file for reading.
    pub fn open(&self, path: &RelPath) -> Result<File, HomeError> {
        let path = self.real(path);
        self.look(&path)?;
        match self.tree.root.stat(&path).map_err(HomeError::from) {
            Ok(entry) if entry.kind == EntryKind::File => Ok(self.tree.root.read_file(&path)?),
            Ok(entry) if entry.kind == EntryKind::Folder => {
                Err(HomeError::Refused("this is a folder, not a file"))
            }
            Ok(_) => Err(HomeError::NotFound),
            Err(HomeError::NotFound) if self.tree.parts.is_cut(&path) => Err(INCOMPLETE),
            Err(error) => Err(error),
        }
    }

    pub fn begin_upload(&self, path: &RelPath, start: UploadStart) -> Result<Upload, HomeError> {
        let path = self.real(path);
        let area = self.upload_area(&path)?;
        // Without this a missing folder would only be noticed after the last byte.
        if self.tree.root.stat(&path.parent())?.kind != EntryKind::Folder {
            return Err(HomeError::NotFound);
        }
        Upload::begin(self.tree.clone(), self.visitor.clone(), area, &path, start)
    }

    /// Renames within one part of the tree. In the inbox a rename from a temporary name to a normal
    /// one is the sender's word that the file is whole.
    pub fn rename(&self, from: &RelPath, to: &RelPath, replace: bool) -> Result<(), HomeError> {
        let (from, to) = (self.real(from), self.real(to));
        let area = self.changeable(&from)?;
        let to_area = self.upload_area(&to)?;
        if area != to_area || matches!(area, Area::Outbox(_)) {
            return Err(HomeError::Refused(
                "files are renamed within /inbox, /media or /test/inbox",
            ));
        }
        let _held = self.tree.targets.hold(&[&from, &to]);
        if self.tree.parts.is_cut(&from) {
            return Err(INCOMPLETE);
        }
        let entry = self.tree.root.stat(&from)?;
        if entry.kind == EntryKind::Other {
            return Err(HomeError::NotFound);
        }
        if from == to {
            return Ok(());
        }
        if to.names().starts_with(from.names()) {
            return Err(HomeError::Refused("a folder cannot be moved into itself"));
        }
        self.tree.root.rename(&from, &self.tree.root, &to, replace)?;
        self.tree.discard_cut(&to);
        self.tree.root.sync_folder(&to.parent())?;
        if from.parent() != to.parent() {
            self.tree.root.sync_folder(&from.parent())?;
        }
        if matches!(area, Area::Inbox(_)) && !is_temporary_name(to.name().unwrap_or_default()) {
            let was_temporary = is_temporary_name(from.name().unwrap_or_default());
            let proof = if was_temporary { Proof::Rename } else { Proof::Close };
            // The entry of before the rename: a local writer may have replaced the name since.
            let evidence = evidence(&self.tree, &self.visitor, &to, proof, entry.version)?;
            self.record(JournalEntry::Whole(evidence))?;
        }
        Ok(())
    }

    /// Removes a file, and an upload of the name that was cut.
    pub fn remove_file(&self, path: &RelPath) -> Result<(), HomeError> {
        let path = self.real(path);
        self.changeable(&path)?;
        let was_cut = self.tree.discard_cut(&path);
        match self.tree.root.stat(&path).map_err(HomeError::from) {
            Ok(entry) if entry.kind == EntryKind::File => {}
            Ok(entry) if entry.kind == EntryKind::Folder => {
                return Err(HomeError::Refused("this is a folder, not a file"));
            }
            Err(HomeError::NotFound) if was_cut => return Ok(()),
            Ok(_) => return Err(HomeError::NotFound),
            Err(error) => return Err(error),
        }
        self.tree.root.remove_file(&path)?;
        Ok(self.tree.root.sync_folder(&path.parent())?)
    }

    pub fn make_folder(&self, path: &RelPath) -> Result<(), HomeError> {
        let path = self.real(path);
        self.check_media_folder(&path)?;
        self.check_not_suspended()?;
        self.tree.check_files(true)?;
        self.tree.root.create_folder(&path)?;
        self.tree.usage.add(0);
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

    /// Gives a file in `/media` the time its sender says, by which clients tell what to send again.
    /// Elsewhere it is taken and not used, as above.
    pub fn set_modified(&self, path: &RelPath, time: Timestamp) -> Result<(), HomeError> {
        self.set_attributes(path)?;
        let path = self.real(path);
        if Area::of(&path) != Some(Area::Media) || is_fixed(&path) {
            return Ok(());
        }
        self.changeable(&path)?;
        if self.tree.root.stat(&path)?.kind != EntryKind::File {
            return Ok(());
        }
        Ok(self.tree.root.read_file(&path)?.set_modified(time.into())?)
    }

    /// Free and total bytes of the disk.
    pub fn space(&self) -> Result<(u64, u64), HomeError> {
        let space = self.tree.root.space()?;
        Ok((space.free, space.size))
    }

    /// Says that the proof of a finished upload is weak after all, where the file is still that one.
    pub fn weaken(&self, evidence: &UploadEvidence) -> Result<(), HomeError> {
        let path = RelPath::root().resolve(evidence.path.as_bytes())?;
        let _held = self.tree.targets.hold(&[&path]);
        if !self.is_still(&path, evidence) {
            return Ok(());
        }
        self.record(JournalEntry::Whole(UploadEvidence { weak: true, ..evidence.clone() }))
    }

    /// Takes a finished upload back: the file leaves the inbox and can be continued, like any upload
    /// that was cut. False where it is not there any more: claimed, or replaced by a newer one.
    pub fn withdraw(&self, evidence: &UploadEvidence) -> Result<bool, HomeError> {
        let path = RelPath::root().resolve(evidence.path.as_bytes())?;
        let _held = self.tree.targets.hold(&[&path]);
        if !self.is_still(&path, evidence)
            || !self.tree.withdraw(&path, evidence.version, &evidence.account)?
        {
            return Ok(false);
        }
        self.record(JournalEntry::Withdrawn(evidence.clone()))?;
        Ok(true)
    }

    fn is_still(&self, path: &RelPath, evidence: &UploadEvidence) -> bool {
        self.tree.root.stat(path).is_ok_and(|entry| entry.version == evidence.version)
    }

    fn record(&self, entry: JournalEntry) -> Result<(), HomeError> {
        (self.tree.journal)(entry).map_err(HomeError::Journal)
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

    fn area(&self, path: &RelPath) -> Result<Area, HomeError> {
        Area::of(path).ok_or(HomeError::NotFound)
    }

    /// Which part of the tree this is, where the visitor may look into it.
    fn look(&self, path: &RelPath) -> Result<Area, HomeError> {
        let area = self.area(path)?;
        // The folder itself may be seen by everyone: it stands in the listing above it.
        if !is_part(path) {
            self.visitor.check_look(area)?;
        }
        Ok(area)
    }

    fn check_not_suspended(&self) -> Result<(), HomeError> {
        if self.tree.settings().suspended {
            return Err(HomeError::Refused(
                "this tenant is suspended: nothing is taken, answers can still be collected",
            ));
        }
        Ok(())
    }

    /// Which part of the tree this is, where the visitor may put a file there.
    fn upload_area(&self, path: &RelPath) -> Result<Area, HomeError> {
        let area = upload_area(path)?;
        self.visitor.check_change(area, path)?;
        self.check_not_suspended()?;
        Ok(area)
    }

    /// Which part of the tree this is, where the visitor may remove or rename things in it.
    fn changeable(&self, path: &RelPath) -> Result<Area, HomeError> {
        let area = self.look(path)?;
        if is_fixed(path) {
            return Err(HomeError::Refused("this folder is part of the tree and stays"));
        }
        self.visitor.check_change(area, path)?;
        Ok(area)
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

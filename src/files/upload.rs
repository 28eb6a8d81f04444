//! One upload: a temporary file that becomes the final one only when it is whole, synced and recorded.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::OFlags;

use super::area::Area;
use super::label::Label;
use super::parts::{Part, in_progress_entry};
use super::pieces::Pieces;
use super::root::version_of_file;
use super::{Entry, HomeError, JournalEntry, RelPath, TenantTree, Visitor, is_temporary_name};
use crate::faults::{self, FileAct};
use crate::model::{FileVersion, Proof, UploadEvidence};

/// How far beyond the end a write may begin: pipelined writes can be reordered, sparse giants not.
const GAP_MAX_BYTES: u64 = 64 << 20;
/// Separate pieces of a file that are kept track of; in practice there is one.
const PIECES_MAX: usize = 1024;
/// The free space of the disk is looked at again after so many bytes.
const SPACE_CHECK_BYTES: u64 = 16 << 20;

const BEYOND_THE_END: HomeError =
    HomeError::Refused("the file cannot be continued beyond its end, send it from the beginning");

/// What of an older file of the name, or of an upload of it that was cut, the upload continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// The first bytes; there must be at least as many.
    First(u64),
    All,
}

/// How an upload begins.
#[derive(Debug, Clone, Copy)]
pub struct UploadStart {
    pub keep: Keep,
    /// Writes go to the end, whatever their offset.
    pub append: bool,
    /// Refused where no file of the name is there.
    pub must_exist: bool,
    /// Refused where a file of the name is there.
    pub must_be_new: bool,
}

impl UploadStart {
    pub const FRESH: UploadStart =
        UploadStart { keep: Keep::Nothing, append: false, must_exist: false, must_be_new: false };
}

/// An upload in progress. Dropped without `finish`, its bytes so far are kept for `resume_window`, to
/// be continued; nobody takes them for a file meanwhile.
#[derive(Debug)]
pub struct Upload {
    tree: Arc<TenantTree>,
    visitor: Arc<Visitor>,
    area: Area,
    part: Part,
    file: File,
    pieces: Pieces,
    append: bool,
    unchecked_bytes: u64,
    /// It continues one that was cut, and nothing was written yet.
    just_resumed: bool,
    /// The file is not what the client meant, even if it closes the handle calmly: it is not kept.
    broken: bool,
    published: bool,
}

impl Upload {
    pub(super) fn begin(
        tree: Arc<TenantTree>,
        visitor: Arc<Visitor>,
        area: Area,
        target: &RelPath,
        start: UploadStart,
    ) -> Result<Upload, HomeError> {
        tree.check_space()?;
        let older = older(&tree, target)?;
        match older {
            Some(_) if start.must_be_new => return Err(HomeError::AlreadyThere),
            None if start.must_exist && !tree.parts.is_cut(target) => {
                return Err(HomeError::NotFound);
            }
            _ => {}
        }
        if start.keep == Keep::Nothing || start.must_be_new {
            tree.discard_cut(target);
        }
        if let Some(part) = tree.parts.resume(target) {
            return Upload::resume(tree, visitor, area, part, start);
        }
        tree.check_files(older.is_none())?;
        let running = tree.parts.newest(target);
        let (file, part) = tree.begin(target, &visitor.account)?;
        let mut upload = Upload::new(tree, visitor, area, (file, part), start);
        // Until the copy is whole there is nothing that could be continued.
        upload.broken = true;
        match (older, running, start.keep) {
            (_, _, Keep::Nothing) => {}
            (Some(older), _, keep) => upload.copy(&older, older.metadata()?.len(), keep)?,
            // The connection before this one may be dead without our knowing.
            (None, Some(running), Keep::First(_)) => {
                let there = running.bytes();
                let older = upload.tree.uploads.read_file(&running.temp)?;
                upload.copy(&older, there, start.keep)?;
            }
            (None, _, Keep::First(bytes)) if bytes > 0 => return Err(BEYOND_THE_END),
            (None, _, _) => {}
        }
        upload.broken = false;
        Ok(upload)
    }

    fn new(
        tree: Arc<TenantTree>,
        visitor: Arc<Visitor>,
        area: Area,
        (file, part): (File, Part),
        start: UploadStart,
    ) -> Upload {
        Upload {
            tree,
            visitor,
            area,
            part,
            file,
            pieces: Pieces::default(),
            append: start.append,
            unchecked_bytes: 0,
            just_resumed: false,
            broken: false,
            published: false,
        }
    }

    /// Goes on with one that was cut, in its own file.
    fn resume(
        tree: Arc<TenantTree>,
        visitor: Arc<Visitor>,
        area: Area,
        part: Part,
        start: UploadStart,
    ) -> Result<Upload, HomeError> {
        let there = part.bytes();
        let file = match tree.uploads.open_file(&part.temp, OFlags::RDWR, 0) {
            Ok(file) => file,
            Err(error) => {
                tree.parts.end(&part.temp);
                tree.discard(&part);
                return Err(error.into());
            }
        };
        let mut upload = Upload::new(tree, visitor, area, (file, part), start);
        upload.part.account.clone_from(&upload.visitor.account);
        upload.tree.parts.belong_to(&upload.part.temp, &upload.part.account);
        upload.pieces.add(0, there);
        upload.just_resumed = start.keep == Keep::All;
        match start.keep {
            Keep::First(bytes) if bytes > there => Err(BEYOND_THE_END),
            Keep::First(bytes) if bytes < there => upload.truncate(bytes).map(|()| upload),
            _ => Ok(upload),
        }
    }

    /// Begins with the bytes of an older file.
    fn copy(&mut self, older: &File, there: u64, keep: Keep) -> Result<(), HomeError> {
        let bytes = match keep {
            Keep::Nothing => 0,
            Keep::All => there,
            Keep::First(bytes) if bytes <= there => bytes,
            Keep::First(_) => return Err(BEYOND_THE_END),
        };
        self.check_room(bytes)?;
        let copied = std::io::copy(&mut std::io::Read::take(older, bytes), &mut self.file)?;
        if copied != bytes {
            return Err(HomeError::Incomplete);
        }
        self.pieces.add(0, bytes);
        self.part.size.set(bytes);
        Ok(())
    }

    /// The bytes up to the last one written.
    pub fn length(&self) -> u64 {
        self.pieces.end()
    }

    /// The upload as a directory entry, with its length so far.
    pub fn entry(&self) -> Entry {
        in_progress_entry(&self.part.target, self.length(), self.part.since)
    }

    /// Writes bytes at an offset, or at the end where the upload appends. Few large pieces (256 KiB)
    /// cost far less than many small ones.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), HomeError> {
        let result = self.try_write_at(offset, bytes);
        self.broken |= result.is_err();
        result
    }

    fn try_write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), HomeError> {
        let offset = if self.append { self.length() } else { offset };
        let end = offset.saturating_add(bytes.len() as u64);
        if offset > self.length() + GAP_MAX_BYTES || self.pieces.count() >= PIECES_MAX {
            self.check_room(end)?;
            return Err(HomeError::Refused("the offset lies too far beyond the end of the file"));
        }
        if std::mem::take(&mut self.just_resumed) && offset == 0 && !bytes.is_empty() {
            // From the beginning again: what was there is of another try, and may be longer.
            self.truncate(0)?;
        }
        self.unchecked_bytes += bytes.len() as u64;
        if self.unchecked_bytes >= SPACE_CHECK_BYTES {
            self.unchecked_bytes = 0;
            self.tree.check_space()?;
        }
        if end > self.length() {
            self.check_room(end)?;
        }
        faults::before(FileAct::Write(self.file.as_fd()))?;
        self.file.write_all_at(bytes, offset)?;
        self.pieces.add(offset, end);
        self.part.size.unbroken.store(self.pieces.unbroken(), Ordering::Relaxed);
        Ok(())
    }

    /// Errs where a file of this length would be too large, or beyond the tenant's quota.
    fn check_room(&self, length: u64) -> Result<(), HomeError> {
        let limit = self.tree.settings().upload_max_bytes;
        if length > limit {
            return Err(HomeError::TooLarge { limit });
        }
        // Entered first and looked at then, so that two uploads cannot share the last bytes.
        let before = self.part.size.counted.swap(length, Ordering::Relaxed);
        let result = self.tree.check_bytes();
        if result.is_err() {
            self.part.size.counted.store(before, Ordering::Relaxed);
        }
        result
    }

    /// Reads back what was written so far; short at the end.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, HomeError> {
        Ok(self.file.read_at(into, offset)?)
    }

    /// Cuts the file to `length`; it cannot be made longer this way.
    pub fn truncate(&mut self, length: u64) -> Result<(), HomeError> {
        if length > self.length() {
            return Err(HomeError::Refused("a file cannot be made longer without data"));
        }
        if self.part.label.take().is_some() {
            // The label vouches for bytes that are about to go.
            Label::remove(&self.tree.uploads, &self.part.temp)?;
            self.tree.parts.unlabel(&self.part.temp);
        }
        self.just_resumed = false;
        self.file.set_len(length)?;
        self.pieces.cut(length);
        self.part.size.set(self.pieces.unbroken());
        self.part.size.counted.store(self.length(), Ordering::Relaxed);
        Ok(())
    }

    /// Makes the bytes so far survive a power cut; the file stays in progress.
    pub fn sync(&self) -> Result<(), HomeError> {
        faults::before(FileAct::Sync(self.file.as_fd()))?;
        Ok(self.file.sync_data()?)
    }

    /// The end of the upload: bytes synced, file under its final name, folder synced, evidence
    /// recorded, in this order. Only after `Ok` may the client hear "success". Evidence is returned
    /// for files in the inbox that can be taken.
    pub fn finish(mut self) -> Result<Option<UploadEvidence>, HomeError> {
        if self.broken || !self.pieces.is_whole() {
            self.broken = true;
            return Err(HomeError::Incomplete);
        }
        // From here on nothing a client could send would mend it.
        self.broken = true;
        faults::before(FileAct::Sync(self.file.as_fd()))?;
        self.file.sync_all()?;
        let version = version_of_file(&self.file)?;
        if version.bytes != self.length() {
            // Cut to a length beyond the last byte written: a hole at the end.
            return Err(HomeError::Incomplete);
        }
        let (tree, target) = (self.tree.clone(), self.part.target.clone());
        let _held = tree.targets.hold(&[&target]);
        tree.uploads.rename(&self.part.temp, &tree.root, &target, true)?;
        self.published = true;
        tree.usage.add(version.bytes);
        tree.parts.end(&self.part.temp);
        tree.discard_cut(&target);
        if self.part.label.is_some() {
            Label::remove(&tree.uploads, &self.part.temp)?;
        }
        tree.root.sync_folder(&target.parent())?;
        // A file of a temporary name is never taken: the rename will be its evidence.
        if !matches!(self.area, Area::Inbox(_))
            || is_temporary_name(target.name().unwrap_or_default())
        {
            return Ok(None);
        }
        let evidence = evidence(&tree, &self.visitor, &target, Proof::Close, version)?;
        (tree.journal)(JournalEntry::Whole(evidence.clone())).map_err(HomeError::Journal)?;
        Ok(Some(evidence))
    }

    /// Keeps what can be continued; false where there is nothing worth it.
    fn set_aside(&mut self) -> bool {
        let bytes = self.pieces.unbroken();
        let kept = !self.broken
            && bytes > 0
            && !self.tree.settings().resume_window.is_zero()
            && (self.pieces.is_whole() || self.file.set_len(bytes).is_ok());
        if kept {
            self.part.size.set(bytes);
            let gone = self.tree.parts.cut(&self.part.temp, self.tree.world.clock.now());
            gone.iter().for_each(|part| self.tree.discard(part));
            let replaced = gone.iter().any(|part| part.temp == self.part.temp);
            tracing::info!(tenant = %self.tree.tenant, account = self.visitor.account,
                path = ?self.part.target, bytes, replaced, "upload was cut");
        }
        kept
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.published && !self.set_aside() {
            self.tree.parts.end(&self.part.temp);
            self.tree.discard(&self.part);
        }
    }
}

/// The file that stands under the name now.
fn older(tree: &TenantTree, target: &RelPath) -> Result<Option<File>, HomeError> {
    match tree.root.read_file(target) {
        Ok(file) => Ok(Some(file)),
        Err(error) => match HomeError::from(error) {
            HomeError::NotFound => Ok(None),
            HomeError::Disk(_) => Err(HomeError::Refused("this is a folder, not a file")),
            other => Err(other),
        },
    }
}

/// The evidence that `path` is whole as of now.
pub(super) fn evidence(
    tree: &TenantTree,
    visitor: &Visitor,
    path: &RelPath,
    proof: Proof,
    version: FileVersion,
) -> Result<UploadEvidence, HomeError> {
    let path = path.to_text().ok_or(HomeError::NameRefused("the file name is not valid UTF-8"))?;
    Ok(UploadEvidence {
        tenant: tree.tenant.clone(),
        path,
        account: visitor.account.clone(),
        protocol: visitor.protocol,
        proof,
        // The end of a plain data connection looks the same whether the client was done or died.
        weak: proof == Proof::Close && visitor.protocol == "ftp",
        version,
        at: tree.world.clock.now(),
    })
}

//! One upload: a temporary file that becomes the final one only when it is whole, synced and recorded.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use super::area::Area;
use super::home::Visitor;
use super::root::version_of_file;
use super::tree::in_progress_entry;
use super::{Entry, HomeError, RelPath, TenantTree, is_temporary_name};
use crate::model::{FileVersion, Proof, UploadEvidence};

/// How far beyond the end a write may begin: pipelined writes can be reordered, sparse giants not.
const GAP_MAX_BYTES: u64 = 64 << 20;
/// Separate pieces of a file that are kept track of; in practice there is one.
const PIECES_MAX: usize = 1024;
/// The free space of the disk is looked at again after so many bytes.
const SPACE_CHECK_BYTES: u64 = 16 << 20;

/// What of an older file of the name the upload continues, on a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// The first bytes; the older file must have at least as many.
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

/// An upload in progress. Dropped without `finish`, it leaves nothing behind.
#[derive(Debug)]
pub struct Upload {
    tree: Arc<TenantTree>,
    visitor: Arc<Visitor>,
    area: Area,
    target: RelPath,
    temp: RelPath,
    file: File,
    pieces: Pieces,
    bytes: Arc<AtomicU64>,
    since: Timestamp,
    append: bool,
    unchecked_bytes: u64,
    /// A write failed: the file is not what the client meant, even if it closes the handle calmly.
    broken: bool,
    published: bool,
}

impl Upload {
    pub(super) fn begin(
        tree: Arc<TenantTree>,
        visitor: Arc<Visitor>,
        area: Area,
        target: RelPath,
        start: UploadStart,
    ) -> Result<Upload, HomeError> {
        tree.check_space()?;
        let older = match tree.root.read_file(&target) {
            Ok(file) => Some(file),
            Err(error) => match HomeError::from(error) {
                HomeError::NotFound => None,
                HomeError::Disk(_) => {
                    return Err(HomeError::Refused("this is a folder, not a file"));
                }
                other => return Err(other),
            },
        };
        match older {
            Some(_) if start.must_be_new => return Err(HomeError::AlreadyThere),
            None if start.must_exist => return Err(HomeError::NotFound),
            _ => {}
        }
        let since = tree.world.clock.now();
        let (file, temp, bytes) = tree.begin(&target, since)?;
        let mut upload = Upload {
            tree,
            visitor,
            area,
            target,
            temp,
            file,
            pieces: Pieces::default(),
            bytes,
            since,
            append: start.append,
            unchecked_bytes: 0,
            broken: false,
            published: false,
        };
        upload.copy_older(older, start.keep)?;
        Ok(upload)
    }

    fn copy_older(&mut self, older: Option<File>, keep: Keep) -> Result<(), HomeError> {
        let there = older.as_ref().map_or(Ok(0), |file| file.metadata().map(|m| m.len()))?;
        let keep_bytes = match keep {
            Keep::Nothing => 0,
            Keep::All => there,
            Keep::First(bytes) if bytes <= there => bytes,
            Keep::First(_) => {
                return Err(HomeError::Refused("the file cannot be continued beyond its end"));
            }
        };
        if keep_bytes > self.tree.settings.upload_max_bytes {
            return Err(HomeError::TooLarge { limit: self.tree.settings.upload_max_bytes });
        }
        if let (Some(older), true) = (older, keep_bytes > 0) {
            let copied =
                std::io::copy(&mut std::io::Read::take(older, keep_bytes), &mut self.file)?;
            if copied != keep_bytes {
                return Err(HomeError::Incomplete);
            }
            self.pieces.add(0, keep_bytes);
            self.bytes.store(keep_bytes, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The bytes up to the last one written.
    pub fn length(&self) -> u64 {
        self.pieces.end()
    }

    /// The upload as a directory entry, with its length so far.
    pub fn entry(&self) -> Entry {
        in_progress_entry(&self.target, self.length(), self.since)
    }

    /// Writes bytes at an offset, or at the end where the upload appends.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), HomeError> {
        let result = self.try_write_at(offset, bytes);
        self.broken |= result.is_err();
        result
    }

    fn try_write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), HomeError> {
        let offset = if self.append { self.length() } else { offset };
        let limit = self.tree.settings.upload_max_bytes;
        let end = offset.saturating_add(bytes.len() as u64);
        if end > limit {
            return Err(HomeError::TooLarge { limit });
        }
        if offset > self.length() + GAP_MAX_BYTES || self.pieces.count() >= PIECES_MAX {
            return Err(HomeError::Refused("the offset lies too far beyond the end of the file"));
        }
        self.unchecked_bytes += bytes.len() as u64;
        if self.unchecked_bytes >= SPACE_CHECK_BYTES {
            self.unchecked_bytes = 0;
            self.tree.check_space()?;
        }
        self.file.write_all_at(bytes, offset)?;
        self.pieces.add(offset, end);
        self.bytes.store(self.length(), Ordering::Relaxed);
        Ok(())
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
        self.file.set_len(length)?;
        self.pieces.cut(length);
        self.bytes.store(self.length(), Ordering::Relaxed);
        Ok(())
    }

    /// Makes the bytes so far survive a power cut; the file stays in progress.
    pub fn sync(&self) -> Result<(), HomeError> {
        Ok(self.file.sync_data()?)
    }

    /// The end of the upload: bytes synced, file under its final name, folder synced, evidence
    /// recorded, in this order. Only after `Ok` may the client hear "success". Evidence is returned
    /// for files in the inbox that can be taken.
    pub fn finish(mut self) -> Result<Option<UploadEvidence>, HomeError> {
        if self.broken || !self.pieces.is_whole() {
            return Err(HomeError::Incomplete);
        }
        self.file.sync_all()?;
        let version = version_of_file(&self.file)?;
        if version.bytes != self.length() {
            // Cut to a length beyond the last byte written: a hole at the end.
            return Err(HomeError::Incomplete);
        }
        self.tree.uploads.rename(&self.temp, &self.tree.root, &self.target, true)?;
        self.published = true;
        self.tree.end(&self.temp);
        self.tree.root.sync_folder(&self.target.parent())?;
        // A file of a temporary name is never taken: the rename will be its evidence.
        if self.area != Area::Inbox || is_temporary_name(self.target.name().unwrap_or_default()) {
            return Ok(None);
        }
        let evidence = evidence(&self.tree, &self.visitor, &self.target, Proof::Close, version)?;
        (self.tree.journal)(evidence.clone()).map_err(HomeError::Journal)?;
        Ok(Some(evidence))
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        self.tree.end(&self.temp);
        if let Err(error) = self.tree.uploads.remove_file(&self.temp) {
            // The sweep at the next start takes it.
            tracing::warn!(tenant = %self.tree.tenant, %error, "remove temporary file of an upload");
        }
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

/// The parts of a file that were written, as sorted pieces that do not touch.
#[derive(Debug, Default)]
struct Pieces(Vec<(u64, u64)>);

impl Pieces {
    fn add(&mut self, start: u64, end: u64) {
        if start == end {
            return;
        }
        // Nearly every write continues the last piece.
        if let Some(last) = self.0.last_mut()
            && start == last.1
        {
            last.1 = end;
            return;
        }
        let first = self.0.partition_point(|piece| piece.1 < start);
        let after = self.0.partition_point(|piece| piece.0 <= end);
        let mut merged = (start, end);
        for piece in &self.0[first..after] {
            merged = (merged.0.min(piece.0), merged.1.max(piece.1));
        }
        self.0.splice(first..after, [merged]);
    }

    fn cut(&mut self, length: u64) {
        self.0.retain(|piece| piece.0 < length);
        if let Some(last) = self.0.last_mut() {
            last.1 = last.1.min(length);
        }
    }

    fn end(&self) -> u64 {
        self.0.last().map_or(0, |piece| piece.1)
    }

    fn count(&self) -> usize {
        self.0.len()
    }

    fn is_whole(&self) -> bool {
        matches!(self.0.as_slice(), [] | [(0, _)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_whatever_the_order() {
        let mut pieces = Pieces::default();
        assert!(pieces.is_whole());
        for (start, end) in [(10, 20), (30, 40), (50, 60)] {
            pieces.add(start, end);
        }
        assert_eq!((pieces.count(), pieces.end()), (3, 60));
        pieces.add(20, 30);
        assert_eq!(pieces.0, [(10, 40), (50, 60)]);
        pieces.add(35, 55);
        assert_eq!(pieces.0, [(10, 60)]);
        assert!(!pieces.is_whole());
        pieces.add(0, 12);
        assert!(pieces.is_whole());
        pieces.add(70, 80);
        pieces.cut(75);
        assert_eq!(pieces.0, [(0, 60), (70, 75)]);
        pieces.cut(60);
        assert!(pieces.is_whole());
    }
}

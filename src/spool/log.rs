//! The file of records: `length u32 | crc32 u32 | kind u8 | body`, little-endian, appended only.
//!
//! A writer that saw an error is finished: what reached the disk is then unknown, and only a scan on the next
//! start may say. Only where there was no room for a record, and what there was of it could be cut off,
//! does the writer go on. A failed fdatasync is never tried again.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::Advice;

use super::bytes::Undecodable;
use super::folder::remove_file;
use crate::faults::{self, FileAct};

/// Why bulk data could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{act} {}", path.display())]
    Io { act: &'static str, path: PathBuf, source: io::Error },
    #[error("open {}: the file is gone", path.display())]
    Missing { path: PathBuf },
    #[error("read {}: damaged record at byte {offset}", path.display())]
    Damaged { path: PathBuf, offset: u64 },
    /// The record was not written, and nothing of it is left: it can be tried again.
    #[error("write {}: the disk is full", path.display())]
    Full { path: PathBuf },
    #[error("write {}: an earlier write failed", path.display())]
    Broken { path: PathBuf },
    #[error(transparent)]
    Undecodable(#[from] Undecodable),
}

impl SpoolError {
    pub(super) fn io(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SpoolError {
        let path = path.to_owned();
        move |source| SpoolError::Io { act, path, source }
    }

    /// Too many files are open, and nothing was changed: later it may be opened.
    pub fn is_of_descriptors(&self) -> bool {
        matches!(self, SpoolError::Io { act: "open", source, .. } if has_no_descriptor(source))
    }

    /// The file is not there, or not as it was written: others may be.
    pub fn is_of_reading(&self) -> bool {
        match self {
            _ if self.is_of_descriptors() => false,
            SpoolError::Io { act, .. } => matches!(*act, "open" | "stat" | "seek" | "read"),
            SpoolError::Missing { .. } | SpoolError::Damaged { .. } => true,
            SpoolError::Undecodable(_) => true,
            SpoolError::Full { .. } | SpoolError::Broken { .. } => false,
        }
    }
}

/// The process has as many files open as it may: later there may be fewer.
fn has_no_descriptor(error: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Where a record stands: its first byte and the length of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    pub offset: u64,
    pub bytes: u32,
}

const HEAD_BYTES: usize = 9;
/// No record is longer: a record of the CSV is at most 1 MiB, a chunk little more.
const BODY_MAX_BYTES: u32 = 64 * 1024 * 1024;

fn crc_of(kind: u8, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[kind]);
    crc.update(body);
    crc.finalize()
}

/// Appends records; many threads may share it.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    /// Where the next record goes; `None` after an error.
    end: Mutex<Option<u64>>,
    /// Up to where an fdatasync is known to have succeeded; `None` after one failed.
    synced: Mutex<Option<u64>>,
}

impl LogWriter {
    /// A new, empty file in place of one from an earlier, unfinished try.
    pub fn create(path: &Path) -> Result<LogWriter, SpoolError> {
        Ok(LogWriter::of(path, create_anew(path)?, 0))
    }

    /// Continues a file behind its last good record; a torn tail is cut off.
    pub fn resume(path: &Path, good_end: u64) -> Result<LogWriter, SpoolError> {
        // Without room not even the name can be made: nothing was changed, and later it may be.
        let failed = |act| {
            move |error: io::Error| match is_full(&error) {
                true => SpoolError::Full { path: path.to_owned() },
                false => SpoolError::io(act, path)(error),
            }
        };
        let file = open(OpenOptions::new().write(true).create(true).truncate(false), path)
            .map_err(failed("open"))?;
        faults::before(FileAct::Write(file.as_fd()))
            .and_then(|()| file.set_len(good_end))
            .map_err(failed("truncate"))?;
        Ok(LogWriter::of(path, file, good_end))
    }

    fn of(path: &Path, file: File, end: u64) -> LogWriter {
        LogWriter {
            path: path.to_owned(),
            file,
            end: Mutex::new(Some(end)),
            synced: Mutex::new(Some(0)),
        }
    }

    /// Appends one record. It is in the kernel's hands on return, not yet on the disk.
    pub fn append(&self, kind: u8, body: &[u8]) -> Result<Position, SpoolError> {
        let bytes = u32::try_from(body.len()).ok().filter(|n| *n <= BODY_MAX_BYTES);
        let bytes = bytes.expect("callers keep records far below the limit");
        let mut record = Vec::with_capacity(HEAD_BYTES + body.len());
        record.extend_from_slice(&bytes.to_le_bytes());
        record.extend_from_slice(&crc_of(kind, body).to_le_bytes());
        record.push(kind);
        record.extend_from_slice(body);
        let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
        let offset = end.ok_or_else(|| SpoolError::Broken { path: self.path.clone() })?;
        let allowed = faults::before(FileAct::Write(self.file.as_fd()));
        if let Err(source) = allowed.and_then(|()| self.file.write_all_at(&record, offset)) {
            if is_full(&source) && self.file.set_len(offset).is_ok() {
                return Err(SpoolError::Full { path: self.path.clone() });
            }
            *end = None;
            return Err(SpoolError::Io { act: "write", path: self.path.clone(), source });
        }
        *end = Some(offset + record.len() as u64);
        Ok(Position { offset, bytes })
    }

    /// Returns once everything appended before the call is on the disk. Calls that come together
    /// share one fdatasync.
    pub fn sync(&self) -> Result<(), SpoolError> {
        let broken = || SpoolError::Broken { path: self.path.clone() };
        let wanted = self.end().ok_or_else(broken)?;
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.ok_or_else(broken)? >= wanted {
            return Ok(());
        }
        let end = self.end().ok_or_else(broken)?;
        let allowed = faults::before(FileAct::Sync(self.file.as_fd()));
        if let Err(source) = allowed.and_then(|()| self.file.sync_data()) {
            *synced = None;
            *self.end.lock().unwrap_or_else(PoisonError::into_inner) = None;
            // The kernel keeps what it could not write, as if it stood on the disk: the next start must
            // read what really does.
            let _best_effort = rustix::fs::fadvise(&self.file, 0, None, Advice::DontNeed);
            return Err(SpoolError::Io { act: "sync", path: self.path.clone(), source });
        }
        *synced = Some(end);
        Ok(())
    }

    /// Bytes that were appended; `None` after an error.
    pub fn end(&self) -> Option<u64> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads records, one after the other or by position.
#[derive(Debug)]
pub struct LogReader {
    path: PathBuf,
    file: io::BufReader<File>,
    /// The first byte behind the last good record that `next` returned.
    offset: u64,
    len: u64,
}

impl LogReader {
    pub fn open(path: &Path) -> Result<LogReader, SpoolError> {
        let file =
            open(OpenOptions::new().read(true), path).map_err(SpoolError::io("open", path))?;
        let len = file.metadata().map_err(SpoolError::io("stat", path))?.len();
        let file = io::BufReader::with_capacity(256 * 1024, file);
        Ok(LogReader { path: path.to_owned(), file, offset: 0, len })
    }

    /// A file that may not have been needed; nothing else counts as its absence.
    pub fn open_if_there(path: &Path) -> Result<Option<LogReader>, SpoolError> {
        match LogReader::open(path) {
            Err(SpoolError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// The next record's kind and position; its body replaces what was in `body`. `None` at the end of
    /// the good records: what follows, if anything, is a torn tail.
    pub fn next(&mut self, body: &mut Vec<u8>) -> Result<Option<(u8, Position)>, SpoolError> {
        let offset = self.offset;
        if self.len - offset < HEAD_BYTES as u64 {
            return Ok(None);
        }
        let mut head = [0; HEAD_BYTES];
        self.file.read_exact(&mut head).map_err(SpoolError::io("read", &self.path))?;
        let (bytes, crc, kind) = read_head(&head);
        if bytes > BODY_MAX_BYTES || self.len - offset - (HEAD_BYTES as u64) < u64::from(bytes) {
            return Ok(None);
        }
        body.resize(bytes as usize, 0);
        self.file.read_exact(body).map_err(SpoolError::io("read", &self.path))?;
        if crc_of(kind, body) != crc {
            return Ok(None);
        }
        self.offset = offset + HEAD_BYTES as u64 + u64::from(bytes);
        Ok(Some((kind, Position { offset, bytes })))
    }

    /// Goes to where a record is known to begin.
    pub fn seek(&mut self, offset: u64) -> Result<(), SpoolError> {
        self.file.seek(SeekFrom::Start(offset)).map_err(SpoolError::io("seek", &self.path))?;
        self.offset = offset;
        Ok(())
    }

    /// Where the good records end, so far as `next` has read.
    pub fn good_end(&self) -> u64 {
        self.offset
    }

    /// One record by its position; anything wrong with it is damage.
    pub fn read_at(&self, position: Position) -> Result<Vec<u8>, SpoolError> {
        let mut record = vec![0; HEAD_BYTES + position.bytes as usize];
        let file = self.file.get_ref();
        file.read_exact_at(&mut record, position.offset)
            .map_err(SpoolError::io("read", &self.path))?;
        let head: [u8; HEAD_BYTES] = record[..HEAD_BYTES].try_into().expect("cut to the length");
        let (bytes, crc, kind) = read_head(&head);
        let body = record.split_off(HEAD_BYTES);
        if bytes != position.bytes || crc_of(kind, &body) != crc {
            return Err(SpoolError::Damaged { path: self.path.clone(), offset: position.offset });
        }
        Ok(body)
    }
}

fn read_head(head: &[u8; HEAD_BYTES]) -> (u32, u32, u8) {
    let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    (word(0), word(4), head[8])
}

/// Opens a file as the options say, or makes it.
pub(super) fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    faults::before(FileAct::Open(path.into()))?;
    options.mode(0o640).open(path)
}

fn sync_all(file: &File) -> io::Result<()> {
    faults::before(FileAct::Sync(file.as_fd()))?;
    file.sync_all()
}

/// Makes a folder's names survive a power cut.
pub(super) fn sync_folder(path: &Path) -> Result<(), SpoolError> {
    let folder = File::open(path).map_err(|error| match has_no_descriptor(&error) {
        true => SpoolError::io("open", path)(error),
        false => SpoolError::io("sync", path)(error),
    });
    sync_all(&folder?).map_err(SpoolError::io("sync", path))
}

/// An empty file in place of one from an earlier, unfinished try. That one is not written over: of a file
/// whose sync failed once no later sync says anything.
pub(super) fn create_anew(path: &Path) -> Result<File, SpoolError> {
    let anew = || open(OpenOptions::new().write(true).create_new(true), path);
    let made = anew().or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => remove_file(path).and_then(|()| anew()),
        _ => Err(error),
    });
    made.map_err(SpoolError::io("create", path))
}

/// A file written under a temporary name gets its own, durably: sync, rename, sync of the folder.
#[allow(clippy::disallowed_methods, reason = "the folder is synced behind the rename")]
pub(super) fn put_in_place(file: &File, temporary: &Path, path: &Path) -> Result<(), SpoolError> {
    sync_all(file).map_err(SpoolError::io("sync", temporary))?;
    faults::before(FileAct::Rename(temporary.into(), path.into()))
        .and_then(|()| std::fs::rename(temporary, path))
        .map_err(SpoolError::io("rename", path))?;
    sync_folder(path.parent().expect("spool files stand in a folder"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn bodies(path: &Path) -> (Vec<(u8, Vec<u8>)>, u64) {
        let mut reader = LogReader::open(path).unwrap();
        let (mut all, mut body) = (Vec::new(), Vec::new());
        while let Some((kind, position)) = reader.next(&mut body).unwrap() {
            assert_eq!(reader.read_at(position).unwrap(), body);
            all.push((kind, body.clone()));
        }
        (all, reader.good_end())
    }

    #[test]
    fn a_tail_torn_at_any_byte_loses_only_the_last_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let writer = LogWriter::create(&path).unwrap();
        writer.append(1, b"first").unwrap();
        writer.append(2, b"").unwrap();
        let whole = writer.append(3, &[7; 300]).unwrap();
        writer.sync().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for cut in whole.offset as usize..bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let (records, end) = bodies(&path);
            assert_eq!(records, [(1, b"first".to_vec()), (2, Vec::new())], "cut at {cut}");
            assert_eq!(end, whole.offset);
        }
        LogWriter::resume(&path, whole.offset).unwrap().append(4, b"after").unwrap();
        assert_eq!(bodies(&path).0.last().unwrap(), &(4, b"after".to_vec()));
    }

    #[test]
    fn a_record_without_room_leaves_nothing_and_a_failed_sync_is_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let writer = LogWriter::create(&path).unwrap();
        let fails = |kind: io::ErrorKind| {
            faults::arrange(move |act| match act {
                FileAct::Write(_) | FileAct::Sync(_) => Err(kind.into()),
                _ => Ok(()),
            })
        };
        writer.append(1, b"before").unwrap();
        let full = fails(io::ErrorKind::StorageFull);
        // What a write may have left of it.
        OpenOptions::new().append(true).open(&path).and_then(|mut f| f.write_all(b"torn")).unwrap();
        assert!(matches!(writer.append(2, b"no room"), Err(SpoolError::Full { .. })));
        drop(full);
        writer.append(3, b"after").unwrap();
        writer.sync().unwrap();
        let records = [(1, b"before".to_vec()), (3, b"after".to_vec())];
        assert_eq!(bodies(&path), (records.to_vec(), std::fs::metadata(&path).unwrap().len()));
        writer.append(4, b"not synced").unwrap();
        let full = fails(io::ErrorKind::StorageFull);
        assert!(matches!(writer.sync(), Err(SpoolError::Io { act: "sync", .. })));
        drop(full);
        assert!(matches!(writer.sync(), Err(SpoolError::Broken { .. })), "it is not tried again");
        assert!(matches!(writer.append(5, b""), Err(SpoolError::Broken { .. })));
    }

    #[test]
    fn a_flipped_bit_is_damage() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let position = LogWriter::create(&path).unwrap().append(1, b"value").unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(bodies(&path).0.is_empty());
        let reader = LogReader::open(&path).unwrap();
        assert!(matches!(reader.read_at(position), Err(SpoolError::Damaged { .. })));
    }
}

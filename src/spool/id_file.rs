//! Immutable files of sorted digests, each with the batch and row that used it first.
//!
//! Ids are never one key each in the store (36 to 83 thousand a second were measured there): a batch
//! leaves one file, the store names it, and many small files are merged into one (`id_memory.rs`).
//!
//! `"DCID" 2 | filter blocks u32 | entries u64 | batches u32`, big-endian; then the filter in blocks of
//! 64 bytes, the entries of 24 bytes (digest 16, index of the batch 3, row 5), the batches of 8 bytes.
//! Version 1 had no batches (it was all of one), a head without their number, and its filter last.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::folder::create_folder;
use super::id_sort::{ENTRY_BYTES, IdDigest, IdEntry, IdSorter, entry_bytes, read_entry};
use super::log::{SpoolError, create_anew, put_in_place};
use crate::faults::{self, FileAct, WatchedFile};
use crate::model::BatchId;

/// Entries that are judged together while a file is written: 6 MiB of them.
const JUDGED_AT_ONCE: usize = 256 * 1024;

/// Who says which digests a new file keeps.
pub trait IdJudge {
    type Error: From<SpoolError>;

    /// This entry repeats the digest of row `first`.
    fn repeated(&mut self, entry: IdEntry, first: u64) -> Result<(), Self::Error>;

    /// Which of these ascending entries are kept.
    fn keep(&mut self, entries: &[IdEntry]) -> Result<Vec<bool>, Self::Error>;
}

const MAGIC: &[u8; 4] = b"DCID";
const HEAD_BYTES: u64 = 21;
const HEAD_BYTES_V1: u64 = 17;
const BATCH_BYTES: u64 = 8;
pub(super) const BLOCK_BYTES: u64 = 64;
/// Sixteen bits an entry and six probes: about one false hit in seven hundred.
const ENTRIES_A_BLOCK: u64 = 32;
const ROW_BITS: u32 = 40;
/// Batches in one file at most.
pub(super) const BATCHES_MAX: usize = 1 << (64 - ROW_BITS);

/// What an entry says of its digest: which batch of the file used it, in which row.
pub(super) fn packed(batch: usize, row: u64) -> u64 {
    assert!(batch < BATCHES_MAX && row < 1 << ROW_BITS, "batch {batch} or row {row} is too large");
    ((batch as u64) << ROW_BITS) | row
}

pub(super) fn unpacked(value: u64) -> (usize, u64) {
    ((value >> ROW_BITS) as usize, value & ((1 << ROW_BITS) - 1))
}

/// A file of digests, open.
#[derive(Debug)]
pub struct IdFile {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) entries: u64,
    pub(super) entries_at: u64,
    pub(super) blocks: u64,
    pub(super) filter_at: u64,
    probes: u32,
    /// The batches that used the digests, in the order of their indexes.
    pub(super) batches: Vec<BatchId>,
}

impl IdFile {
    /// Writes the distinct digests of a batch's `ids` durably, each with its first row. Every entry
    /// that repeats one is handed to `judge.repeated` with that first row; `judge.keep` is asked about
    /// the first ones in order, many at a time, and those it does not keep are left out.
    pub fn create<J: IdJudge>(
        path: &Path,
        batch: BatchId,
        ids: IdSorter,
        judge: &mut J,
    ) -> Result<IdFile, J::Error> {
        create_folder(path.parent().expect("id files stand in a folder"))?;
        let mut out = IdWriter::create(path, ids.len())?;
        let mut sorted = ids.sorted()?;
        let (mut firsts, mut more): (Vec<IdEntry>, bool) = (Vec::new(), true);
        let mut last: Option<IdEntry> = None;
        while more {
            match sorted.next_entry()? {
                Some(entry) => match last {
                    Some((digest, row)) if digest == entry.0 => judge.repeated(entry, row)?,
                    _ => {
                        last = Some(entry);
                        firsts.push(entry);
                    }
                },
                None => more = false,
            }
            if firsts.len() < JUDGED_AT_ONCE && more {
                continue;
            }
            for ((digest, row), kept) in firsts.iter().zip(judge.keep(&firsts)?) {
                if kept {
                    out.push((*digest, packed(0, *row)))?;
                }
            }
            firsts.clear();
        }
        Ok(out.finish(&[batch])?)
    }

    /// Opens a file. `batch` is whose it is where the file itself does not say.
    pub fn open(path: &Path, batch: BatchId) -> Result<IdFile, SpoolError> {
        let file = File::open(path).map_err(SpoolError::io("open", path))?;
        let len = file.metadata().map_err(SpoolError::io("stat", path))?.len();
        let mut head = [0; HEAD_BYTES as usize];
        let there = HEAD_BYTES.min(len) as usize;
        file.read_exact_at(&mut head[..there], 0).map_err(SpoolError::io("read", path))?;
        let damaged = || SpoolError::Damaged { path: path.to_owned(), offset: 0 };
        let blocks = u64::from(u32::from_be_bytes(head[5..9].try_into().map_err(|_| damaged())?));
        let entries = u64::from_be_bytes(head[9..17].try_into().map_err(|_| damaged())?);
        let batches = u32::from_be_bytes(head[17..].try_into().map_err(|_| damaged())?);
        let entry_bytes = entries.checked_mul(ENTRY_BYTES as u64).ok_or_else(damaged)?;
        let filter_bytes = blocks * BLOCK_BYTES;
        let (filter_at, entries_at, end, batches, probes) = match (&head[..4] == MAGIC, head[4]) {
            (true, 1) => {
                let filter_at = HEAD_BYTES_V1.checked_add(entry_bytes).ok_or_else(damaged)?;
                (filter_at, HEAD_BYTES_V1, filter_at.saturating_add(filter_bytes), vec![batch], 4)
            }
            (true, 2) => {
                let entries_at = HEAD_BYTES + filter_bytes;
                let at = entries_at.checked_add(entry_bytes).ok_or_else(damaged)?;
                let end = at.saturating_add(u64::from(batches) * BATCH_BYTES);
                if end != len {
                    return Err(damaged());
                }
                (HEAD_BYTES, entries_at, end, read_batches(&file, path, at, batches)?, 6)
            }
            _ => return Err(damaged()),
        };
        if end != len || blocks == 0 {
            return Err(damaged());
        }
        let path = path.to_owned();
        Ok(IdFile { path, file, entries, entries_at, blocks, filter_at, probes, batches })
    }

    pub fn len(&self) -> u64 {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// All entries, in order: for a merge.
    pub(super) fn entries(&self) -> Result<IdEntries, SpoolError> {
        let mut file = File::open(&self.path).map_err(SpoolError::io("open", &self.path))?;
        file.seek(SeekFrom::Start(self.entries_at)).map_err(SpoolError::io("seek", &self.path))?;
        let file = BufReader::with_capacity(256 * 1024, file);
        Ok(IdEntries {
            file: file.take(self.entries * ENTRY_BYTES as u64),
            path: self.path.clone(),
        })
    }

    /// Whether the filter's block says that the digest may be there.
    pub(super) fn may_hold(&self, block: &[u8], digest: &IdDigest) -> bool {
        bits(self.probes, digest).all(|bit| block[bit / 8] & (1 << (bit % 8)) != 0)
    }

    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), SpoolError> {
        self.file.read_exact_at(bytes, offset).map_err(SpoolError::io("read", &self.path))
    }
}

fn read_batches(
    file: &File,
    path: &Path,
    at: u64,
    batches: u32,
) -> Result<Vec<BatchId>, SpoolError> {
    let mut bytes = vec![0; batches as usize * BATCH_BYTES as usize];
    file.read_exact_at(&mut bytes, at).map_err(SpoolError::io("read", path))?;
    let words = bytes.chunks_exact(BATCH_BYTES as usize);
    let batch = |word: &[u8]| u64::from_be_bytes(word.try_into().expect("eight bytes are cut"));
    Ok(words.map(|word| BatchId::from_u64(batch(word))).collect())
}

/// Walks the entries of a file in order.
#[derive(Debug)]
pub(super) struct IdEntries {
    file: io::Take<BufReader<File>>,
    path: PathBuf,
}

impl IdEntries {
    pub(super) fn next_entry(&mut self) -> Result<Option<IdEntry>, SpoolError> {
        read_entry(&mut self.file).map_err(SpoolError::io("read", &self.path))
    }
}

/// Writes a file from ascending entries, in one go: the filter fills from front to back as they come,
/// so that no more than a block of it is in memory.
#[derive(Debug)]
pub(super) struct IdWriter {
    path: PathBuf,
    temporary: PathBuf,
    entries: BufWriter<WatchedFile>,
    filter: BufWriter<WatchedFile>,
    count: u64,
    blocks: u64,
    block: [u8; BLOCK_BYTES as usize],
    block_at: u64,
}

impl IdWriter {
    /// `entries_max` entries will come at most.
    pub(super) fn create(path: &Path, entries_max: u64) -> Result<IdWriter, SpoolError> {
        let temporary = path.with_extension("tmp");
        let blocks = entries_max.div_ceil(ENTRIES_A_BLOCK).max(1);
        let failed = |source| SpoolError::io("create", &temporary)(source);
        let filter = create_anew(&temporary)?;
        let entries = OpenOptions::new().write(true).open(&temporary).map_err(failed)?;
        let at = |mut file: File, offset: u64| -> Result<BufWriter<WatchedFile>, SpoolError> {
            file.seek(SeekFrom::Start(offset)).map_err(failed)?;
            Ok(BufWriter::with_capacity(256 * 1024, WatchedFile(file)))
        };
        let entries = at(entries, HEAD_BYTES + blocks * BLOCK_BYTES)?;
        let filter = at(filter, HEAD_BYTES)?;
        let (path, block) = (path.to_owned(), [0; BLOCK_BYTES as usize]);
        Ok(IdWriter { path, temporary, entries, filter, count: 0, blocks, block, block_at: 0 })
    }

    pub(super) fn push(&mut self, entry: IdEntry) -> Result<(), SpoolError> {
        self.fill_to(block_of(self.blocks, &entry.0))?;
        for bit in bits(6, &entry.0) {
            self.block[bit / 8] |= 1 << (bit % 8);
        }
        self.count += 1;
        let failed = SpoolError::io("write", &self.temporary);
        self.entries.write_all(&entry_bytes(&entry)).map_err(failed)
    }

    /// Writes the filter's blocks before the one with this number.
    fn fill_to(&mut self, block: u64) -> Result<(), SpoolError> {
        while self.block_at < block {
            self.filter.write_all(&self.block).map_err(SpoolError::io("write", &self.temporary))?;
            self.block.fill(0);
            self.block_at += 1;
        }
        Ok(())
    }

    /// The file, durable under its name.
    pub(super) fn finish(mut self, batches: &[BatchId]) -> Result<IdFile, SpoolError> {
        self.fill_to(self.blocks)?;
        let failed = |source| SpoolError::io("write", &self.temporary)(source);
        for batch in batches {
            self.entries.write_all(&batch.as_u64().to_be_bytes()).map_err(failed)?;
        }
        self.entries.flush().map_err(failed)?;
        let mut head = MAGIC.to_vec();
        head.push(2);
        head.extend_from_slice(&(self.blocks as u32).to_be_bytes());
        head.extend_from_slice(&self.count.to_be_bytes());
        head.extend_from_slice(&(batches.len() as u32).to_be_bytes());
        let file = self.filter.into_inner().map_err(|error| failed(error.into_error()))?;
        let allowed = faults::before(FileAct::Write(file.0.as_fd()));
        allowed.and_then(|()| file.0.write_all_at(&head, 0)).map_err(failed)?;
        put_in_place(&file.0, &self.temporary, &self.path)?;
        IdFile::open(&self.path, batches.first().copied().unwrap_or(BatchId::from_u64(0)))
    }
}

/// The block that stands for a digest. The digest is a hash already. Its head chooses the block:
/// digests that come in order then fill the filter, and ask for it, from front to back.
pub(super) fn block_of(blocks: u64, digest: &IdDigest) -> u64 {
    ((u128::from(digest[0]) * u128::from(blocks)) >> 64) as u64
}

/// The bits of a block that stand for a digest.
fn bits(probes: u32, digest: &IdDigest) -> impl Iterator<Item = usize> {
    let word = digest[1];
    (0..probes).map(move |probe| ((word >> (probe * 9)) & 511) as usize)
}

//! Digests of row ids and of whole messages: sorted outside memory, kept in immutable files.
//!
//! Ids are never one key each in the store (36 to 83 thousand a second were measured there): a batch
//! leaves one sorted file of digests with a filter, and the store names it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::folder::create_folder;
use super::log::{SpoolError, write_whole};

/// The first 16 bytes of a SHA-256.
pub type IdDigest = [u8; 16];

/// A digest and the row it belongs to.
pub type IdEntry = (IdDigest, u64);

const ENTRY_BYTES: usize = 24;

fn entry_bytes(entry: &IdEntry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..16].copy_from_slice(&entry.0);
    bytes[16..].copy_from_slice(&entry.1.to_be_bytes());
    bytes
}

fn entry_of(bytes: &[u8; ENTRY_BYTES]) -> IdEntry {
    let (digest, row) = bytes.split_at(16);
    let row = u64::from_be_bytes(row.try_into().expect("eight bytes are left"));
    (digest.try_into().expect("cut to sixteen bytes"), row)
}

/// Sorts any number of entries with bounded memory: sorted runs on disk, merged on the way out.
#[derive(Debug)]
pub struct IdSorter {
    scratch: PathBuf,
    memory: Vec<IdEntry>,
    memory_max: usize,
    runs: Vec<PathBuf>,
    entries: u64,
}

impl IdSorter {
    /// 12 MiB of entries are held in memory.
    const MEMORY_MAX: usize = 512 * 1024;

    /// `scratch` is a file name prefix; the folder must exist before the first spill.
    pub fn new(scratch: PathBuf) -> IdSorter {
        IdSorter::with_memory(scratch, IdSorter::MEMORY_MAX)
    }

    fn with_memory(scratch: PathBuf, memory_max: usize) -> IdSorter {
        IdSorter { scratch, memory: Vec::new(), memory_max, runs: Vec::new(), entries: 0 }
    }

    pub fn push(&mut self, digest: IdDigest, row: u64) -> Result<(), SpoolError> {
        self.memory.push((digest, row));
        self.entries += 1;
        if self.memory.len() >= self.memory_max { self.spill() } else { Ok(()) }
    }

    pub fn len(&self) -> u64 {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// All entries in order of digest, then row.
    pub fn sorted(mut self) -> Result<SortedIds, SpoolError> {
        self.memory.sort_unstable();
        let mut sources = vec![Source::Memory(self.memory.into_iter())];
        for path in &self.runs {
            let file = File::open(path).map_err(SpoolError::io("open", path))?;
            // Nobody else needs the name: the space is given back when the merge is done.
            fs::remove_file(path).map_err(SpoolError::io("remove", path))?;
            sources.push(Source::Run(BufReader::with_capacity(64 * 1024, file), path.clone()));
        }
        let mut heads = BinaryHeap::with_capacity(sources.len());
        for (index, source) in sources.iter_mut().enumerate() {
            if let Some(entry) = source.next()? {
                heads.push(Reverse((entry, index)));
            }
        }
        Ok(SortedIds { sources, heads })
    }

    fn spill(&mut self) -> Result<(), SpoolError> {
        self.memory.sort_unstable();
        let path = self.scratch.with_extension(format!("run{}", self.runs.len()));
        let file = File::create(&path).map_err(SpoolError::io("create", &path))?;
        let mut out = BufWriter::with_capacity(256 * 1024, file);
        for entry in &self.memory {
            out.write_all(&entry_bytes(entry)).map_err(SpoolError::io("write", &path))?;
        }
        out.flush().map_err(SpoolError::io("write", &path))?;
        self.runs.push(path);
        self.memory.clear();
        Ok(())
    }
}

/// The merge of all runs.
#[derive(Debug)]
pub struct SortedIds {
    sources: Vec<Source>,
    heads: BinaryHeap<Reverse<(IdEntry, usize)>>,
}

impl SortedIds {
    pub fn next_entry(&mut self) -> Result<Option<IdEntry>, SpoolError> {
        let Some(Reverse((entry, index))) = self.heads.pop() else { return Ok(None) };
        if let Some(next) = self.sources[index].next()? {
            self.heads.push(Reverse((next, index)));
        }
        Ok(Some(entry))
    }
}

#[derive(Debug)]
enum Source {
    Memory(std::vec::IntoIter<IdEntry>),
    Run(BufReader<File>, PathBuf),
}

impl Source {
    fn next(&mut self) -> Result<Option<IdEntry>, SpoolError> {
        match self {
            Source::Memory(entries) => Ok(entries.next()),
            Source::Run(file, path) => read_entry(file).map_err(SpoolError::io("read", path)),
        }
    }
}

fn read_entry(file: &mut impl Read) -> io::Result<Option<IdEntry>> {
    let mut bytes = [0; ENTRY_BYTES];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(entry_of(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

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

/// An immutable file of sorted digests: head, entries, then a blocked Bloom filter.
///
/// `"DCID" | version u8 | filter blocks u32 | entries u64`, entries of 24 bytes, blocks of 64 bytes.
#[derive(Debug)]
pub struct IdFile {
    path: PathBuf,
    file: File,
    entries: u64,
    blocks: u64,
}

const MAGIC: &[u8; 5] = b"DCID\x01";
const HEAD_BYTES: u64 = 17;
const BLOCK_BYTES: u64 = 64;
/// Ten bits an entry and four probes: about one false hit in sixty.
const ENTRIES_A_BLOCK: u64 = 51;

impl IdFile {
    /// Writes the distinct digests of `ids` durably, each with its first row. Every entry that repeats
    /// one is handed to `judge.repeated` with that first row; `judge.keep` is asked about the first
    /// ones in order, many at a time, and those it does not keep are left out.
    pub fn create<J: IdJudge>(
        path: &Path,
        ids: IdSorter,
        judge: &mut J,
    ) -> Result<IdFile, J::Error> {
        let folder = path.parent().expect("id files stand in a folder");
        create_folder(folder)?;
        let blocks = ids.len().div_ceil(ENTRIES_A_BLOCK).max(1);
        let mut filter = vec![0; (blocks * BLOCK_BYTES) as usize];
        let mut sorted = ids.sorted()?;
        let mut failed = None;
        let mut entries = 0_u64;
        let body = path.with_extension("body");
        let file = File::create(&body).map_err(SpoolError::io("create", &body))?;
        let mut out = BufWriter::with_capacity(256 * 1024, file);
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
            for (entry, kept) in firsts.iter().zip(judge.keep(&firsts)?) {
                if kept {
                    mark(&mut filter, blocks, &entry.0);
                    out.write_all(&entry_bytes(entry)).map_err(SpoolError::io("write", &body))?;
                    entries += 1;
                }
            }
            firsts.clear();
        }
        out.flush().map_err(SpoolError::io("write", &body))?;
        write_whole(path, |out| {
            out.write_all(MAGIC)?;
            out.write_all(&(blocks as u32).to_be_bytes())?;
            out.write_all(&entries.to_be_bytes())?;
            match File::open(&body) {
                Ok(mut entries) => io::copy(&mut entries, out).map(|_| ())?,
                Err(error) => failed = Some(error),
            }
            out.write_all(&filter)
        })?;
        if let Some(error) = failed {
            return Err(SpoolError::io("open", &body)(error).into());
        }
        fs::remove_file(&body).map_err(SpoolError::io("remove", &body))?;
        Ok(IdFile::open(path)?)
    }

    pub fn open(path: &Path) -> Result<IdFile, SpoolError> {
        let file = File::open(path).map_err(SpoolError::io("open", path))?;
        let mut head = [0; HEAD_BYTES as usize];
        file.read_exact_at(&mut head, 0).map_err(SpoolError::io("read", path))?;
        let damaged = || SpoolError::Damaged { path: path.to_owned(), offset: 0 };
        let blocks = u32::from_be_bytes(head[5..9].try_into().map_err(|_| damaged())?);
        let entries = u64::from_be_bytes(head[9..17].try_into().map_err(|_| damaged())?);
        let len = file.metadata().map_err(SpoolError::io("stat", path))?.len();
        let expected = entries
            .checked_mul(ENTRY_BYTES as u64)
            .and_then(|n| n.checked_add(HEAD_BYTES + u64::from(blocks) * BLOCK_BYTES));
        if &head[..5] != MAGIC || expected != Some(len) || blocks == 0 {
            return Err(damaged());
        }
        Ok(IdFile { path: path.to_owned(), file, entries, blocks: u64::from(blocks) })
    }

    pub fn len(&self) -> u64 {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The row that has this digest.
    pub fn find(&self, digest: &IdDigest) -> Result<Option<u64>, SpoolError> {
        let (block, bits) = probe(self.blocks, digest);
        let mut bytes = [0; BLOCK_BYTES as usize];
        let offset = HEAD_BYTES + self.entries * ENTRY_BYTES as u64 + block * BLOCK_BYTES;
        self.read_at(&mut bytes, offset)?;
        if bits.iter().any(|bit| bytes[bit / 8] & (1 << (bit % 8)) == 0) {
            return Ok(None);
        }
        let (mut low, mut high) = (0, self.entries);
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, row) = self.entry(middle)?;
            match found.cmp(digest) {
                std::cmp::Ordering::Equal => return Ok(Some(row)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Ok(None)
    }

    /// All entries, in order: for a merge, where many are looked up at once.
    pub fn entries(&self) -> Result<IdEntries, SpoolError> {
        let mut file = File::open(&self.path).map_err(SpoolError::io("open", &self.path))?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(HEAD_BYTES))
            .map_err(SpoolError::io("seek", &self.path))?;
        let file = BufReader::with_capacity(256 * 1024, file);
        Ok(IdEntries {
            file: file.take(self.entries * ENTRY_BYTES as u64),
            path: self.path.clone(),
        })
    }

    fn entry(&self, index: u64) -> Result<IdEntry, SpoolError> {
        let mut bytes = [0; ENTRY_BYTES];
        self.read_at(&mut bytes, HEAD_BYTES + index * ENTRY_BYTES as u64)?;
        Ok(entry_of(&bytes))
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> Result<(), SpoolError> {
        self.file.read_exact_at(bytes, offset).map_err(SpoolError::io("read", &self.path))
    }
}

/// Walks the entries of a file in order.
#[derive(Debug)]
pub struct IdEntries {
    file: io::Take<BufReader<File>>,
    path: PathBuf,
}

impl IdEntries {
    pub fn next_entry(&mut self) -> Result<Option<IdEntry>, SpoolError> {
        read_entry(&mut self.file).map_err(SpoolError::io("read", &self.path))
    }
}

/// The block and the four bits in it that stand for a digest. The digest is a hash already. Its head
/// chooses the block: digests that come in order then fill the filter from front to back, and do not
/// jump about in memory.
fn probe(blocks: u64, digest: &IdDigest) -> (u64, [usize; 4]) {
    let word =
        |at: usize| u64::from_be_bytes(digest[at..at + 8].try_into().expect("eight bytes are cut"));
    let bit = |shift: u32| ((word(8) >> shift) & 511) as usize;
    let block = (u128::from(word(0)) * u128::from(blocks)) >> 64;
    (block as u64, [bit(0), bit(9), bit(18), bit(27)])
}

fn mark(filter: &mut [u8], blocks: u64, digest: &IdDigest) {
    let (block, bits) = probe(blocks, digest);
    let start = (block * BLOCK_BYTES) as usize;
    for bit in bits {
        filter[start + bit / 8] |= 1 << (bit % 8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: u64) -> IdDigest {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&mixed.to_be_bytes());
        bytes[8..].copy_from_slice(&mixed.rotate_left(29).wrapping_mul(31).to_be_bytes());
        bytes
    }

    struct Repeats<'a>(&'a mut Vec<(u64, u64)>);

    impl IdJudge for Repeats<'_> {
        type Error = SpoolError;

        fn repeated(&mut self, entry: IdEntry, first: u64) -> Result<(), SpoolError> {
            self.0.push((entry.1, first));
            Ok(())
        }

        fn keep(&mut self, entries: &[IdEntry]) -> Result<Vec<bool>, SpoolError> {
            Ok(vec![true; entries.len()])
        }
    }

    #[test]
    fn ids_are_found_again_and_repeats_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = IdSorter::with_memory(folder.path().join("ids"), 64);
        for row in 0..1000 {
            sorter.push(digest(row % 900), row).unwrap();
        }
        let mut repeats = Vec::new();
        let path = folder.path().join("tenant/b.ids");
        let file = IdFile::create(&path, sorter, &mut Repeats(&mut repeats)).unwrap();
        repeats.sort_unstable();
        assert_eq!(repeats, (900..1000).map(|row| (row, row - 900)).collect::<Vec<_>>());
        assert_eq!(file.len(), 900);
        let mut entries = file.entries().unwrap();
        let (mut count, mut last) = (0, [0; 16]);
        while let Some((digest, _)) = entries.next_entry().unwrap() {
            assert!(digest > last || count == 0);
            (count, last) = (count + 1, digest);
        }
        assert_eq!(count, 900);
        for row in 0..900 {
            assert_eq!(file.find(&digest(row)).unwrap(), Some(row));
        }
        let false_hits = (900..2000).filter(|n| file.find(&digest(*n)).unwrap().is_some()).count();
        assert_eq!(false_hits, 0);
    }
}

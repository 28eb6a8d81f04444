//! Sorts digests with bounded memory: sorted runs on disk, merged on the way out.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::folder::remove_file;
use super::log::SpoolError;
use crate::faults::{self, FileAct, WatchedFile};

/// The first 16 bytes of a SHA-256, as two big-endian words.
pub type IdDigest = [u64; 2];

/// A digest and the row it belongs to.
pub type IdEntry = (IdDigest, u64);

pub(super) const ENTRY_BYTES: usize = 24;

pub(super) fn entry_bytes((digest, row): &IdEntry) -> [u8; ENTRY_BYTES] {
    let mut bytes = [0; ENTRY_BYTES];
    bytes[..8].copy_from_slice(&digest[0].to_be_bytes());
    bytes[8..16].copy_from_slice(&digest[1].to_be_bytes());
    bytes[16..].copy_from_slice(&row.to_be_bytes());
    bytes
}

pub(super) fn entry_of(bytes: &[u8; ENTRY_BYTES]) -> IdEntry {
    let word =
        |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes are cut"));
    ([word(0), word(8)], word(16))
}

pub(super) fn read_entry(file: &mut impl Read) -> io::Result<Option<IdEntry>> {
    let mut bytes = [0; ENTRY_BYTES];
    match file.read_exact(&mut bytes) {
        Ok(()) => Ok(Some(entry_of(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sorts any number of entries with bounded memory.
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

    /// Runs are named by `scratch`, of which no two sorters at work may have the same; its folder must
    /// exist before the first of them is written.
    pub fn new(scratch: PathBuf) -> IdSorter {
        IdSorter::with_memory(scratch, IdSorter::MEMORY_MAX)
    }

    pub(super) fn with_memory(scratch: PathBuf, memory_max: usize) -> IdSorter {
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
            remove_file(path).map_err(SpoolError::io("remove", path))?;
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
        let path = run_path(&self.scratch, self.runs.len());
        let file = faults::before(FileAct::Open(path.as_path().into()))
            .and_then(|()| File::create(&path))
            .map_err(SpoolError::io("create", &path))?;
        let mut out = BufWriter::with_capacity(256 * 1024, WatchedFile(file));
        for entry in &self.memory {
            out.write_all(&entry_bytes(entry)).map_err(SpoolError::io("write", &path))?;
        }
        out.flush().map_err(SpoolError::io("write", &path))?;
        self.runs.push(path);
        self.memory.clear();
        Ok(())
    }
}

/// The ending is added, never exchanged: sorters beside each other differ in theirs.
fn run_path(scratch: &Path, number: usize) -> PathBuf {
    let mut path = scratch.as_os_str().to_owned();
    path.push(format!(".run{number}"));
    path.into()
}

/// The merge of all runs.
#[derive(Debug)]
pub struct SortedIds {
    sources: Vec<Source>,
    heads: BinaryHeap<Reverse<(IdEntry, usize)>>,
}

impl SortedIds {
    pub fn next_entry(&mut self) -> Result<Option<IdEntry>, SpoolError> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((entry, index)) = *head;
        match self.sources[index].next()? {
            Some(next) => *head = Reverse((next, index)),
            None => {
                PeekMut::pop(head);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorters_beside_each_other_keep_their_runs_apart() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        let new = |ending: &str| IdSorter::with_memory(scratch.with_extension(ending), 4);
        let (mut ids, mut messages) = (new("ids"), new("messages"));
        for row in 0..10 {
            ids.push([9 - row, 0], row).unwrap();
            messages.push([100 - row, 1], row).unwrap();
        }
        for (sorter, first) in [(ids, 0), (messages, 91)] {
            let mut sorted = sorter.sorted().unwrap();
            for at in 0..10 {
                let (digest, row) = sorted.next_entry().unwrap().unwrap();
                assert_eq!((digest[0], row), (first + at, 9 - at));
            }
            assert_eq!(sorted.next_entry().unwrap(), None);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "runs are removed");
    }
}

//! What a scope remembers of used ids: any number of digest files, searched together and merged.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::io;
use std::path::{Path, PathBuf};

use super::folder::create_folder;
use super::id_file::{
    BATCHES_MAX, BLOCK_BYTES, IdEntries, IdFile, IdWriter, block_of, packed, unpacked,
};
use super::id_sort::{ENTRY_BYTES, IdDigest, IdEntry, entry_of};
use super::log::SpoolError;
use crate::model::BatchId;

/// The digest files of a scope as they were at one moment, the newest first.
#[derive(Debug, Default)]
pub struct IdMemory {
    files: Vec<IdFile>,
}

impl IdMemory {
    /// Opens the files, each with the batch that the store names it by. `None` where one of them is
    /// gone: it was merged in between, and the store names another.
    pub fn open(
        files: impl IntoIterator<Item = (PathBuf, BatchId)>,
    ) -> Result<Option<IdMemory>, SpoolError> {
        let mut memory = IdMemory::default();
        for (path, batch) in files {
            match IdFile::open(&path, batch) {
                Ok(file) => memory.files.push(file),
                Err(SpoolError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Some(memory))
    }

    /// The batch and row that used each of some ascending digests, where one did. Batches before
    /// `oldest` count no more.
    pub fn find(
        &self,
        ids: &[IdEntry],
        oldest: BatchId,
    ) -> Result<Vec<Option<(BatchId, u64)>>, SpoolError> {
        let mut found = vec![None; ids.len()];
        for file in &self.files {
            let mut search = Search::new(file, ids.len() as u64);
            for ((digest, _), found) in ids.iter().zip(&mut found) {
                if found.is_none() {
                    let hit = search.find(digest)?.map(unpacked);
                    let used = hit.map(|(batch, row)| (file.batches.get(batch).copied(), row));
                    *found = used.and_then(|(batch, row)| Some((batch?, row)));
                    *found = found.filter(|(batch, _)| *batch >= oldest);
                }
            }
        }
        Ok(found)
    }

    /// One durable file instead of these, without what batches before `oldest` used. Where a digest
    /// was used twice, the newer use counts.
    pub fn merge(&self, path: &Path, oldest: BatchId) -> Result<IdFile, SpoolError> {
        create_folder(path.parent().expect("id files stand in a folder"))?;
        let kept = |batch: &&BatchId| **batch >= oldest;
        let mut batches: Vec<BatchId> =
            self.files.iter().flat_map(|file| file.batches.iter().filter(kept).copied()).collect();
        batches.sort_unstable();
        batches.dedup();
        assert!(batches.len() <= BATCHES_MAX, "{} batches in one file", batches.len());
        let index = |batch: &BatchId| batches.binary_search(batch).ok();
        let indexes: Vec<Vec<Option<usize>>> =
            self.files.iter().map(|file| file.batches.iter().map(index).collect()).collect();
        let mut out = IdWriter::create(path, self.files.iter().map(IdFile::len).sum())?;
        let mut merged = Merged::of(&self.files)?;
        let mut pending: Option<(IdDigest, usize, u64)> = None;
        while let Some(((digest, value), file)) = merged.next_entry()? {
            let (batch, row) = unpacked(value);
            let Some(batch) = indexes[file].get(batch).copied().flatten() else { continue };
            match &mut pending {
                // Indexes stand in the order of batches: the higher one is the newer.
                Some((same, newest, at)) if *same == digest => {
                    if batch > *newest {
                        (*newest, *at) = (batch, row);
                    }
                }
                pending => {
                    if let Some((digest, batch, row)) = pending.replace((digest, batch, row)) {
                        out.push((digest, packed(batch, row)))?;
                    }
                }
            }
        }
        if let Some((digest, batch, row)) = pending {
            out.push((digest, packed(batch, row)))?;
        }
        out.finish(&batches)
    }
}

/// The entries of several files in one order, each with the number of its file.
struct Merged {
    files: Vec<IdEntries>,
    heads: BinaryHeap<Reverse<(IdEntry, usize)>>,
}

impl Merged {
    fn of(files: &[IdFile]) -> Result<Merged, SpoolError> {
        let files = files.iter().map(IdFile::entries).collect::<Result<Vec<_>, _>>()?;
        let mut merged = Merged { files, heads: BinaryHeap::new() };
        for (number, file) in merged.files.iter_mut().enumerate() {
            if let Some(entry) = file.next_entry()? {
                merged.heads.push(Reverse((entry, number)));
            }
        }
        Ok(merged)
    }

    fn next_entry(&mut self) -> Result<Option<(IdEntry, usize)>, SpoolError> {
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((entry, number)) = *head;
        match self.files[number].next_entry()? {
            Some(next) => *head = Reverse((next, number)),
            None => {
                PeekMut::pop(head);
            }
        }
        Ok(Some((entry, number)))
    }
}

/// Bytes read at once where lookups are near each other in the file, and where they are not.
const NEAR_BYTES: u64 = 32 * 1024;
const FAR_BYTES: u64 = 4 * 1024;

/// A piece of a file that was read.
#[derive(Debug, Default)]
struct Piece {
    bytes: Vec<u8>,
    at: u64,
}

impl Piece {
    /// The bytes from `offset` on, read anew with what follows them where they are not here.
    fn get(
        &mut self,
        file: &IdFile,
        offset: u64,
        length: u64,
        ahead: u64,
        end: u64,
    ) -> Result<&[u8], SpoolError> {
        let here = offset >= self.at && offset + length <= self.at + self.bytes.len() as u64;
        if !here {
            self.bytes.resize(length.max(ahead).min(end - offset) as usize, 0);
            self.at = offset;
            file.read_at(&mut self.bytes, offset)?;
        }
        let from = (offset - self.at) as usize;
        Ok(&self.bytes[from..from + length as usize])
    }
}

/// Looks digests up in ascending order, so that what stands together is read once.
struct Search<'a> {
    file: &'a IdFile,
    filter: Piece,
    filter_ahead: u64,
    entries: Piece,
    /// First entry of the piece, and how many a piece has at most.
    first: u64,
    entries_ahead: u64,
    /// Entries before this one are smaller than every digest that is still to come.
    low: u64,
    low_key: u64,
}

impl<'a> Search<'a> {
    fn new(file: &'a IdFile, lookups: u64) -> Search<'a> {
        let apart = |bytes: u64| bytes / lookups.max(1);
        let filter_is_near = apart(file.blocks * BLOCK_BYTES) < FAR_BYTES;
        let entry_bytes = ENTRY_BYTES as u64;
        let entries_are_near = apart(file.entries * entry_bytes) < NEAR_BYTES;
        Search {
            file,
            filter: Piece::default(),
            filter_ahead: if filter_is_near { NEAR_BYTES } else { BLOCK_BYTES },
            entries: Piece::default(),
            first: 0,
            entries_ahead: if entries_are_near { NEAR_BYTES } else { FAR_BYTES } / entry_bytes,
            low: 0,
            low_key: 0,
        }
    }

    /// What the file says of a digest.
    fn find(&mut self, digest: &IdDigest) -> Result<Option<u64>, SpoolError> {
        let file = self.file;
        let at = file.filter_at + block_of(file.blocks, digest) * BLOCK_BYTES;
        let end = file.filter_at + file.blocks * BLOCK_BYTES;
        let block = self.filter.get(file, at, BLOCK_BYTES, self.filter_ahead, end)?;
        if !file.may_hold(block, digest) {
            return Ok(None);
        }
        let (found, value) = self.place(digest)?;
        (self.low, self.low_key) = (found, digest[0]);
        Ok(value)
    }

    /// Where the digest stands or would stand, and its value. Digests are spread evenly, so its place
    /// can be reckoned; where that goes wrong, every second guess is the middle of what is left.
    fn place(&mut self, digest: &IdDigest) -> Result<(u64, Option<u64>), SpoolError> {
        let (mut low, mut high) = (self.low, self.file.entries);
        let (mut low_key, mut high_key) = (self.low_key, u64::MAX);
        let mut reckoned = true;
        while low < high {
            let loaded = self.first..self.first + self.loaded();
            let start = if loaded.contains(&low) && self.at(self.loaded() - 1).0 >= *digest {
                low
            } else {
                let guess = if reckoned {
                    let part = u128::from(digest[0].saturating_sub(low_key));
                    let whole = u128::from(high_key.saturating_sub(low_key)).max(1);
                    low + (part * u128::from(high - low) / whole) as u64
                } else {
                    low + (high - low) / 2
                };
                reckoned = !reckoned;
                let start = guess.saturating_sub(self.entries_ahead / 2).clamp(low, high - 1);
                self.load(start)?;
                start
            };
            let end = (self.first + self.loaded()).min(high);
            let (first, last) = (self.entry(start), self.entry(end - 1));
            if *digest < first.0 {
                (high, high_key) = (start, first.0[0]);
            } else if *digest > last.0 {
                (low, low_key) = (end, last.0[0]);
            } else {
                return Ok(self.search(start, end, digest));
            }
        }
        Ok((low, None))
    }

    /// Binary search among loaded entries.
    fn search(&self, mut low: u64, mut high: u64, digest: &IdDigest) -> (u64, Option<u64>) {
        while low < high {
            let middle = low + (high - low) / 2;
            let (found, value) = self.entry(middle);
            match found.cmp(digest) {
                std::cmp::Ordering::Equal => return (middle, Some(value)),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        (low, None)
    }

    fn load(&mut self, start: u64) -> Result<(), SpoolError> {
        let entry = ENTRY_BYTES as u64;
        let count = self.entries_ahead.min(self.file.entries - start);
        let at = self.file.entries_at + start * entry;
        self.entries.get(self.file, at, count * entry, 0, at + count * entry)?;
        self.first = start - (at - self.entries.at) / entry;
        Ok(())
    }

    fn loaded(&self) -> u64 {
        (self.entries.bytes.len() / ENTRY_BYTES) as u64
    }

    fn entry(&self, index: u64) -> IdEntry {
        self.at(index - self.first)
    }

    fn at(&self, index: u64) -> IdEntry {
        let from = index as usize * ENTRY_BYTES;
        let bytes = self.entries.bytes[from..from + ENTRY_BYTES].try_into();
        entry_of(bytes.expect("an entry's bytes are cut"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::BorrowedFd;
    use std::os::unix::fs::MetadataExt;

    use super::super::id_file::IdJudge;
    use super::super::id_sort::IdSorter;
    use super::*;
    use crate::faults::{FileAct, arrange};

    fn digest(n: u64) -> IdDigest {
        let mixed = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        [mixed, mixed.rotate_left(29).wrapping_mul(0x94d0_49bb_1331_11eb)]
    }

    /// Keeps all, and notes what is repeated.
    #[derive(Default)]
    struct Repeats(Vec<(u64, u64)>);

    impl IdJudge for Repeats {
        type Error = SpoolError;

        fn repeated(&mut self, entry: IdEntry, first: u64) -> Result<(), SpoolError> {
            self.0.push((entry.1, first));
            Ok(())
        }

        fn keep(&mut self, entries: &[IdEntry]) -> Result<Vec<bool>, SpoolError> {
            Ok(vec![true; entries.len()])
        }
    }

    struct House(tempfile::TempDir);

    impl House {
        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join("tenant").join(name)
        }

        /// A batch that uses these ids, in this order.
        fn batch(&self, batch: u64, ids: impl Iterator<Item = u64>) -> (PathBuf, BatchId) {
            let mut sorter = IdSorter::with_memory(self.0.path().join("ids"), 64);
            for (row, id) in ids.enumerate() {
                sorter.push(digest(id), row as u64).unwrap();
            }
            let path = self.path(&format!("{batch}.ids"));
            let batch = BatchId::from_u64(batch);
            IdFile::create(&path, batch, sorter, &mut Repeats::default()).unwrap();
            (path, batch)
        }
    }

    fn find(
        memory: &IdMemory,
        ids: impl Iterator<Item = u64>,
        oldest: u64,
    ) -> Vec<(u64, u64, u64)> {
        let mut asked: Vec<(IdEntry, u64)> = ids.map(|id| ((digest(id), 0), id)).collect();
        asked.sort_unstable();
        let entries: Vec<IdEntry> = asked.iter().map(|(entry, _)| *entry).collect();
        let found = memory.find(&entries, BatchId::from_u64(oldest)).unwrap();
        let mut found: Vec<_> = asked
            .iter()
            .zip(found)
            .filter_map(|((_, id), used)| used.map(|(batch, row)| (*id, batch.as_u64(), row)))
            .collect();
        found.sort_unstable();
        found
    }

    #[test]
    fn ids_are_found_again_and_repeats_are_told() {
        let house = House(tempfile::tempdir().unwrap());
        let mut sorter = IdSorter::with_memory(house.0.path().join("ids"), 64);
        for row in 0..1000 {
            sorter.push(digest(row % 900), row).unwrap();
        }
        let mut repeats = Repeats::default();
        let (path, batch) = (house.path("7.ids"), BatchId::from_u64(7));
        let file = IdFile::create(&path, batch, sorter, &mut repeats).unwrap();
        repeats.0.sort_unstable();
        assert_eq!(repeats.0, (900..1000).map(|row| (row, row - 900)).collect::<Vec<_>>());
        assert_eq!(file.len(), 900);
        let memory = IdMemory::open([(path, batch)]).unwrap().unwrap();
        let all: Vec<_> = (0..900).map(|id| (id, 7, id)).collect();
        assert_eq!(find(&memory, 0..2000, 0), all);
        assert_eq!(find(&memory, 5..6, 0), [(5, 7, 5)]);
        assert_eq!(find(&memory, 0..2000, 8), [], "a batch too old counts no more");
    }

    fn is_folder(file: BorrowedFd<'_>) -> bool {
        let facts = rustix::fs::fstat(file).unwrap();
        rustix::fs::FileType::from_raw_mode(facts.st_mode).is_dir()
    }

    /// What it should have written may be gone, whatever the next sync of the same file says.
    #[test]
    fn a_file_whose_sync_failed_is_not_written_over() {
        let house = House(tempfile::tempdir().unwrap());
        house.batch(6, 0..10);
        let sorter = || {
            let mut sorter = IdSorter::with_memory(house.0.path().join("ids"), 64);
            sorter.push(digest(1), 0).unwrap();
            sorter
        };
        let (path, batch) = (house.path("7.ids"), BatchId::from_u64(7));
        let fails = arrange(|act| match act {
            FileAct::Sync(file) if !is_folder(file) => Err(io::ErrorKind::Other.into()),
            _ => Ok(()),
        });
        assert!(IdFile::create(&path, batch, sorter(), &mut Repeats::default()).is_err());
        drop(fails);
        // Open, so that its number is not given to another.
        let left = std::fs::File::open(house.path("7.tmp")).unwrap();
        IdFile::create(&path, batch, sorter(), &mut Repeats::default()).unwrap();
        let number = |facts: std::fs::Metadata| facts.ino();
        let made = std::fs::metadata(&path).unwrap();
        assert_ne!(number(made), number(left.metadata().unwrap()));
    }

    #[test]
    fn merged_files_say_the_same_and_forget_what_is_too_old() {
        let house = House(tempfile::tempdir().unwrap());
        // Ids of different batches lie among each other; 0 to 99 were used twice.
        let batches = [(1, 0, 5000), (2, 5000, 5010), (3, 5010, 40_000), (4, 0, 100)];
        let files = batches.map(|(batch, from, to)| house.batch(batch, from..to));
        let memory = IdMemory::open(files).unwrap().unwrap();
        let expected: Vec<_> = (0..40_000)
            .map(|id| match id {
                0..100 => (id, 4, id),
                100..5000 => (id, 1, id),
                5000..5010 => (id, 2, id - 5000),
                _ => (id, 3, id - 5010),
            })
            .collect();
        let path = house.path("4.1.ids");
        assert_eq!(memory.merge(&path, BatchId::from_u64(0)).unwrap().len(), 40_000);
        let merged = IdMemory::open([(path.clone(), BatchId::from_u64(4))]).unwrap().unwrap();
        assert_eq!(find(&merged, 0..80_000, 0), expected);
        // A few that are far apart, and many that are near.
        assert_eq!(find(&merged, (0..40_000).step_by(13_331), 0).len(), 4);
        let younger: Vec<_> =
            expected.iter().filter(|(_, batch, _)| *batch >= 3).copied().collect();
        assert_eq!(find(&merged, 0..80_000, 3), younger);
        let again = house.path("4.2.ids");
        assert_eq!(merged.merge(&again, BatchId::from_u64(3)).unwrap().len(), younger.len() as u64);
        let again = IdMemory::open([(again, BatchId::from_u64(4))]).unwrap().unwrap();
        assert_eq!(find(&again, 0..80_000, 0), younger);
        let gone = (house.path("9.ids"), BatchId::from_u64(9));
        assert!(IdMemory::open([(path, BatchId::from_u64(4)), gone]).unwrap().is_none());
    }

    /// As the first version wrote it: entries, then the filter, and no batches.
    #[test]
    fn files_of_the_first_version_are_read() {
        let house = House(tempfile::tempdir().unwrap());
        let (path, batch) = house.batch(3, 0..400);
        let bytes = std::fs::read(&path).unwrap();
        let filter = u32::from_be_bytes(bytes[5..9].try_into().unwrap()) as usize * 64;
        let entries = &bytes[21 + filter..bytes.len() - 8];
        let mut old = b"DCID\x01".to_vec();
        old.extend_from_slice(&bytes[5..17]);
        old.extend_from_slice(entries);
        // Its four bits are the first of the six.
        old.extend_from_slice(&bytes[21..21 + filter]);
        std::fs::write(&path, &old).unwrap();
        let memory = IdMemory::open([(path.clone(), batch)]).unwrap().unwrap();
        assert_eq!(find(&memory, 0..1000, 0), (0..400).map(|id| (id, 3, id)).collect::<Vec<_>>());
        std::fs::write(&path, &old[..old.len() - 1]).unwrap();
        assert!(matches!(IdFile::open(&path, batch), Err(SpoolError::Damaged { .. })));
    }
}

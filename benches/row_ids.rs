//! The memory of row ids: what a row costs while millions are remembered.
//!
//! `cargo bench --bench row_ids` remembers 50 M ids (about 3 GB in /dev/shm at its highest);
//! `cargo bench --bench row_ids -- 5` remembers 5 M.
//!
//! Files of a million ids come one after the other; each is sorted, looked up in all that is remembered,
//! written, and merged with others of its size, as intake does beside its other work. Then files of new
//! ids, of known ids and of few ids are looked up in the full memory.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, dead_code, reason = "the benches share a module")]

#[path = "support/house.rs"]
mod house;

use std::ops::Range;
use std::path::{Path, PathBuf};

use dropchute::model::BatchId;
use dropchute::spool::{IdDigest, IdEntry, IdFile, IdJudge, IdMemory, IdSorter, SpoolError};
use sha2::{Digest, Sha256};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MILLION: u64 = 1_000_000;
/// Microseconds of CPU a row, its share of the merges included.
const GOAL: f64 = 0.3;
/// Files of one size that become one.
const FILES_TO_MERGE: usize = 8;

/// The digest of a row id such as an export has.
fn digest(id: u64) -> IdDigest {
    let text = format!("row-{id:08}");
    let mut hash = Sha256::new();
    hash.update((text.len() as u64).to_le_bytes());
    hash.update(&text);
    let digest = hash.finalize();
    let word = |at: usize| u64::from_be_bytes(digest[at..at + 8].try_into().unwrap());
    [word(0), word(8)]
}

/// Looks the ids of a new file up and keeps those nobody used.
struct Judge {
    memory: IdMemory,
    known: u64,
}

impl IdJudge for Judge {
    type Error = SpoolError;

    fn repeated(&mut self, _: IdEntry, _: u64) -> Result<(), SpoolError> {
        Ok(())
    }

    fn keep(&mut self, entries: &[IdEntry]) -> Result<Vec<bool>, SpoolError> {
        let found = self.memory.find(entries, BatchId::from_u64(0))?;
        self.known += found.iter().flatten().count() as u64;
        Ok(found.iter().map(Option::is_none).collect())
    }
}

/// A scope's files, by how often each was merged.
struct Scope {
    folder: PathBuf,
    files: Vec<(u32, PathBuf, BatchId)>,
    batches: u64,
}

impl Scope {
    fn memory(&self) -> IdMemory {
        let files = self.files.iter().rev().map(|(_, path, batch)| (path.clone(), *batch));
        IdMemory::open(files).unwrap().unwrap()
    }

    /// Takes a file's digests in; gives the CPU seconds and how many ids were known.
    fn take(&mut self, digests: &[IdDigest], keep: bool) -> (f64, u64) {
        let start = house::cpu_seconds("self");
        let mut sorter = IdSorter::new(self.folder.join("scratch"));
        for (row, digest) in digests.iter().enumerate() {
            sorter.push(*digest, row as u64).unwrap();
        }
        self.batches += 1;
        let batch = BatchId::from_u64(self.batches);
        let path = self.folder.join(format!("ids/{}.ids", self.batches));
        let mut judge = Judge { memory: self.memory(), known: 0 };
        IdFile::create(&path, batch, sorter, &mut judge).unwrap();
        let seconds = house::cpu_seconds("self") - start;
        if keep {
            self.files.push((0, path, batch));
        } else {
            std::fs::remove_file(path).unwrap();
        }
        (seconds, judge.known)
    }

    /// Merges where there are enough files of a size; gives the CPU seconds.
    fn tidy(&mut self) -> f64 {
        let start = house::cpu_seconds("self");
        for size in 0..8 {
            let same: Vec<_> = self.files.iter().filter(|(s, ..)| *s == size).cloned().collect();
            if same.len() < FILES_TO_MERGE {
                continue;
            }
            let files = same.iter().map(|(_, path, batch)| (path.clone(), *batch));
            let memory = IdMemory::open(files).unwrap().unwrap();
            let newest = same.last().unwrap().2;
            let path = self.folder.join(format!("ids/{newest}.{}.ids", size + 1));
            memory.merge(&path, BatchId::from_u64(0)).unwrap();
            for (_, path, _) in &same {
                std::fs::remove_file(path).unwrap();
            }
            self.files.retain(|(s, ..)| *s != size);
            self.files.push((size + 1, path, newest));
        }
        house::cpu_seconds("self") - start
    }

    fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, path, _)| std::fs::metadata(path).unwrap().len()).sum()
    }
}

fn digests(ids: Range<u64>) -> Vec<IdDigest> {
    ids.map(digest).collect()
}

fn micros(seconds: f64, rows: u64) -> f64 {
    seconds * 1e6 / rows as f64
}

fn main() {
    let argument = std::env::args().skip(1).find_map(|argument| argument.parse::<u64>().ok());
    let millions = argument.unwrap_or(50);
    house::print_machine();
    let folder = house::scratch();
    for millions in [1, 10] {
        sort(folder.path(), millions);
    }
    fill(folder.path(), millions);
}

/// What `dedupe` within a file costs a row: digests sorted, in memory and spilled.
fn sort(folder: &Path, millions: u64) {
    let start = house::cpu_seconds("self");
    let mut sorter = IdSorter::new(folder.join("scratch"));
    // Digests are spread evenly; these are, too, and cost nothing.
    let mut digest = 1_u64;
    for row in 0..millions * MILLION {
        digest = (digest ^ (digest >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ row;
        sorter.push([digest, row], row).unwrap();
    }
    let mut sorted = sorter.sorted().unwrap();
    let (mut last, mut count) = ([0, 0], 0);
    while let Some((digest, _)) = sorted.next_entry().unwrap() {
        assert!(digest >= last);
        (last, count) = (digest, count + 1);
    }
    assert_eq!(count, millions * MILLION);
    let seconds = house::cpu_seconds("self") - start;
    println!(
        "{millions} M digests sorted: {:.3} us CPU a row; peak RSS {:.0} MB",
        micros(seconds, count),
        house::memory_mb("self", "VmHWM")
    );
}

fn fill(folder: &Path, millions: u64) {
    std::fs::create_dir_all(folder.join("ids")).unwrap();
    let mut scope = Scope { folder: folder.to_owned(), files: Vec::new(), batches: 0 };
    let (mut taking, mut merging, mut last, mut files_max) = (0.0, 0.0, 0.0, 0);
    for million in 0..millions {
        let file = digests(million * MILLION..(million + 1) * MILLION);
        let (seconds, known) = scope.take(&file, true);
        assert_eq!(known, 0);
        (taking, last) = (taking + seconds, seconds);
        files_max = files_max.max(scope.files.len());
        merging += scope.tidy();
    }
    let rows = millions * MILLION;
    let amortised = micros(taking + merging, rows);
    let verdict = if amortised <= GOAL { "ok" } else { "MISSED" };
    println!("amortised: {amortised:.3} us CPU a row (goal at most {GOAL}: {verdict})");
    println!(
        "{millions} M ids in files of 1 M: {:.3} us CPU a row taken in, the last file {:.3}, \
         {:.3} for merges; at most {files_max} files, {} MB in the end; peak RSS {:.0} MB \
         (24 MB of it the bench's own)",
        micros(taking, rows),
        micros(last, MILLION),
        micros(merging, rows),
        scope.bytes() / MILLION,
        house::memory_mb("self", "VmHWM"),
    );
    for (what, ids) in [
        ("1 M new ids", rows..rows + MILLION),
        ("1 M known ids of one file", 0..MILLION),
        ("1 M ids, half of them known", rows - MILLION / 2..rows + MILLION / 2),
        ("10 k new ids", rows..rows + 10_000),
    ] {
        let file = digests(ids);
        // The clock counts hundredths: few ids are taken many times.
        let times = MILLION / file.len() as u64;
        let (mut seconds, mut known) = (0.0, 0);
        for _ in 0..times {
            let (took, found) = scope.take(&file, false);
            (seconds, known) = (seconds + took, found);
        }
        let rows = file.len() as u64;
        println!("{what}: {:.3} us CPU a row, {known} known", micros(seconds, rows * times));
    }
}

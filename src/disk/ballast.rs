//! A file without a meaning, whose blocks are really there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

/// What is written at a time where the file system cannot allocate without writing.
const PIECE_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Ballast {
    path: PathBuf,
}

impl Ballast {
    pub(super) fn below(folder: &Path) -> Ballast {
        Ballast { path: folder.join("ballast") }
    }

    /// How much it holds; zero where it is not there.
    pub(super) fn held(&self) -> u64 {
        // By its blocks: one that only looks large holds nothing.
        std::fs::metadata(&self.path).map_or(0, |file| file.blocks() * 512)
    }

    /// True where it was there and is not any more.
    pub(super) fn let_go(&self) -> bool {
        std::fs::remove_file(&self.path).is_ok()
    }

    /// Makes it anew; where that fails, nothing is left of it.
    pub(super) fn make(&self, bytes: u64) -> io::Result<()> {
        let made = self.try_make(bytes);
        if made.is_err() {
            self.let_go();
        }
        made
    }

    fn try_make(&self, bytes: u64) -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o640)
            .open(&self.path)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_out(&mut file, bytes)?,
            result => result?,
        }
        file.sync_all()
    }
}

fn write_out(file: &mut File, bytes: u64) -> io::Result<()> {
    let piece = vec![0; PIECE_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(PIECE_BYTES as u64);
        file.write_all(&piece[..length as usize])?;
        left -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ballast_holds_what_it_says_until_it_is_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::below(folder.path());
        assert_eq!((ballast.held(), ballast.let_go()), (0, false));
        ballast.make(3 << 20).unwrap();
        assert!(ballast.held() >= 3 << 20, "{}", ballast.held());
        assert!(ballast.let_go());
        assert_eq!(ballast.held(), 0);
    }

    #[test]
    fn what_is_written_out_is_as_long_as_what_is_allocated() {
        let mut file = tempfile::tempfile().unwrap();
        write_out(&mut file, (PIECE_BYTES as u64) * 2 + 7).unwrap();
        assert_eq!(file.metadata().unwrap().len(), (PIECE_BYTES as u64) * 2 + 7);
    }
}

//! What a file system has left.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

/// Bytes and inodes of a file system, as far as they are ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    pub free: u64,
    pub size: u64,
    pub free_files: u64,
    /// Zero where inodes are made as they are needed.
    pub files: u64,
}

impl Space {
    pub(super) const ENDLESS: Space =
        Space { free: u64::MAX, size: u64::MAX, free_files: u64::MAX, files: u64::MAX };

    pub fn below(folder: &Path) -> io::Result<Space> {
        Ok(Space::read(&rustix::fs::statvfs(folder)?))
    }

    pub fn around(file: impl AsFd) -> io::Result<Space> {
        Ok(Space::read(&rustix::fs::fstatvfs(file)?))
    }

    fn read(stat: &rustix::fs::StatVfs) -> Space {
        Space {
            free: stat.f_bavail * stat.f_frsize,
            size: stat.f_blocks * stat.f_frsize,
            free_files: stat.f_favail,
            files: stat.f_files,
        }
    }

    /// True where less than this share is left, of bytes or of inodes.
    pub fn is_below(&self, share: f64) -> bool {
        let is_below = |free: u64, all: u64| (free as f64) < all as f64 * share;
        is_below(self.free, self.size) || is_below(self.free_files, self.files)
    }
}

//! A folder read entry by entry: a folder of any size costs one descriptor and one small buffer.

use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir};
use rustix::io::Errno;

use super::Entry;

/// The entries of one folder, in the order of the disk.
#[derive(Debug)]
pub(super) struct Listing(Dir);

impl Listing {
    pub(super) fn of(folder: OwnedFd) -> io::Result<Listing> {
        Ok(Listing(Dir::new(folder)?))
    }
}

impl Iterator for Listing {
    type Item = io::Result<Entry>;

    /// Entries that vanish between their name and their `stat` are left out.
    fn next(&mut self) -> Option<io::Result<Entry>> {
        loop {
            let item = match self.0.read()? {
                Ok(item) => item,
                Err(error) => return Some(Err(error.into())),
            };
            let name = item.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let stat =
                self.0.fd().and_then(|fd| rustix::fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW));
            return match stat {
                Ok(stat) => Some(Ok(Entry::of(name.to_bytes().to_vec(), &stat))),
                Err(Errno::NOENT) => continue,
                Err(error) => Some(Err(error.into())),
            };
        }
    }
}

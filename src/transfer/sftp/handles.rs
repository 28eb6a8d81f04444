//! What one SFTP session has open.

use std::collections::HashMap;
use std::fs::File;
use std::io;

use tokio::time::Instant;

use crate::files::{Entry, Folder, HomeError, RelPath, Upload};
use crate::transfer::visit::Transfer;

/// One open thing.
pub(super) enum Open {
    File(Box<Download>),
    Folder(Box<Listing>),
    Upload(Box<Receipt>),
}

/// A folder that is listed.
pub(super) struct Listing {
    pub(super) entry: Entry,
    pub(super) folder: Folder,
}

/// A file that is read.
pub(super) struct Download {
    pub(super) file: File,
    pub(super) entry: Entry,
    pub(super) path: RelPath,
    pub(super) bytes: u64,
    pub(super) since: Instant,
}

/// A file that is written.
pub(super) struct Receipt {
    pub(super) upload: Upload,
    pub(super) path: RelPath,
    pub(super) since: Instant,
}

/// Open things under numbers that are never used twice. A stop of the program waits for them.
pub(super) struct Handles {
    open: HashMap<u64, (Open, Transfer)>,
    next: u64,
    max: usize,
}

const NO_SUCH_HANDLE: HomeError =
    HomeError::Refused("there is no such handle, it was closed or never opened");

impl Handles {
    pub(super) fn new(max: usize) -> Handles {
        Handles { open: HashMap::new(), next: 0, max }
    }

    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// Errs where the session has too much open.
    pub(super) fn check_room(&self) -> Result<(), HomeError> {
        if self.open.len() >= self.max {
            return Err(HomeError::Refused("too many files are open in this session, close some"));
        }
        Ok(())
    }

    pub(super) fn insert(&mut self, open: Open, transfer: Transfer) -> Vec<u8> {
        let number = self.next;
        self.next += 1;
        self.open.insert(number, (open, transfer));
        number.to_string().into_bytes()
    }

    pub(super) fn get(&mut self, handle: &[u8]) -> Result<&mut Open, HomeError> {
        let open = number(handle).and_then(|number| self.open.get_mut(&number));
        open.map(|(open, _)| open).ok_or(NO_SUCH_HANDLE)
    }

    pub(super) fn remove(&mut self, handle: &[u8]) -> Result<(Open, Transfer), HomeError> {
        number(handle).and_then(|number| self.open.remove(&number)).ok_or(NO_SUCH_HANDLE)
    }

    /// Takes everything out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Open, Transfer)> {
        std::mem::take(&mut self.open).into_values()
    }
}

impl Open {
    /// Reads behind what `into` holds until it is `room` longer or the file ends.
    pub(super) fn read(
        &mut self,
        offset: u64,
        room: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), HomeError> {
        let full = into.len() + room;
        let start = into.len();
        while into.len() < full {
            let at = offset.saturating_add((into.len() - start) as u64);
            let read = match self {
                Open::File(download) => read_at(&download.file, at, into)?,
                Open::Upload(receipt) => {
                    let held = into.len();
                    into.resize(full, 0);
                    let read = receipt.upload.read_at(at, &mut into[held..])?;
                    into.truncate(held + read);
                    read
                }
                Open::Folder(_) => {
                    return Err(HomeError::Refused("this is a folder, it has no bytes to read"));
                }
            };
            if read == 0 {
                break;
            }
        }
        // An allocator may give more room than was asked for.
        into.truncate(full);
        Ok(())
    }
}

/// Reads into the free room of a buffer, which is not filled with zeros first.
fn read_at(file: &File, offset: u64, into: &mut Vec<u8>) -> io::Result<usize> {
    // What lies beyond is beyond the end of any file, and the kernel takes it for an error.
    if offset > i64::MAX as u64 - into.spare_capacity_mut().len() as u64 {
        return Ok(0);
    }
    Ok(rustix::io::pread(file, rustix::buffer::spare_capacity(into), offset)?)
}

/// Handles are text: some clients cannot keep other bytes.
fn number(handle: &[u8]) -> Option<u64> {
    std::str::from_utf8(handle).ok()?.parse().ok()
}

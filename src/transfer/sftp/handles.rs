//! What one SFTP session has open.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::files::{Entry, HomeError, Upload};
use crate::transfer::visit::Transfer;

/// One open thing.
pub(super) enum Open {
    File { file: File, entry: Entry },
    Folder { left: std::vec::IntoIter<Entry> },
    Upload(Box<Upload>),
}

/// Open things under numbers that are never used twice. A stop of the program waits for them.
pub(super) struct Handles {
    open: HashMap<u64, (Open, Transfer)>,
    next: u64,
    max: usize,
}

const NO_SUCH_HANDLE: HomeError = HomeError::Refused("there is no such handle");

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
            return Err(HomeError::Refused("too many files are open in this session"));
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

    /// How many uploads are open.
    pub(super) fn uploads(&self) -> usize {
        self.open.values().filter(|(open, _)| matches!(open, Open::Upload(_))).count()
    }
}

impl Open {
    /// Reads until `into` is full or the file ends.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> Result<usize, HomeError> {
        let mut count = 0;
        while count < into.len() {
            let at = offset.saturating_add(count as u64);
            let read = match self {
                Open::File { file, .. } => file.read_at(&mut into[count..], at)?,
                Open::Upload(upload) => upload.read_at(at, &mut into[count..])?,
                Open::Folder { .. } => return Err(HomeError::Refused("this is a folder")),
            };
            if read == 0 {
                break;
            }
            count += read;
        }
        Ok(count)
    }
}

/// Handles are text: some clients cannot keep other bytes.
fn number(handle: &[u8]) -> Option<u64> {
    std::str::from_utf8(handle).ok()?.parse().ok()
}

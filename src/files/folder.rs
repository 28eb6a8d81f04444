//! A folder's listing as a client sees it, handed out piece by piece.

use std::collections::BTreeMap;

use super::area::{Area, is_inbox_folder, is_kind, is_part};
use super::listing::Listing;
use super::{Entry, EntryKind, HomeError, RelPath};

/// An open listing: unsorted, of bounded memory however large the folder is. Blocks.
#[derive(Debug)]
pub struct Folder {
    path: RelPath,
    /// `None` once the end was reached: an open listing of that folder holds no descriptor.
    disk: Option<Listing>,
    /// What is not, or not as it is, on disk: by name, so that each stands there once.
    uploads: BTreeMap<Vec<u8>, Shown>,
}

/// An upload in the place of its final name.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) entry: Entry,
    /// It was cut: shown even where an older file of the name is there, for its length is what a
    /// client needs to go on.
    pub(super) cut: bool,
}

impl Folder {
    pub(super) fn new(path: RelPath, disk: Option<Listing>, uploads: Vec<Shown>) -> Folder {
        let uploads = uploads.into_iter().map(|shown| (shown.entry.name.clone(), shown)).collect();
        Folder { path, disk, uploads }
    }

    /// The next entries, at most `n`; none at the end.
    pub fn next(&mut self, n: usize) -> Result<Vec<Entry>, HomeError> {
        let mut entries = Vec::new();
        while entries.len() < n {
            match self.next_entry()? {
                Some(entry) => entries.push(entry),
                None => break,
            }
        }
        Ok(entries)
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, HomeError> {
        while let Some(disk) = &mut self.disk {
            let Some(entry) = disk.next().transpose()? else {
                self.disk = None;
                break;
            };
            if !shown(&self.path, &entry) {
                continue;
            }
            return Ok(Some(match self.uploads.remove(&entry.name) {
                Some(upload) if upload.cut => upload.entry,
                _ => entry,
            }));
        }
        Ok(self.uploads.pop_first().map(|(_, shown)| shown.entry))
    }
}

/// Links, pipes and devices are shown to nobody, and an inbox has no folders but ours.
pub(super) fn shown(folder: &RelPath, entry: &Entry) -> bool {
    if Area::of(folder) == Some(Area::Test) {
        return Area::of(&folder.join(&entry.name)).is_some();
    }
    match entry.kind {
        EntryKind::File => true,
        EntryKind::Other => false,
        EntryKind::Folder => !is_inbox_folder(folder) || (is_part(folder) && is_kind(&entry.name)),
    }
}

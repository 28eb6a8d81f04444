//! The map of a tenant's tree: which part a path lies in, and what that part is for.

use super::name::check_inbox_name;
use super::{HomeError, RelPath};
use crate::model::Kind;

/// The parts of the tree a client sees. Anything else at the top is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Top,
    Inbox,
    Outbox,
    Archive,
    Media,
    Spec,
}

/// The folders at the top, in the order they are listed.
pub(super) const TOP_FOLDERS: &[&str] = &["archive", "inbox", "media", "outbox", "spec"];

impl Area {
    pub(super) fn of(path: &RelPath) -> Option<Area> {
        match path.names().first().map(Vec::as_slice) {
            None => Some(Area::Top),
            Some(b"inbox") => Some(Area::Inbox),
            Some(b"outbox") => Some(Area::Outbox),
            Some(b"archive") => Some(Area::Archive),
            Some(b"media") => Some(Area::Media),
            Some(b"spec") => Some(Area::Spec),
            Some(_) => None,
        }
    }
}

/// Every folder the program itself makes for a tenant.
pub(super) fn fixed_folders() -> Vec<RelPath> {
    let mut folders: Vec<RelPath> =
        ["archive/accepted", "archive/rejected", "archive/answers", "media", "spec"]
            .iter()
            .map(|path| RelPath::of(path))
            .collect();
    for kind in Kind::ALL {
        folders.push(RelPath::of(&format!("inbox/{kind}")));
        folders.push(RelPath::of(&format!("outbox/{kind}")));
    }
    folders
}

/// True for the folders a client can neither remove nor rename.
pub(super) fn is_fixed(path: &RelPath) -> bool {
    path.names().len() <= 1
        || (path.names().len() == 2
            && matches!(Area::of(path), Some(Area::Inbox | Area::Outbox))
            && path.name().is_some_and(is_kind))
}

/// True for `inbox` and `inbox/<kind>`, the only folders an inbox has.
pub(super) fn is_inbox_folder(path: &RelPath) -> bool {
    match path.names() {
        [top] => top == b"inbox",
        [top, kind] => top == b"inbox" && is_kind(kind),
        _ => false,
    }
}

pub(super) fn is_kind(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|text| Kind::from_text(text).is_some())
}

/// Whether a file may be put at `path`, by upload or rename, and in which part of the tree.
pub(super) fn upload_area(path: &RelPath) -> Result<Area, HomeError> {
    const ONLY_HERE: &str = "files are taken in /inbox and /media only";
    match Area::of(path) {
        Some(Area::Inbox) => {
            let name = path.name().unwrap_or_default();
            check_inbox_name(name)?;
            if is_fixed(path) {
                return Err(HomeError::Refused("this is a folder, not a file"));
            }
            if !is_inbox_folder(&path.parent()) {
                return Err(HomeError::Refused("the inbox has no such folder"));
            }
            Ok(Area::Inbox)
        }
        Some(Area::Media) if !is_fixed(path) => Ok(Area::Media),
        Some(Area::Archive | Area::Spec) => Err(HomeError::Refused("this folder is read-only")),
        _ => Err(HomeError::Refused(ONLY_HERE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_taken_in_inbox_and_media_only() {
        for path in ["inbox/a.csv", "inbox/messages/a.csv", "media/a.jpg", "media/x/y/a.jpg"] {
            assert!(upload_area(&RelPath::of(path)).is_ok(), "{path}");
        }
        for path in [
            "a.csv",
            "inbox",
            "inbox/messages",
            "inbox/new/a.csv",
            "inbox/messages/x/a.csv",
            "outbox/a.csv",
            "archive/a.csv",
            "spec/a.csv",
            "media",
            "test/inbox/a.csv",
        ] {
            assert!(upload_area(&RelPath::of(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn every_top_folder_is_an_area() {
        for name in TOP_FOLDERS {
            assert!(Area::of(&RelPath::of(name)).is_some());
            assert!(is_fixed(&RelPath::of(name)));
        }
    }
}

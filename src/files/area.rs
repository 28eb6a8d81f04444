//! The map of a tenant's tree: which part a path lies in, and what that part is for.

use super::name::check_inbox_name;
use super::{HomeError, RelPath};
use crate::model::{Kind, Realm};

/// The parts of the tree a client sees. Anything else at the top is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    Top,
    Inbox(Realm),
    Outbox(Realm),
    Archive,
    Media,
    Spec,
    /// `/test` itself, which holds an inbox and an outbox of its own.
    Test,
}

/// The folders at the top, in the order they are listed.
pub(super) const TOP_FOLDERS: &[&str] = &["archive", "inbox", "media", "outbox", "spec", "test"];

impl Area {
    pub(super) fn of(path: &RelPath) -> Option<Area> {
        let (realm, names) = in_realm(path);
        match (names.first().map(Vec::as_slice), realm) {
            (None, _) => Some(Area::Top),
            (Some(b"inbox"), realm) => Some(Area::Inbox(realm)),
            (Some(b"outbox"), realm) => Some(Area::Outbox(realm)),
            (Some(b"archive"), Realm::Real) => Some(Area::Archive),
            (Some(b"media"), Realm::Real) => Some(Area::Media),
            (Some(b"spec"), Realm::Real) => Some(Area::Spec),
            (Some(b"test"), Realm::Real) => Some(Area::Test),
            _ => None,
        }
    }
}

/// A path's realm, and its names within that: below `/test` the tree begins anew.
fn in_realm(path: &RelPath) -> (Realm, &[Vec<u8>]) {
    match path.names() {
        [test, below @ ..] if test == b"test" && !below.is_empty() => (Realm::Test, below),
        names => (Realm::Real, names),
    }
}

/// True for the top, and for the folders by which a part of the tree begins.
pub(super) fn is_part(path: &RelPath) -> bool {
    in_realm(path).1.len() <= 1
}

/// Every folder the program itself makes for a tenant.
pub(super) fn fixed_folders() -> Vec<RelPath> {
    let mut folders: Vec<RelPath> =
        ["archive/accepted", "archive/rejected", "archive/answers", "media", "spec"]
            .iter()
            .map(|path| RelPath::of(path))
            .collect();
    for root in Realm::ALL.map(Realm::root) {
        for kind in Kind::ALL {
            folders.push(RelPath::of(&format!("{root}inbox/{kind}")));
            folders.push(RelPath::of(&format!("{root}outbox/{kind}")));
        }
    }
    folders
}

/// True for the folders a client can neither remove nor rename.
pub(super) fn is_fixed(path: &RelPath) -> bool {
    is_part(path)
        || (in_realm(path).1.len() == 2
            && matches!(Area::of(path), Some(Area::Inbox(_) | Area::Outbox(_)))
            && path.name().is_some_and(is_kind))
}

/// True for an `inbox` and `inbox/<kind>`, the only folders an inbox has.
pub(super) fn is_inbox_folder(path: &RelPath) -> bool {
    match in_realm(path).1 {
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
    const ONLY_HERE: &str = "files are taken in /inbox, /media and /test/inbox only";
    match Area::of(path) {
        Some(area @ Area::Inbox(_)) => {
            let name = path.name().unwrap_or_default();
            check_inbox_name(name)?;
            if is_fixed(path) {
                return Err(HomeError::Refused("this is a folder, not a file"));
            }
            if !is_inbox_folder(&path.parent()) {
                return Err(HomeError::Refused("the inbox has no such folder"));
            }
            Ok(area)
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
    fn files_are_taken_in_inboxes_and_media_only() {
        for path in [
            "inbox/a.csv",
            "inbox/messages/a.csv",
            "media/a.jpg",
            "media/x/y/a.jpg",
            "test/inbox/a.csv",
            "test/inbox/messages/a.csv",
        ] {
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
            "test",
            "test/a.csv",
            "test/inbox",
            "test/inbox/messages",
            "test/inbox/new/a.csv",
            "test/outbox/a.csv",
            "test/media/a.jpg",
            "test/test/inbox/a.csv",
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
        for name in ["test/inbox", "test/outbox", "test/inbox/control", "test/outbox/messages"] {
            assert!(is_fixed(&RelPath::of(name)), "{name}");
        }
        assert_eq!(Area::of(&RelPath::of("test/spec")), None);
    }
}

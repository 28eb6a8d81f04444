//! A client's path, made harmless: names below a root, as bytes.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

/// A path that cannot be used at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    #[error("the path holds a NUL byte")]
    Nul,
    #[error("a name is longer than 255 bytes")]
    NameTooLong,
    #[error("the path is longer than 4096 bytes or deeper than 64 folders")]
    PathTooLong,
}

/// A path below a root: no empty names, no `.`, no `..`, never absolute. The empty path is the root.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct RelPath {
    names: Vec<Vec<u8>>,
}

impl RelPath {
    const NAME_MAX_BYTES: usize = 255;
    const PATH_MAX_BYTES: usize = 4096;
    const DEPTH_MAX: usize = 64;

    pub fn root() -> RelPath {
        RelPath::default()
    }

    /// Reads what a client sent, relative to `self` unless it begins with `/`. As in a jail, `..` at
    /// the top stays at the top.
    pub fn resolve(&self, path: &[u8]) -> Result<RelPath, InvalidPath> {
        if path.contains(&0) {
            return Err(InvalidPath::Nul);
        }
        if path.len() > RelPath::PATH_MAX_BYTES {
            return Err(InvalidPath::PathTooLong);
        }
        let mut names = if path.first() == Some(&b'/') { Vec::new() } else { self.names.clone() };
        for name in path.split(|b| *b == b'/') {
            match name {
                b"" | b"." => {}
                b".." => {
                    names.pop();
                }
                _ if name.len() > RelPath::NAME_MAX_BYTES => return Err(InvalidPath::NameTooLong),
                _ => names.push(name.to_vec()),
            }
        }
        if names.len() > RelPath::DEPTH_MAX {
            return Err(InvalidPath::PathTooLong);
        }
        Ok(RelPath { names })
    }

    /// A path of our own making, such as `inbox/messages`.
    ///
    /// # Panics
    /// Where `path` is not valid: only for text the program itself made of checked names.
    pub fn of(path: &str) -> RelPath {
        RelPath::root().resolve(path.as_bytes()).expect("own paths are valid")
    }

    pub fn join(&self, name: &[u8]) -> RelPath {
        let mut names = self.names.clone();
        names.push(name.to_vec());
        RelPath { names }
    }

    pub fn parent(&self) -> RelPath {
        let mut names = self.names.clone();
        names.pop();
        RelPath { names }
    }

    /// The last name; `None` for the root.
    pub fn name(&self) -> Option<&[u8]> {
        self.names.last().map(Vec::as_slice)
    }

    pub fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    pub fn is_root(&self) -> bool {
        self.names.is_empty()
    }

    /// The path with `/` between names; `.` for the root.
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.names.is_empty() { b".".to_vec() } else { self.names.join(&b'/') }
    }

    /// The text of the path, where every name is UTF-8.
    pub fn to_text(&self) -> Option<String> {
        String::from_utf8(self.names.join(&b'/')).ok()
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", OsStr::from_bytes(&self.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_paths_stay_below_the_root() {
        let here = RelPath::of("inbox");
        let rows: &[(&[u8], &[u8])] = &[
            (b"a.csv", b"inbox/a.csv"),
            (b"/a.csv", b"a.csv"),
            (b"../../../etc/passwd", b"etc/passwd"),
            (b"..", b"."),
            (b"/", b"."),
            (b"", b"inbox"),
            (b"./x//y/./z/", b"inbox/x/y/z"),
            (b"x/../y", b"inbox/y"),
            (b"\xff\xfe", b"inbox/\xff\xfe"),
        ];
        for (path, expected) in rows {
            assert_eq!(here.resolve(path).unwrap().to_bytes(), *expected, "{path:?}");
        }
        assert_eq!(here.resolve(b"a\0b"), Err(InvalidPath::Nul));
        assert_eq!(here.resolve(&[b'a'; 256]), Err(InvalidPath::NameTooLong));
        assert_eq!(here.resolve(&b"a/".repeat(100)), Err(InvalidPath::PathTooLong));
    }
}

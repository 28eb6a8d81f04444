//! What is done with files and folders without a data connection.

use jiff::Timestamp;

use super::digest::{self, Algorithm};
use super::listing::{compact_time, facts_line};
use super::reply::Reply;
use super::session::Session;
use crate::files::{Entry, EntryKind, Home, HomeError, RelPath};

impl Session {
    pub(super) fn pwd(&self) -> Reply {
        let mut text = quoted(&self.here);
        text.extend(b" is where you are.");
        Reply::new(257, text)
    }

    pub(super) fn cwd(&mut self, path: &[u8]) -> Reply {
        match self.on(path, |home, path| folder_at(home, &path).map(|()| path)) {
            Ok(path) => {
                self.here = path;
                let mut text = b"Now in ".to_vec();
                text.extend(quoted(&self.here));
                text.push(b'.');
                Reply::new(250, text)
            }
            Err(reply) => reply,
        }
    }

    pub(super) fn mkd(&self, path: &[u8]) -> Reply {
        match self.on(path, |home, path| home.make_folder(&path).map(|()| path)) {
            Ok(path) => {
                let mut text = quoted(&path);
                text.extend(b" is made.");
                Reply::new(257, text)
            }
            Err(reply) => reply,
        }
    }

    pub(super) fn rmd(&self, path: &[u8]) -> Reply {
        let removed = self.on(path, |home, path| home.remove_folder(&path));
        removed.map_or_else(|reply| reply, |()| Reply::new(250, "The folder is gone."))
    }

    pub(super) fn dele(&self, path: &[u8]) -> Reply {
        let removed = self.on(path, |home, path| home.remove_file(&path));
        removed.map_or_else(|reply| reply, |()| Reply::new(250, "The file is gone."))
    }

    pub(super) fn rnfr(&mut self, path: &[u8]) -> Reply {
        match self.on(path, |home, path| home.stat(&path).map(|_| path)) {
            Ok(path) => {
                self.rename_from = Some(path);
                Reply::new(350, "And its new name?")
            }
            Err(reply) => reply,
        }
    }

    pub(super) fn rnto(&mut self, path: &[u8]) -> Reply {
        let Some(from) = self.rename_from.take() else {
            return Reply::new(503, "Send RNFR first.");
        };
        let renamed = self.on(path, move |home, to| home.rename(&from, &to, true));
        renamed.map_or_else(|reply| reply, |()| Reply::new(250, "Renamed."))
    }

    pub(super) fn size(&self, path: &[u8]) -> Reply {
        match self.file(path) {
            Ok(entry) => Reply::new(213, entry.version.bytes.to_string()),
            Err(reply) => reply,
        }
    }

    pub(super) fn mdtm(&self, path: &[u8]) -> Reply {
        match self.on(path, |home, path| home.stat(&path)) {
            Ok(entry) => Reply::new(213, compact_time(&entry)),
            Err(reply) => reply,
        }
    }

    pub(super) fn mfmt(&self, time: Timestamp, path: &[u8]) -> Reply {
        match self.on(path, move |home, path| home.set_modified(&path, time)) {
            Ok(()) => {
                let time = time.strftime("%Y%m%d%H%M%S");
                let mut text = format!("Modify={time}; ").into_bytes();
                text.extend(path);
                Reply::new(213, text)
            }
            Err(reply) => reply,
        }
    }

    pub(super) fn chmod(&self, path: &[u8]) -> Reply {
        let done = self.on(path, |home, path| home.set_attributes(&path));
        done.map_or_else(
            |reply| reply,
            |()| Reply::new(200, "Taken; permissions stay as they are."),
        )
    }

    pub(super) fn mlst(&self, path: &[u8]) -> Reply {
        let found = self.on(path, |home, path| home.stat(&path).map(|entry| (entry, path)));
        match found {
            Ok((entry, path)) => {
                let entry = Entry { name: absolute(&path), ..entry };
                let line = facts_line(&entry, self.facts);
                Reply::long(250, "This is what is known:", vec![line], "End.")
            }
            Err(reply) => reply,
        }
    }

    pub(super) async fn hash(&self, path: &[u8]) -> Reply {
        let algorithm = self.algorithm;
        match self.digest(algorithm, path).await {
            Ok((digest, bytes)) => {
                let mut text = format!("{} 0-{bytes} {digest} ", algorithm.name()).into_bytes();
                text.extend(path);
                Reply::new(213, text)
            }
            Err(reply) => reply,
        }
    }

    pub(super) async fn plain_hash(&self, algorithm: Algorithm, path: &[u8]) -> Reply {
        match self.digest(algorithm, path).await {
            Ok((digest, _)) => Reply::new(250, digest),
            Err(reply) => reply,
        }
    }

    async fn digest(&self, algorithm: Algorithm, path: &[u8]) -> Result<(String, u64), Reply> {
        let path = self.resolve(path).map_err(|error| Reply::from(&error))?;
        let digest = move |home: &Home| Ok(digest::of_file(algorithm, &mut home.open(&path)?)?);
        self.with_home_at_length(digest).await.map_err(|error| Reply::from(&error))
    }

    fn file(&self, path: &[u8]) -> Result<Entry, Reply> {
        self.on(path, |home, path| match home.stat(&path)? {
            entry if entry.kind == EntryKind::File => Ok(entry),
            _ => Err(HomeError::Refused("this is a folder, not a file")),
        })
    }

    /// Does one thing with a path in the guest's home; an error is an answer.
    pub(super) fn on<T>(
        &self,
        path: &[u8],
        work: impl FnOnce(&Home, RelPath) -> Result<T, HomeError>,
    ) -> Result<T, Reply> {
        let path = self.resolve(path).map_err(|error| Reply::from(&error))?;
        self.with_home(|home| work(home, path)).map_err(|error| Reply::from(&error))
    }
}

/// Errs where there is no folder.
pub(super) fn folder_at(home: &Home, path: &RelPath) -> Result<(), HomeError> {
    match home.stat(path)?.kind {
        EntryKind::Folder => Ok(()),
        _ => Err(HomeError::Refused("this is a file, not a folder")),
    }
}

/// A path from the root on.
pub(super) fn absolute(path: &RelPath) -> Vec<u8> {
    let mut text = b"/".to_vec();
    text.extend(path.names().join(&b'/'));
    text
}

/// A path between quotes; those within are doubled (RFC 959, appendix II).
fn quoted(path: &RelPath) -> Vec<u8> {
    let mut text = b"\"".to_vec();
    for byte in absolute(path) {
        if byte == b'"' {
            text.push(b'"');
        }
        text.push(byte);
    }
    text.push(b'"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_byte_for_byte() {
        assert_eq!(quoted(&RelPath::root()), b"\"/\"");
        let path = RelPath::root().join(b"media").join(b"a \"b\" \xfc");
        assert_eq!(quoted(&path), b"\"/media/a \"\"b\"\" \xfc\"");
    }
}

//! The label of a cut upload: what its bytes were to become, on disk beside them, so that they can be
//! continued after a restart. Names may hold any bytes and be 255 long, so the label is a file.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;

use jiff::Timestamp;
use rustix::fs::OFlags;

use super::{RelPath, Root};
use crate::faults::{self, FileAct};

const ENDING: &[u8] = b".label";
/// A label holds one path and three short lines.
const LABEL_MAX_BYTES: u64 = 8 * 1024;

/// What a label says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) target: RelPath,
    /// Bytes that are there without a hole, and survive a power cut.
    pub(super) bytes: u64,
    /// When the upload was cut.
    pub(super) since: Timestamp,
    /// Whose upload it was; empty in labels of earlier versions.
    pub(super) account: String,
}

impl Label {
    /// Writes the label of `temp` and returns when it is durable, the folder's entries included.
    pub(super) fn write(&self, uploads: &Root, temp: &RelPath) -> io::Result<()> {
        let path = self.target.names().join(&b'/');
        let (bytes, since, account) = (self.bytes, self.since, &self.account);
        let head = format!("1 {bytes} {since} {} {account}\n", path.len());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC;
        let mut file = uploads.open_file(&path_of(temp), flags, 0o640)?;
        faults::before(FileAct::Write(file.as_fd()))?;
        file.write_all(&[head.as_bytes(), &path].concat())?;
        faults::before(FileAct::Sync(file.as_fd()))?;
        file.sync_all()?;
        uploads.sync_folder(&RelPath::root())
    }

    /// The label of `temp`; `None` where there is none, or one that a crash left half written.
    pub(super) fn read(uploads: &Root, temp: &RelPath) -> io::Result<Option<Label>> {
        let file = match uploads.read_file(&path_of(temp)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            result => result?,
        };
        let mut bytes = Vec::new();
        file.take(LABEL_MAX_BYTES).read_to_end(&mut bytes)?;
        Ok(Label::parse(&bytes))
    }

    /// Removes the label of `temp`; none there is fine.
    pub(super) fn remove(uploads: &Root, temp: &RelPath) -> io::Result<()> {
        match uploads.remove_file(&path_of(temp)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// The name of the bytes where `name` is that of a label.
    pub(super) fn labelled(name: &[u8]) -> Option<&[u8]> {
        name.strip_suffix(ENDING)
    }

    fn parse(bytes: &[u8]) -> Option<Label> {
        let end = bytes.iter().position(|byte| *byte == b'\n')?;
        let (head, path) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]);
        let mut words = head.split(' ');
        if words.next()? != "1" {
            return None;
        }
        let (length, since) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        if words.next()?.parse() != Ok(path.len()) {
            return None;
        }
        let account = words.next().unwrap_or_default().to_owned();
        let target = RelPath::root().resolve(path).ok()?;
        Some(Label { target, bytes: length, since, account })
    }
}

fn path_of(temp: &RelPath) -> RelPath {
    let name = [temp.name().unwrap_or_default(), ENDING].concat();
    temp.parent().join(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_come_back_as_written_whatever_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::open(folder.path()).unwrap();
        let temp = RelPath::of("0123");
        for name in [b"a.csv".as_slice(), b"a\nb\xff 1", &[0xfe; 255]] {
            let label = Label {
                target: RelPath::of("media/x").join(name),
                bytes: 17,
                since: "2026-11-23T08:00:00.25Z".parse().unwrap(),
                account: "acme-erp".to_owned(),
            };
            label.write(&root, &temp).unwrap();
            assert_eq!(Label::read(&root, &temp).unwrap(), Some(label));
        }
        let whole = std::fs::read(folder.path().join("0123.label")).unwrap();
        for length in 0..whole.len() {
            std::fs::write(folder.path().join("0123.label"), &whole[..length]).unwrap();
            assert_eq!(Label::read(&root, &temp).unwrap(), None, "{length}");
        }
        let of_an_earlier_version = "1 17 2026-11-23T08:00:00Z 7\nmedia/a";
        std::fs::write(folder.path().join("0123.label"), of_an_earlier_version).unwrap();
        assert_eq!(Label::read(&root, &temp).unwrap().unwrap().account, "");
        Label::remove(&root, &temp).unwrap();
        Label::remove(&root, &temp).unwrap();
        assert_eq!(Label::read(&root, &temp).unwrap(), None);
    }
}

//! A neighbour's files that nobody else may see or change, and the traps that lead to them.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use super::daemon::{Daemon, inventory};

/// Stands in every file of the neighbour.
const MARK: &[u8] = b"CANARY-7c1e5f";
/// Length of every file of the neighbour, and of no other.
pub(super) const CANARY_BYTES: u64 = 40_961;

pub(super) struct Canaries<'a> {
    daemon: &'a Daemon,
    before: Vec<String>,
}

impl<'a> Canaries<'a> {
    /// Plants them at the neighbour's, and traps in the attacker's own folders.
    pub(super) fn plant(daemon: &'a Daemon) -> Canaries<'a> {
        let bytes: Vec<u8> = MARK.iter().copied().cycle().take(CANARY_BYTES as usize).collect();
        let outside = daemon.folder.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        for path in ["inbox/canary.csv", "media/canary.bin", "outbox/canary.ack.csv"] {
            std::fs::write(daemon.path("acme2", path), &bytes).unwrap();
        }
        std::fs::write(outside.join("canary.bin"), &bytes).unwrap();
        std::fs::create_dir_all(daemon.path("acme", "media/dir")).unwrap();
        std::fs::create_dir_all(daemon.path("acme", "media/x")).unwrap();
        let canaries = Canaries { daemon, before: Vec::new() };
        canaries.set_traps();
        let before = canaries.inventory();
        Canaries { before, ..canaries }
    }

    /// Plants the traps that are not there any more: links of all kinds, pipes, sockets.
    pub(super) fn set_traps(&self) {
        let acme2 = |path| self.daemon.path("acme2", path);
        let outside = self.daemon.folder.path().join("outside");
        let links: [(&str, PathBuf); 16] = [
            ("inbox/link", acme2("inbox")),
            ("inbox/link.csv", acme2("inbox/canary.csv")),
            ("media/link", acme2("media")),
            ("media/dir/link", PathBuf::from("../../../acme2/media")),
            ("media/up", PathBuf::from("../..")),
            ("media/loop", PathBuf::from(".")),
            ("media/self", PathBuf::from("self")),
            ("media/proc", PathBuf::from("/proc")),
            ("media/abs", PathBuf::from("/")),
            ("media/out.bin", outside.join("canary.bin")),
            ("outbox/link", acme2("outbox")),
            ("outbox/link.csv", acme2("outbox/canary.ack.csv")),
            ("archive/link", acme2("inbox")),
            ("archive/accepted/link", acme2("inbox")),
            ("spec/link", outside),
            ("inbox/messages/link.csv", acme2("inbox/canary.csv")),
        ];
        for (path, target) in links {
            let link = self.daemon.path("acme", path);
            if std::fs::symlink_metadata(&link).is_err() {
                symlink(target, link).unwrap();
            }
        }
        for path in ["media/fifo", "inbox/fifo.csv"] {
            let path = self.daemon.path("acme", path);
            if std::fs::symlink_metadata(&path).is_err() {
                rustix::fs::mkfifoat(rustix::fs::CWD, path, 0o600.into()).unwrap();
            }
        }
        // Where the temporary folder's name is long a socket's does not fit: then there is none.
        let _there_already = UnixListener::bind(self.daemon.path("acme", "media/socket")).is_err();
    }

    fn inventory(&self) -> Vec<String> {
        let root = self.daemon.folder.path();
        let mut found = inventory(&root.join("outside"));
        found.extend(inventory(&root.join("data/tenants/acme2")));
        for folder in ["", "data", "data/tenants", "data/uploads"] {
            let mut names: Vec<_> = std::fs::read_dir(root.join(folder))
                .into_iter()
                .flatten()
                .map(|entry| format!("{folder}/{:?}", entry.unwrap().file_name()))
                .collect();
            names.sort();
            found.append(&mut names);
        }
        found
    }

    /// Panics where anything of the neighbour or of the house was changed, or the neighbour's bytes
    /// stand among the attacker's files.
    pub(super) fn assert_untouched(&self, what: &str) {
        let now = self.inventory();
        let gone: Vec<_> = self.before.iter().filter(|line| !now.contains(line)).collect();
        let new: Vec<_> = now.iter().filter(|line| !self.before.contains(line)).collect();
        assert!(gone.is_empty() && new.is_empty(), "{what}: gone {gone:#?}, new {new:#?}");
        let mut folders = vec![self.daemon.path("acme", "")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let kind = entry.file_type().unwrap();
                if kind.is_dir() {
                    folders.push(entry.path());
                } else if kind.is_file() {
                    // Gone meanwhile: taken by intake.
                    let bytes = std::fs::read(entry.path()).unwrap_or_default();
                    assert!(!shows_canary(&bytes), "{what}: {:?} is the neighbour's", entry.path());
                }
            }
        }
    }

    /// Whether a path that the attacker names leads to a file or folder of his own, by way of real
    /// folders only.
    pub(super) fn is_own(&self, path: &[u8]) -> bool {
        use std::os::unix::ffi::OsStrExt;
        let mut names: Vec<&[u8]> = Vec::new();
        for name in path.split(|byte| *byte == b'/') {
            match name {
                b"" | b"." => {}
                b".." => {
                    names.pop();
                }
                name => names.push(name),
            }
        }
        let mut full = self.daemon.path("acme", "");
        for name in names {
            full = full.join(Path::new(std::ffi::OsStr::from_bytes(name)));
            match std::fs::symlink_metadata(&full) {
                Ok(facts) if facts.is_dir() || facts.is_file() => {}
                _ => return false,
            }
        }
        true
    }
}

/// Whether bytes from the wire or the disk hold a neighbour's.
pub(super) fn shows_canary(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK)
        || bytes.windows(12).any(|window| window == b"root:x:0:0:r")
}

//! The daemon's side of a tenant's tree: answers appear whole, originals and old answers move to the
//! archive.
//!
//! Everything here can be done twice: after a crash the same step is simply done again.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::civil::Date;
use rustix::fs::OFlags;

use super::{RelPath, Root};
use crate::faults::{self, FileAct, WatchedFile};
use crate::model::{BatchId, FileState, TenantId};

/// Answers are read by the tenant's accounts through us, and by the operator's group.
const ANSWER_MODE: u32 = 0o640;
/// Archived originals are read-only.
const ARCHIVED_MODE: u32 = 0o440;
const BUFFER_BYTES: usize = 256 * 1024;
/// Answers of one name that one file can push into the archive on one day.
const SAME_NAME_MAX: u32 = 10_000;

/// One tenant's tree, for writing answers and moving files to the archive.
#[derive(Debug)]
pub struct AnswerTree {
    root: Root,
}

impl AnswerTree {
    /// Opens the tenant's tree, which must be there.
    pub fn open(data_dir: &Path, tenant: &TenantId) -> io::Result<AnswerTree> {
        let root = Root::open(&data_dir.join("tenants").join(tenant.as_str()))?;
        Ok(AnswerTree { root })
    }

    /// Writes an answer, which appears whole and durable under its name or not at all.
    pub fn publish<E: From<io::Error>>(
        &self,
        folder: &str,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        self.write(folder, name, true, fill)
    }

    /// Writes an answer that a crash may take back.
    pub fn publish_progress<E: From<io::Error>>(
        &self,
        folder: &str,
        name: &str,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        self.write(folder, name, false, fill)
    }

    fn write<E: From<io::Error>>(
        &self,
        folder: &str,
        name: &str,
        durable: bool,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let folder = RelPath::of(folder);
        self.root.create_folders(&folder)?;
        let hidden = folder.join(hidden(name).as_bytes());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = match self.root.open_file(&hidden, flags, ANSWER_MODE) {
            // What an earlier try left is not written over: of a file whose sync failed once no later sync
            // says anything.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                found(self.root.remove_file(&hidden))?;
                self.root.open_file(&hidden, flags, ANSWER_MODE)?
            }
            opened => opened?,
        };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, WatchedFile(file));
        if let Err(error) = fill(&mut out) {
            // The cause counts; what a failed removal leaves is written anew the next time.
            let _left = self.root.remove_file(&hidden);
            return Err(error);
        }
        let WatchedFile(file) = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        if durable {
            sync_all(&file)?;
        }
        self.root.rename(&hidden, &self.root, &folder.join(name.as_bytes()), true)?;
        if durable {
            self.root.sync_folder(&folder)?;
        }
        Ok(())
    }

    /// The first `bytes_max` bytes of an answer; `None` where it is not there (any more).
    pub fn read_answer(
        &self,
        folder: &str,
        name: &str,
        bytes_max: u64,
    ) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = found(self.root.read_file(&answer(folder, name)))? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        file.take(bytes_max).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    /// Removes an answer for good, and what a crash left of its writing; nothing there is fine.
    pub fn remove_answer(&self, folder: &str, name: &str) -> io::Result<()> {
        let torn = found(self.root.remove_file(&answer(folder, &hidden(name))))?;
        let whole = found(self.root.remove_file(&answer(folder, name)))?;
        if torn.or(whole).is_some() {
            // A power cut would bring it back, when nobody removes it any more.
            self.root.sync_folder(&RelPath::of(folder))?;
        }
        Ok(())
    }

    /// Moves a claimed original, on the same file system, to the archive as `<batch_id>_<name>`. One
    /// that is not there was moved before.
    pub fn archive_original(
        &self,
        input: &Path,
        state: FileState,
        batch: BatchId,
        name: &str,
        date: Date,
    ) -> io::Result<()> {
        let (Some(parent), Some(input_name)) = (input.parent(), input.file_name()) else {
            return Err(io::Error::new(ErrorKind::InvalidInput, "the original has no folder"));
        };
        let folder = dated(archive_of(state), date);
        let Some(file) = found(File::open(input))? else {
            // Whether a move that was begun before is durable, nobody knows.
            found(self.root.sync_folder(&folder))?;
            let batch_folder = found(Root::open(parent))?;
            return batch_folder.map_or(Ok(()), |folder| folder.sync_folder(&RelPath::root()));
        };
        match file.set_permissions(Permissions::from_mode(ARCHIVED_MODE)) {
            // A file that came another road may belong to another user: it keeps its mode.
            Err(error) if error.kind() != ErrorKind::PermissionDenied => return Err(error),
            _ => sync_all(&file)?,
        }
        self.root.create_folders(&folder)?;
        let batch_folder = Root::open(parent)?;
        let from = RelPath::root().join(input_name.as_encoded_bytes());
        let to = folder.join(format!("{batch}_{name}").as_bytes());
        batch_folder.rename(&from, &self.root, &to, true)?;
        self.root.sync_folder(&folder)?;
        batch_folder.sync_folder(&RelPath::root())
    }

    /// An original that was archived before; `None` where it is not there (any more).
    pub fn archived_original(
        &self,
        state: FileState,
        batch: BatchId,
        name: &str,
        date: Date,
    ) -> io::Result<Option<File>> {
        let folder = dated(archive_of(state), date);
        found(self.root.read_file(&folder.join(format!("{batch}_{name}").as_bytes())))
    }

    /// Moves those of earlier files' answers that are there to the archive, as `<batch>_<answer>` with
    /// the batch that each belongs to. Never overwrites.
    pub fn supersede(
        &self,
        folder: &str,
        answers: &[(String, BatchId)],
        date: Date,
    ) -> io::Result<()> {
        let archive = dated("archive/answers", date);
        let mut moved = false;
        for (name, batch) in answers {
            let from = answer(folder, name);
            if found(self.root.stat(&from))?.is_none() {
                continue;
            }
            if !moved {
                self.root.create_folders(&archive)?;
            }
            moved |= self.move_aside(&from, &archive, &format!("{batch}_{name}"))?;
        }
        if moved {
            self.root.sync_folder(&archive)?;
            self.root.sync_folder(&RelPath::of(folder))?;
        }
        Ok(())
    }

    /// False where the collector deleted the answer meanwhile.
    fn move_aside(&self, from: &RelPath, archive: &RelPath, name: &str) -> io::Result<bool> {
        for number in 1..=SAME_NAME_MAX {
            let to = match number {
                1 => archive.join(name.as_bytes()),
                _ => archive.join(format!("{number}_{name}").as_bytes()),
            };
            match self.root.rename(from, &self.root, &to, false) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                result => return Ok(found(result)?.is_some()),
            }
        }
        Err(io::Error::new(ErrorKind::AlreadyExists, "too many answers of one name in the archive"))
    }
}

fn sync_all(file: &File) -> io::Result<()> {
    faults::before(FileAct::Sync(file.as_fd()))?;
    file.sync_all()
}

/// The name an answer has while it is written; collectors pass over dot-names.
fn hidden(name: &str) -> String {
    format!(".{name}")
}

fn answer(folder: &str, name: &str) -> RelPath {
    RelPath::of(folder).join(name.as_bytes())
}

fn archive_of(state: FileState) -> &'static str {
    match state {
        FileState::Accepted | FileState::AcceptedWithErrors => "archive/accepted",
        _ => "archive/rejected",
    }
}

fn dated(folder: &str, date: Date) -> RelPath {
    RelPath::of(&format!("{folder}/{:04}/{:02}/{:02}", date.year(), date.month(), date.day()))
}

/// Nothing there is not an error here.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Disk {
        data: tempfile::TempDir,
        tree: AnswerTree,
    }

    fn disk() -> Disk {
        let data = tempfile::tempdir().unwrap();
        fs::create_dir_all(data.path().join("tenants/acme")).unwrap();
        let tree = AnswerTree::open(data.path(), &"acme".parse().unwrap()).unwrap();
        Disk { data, tree }
    }

    impl Disk {
        fn put(&self, name: &str, text: &str) {
            let fill = |out: &mut dyn Write| out.write_all(text.as_bytes());
            self.tree.publish("outbox", name, fill).unwrap();
        }

        fn files(&self, folder: &str) -> Vec<(String, String)> {
            let path = self.data.path().join("tenants/acme").join(folder);
            let mut files: Vec<_> = fs::read_dir(path)
                .unwrap()
                .map(|entry| entry.unwrap())
                .map(|entry| {
                    let text = fs::read_to_string(entry.path()).unwrap();
                    (entry.file_name().into_string().unwrap(), text)
                })
                .collect();
            files.sort();
            files
        }
    }

    fn pairs(files: &[(&str, &str)]) -> Vec<(String, String)> {
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn an_answer_appears_whole_or_not_at_all() {
        let disk = disk();
        disk.put("a.csv.ack.csv", "one");
        let failed = disk.tree.publish("outbox", "a.csv.ack.csv", |out: &mut dyn Write| {
            out.write_all(b"half")?;
            Err(io::Error::other("the store is gone"))
        });
        assert!(failed.is_err());
        assert_eq!(disk.files("outbox"), pairs(&[("a.csv.ack.csv", "one")]));
        disk.put("a.csv.ack.csv", "two");
        assert_eq!(disk.files("outbox"), pairs(&[("a.csv.ack.csv", "two")]));
        let path = disk.data.path().join("tenants/acme/outbox/a.csv.ack.csv");
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777 & !0o640, 0);
        let left = disk.data.path().join("tenants/acme/outbox/.a.csv.ack.csv");
        fs::write(left, "half").unwrap();
        disk.tree.remove_answer("outbox", "a.csv.ack.csv").unwrap();
        assert_eq!(disk.files("outbox"), []);
        disk.tree.remove_answer("outbox", "a.csv.ack.csv").unwrap();
        assert_eq!(disk.tree.read_answer("outbox", "a.csv.ack.csv", 9).unwrap(), None);
    }

    #[test]
    fn originals_are_archived_once_and_read_only() {
        let disk = disk();
        let (batch, date) = (BatchId::from_u64(1), jiff::civil::date(2026, 11, 3));
        for (state, folder) in [
            (FileState::AcceptedWithErrors, "archive/accepted/2026/11/03"),
            (FileState::Duplicate, "archive/rejected/2026/11/03"),
        ] {
            let input = disk.data.path().join("input");
            fs::write(&input, "bytes").unwrap();
            for _ in 0..2 {
                disk.tree.archive_original(&input, state, batch, "a.csv", date).unwrap();
            }
            assert_eq!(disk.files(folder), pairs(&[("0000000000001_a.csv", "bytes")]));
            let path = disk.data.path().join("tenants/acme").join(folder);
            let mode = fs::metadata(path.join("0000000000001_a.csv")).unwrap().permissions();
            assert_eq!(mode.mode() & 0o777, 0o440);
        }
    }

    #[test]
    fn old_answers_move_aside_and_overwrite_nothing() {
        let disk = disk();
        let (batch, date) = (BatchId::from_u64(1), jiff::civil::date(2026, 1, 2));
        let names = ["a.csv.ack.csv", "a.csv.errors.csv"].map(|name| (name.to_owned(), batch));
        for text in ["one", "two"] {
            disk.put("a.csv.ack.csv", text);
            disk.tree.supersede("outbox", &names, date).unwrap();
        }
        disk.tree.supersede("outbox/none", &names, date).unwrap();
        assert_eq!(disk.files("outbox"), []);
        let expected =
            [("0000000000001_a.csv.ack.csv", "one"), ("2_0000000000001_a.csv.ack.csv", "two")];
        assert_eq!(disk.files("archive/answers/2026/01/02"), pairs(&expected));
    }
}

//! Where a batch's files stand: `batches/<batch_id>/`, and `row_ids/<tenant>/` for id digests.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::log::{SpoolError, sync_folder};
use crate::faults::{self, FileAct, WatchedFile};
use crate::model::{BatchId, TenantId};

/// How the names of kept sidecars begin: of those that came with the file, and of those that came when
/// it was taken already and say nothing of how it is read.
const SIDECAR: &str = "sidecar.";
const LATE: &str = "late.";
/// JSON that the reader of records understands.
const READ_AS: &str = "read_as";

/// The folder of all batches' bulk data.
#[derive(Debug, Clone)]
pub struct Spool {
    batches: PathBuf,
    row_ids: PathBuf,
    /// The part of the disk that unpacked files leave free.
    reserve: f64,
}

impl Spool {
    /// Makes the folders below `data_dir` where they are not there yet.
    pub fn open(data_dir: &Path) -> Result<Spool, SpoolError> {
        let (batches, row_ids) = (data_dir.join("batches"), data_dir.join("row_ids"));
        create_folder(&batches)?;
        create_folder(&row_ids)?;
        Ok(Spool { batches, row_ids, reserve: 0.0 })
    }

    /// Lets what is unpacked leave a part of the disk free.
    pub fn with_reserve(self, reserve: f64) -> Spool {
        Spool { reserve, ..self }
    }

    pub fn batch(&self, batch: BatchId) -> BatchFolder {
        BatchFolder { path: self.batches.join(batch.to_string()), reserve: self.reserve }
    }

    /// Every batch that has a folder, to find those that the store does not know.
    pub fn batches(&self) -> Result<Vec<BatchId>, SpoolError> {
        let mut found = Vec::new();
        let act = "list";
        for entry in fs::read_dir(&self.batches).map_err(SpoolError::io(act, &self.batches))? {
            let entry = entry.map_err(SpoolError::io(act, &self.batches))?;
            if let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Where the digest file of one batch's row ids stands; of a later generation, where those of
    /// other batches were merged into it.
    pub fn row_ids(&self, tenant: &TenantId, batch: BatchId, generation: u32) -> PathBuf {
        let name = match generation {
            0 => format!("{batch}.ids"),
            _ => format!("{batch}.{generation}.ids"),
        };
        self.row_ids.join(tenant.as_str()).join(name)
    }

    /// Removes one digest file.
    pub fn remove_row_ids(
        &self,
        tenant: &TenantId,
        batch: BatchId,
        generation: u32,
    ) -> io::Result<()> {
        remove_file(&self.row_ids(tenant, batch, generation))
    }

    /// Removes the digest files for which `is_named` says that nobody knows them: a crash left them.
    pub fn sweep_row_ids(&self, is_named: impl Fn(&Path) -> bool) -> Result<u64, SpoolError> {
        let mut removed = 0;
        for tenant in listed(&self.row_ids)? {
            for path in listed(&tenant)? {
                if !is_named(&path) {
                    remove_file(&path).map_err(SpoolError::io("remove", &path))?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}

/// One batch's folder and the files in it.
#[derive(Debug, Clone)]
pub struct BatchFolder {
    path: PathBuf,
    reserve: f64,
}

impl BatchFolder {
    /// Makes the folder, durably; one left by an earlier try is kept.
    pub fn create(&self) -> Result<(), SpoolError> {
        create_folder(&self.path)
    }

    /// Removes the folder and all in it; nothing there is fine.
    pub fn remove(&self) -> Result<(), SpoolError> {
        let allowed = faults::before(FileAct::Remove(self.path().into()));
        match allowed.and_then(|()| fs::remove_dir_all(&self.path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SpoolError::io("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Makes the names of new files in the folder durable.
    pub fn sync(&self) -> Result<(), SpoolError> {
        sync_folder(&self.path)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn reserve(&self) -> f64 {
        self.reserve
    }

    /// The claimed file, as received, until it is archived.
    pub fn input(&self) -> PathBuf {
        self.path.join("input")
    }

    /// Where a sidecar of the file is kept, such as its manifest, under the name it came with.
    pub fn sidecar(&self, name: &str) -> PathBuf {
        self.path.join(BatchFolder::sidecar_name(name))
    }

    /// The name that a sidecar has in the folder.
    pub fn sidecar_name(name: &str) -> String {
        format!("{SIDECAR}{name}")
    }

    /// The name that a sidecar has in the folder that came when the file was taken already.
    pub fn late_name(name: &str) -> String {
        format!("{LATE}{name}")
    }

    /// The names of the sidecars that came with the file, sorted.
    pub fn sidecars(&self) -> Result<Vec<String>, SpoolError> {
        let failed = |error| SpoolError::io("list", &self.path)(error);
        let entries = match fs::read_dir(&self.path) {
            Err(error) if no_folder(&error) => return Ok(Vec::new()),
            result => result.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            names.extend(
                name.to_str().and_then(|name| name.strip_prefix(SIDECAR)).map(str::to_owned),
            );
        }
        names.sort();
        Ok(names)
    }

    /// What was in the claimed file where it came packed.
    pub fn unpacked(&self) -> PathBuf {
        self.path.join("unpacked")
    }

    /// Removes what was unpacked; nothing there is fine.
    pub fn remove_unpacked(&self) -> Result<(), SpoolError> {
        let path = self.unpacked();
        match remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(SpoolError::io("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// The text of the claimed file: what was in it, or the file itself.
    pub fn text(&self) -> Result<PathBuf, SpoolError> {
        let unpacked = self.unpacked();
        Ok(if is_there(&unpacked)? { unpacked } else { self.input() })
    }

    /// True where the claimed file was unpacked.
    pub fn is_unpacked(&self) -> Result<bool, SpoolError> {
        is_there(&self.unpacked())
    }

    /// True as long as the claimed file was not archived.
    pub fn has_input(&self) -> Result<bool, SpoolError> {
        is_there(&self.input())
    }

    pub fn rows(&self) -> PathBuf {
        self.path.join("rows")
    }

    /// Keeps how the file's records were cut, where a profile said so.
    pub fn keep_read_as(&self, read_as: &[u8]) -> Result<(), SpoolError> {
        let path = self.path.join(READ_AS);
        let written = faults::before(FileAct::Open(path.as_path().into()))
            .and_then(|()| File::create(&path))
            .and_then(|file| WatchedFile(file).write_all(read_as));
        written.map_err(SpoolError::io("write", &path))
    }

    /// What was kept of it; `None` where nothing was.
    pub fn read_as(&self) -> Result<Option<Vec<u8>>, SpoolError> {
        let path = self.path.join(READ_AS);
        match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some).map_err(SpoolError::io("read", &path)),
        }
    }

    pub fn problems(&self) -> PathBuf {
        self.path.join("problems")
    }

    /// Problems of rows that turned out to be duplicates when the whole file was known.
    pub fn duplicates(&self) -> PathBuf {
        self.path.join("duplicates")
    }

    pub fn outcomes(&self) -> PathBuf {
        self.path.join("outcomes")
    }

    /// A folder for files that only live while the batch is validated.
    pub fn scratch(&self) -> PathBuf {
        self.path.join("scratch")
    }
}

fn no_folder(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// That it cannot be looked at does not mean that a file is gone.
fn is_there(path: &Path) -> Result<bool, SpoolError> {
    path.try_exists().map_err(SpoolError::io("stat", path))
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>, SpoolError> {
    let entries = fs::read_dir(folder).and_then(|entries| {
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    entries.map_err(SpoolError::io("list", folder))
}

/// Removes a file that must be there.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    faults::before(FileAct::Remove(path.into()))?;
    fs::remove_file(path)
}

pub(super) fn create_folder(path: &Path) -> Result<(), SpoolError> {
    let allowed = faults::before(FileAct::MakeFolder(path.into()));
    match allowed.and_then(|()| fs::create_dir(path)) {
        // One that is there may have been made by a process that died before it was durable.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(SpoolError::io("create", path)(error))
        }
        _ => sync_folder(path.parent().expect("spool folders have a parent")),
    }
}

//! The claim: one atomic rename out of the tenant's sight, and its undoing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::IntakeError;
use super::concluding::Desk;
use crate::files::{RelPath, Root};
use crate::model::FileVersion;
use crate::store::BatchRecord;

impl Desk {
    /// Takes the file of a fresh record, if it is still the version that was found ready. The record
    /// is stored before the rename: after a crash the batch's folder tells which came first.
    pub(super) fn claim(
        &self,
        tree: &Root,
        record: BatchRecord,
        version: FileVersion,
    ) -> Result<Option<BatchRecord>, IntakeError> {
        let failed = |source| IntakeError::Claim { path: record.path.clone(), source };
        let record = self.store.open_batch(record.clone())?;
        let folder = self.spool.batch(record.id);
        folder.create()?;
        let from = RelPath::of(&record.path);
        let into = Root::open(folder.path()).map_err(failed)?;
        let input = RelPath::of("input");
        match tree.rename(&from, &into, &input, true) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.forget(&record)?;
                return Ok(None);
            }
            Err(error) => return Err(failed(error)),
        }
        if into.stat(&input).map_err(failed)?.version != version {
            // A newer version came in between: it goes back and is looked at anew, unless an even
            // newer one stands there, which then replaces it.
            match into.rename(&input, tree, &from, false) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(error));
                }
                _ => {}
            }
            self.forget(&record)?;
            return Ok(None);
        }
        folder.sync()?;
        tree.sync_folder(&from.parent()).map_err(failed)?;
        Ok(Some(record))
    }

    /// After a start: true where the batch's file was taken, else the claim is taken back.
    pub(super) fn resume_claim(&self, record: &BatchRecord) -> Result<bool, IntakeError> {
        if self.spool.batch(record.id).input().exists() {
            return Ok(true);
        }
        self.forget(record)?;
        Ok(false)
    }

    fn forget(&self, record: &BatchRecord) -> Result<(), IntakeError> {
        self.store.forget_claim(record)?;
        self.spool.batch(record.id).remove()?;
        Ok(())
    }
}

/// Size and time of a claimed file, to see whether somebody still writes into it.
pub(super) fn input_version(input: &Path) -> Result<(u64, i64, i64), IntakeError> {
    let seen = fs::metadata(input).map_err(|source| IntakeError::Input { source })?;
    Ok((seen.len(), seen.mtime(), seen.mtime_nsec()))
}

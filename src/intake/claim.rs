//! The claim: one atomic rename out of the tenant's sight, and its undoing.
//!
//! Sidecars go before their file: whatever crashes, a file that was taken has those that vouch for it,
//! and sidecars without their file go back.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::IntakeError;
use super::concluding::Desk;
use super::pairs::Sidecar;
use crate::files::{RelPath, Root};
use crate::model::FileVersion;
use crate::spool::BatchFolder;
use crate::store::BatchRecord;

impl Desk {
    /// Takes the file of a fresh record, if it is still the version that was found ready. The record
    /// is stored before the rename: after a crash the batch's folder tells which came first.
    pub(super) fn claim(
        &self,
        tree: &Root,
        record: BatchRecord,
        version: FileVersion,
        sidecars: &[Sidecar],
    ) -> Result<Option<BatchRecord>, IntakeError> {
        let record = self.store.open_batch(record)?;
        match self.take(tree, &record, version, sidecars) {
            Ok(true) => Ok(Some(record)),
            Ok(false) => {
                self.forget(tree, &record)?;
                Ok(None)
            }
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                self.forget(tree, &record)?;
                Err(error)
            }
        }
    }

    /// The rename; false where the version that was found ready is not there any more. An error that
    /// is not fatal came before the rename: the file is where it was.
    fn take(
        &self,
        tree: &Root,
        record: &BatchRecord,
        version: FileVersion,
        sidecars: &[Sidecar],
    ) -> Result<bool, IntakeError> {
        let failed = |source| IntakeError::Claim { path: record.path.clone(), source };
        let half_done = |source| IntakeError::HalfClaimed { path: record.path.clone(), source };
        let folder = self.spool.batch(record.id);
        folder.create()?;
        let from = RelPath::of(&record.path);
        let into = Root::open(folder.path()).map_err(failed)?;
        let input = RelPath::of("input");
        for sidecar in sidecars {
            let kept = kept_as(sidecar.file.name());
            match tree.rename(&RelPath::of(&sidecar.file.path), &into, &kept, true) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                result => result.map_err(failed)?,
            }
            // One that changed meanwhile is not the one for which the file was found ready.
            if into.stat(&kept).map_err(failed)?.version != sidecar.file.version {
                return Ok(false);
            }
        }
        if !sidecars.is_empty() {
            into.sync_folder(&RelPath::root()).map_err(failed)?;
        }
        match tree.rename(&from, &into, &input, true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            result => result.map_err(failed)?,
        }
        if into.stat(&input).map_err(half_done)?.version != version {
            // A newer version came in between: it goes back and is looked at anew, unless an even
            // newer one stands there, which then replaces it.
            match into.rename(&input, tree, &from, false) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result.map_err(half_done)?,
            }
            tree.sync_folder(&from.parent()).map_err(half_done)?;
            return Ok(false);
        }
        into.sync_folder(&RelPath::root()).map_err(half_done)?;
        tree.sync_folder(&from.parent()).map_err(half_done)?;
        Ok(true)
    }

    /// After a start: true where the batch's file was taken, else the claim is taken back.
    pub(super) fn resume_claim(
        &self,
        tree: &Path,
        record: &BatchRecord,
    ) -> Result<bool, IntakeError> {
        if self.spool.batch(record.id).input().exists() {
            return Ok(true);
        }
        let half_done = |source| IntakeError::HalfClaimed { path: record.path.clone(), source };
        self.forget(&Root::open(tree).map_err(half_done)?, record)?;
        Ok(false)
    }

    /// Takes back a claim that did not come about: its sidecars return into the inbox. One that cannot
    /// go back lets the next start try again.
    fn forget(&self, tree: &Root, record: &BatchRecord) -> Result<(), IntakeError> {
        let half_done = |source| IntakeError::HalfClaimed { path: record.path.clone(), source };
        let folder = self.spool.batch(record.id);
        let inbox = RelPath::of(&record.path).parent();
        let sidecars = folder.sidecars()?;
        for name in &sidecars {
            let from = Root::open(folder.path()).map_err(half_done)?;
            match from.rename(&kept_as(name), tree, &inbox.join(name.as_bytes()), false) {
                // A newer one stands there and counts.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result.map_err(half_done)?,
            }
        }
        if !sidecars.is_empty() {
            tree.sync_folder(&inbox).map_err(half_done)?;
        }
        self.store.forget_claim(record)?;
        self.spool.batch(record.id).remove()?;
        Ok(())
    }
}

/// The name of a sidecar in its batch's folder.
pub(super) fn kept_as(name: &str) -> RelPath {
    RelPath::root().join(BatchFolder::sidecar_name(name).as_bytes())
}

/// Size and time of a claimed file, to see whether somebody still writes into it.
pub(super) fn input_version(input: &Path) -> Result<(u64, i64, i64), IntakeError> {
    let seen = fs::metadata(input).map_err(|source| IntakeError::Input { source })?;
    Ok((seen.len(), seen.mtime(), seen.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::batch::BatchState;
    use crate::model::BatchId;
    use crate::spool::Spool;
    use crate::store::{Facts, SimulatedDisk, Store};

    fn record() -> BatchRecord {
        BatchRecord {
            id: BatchId::from_u64(1),
            tenant: "acme".parse().unwrap(),
            path: "inbox/a.csv".to_owned(),
            state: BatchState::Claimed,
            account: String::new(),
            proof: None,
            received_at: Timestamp::UNIX_EPOCH,
            claimed_at: Timestamp::UNIX_EPOCH,
            validated_at: None,
            closed_at: None,
            facts: Facts::default(),
            chunks: 0,
            hold: None,
        }
    }

    #[test]
    fn a_claim_that_does_not_come_about_leaves_nothing() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let spool = Spool::open(data.path()).unwrap();
        let desk = Desk { store: store.clone(), spool: spool.clone() };
        let inbox = data.path().join("tenant/inbox");
        fs::create_dir_all(&inbox).unwrap();
        fs::write(inbox.join("a.csv"), "one").unwrap();
        let tree = Root::open(&data.path().join("tenant")).unwrap();
        let version = tree.stat(&RelPath::of("inbox/a.csv")).unwrap().version;
        let batch = record().id;

        // The batch's folder cannot be made.
        fs::write(spool.batch(batch).path(), "in the way").unwrap();
        assert!(desk.claim(&tree, record(), version, &[]).is_err());
        assert_eq!(store.batch(batch).unwrap(), None);
        assert_eq!(fs::read(inbox.join("a.csv")).unwrap(), b"one");
        fs::remove_file(spool.batch(batch).path()).unwrap();

        let other = FileVersion { bytes: 2, ..version };
        assert_eq!(desk.claim(&tree, record(), other, &[]).unwrap(), None);
        assert_eq!(store.batch(batch).unwrap(), None);
        assert_eq!(fs::read(inbox.join("a.csv")).unwrap(), b"one");

        assert!(desk.claim(&tree, record(), version, &[]).unwrap().is_some());
        assert_eq!(fs::read(spool.batch(batch).input()).unwrap(), b"one");
        assert!(!inbox.join("a.csv").exists());
    }
}

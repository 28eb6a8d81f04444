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
use crate::batch::BatchState;
use crate::files::{RelPath, Root};
use crate::model::{CutUpload, FileVersion};
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

    /// Takes the bytes of an upload that was cut and that nobody continued, as if it were a file. `None`
    /// where they were taken before a crash.
    pub(super) fn claim_cut(
        &self,
        data_dir: &Path,
        record: BatchRecord,
        cut: &CutUpload,
    ) -> Result<Option<BatchRecord>, IntakeError> {
        let failed = |source| IntakeError::HalfClaimed { path: cut.path.clone(), source };
        let record = self.store.open_batch(record)?;
        let folder = self.spool.batch(record.id);
        folder.create()?;
        let into = Root::open(folder.path()).map_err(failed)?;
        let data = Root::open(data_dir).map_err(failed)?;
        let uploads = RelPath::of(&format!("uploads/{}", cut.tenant));
        let from = uploads.join(cut.bytes_in.as_bytes());
        let taken = match data.rename(&from, &into, &RelPath::of("input"), true) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            result => {
                result.map_err(failed)?;
                into.sync_folder(&RelPath::root()).map_err(failed)?;
                data.sync_folder(&uploads).map_err(failed)?;
                Some(record.clone())
            }
        };
        remove_label(&data, cut)?;
        if taken.is_none() {
            self.store.forget_claim(record.id)?;
            folder.remove()?;
        }
        self.store.forget_cut_upload(cut)?;
        Ok(taken)
    }

    /// Removes an upload that was cut and of which nothing is taken.
    pub(super) fn drop_cut(&self, data_dir: &Path, cut: &CutUpload) -> Result<(), IntakeError> {
        let failed = |source| IntakeError::HalfClaimed { path: cut.path.clone(), source };
        let data = Root::open(data_dir).map_err(failed)?;
        let bytes = RelPath::of(&format!("uploads/{}", cut.tenant)).join(cut.bytes_in.as_bytes());
        gone(data.remove_file(&bytes)).map_err(failed)?;
        remove_label(&data, cut)?;
        Ok(self.store.forget_cut_upload(cut)?)
    }

    /// After a start: those whose file was taken; the other claims are taken back.
    pub(super) fn resume_claims(
        &self,
        tenants: &Path,
        records: Vec<BatchRecord>,
    ) -> Result<Vec<BatchRecord>, IntakeError> {
        let mut kept = Vec::new();
        for record in records {
            if record.state == BatchState::Released
                || self.resume_claim(&tenants.join(record.tenant.as_str()), &record)?
            {
                kept.push(record);
            }
        }
        Ok(kept)
    }

    /// After a start: true where the batch's file was taken, else the claim is taken back.
    pub(super) fn resume_claim(
        &self,
        tree: &Path,
        record: &BatchRecord,
    ) -> Result<bool, IntakeError> {
        // So far nothing is changed.
        let failed = |source| IntakeError::Claim { path: record.path.clone(), source };
        // Only a certain no takes the claim back, and with it the folder.
        if self.spool.batch(record.id).input().try_exists().map_err(failed)? {
            return Ok(true);
        }
        self.forget(&Root::open(tree).map_err(failed)?, record)?;
        Ok(false)
    }

    /// Takes back a claim that did not come about: its sidecars return into the inbox. One that cannot
    /// go back lets the next start try again; without room the record stays, and `recover` finds it.
    fn forget(&self, tree: &Root, record: &BatchRecord) -> Result<(), IntakeError> {
        let half_done = |source| IntakeError::HalfClaimed { path: record.path.clone(), source };
        let folder = self.spool.batch(record.id);
        let inbox = RelPath::of(&record.path).parent();
        let sidecars = folder.sidecars()?;
        for name in &sidecars {
            let failed = |source| IntakeError::Claim { path: record.path.clone(), source };
            let from = Root::open(folder.path()).map_err(failed)?;
            match from.rename(&kept_as(name), tree, &inbox.join(name.as_bytes()), false) {
                // A newer one stands there and counts.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                // It is tried again, and what went back before is synced with it.
                Err(error) if is_full(&error) => return Err(failed(error)),
                result => result.map_err(half_done)?,
            }
        }
        if !sidecars.is_empty() {
            tree.sync_folder(&inbox).map_err(half_done)?;
        }
        self.store.forget_claim(record.id)?;
        self.spool.batch(record.id).remove()?;
        Ok(())
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn remove_label(data: &Root, cut: &CutUpload) -> Result<(), IntakeError> {
    let uploads = RelPath::of(&format!("uploads/{}", cut.tenant));
    let label = uploads.join(format!("{}.label", cut.bytes_in).as_bytes());
    gone(data.remove_file(&label))
        .map_err(|source| IntakeError::HalfClaimed { path: cut.path.clone(), source })
}

/// What is not there need not be removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    removed.or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
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
    use super::*;
    use crate::intake::pairs::{InboxFile, SidecarKind};
    use crate::intake::testing;
    use crate::spool::Spool;
    use crate::store::{SimulatedDisk, Store};

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
        let batch = testing::claimed().id;

        // The batch's folder cannot be made.
        fs::write(spool.batch(batch).path(), "in the way").unwrap();
        assert!(desk.claim(&tree, testing::claimed(), version, &[]).is_err());
        assert_eq!(store.batch(batch).unwrap(), None);
        assert_eq!(fs::read(inbox.join("a.csv")).unwrap(), b"one");
        fs::remove_file(spool.batch(batch).path()).unwrap();

        let other = FileVersion { bytes: 2, ..version };
        assert_eq!(desk.claim(&tree, testing::claimed(), other, &[]).unwrap(), None);
        assert_eq!(store.batch(batch).unwrap(), None);
        assert_eq!(fs::read(inbox.join("a.csv")).unwrap(), b"one");

        assert!(desk.claim(&tree, testing::claimed(), version, &[]).unwrap().is_some());
        assert_eq!(fs::read(spool.batch(batch).input()).unwrap(), b"one");
        assert!(!inbox.join("a.csv").exists());
    }
    #[test]
    fn sidecars_are_taken_with_their_file_and_go_back_without_it() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let spool = Spool::open(data.path()).unwrap();
        let desk = Desk { store: store.clone(), spool: spool.clone() };
        let root = data.path().join("tenant");
        let inbox = root.join("inbox");
        fs::create_dir_all(&inbox).unwrap();
        fs::write(inbox.join("a.csv"), "one").unwrap();
        fs::write(inbox.join("a.csv.md5"), "digest").unwrap();
        let tree = Root::open(&root).unwrap();
        let version =
            |name: &str| tree.stat(&RelPath::of(&format!("inbox/{name}"))).unwrap().version;
        let there = |name: &str| fs::read_to_string(inbox.join(name)).ok();
        let sidecar = |name: &str| Sidecar {
            kind: SidecarKind::Md5,
            base: "inbox/a.csv".to_owned(),
            file: InboxFile {
                path: format!("inbox/{name}"),
                version: version("a.csv.md5"),
                evidence: None,
                trailer: false,
            },
        };
        let (md5, gone) = (sidecar("a.csv.md5"), sidecar("a.csv.done"));
        let file = version("a.csv");
        let other = FileVersion { bytes: 2, ..file };
        for (version, sidecars) in [(other, vec![md5.clone()]), (file, vec![md5, gone])] {
            assert_eq!(desk.claim(&tree, testing::claimed(), version, &sidecars).unwrap(), None);
            assert_eq!(there("a.csv.md5").as_deref(), Some("digest"));
            assert_eq!(there("a.csv").as_deref(), Some("one"));
        }
        // The process dies between the two renames; the next one finds only the sidecar.
        let record = store.open_batch(testing::claimed()).unwrap();
        let folder = spool.batch(record.id);
        folder.create().unwrap();
        fs::write(folder.sidecar("a.csv.md5"), "digest").unwrap();
        fs::remove_file(inbox.join("a.csv.md5")).unwrap();
        assert!(!desk.resume_claim(&root, &record).unwrap());
        assert_eq!(there("a.csv.md5").as_deref(), Some("digest"));
        assert_eq!(store.batch(record.id).unwrap(), None);

        let md5 = sidecar("a.csv.md5");
        let record = desk.claim(&tree, testing::claimed(), file, &[md5]).unwrap().unwrap();
        assert!(desk.resume_claim(&root, &record).unwrap());
        assert_eq!(spool.batch(record.id).sidecars().unwrap(), ["a.csv.md5"]);
        assert_eq!((there("a.csv"), there("a.csv.md5")), (None, None));
    }
}

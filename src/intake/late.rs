//! Sidecars that come after their file was taken.

use std::io;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::IntakeError;
use super::claim::kept_as;
use super::concluding::Desk;
use super::inbox::profile_of;
use super::pairs::{Sidecar, SidecarKind};
use super::settings::{ProfileSettings, TenantSettings};
use super::station::Intake;
use super::vouchers::Vouchers;
use crate::batch::BatchState;
use crate::files::{RelPath, Root};
use crate::model::{Notice, Proof, TenantId};
use crate::records::FileProblem;
use crate::store::BatchRecord;
use crate::worker::blocking;

/// A sidecar that does not fit the file that was taken last may belong to one that is still coming in:
/// so long it is not taken for a late one.
const EARLY_MAX: SignedDuration = SignedDuration::from_secs(30);

impl Intake {
    /// Settles sidecars whose file was taken before they came; returns the paths that are gone.
    pub(super) async fn settle_late(
        &mut self,
        tenant: &Arc<TenantSettings>,
        late: Vec<(Sidecar, Timestamp)>,
        now: Timestamp,
    ) -> Result<Vec<String>, IntakeError> {
        if late.is_empty() {
            return Ok(Vec::new());
        }
        let (tree, desk, tenant) = (self.tree(&tenant.id), self.desk.clone(), Arc::clone(tenant));
        blocking(move || {
            let failed = |source| IntakeError::Inbox { tenant: tenant.id.to_string(), source };
            let tree = Root::open(&tree).map_err(failed)?;
            let mut gone = Vec::new();
            for (sidecar, arrived) in late {
                let of = (&tenant.id, profile_of(&tenant, &sidecar.base));
                if desk.settle_late(&tree, of, &sidecar, (arrived, now))? {
                    gone.push(sidecar.file.path);
                }
            }
            Ok(gone)
        })
        .await
    }
}

impl Desk {
    /// Holds a sidecar against the file of its name that was taken last, and puts it away with that
    /// one's batch. False where there is none to which it can belong: it may be early instead of late.
    pub(super) fn settle_late(
        &self,
        tree: &Root,
        (tenant, profile): (&TenantId, &ProfileSettings),
        sidecar: &Sidecar,
        (arrived, now): (Timestamp, Timestamp),
    ) -> Result<bool, IntakeError> {
        let is_sentinel = sidecar.kind == SidecarKind::Sentinel;
        let taken = self.store.taken(tenant, &sidecar.base, is_sentinel)?;
        let wait = SignedDuration::try_from(profile.pair_timeout).unwrap_or(SignedDuration::MAX);
        let belongs = |record: &BatchRecord| {
            record.state != BatchState::Claimed && arrived.duration_since(record.claimed_at) <= wait
        };
        let Some(record) = taken.filter(belongs) else { return Ok(false) };
        // Where sidecars are asked for, each file had its own: only the very digest tells a late one
        // from the first of the next file.
        let asked = matches!(profile.only_proof, Some(Proof::Manifest | Proof::Sentinel));
        let may_be_early = asked || now.duration_since(arrived) < EARLY_MAX;
        let problem = self.lie(tree, sidecar, &record)?;
        if may_be_early && (is_sentinel || problem.is_some()) {
            return Ok(false);
        }
        if let Some(problem) = problem {
            let (batch, name) = (record.id, record.name());
            let message = format!(
                "it came after {name} was taken (batch {batch}) and does not fit it: {}",
                problem.message
            );
            let notice = Notice::warning(now, problem.code, sidecar.file.name(), message);
            let version = sidecar.file.version;
            let about = format!("{batch} {} {}", version.inode, version.modified_ns);
            self.store.notice_once(
                tenant,
                &notice,
                &format!("late {}", sidecar.file.path),
                &about,
            )?;
        }
        self.put_away(tree, sidecar, &record)?;
        Ok(true)
    }

    /// What the sidecar says of the file and that is not so.
    fn lie(
        &self,
        tree: &Root,
        sidecar: &Sidecar,
        record: &BatchRecord,
    ) -> Result<Option<FileProblem>, IntakeError> {
        // Of an MD5 nothing can be said: the original is in the archive, and only its SHA-256 is kept.
        if !matches!(sidecar.kind, SidecarKind::Manifest | SidecarKind::Sha256) {
            return Ok(None);
        }
        let failed = |source| IntakeError::Claim { path: sidecar.file.path.clone(), source };
        let file = tree.read_file(&RelPath::of(&sidecar.file.path)).map_err(failed)?;
        let mut vouchers = Vouchers::default();
        vouchers.add(sidecar.kind, sidecar.file.name(), file, record.name())?;
        let facts = &record.facts;
        vouchers.disagreement(&self.spool.batch(record.id), facts.bytes, &facts.sha256)
    }

    /// Moves a sidecar into the folder of a batch. One that changed meanwhile is left for the next look.
    fn put_away(
        &self,
        tree: &Root,
        sidecar: &Sidecar,
        record: &BatchRecord,
    ) -> Result<(), IntakeError> {
        let failed = |source| IntakeError::Claim { path: sidecar.file.path.clone(), source };
        let (from, folder) = (RelPath::of(&sidecar.file.path), self.spool.batch(record.id));
        folder.create()?;
        let into = Root::open(folder.path()).map_err(failed)?;
        match tree.stat(&from) {
            Ok(there) if there.version == sidecar.file.version => {}
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        tree.rename(&from, &into, &kept_as(sidecar.file.name()), true).map_err(failed)?;
        into.sync_folder(&RelPath::root()).map_err(failed)?;
        tree.sync_folder(&from.parent()).map_err(failed)
    }
}

//! Sidecars that come after their file was taken, told from those that come before the next one.

use std::fs::File;
use std::io;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::IntakeError;
use super::concluding::Desk;
use super::inbox::profile_of;
use super::pairs::{Sidecar, SidecarKind};
use super::settings::{ProfileSettings, TenantSettings};
use super::station::Intake;
use super::vouchers::{Received, Vouchers};
use crate::batch::BatchState;
use crate::codes::ReasonCode;
use crate::files::{AnswerTree, RelPath, Root};
use crate::model::{BatchId, FileState, Notice, Proof};
use crate::records::FileProblem;
use crate::spool::BatchFolder;
use crate::store::{BatchRecord, Facts};
use crate::worker::blocking;

/// A sentinel may belong to a file that is still coming in: so long it is not taken for a late one.
const EARLY_MAX: SignedDuration = SignedDuration::from_secs(30);
/// Larger files are not read once more for the sake of a late MD5.
const LATE_MD5_MAX_BYTES: u64 = 256 << 20;

/// A whole sidecar whose file is not there.
#[derive(Debug, Clone)]
pub(super) struct Orphan {
    pub(super) sidecar: Sidecar,
    pub(super) arrived: Timestamp,
    /// Nothing came to which it could belong, and it is waited for no more.
    pub(super) is_over: bool,
    /// The batch that it was held against already, in vain.
    pub(super) not_of: Option<BatchId>,
}

/// What became of an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// It belonged to a file that was taken, and is put away.
    Away,
    /// It does not belong to this batch, as far as it says.
    NotOf(BatchId),
    /// There is no file to hold it against.
    Alone,
}

impl Intake {
    /// Settles sidecars whose file was taken before they came; returns the paths that are gone.
    pub(super) async fn settle_orphans(
        &mut self,
        tenant: &Arc<TenantSettings>,
        late: Vec<Orphan>,
        now: Timestamp,
    ) -> Result<Vec<String>, IntakeError> {
        if late.is_empty() {
            return Ok(Vec::new());
        }
        let (desk, owner) = (self.desk.clone(), Arc::clone(tenant));
        let (data_dir, tree) = (self.settings.data_dir.clone(), self.tree(&tenant.id));
        let settled = blocking(move || -> Result<Vec<_>, IntakeError> {
            let failed = |source| IntakeError::Inbox { tenant: owner.id.to_string(), source };
            let tree = Root::open(&tree).map_err(failed)?;
            let answers = AnswerTree::open(&data_dir, &owner.id).map_err(failed)?;
            let mut settled = Vec::new();
            for orphan in late {
                let of = (&*owner, profile_of(&owner, &orphan.sidecar.base));
                let end = desk.settle_late((&tree, &answers), of, &orphan, now)?;
                settled.push((orphan.sidecar.file, end));
            }
            Ok(settled)
        })
        .await?;
        let mut gone = Vec::new();
        for (file, end) in settled {
            match end {
                Settled::Away => gone.push(file.path),
                Settled::NotOf(batch) => self.sightings.not_of(&tenant.id, &file, batch),
                Settled::Alone => {}
            }
        }
        Ok(gone)
    }
}

impl Desk {
    /// Holds an orphan against the file of its name that was taken last. It came late where its digest
    /// says so; of one that says less, only that nothing came to which it could belong tells that it did.
    pub(super) fn settle_late(
        &self,
        (tree, answers): (&Root, &AnswerTree),
        (tenant, profile): (&TenantSettings, &ProfileSettings),
        orphan: &Orphan,
        now: Timestamp,
    ) -> Result<Settled, IntakeError> {
        let Orphan { sidecar, arrived, is_over, not_of } = orphan;
        let is_sentinel = sidecar.kind == SidecarKind::Sentinel;
        let taken = self.store.taken(&tenant.id, &sidecar.base, is_sentinel)?;
        let wait = SignedDuration::try_from(profile.pair_timeout).unwrap_or(SignedDuration::MAX);
        let is_near = |record: &BatchRecord| {
            record.state != BatchState::Claimed && arrived.duration_since(record.claimed_at) <= wait
        };
        let Some(record) = taken.filter(is_near) else { return Ok(Settled::Alone) };
        // Where sidecars are asked for, each file had its own: one that fits none is the next one's.
        let asked = matches!(profile.only_proof, Some(Proof::Manifest | Proof::Sentinel));
        let is_late = match sidecar.kind {
            SidecarKind::Sentinel => !asked && now.duration_since(*arrived) >= EARLY_MAX,
            _ if *not_of == Some(record.id) => false,
            _ => self.belongs(tree, answers, (tenant, sidecar), &record)?,
        };
        if !is_late && (asked || !is_over) {
            return Ok(Settled::NotOf(record.id));
        }
        if !is_late && let Some(problem) = self.complaint(tree, sidecar, &record)? {
            let (batch, name) = (record.id, record.name());
            let message =
                format!("it came after {name} was taken (batch {batch}) and {}", problem.message);
            let notice = Notice::warning(now, problem.code, sidecar.file.name(), message)
                .in_realm_of(&sidecar.file.path);
            let version = sidecar.file.version;
            let about = format!("{batch} {} {}", version.inode, version.modified_ns);
            let what = format!("late {}", sidecar.file.path);
            self.store.notice_once(&tenant.id, &notice, &what, &about)?;
        }
        self.put_away(tree, sidecar, &record)?;
        Ok(Settled::Away)
    }

    /// Whether the sidecar's digest is that of the file.
    fn belongs(
        &self,
        tree: &Root,
        answers: &AnswerTree,
        (tenant, sidecar): (&TenantSettings, &Sidecar),
        record: &BatchRecord,
    ) -> Result<bool, IntakeError> {
        let open = || match File::open(self.spool.batch(record.id).input()) {
            _ if record.facts.bytes > LATE_MD5_MAX_BYTES => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let state = record.facts.state.unwrap_or(FileState::Rejected);
                let at = record.validated_at.unwrap_or(record.claimed_at);
                let date = at.to_zoned(tenant.timezone.clone()).date();
                answers.archived_original(state, record.id, record.name(), date)
            }
            result => result.map(Some),
        };
        let sha256 = &record.facts.sha256;
        let received = Received { bytes: record.facts.bytes, sha256, open: &open };
        vouchers_of(tree, sidecar, record)?.belong_to(&received)
    }

    /// What the sidecar's sender has to hear: it says what is not so, or asks for what was not done.
    fn complaint(
        &self,
        tree: &Root,
        sidecar: &Sidecar,
        record: &BatchRecord,
    ) -> Result<Option<FileProblem>, IntakeError> {
        // Of an MD5 nothing more can be said: only the SHA-256 is kept.
        if !matches!(sidecar.kind, SidecarKind::Manifest | SidecarKind::Sha256) {
            return Ok(None);
        }
        let vouchers = vouchers_of(tree, sidecar, record)?;
        let Facts { bytes, sha256, rows_total, state, .. } = &record.facts;
        let received = Received { bytes: *bytes, sha256, open: &|| Ok(None) };
        if let Some(problem) = vouchers.disagreement(&received)? {
            let message = format!("does not fit it: {}", problem.message);
            return Ok(Some(FileProblem { message, ..problem }));
        }
        let Some(manifest) = vouchers.manifest() else { return Ok(None) };
        let rows = manifest.directive("rows").filter(|_| *state != Some(FileState::Rejected));
        Ok(match rows.filter(|rows| **rows != rows_total.to_string()) {
            Some(rows) => {
                let message =
                    format!("does not fit it: it says {rows} rows, but {rows_total} came");
                Some(FileProblem::new(ReasonCode::FileRowsMismatch, message))
            }
            None if manifest.asks() => {
                let message = "what it asks for was not done".to_owned();
                Some(FileProblem::new(ReasonCode::FilePairMissing, message))
            }
            None => None,
        })
    }

    /// Moves a sidecar into the folder of a batch, beside those that came with the file and say how it is
    /// read. One that changed meanwhile is left for the next look.
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
        let kept = RelPath::of(&BatchFolder::late_name(sidecar.file.name()));
        tree.rename(&from, &into, &kept, true).map_err(failed)?;
        into.sync_folder(&RelPath::root()).map_err(failed)?;
        tree.sync_folder(&from.parent()).map_err(failed)
    }
}

fn vouchers_of(
    tree: &Root,
    sidecar: &Sidecar,
    record: &BatchRecord,
) -> Result<Vouchers, IntakeError> {
    let failed = |source| IntakeError::Claim { path: sidecar.file.path.clone(), source };
    let mut vouchers = Vouchers::default();
    let file = tree.read_file(&RelPath::of(&sidecar.file.path)).map_err(failed)?;
    vouchers.add(sidecar.kind, sidecar.file.name(), file, record.name())?;
    Ok(vouchers)
}

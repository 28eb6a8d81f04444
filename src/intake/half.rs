//! Archives and workbooks in an inbox that are not whole: perhaps somebody still writes into them.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use super::IntakeError;
use super::identify::{Identity, identify};
use super::pairs::InboxFile;
use super::ready::Readiness;
use super::settings::TenantSettings;
use super::station::Intake;
use crate::files::{RelPath, Root};
use crate::model::{FileForm, Proof};
use crate::records::{check_workbook, unpack};
use crate::worker::blocking;

impl Intake {
    /// True for an archive that nobody said is whole, and that is not: it is not taken yet.
    pub(super) async fn is_half_an_archive(
        &mut self,
        tenant: &Arc<TenantSettings>,
        file: &InboxFile,
        ready: &Readiness,
    ) -> Result<bool, IntakeError> {
        let asked = matches!(ready.proof, Some(Proof::Archive | Proof::Quiet));
        if !asked || self.sightings.is_broken(&tenant.id, &file.path, file.version) {
            return Ok(false);
        }
        let (tree, owner) = (self.tree(&tenant.id), Arc::clone(tenant));
        let path = file.path.clone();
        // A file over which this falls is taken: reading it falls over it again, and answers it.
        let look = move || catch_unwind(AssertUnwindSafe(|| is_half(&tree, &owner, &path)));
        let half = blocking(look).await.unwrap_or(Ok(false))?;
        if half {
            self.sightings.broken(&tenant.id, &file.path, file.version);
        }
        Ok(half)
    }
}

/// Whether a file in an inbox is an archive or a workbook, and not whole.
fn is_half(tree: &Path, tenant: &TenantSettings, path: &str) -> Result<bool, IntakeError> {
    let failed = |source| IntakeError::Inbox { tenant: tenant.id.to_string(), source };
    let Ok(identity) = identify(tenant, path) else { return Ok(false) };
    if identity.packing.is_none() && identity.form != FileForm::Workbook {
        return Ok(false);
    }
    match Root::open(tree).and_then(|tree| tree.read_file(&RelPath::of(path))) {
        // Its sender took it back; the claim finds out.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
        Ok(file) => Ok(!is_whole(file, &identity)),
    }
}

/// Every checksum in it is held.
fn is_whole(file: File, identity: &Identity<'_>) -> bool {
    let limits = &identity.profile.read.limits;
    let Ok(bytes) = file.metadata().map(|found| found.len()) else { return false };
    match identity.packing {
        Some(packing) => unpack(packing, file, bytes, limits, &mut io::sink()).is_ok(),
        None => check_workbook(file, bytes, limits).is_ok(),
    }
}

//! Archives and workbooks in an inbox that are not whole: perhaps somebody still writes into them.
//!
//! To know it, each is read to its end. That takes long, so it is done beside all else, one archive of a
//! tenant at a time.

use std::error::Error;
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
use super::station::{Intake, REST};
use crate::files::{RelPath, Root};
use crate::model::{FileForm, Lane, Proof};
use crate::records::{check_workbook, unpack};
use crate::worker::blocking;

/// One archive that was looked through.
pub(super) struct Checked {
    pub(super) lane: Lane,
    pub(super) file: InboxFile,
    pub(super) is_whole: Result<bool, IntakeError>,
}

impl Intake {
    /// True for an archive that nobody said is whole, as long as nobody looked.
    pub(super) fn is_unchecked(
        &self,
        tenant: &TenantSettings,
        file: &InboxFile,
        ready: &Readiness,
    ) -> bool {
        let asked = matches!(ready.proof, Some(Proof::Archive | Proof::Quiet));
        asked
            && self.sightings.is_whole(&tenant.id, file).is_none()
            && identify(tenant, &file.path).is_ok_and(|identity| is_archive(&identity))
    }

    /// Looks through an archive.
    pub(super) fn check_archive(
        &mut self,
        tenant: &Arc<TenantSettings>,
        lane: &Lane,
        file: InboxFile,
    ) {
        let (tree, owner, lane) = (self.tree(&tenant.id), Arc::clone(tenant), lane.clone());
        self.checking.push(Box::pin(async move {
            let path = file.path.clone();
            let check = move || {
                let check = AssertUnwindSafe(|| look_through(&tree, &owner, &path));
                // What falls over it here will do so when it is read, and is answered there.
                catch_unwind(check).unwrap_or(Ok(true))
            };
            Checked { lane, file, is_whole: blocking(check).await }
        }));
    }

    /// Takes up what an archive was found to be.
    pub(super) fn checked(&mut self, checked: Checked) {
        let Checked { lane, file, is_whole } = checked;
        let now = self.world.clock.now();
        self.busy.remove(&lane);
        self.look_at_holds |= std::mem::take(&mut self.released_waits);
        match is_whole {
            Ok(is_whole) => {
                self.sightings.looked_through(&lane.0, &file, is_whole);
                self.look_again(&lane, now);
            }
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::error!(tenant = %lane.0, error, "inbox cannot be read");
                self.look_again(&lane, now + REST);
            }
        }
    }
}

fn is_archive(identity: &Identity<'_>) -> bool {
    identity.packing.is_some() || identity.form == FileForm::Workbook
}

/// Whether an archive in an inbox is whole.
fn look_through(tree: &Path, tenant: &TenantSettings, path: &str) -> Result<bool, IntakeError> {
    let failed = |source| IntakeError::Inbox { tenant: tenant.id.to_string(), source };
    let Ok(identity) = identify(tenant, path) else { return Ok(true) };
    match Root::open(tree).and_then(|tree| tree.read_file(&RelPath::of(path))) {
        // Its sender took it back; the claim finds out.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(failed(error)),
        Ok(file) => Ok(is_whole(file, &identity)),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::intake::{Nudges, Settings, Tenants, testing};
    use crate::model::Realm;
    use crate::spool::Spool;
    use crate::store::{SimulatedDisk, Store};
    use crate::telemetry::Metrics;
    use crate::worker::Worker;
    use crate::world::World;

    #[tokio::test(start_paused = true)]
    async fn an_archive_is_looked_through_beside_all_else() {
        let data = tempfile::tempdir().unwrap();
        let inbox = data.path().join("tenants/acme/inbox");
        std::fs::create_dir_all(&inbox).unwrap();
        std::fs::write(inbox.join("messages_a.csv.gz"), [0x1f, 0x8b, 8]).unwrap();
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let tenant = testing::tenant("acme");
        let settings = Settings {
            data_dir: data.path().to_owned(),
            tenants: Tenants::new([tenant.clone()]),
            rescan: Duration::from_secs(15),
            files_at_once: 1,
            disk: crate::disk::Disk::boundless(),
        };
        let world = Arc::new(World::seeded(jiff::Timestamp::UNIX_EPOCH, 1));
        let about = (world, Arc::new(Metrics::new("test")));
        let shore = (store.clone(), Spool::open(data.path()).unwrap());
        let (bell, nudges) = (Arc::default(), Nudges::default());
        let mut intake = Intake::new(settings, shore, about, bell, nudges, false);
        let lane = (tenant.id, Realm::Real);
        while !intake.busy.contains(&lane) {
            intake.work().await.unwrap();
            if intake.checking.is_empty() {
                intake.wait_for_work().await;
            }
        }
        assert_eq!(intake.checking.len(), 1, "the loop goes on before anybody looked");
        assert!(store.batches(None, 1).unwrap().is_empty());
        while intake.busy.contains(&lane) {
            intake.wait_for_work().await;
        }
        let seen = intake.sightings.archives();
        assert_eq!(seen, [("inbox/messages_a.csv.gz".to_owned(), false)]);
    }
}

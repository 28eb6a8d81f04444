//! Claims that nobody goes on with: of the process before this one, or of this one where there was no room
//! to take them back.

use std::collections::HashSet;
use std::error::Error;

use tokio::time::Instant;

use super::IntakeError;
use super::station::{Intake, REST};
use crate::batch::BatchState;
use crate::model::BatchId;
use crate::store::BatchRecord;
use crate::worker::blocking;

/// Whether such claims may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claims {
    /// The process before may have left some.
    OfBefore,
    /// One that failed may have left its record. Nobody waits for it: it is sought when it is time.
    Failed { again: Instant },
    /// Of each somebody knows.
    Known,
}

impl Intake {
    /// Seeks claims that nobody goes on with, where there may be some. Only a start waits for them: later what
    /// stands in the way may pass.
    pub(super) async fn seek_claims(&mut self) -> Result<(), IntakeError> {
        let now = self.world.clock.instant();
        match self.claims {
            Claims::OfBefore => self.recover().await,
            Claims::Failed { again } if again <= now => match self.recover().await {
                Err(error) if !error.is_fatal() => {
                    let error = &error as &dyn Error;
                    tracing::error!(error, "a claim that failed is not taken back yet");
                    self.claims = Claims::Failed { again: now + REST };
                    Ok(())
                }
                result => result,
            },
            Claims::Failed { .. } | Claims::Known => Ok(()),
        }
    }

    /// Batches that were claimed and that nobody knows are read from their beginning; claims that did not come
    /// about are taken back.
    async fn recover(&mut self) -> Result<(), IntakeError> {
        let (desk, tenants) = (self.desk.clone(), self.settings.data_dir.join("tenants"));
        let is_start = self.claims == Claims::OfBefore;
        let waiting = self.waiting.iter().map(|(_, record)| record.id);
        let known: HashSet<BatchId> = waiting.chain(self.being_read.keys().copied()).collect();
        let unread = blocking(move || -> Result<Vec<BatchRecord>, IntakeError> {
            if is_start {
                desk.sweep_row_ids()?;
            }
            let mut kept = desk.store.open_batches()?;
            kept.retain(|batch| match batch.state {
                BatchState::Claimed => !known.contains(&batch.id),
                BatchState::Released => is_start,
                _ => false,
            });
            desk.resume_claims(&tenants, kept)
        })
        .await?;
        let now = self.world.clock.now();
        if is_start {
            unread.iter().for_each(|record| self.retries.suspect(record.id));
            self.untidy.extend(self.settings.tenants.all().keys().cloned());
        }
        // Released ones are found with the held.
        let claimed = unread.into_iter().filter(|record| record.state == BatchState::Claimed);
        self.waiting.extend(claimed.map(|record| (now, record)));
        self.claims = Claims::Known;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::faults::{FileAct, arrange};
    use crate::intake::{Nudges, Settings, Tenants, testing};
    use crate::spool::Spool;
    use crate::store::{SimulatedDisk, Store};
    use crate::telemetry::Metrics;
    use crate::worker::Worker;
    use crate::world::World;

    /// A station on a disk, with one file of acme's that waits in its inbox.
    fn intake(data: &Path, disk: &SimulatedDisk) -> Intake {
        let inbox = data.join("tenants/acme/inbox");
        std::fs::create_dir_all(&inbox).unwrap();
        std::fs::write(inbox.join("messages_a.csv"), "email\na@x.example\n").unwrap();
        let settings = Settings {
            data_dir: data.to_owned(),
            tenants: Tenants::new([testing::tenant("acme")]),
            rescan: Duration::from_secs(15),
            files_at_once: 1,
            disk: crate::disk::Disk::boundless(),
        };
        let world = Arc::new(World::seeded(jiff::Timestamp::UNIX_EPOCH, 1));
        let about = (world, Arc::new(Metrics::new("test")));
        let shore = (Store::simulated(disk).unwrap(), Spool::open(data).unwrap());
        Intake::new(settings, shore, about, Arc::default(), Nudges::default(), false)
    }

    /// Works until the file of the inbox is claimed and read; no claim is left of which nothing comes.
    async fn answers_its_file(intake: &mut Intake, data: &Path) {
        let store = intake.desk.store.clone();
        let is_read = |batch: &BatchRecord| batch.state != BatchState::Claimed;
        for _ in 0..1000 {
            intake.work().await.unwrap();
            let all = store.batches(None, 10).unwrap();
            if !all.is_empty() && all.iter().all(is_read) {
                assert_eq!(all.len(), 1);
                assert!(!data.join("tenants/acme/inbox/messages_a.csv").exists());
                return;
            }
            intake.wait_for_work().await;
        }
        panic!("never read: {:?}", store.batches(None, 10));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_disk_at_a_start_lets_a_claim_that_did_not_come_about_wait() {
        let (data, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::default());
        let mut intake = intake(data.path(), &disk);
        // The process before died between the record and the rename.
        intake.desk.store.open_batch(testing::claimed()).unwrap();
        disk.fill(true);
        for _ in 0..3 {
            intake.work().await.unwrap();
            intake.wait_for_work().await;
        }
        assert_eq!(intake.desk.store.batches(None, 10).unwrap(), [testing::claimed()]);
        disk.fill(false);
        answers_its_file(&mut intake, data.path()).await;
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "the tenant's folder goes away for a while")]
    async fn a_claim_that_cannot_be_taken_back_now_stops_nobody() {
        let (data, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::default());
        let mut intake = intake(data.path(), &disk);
        let (tree, away) = (data.path().join("tenants/acme"), data.path().join("away"));
        std::fs::rename(&tree, &away).unwrap();
        intake.work().await.unwrap();
        intake.desk.store.open_batch(testing::claimed()).unwrap();
        intake.claims = Claims::Failed { again: intake.world.clock.instant() };
        for _ in 0..3 {
            intake.work().await.unwrap();
            intake.wait_for_work().await;
        }
        assert_eq!(intake.desk.store.batches(None, 10).unwrap(), [testing::claimed()]);
        std::fs::rename(&away, &tree).unwrap();
        answers_its_file(&mut intake, data.path()).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_finds_no_room_is_taken_back_when_there_is_some() {
        let (data, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::default());
        let mut intake = intake(data.path(), &disk);
        let full = disk.clone();
        let arranged = arrange(move |act| match act {
            FileAct::MakeFolder(_) => {
                full.fill(true);
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        });
        while intake.desk.store.batches(None, 10).unwrap().is_empty() {
            intake.work().await.unwrap();
            intake.wait_for_work().await;
        }
        for _ in 0..3 {
            intake.work().await.unwrap();
            intake.wait_for_work().await;
        }
        assert_eq!(intake.desk.store.batches(None, 10).unwrap().len(), 1);
        drop(arranged);
        disk.fill(false);
        answers_its_file(&mut intake, data.path()).await;
    }
}

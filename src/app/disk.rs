//! Tends the disk: says when there is too little room, and wakes who waited for it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::disk::{Disk, Room, Space, Tended};
use crate::intake::{Doorbell, Nudges};
use crate::telemetry::Metrics;
use crate::worker::{Progress, Worker, blocking};
use crate::world::World;

/// How often the disk is looked at while there is plenty of room, and while there is not.
const CALM: Duration = Duration::from_secs(5);
const WATCHFUL: Duration = Duration::from_secs(1);

/// Looks at the disk now and then; without a reserve only once.
pub(super) struct DiskKeeper {
    disk: Disk,
    world: Arc<World>,
    metrics: Arc<Metrics>,
    nudges: Nudges,
    doorbell: Arc<Doorbell>,
    /// What was said last.
    room: Room,
    ballast: u64,
    is_needed: bool,
}

impl DiskKeeper {
    pub(super) fn new(
        disk: Disk,
        (world, metrics): (Arc<World>, Arc<Metrics>),
        nudges: Nudges,
        doorbell: Arc<Doorbell>,
    ) -> DiskKeeper {
        let room = Room::Plenty;
        DiskKeeper { disk, world, metrics, nudges, doorbell, room, ballast: 0, is_needed: true }
    }

    fn heed(&mut self, tended: &Tended) {
        if tended.ballast_made {
            tracing::debug!(bytes = tended.ballast, "ballast made");
        } else if tended.ballast < self.ballast {
            tracing::warn!(bytes = self.ballast, "ballast let go: the disk was full");
        }
        self.ballast = tended.ballast;
        self.heed_room(tended.room, Some(&tended.space));
    }

    fn heed_room(&mut self, room: Room, space: Option<&Space>) {
        let free_bytes = space.map(|space| space.free);
        let free_files = space.map(|space| space.free_files);
        if room == self.room {
            return;
        }
        match room {
            Room::None => tracing::error!(
                free_bytes,
                free_files,
                "the disk is nearly full: no file is taken or read and no row is sent until there is room"
            ),
            Room::Little => tracing::warn!(
                free_bytes,
                free_files,
                "the disk is below its reserve: no upload and no file is taken until there is room"
            ),
            Room::Plenty => tracing::info!(free_bytes, free_files, "the disk has room again"),
        }
        if room > self.room {
            self.nudges.dispatch.notify_one();
            self.nudges.outbox.notify_one();
            self.doorbell.ring_for_released();
        }
        self.room = room;
        self.metrics.disk_room.set(room as i64);
    }
}

#[async_trait]
impl Worker for DiskKeeper {
    fn name(&self) -> &'static str {
        "disk"
    }

    async fn work(&mut self) -> Result<Progress, Box<dyn Error + Send + Sync>> {
        let (disk, now) = (self.disk.clone(), self.world.clock.instant());
        match blocking(move || disk.tend(now)).await {
            Ok(Some(tended)) => self.heed(&tended),
            Ok(None) => self.is_needed = false,
            Err(error) => {
                tracing::warn!(%error, "the disk cannot be tended");
                // What could not be made is the ballast, perhaps: that there is room is seen all the same.
                self.heed_room(self.disk.room(now), None);
            }
        }
        Ok(Progress::Idle)
    }

    async fn wait_for_work(&mut self) {
        if !self.is_needed {
            return std::future::pending().await;
        }
        tokio::time::sleep(if self.room == Room::Plenty { CALM } else { WATCHFUL }).await;
    }
}

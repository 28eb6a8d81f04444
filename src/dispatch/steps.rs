//! The wall clock was put: what waits is looked at again, and what it says is not believed for a while.

use super::error::DispatchError;
use super::station::Dispatch;
use crate::store::StoreError;
use crate::worker::blocking;

/// Who gives the orders to look.
const BY: &str = "dropchute";

impl Dispatch {
    /// Sees whether the wall clock was put. Where it goes back, what waits was perhaps meant for a time that was
    /// never there.
    pub(super) async fn heed_clock(&mut self) -> Result<(), DispatchError> {
        let step = self.world.clock.step();
        if let Some(step) = step {
            tracing::warn!(
                seconds = step.as_secs(),
                "the wall clock was put: what it has brought about waits until it is believed"
            );
        }
        let is_back = match self.clock_compared {
            true => step.is_some_and(|step| step.is_negative()),
            false => self.is_behind().await?,
        };
        if is_back {
            // Where there is no room for it, the next turn does it.
            self.clock_compared = false;
            let (store, now) = (self.store.clone(), self.world.clock.now());
            blocking(move || store.look_at_all(BY, now)).await?;
        }
        self.clock_compared = true;
        Ok(())
    }

    /// Something was stored at a later time than it is now.
    async fn is_behind(&self) -> Result<bool, StoreError> {
        let (store, now) = (self.store.clone(), self.world.clock.now());
        let newest = blocking(move || store.newest_batch()).await?;
        Ok(newest.is_some_and(|batch| batch.claimed_at > now))
    }
}

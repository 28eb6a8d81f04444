//! The ramps of new senders at one provider: how many messages of the day each has left.
//!
//! A day's count is durable before it is used, some at a time: after a crash a day may bring fewer than
//! it could, and never more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::error::DispatchError;
use crate::pacing::{Later, Limit, WarmUp};
use crate::store::{RampRecord, Store};
use crate::worker::blocking;
use crate::world::World;

/// A part of a day's quota that is committed at once.
const PARTS: u32 = 50;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// A row for which the day has nothing left asks again so soon: others may give back what they took.
const LOOK: Duration = Duration::from_secs(3600);

/// The senders of one provider.
#[derive(Debug)]
pub(super) struct Ramps {
    provider: String,
    warm_up: WarmUp,
    store: Store,
    world: Arc<World>,
    senders: Mutex<HashMap<String, Sender>>,
    /// Held while a count is committed: of two that were read together the lower one must not be stored last.
    committing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy)]
struct Sender {
    record: RampRecord,
    /// Of what is committed, so many went out or are about to.
    used: u32,
}

/// A message of the day. Dropped before the message went, it is the day's again.
#[derive(Debug)]
pub(super) struct Share {
    ramps: Arc<Ramps>,
    sender: String,
    day: u32,
    pub(super) is_used: bool,
}

impl Ramps {
    pub(super) fn new(provider: &str, warm_up: WarmUp, store: Store, world: Arc<World>) -> Ramps {
        let provider = provider.to_owned();
        let (senders, committing) = (Mutex::default(), tokio::sync::Mutex::default());
        Ramps { provider, warm_up, store, world, senders, committing }
    }

    /// A message of the day, or when there is one again; none where the sender's ramp is over. Cancel-safe.
    pub(super) async fn share(
        self: &Arc<Ramps>,
        sender: &str,
    ) -> Result<Result<Option<Share>, Later>, DispatchError> {
        loop {
            let now = self.world.clock.now();
            let known = self.lock().get(sender).map(|sender| sender.record);
            let Some(mut record) = known else {
                self.load(sender, now).await?;
                continue;
            };
            let day = day_of(&record, now);
            let Some(quota) = self.warm_up.quota(day) else { return Ok(Ok(None)) };
            if let Some(share) = self.take(sender, day) {
                return Ok(Ok(Some(share)));
            }
            let _committing = self.committing.lock().await;
            if self.lock().get(sender).is_none_or(|sender| sender.record != record) {
                // Somebody else committed more.
                continue;
            }
            let committed = if record.day == day { record.committed } else { 0 };
            if committed >= quota {
                let wait = self.world.clock.until(record.started_at + DAY * (day + 1)).min(LOOK);
                return Ok(Err(Later { wait, why: Limit::WarmUp, elsewhere: true }));
            }
            record.day = day;
            record.committed = committed.saturating_add((quota / PARTS).max(1)).min(quota);
            self.commit(sender, record).await?;
        }
    }

    /// One of those that are committed and free.
    fn take(self: &Arc<Ramps>, sender: &str, day: u32) -> Option<Share> {
        let mut senders = self.lock();
        let known = senders.get_mut(sender)?;
        if known.record.day != day || known.used >= known.record.committed {
            return None;
        }
        known.used += 1;
        let sender = sender.to_owned();
        Some(Share { ramps: Arc::clone(self), sender, day, is_used: false })
    }

    /// What is known of a sender; its first day begins where nothing is.
    async fn load(&self, sender: &str, now: Timestamp) -> Result<(), DispatchError> {
        let (store, provider, name) =
            (self.store.clone(), self.provider.clone(), sender.to_owned());
        let record = blocking(move || store.ramp(&provider, &name)).await?;
        let record = record.unwrap_or(RampRecord { started_at: now, day: 0, committed: 0 });
        let used = record.committed;
        self.lock().entry(sender.to_owned()).or_insert(Sender { record, used });
        Ok(())
    }

    async fn commit(&self, sender: &str, record: RampRecord) -> Result<(), DispatchError> {
        let (store, provider, name) =
            (self.store.clone(), self.provider.clone(), sender.to_owned());
        blocking(move || store.put_ramp(&provider, &name, &record)).await?;
        let mut senders = self.lock();
        let Some(known) = senders.get_mut(sender) else { return Ok(()) };
        if record.day > known.record.day {
            known.used = 0;
        }
        known.record = record;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Sender>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The day of the ramp; before its start, where the clock was set back, its first.
fn day_of(record: &RampRecord, now: Timestamp) -> u32 {
    let passed = now.duration_since(record.started_at).as_secs().max(0);
    let day = u32::try_from(passed / DAY.as_secs() as i64).unwrap_or(u32::MAX);
    day.max(record.day)
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.is_used {
            return;
        }
        if let Some(known) = self.ramps.lock().get_mut(&self.sender)
            && known.record.day == self.day
        {
            known.used = known.used.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pacing::PerDay;
    use crate::store::SimulatedDisk;

    const WARM_UP: WarmUp = WarmUp { first: PerDay(5), factor: 2.0, until: PerDay(20) };

    fn ramps(disk: &SimulatedDisk, at: &str) -> Arc<Ramps> {
        let world = Arc::new(World::seeded(at.parse().unwrap(), 1));
        Arc::new(Ramps::new("wa", WARM_UP, Store::simulated(disk).unwrap(), world))
    }

    /// How many go out of `tried`, and how long the others wait.
    async fn send(ramps: &Arc<Ramps>, sender: &str, tried: u32) -> (u32, Option<u64>) {
        let (mut sent, mut wait) = (0, None);
        for _ in 0..tried {
            match ramps.share(sender).await.unwrap() {
                Ok(share) => {
                    sent += 1;
                    share.into_iter().for_each(|mut share| share.is_used = true);
                }
                Err(later) => wait = Some(later.wait.as_secs()),
            }
        }
        (sent, wait)
    }

    #[tokio::test(start_paused = true)]
    async fn each_sender_has_its_own_ramp_and_a_restart_neither_begins_it_anew_nor_exceeds_it() {
        let disk = SimulatedDisk::default();
        let hour = Some(3600);
        let first = ramps(&disk, "2026-11-23T09:00:00Z");
        assert_eq!(send(&first, "ACME", 3).await, (3, None));
        assert_eq!(send(&first, "OTHER", 9).await, (5, hour));
        let later = ramps(&disk, "2026-11-23T15:00:00Z");
        assert_eq!(send(&later, "ACME", 9).await, (2, hour));
        let evening = ramps(&disk, "2026-11-24T08:30:00Z");
        assert_eq!(send(&evening, "ACME", 9).await, (0, Some(1800)), "the day is over soon");
        let tomorrow = ramps(&disk, "2026-11-24T15:00:00Z");
        assert_eq!(send(&tomorrow, "ACME", 99).await.0, 10);
        let over = ramps(&disk, "2026-11-25T15:00:00Z");
        assert_eq!(send(&over, "ACME", 99).await, (99, None));
        // The clock was set back: the days that were are not given a second time.
        let back = ramps(&disk, "2026-11-23T16:00:00Z");
        assert_eq!(send(&back, "ACME", 9).await.0, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_go_out_is_the_days_again() {
        let ramps = ramps(&SimulatedDisk::default(), "2026-11-23T09:00:00Z");
        for _ in 0..20 {
            assert!(ramps.share("ACME").await.unwrap().is_ok());
        }
        assert_eq!(send(&ramps, "ACME", 9).await.0, 5);
        tokio::time::sleep(DAY).await;
        assert_eq!(send(&ramps, "ACME", 19).await.0, 10);
    }

    /// Two read the same count and both commit: the store must keep the higher one.
    #[tokio::test(start_paused = true)]
    async fn many_at_once_never_take_more_than_the_day_has_be_it_over_a_crash() {
        for seed in 0..20 {
            let disk = SimulatedDisk::default();
            let first = ramps(&disk, "2026-11-23T09:00:00Z");
            let all = futures_util::future::join_all((0..4 + seed % 3).map(|_| async {
                first.share("ACME").await.unwrap().map(|share| {
                    share.into_iter().for_each(|mut share| share.is_used = true);
                })
            }));
            let before = all.await.iter().filter(|share| share.is_ok()).count();
            let after = ramps(&disk, "2026-11-23T10:00:00Z");
            let after = send(&after, "ACME", 9).await.0;
            assert!(before as u32 + after <= 5, "{before} and {after}");
        }
    }
}

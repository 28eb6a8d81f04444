//! What each tenant may send, over all providers together.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Bucket, Rate};

/// The buckets of the lanes whose tenant has a rate.
#[derive(Debug, Default)]
pub struct TenantRates(HashMap<u32, (Rate, Bucket)>);

impl TenantRates {
    /// Sets a lane's rate; one that stays keeps what is in its bucket.
    pub fn set(&mut self, lane: u32, rate: Option<Rate>, now: Instant) {
        match (rate, self.0.get(&lane)) {
            (None, _) => drop(self.0.remove(&lane)),
            (Some(rate), Some((known, _))) if *known == rate => {}
            (Some(rate), _) => drop(self.0.insert(lane, (rate, Bucket::new(rate, now)))),
        }
    }

    /// Whether a lane may send now, or how long until then.
    pub fn may_go(&mut self, lane: u32, now: Instant) -> Result<(), Duration> {
        self.0.get_mut(&lane).map_or(Ok(()), |(_, bucket)| bucket.ready(now))
    }

    pub fn spend(&mut self, lane: u32, cost: u32) {
        if let Some((_, bucket)) = self.0.get_mut(&lane) {
            bucket.spend(cost);
        }
    }

    pub fn give_back(&mut self, lane: u32, cost: u32) {
        if let Some((_, bucket)) = self.0.get_mut(&lane) {
            bucket.give_back(cost);
        }
    }
}

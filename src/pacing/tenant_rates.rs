//! What each tenant may send, over all providers together.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Bucket, Rate};
use crate::model::Urgency;

/// The tenants that have a rate, by lane.
#[derive(Debug, Default)]
pub struct TenantRates(HashMap<u32, Tenant>);

#[derive(Debug)]
struct Tenant {
    rate: Rate,
    bucket: Bucket,
    /// When each class was told to come again that found the bucket empty, at whatever provider it stands.
    told: [Option<Instant>; Urgency::CLASSES],
}

/// For so long what is left in the bucket is kept for a class that was told to come: its alarm and those of
/// later classes, at other providers, ring at the same moment.
const KEPT: Duration = Duration::from_millis(100);

impl TenantRates {
    /// Sets a lane's rate; one that stays keeps what is in its bucket.
    pub fn set(&mut self, lane: u32, rate: Option<Rate>, now: Instant) {
        match (rate, self.0.get(&lane)) {
            (None, _) => drop(self.0.remove(&lane)),
            (Some(rate), Some(known)) if known.rate == rate => {}
            (Some(rate), _) => {
                let (bucket, told) = (Bucket::new(rate, now), [None; Urgency::CLASSES]);
                self.0.insert(lane, Tenant { rate, bucket, told });
            }
        }
    }

    /// Whether a lane may send something of a class now, or how long until it comes again. Never before an
    /// earlier class that waits for the same rate, be it at another provider.
    pub fn may_go(&mut self, lane: u32, class: usize, now: Instant) -> Result<(), Duration> {
        let Some(tenant) = self.0.get_mut(&lane) else { return Ok(()) };
        if let Err(wait) = tenant.bucket.ready(now) {
            tenant.told[class] = Some(now + wait);
            return Err(wait);
        }
        let kept = tenant.told[..class].iter().flatten().map(|told| *told + KEPT).max();
        match kept.map(|until| until.saturating_duration_since(now)) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => Ok(()),
        }
    }

    pub fn spend(&mut self, lane: u32, class: usize, cost: u32) {
        if let Some(tenant) = self.0.get_mut(&lane) {
            tenant.bucket.spend(cost);
            tenant.told[class] = None;
        }
    }

    pub fn give_back(&mut self, lane: u32, cost: u32) {
        if let Some(tenant) = self.0.get_mut(&lane) {
            tenant.bucket.give_back(cost);
        }
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any starting point will do")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Both ask whenever they were told to, marketing always a moment earlier.
    #[test]
    fn an_earlier_class_that_waits_at_another_provider_goes_first() {
        let start = Instant::now();
        let mut rates = TenantRates::default();
        rates.set(1, Some(Rate::parse("1/s").unwrap()), start);
        while rates.may_go(1, 2, start).is_ok() {
            rates.spend(1, 2, 1);
        }
        let (mut urgent, mut late) = (start, start);
        let mut gone = Vec::new();
        while gone.len() < 8 {
            let now = urgent.min(late);
            for (class, at) in [(2, &mut late), (0, &mut urgent)] {
                if *at > now {
                    continue;
                }
                match rates.may_go(1, class, now) {
                    // Four urgent ones, then only the others.
                    Ok(()) => {
                        rates.spend(1, class, 1);
                        gone.push(class);
                        let is_last = class == 0 && gone.iter().filter(|c| **c == 0).count() == 4;
                        *at = if is_last { now + 1000 * SECOND } else { now };
                    }
                    Err(wait) => *at = now + wait,
                }
            }
        }
        assert_eq!(gone, [0, 0, 0, 0, 2, 2, 2, 2]);
    }

    #[test]
    fn what_was_told_to_come_and_stays_away_stands_in_nobodys_way() {
        let start = Instant::now();
        let mut rates = TenantRates::default();
        rates.set(1, Some(Rate::parse("1/s").unwrap()), start);
        rates.spend(1, 2, 1000);
        let wait = rates.may_go(1, 0, start).unwrap_err();
        let then = start + wait;
        assert_eq!(rates.may_go(1, 2, then), Err(KEPT));
        assert_eq!(rates.may_go(1, 2, then + KEPT), Ok(()));
        assert_eq!(rates.may_go(2, 3, start), Ok(()), "without a rate");
    }
}

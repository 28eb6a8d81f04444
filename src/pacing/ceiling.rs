//! The rate that a provider was found to bear, below the one that is configured.

use std::time::{Duration, Instant};

use super::Rate;

/// Halved whenever the provider says "too fast", and raised again by little steps while it does not.
#[derive(Debug, Clone)]
pub(super) struct Ceiling {
    configured: Option<f64>,
    lowered: Option<Lowered>,
    /// Messages taken in the second under way, and in the one before.
    second: Instant,
    taken: u32,
    taken_before: u32,
}

#[derive(Debug, Clone, Copy)]
struct Lowered {
    /// What the parts below are parts of, a second.
    base: f64,
    part: f64,
    since: Instant,
}

/// How much of the rate comes back, and after how long a rest without "too fast".
const STEP: f64 = 0.05;
const STEP_TIME: Duration = Duration::from_secs(10);
/// The least that is left of a rate.
const LEAST: f64 = 1.0 / 64.0;
/// Without a configured rate nobody knows where to stop: at so many times what was measured.
const FREE_AGAIN: f64 = 2.0;
/// What a provider bears is hardly less: one that is asked for the first time shows nothing yet.
const MEASURED_LEAST: f64 = 10.0;

impl Ceiling {
    pub(super) fn new(configured: Option<Rate>, now: Instant) -> Ceiling {
        let configured = configured.map(Rate::per_second);
        Ceiling { configured, lowered: None, second: now, taken: 0, taken_before: 0 }
    }

    /// Messages a second at most; none where nothing bounds them.
    pub(super) fn per_second(&self) -> Option<f64> {
        match self.lowered {
            Some(lowered) => Some(lowered.base * lowered.part),
            None => self.configured,
        }
    }

    /// The provider took a message. Without a configured rate that is what its bearing is known by.
    pub(super) fn took_one(&mut self, now: Instant) {
        if self.configured.is_some() {
            return;
        }
        let passed = now.saturating_duration_since(self.second);
        if passed >= Duration::from_secs(1) {
            let just_before = passed < Duration::from_secs(2);
            self.taken_before = if just_before { self.taken } else { 0 };
            (self.second, self.taken) = (now, 0);
        }
        self.taken += 1;
    }

    /// The provider said "too fast".
    pub(super) fn lower(&mut self, now: Instant) {
        let measured = f64::from(self.taken.max(self.taken_before)).max(MEASURED_LEAST);
        let (base, part) = match self.lowered {
            Some(lowered) => (lowered.base, lowered.part),
            None => (self.configured.unwrap_or(measured), 1.0),
        };
        self.lowered = Some(Lowered { base, part: (part / 2.0).max(LEAST), since: now });
    }

    /// Lets go up what may; true where the rate changed.
    pub(super) fn recover(&mut self, now: Instant) -> bool {
        let Some(lowered) = &mut self.lowered else { return false };
        let rest = now.saturating_duration_since(lowered.since);
        let steps = (rest.as_secs() / STEP_TIME.as_secs()).min(1000) as u32;
        if steps == 0 {
            return false;
        }
        lowered.part += STEP * f64::from(steps);
        lowered.since += STEP_TIME * steps;
        let end = if self.configured.is_some() { 1.0 } else { FREE_AGAIN };
        if lowered.part >= end {
            self.lowered = None;
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any starting point will do")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_configured_rate_is_halved_and_comes_back_in_small_steps() {
        let start = Instant::now();
        let mut ceiling = Ceiling::new(Some(Rate::parse("100/s").unwrap()), start);
        assert_eq!(ceiling.per_second(), Some(100.0));
        ceiling.lower(start);
        assert_eq!(ceiling.per_second(), Some(50.0));
        assert!(!ceiling.recover(start + 9 * SECOND));
        assert!(ceiling.recover(start + 10 * SECOND));
        assert_eq!(ceiling.per_second().map(f64::round), Some(55.0));
        ceiling.lower(start + 11 * SECOND);
        assert_eq!(ceiling.per_second().map(f64::round), Some(28.0));
        ceiling.recover(start + 31 * SECOND);
        assert_eq!(ceiling.per_second().map(f64::round), Some(38.0));
        ceiling.recover(start + 10_000 * SECOND);
        assert_eq!((ceiling.per_second(), ceiling.lowered.is_some()), (Some(100.0), false));
    }

    #[test]
    fn something_is_left_however_often_it_is_halved() {
        let start = Instant::now();
        let mut ceiling = Ceiling::new(Some(Rate::parse("64/s").unwrap()), start);
        (0..100).for_each(|_| ceiling.lower(start));
        assert_eq!(ceiling.per_second(), Some(1.0));
    }

    #[test]
    fn without_a_rate_half_of_what_the_provider_took_is_tried() {
        let start = Instant::now();
        let mut ceiling = Ceiling::new(None, start);
        assert_eq!(ceiling.per_second(), None);
        for message in 0..120 {
            ceiling.took_one(start + SECOND * message / 80);
        }
        ceiling.lower(start + SECOND * 3 / 2);
        assert_eq!(ceiling.per_second(), Some(40.0));
        ceiling.recover(start + 400 * SECOND);
        assert_eq!(ceiling.per_second(), None, "it is free again");
        // Long ago says nothing of now.
        for now in [start + 2 * SECOND, start + 100 * SECOND] {
            let mut ceiling = Ceiling::new(None, start);
            (0..50).for_each(|_| ceiling.took_one(start));
            ceiling.took_one(now);
            ceiling.lower(now);
            assert_eq!(ceiling.per_second(), Some(5.0));
        }
    }
}

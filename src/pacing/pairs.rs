//! Pairs of a sender and a recipient: how often one may write to the other.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// When each pair may write again. Bounded: where there are too many, those are forgotten that may write
/// soonest.
#[derive(Debug)]
pub(super) struct Pairs {
    /// Between two messages of one pair; zero where only "too fast" counts.
    interval: Duration,
    known: HashMap<u64, Pair>,
    most: usize,
    /// Messages that the provider took, of whatever pair.
    taken: u64,
}

/// What "too fast" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// How long the pair rests.
    pub(super) rest: Duration,
    /// It is about this pair alone: others were taken since it was refused before.
    pub(super) is_own: bool,
}

#[derive(Debug, Clone, Copy)]
struct Pair {
    /// From then on one may go.
    free_at: Instant,
    /// What the last that went had it wait for; a provider's word may be longer.
    spaced_until: Instant,
    /// Up to then others were told to come again, one behind the other.
    promised: Instant,
    /// How often the provider said "too fast" to it, one after the other.
    refusals: u32,
    /// What the provider had taken by the last of them.
    taken_then: u64,
}

/// Pairs remembered at most.
pub(super) const PAIRS_MAX: usize = 100_000;
/// Rests of a pair to which a provider said "too fast", doubled each time: one recipient that is always
/// refused stands ever more rarely in the way of others.
const REFUSED_REST: Duration = Duration::from_secs(2);
const REFUSED_REST_MAX: Duration = Duration::from_secs(600);

impl Pairs {
    pub(super) fn new(interval: Duration, most: usize) -> Pairs {
        Pairs { interval, known: HashMap::new(), most: most.max(1), taken: 0 }
    }

    /// Whether one of the pair may go now, or when it should come again.
    pub(super) fn may_go(&mut self, pair: u64, now: Instant) -> Result<(), Duration> {
        let Some(known) = self.known.get_mut(&pair).filter(|known| known.free_at > now) else {
            return Ok(());
        };
        let again = known.promised.max(known.free_at);
        known.promised = again + self.interval;
        Err(again.saturating_duration_since(now))
    }

    /// One of the pair goes.
    pub(super) fn goes(&mut self, pair: u64, now: Instant) {
        if !self.interval.is_zero() {
            let interval = self.interval;
            let known = self.pair(pair, now);
            (known.free_at, known.spaced_until) = (now + interval, now + interval);
        }
    }

    /// One of the pair did not go after all. What the provider said to the pair stays so.
    pub(super) fn goes_not(&mut self, pair: u64, now: Instant) {
        if let Some(known) = self.known.get_mut(&pair)
            && known.free_at <= known.spaced_until
        {
            known.free_at = known.free_at.min(now);
        }
    }

    /// The provider said "too fast" to one of the pair: it rests, for at least `hint`.
    pub(super) fn refused(&mut self, pair: u64, hint: Duration, now: Instant) -> Refusal {
        let taken = self.taken;
        let known = self.pair(pair, now);
        let grown = REFUSED_REST.saturating_mul(2_u32.saturating_pow(known.refusals.min(16)));
        let is_again = known.refusals > 0;
        let rest = if is_again { hint.max(grown.min(REFUSED_REST_MAX)) } else { hint };
        let is_own = is_again && taken > known.taken_then;
        known.refusals += 1;
        known.taken_then = taken;
        known.free_at = known.free_at.max(now + rest);
        Refusal { rest, is_own }
    }

    /// It was refused, and nothing else was heard of it since.
    pub(super) fn is_refused(&self, pair: u64) -> bool {
        self.known.get(&pair).is_some_and(|known| known.refusals > 0)
    }

    /// Whatever else holds for the pair, none of it goes before `until`.
    pub(super) fn rest(&mut self, pair: u64, until: Instant) {
        let known = self.pair(pair, until);
        known.free_at = known.free_at.max(until);
    }

    /// The provider took one of the pair.
    pub(super) fn took(&mut self, pair: u64) {
        self.taken += 1;
        self.answered(pair);
    }

    /// The provider said something else than "too fast" of the pair.
    pub(super) fn answered(&mut self, pair: u64) {
        if self.known.is_empty() {
            return;
        }
        if self.interval.is_zero() {
            self.known.remove(&pair);
        } else if let Some(known) = self.known.get_mut(&pair) {
            known.refusals = 0;
        }
    }

    fn pair(&mut self, pair: u64, now: Instant) -> &mut Pair {
        if self.known.len() >= self.most && !self.known.contains_key(&pair) {
            self.forget(now);
        }
        let fresh =
            Pair { free_at: now, spaced_until: now, promised: now, refusals: 0, taken_then: 0 };
        self.known.entry(pair).or_insert(fresh)
    }

    /// Makes room: whoever may write again, and of the others those that may soonest.
    fn forget(&mut self, now: Instant) {
        self.known.retain(|_, pair| pair.free_at > now);
        let keep = self.most * 3 / 4;
        if self.known.len() <= keep {
            return;
        }
        let mut times: Vec<Instant> = self.known.values().map(|pair| pair.free_at).collect();
        let cut = times.len() - keep;
        let (_, last_forgotten, _) = times.select_nth_unstable(cut - 1);
        let last_forgotten = *last_forgotten;
        self.known.retain(|_, pair| pair.free_at > last_forgotten);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any starting point will do")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn one_pair_waits_and_no_other_and_those_told_to_come_again_come_one_by_one() {
        let now = Instant::now();
        let mut pairs = Pairs::new(6 * SECOND, 10);
        assert_eq!(pairs.may_go(1, now), Ok(()));
        pairs.goes(1, now);
        assert_eq!(pairs.may_go(2, now), Ok(()));
        let again: Vec<u64> = (0..3).map(|_| pairs.may_go(1, now).unwrap_err().as_secs()).collect();
        assert_eq!(again, [6, 12, 18]);
        let later = now + 6 * SECOND;
        assert_eq!(pairs.may_go(1, later), Ok(()));
        pairs.goes(1, later);
        assert!(pairs.may_go(1, later).is_err());
        pairs.goes_not(1, later);
        assert_eq!(pairs.may_go(1, later), Ok(()));
    }

    #[test]
    fn one_that_did_not_go_takes_no_word_of_the_provider_away() {
        let now = Instant::now();
        for interval in [0, 6] {
            let mut pairs = Pairs::new(interval * SECOND, 10);
            pairs.goes(1, now);
            pairs.refused(1, 60 * SECOND, now);
            pairs.goes_not(1, now);
            assert!(pairs.may_go(1, now + 59 * SECOND).is_err(), "{interval}");
            assert_eq!(pairs.may_go(1, now + 60 * SECOND), Ok(()));
        }
    }

    #[test]
    fn who_is_refused_again_and_again_comes_ever_more_rarely() {
        let now = Instant::now();
        let mut pairs = Pairs::new(Duration::ZERO, 10);
        let rests: Vec<u64> =
            (0..12).map(|_| pairs.refused(1, SECOND, now).rest.as_secs()).collect();
        assert_eq!(rests, [1, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600, 600]);
        assert!(pairs.may_go(1, now).is_err());
        assert_eq!(pairs.may_go(2, now), Ok(()));
        pairs.took(1);
        assert_eq!(pairs.refused(1, 700 * SECOND, now).rest.as_secs(), 700);
        assert_eq!(pairs.refused(1, 700 * SECOND, now).rest.as_secs(), 700);
    }

    #[test]
    fn a_refusal_is_the_pairs_own_where_others_were_taken_meanwhile() {
        let now = Instant::now();
        let mut pairs = Pairs::new(Duration::ZERO, 10);
        let is_own = |pairs: &mut Pairs, pair| pairs.refused(pair, SECOND, now).is_own;
        assert!(!is_own(&mut pairs, 1));
        assert!(!is_own(&mut pairs, 1), "nobody was taken");
        pairs.took(2);
        assert!(is_own(&mut pairs, 1));
        assert!(!is_own(&mut pairs, 1));
        assert!(!is_own(&mut pairs, 2), "the first time");
    }

    #[test]
    fn no_more_pairs_are_remembered_than_there_is_room_for() {
        let now = Instant::now();
        let mut pairs = Pairs::new(SECOND, 100);
        for pair in 0..10_000_u64 {
            pairs.goes(pair, now + Duration::from_micros(pair));
            assert!(pairs.known.len() <= 100);
        }
        assert!(
            pairs.may_go(9_999, now + Duration::from_millis(10)).is_err(),
            "the newest is known"
        );
    }
    #[test]
    fn those_are_forgotten_that_may_write_again_and_else_those_that_may_soonest() {
        let now = Instant::now();
        let (first, rest) = (now + Duration::from_millis(1), 100 * SECOND);
        let mut pairs = Pairs::new(rest, 100);
        (0..40).for_each(|pair| pairs.goes(pair, now));
        (40..100).for_each(|pair| pairs.goes(pair, now + 60 * SECOND));
        pairs.goes(100, now + rest);
        assert_eq!(pairs.known.len(), 61, "forty are free");
        assert!((40..101).all(|pair| pairs.may_go(pair, now + rest).is_err()));
        let mut pairs = Pairs::new(rest, 100);
        (0..100).for_each(|pair| pairs.goes(pair, first + SECOND * pair as u32));
        pairs.goes(100, now + rest);
        assert_eq!(pairs.known.len(), 76, "none is free: a quarter goes");
        assert_eq!(pairs.may_go(24, now + rest), Ok(()));
        assert!(pairs.may_go(25, now + rest).is_err());
    }
}

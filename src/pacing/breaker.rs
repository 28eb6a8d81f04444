//! A provider that is away is not called but for a probe now and then.

use std::time::{Duration, Instant};

use crate::codes::ReasonCode;

/// Closed, messages go; open, none does but a probe at a time. An answer closes it again.
#[derive(Debug, Clone)]
pub(super) struct Breaker {
    opens_after: u32,
    failures: u32,
    /// Who failed last: one recipient alone says nothing of the provider.
    last_failed: Option<u64>,
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    why: ReasonCode,
    /// The rest after the next probe, and the one that it doubled.
    rest: Duration,
    rest_before: Duration,
    rest_max: Duration,
    next_probe: Instant,
    /// The latest probe, while it is not answered.
    probe: Option<Probe>,
}

/// One message that finds out whether the provider is back.
#[derive(Debug, Clone, Copy)]
enum Probe {
    /// It was promised then, and did not begin yet.
    Promised(Instant),
    Began(Instant),
}

/// Rests of a provider that does not answer, doubled from the first up to the longest: at most a probe a
/// second, and soon after it is back it is found.
const AWAY_REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Rests of a provider that refuses our account: a person must do something about it.
const ACCOUNT_REST: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15 * 60));

/// How long a probe takes, as a rule: by then it has told more, or should have begun at least.
pub(super) const PROBE_TIME: Duration = Duration::from_secs(5);

impl Open {
    /// When who cannot go now comes again.
    fn again(&self, now: Instant) -> Instant {
        let Some(Probe::Promised(since) | Probe::Began(since)) = self.probe else {
            return self.next_probe;
        };
        // One that is slow is looked after ever more rarely: who waits loses at most as long as it took.
        let passed = now.saturating_duration_since(since);
        let look = since + (passed * 2).max(PROBE_TIME);
        look.min(self.next_probe.max(now))
    }

    /// A probe may be promised: it is time, or the one that was promised did not begin.
    fn is_due(&self, now: Instant) -> bool {
        let is_lost =
            matches!(self.probe, Some(Probe::Promised(since)) if since + PROBE_TIME <= now);
        self.next_probe <= now || is_lost
    }

    fn is_promised(&self) -> bool {
        matches!(self.probe, Some(Probe::Promised(_)))
    }
}

impl Breaker {
    pub(super) fn new(opens_after: u32) -> Breaker {
        Breaker { opens_after, failures: 0, last_failed: None, open: None }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Until when nothing goes, and why; none where it is closed or a probe is due.
    pub(super) fn closed_to_all(&self, now: Instant) -> Option<(Instant, ReasonCode)> {
        let open = self.open.filter(|open| !open.is_promised() && !open.is_due(now))?;
        Some((open.again(now), open.why))
    }

    /// When it will be looked at next, and why it is open.
    pub(super) fn next_probe(&self) -> Option<(Instant, ReasonCode)> {
        self.open.map(|open| (open.next_probe, open.why))
    }

    /// Promises a probe to who asks first once one is due; the others hear when the next one is. A probe
    /// that was promised and never began is made up for by the next.
    pub(super) fn promise(&mut self, now: Instant) -> Result<(), (Instant, ReasonCode)> {
        let Some(open) = &mut self.open else { return Ok(()) };
        if !open.is_due(now) {
            return Err((open.again(now), open.why));
        }
        // Where one is made up for that did not begin, the next stays where it is.
        if open.next_probe <= now {
            open.next_probe = now + open.rest;
            open.rest_before = open.rest;
            open.rest = (open.rest * 2).min(open.rest_max);
        }
        open.probe = Some(Probe::Promised(now));
        Ok(())
    }

    /// Lets a message begin: any where it is closed, else the one probe that was promised or is due.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), (Instant, ReasonCode)> {
        if self.open.is_some_and(|open| !open.is_promised()) {
            self.promise(now)?;
        }
        if let Some(open) = &mut self.open {
            open.probe = Some(Probe::Began(now));
        }
        Ok(())
    }

    /// The probe was answered, whatever the answer.
    pub(super) fn probe_ended(&mut self) {
        if let Some(open) = &mut self.open {
            open.probe = None;
        }
    }

    /// The probe was of a message that was refused before: perhaps for its own sake, so that the rests do not
    /// grow by it.
    pub(super) fn probe_told_nothing(&mut self) {
        if let Some(open) = &mut self.open {
            open.rest = open.rest_before;
        }
    }

    /// What was to be the probe did not go: another one goes soon.
    pub(super) fn probe_lost(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            open.probe = None;
            open.next_probe = open.next_probe.min(now + AWAY_REST.0);
        }
    }

    /// Somebody has mended something: a probe is due, unless one has just begun.
    pub(super) fn look_now(&mut self, now: Instant) {
        if let Some(open) = &mut self.open {
            let earliest = match open.probe {
                Some(Probe::Promised(since) | Probe::Began(since)) => since + PROBE_TIME,
                None => now,
            };
            open.next_probe = open.next_probe.min(earliest.max(now));
        }
    }

    /// The provider could not be reached or did not answer; true where that opened it.
    pub(super) fn failed(&mut self, whom: u64, now: Instant) -> bool {
        if self.open.is_some() || self.last_failed == Some(whom) {
            return false;
        }
        self.last_failed = Some(whom);
        self.failures += 1;
        if self.failures < self.opens_after {
            return false;
        }
        self.open(ReasonCode::DeliveryNetwork, AWAY_REST, now);
        true
    }

    /// The provider refused our account; true where that is news.
    pub(super) fn refused_account(&mut self, why: ReasonCode, now: Instant) -> bool {
        match &mut self.open {
            // The probe was refused, or others were under way together: the next one is set already.
            Some(open) if open.why == why => false,
            _ => {
                self.open(why, ACCOUNT_REST, now);
                true
            }
        }
    }

    /// The provider answered; true where that closed it.
    pub(super) fn answered(&mut self) -> bool {
        (self.failures, self.last_failed) = (0, None);
        self.open.take().is_some()
    }

    fn open(&mut self, why: ReasonCode, (first, rest_max): (Duration, Duration), now: Instant) {
        let rest = (first * 2).min(rest_max);
        let next_probe = now + first;
        let open = Open { why, rest, rest_before: rest, rest_max, next_probe, probe: None };
        self.open = Some(open);
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "any starting point will do")]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The seconds at which probes begin while the provider stays away for `seconds`.
    fn probes(breaker: &mut Breaker, start: Instant, seconds: u32) -> Vec<u32> {
        // Ten ask in each second.
        let asked = (0..seconds * 10).map(|tenth| (tenth / 10, start + SECOND * tenth / 10));
        asked.filter(|(_, at)| breaker.admit(*at).is_ok()).map(|(second, _)| second).collect()
    }

    #[test]
    fn it_opens_after_failures_in_a_row_of_different_recipients() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3);
        assert!((0..20).all(|_| !breaker.failed(7, now)), "one recipient says nothing");
        assert!(!breaker.failed(8, now));
        breaker.answered();
        assert!(!breaker.failed(7, now) && !breaker.failed(8, now));
        assert!(breaker.failed(9, now));
        assert!(breaker.is_open() && !breaker.failed(10, now), "it is open already");
    }

    #[test]
    fn an_hour_away_costs_a_probe_a_minute_and_never_more_than_one_a_second() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.failed(1, now);
        let probes = probes(&mut breaker, now, 3600);
        assert_eq!(probes[..7], [1, 3, 7, 15, 31, 63, 123]);
        assert!(probes.windows(2).all(|pair| pair[1] > pair[0]));
        assert!((60..=70).contains(&probes.len()), "{}", probes.len());
        assert!(breaker.answered());
        assert_eq!(breaker.admit(now), Ok(()));
        assert!(!breaker.answered());
    }

    #[test]
    fn a_refused_account_is_tried_less_often_and_said_once() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.failed(1, now);
        let credentials = ReasonCode::DeliveryProviderCredentials;
        assert!(breaker.refused_account(credentials, now), "it was away for another reason");
        assert!(!breaker.refused_account(credentials, now));
        assert_eq!(probes(&mut breaker, now, 3600)[..4], [30, 90, 210, 450]);
    }

    #[test]
    fn a_probe_is_promised_to_one_and_a_lost_one_is_made_up_for() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.failed(1, now);
        assert!(breaker.promise(now).is_err());
        let later = now + SECOND;
        assert_eq!(breaker.promise(later), Ok(()));
        assert_eq!(breaker.promise(later).unwrap_err().0, later + 2 * SECOND);
        assert_eq!(breaker.admit(later), Ok(()), "the one that was promised");
        assert!(breaker.admit(later).is_err());
        // The next is promised and never begins: another one is, soon.
        assert_eq!(breaker.promise(later + 2 * SECOND), Ok(()));
        assert_eq!(breaker.promise(later + 6 * SECOND), Ok(()), "its time has come");
        let asked = breaker.promise(later + 6 * SECOND).unwrap_err().0;
        assert_eq!(asked, later + 11 * SECOND, "the probe may have told more by then");
        assert_eq!(breaker.promise(later + 11 * SECOND), Ok(()), "the other one did not begin");
        assert_eq!(breaker.admit(later + 11 * SECOND), Ok(()));
        assert!(breaker.admit(later + 11 * SECOND).is_err());
    }

    #[test]
    fn a_probe_that_takes_long_keeps_nobody_waiting_much_longer_than_it_took() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.refused_account(ReasonCode::DeliveryProviderCredentials, now);
        let start = now + 30 * SECOND;
        assert_eq!(breaker.admit(start), Ok(()));
        let again: Vec<u64> = [0, 4, 5, 10, 20]
            .map(|passed| breaker.promise(start + passed * SECOND).unwrap_err().0)
            .map(|again| again.duration_since(start).as_secs())
            .into();
        assert_eq!(again, [5, 8, 10, 20, 40]);
        breaker.probe_ended();
        let again = breaker.promise(start + 20 * SECOND).unwrap_err().0;
        assert_eq!(again, start + 60 * SECOND, "it was refused: the rest holds");
    }

    #[test]
    fn who_has_mended_something_makes_a_probe_due() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.refused_account(ReasonCode::DeliveryProviderCredentials, now);
        assert!(breaker.promise(now + SECOND).is_err());
        breaker.look_now(now + SECOND);
        assert_eq!(breaker.admit(now + SECOND), Ok(()));
        // However often it is said: not more than one in five seconds.
        breaker.look_now(now + 2 * SECOND);
        assert!(breaker.promise(now + 5 * SECOND).is_err());
        assert_eq!(breaker.promise(now + 6 * SECOND), Ok(()));
    }

    #[test]
    fn rests_do_not_grow_by_probes_of_one_that_was_refused_before() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.refused_account(ReasonCode::DeliveryProviderCredentials, now);
        let mut probe = |tells: bool| {
            let (next, _) = breaker.next_probe().unwrap();
            assert_eq!(breaker.admit(next), Ok(()));
            breaker.probe_ended();
            if !tells {
                breaker.probe_told_nothing();
            }
            breaker.next_probe().unwrap().0.duration_since(next).as_secs()
        };
        assert_eq!(
            [false, false, true, true, false, false].map(&mut probe),
            [60, 60, 60, 120, 240, 240]
        );
        assert_eq!([true, true, true, false].map(&mut probe), [240, 480, 900, 900]);
    }

    #[test]
    fn a_probe_that_does_not_go_is_made_up_for_at_once() {
        let now = Instant::now();
        let mut breaker = Breaker::new(1);
        breaker.refused_account(ReasonCode::DeliveryProviderCredentials, now);
        let start = now + 30 * SECOND;
        assert_eq!(breaker.admit(start), Ok(()));
        breaker.probe_lost(start);
        assert!(breaker.promise(start).is_err());
        assert_eq!(breaker.promise(start + SECOND), Ok(()));
    }
}

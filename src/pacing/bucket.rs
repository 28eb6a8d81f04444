//! A rate, and the bucket that keeps to it.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// So many messages per second, minute or hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    per: Duration,
}

/// A rate that is not of the form `200/s`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rate {found:?} must be a whole number above 0, then /s, /min or /h")]
pub struct InvalidRate {
    pub found: String,
}

const UNITS: [(&str, Duration); 3] = [
    ("s", Duration::from_secs(1)),
    ("min", Duration::from_secs(60)),
    ("h", Duration::from_secs(3600)),
];

impl Rate {
    /// The rate that `200/s`, `10/min` or `1000/h` names.
    pub fn parse(text: &str) -> Result<Rate, InvalidRate> {
        let invalid = || InvalidRate { found: text.to_owned() };
        let (count, unit) = text.trim().split_once('/').ok_or_else(invalid)?;
        let count: u32 = count.trim().parse().map_err(|_| invalid())?;
        let (_, per) = *UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(invalid)?;
        if count == 0 {
            return Err(invalid());
        }
        Ok(Rate { count, per })
    }

    /// The time between two of them.
    pub fn interval(self) -> Duration {
        self.per / self.count
    }

    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }
}

impl FromStr for Rate {
    type Err = InvalidRate;

    fn from_str(text: &str) -> Result<Rate, InvalidRate> {
        Rate::parse(text)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().find(|(_, per)| *per == self.per).map_or("s", |(name, _)| name);
        write!(f, "{}/{unit}", self.count)
    }
}

/// A token bucket: a tenth of a second's worth may go at once, at least one.
#[derive(Debug, Clone)]
pub struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    refilled: Instant,
}

/// What may go at once, as a part of a second.
const BURST_SECONDS: f64 = 0.1;

fn burst_of(per_second: f64) -> f64 {
    (per_second * BURST_SECONDS).max(1.0)
}

impl Bucket {
    pub fn new(rate: Rate, now: Instant) -> Bucket {
        Bucket::of_rate(rate.per_second(), now)
    }

    /// A full bucket that so many tokens run into each second.
    pub fn of_rate(per_second: f64, now: Instant) -> Bucket {
        let burst = burst_of(per_second);
        Bucket { per_second, burst, tokens: burst, refilled: now }
    }

    /// A bucket whose tokens are bytes.
    pub fn of_bytes(per_second: u64, now: Instant) -> Bucket {
        Bucket::of_rate((per_second as f64).max(1.0), now)
    }

    /// Takes `amount` tokens, those that are not there yet too; the answer is the time until they are.
    /// Who waits that long keeps to the rate, however many draw from one bucket.
    pub fn draw(&mut self, amount: u64, now: Instant) -> Duration {
        self.refill(now);
        self.tokens -= amount as f64;
        Duration::from_secs_f64((-self.tokens / self.per_second).max(0.0))
    }

    /// Takes one token, or says how long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.ready(now)?;
        self.spend(1);
        Ok(())
    }

    /// Whether somebody may go now, or how long until then: with a single token anybody may, and what it
    /// costs beyond that is owed.
    pub fn ready(&mut self, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        if self.tokens >= 1.0 {
            return Ok(());
        }
        // A nanosecond too early would only ask again: round up.
        let wait = Duration::from_secs_f64((1.0 - self.tokens) / self.per_second);
        Err(wait + Duration::from_nanos(1))
    }

    /// Takes tokens, those that are not there yet too.
    pub fn spend(&mut self, cost: u32) {
        self.tokens -= f64::from(cost);
    }

    /// Puts back what was taken for nothing.
    pub fn give_back(&mut self, cost: u32) {
        self.tokens = (self.tokens + f64::from(cost)).min(self.burst);
    }

    /// Goes on at another rate; what is there or owed stays.
    pub fn change_rate(&mut self, per_second: f64, now: Instant) {
        self.refill(now);
        self.per_second = per_second;
        self.burst = burst_of(per_second);
        self.tokens = self.tokens.min(self.burst);
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.per_second).min(self.burst);
        self.refilled = self.refilled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_and_printed() {
        for (text, per_second) in
            [("200/s", 200.0), ("30/min", 0.5), ("3600/h", 1.0), (" 5 / s ", 5.0)]
        {
            let rate = Rate::parse(text).unwrap();
            assert_eq!(rate.per_second(), per_second);
            assert_eq!(Rate::parse(&rate.to_string()).unwrap(), rate);
        }
        for text in ["", "5", "0/s", "-1/s", "5/day", "1.5/s", "/s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any starting point will do")]
    fn a_bucket_keeps_to_its_rate_and_says_how_long_to_wait() {
        let start = Instant::now();
        let mut now = start;
        let mut bucket = Bucket::new(Rate::parse("100/s").unwrap(), now);
        let mut taken = 0;
        while now < start + Duration::from_secs(10) {
            match bucket.take(now) {
                Ok(()) => taken += 1,
                Err(wait) => now += wait,
            }
        }
        assert!((1000..=1010).contains(&taken), "{taken}");
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any starting point will do")]
    fn who_draws_in_advance_waits_until_all_before_have_been_served() {
        let now = Instant::now();
        let mut bucket = Bucket::of_bytes(1000, now);
        assert_eq!(bucket.draw(100, now), Duration::ZERO);
        assert_eq!(bucket.draw(500, now), Duration::from_millis(500));
        assert_eq!(bucket.draw(500, now), Duration::from_secs(1));
        let later = now + Duration::from_secs(1);
        assert_eq!(bucket.draw(250, later), Duration::from_millis(250));
        // A long rest saves no more than the burst.
        let much_later = now + Duration::from_secs(100);
        assert_eq!(bucket.draw(200, much_later), Duration::from_millis(100));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any starting point will do")]
    fn a_message_of_many_parts_goes_at_once_and_is_paid_for_by_those_behind_it() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Rate::parse("10/s").unwrap(), now);
        assert_eq!(bucket.ready(now), Ok(()));
        bucket.spend(5);
        assert_eq!(bucket.ready(now).unwrap_err().as_millis(), 500);
        bucket.give_back(5);
        assert_eq!(bucket.ready(now), Ok(()));
        bucket.spend(5);
        bucket.change_rate(1.0, now);
        assert_eq!(bucket.ready(now).unwrap_err().as_secs(), 5);
        assert_eq!(bucket.ready(now + Duration::from_millis(5001)), Ok(()));
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "any starting point will do")]
    fn a_slow_rate_still_lets_the_first_go_and_time_may_stand_still() {
        let now = Instant::now();
        let mut bucket = Bucket::new(Rate::parse("1/min").unwrap(), now);
        assert_eq!(bucket.take(now), Ok(()));
        let wait = bucket.take(now).unwrap_err();
        assert_eq!(wait.as_secs(), 60);
        assert_eq!(bucket.take(now + wait), Ok(()));
        assert_eq!(bucket.take(now + wait).unwrap_err().as_secs(), 60);
    }
}

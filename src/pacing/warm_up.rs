//! The ramp of a sender that nobody knows yet: few messages on its first day, more on each one after.

use std::fmt;

/// So many messages a day, growing by a factor, until nothing bounds them any more.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WarmUp {
    /// Messages of the first day.
    pub first: PerDay,
    /// How much more each day may bring than the one before.
    pub factor: f64,
    /// The day that would reach this has no bound, and none after it.
    pub until: PerDay,
}

/// A number of messages a day, as `50/day` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerDay(pub u32);

impl PerDay {
    pub fn parse(text: &str) -> Option<PerDay> {
        let (count, unit) = text.trim().split_once('/')?;
        let count: u32 = count.trim().parse().ok()?;
        (unit.trim() == "day" && count > 0).then_some(PerDay(count))
    }
}

impl fmt::Display for PerDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/day", self.0)
    }
}

impl WarmUp {
    /// Messages of a day, counted from 0; none where the ramp is over.
    pub fn quota(&self, day: u32) -> Option<u32> {
        let exponent = i32::try_from(day).unwrap_or(i32::MAX);
        let quota = f64::from(self.first.0) * self.factor.max(1.0).powi(exponent);
        (quota < f64::from(self.until.0)).then_some(quota as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_day_brings_more_until_the_ramp_is_over() {
        let ramp = WarmUp { first: PerDay(50), factor: 2.0, until: PerDay(1000) };
        let days: Vec<Option<u32>> = (0..7).map(|day| ramp.quota(day)).collect();
        let bounded = [50, 100, 200, 400, 800].map(Some);
        assert_eq!(days, [&bounded[..], &[None, None]].concat());
        assert_eq!(ramp.quota(u32::MAX), None);
        let slow = WarmUp { factor: 1.1, ..ramp };
        assert_eq!(slow.quota(1), Some(55));
        let flat = WarmUp { factor: 0.5, ..ramp };
        assert_eq!(flat.quota(9), Some(50), "it never falls");
    }

    #[test]
    fn numbers_a_day_are_read_and_printed() {
        for (text, count) in [("50/day", Some(50)), (" 7 / day ", Some(7)), ("0/day", None)] {
            let found = PerDay::parse(text);
            assert_eq!(found.map(|per_day| per_day.0), count, "{text}");
            assert!(found.is_none_or(|found| PerDay::parse(&found.to_string()) == Some(found)));
        }
        for text in ["", "50", "50/s", "/day", "-1/day", "1.5/day"] {
            assert_eq!(PerDay::parse(text), None, "{text}");
        }
    }
}

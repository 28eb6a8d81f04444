//! When to try again.

use std::time::Duration;

/// A provider's retry schedule: `first`, then `factor` times longer each, at most `max`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySchedule {
    /// Wait after the first failed attempt.
    pub first: Duration,
    /// How much longer each wait is than the one before.
    pub factor: f64,
    /// Longest wait.
    pub max: Duration,
    /// Attempts in all.
    pub attempts_max: u32,
}

impl Default for RetrySchedule {
    fn default() -> RetrySchedule {
        RetrySchedule {
            first: Duration::from_secs(5),
            factor: 3.0,
            max: Duration::from_secs(3600),
            attempts_max: 12,
        }
    }
}

/// Waits vary by this part either way, so that rows that failed together do not return together.
const JITTER: f64 = 0.2;

impl RetrySchedule {
    /// The wait after failed attempt number `attempt` (from 1); `None` when there is no next one.
    /// `dice_fraction` is a number in `0.0..1.0`.
    pub fn delay(&self, attempt: u32, dice_fraction: f64) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let longest = self.max.as_secs_f64();
        let grown = (self.first.as_secs_f64() * self.factor.powi(exponent)).min(longest);
        let jitter = 1.0 - JITTER + 2.0 * JITTER * dice_fraction.clamp(0.0, 1.0);
        Some(Duration::from_secs_f64((grown * jitter).max(0.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_end() {
        let schedule = RetrySchedule::default();
        let seconds: Vec<u64> = (1..=12)
            .filter_map(|attempt| schedule.delay(attempt, 0.5))
            .map(|wait| wait.as_secs_f64().round() as u64)
            .collect();
        assert_eq!(seconds, [5, 15, 45, 135, 405, 1215, 3600, 3600, 3600, 3600, 3600]);
        assert_eq!(schedule.delay(u32::MAX, 0.5), None);
    }

    #[test]
    fn the_dice_move_a_wait_by_a_fifth_either_way() {
        let schedule = RetrySchedule { factor: 1e300, ..RetrySchedule::default() };
        assert_eq!(schedule.delay(1, 0.0), Some(Duration::from_secs(4)));
        assert_eq!(schedule.delay(1, 1.0), Some(Duration::from_secs(6)));
        assert_eq!(schedule.delay(9, 0.0), Some(Duration::from_secs(2880)));
    }
}

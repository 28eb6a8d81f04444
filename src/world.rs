//! The clock and the dice: the only place where time passes and chance falls.
//!
//! Both are handed down by reference from `main`. In tests wall time is derived from tokio's clock, so
//! that paused time moves both hands together, the dice are seeded, and mishaps are arranged.
//! Never reads the environment, never sleeps.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use tokio::time::Instant;

/// Time and chance, built once.
#[derive(Debug)]
pub struct World {
    pub clock: Clock,
    pub dice: Dice,
    pub mishaps: Mishaps,
}

impl World {
    /// Wall time of the machine and dice seeded by the operating system.
    pub fn real() -> World {
        World {
            clock: Clock::new(Hand::Real),
            dice: Dice(Mutex::new(rand::make_rng())),
            mishaps: Mishaps::default(),
        }
    }

    /// Wall time that starts at `base` and moves with tokio's clock; dice that replay.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn seeded(base: Timestamp, seed: u64) -> World {
        World {
            clock: Clock::new(Hand::Derived {
                base,
                start: Instant::now(),
                moved_ms: AtomicI64::new(0),
            }),
            dice: Dice(Mutex::new(StdRng::seed_from_u64(seed))),
            mishaps: Mishaps::default(),
        }
    }
}

/// Faults of this program that a test arranges, where it must be seen that one file's fault stays its own.
/// Outside of tests nobody arranges any.
#[derive(Default)]
pub struct Mishaps(OnceLock<Mishap>);

type Mishap = Box<dyn Fn(&str) + Send + Sync>;

impl Mishaps {
    /// Lets `mishap` happen, which is told the file; the first that is arranged stays.
    pub fn arrange(&self, mishap: impl Fn(&str) + Send + Sync + 'static) {
        self.0.get_or_init(|| Box::new(mishap));
    }

    /// Called in the middle of work on a file.
    pub fn may_happen(&self, file: &str) {
        if let Some(mishap) = self.0.get() {
            mishap(file);
        }
    }
}

impl std::fmt::Debug for Mishaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Mishaps").field(&self.0.get().is_some()).finish()
    }
}

/// Wall time in UTC, whole milliseconds.
#[derive(Debug)]
pub struct Clock {
    hand: Hand,
    watch: Mutex<Watch>,
}

#[derive(Debug)]
enum Hand {
    Real,
    Derived { base: Timestamp, start: Instant, moved_ms: AtomicI64 },
}

/// Whether the wall clock goes as the monotonic one does.
#[derive(Debug, Default)]
struct Watch {
    last: Option<(Timestamp, Instant)>,
    doubted_until: Option<Instant>,
}

/// A wall clock that moves so much more or less than the monotonic one was put.
const STEP: SignedDuration = SignedDuration::from_secs(60);
/// For so long after a step the wall clock may be put right again.
const DOUBT: Duration = Duration::from_secs(60);

impl Clock {
    fn new(hand: Hand) -> Clock {
        Clock { hand, watch: Mutex::default() }
    }

    /// By how much the wall clock was put forwards, or back, since this was asked last.
    pub fn step(&self) -> Option<SignedDuration> {
        let (wall, instant) = (self.now(), self.instant());
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        let (wall_before, before) = watch.last.replace((wall, instant))?;
        let passed = SignedDuration::try_from(instant.duration_since(before)).ok()?;
        let step = wall.duration_since(wall_before).checked_sub(passed)?;
        if step.abs() < STEP {
            return None;
        }
        watch.doubted_until = Some(instant + DOUBT);
        Some(step)
    }

    /// How long it is not to be believed yet, having been put.
    pub fn doubted_for(&self) -> Option<Duration> {
        let until = self.watch.lock().unwrap_or_else(PoisonError::into_inner).doubted_until?;
        Some(until.saturating_duration_since(self.instant())).filter(|rest| !rest.is_zero())
    }

    /// Puts the wall clock of a test.
    pub fn put(&self, by: SignedDuration) {
        if let Hand::Derived { moved_ms, .. } = &self.hand {
            moved_ms.fetch_add(by.as_millis() as i64, Ordering::Relaxed);
        }
    }

    #[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    pub fn now(&self) -> Timestamp {
        let now = match &self.hand {
            Hand::Real => Timestamp::now(),
            Hand::Derived { base, start, moved_ms } => {
                let moved = SignedDuration::from_millis(moved_ms.load(Ordering::Relaxed));
                *base + start.elapsed() + moved
            }
        };
        Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Monotonic time, for waits and rates.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the monotonic clock")]
    pub fn instant(&self) -> Instant {
        Instant::now()
    }

    /// How long until `then`; zero when it has passed.
    pub fn until(&self, then: Timestamp) -> Duration {
        Duration::try_from(then.duration_since(self.now())).unwrap_or(Duration::ZERO)
    }
}

/// Randomness that a seed replays; from the operating system it is fit for secrets.
#[derive(Debug)]
pub struct Dice(Mutex<StdRng>);

impl Dice {
    pub fn next_u64(&self) -> u64 {
        self.rng().next_u64()
    }

    pub fn fill(&self, bytes: &mut [u8]) {
        self.rng().fill_bytes(bytes);
    }

    /// A number in `0.0..1.0`.
    pub fn fraction(&self) -> f64 {
        self.rng().random::<f64>()
    }

    /// `bytes` random bytes as lower-case hex.
    pub fn token(&self, bytes: usize) -> String {
        let mut raw = vec![0; bytes];
        self.fill(&mut raw);
        hex::encode(raw)
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn paused_time_moves_both_hands() {
        let base = "2026-11-22T10:00:00Z".parse().unwrap();
        let world = World::seeded(base, 7);
        tokio::time::advance(Duration::from_secs(90)).await;
        assert_eq!(world.clock.now(), "2026-11-22T10:01:30Z".parse().unwrap());
        assert_eq!(World::seeded(base, 7).dice.next_u64(), world.dice.next_u64());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_put_is_not_believed_for_a_while() {
        let clock = World::seeded("2026-11-22T10:00:00Z".parse().unwrap(), 7).clock;
        assert_eq!(clock.step(), None);
        tokio::time::advance(Duration::from_secs(7200)).await;
        assert_eq!((clock.step(), clock.doubted_for()), (None, None), "it only went on");
        for (by, expected) in [(59, None), (3600, Some(3600)), (-86_400, Some(-86_400))] {
            clock.put(SignedDuration::from_secs(by));
            tokio::time::advance(Duration::from_secs(30)).await;
            assert_eq!(clock.step(), expected.map(SignedDuration::from_secs), "{by}");
        }
        assert_eq!(clock.doubted_for(), Some(DOUBT));
        tokio::time::advance(DOUBT).await;
        assert_eq!((clock.step(), clock.doubted_for()), (None, None));
    }
}

//! The contract that `app` drives: one unit of work, and a wait that may be dropped.
//!
//! `work` does one unit and is never cut in the middle; `wait_for_work` may be dropped at any moment.
//! Never spawns a loop of its own: the loop that drives workers is written once, in `app`.

use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

/// What one unit of work found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Something was done; there may be more.
    Busy,
    /// Nothing to do until `wait_for_work` returns.
    Idle,
}

/// A station's loop, cut into units.
#[async_trait]
pub trait Worker: Send {
    /// The name in logs and metrics.
    fn name(&self) -> &'static str;

    /// One unit of work. An error is fatal for the process: the supervisor stops everything.
    async fn work(&mut self) -> Result<Progress, Box<dyn Error + Send + Sync>>;

    /// Cancel-safe: returns when there may be work again.
    async fn wait_for_work(&mut self);

    /// Ends what is under way, at the latest at `deadline`. `work` is not called any more.
    async fn stop(&mut self, _deadline: Instant) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }
}

/// Runs a short piece of blocking work where it stands, while another thread takes over the async
/// worker's other tasks. Cheaper than `blocking` by a change of threads each way, and it may borrow; the
/// task itself waits. Not for work that takes long.
pub fn in_place<T>(work: impl FnOnce() -> T) -> T {
    let is_alone = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::CurrentThread;
    if Handle::try_current().map_or(true, is_alone) {
        return work();
    }
    tokio::task::block_in_place(work)
}

/// Work on files that mostly finds what it needs in the kernel's memory: reading, writing, looking up,
/// and even syncs, where the disk is quick.
///
/// Waking another thread for it would take longer than the work itself, so it is done where it stands.
/// Where the disk shows itself slow, the next pieces leave the async worker to others meanwhile. May be
/// shared: what one session finds out holds for all.
#[derive(Debug)]
pub struct QuickWork {
    /// A piece that took longer than this has waited for the disk.
    time_max: Duration,
    /// Pieces that are yet to be done off the worker.
    wary: AtomicU32,
}

impl QuickWork {
    /// So many pieces after a slow one are done off the worker.
    const WARY_PIECES: u32 = 64;

    pub fn new(time_max: Duration) -> QuickWork {
        QuickWork { time_max, wary: AtomicU32::new(0) }
    }

    /// The disk was slow of late.
    pub fn is_wary(&self) -> bool {
        self.wary.load(Ordering::Relaxed) > 0
    }

    pub fn run<T>(&self, now: impl Fn() -> Instant, work: impl FnOnce() -> T) -> T {
        let fewer = |wary: u32| wary.checked_sub(1);
        if self.wary.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok() {
            return in_place(work);
        }
        let begin = now();
        let result = work();
        if now() - begin > self.time_max {
            self.wary.store(QuickWork::WARY_PIECES, Ordering::Relaxed);
        }
        result
    }
}

/// Runs blocking work (store, spool, files) off the async workers.
///
/// On a current-thread runtime it runs in place, so that simulations and journeys on paused time are
/// deterministic.
pub async fn blocking<T, F>(work: F) -> T
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => panic!("runtime stopped while blocking work was under way"),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods, reason = "a moment to count from")]
    fn a_slow_piece_makes_wary_for_a_while() {
        let work = QuickWork::new(Duration::from_millis(1));
        let (start, passed) = (Instant::now(), Cell::new(Duration::ZERO));
        let now = || start + passed.get();
        let piece = |took: u64| passed.set(passed.get() + Duration::from_millis(took));
        work.run(now, || piece(1));
        assert!(!work.is_wary());
        work.run(now, || piece(2));
        for _ in 0..QuickWork::WARY_PIECES {
            assert!(work.is_wary());
            // What is done off the worker is not measured.
            work.run(now, || piece(5));
        }
        assert!(!work.is_wary());
        assert_eq!(work.run(now, || 7), 7);
    }
}

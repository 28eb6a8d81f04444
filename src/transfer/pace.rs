//! Bandwidth: how many bytes a second may pass, in each direction.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::pacing::Bucket;

/// Which way bytes go, as the server sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    In,
    Out,
}

/// A rate for each direction, kept by one session or by all sessions of a tenant together.
#[derive(Debug)]
pub(super) struct Pace {
    per_second: u64,
    buckets: [Mutex<Bucket>; 2],
}

/// Turns in a second of one who has the whole rate.
const PIECES_PER_SECOND: u64 = 20;
/// No larger than what the smallest transfers ask for at once: turns are equal only where pieces are.
const PIECE_MAX_BYTES: u64 = 8 << 10;

impl Pace {
    pub(super) fn new(per_second: u64, now: Instant) -> Pace {
        let bucket = || Mutex::new(Bucket::of_bytes(per_second, now));
        Pace { per_second, buckets: [bucket(), bucket()] }
    }

    pub(super) fn per_second(&self) -> u64 {
        self.per_second
    }

    /// What is drawn in one turn.
    pub(super) fn piece(&self) -> u64 {
        (self.per_second / PIECES_PER_SECOND).clamp(1, PIECE_MAX_BYTES)
    }

    /// Takes so many bytes; the answer is the time to wait before they may pass.
    pub(super) fn draw(&self, direction: Direction, bytes: u64, now: Instant) -> Duration {
        let bucket = &self.buckets[direction as usize];
        bucket.lock().unwrap_or_else(PoisonError::into_inner).draw(bytes, now)
    }
}

//! What the doors count, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)+) => {
        /// Counters since start; `connections` and `uploads_incomplete` are gauges.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$meta])* pub(super) $name: AtomicU64,)+ }

        /// The counters at one moment.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct CountersSnapshot { $($(#[$meta])* pub $name: u64,)+ }

        impl Counters {
            pub fn snapshot(&self) -> CountersSnapshot {
                CountersSnapshot { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Connections open now.
    connections,
    /// Connections closed at once because a limit was reached.
    refused_connections,
    /// Errors of accepting itself, such as too many open files.
    accept_errors,
    logins_ok,
    logins_failed,
    /// Uploads that became complete files.
    uploads,
    /// Uploads that ended without becoming a file.
    uploads_aborted,
    /// Uploads that were cut and can be continued now.
    uploads_incomplete,
    /// Uploads that were cut and that nobody continued within `resume_window`.
    uploads_expired,
    /// Files opened for reading.
    downloads,
    /// Bytes of files received.
    bytes_in,
    /// Bytes of files sent.
    bytes_out,
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

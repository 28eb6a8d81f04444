//! What the doors count, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)+) => {
        /// Counters since start; `connections` is a gauge.
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
    logins_ok_sftp,
    logins_ok_ftps,
    logins_ok_ftp,
    logins_failed_sftp,
    logins_failed_ftps,
    logins_failed_ftp,
    /// Connections closed at once because their source is banned.
    refused_banned,
    /// Passwords verified, also those of strangers.
    password_checks,
    /// Refused logins that were delayed.
    guard_delays,
    /// How long they were delayed, together.
    guard_delay_ms,
    /// Uploads that became complete files.
    uploads,
    /// Uploads that ended without becoming a file.
    uploads_aborted,
    /// Files opened for reading.
    downloads,
    /// Bytes of files received.
    bytes_in,
    /// Bytes of files sent.
    bytes_out,
}

impl Counters {
    /// Logins by a protocol that succeeded, or those that failed.
    pub(super) fn logins(&self, protocol: &str, ok: bool) -> &AtomicU64 {
        match (protocol, ok) {
            ("sftp", true) => &self.logins_ok_sftp,
            ("ftps", true) => &self.logins_ok_ftps,
            (_, true) => &self.logins_ok_ftp,
            ("sftp", false) => &self.logins_failed_sftp,
            ("ftps", false) => &self.logins_failed_ftps,
            (_, false) => &self.logins_failed_ftp,
        }
    }
}

impl CountersSnapshot {
    /// Logins by all protocols that succeeded.
    pub fn logins_ok(&self) -> u64 {
        self.logins_ok_sftp + self.logins_ok_ftps + self.logins_ok_ftp
    }

    /// Logins by all protocols that were refused.
    pub fn logins_failed(&self) -> u64 {
        self.logins_failed_sftp + self.logins_failed_ftps + self.logins_failed_ftp
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

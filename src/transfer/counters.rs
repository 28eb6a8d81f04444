//! What the doors count, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($(#[$about:meta])* $live:ident, $snapshot:ident { $($(#[$meta:meta])* $name:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        pub(super) struct $live { $($(#[$meta])* pub(super) $name: AtomicU64,)+ }

        /// The counters at one moment.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $snapshot { $($(#[$meta])* pub $name: u64,)+ }

        impl $live {
            fn snapshot(&self) -> $snapshot {
                $snapshot { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// What one protocol has counted since start.
    Tally, TallySnapshot {
        /// Connections that were taken in.
        connections,
        logins_ok,
        logins_failed,
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
}

/// The protocols by the names that labels, evidence and accounts give them.
const PROTOCOLS: [&str; 3] = ["sftp", "ftps", "ftp"];

/// Why a connection was not taken in, or was closed before its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// All places are taken.
    All,
    /// The places of its source are taken.
    Source,
    /// It made room for others that wait to log in.
    Pending,
    /// It came from a proxy and said not in time, or not at all, for whom.
    Proxy,
    /// Its source is banned.
    Banned,
}

impl Refusal {
    const ALL: [Refusal; 5] =
        [Refusal::All, Refusal::Source, Refusal::Pending, Refusal::Proxy, Refusal::Banned];

    /// The limit or rule that refused it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Refusal::All => "connections_max",
            Refusal::Source => "connections_per_address",
            Refusal::Pending => "logins_pending_max",
            Refusal::Proxy => "from_proxy",
            Refusal::Banned => "banned",
        }
    }
}

/// Counters since start.
#[derive(Debug, Default)]
pub struct Counters {
    tallies: [Tally; 3],
    refused: [AtomicU64; 5],
    /// Errors of accepting itself, such as too many open files.
    pub(super) accept_errors: AtomicU64,
}

/// All counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    tallies: [TallySnapshot; 3],
    refused: [u64; 5],
    /// Errors of accepting itself.
    pub accept_errors: u64,
}

impl Counters {
    /// The counters of a protocol.
    pub(super) fn of(&self, protocol: &str) -> &Tally {
        let at = PROTOCOLS.iter().position(|name| *name == protocol);
        &self.tallies[at.expect("the doors speak no other protocol")]
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        count(&self.refused[refusal as usize]);
    }

    pub fn snapshot(&self) -> CountersSnapshot {
        CountersSnapshot {
            tallies: std::array::from_fn(|at| self.tallies[at].snapshot()),
            refused: std::array::from_fn(|at| self.refused[at].load(Ordering::Relaxed)),
            accept_errors: self.accept_errors.load(Ordering::Relaxed),
        }
    }
}

impl CountersSnapshot {
    /// The counters of each protocol by its name.
    pub fn by_protocol(&self) -> impl Iterator<Item = (&'static str, TallySnapshot)> {
        PROTOCOLS.into_iter().zip(self.tallies)
    }

    /// Connections refused, by the limit or rule that did it.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Refusal::ALL.map(Refusal::as_str).into_iter().zip(self.refused)
    }

    /// One counter over all protocols.
    pub fn total(&self, of: impl Fn(&TallySnapshot) -> u64) -> u64 {
        self.tallies.iter().map(of).sum()
    }
}

/// Adds one.
pub(super) fn count(counter: &AtomicU64) {
    add(counter, 1);
}

pub(super) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

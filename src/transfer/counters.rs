//! What the doors count, for metrics.

use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($(#[$about:meta])* $vis:vis $live:ident, $snapshot:ident { $($(#[$meta:meta])* $name:ident,)+ }) => {
        $(#[$about])*
        #[derive(Debug, Default)]
        $vis struct $live { $($(#[$meta])* pub(super) $name: AtomicU64,)+ }

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
    pub(super) Tally, TallySnapshot {
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

counters! {
    /// What is counted for all protocols together.
    pub HouseTally, HouseSnapshot {
        /// Errors of accepting itself, such as too many open files.
        accept_errors,
        /// Passwords verified, also those of strangers.
        password_checks,
        /// Refused logins that were delayed.
        guard_delays,
        /// How long they were delayed, together.
        guard_delay_ms,
        /// Uploads that were cut and can be continued now: a gauge.
        uploads_incomplete,
        /// Uploads that were cut and that nobody continued within `resume_window`.
        uploads_expired,
    }
}

/// The protocols by the names that labels, evidence and accounts give them.
const PROTOCOLS: [&str; 3] = ["sftp", "ftps", "ftp"];

/// Why a connection was not taken in, or was closed before its login.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TurnedAway {
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

impl TurnedAway {
    const ALL: [TurnedAway; 5] = [
        TurnedAway::All,
        TurnedAway::Source,
        TurnedAway::Pending,
        TurnedAway::Proxy,
        TurnedAway::Banned,
    ];

    /// The limit or rule that refused it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            TurnedAway::All => "connections_max",
            TurnedAway::Source => "connections_per_address",
            TurnedAway::Pending => "logins_pending_max",
            TurnedAway::Proxy => "from_proxy",
            TurnedAway::Banned => "banned",
        }
    }
}

/// Counters since start.
#[derive(Debug, Default)]
pub struct Counters {
    tallies: [Tally; 3],
    refused: [AtomicU64; 5],
    house: HouseTally,
}

/// All counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CountersSnapshot {
    tallies: [TallySnapshot; 3],
    refused: [u64; 5],
    house: HouseSnapshot,
}

impl Deref for Counters {
    type Target = HouseTally;

    fn deref(&self) -> &HouseTally {
        &self.house
    }
}

impl Deref for CountersSnapshot {
    type Target = HouseSnapshot;

    fn deref(&self) -> &HouseSnapshot {
        &self.house
    }
}

impl Counters {
    /// The counters of a protocol.
    pub(super) fn of(&self, protocol: &str) -> &Tally {
        let at = PROTOCOLS.iter().position(|name| *name == protocol);
        &self.tallies[at.expect("the doors speak no other protocol")]
    }

    /// Logins by a protocol that succeeded, or those that failed.
    pub(super) fn logins(&self, protocol: &str, ok: bool) -> &AtomicU64 {
        let tally = self.of(protocol);
        if ok { &tally.logins_ok } else { &tally.logins_failed }
    }

    pub(super) fn refused(&self, why: TurnedAway) {
        count(&self.refused[why as usize]);
    }

    pub fn snapshot(&self) -> CountersSnapshot {
        CountersSnapshot {
            tallies: std::array::from_fn(|at| self.tallies[at].snapshot()),
            refused: std::array::from_fn(|at| self.refused[at].load(Ordering::Relaxed)),
            house: self.house.snapshot(),
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
        TurnedAway::ALL.map(TurnedAway::as_str).into_iter().zip(self.refused)
    }

    /// Logins by all protocols that succeeded.
    pub fn logins_ok(&self) -> u64 {
        self.total(|tally| tally.logins_ok)
    }

    /// Logins by all protocols that were refused.
    pub fn logins_failed(&self) -> u64 {
        self.total(|tally| tally.logins_failed)
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

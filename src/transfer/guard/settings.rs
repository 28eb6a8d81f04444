//! What the operator can set about the guard.

use std::time::Duration;

use super::score::Offence;
use crate::transfer::Network;

/// How failures before a login are counted, and what they lead to.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardSettings {
    /// Off: nobody is scored or banned; refusals still take `delay`.
    pub enabled: bool,
    /// How long an offence counts.
    pub window: Duration,
    /// Points within the window at which a source is banned.
    pub threshold: u32,
    /// Points against one account, from sources that never logged in to it, at which further such
    /// sources wait for `delay_max`. Nobody is ever locked out by this.
    pub account_threshold: u32,
    /// How long the first ban lasts.
    pub ban: Duration,
    /// How much longer each ban is than the one before.
    pub ban_factor: f64,
    /// The longest ban; an earlier ban is forgotten when one of this length has passed since its end.
    pub ban_max: Duration,
    /// How long a refusal takes at least.
    pub delay: Duration,
    /// How long a refusal takes at the threshold; in between the delay grows evenly.
    pub delay_max: Duration,
    /// Networks that are delayed, but never banned.
    pub safe: Vec<Network>,
    /// Sources remembered at most.
    pub sources_max: usize,
    pub points: Points,
}

/// Points per offence. Where unknown accounts cost other points than wrong credentials, the moment of
/// the ban tells which accounts exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Points {
    pub unknown_account: u32,
    /// A wrong password or code; or a connection whose keys all failed, however many it offered.
    pub wrong_credentials: u32,
    /// Said something, and never logged in within `login_grace`.
    pub no_login: u32,
    /// Said what is not this protocol.
    pub garbage: u32,
}

impl Default for GuardSettings {
    fn default() -> GuardSettings {
        GuardSettings {
            enabled: true,
            window: Duration::from_secs(30 * 60),
            threshold: 100,
            account_threshold: 300,
            ban: Duration::from_secs(30 * 60),
            ban_factor: 1.5,
            ban_max: Duration::from_secs(24 * 3600),
            delay: Duration::from_secs(1),
            delay_max: Duration::from_secs(10),
            safe: Vec::new(),
            sources_max: 20_000,
            points: Points { unknown_account: 10, wrong_credentials: 10, no_login: 2, garbage: 5 },
        }
    }
}

impl GuardSettings {
    pub(super) fn points(&self, offence: Offence) -> u32 {
        match offence {
            Offence::UnknownAccount => self.points.unknown_account,
            Offence::WrongCredentials => self.points.wrong_credentials,
            Offence::NoLogin => self.points.no_login,
            Offence::Garbage => self.points.garbage,
        }
    }
}

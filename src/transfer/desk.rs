//! The desk where each login is decided, by whatever door it comes: scores, delays, words, log.
//!
//! A refusal leaves a fixed time after the question came, so that nobody learns from the clock whether
//! there is such an account; what the client hears is the same for all of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use russh::keys::PublicKey;
use tokio::time::{Instant, sleep_until};

use super::accounts::{Barred, Login};
use super::counters::{add, count};
use super::guard::{Offence, Source, Turn};
use super::house::House;
use super::password;
use super::visit::Visit;
use crate::worker::blocking;

/// argon2 hashes any length; a password of a megabyte is an attack on the processor.
const PASSWORD_MAX_BYTES: usize = 1024;

/// Why somebody with the right credentials does not come in all the same; the text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("{0}")]
    TooMany(&'static str),
    #[error("this account expired at {0}; ask the operator for more time")]
    Expired(Timestamp),
}

/// What somebody hears who proved nothing; the text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("login incorrect")]
    Wrong,
    /// A temporary answer; nothing was held against the client.
    #[error("too many logins are being checked, try again in a moment")]
    Busy,
    /// The connection is about to end.
    #[error("too many failed logins from your address, try again later")]
    Banned,
}

/// Why a login was refused, for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Unknown,
    Wrong,
    /// None of the keys that were offered.
    Key,
    WrongDoor,
    WrongNetwork,
    NoPassword,
    Expired,
    TooMany,
    Busy,
    Banned,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Reason::Unknown => "unknown account",
            Reason::Wrong => "wrong credentials",
            Reason::Key => "no key fits",
            Reason::WrongDoor => "protocol not allowed",
            Reason::WrongNetwork => "not from there",
            Reason::NoPassword => "account has no password",
            Reason::Expired => "expired",
            Reason::TooMany => "too many sessions",
            Reason::Busy => "too many passwords wait",
            Reason::Banned => "banned",
        }
    }
}

impl From<Barred> for Reason {
    fn from(barred: Barred) -> Reason {
        match barred {
            Barred::Unknown => Reason::Unknown,
            Barred::WrongDoor => Reason::WrongDoor,
            Barred::WrongNetwork => Reason::WrongNetwork,
            Barred::NoPassword => Reason::NoPassword,
        }
    }
}

/// What the desk knows of one connection before its login; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes(Arc<Mutex<Page>>);

#[derive(Debug, Default)]
struct Page {
    /// Why the last check failed, and when it began; `refuse` takes it up.
    refused: Option<(Reason, Instant)>,
    /// The account a key was offered for that did not fit, and by which protocol.
    key_refused: Option<(String, &'static str)>,
    /// Something was held against the connection already.
    charged: bool,
    /// The client said something in the door's protocol.
    spoke: bool,
}

impl Notes {
    /// The client said something that only clients of this protocol say.
    pub(super) fn spoke(&self) {
        self.page(|page| page.spoke = true);
    }

    fn page<T>(&self, write: impl FnOnce(&mut Page) -> T) -> T {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A check under way. Whoever hangs up in the middle of one has failed it: else guesses would cost
/// nothing but the processor's time.
struct Pending<'a> {
    house: &'a House,
    visit: &'a Visit,
    name: &'a str,
    offence: Option<Offence>,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(offence) = self.offence {
            self.house.charge(self.visit, offence, Some(self.name));
        }
    }
}

impl House {
    /// False where not even a check is due, and the connection about to end: the source was banned
    /// since it connected. For engines that check codes or certificates themselves.
    pub(super) fn may_try(&self, visit: &Visit) -> bool {
        let banned = self.guard.is_banned(visit.peer);
        if banned {
            self.note(visit, Reason::Banned, self.world.clock.instant());
            visit.end();
        }
        !banned
    }

    /// The account this password opens; takes as long for strangers as for wrong passwords. After
    /// `None` call `refuse`.
    pub(super) async fn check_password(
        &self,
        visit: &Visit,
        name: &str,
        given: &str,
        protocol: &'static str,
    ) -> Option<Login> {
        let started = self.world.clock.instant();
        let patience = self.guard.patience(visit.peer, name);
        let checked = self.try_password(visit, name, given, protocol).await;
        if !patience.is_zero() {
            self.wait(started, patience).await;
        }
        checked.map_err(|reason| self.note(visit, reason, started)).ok()
    }

    async fn try_password(
        &self,
        visit: &Visit,
        name: &str,
        given: &str,
        protocol: &'static str,
    ) -> Result<Login, Reason> {
        if self.guard.is_banned(visit.peer) {
            return Err(Reason::Banned);
        }
        let turn = self.turns.take(Source::of(visit.peer)).await.ok_or(Reason::Busy)?;
        // Who waited behind the guess that earned the ban does not get one more.
        if self.guard.is_banned(visit.peer) {
            return Err(Reason::Banned);
        }
        let (found, hash) = self.accounts.for_password(name, protocol, visit.peer);
        let offence = Some(self.offence_at(name));
        let mut pending = Pending { house: self, visit, name, offence };
        let (fits, turn) = self.verify(given, hash, turn).await;
        let result = match found {
            Ok(login) if fits => Ok(login),
            Ok(_) => Err(Reason::Wrong),
            Err(barred) => Err(barred.into()),
        };
        if result.is_ok() {
            pending.offence = None;
        }
        // The score first, then the source's next try.
        drop(pending);
        drop(turn);
        result
    }

    /// Verifies a password off the async workers. The turn and the place are held until it is done,
    /// also where nobody waits for it any more.
    async fn verify(&self, given: &str, hash: Arc<str>, turn: Turn) -> (bool, Turn) {
        let too_long = given.len() > PASSWORD_MAX_BYTES;
        let given = if too_long { String::new() } else { given.to_owned() };
        let place = self.accounts.password_check().await;
        count(&self.counters.password_checks);
        blocking(move || {
            let fits = password::verify(&given, &hash);
            drop(place);
            (fits && !too_long, turn)
        })
        .await
    }

    /// The account this key opens. The caller has seen, or will see, the proof of possession. After
    /// `None` reject the key without `refuse`: clients offer key after key, and failures count once,
    /// when the connection ends without a login.
    pub(super) fn check_key(
        &self,
        visit: &Visit,
        name: &str,
        key: &PublicKey,
        protocol: &'static str,
    ) -> Option<Login> {
        if !self.may_try(visit) {
            return None;
        }
        let login = self.accounts.authenticate_key(name, key, protocol, visit.peer);
        if login.is_none() {
            visit.notes.page(|page| page.key_refused = Some((name.to_owned(), protocol)));
        }
        login
    }

    /// Lets somebody in who has proved all that is asked. After an error call `refuse`.
    pub(super) fn admit(
        &self,
        visit: &Visit,
        login: &Login,
        protocol: &'static str,
    ) -> Result<(), Denied> {
        let account = &login.account;
        let now = self.world.clock.now();
        if let Some(end) = account.expires.filter(|_| account.has_expired(now)) {
            self.note(visit, Reason::Expired, self.world.clock.instant());
            return Err(Denied::Expired(end));
        }
        count(self.counters.logins(protocol, true));
        self.guard.logged_in(visit.peer, &account.name);
        tracing::info!(
            account = account.name,
            tenant = %account.tenant,
            peer = %visit.peer,
            protocol,
            "login"
        );
        visit.login_succeeded();
        Ok(())
    }

    /// Takes note of a refused login and returns when the client may hear so. Where no check of the
    /// desk came before, something else was wrong that the client had to prove: a code, say.
    pub(super) async fn refuse(
        &self,
        visit: &Visit,
        name: &str,
        protocol: &'static str,
    ) -> Refusal {
        let noted = visit.notes.page(|page| page.refused.take());
        let (reason, started) = noted.unwrap_or_else(|| {
            self.charge(visit, self.offence_at(name), Some(name));
            (Reason::Wrong, self.world.clock.instant())
        });
        self.log_refusal(visit, name, protocol, reason);
        let delay = self.guard.delay(visit.peer);
        count(&self.counters.guard_delays);
        add(&self.counters.guard_delay_ms, u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self.wait(started, delay).await;
        match reason {
            Reason::Busy => Refusal::Busy,
            _ if self.guard.is_banned(visit.peer) => {
                visit.end();
                Refusal::Banned
            }
            _ => Refusal::Wrong,
        }
    }

    /// The client does not speak this protocol: said before a login only.
    pub(super) fn garbage(&self, visit: &Visit, protocol: &'static str) {
        if !visit.is_logged_in() && !visit.notes.page(|page| page.charged) {
            self.charge(visit, Offence::Garbage, None);
            tracing::info!(peer = %visit.peer, protocol, "connection refused: not this protocol");
        }
    }

    /// A connection is over; `too_late` where it was cut because nobody logged in. Probes that connect
    /// and say nothing are not even logged.
    pub(super) fn left(&self, visit: &Visit, too_late: bool) {
        let (key, charged, spoke) =
            visit.notes.page(|page| (page.key_refused.take(), page.charged, page.spoke));
        if visit.is_logged_in() || charged {
            return;
        }
        match key {
            Some((name, protocol)) => {
                self.charge(visit, self.offence_at(&name), Some(&name));
                self.log_refusal(visit, &name, protocol, Reason::Key);
            }
            None if too_late && spoke => {
                self.charge(visit, Offence::NoLogin, None);
                tracing::info!(peer = %visit.peer, "connection cut: no login in time");
            }
            None => tracing::debug!(peer = %visit.peer, "connection ended without a login"),
        }
    }

    fn offence_at(&self, name: &str) -> Offence {
        match self.accounts.named(name) {
            Some(_) => Offence::WrongCredentials,
            None => Offence::UnknownAccount,
        }
    }

    fn note(&self, visit: &Visit, reason: Reason, started: Instant) {
        visit.notes.page(|page| page.refused = Some((reason, started)));
    }

    fn charge(&self, visit: &Visit, offence: Offence, name: Option<&str>) {
        visit.notes.page(|page| page.charged = true);
        if self.guard.offended(visit.peer, offence, name) {
            tracing::warn!(peer = %visit.peer, reason = offence.as_str(), "source banned");
        }
    }

    /// One line for each refusal. The name stands in it only where it is an account's: people type
    /// passwords in its place.
    fn log_refusal(&self, visit: &Visit, name: &str, protocol: &'static str, reason: Reason) {
        count(self.counters.logins(protocol, false));
        let account = self.accounts.named(name);
        let (name, tenant) = account.as_ref().map_or(("", ""), |a| (&a.name, a.tenant.as_str()));
        let reason = reason.as_str();
        tracing::info!(account = name, tenant, peer = %visit.peer, protocol, reason, "login refused");
    }

    async fn wait(&self, started: Instant, at_least: Duration) {
        sleep_until(started + at_least).await;
    }
}

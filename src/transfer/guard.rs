//! The guard: who tried too often is delayed, then banned, at all doors together and over restarts.
//!
//! `guard/score.rs` is the arithmetic, `guard/book.rs` what is remembered of whom; here time and the
//! store are added.

mod book;
mod score;
mod settings;
mod source;
mod turns;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::book::{Book, Changes, Try};
use self::score::{SLICES, Score, Standing};
use crate::store::{AccountSources, SourceRecord, Store, StoreError};
use crate::worker::blocking;
use crate::world::World;

pub(super) use score::Offence;
pub use settings::{GuardSettings, Points};
pub(super) use source::Source;
pub(super) use turns::{Turn, Turns};

/// Changes other than bans are written together after this time.
const SAVE_PAUSE: Duration = Duration::from_secs(1);
/// Sources and accounts in one commit; the rest follows in the next.
const SAVED_AT_ONCE: usize = 400;

/// The guard of all doors; cheap to clone.
#[derive(Clone)]
pub struct Guard(Arc<Watch>);

struct Watch {
    book: RwLock<Book>,
    store: Store,
    /// Held while writing, so that no older state overtakes a newer one.
    writing: Mutex<()>,
    changed: Notify,
    banned: Notify,
    world: Arc<World>,
    /// Keyed anew in each process: nobody outside can tell which names share a digest.
    digest: RandomState,
}

/// What an operator sees of a source.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    /// An address, or an IPv6 network.
    pub source: String,
    pub score: u32,
    pub banned_until: Option<Timestamp>,
    /// The last offence.
    pub reason: &'static str,
    /// Bans so far.
    pub bans: u32,
}

impl Guard {
    /// A guard that goes on where an earlier process stopped. Blocks for a moment.
    pub fn open(
        settings: GuardSettings,
        store: Store,
        world: Arc<World>,
    ) -> Result<Guard, StoreError> {
        let mut book = Book::default();
        book.rules = settings;
        let standings = store.guard_sources()?.into_iter().filter_map(standing_of);
        let good = store.guard_accounts()?.into_iter().map(good_of);
        book.recall(standings.collect(), good.collect(), world.clock.now());
        let watch = Watch {
            book: RwLock::new(book),
            store,
            writing: Mutex::default(),
            changed: Notify::new(),
            banned: Notify::new(),
            digest: RandomState::new(),
            world,
        };
        Ok(Guard(Arc::new(watch)))
    }

    /// Puts new settings in force; scores and bans stay.
    pub fn replace(&self, settings: GuardSettings) {
        self.write(|book| book.rules = settings);
    }

    /// Whether connections from this address are closed before a word is said.
    pub(super) fn is_banned(&self, peer: IpAddr) -> bool {
        let now = self.now();
        self.read(|book| book.is_banned(peer, now))
    }

    /// Takes note of an offence, with the name that was tried, where one was; true where it earned a
    /// ban.
    pub(super) fn offended(&self, peer: IpAddr, offence: Offence, account: Option<&str>) -> bool {
        let now = self.now();
        let tried = account.map(|account| self.tried(peer, account));
        let banned = self.write(|book| book.offended(peer, offence, tried, now));
        if banned {
            self.0.banned.notify_one();
        }
        self.0.changed.notify_one();
        banned
    }

    /// Takes note of a login that proved all that was asked.
    pub(super) fn logged_in(&self, peer: IpAddr, account: &str) {
        let (now, tried) = (self.now(), self.tried(peer, account));
        self.write(|book| book.logged_in(tried, now));
        self.0.changed.notify_one();
    }

    /// How long any answer about this account takes for this address: no time, unless the account is
    /// under attack from many sources and does not know this one.
    pub(super) fn patience(&self, peer: IpAddr, account: &str) -> Duration {
        let (now, tried) = (self.now(), self.tried(peer, account));
        self.read(|book| book.patience(tried, now))
    }

    /// How long a refusal takes for this address.
    pub(super) fn delay(&self, peer: IpAddr) -> Duration {
        let now = self.now();
        self.read(|book| book.delay(Source::of(peer), now))
    }

    /// Every source with a score or a ban: bans first, then the highest scores.
    pub fn watched(&self) -> Vec<Watched> {
        let now = self.now();
        let mut watched: Vec<Watched> = self.read(|book| {
            let of = |(source, standing): (&Source, &Standing)| Watched {
                source: source.to_string(),
                score: standing.total(&book.rules, now),
                banned_until: standing.banned_until.filter(|until| now < *until),
                reason: standing.reason.map_or("", Offence::as_str),
                bans: standing.bans,
            };
            let all = book.sources.iter().map(of);
            all.filter(|w| w.banned_until.is_some() || w.score > 0).collect()
        });
        watched.sort_by(|a, b| {
            let by = |w: &Watched| (w.banned_until.is_none(), std::cmp::Reverse(w.score));
            by(a).cmp(&by(b)).then_with(|| a.source.cmp(&b.source))
        });
        watched
    }

    /// How many sources are banned now.
    pub fn bans(&self) -> usize {
        let now = self.now();
        self.read(|book| book.sources.values().filter(|s| s.is_banned(now)).count())
    }

    /// Lifts the ban and forgets the score of an address, or of all; returns how many sources that
    /// concerned.
    pub fn pardon(&self, peer: Option<IpAddr>) -> usize {
        let now = self.now();
        let pardoned = self.write(|book| book.pardon(peer.map(Source::of), now));
        self.0.banned.notify_one();
        self.0.changed.notify_one();
        pardoned
    }

    /// Writes down what changes: bans at once, the rest together after a moment; all at the end.
    pub(super) async fn keep(&self, token: CancellationToken) {
        while !token.is_cancelled() {
            tokio::select! {
                () = token.cancelled() => break,
                () = self.0.changed.notified() => {}
            }
            tokio::select! {
                () = token.cancelled() => {}
                () = self.0.banned.notified() => {}
                () = sleep(SAVE_PAUSE) => {}
            }
            self.save().await;
        }
        while self.read(Book::has_changes) && self.save().await {}
    }

    /// Writes down what changed; false where that failed.
    async fn save(&self) -> bool {
        let guard = self.clone();
        blocking(move || guard.save_now()).await
    }

    fn save_now(&self) -> bool {
        let _one = self.0.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.now();
        let (changes, more) = self.write(|book| {
            let changes = book.take_changes(SAVED_AT_ONCE, now);
            (changes, book.has_changes())
        });
        if more {
            self.0.changed.notify_one();
        }
        let Changes { standings, forgotten, good } = changes;
        let sources: Vec<SourceRecord> = standings.into_iter().map(record_of).collect();
        let forgotten: Vec<String> = forgotten.iter().map(Source::to_string).collect();
        let accounts: Vec<AccountSources> = good.into_iter().map(account_of).collect();
        let written = self.0.store.record_guard(&sources, &forgotten, &accounts);
        if let Err(error) = &written {
            tracing::error!(%error, "bans and scores cannot be written down");
        }
        written.is_ok()
    }

    fn tried<'a>(&self, peer: IpAddr, account: &'a str) -> Try<'a> {
        let digest = self.0.digest.hash_one(account.as_bytes());
        Try { source: Source::of(peer), account, digest }
    }

    fn now(&self) -> Timestamp {
        self.0.world.clock.now()
    }

    fn read<T>(&self, look: impl FnOnce(&Book) -> T) -> T {
        look(&self.0.book.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        change(&mut self.0.book.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("sources", &self.read(|book| book.sources.len())).finish()
    }
}

fn record_of((source, standing): (Source, Standing)) -> SourceRecord {
    SourceRecord {
        source: source.to_string(),
        slices: standing.score.slices.to_vec(),
        newest_slice: standing.score.newest,
        bans: standing.bans,
        banned_until: standing.banned_until,
        reason: standing.reason.map_or("", Offence::as_str).to_owned(),
        last: standing.last,
    }
}

fn standing_of(record: SourceRecord) -> Option<(Source, Standing)> {
    let slices: Option<[u32; SLICES]> = record.slices.try_into().ok();
    let score = slices.map(|slices| Score { slices, newest: record.newest_slice });
    let standing = Standing {
        score: score.unwrap_or_default(),
        by_account: Vec::new(),
        bans: record.bans,
        banned_until: record.banned_until,
        reason: Offence::from_text(&record.reason),
        last: record.last,
    };
    Some((record.source.parse().ok()?, standing))
}

fn account_of((account, sources): (String, Vec<(Source, Timestamp)>)) -> AccountSources {
    let sources = sources.into_iter().map(|(source, last)| (source.to_string(), last)).collect();
    AccountSources { account, sources }
}

fn good_of(record: AccountSources) -> (String, Vec<(Source, Timestamp)>) {
    let read = |(source, last): (String, Timestamp)| Some((source.parse().ok()?, last));
    (record.account, record.sources.into_iter().filter_map(read).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SimulatedDisk;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn open(disk: &SimulatedDisk, world: &Arc<World>) -> Guard {
        let store = Store::simulated(disk).unwrap();
        Guard::open(GuardSettings::default(), store, world.clone()).unwrap()
    }

    fn world() -> Arc<World> {
        Arc::new(World::seeded("2026-11-23T10:00:00Z".parse().unwrap(), 7))
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "the test plays the part of the doors")]
    async fn scores_are_written_together_and_bans_at_once() {
        let (disk, world) = (SimulatedDisk::default(), world());
        let guard = open(&disk, &world);
        let token = CancellationToken::new();
        let kept = tokio::spawn({
            let (guard, token) = (guard.clone(), token.clone());
            async move { guard.keep(token).await }
        });
        let before = disk.commits();
        for _ in 0..9 {
            guard.offended(PEER, Offence::WrongCredentials, Some("erp"));
        }
        sleep(SAVE_PAUSE * 2).await;
        assert_eq!(disk.commits(), before + 1);
        assert!(!guard.is_banned(PEER));
        let again = open(&disk, &world);
        assert_eq!(again.watched(), guard.watched());
        assert!(again.offended(PEER, Offence::WrongCredentials, None), "the score was kept");

        assert!(guard.offended(PEER, Offence::WrongCredentials, Some("erp")));
        sleep(SAVE_PAUSE / 2).await;
        let again = open(&disk, &world);
        assert!(again.is_banned(PEER));
        assert_eq!((again.watched(), again.bans()), (guard.watched(), 1));
        assert_eq!(guard.pardon(Some(PEER)), 1);
        guard.logged_in(PEER, "erp");
        token.cancel();
        kept.await.unwrap();
        let again = open(&disk, &world);
        assert!(!again.is_banned(PEER));
        assert!(again.read(|book| book.knows(again.tried(PEER, "erp"), again.now())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_ends_by_the_clock_also_when_the_settings_change_meanwhile() {
        let (disk, world) = (SimulatedDisk::default(), world());
        let guard = open(&disk, &world);
        for _ in 0..10 {
            guard.offended(PEER, Offence::UnknownAccount, None);
        }
        assert!(guard.save_now());
        let store = Store::simulated(&disk).unwrap();
        let settings =
            GuardSettings { window: Duration::from_secs(60), ..GuardSettings::default() };
        let again = Guard::open(settings, store, world.clone()).unwrap();
        assert!(again.is_banned(PEER));
        tokio::time::advance(Duration::from_secs(30 * 60)).await;
        assert!(!again.is_banned(PEER) && !guard.is_banned(PEER));
        guard.replace(GuardSettings { enabled: false, ..GuardSettings::default() });
        assert!(!guard.offended(PEER, Offence::Garbage, None));
    }
}

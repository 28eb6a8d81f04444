//! Everybody's standing, bounded: what is known of sources, of accounts under pressure, and of the
//! sources an account usually comes from. No clock, no disk.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::GuardSettings;
use super::score::{Event, Offence, Score, Standing};
use super::source::Source;

/// Sources remembered as good for one account; the one not seen for longest gives way.
const GOOD_SOURCES_MAX: usize = 16;
/// How often a good source is written down again.
const GOOD_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// A source is good for an account for so long after its last login.
const GOOD_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// Somebody's try at an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try<'a> {
    pub(super) source: Source,
    /// The name as it was given.
    pub(super) account: &'a str,
    /// Stands for the name where strangers' names are kept: people type passwords there.
    pub(super) digest: u64,
}

#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) rules: GuardSettings,
    pub(super) sources: HashMap<Source, Standing>,
    /// Points against an account from sources it does not know, by digest.
    pressed: HashMap<u64, Score>,
    /// Where an account's logins came from, and when last.
    pub(super) good: HashMap<String, Vec<(Source, Timestamp)>>,
    changed: HashSet<Source>,
    changed_good: HashSet<String>,
}

/// What is to be written down.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    pub(super) standings: Vec<(Source, Standing)>,
    pub(super) forgotten: Vec<Source>,
    /// Empty where an account has no good source any more.
    pub(super) good: Vec<(String, Vec<(Source, Timestamp)>)>,
}

impl Book {
    pub(super) fn is_banned(&self, peer: IpAddr, now: Timestamp) -> bool {
        let standing = self.sources.get(&Source::of(peer));
        self.rules.enabled && standing.is_some_and(|s| s.is_banned(now)) && !self.is_safe(peer)
    }

    fn is_safe(&self, peer: IpAddr) -> bool {
        self.rules.safe.iter().any(|network| network.contains(peer))
    }

    /// Takes note of an offence; true where it earned a ban.
    pub(super) fn offended(
        &mut self,
        peer: IpAddr,
        offence: Offence,
        tried: Option<Try<'_>>,
        now: Timestamp,
    ) -> bool {
        if !self.rules.enabled {
            return false;
        }
        if let Some(tried) = tried.filter(|tried| !self.knows(*tried, now)) {
            let score = self.pressed.get(&tried.digest).copied().unwrap_or_default();
            make_room(&mut self.pressed, &tried.digest, self.rules.sources_max, |_, score| {
                (false, i64::from(score.total(self.rules.window, now)), Timestamp::UNIX_EPOCH)
            });
            self.pressed.insert(tried.digest, self.rules.pressed(score, offence, now));
        }
        let (safe, account) = (self.is_safe(peer), tried.map(|tried| tried.digest));
        let was_banned = self.is_banned(peer, now);
        self.happened(Source::of(peer), Event::Offended { offence, account, safe }, now);
        !was_banned && self.is_banned(peer, now)
    }

    /// Takes note of a login that proved all that was asked.
    pub(super) fn logged_in(&mut self, tried: Try<'_>, now: Timestamp) {
        if !self.rules.enabled {
            return;
        }
        if self.sources.contains_key(&tried.source) {
            self.happened(tried.source, Event::LoggedIn { account: tried.digest }, now);
        }
        let good = self.good.entry(tried.account.to_owned()).or_default();
        let known = good.iter().position(|(source, _)| *source == tried.source);
        if known.is_some_and(|at| now < good[at].1 + GOOD_AGAIN) {
            return;
        }
        if let Some(at) = known {
            good.remove(at);
        }
        good.insert(0, (tried.source, now));
        good.truncate(GOOD_SOURCES_MAX);
        self.changed_good.insert(tried.account.to_owned());
    }

    /// True where the account has been logged in to from there.
    pub(super) fn knows(&self, tried: Try<'_>, now: Timestamp) -> bool {
        self.good.get(tried.account).is_some_and(|good| {
            good.iter().any(|(source, last)| *source == tried.source && now < *last + GOOD_FOR)
        })
    }

    /// How long any answer about this account takes for this source: no time, unless the account is
    /// under pressure and does not know the source.
    pub(super) fn patience(&self, tried: Try<'_>, now: Timestamp) -> Duration {
        let pressed = self.pressed.get(&tried.digest).copied().unwrap_or_default();
        let high = pressed.total(self.rules.window, now) >= self.rules.account_threshold;
        if self.rules.enabled && high && !self.knows(tried, now) {
            return self.rules.delay_max;
        }
        Duration::ZERO
    }

    /// How long a refusal takes for this source.
    pub(super) fn delay(&self, source: Source, now: Timestamp) -> Duration {
        let standing = self.sources.get(&source);
        self.rules.delay_at(standing.map_or(0, |standing| standing.total(&self.rules, now)))
    }

    /// Lifts the ban of one source, or of all, and forgets the score; returns how many it concerned.
    pub(super) fn pardon(&mut self, source: Option<Source>, now: Timestamp) -> usize {
        let blank = |s: &Standing| s.is_blank(&self.rules, now);
        let known: Vec<Source> = match source {
            Some(source) => vec![source],
            None => self.sources.keys().copied().collect(),
        };
        let concerned = |source: &Source| self.sources.get(source).is_some_and(|s| !blank(s));
        let pardoned: Vec<Source> = known.into_iter().filter(concerned).collect();
        for source in &pardoned {
            self.happened(*source, Event::Pardoned, now);
        }
        pardoned.len()
    }

    fn happened(&mut self, source: Source, event: Event, now: Timestamp) {
        let rules = &self.rules;
        let removed = make_room(&mut self.sources, &source, rules.sources_max, |_, standing| {
            let score = i64::from(standing.total(rules, now));
            (standing.is_banned(now), score, standing.banned_until.unwrap_or(standing.last))
        });
        self.changed.extend(removed);
        let standing = self.sources.remove(&source).unwrap_or_default().after(event, rules, now);
        self.changed.insert(source);
        if !standing.is_blank(rules, now) {
            self.sources.insert(source, standing);
        }
    }

    /// What changed since it was asked last, bans first, at most `max` of sources and of accounts.
    pub(super) fn take_changes(&mut self, max: usize, now: Timestamp) -> Changes {
        let mut sources: Vec<Source> = self.changed.iter().copied().collect();
        let banned = |source: &Source| self.sources.get(source).is_some_and(|s| s.is_banned(now));
        sources.sort_by_key(|source| (!banned(source), *source));
        sources.truncate(max);
        let mut changes = Changes::default();
        for source in sources {
            self.changed.remove(&source);
            match self.sources.get(&source) {
                Some(standing) => changes.standings.push((source, standing.clone())),
                None => changes.forgotten.push(source),
            }
        }
        let accounts: Vec<String> = self.changed_good.iter().take(max).cloned().collect();
        for account in accounts {
            self.changed_good.remove(&account);
            let good = self.good.get(&account).cloned().unwrap_or_default();
            changes.good.push((account, good));
        }
        changes
    }

    pub(super) fn has_changes(&self) -> bool {
        !self.changed.is_empty() || !self.changed_good.is_empty()
    }

    /// Takes in what an earlier process wrote down; what is out of date is written off.
    pub(super) fn recall(
        &mut self,
        standings: Vec<(Source, Standing)>,
        good: Vec<(String, Vec<(Source, Timestamp)>)>,
        now: Timestamp,
    ) {
        for (source, mut standing) in standings {
            // A clock that was wrong when the ban was pronounced must not make it last for ever.
            let latest = now + self.rules.ban_max.max(self.rules.ban);
            standing.banned_until = standing.banned_until.map(|until| until.min(latest));
            if standing.is_blank(&self.rules, now) || self.sources.len() >= self.rules.sources_max {
                self.changed.insert(source);
            } else {
                self.sources.insert(source, standing);
            }
        }
        for (account, mut sources) in good {
            let all = sources.len();
            sources.retain(|(_, last)| now < *last + GOOD_FOR);
            if sources.len() < all {
                self.changed_good.insert(account.clone());
            }
            if !sources.is_empty() {
                self.good.insert(account, sources);
            }
        }
    }
}

/// Where a new key would be one too many, removes an eighth of the entries: those of the lowest worth.
/// Banned sources are worth more than any score, so a crowd of strangers does not free them; only
/// more bans than there is room for end the one that would end soonest.
fn make_room<K: Copy + Eq + Hash, V, W: Ord + Copy>(
    entries: &mut HashMap<K, V>,
    key: &K,
    max: usize,
    worth: impl Fn(&K, &V) -> W,
) -> Vec<K> {
    if entries.len() < max || entries.contains_key(key) {
        return Vec::new();
    }
    let mut by_worth: Vec<(W, K)> = entries.iter().map(|(k, v)| (worth(k, v), *k)).collect();
    let removed = (max / 8).clamp(1, by_worth.len());
    by_worth.sort_by_key(|(worth, _)| *worth);
    by_worth.truncate(removed);
    let removed: Vec<K> = by_worth.into_iter().map(|(_, key)| key).collect();
    for key in &removed {
        entries.remove(key);
    }
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + seconds).unwrap()
    }

    fn source(number: u32) -> Source {
        Source::V4(std::net::Ipv4Addr::from_bits(number))
    }

    fn book(sources_max: usize) -> Book {
        let rules = GuardSettings { sources_max, ..GuardSettings::default() };
        Book { rules, ..Book::default() }
    }

    fn wrong(book: &mut Book, from: u32, account: &str, now: i64) -> bool {
        let tried = to(from, account);
        book.offended(source(from).address(), Offence::WrongCredentials, Some(tried), at(now))
    }

    fn to(from: u32, account: &str) -> Try<'_> {
        Try { source: source(from), account, digest: account.len() as u64 }
    }

    #[test]
    fn a_crowd_of_strangers_frees_nobody() {
        let mut book = book(100);
        for banned in 0..60 {
            assert!((0..9).all(|_| !wrong(&mut book, banned, "erp", 0)));
            assert!(wrong(&mut book, banned, "erp", 0));
        }
        for stranger in 1000..11_000 {
            wrong(&mut book, stranger, "erp", 1);
            assert!(book.sources.len() <= 100);
        }
        assert!((0..60).all(|banned| book.is_banned(source(banned).address(), at(2))));
        assert!(book.sources.contains_key(&source(10_999)), "the newest has its place");
    }

    #[test]
    fn where_all_places_are_bans_the_one_that_ends_soonest_gives_way() {
        let mut book = book(8);
        for (number, now) in (0..9).zip(100..) {
            for _ in 0..10 {
                wrong(&mut book, number, "erp", now);
            }
        }
        let banned: Vec<u32> =
            (0..9).filter(|n| book.is_banned(source(*n).address(), at(200))).collect();
        assert_eq!(banned, [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn many_strangers_slow_each_other_down_and_never_the_owner() {
        let mut book = book(1000);
        book.logged_in(to(1, "erp"), at(0));
        for stranger in 100..130 {
            assert_eq!(book.patience(to(2, "erp"), at(1)), Duration::ZERO, "{stranger}");
            wrong(&mut book, stranger, "erp", 1);
        }
        assert_eq!(book.patience(to(2, "erp"), at(2)), book.rules.delay_max);
        assert_eq!(book.patience(to(1, "erp"), at(2)), Duration::ZERO);
        assert_eq!(book.patience(to(2, "other"), at(2)), Duration::ZERO);
        assert_eq!(book.patience(to(2, "erp"), at(2400)), Duration::ZERO, "it passes");
        assert!(
            !book.is_banned(source(1).address(), at(2))
                && !book.is_banned(source(2).address(), at(2))
        );
    }

    #[test]
    fn the_owners_own_slips_put_no_pressure_on_the_account() {
        let mut book = book(1000);
        book.logged_in(to(1, "erp"), at(0));
        for _ in 0..9 {
            wrong(&mut book, 1, "erp", 1);
        }
        assert!(book.pressed.is_empty());
        book.logged_in(to(1, "erp"), at(2));
        assert_eq!(book.delay(source(1), at(2)), book.rules.delay, "and a login forgives them");
    }

    #[test]
    fn good_sources_are_few_and_fade() {
        let mut book = book(1000);
        for number in 0..100 {
            book.logged_in(to(number, "erp"), at(i64::from(number)));
        }
        assert_eq!(book.good["erp"].len(), GOOD_SOURCES_MAX);
        assert!(book.knows(to(99, "erp"), at(100)) && !book.knows(to(1, "erp"), at(100)));
        assert!(!book.knows(to(99, "erp"), at(91 * 86_400)));
        book.take_changes(10, at(100));
        book.logged_in(to(99, "erp"), at(200));
        assert!(!book.has_changes(), "the same source is not written at every login");
    }

    #[test]
    fn changes_are_told_once_bans_first_and_recalled() {
        let mut book = book(1000);
        wrong(&mut book, 1, "erp", 0);
        for _ in 0..10 {
            wrong(&mut book, 9, "erp", 0);
        }
        book.logged_in(to(3, "erp"), at(0));
        let first = book.take_changes(1, at(0));
        assert_eq!(first.standings[0].0, source(9));
        let second = book.take_changes(10, at(0));
        assert_eq!((second.standings.len(), second.standings[0].0), (1, source(1)));
        assert!(!book.has_changes());

        let standings = [first.standings, second.standings].concat();
        let mut next = super::tests::book(1000);
        next.recall(standings.clone(), first.good.clone(), at(10));
        assert!(next.is_banned(source(9).address(), at(10)) && next.knows(to(3, "erp"), at(10)));
        assert_eq!(next.sources, book.sources);
        let mut late = super::tests::book(1000);
        late.recall(standings, first.good, at(400 * 86_400));
        assert!(late.sources.is_empty() && late.good.is_empty());
        assert_eq!(late.take_changes(10, at(400 * 86_400)).forgotten, [source(1), source(9)]);
    }

    #[test]
    fn a_pardon_frees_one_or_all() {
        let mut book = book(1000);
        for number in [1, 2] {
            for _ in 0..10 {
                wrong(&mut book, number, "erp", 0);
            }
        }
        assert_eq!(book.pardon(Some(source(7)), at(1)), 0);
        assert_eq!(book.pardon(Some(source(1)), at(1)), 1);
        assert!(
            !book.is_banned(source(1).address(), at(1))
                && book.is_banned(source(2).address(), at(1))
        );
        assert_eq!(book.pardon(None, at(1)), 1);
        assert!(book.sources.is_empty());
    }

    #[test]
    fn a_safe_network_is_free_at_once_also_inside_an_ipv6_source() {
        let mut book = book(1000);
        let peer = |last: u128| IpAddr::V6(std::net::Ipv6Addr::from_bits((0x2001 << 112) + last));
        for _ in 0..10 {
            book.offended(peer(1), Offence::WrongCredentials, None, at(0));
        }
        assert!(book.is_banned(peer(1), at(0)) && book.is_banned(peer(2), at(0)));
        book.rules.safe = vec![format!("{}/128", peer(2)).parse().unwrap()];
        assert!(book.is_banned(peer(1), at(0)) && !book.is_banned(peer(2), at(0)));
    }

    #[test]
    fn switched_off_it_knows_nothing() {
        let mut book = book(1000);
        book.rules.enabled = false;
        assert!((0..100).all(|_| !wrong(&mut book, 1, "erp", 0)));
        assert!(!book.is_banned(source(1).address(), at(0)) && !book.has_changes());
    }
}

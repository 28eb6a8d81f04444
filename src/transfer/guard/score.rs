//! How offences add up: points in a window, bans that grow, delays that grow. Arithmetic only:
//! `(state, event, now) -> state`.

use std::time::Duration;

use jiff::Timestamp;

use super::GuardSettings;

/// What a source did before it logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offence {
    UnknownAccount,
    WrongCredentials,
    NoLogin,
    Garbage,
}

impl Offence {
    const ALL: [Offence; 4] =
        [Offence::UnknownAccount, Offence::WrongCredentials, Offence::NoLogin, Offence::Garbage];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Offence::UnknownAccount => "unknown_account",
            Offence::WrongCredentials => "wrong_credentials",
            Offence::NoLogin => "no_login",
            Offence::Garbage => "garbage",
        }
    }

    pub(super) fn from_text(text: &str) -> Option<Offence> {
        Offence::ALL.into_iter().find(|offence| offence.as_str() == text)
    }
}

/// The window is counted in so many slices, and the one that just began: nothing younger than the
/// window is ever forgotten, and nothing counts longer than a slice beyond it.
pub(super) const SLICES: usize = 7;

/// Points of the last window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Score {
    /// The newest slice first.
    pub(super) slices: [u32; SLICES],
    /// Number of the newest slice since 1970.
    pub(super) newest: i64,
}

impl Score {
    fn slice_at(window: Duration, now: Timestamp) -> i64 {
        let slice_ms = (window.as_millis() / (SLICES as u128 - 1)).max(1);
        now.as_millisecond().div_euclid(i64::try_from(slice_ms).unwrap_or(i64::MAX))
    }

    /// The same score as it stands now. Where the clock went back nothing is forgotten; where it went
    /// back by more than the window, or the window was changed, all points count as just earned.
    fn at(mut self, window: Duration, now: Timestamp) -> Score {
        let slice = Score::slice_at(window, now);
        if self.newest.saturating_sub(slice) >= SLICES as i64 {
            let all = self.slices.iter().fold(0, |all, slice| slice.saturating_add(all));
            self.slices = [0; SLICES];
            (self.slices[0], self.newest) = (all, slice);
        }
        let passed = usize::try_from(slice.saturating_sub(self.newest)).unwrap_or(0).min(SLICES);
        if passed > 0 {
            self.slices.rotate_right(passed);
            self.slices[..passed].fill(0);
            self.newest = slice;
        }
        self
    }

    fn add(self, points: u32, window: Duration, now: Timestamp) -> Score {
        let mut score = self.at(window, now);
        score.slices[0] = score.slices[0].saturating_add(points);
        score
    }

    /// Takes out what `other` counted at the same times.
    fn without(self, other: Score, window: Duration, now: Timestamp) -> Score {
        let (mut score, other) = (self.at(window, now), other.at(window, now));
        for (slice, less) in score.slices.iter_mut().zip(other.slices) {
            *slice = slice.saturating_sub(less);
        }
        score
    }

    pub(super) fn total(self, window: Duration, now: Timestamp) -> u32 {
        self.at(window, now).slices.iter().fold(0, |total, slice| total.saturating_add(*slice))
    }
}

/// Accounts whose failures a source is remembered apart for; those of further ones are not forgiven.
const ACCOUNTS_MAX: usize = 4;

/// What is known of a source.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Standing {
    pub(super) score: Score,
    /// The part of the score that came from trying an account, newest first; forgiven when it logs in.
    /// Accounts stand here as digests.
    pub(super) by_account: Vec<(u64, Score)>,
    /// Bans so far.
    pub(super) bans: u32,
    pub(super) banned_until: Option<Timestamp>,
    /// The last offence.
    pub(super) reason: Option<Offence>,
    pub(super) last: Timestamp,
}

/// What happens to a source.
#[derive(Debug, Clone, Copy)]
pub(super) enum Event {
    /// `account` is a digest of the name that was tried, where one was.
    Offended {
        offence: Offence,
        account: Option<u64>,
        safe: bool,
    },
    LoggedIn {
        account: u64,
    },
    /// The operator lifts its ban and forgets its score.
    Pardoned,
}

impl Standing {
    /// The standing after an event.
    pub(super) fn after(self, event: Event, rules: &GuardSettings, now: Timestamp) -> Standing {
        let standing = self.ban_served(rules, now);
        match event {
            // What still comes from open connections does not lengthen a ban.
            Event::Offended { .. } if standing.banned_until.is_some() => standing,
            Event::Offended { offence, account, safe } => {
                standing.offended(offence, account, safe, rules, now)
            }
            Event::LoggedIn { account } => standing.logged_in(account, rules, now),
            Event::Pardoned => Standing { last: now, ..Standing::default() },
        }
    }

    /// A ban that is over settles the score; how many there were is remembered for a while.
    fn ban_served(mut self, rules: &GuardSettings, now: Timestamp) -> Standing {
        if let Some(until) = self.banned_until
            && until <= now
        {
            self.banned_until = None;
            self.score = Score::default();
            self.by_account.clear();
            self.last = until;
        }
        if self.banned_until.is_none() && self.last + rules.ban_max < now {
            self.bans = 0;
        }
        self
    }

    fn offended(
        mut self,
        offence: Offence,
        account: Option<u64>,
        safe: bool,
        rules: &GuardSettings,
        now: Timestamp,
    ) -> Standing {
        let points = rules.points(offence);
        self.score = self.score.add(points, rules.window, now);
        self.reason = Some(offence);
        self.last = self.last.max(now);
        if let Some(account) = account {
            let at = self.by_account.iter().position(|(known, _)| *known == account);
            let score = at.map_or_else(Score::default, |at| self.by_account.remove(at).1);
            self.by_account.insert(0, (account, score.add(points, rules.window, now)));
            self.by_account.truncate(ACCOUNTS_MAX);
        }
        if !safe && self.score.total(rules.window, now) >= rules.threshold {
            self.banned_until = Some(now + rules.ban_after(self.bans));
            self.bans = self.bans.saturating_add(1);
        }
        self
    }

    /// A login shows that its account's failures were slips; those against other accounts stay, since
    /// one's own account must not buy guesses at another's.
    fn logged_in(mut self, account: u64, rules: &GuardSettings, now: Timestamp) -> Standing {
        if let Some(at) = self.by_account.iter().position(|(known, _)| *known == account) {
            let (_, score) = self.by_account.remove(at);
            self.score = self.score.without(score, rules.window, now);
        }
        self
    }

    pub(super) fn is_banned(&self, now: Timestamp) -> bool {
        self.banned_until.is_some_and(|until| now < until)
    }

    pub(super) fn total(&self, rules: &GuardSettings, now: Timestamp) -> u32 {
        self.score.total(rules.window, now)
    }

    /// True where nothing is left to remember.
    pub(super) fn is_blank(&self, rules: &GuardSettings, now: Timestamp) -> bool {
        let standing = self.clone().ban_served(rules, now);
        let clean = standing.banned_until.is_none() && standing.bans == 0;
        clean && standing.total(rules, now) == 0
    }
}

impl GuardSettings {
    /// How long the next ban is, after so many.
    fn ban_after(&self, bans: u32) -> Duration {
        let factor = self.ban_factor.powi(i32::try_from(bans).unwrap_or(i32::MAX));
        let ban = Duration::try_from_secs_f64(self.ban.as_secs_f64() * factor);
        ban.unwrap_or(self.ban_max).min(self.ban_max.max(self.ban))
    }

    /// How long a refusal takes at this score.
    pub(super) fn delay_at(&self, score: u32) -> Duration {
        if !self.enabled {
            return self.delay;
        }
        let share = f64::from(score) / f64::from(self.threshold.max(1));
        let more = self.delay_max.saturating_sub(self.delay);
        self.delay + more.mul_f64(share.min(1.0))
    }

    /// Points against one account, from sources that it does not know.
    pub(super) fn pressed(&self, score: Score, offence: Offence, now: Timestamp) -> Score {
        score.add(self.points(offence), self.window, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUESS: Event =
        Event::Offended { offence: Offence::WrongCredentials, account: Some(1), safe: false };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + seconds).unwrap()
    }

    fn offended(offence: Offence, account: u64) -> Event {
        Event::Offended { offence, account: Some(account), safe: false }
    }

    /// Guesses in seconds from the start; which of them were still answered.
    fn answered(rules: &GuardSettings, guesses: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut standing = Standing::default();
        let mut answered = Vec::new();
        for second in guesses {
            if !standing.is_banned(at(second)) {
                answered.push(second);
                standing = standing.after(GUESS, rules, at(second));
            }
        }
        answered
    }

    #[test]
    fn in_no_half_hour_are_there_more_than_ten_guesses() {
        let rules = GuardSettings::default();
        for (pause, first_bans) in [(1, 10), (60, 10), (179, 10), (250, 0)] {
            let answered = answered(&rules, (0..5000).map(|n| n * pause));
            for (n, first) in answered.iter().enumerate() {
                let within = answered[n..].iter().take_while(|second| **second < first + 1800);
                assert!(within.count() <= 10, "every {pause} s, from {first} on");
            }
            if first_bans > 0 {
                assert_eq!(answered[..10], (0..10).map(|n| n * pause).collect::<Vec<_>>());
                assert!(answered[10] >= 9 * pause + 1800, "every {pause} s");
            }
        }
    }

    #[test]
    fn bans_grow_to_their_cap_and_are_forgotten() {
        let rules = GuardSettings::default();
        let mut standing = Standing::default();
        let mut now = 0;
        let mut minutes = Vec::new();
        for _ in 0..13 {
            while !standing.is_banned(at(now)) {
                standing = standing.after(GUESS, &rules, at(now));
            }
            let until = standing.banned_until.unwrap();
            minutes.push(until.duration_since(at(now)).as_secs() / 60);
            now = until.as_second() + 1 - 1_780_000_000;
        }
        assert_eq!(minutes[..4], [30, 45, 67, 101]);
        assert_eq!(minutes[10..], [1440, 1440, 1440]);
        let day = 24 * 3600;
        assert!(!standing.is_blank(&rules, at(now + day - 2)));
        assert!(standing.is_blank(&rules, at(now + day + 1)));
        let late = (0..10).fold(standing, |s, _| s.after(GUESS, &rules, at(now + 2 * day)));
        let again = late.banned_until.unwrap().duration_since(at(now + 2 * day));
        assert_eq!(again.as_secs(), 1800, "begins anew");
    }

    #[test]
    fn each_offence_costs_its_points_and_counts_for_its_window() {
        let rules = GuardSettings::default();
        let rows = [
            (Offence::UnknownAccount, 10),
            (Offence::WrongCredentials, 10),
            (Offence::NoLogin, 2),
            (Offence::Garbage, 5),
        ];
        for (offence, points) in rows {
            let standing = Standing::default().after(offended(offence, 1), &rules, at(0));
            let total = |second| standing.total(&rules, at(second));
            assert_eq!((total(0), total(1800), total(2100)), (points, points, 0), "{offence:?}");
            assert_eq!(total(-600), points, "a clock that went back forgets nothing");
            let later = |seconds: i64| standing.score.at(rules.window, at(-86_400 + seconds));
            assert_eq!(later(0).total(rules.window, at(-86_400)), points, "nor by a day");
            assert_eq!(later(0).total(rules.window, at(-86_400 + 2100)), 0, "nor keeps for ever");
            let longer = rules.window * 10;
            assert_eq!(standing.score.total(longer, at(0)), points, "with another window");
            let again = standing.score.add(0, longer, at(0));
            assert_eq!(again.total(longer, at(21_000)), 0, "with another window, in time");
            assert_eq!(Offence::from_text(offence.as_str()), Some(offence));
        }
    }

    #[test]
    fn a_login_forgives_its_own_account_only() {
        let rules = GuardSettings::default();
        let wrong = |account| offended(Offence::WrongCredentials, account);
        let mut standing = Standing::default();
        for (second, account) in [(0, 1), (400, 1), (800, 2), (1200, 1)] {
            standing = standing.after(wrong(account), &rules, at(second));
        }
        assert_eq!(standing.total(&rules, at(1200)), 40);
        let standing = standing.after(Event::LoggedIn { account: 1 }, &rules, at(1300));
        assert_eq!(standing.total(&rules, at(1300)), 10);
        let again = standing.clone().after(Event::LoggedIn { account: 1 }, &rules, at(1300));
        assert_eq!(again, standing, "nothing is forgiven twice");
        let other = standing.after(Event::LoggedIn { account: 3 }, &rules, at(1300));
        assert_eq!(other.total(&rules, at(1300)), 10);
    }

    #[test]
    fn safe_networks_are_delayed_and_never_banned() {
        let rules = GuardSettings::default();
        let safe = Event::Offended { offence: Offence::Garbage, account: None, safe: true };
        let standing = (0..100).fold(Standing::default(), |s, _| s.after(safe, &rules, at(0)));
        assert!(!standing.is_banned(at(0)));
        assert_eq!(rules.delay_at(standing.total(&rules, at(0))), rules.delay_max);
    }

    #[test]
    fn a_ban_is_not_lengthened_and_can_be_lifted() {
        let rules = GuardSettings::default();
        let banned = (0..10).fold(Standing::default(), |s, _| s.after(GUESS, &rules, at(0)));
        let same = banned.clone().after(GUESS, &rules, at(60));
        assert_eq!(same, banned);
        let free = banned.after(Event::Pardoned, &rules, at(60));
        assert!(!free.is_banned(at(60)) && free.is_blank(&rules, at(60)));
    }

    #[test]
    fn the_delay_grows_evenly_to_its_maximum() {
        let rules = GuardSettings::default();
        for (score, ms) in [(0, 1000), (10, 1900), (50, 5500), (100, 10_000), (9999, 10_000)] {
            assert_eq!(rules.delay_at(score), Duration::from_millis(ms), "{score}");
        }
        let off = GuardSettings { enabled: false, ..rules };
        assert_eq!(off.delay_at(9999), off.delay);
    }
}

//! Tests of the turnstile's rule.
#![allow(clippy::disallowed_methods, reason = "any starting point will do")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::line::Place;
use super::{Comer, Coming, Decision, Entry, Gate, Limit, Limits, Rate, TenantRates, Word};
use crate::codes::ReasonCode;
use crate::model::{Category, Urgency};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const LIMITS: Limits =
    Limits { rate: None, concurrency: 64, pair_rate: None, failures_max: 10 };

pub(super) fn comer(category: Category, lane: u32, pair: u64) -> Comer {
    let urgency = Urgency::new(category, 5);
    Comer { place: Place { urgency, lane, weight: 1, batch: lane.into(), cost: 1 }, pair }
}

pub(super) fn marketing(lane: u32, pair: u64) -> Comer {
    comer(Category::Marketing, lane, pair)
}

/// A gate, the tenants' rates, and what was decided.
pub(super) struct Scene {
    pub(super) gate: Gate,
    pub(super) tenants: TenantRates,
    pub(super) now: Instant,
    pub(super) decided: BTreeMap<u64, Decision>,
}

impl Scene {
    pub(super) fn new(limits: Limits) -> Scene {
        let now = Instant::now();
        let (gate, tenants) = (Gate::new(&limits, now), TenantRates::default());
        Scene { gate, tenants, now, decided: BTreeMap::new() }
    }

    pub(super) fn come(&mut self, comer: Comer) -> Coming {
        let coming = self.gate.come(comer, self.now, &mut self.tenants);
        self.advance();
        coming
    }

    pub(super) fn go(&mut self, comer: Comer) -> Entry {
        match self.come(comer) {
            Coming::Go(entry) => entry,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn advance(&mut self) {
        let decided = &mut self.decided;
        self.gate.advance(self.now, &mut self.tenants, |number, decision| {
            decided.insert(number, decision);
        });
    }

    pub(super) fn settle(&mut self, entry: Entry, comer: &Comer, word: Word) -> super::Effects {
        let effects = self.gate.settle(entry, comer, word, self.now);
        self.advance();
        effects
    }

    /// All that is decided when its time has come, up to `seconds` from now.
    pub(super) fn wait(&mut self, seconds: u32) {
        let end = self.now + SECOND * seconds;
        while let Some(at) = self.gate.wake_at().filter(|at| *at <= end) {
            self.now = at;
            self.advance();
        }
        self.now = end;
    }
}

#[test]
fn those_beyond_the_limit_stand_in_line_and_the_urgent_go_first() {
    let mut scene = Scene::new(Limits { concurrency: 2, ..LIMITS });
    let first = scene.go(marketing(1, 1));
    scene.go(marketing(1, 2));
    let waiting: Vec<Coming> = [
        scene.come(marketing(1, 3)),
        scene.come(marketing(2, 4)),
        scene.come(comer(Category::Authentication, 3, 5)),
    ]
    .into();
    let numbers = [1, 2, 3].map(|number| Coming::Wait(number, Limit::Concurrency));
    assert_eq!(waiting, numbers);
    scene.settle(first, &marketing(1, 1), Word::Took);
    assert_eq!(scene.decided.keys().copied().collect::<Vec<u64>>(), [3]);
    scene.gate.step_out(1);
    let entry = scene.decided[&3].unwrap();
    let urgent = comer(Category::Authentication, 3, 5);
    scene.gate.give_back(entry, &urgent, scene.now, &mut scene.tenants);
    scene.advance();
    assert!(!entry.is_probe);
    assert_eq!(scene.decided.keys().copied().collect::<Vec<u64>>(), [2, 3]);
}

#[test]
fn the_rate_counts_parts_and_is_halved_when_the_provider_says_so() {
    let rate = Some(Rate::parse("10/s").unwrap());
    let mut scene = Scene::new(Limits { rate, ..LIMITS });
    let mut parts = marketing(1, 1);
    parts.place.cost = 10;
    let entry = scene.go(parts);
    assert_eq!(scene.come(marketing(1, 2)), Coming::Wait(1, Limit::Rate));
    scene.wait(0);
    assert!(scene.decided.is_empty());
    scene.wait(2);
    assert!(scene.decided[&1].is_ok());
    let effects = scene.settle(entry, &parts, Word::TooFast(None));
    assert!(effects.slowed);
    assert_eq!(scene.gate.standing(scene.now).per_second, Some(5.0));
    // It rests for a second; a second one that was under way with it changes nothing.
    assert_eq!(scene.come(marketing(1, 3)), Coming::Wait(2, Limit::Rest));
    let other = scene.decided[&1].unwrap();
    assert!(!scene.settle(other, &marketing(1, 2), Word::TooFast(None)).slowed);
    scene.wait(2);
    assert!(scene.decided[&2].is_ok());
}

#[test]
fn a_tenant_at_its_rate_stands_in_nobody_elses_way() {
    let mut scene = Scene::new(LIMITS);
    scene.tenants.set(1, Some(Rate::parse("1/s").unwrap()), scene.now);
    scene.go(marketing(1, 1));
    assert_eq!(scene.come(marketing(1, 2)), Coming::Wait(1, Limit::TenantRate));
    assert_eq!(scene.come(marketing(2, 3)), Coming::Wait(2, Limit::Concurrency));
    assert!(scene.decided[&2].is_ok(), "the other tenant goes at once");
    scene.wait(2);
    assert!(scene.decided[&1].is_ok());
}

#[test]
fn a_pair_at_its_rate_comes_again_and_the_next_one_goes() {
    let pair_rate = Some(Rate::parse("10/min").unwrap());
    let mut scene = Scene::new(Limits { pair_rate, ..LIMITS });
    scene.go(marketing(1, 1));
    let Coming::Later(later) = scene.come(marketing(1, 1)) else { panic!("it must come again") };
    assert_eq!((later.wait.as_secs(), later.why, later.elsewhere), (6, Limit::PairRate, false));
    scene.go(marketing(1, 2));
    scene.now += 6 * SECOND;
    scene.go(marketing(1, 1));
}

/// A recipient that is always "too fast" went first again and again, and nobody behind it.
#[test]
fn one_recipient_that_is_always_refused_starves_nobody() {
    let mut scene = Scene::new(Limits { concurrency: 1, ..LIMITS });
    let (refused, mut gone) = (marketing(1, 7), 0);
    let entry = scene.go(refused);
    let own = scene.settle(entry, &refused, Word::TooFast(None)).own_rest.unwrap();
    let mut due = scene.now + own;
    let end = scene.now + 60 * SECOND;
    let mut pair = 100;
    while scene.now < end {
        let next = if scene.now >= due { refused } else { marketing(1, pair) };
        let entry = match scene.come(next) {
            Coming::Go(entry) => entry,
            Coming::Wait(number, _) => {
                while !scene.decided.contains_key(&number) {
                    scene.now = scene.gate.wake_at().unwrap();
                    scene.advance();
                }
                scene.decided[&number].unwrap()
            }
            Coming::Later(later) => panic!("{later:?}"),
        };
        if next.pair == refused.pair {
            let effects = scene.settle(entry, &refused, Word::TooFast(None));
            due = scene.now + effects.own_rest.unwrap();
        } else {
            scene.settle(entry, &next, Word::Took);
            (pair, gone) = (pair + 1, gone + 1);
            scene.now += SECOND / 10;
        }
    }
    assert!(gone > 200, "only {gone} went beside it");
}

#[test]
fn a_provider_that_is_away_sends_all_home_but_a_probe_which_costs_nothing() {
    let mut scene = Scene::new(Limits { concurrency: 4, failures_max: 3, ..LIMITS });
    let comers: Vec<Comer> = (0..4).map(|pair| marketing(1, pair)).collect();
    let entries: Vec<Entry> = comers.iter().map(|comer| scene.go(*comer)).collect();
    scene.come(marketing(1, 9));
    let opened: Vec<Option<ReasonCode>> =
        (0..4).map(|at| scene.settle(entries[at], &comers[at], Word::Failed).opened).collect();
    assert_eq!(opened, [None, None, Some(ReasonCode::DeliveryNetwork), None]);
    let away = Limit::Breaker(ReasonCode::DeliveryNetwork);
    assert_eq!(scene.decided[&1].unwrap_err().why, away, "who stood in line goes home");
    let Coming::Later(later) = scene.come(marketing(1, 10)) else { panic!("it is away") };
    assert_eq!((later.wait, later.why, later.elsewhere), (SECOND, away, true));
    scene.now += SECOND;
    assert_eq!(scene.gate.closed_to(scene.now), None, "the probe is promised");
    assert!(scene.gate.closed_to(scene.now).is_some());
    let probe = scene.go(marketing(1, 11));
    assert!(probe.is_probe);
    assert!(matches!(scene.come(marketing(1, 12)), Coming::Later(_)));
    let effects = scene.settle(probe, &marketing(1, 11), Word::Took);
    assert!(effects.closed);
    assert!(!scene.go(marketing(1, 12)).is_probe);
}

#[test]
fn what_began_before_the_account_was_refused_does_not_open_it_again() {
    let mut scene = Scene::new(LIMITS);
    let (old, refused) = (scene.go(marketing(1, 1)), scene.go(marketing(1, 2)));
    let credentials = ReasonCode::DeliveryProviderCredentials;
    let word = Word::RefusedAccount(credentials);
    assert_eq!(scene.settle(refused, &marketing(1, 2), word).opened, Some(credentials));
    assert!(!scene.settle(old, &marketing(1, 1), Word::Took).closed);
    let standing = scene.gate.standing(scene.now);
    assert_eq!(standing.closed, Some((30 * SECOND, credentials)));
}

/// One number that an account may not write to: it opened the breaker for all, won the probes, and opened
/// it again each time it was due.
#[test]
fn a_row_refused_for_its_own_sake_closes_the_provider_for_nobody_else() {
    let mut scene = Scene::new(LIMITS);
    let credentials = ReasonCode::DeliveryProviderCredentials;
    let word = Word::RefusedAccount(credentials);
    let other = |scene: &mut Scene, pair: u64, word: Word| {
        let comer = marketing(1, pair);
        let entry = scene.go(comer);
        scene.settle(entry, &comer, word)
    };
    let mut rests = Vec::new();
    for pair in 100..106 {
        assert!(other(&mut scene, pair, Word::Took).opened.is_none());
        assert!(other(&mut scene, 7, word).opened.is_none(), "it is its own");
        let Coming::Later(later) = scene.come(marketing(1, 7)) else { panic!("it must rest") };
        assert_eq!(scene.gate.standing(scene.now).closed, None);
        rests.push(later.wait.as_secs());
        scene.now += later.wait;
    }
    assert_eq!(rests, [30, 30, 30, 30, 32, 64]);
    // Two of them, and nothing taken between: it is the account.
    assert!(other(&mut scene, 106, Word::Took).opened.is_none());
    assert!(other(&mut scene, 8, word).opened.is_none());
    assert_eq!(other(&mut scene, 9, word).opened, Some(credentials));
}

#[test]
fn a_refused_row_is_the_last_to_find_out_whether_the_account_is_taken_again() {
    let mut scene = Scene::new(LIMITS);
    let (refused, other) = (marketing(1, 7), marketing(1, 8));
    let entry = scene.go(refused);
    let credentials = ReasonCode::DeliveryProviderCredentials;
    scene.settle(entry, &refused, Word::RefusedAccount(credentials));
    scene.now += 30 * SECOND;
    assert_eq!(scene.gate.closed_to(scene.now), None, "it asks first, and is promised the probe");
    assert!(matches!(scene.come(refused), Coming::Later(_)));
    scene.now += SECOND;
    assert_eq!(scene.gate.closed_to(scene.now), None);
    let probe = scene.go(other);
    assert!(probe.is_probe && scene.settle(probe, &other, Word::Took).closed);
    scene.now += 4 * SECOND;
    let entry = scene.go(refused);
    let effects = scene.settle(entry, &refused, Word::RefusedAccount(credentials));
    assert_eq!((effects.opened, scene.gate.standing(scene.now).closed), (None, None));
}

/// A failure makes all others late that are under way: those that fail counted, those that go did not.
#[test]
fn a_provider_at_which_most_messages_go_is_not_away() {
    let mut scene = Scene::new(Limits { failures_max: 2, ..LIMITS });
    let comers: Vec<Comer> = (0..4).map(|pair| marketing(1, pair)).collect();
    let entries: Vec<Entry> = comers.iter().map(|comer| scene.go(*comer)).collect();
    for (at, (entry, comer)) in entries.into_iter().zip(&comers).enumerate() {
        let word = if at % 2 == 0 { Word::Failed } else { Word::Took };
        assert_eq!(scene.settle(entry, comer, word).opened, None, "{at}");
    }
}

#[test]
fn a_rest_promises_no_probe() {
    let mut scene = Scene::new(Limits { failures_max: 1, ..LIMITS });
    let [first, second, third] = [1, 2, 3].map(|pair| scene.go(marketing(1, pair)));
    scene.settle(first, &marketing(1, 1), Word::TooFast(Some(20 * SECOND)));
    scene.settle(third, &marketing(1, 3), Word::TooFast(Some(20 * SECOND)));
    scene.settle(second, &marketing(1, 2), Word::Failed);
    scene.now += 2 * SECOND;
    assert_eq!(scene.gate.closed_to(scene.now).unwrap().why, Limit::Rest);
    scene.now += 18 * SECOND;
    assert_eq!(scene.gate.closed_to(scene.now), None, "the probe was not used up");
}

#[test]
fn nobody_stands_in_line_for_ever() {
    let mut scene = Scene::new(Limits { concurrency: 1, ..LIMITS });
    scene.go(marketing(1, 1));
    scene.come(marketing(1, 2));
    scene.wait(59);
    assert!(scene.decided.is_empty());
    scene.wait(1);
    assert_eq!(scene.decided[&1].unwrap_err().why, Limit::Turn);
    assert_eq!((scene.gate.standing(scene.now).waiting, scene.gate.wake_at()), (0, None));
}

/// Whatever comes, ends, gives up and answers: the limits hold, everybody is decided about once, and
/// nothing is left in the end.
#[test]
fn limits_hold_whatever_happens() {
    for seed in 1..200_u64 {
        let mut dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut roll = |below: u64| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            dice % below
        };
        let rate = (roll(2) == 0).then(|| Rate::parse("50/s").unwrap());
        let pair_rate = (roll(3) == 0).then(|| Rate::parse("1/s").unwrap());
        let mut scene = Scene::new(Limits { rate, concurrency: 8, pair_rate, failures_max: 5 });
        scene.tenants.set(2, Some(Rate::parse("5/s").unwrap()), scene.now);
        let mut in_line: BTreeMap<u64, Comer> = BTreeMap::new();
        let mut under_way: Vec<(Entry, Comer)> = Vec::new();
        let mut given_up = BTreeSet::new();
        for _ in 0..400 {
            match roll(8) {
                0..=3 => {
                    let category = Category::ALL[roll(4) as usize];
                    let comer = comer(category, roll(4) as u32, roll(20));
                    match scene.come(comer) {
                        Coming::Go(entry) => under_way.push((entry, comer)),
                        Coming::Wait(number, _) => drop(in_line.insert(number, comer)),
                        Coming::Later(_) => {}
                    }
                }
                4..=5 if !under_way.is_empty() => {
                    let (entry, comer) =
                        under_way.swap_remove(roll(under_way.len() as u64) as usize);
                    let word = match roll(12) {
                        0 => Word::TooFast((roll(2) == 0).then(|| SECOND * roll(20) as u32)),
                        1..=3 => Word::Failed,
                        4 => Word::RefusedAccount(ReasonCode::DeliveryProviderBalance),
                        5 => Word::Answered,
                        _ => Word::Took,
                    };
                    scene.settle(entry, &comer, word);
                }
                6 if !under_way.is_empty() => {
                    let (entry, comer) = under_way.pop().unwrap();
                    scene.gate.give_back(entry, &comer, scene.now, &mut scene.tenants);
                    scene.advance();
                }
                7 if !in_line.is_empty() => {
                    let number = *in_line.keys().nth(roll(in_line.len() as u64) as usize).unwrap();
                    in_line.remove(&number);
                    scene.gate.step_out(number);
                    given_up.insert(number);
                }
                _ => scene.wait(roll(3) as u32),
            }
            for (number, decision) in std::mem::take(&mut scene.decided) {
                let comer =
                    in_line.remove(&number).expect("it stood in line, and was decided once");
                assert!(!given_up.contains(&number));
                under_way.extend(decision.ok().map(|entry| (entry, comer)));
            }
            let standing = scene.gate.standing(scene.now);
            assert_eq!((standing.under_way, standing.waiting), (under_way.len(), in_line.len()));
            assert!(under_way.len() <= 8, "seed {seed}");
        }
        for (entry, comer) in under_way {
            scene.settle(entry, &comer, Word::Took);
        }
        scene.wait(3600);
        // Those that went now never end: the others were sent home after a minute.
        assert_eq!(scene.gate.standing(scene.now).waiting, 0, "seed {seed}");
    }
}

/// A number in a region that the account may not send to, and nobody else in line.
#[test]
fn one_row_that_is_refused_again_and_again_does_not_lengthen_the_rest_for_others() {
    let mut scene = Scene::new(LIMITS);
    let refused = Word::RefusedAccount(ReasonCode::DeliveryProviderCredentials);
    let end = scene.now + SECOND * 4 * 3600;
    let mut tries = 0;
    while scene.now < end {
        match scene.come(marketing(1, 1)) {
            Coming::Go(entry) => {
                scene.settle(entry, &marketing(1, 1), refused);
                tries += 1;
            }
            Coming::Later(later) => scene.wait(later.wait.as_secs() as u32 + 1),
            waits => panic!("{waits:?}"),
        }
        let others = scene.gate.standing(scene.now).closed.map_or(0, |(rest, _)| rest.as_secs());
        assert!(others <= 60, "{others} s after {tries} tries");
    }
    assert!((20..60).contains(&tries), "it comes ever more rarely itself: {tries}");
    let urgent = comer(Category::Authentication, 2, 2);
    scene.wait(60);
    let entry = scene.go(urgent);
    assert!(entry.is_probe && scene.settle(entry, &urgent, Word::Took).closed);
}

#[test]
fn a_long_rest_holds_for_all_once_another_one_is_told_the_same() {
    let mut scene = Scene::new(LIMITS);
    let hour = Word::TooFast(Some(SECOND * 3600));
    let rest =
        |scene: &Scene| scene.gate.standing(scene.now).closed.map_or(0, |(rest, _)| rest.as_secs());
    // Meant for one recipient: the others lose some seconds, and nothing of the rate.
    let entry = scene.go(marketing(1, 1));
    let effects = scene.settle(entry, &marketing(1, 1), hour);
    assert_eq!((effects.own_rest, effects.slowed), (Some(SECOND * 3600), false));
    assert_eq!(rest(&scene), 5);
    scene.wait(6);
    let entry = scene.go(marketing(1, 2));
    assert!(matches!(scene.come(marketing(1, 3)), Coming::Wait(..)), "one finds out");
    scene.settle(entry, &marketing(1, 2), Word::Took);
    scene.go(marketing(1, 4));
    assert_eq!(rest(&scene), 0);
    assert!(
        matches!(scene.come(marketing(1, 1)), Coming::Later(later) if later.why == Limit::PairRate)
    );
    // Meant for all: a second one is told so.
    let mut scene = Scene::new(LIMITS);
    for (pair, expected) in [(1, 5), (2, 3600)] {
        let entry = scene.go(marketing(1, pair));
        scene.settle(entry, &marketing(1, pair), hour);
        assert_eq!(rest(&scene), expected);
        scene.wait(6);
    }
    // An hour later it still holds: one finds that out.
    scene.wait(3600);
    let entry = scene.go(marketing(1, 3));
    assert!(scene.settle(entry, &marketing(1, 3), hour).slowed);
    assert_eq!(rest(&scene), 3600);
}

#[test]
fn what_passed_hears_what_came_in_the_way_while_it_waited_for_a_connection() {
    let mut scene = Scene::new(LIMITS);
    let [first, second, third] = [1, 2, 3].map(|pair| scene.go(marketing(1, pair)));
    assert_eq!(scene.gate.closed_meanwhile(first, scene.now), None);
    let refused = Word::RefusedAccount(ReasonCode::DeliveryProviderCredentials);
    scene.settle(first, &marketing(1, 1), refused);
    let later = scene.gate.closed_meanwhile(second, scene.now).unwrap();
    assert_eq!((later.wait, later.elsewhere), (30 * SECOND, true));
    scene.gate.give_back(second, &marketing(1, 2), scene.now, &mut scene.tenants);
    scene.settle(third, &marketing(1, 3), Word::Took);
    scene.wait(31);
    let probe = scene.go(marketing(1, 2));
    assert_eq!(scene.gate.closed_meanwhile(probe, scene.now), None, "it is what finds out");
}

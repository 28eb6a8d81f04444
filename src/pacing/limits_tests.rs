//! What the limits of a gate say and give back.
#![allow(clippy::disallowed_methods, reason = "any starting point will do")]

use std::time::Duration;

use super::gate_tests::{LIMITS, SECOND, Scene, marketing};
use super::{Coming, Limit, Limits, Rate, Word};
use crate::codes::ReasonCode;

fn rate(text: &str) -> Option<Rate> {
    Some(Rate::parse(text).unwrap())
}

#[test]
fn every_limit_has_its_name_in_metrics_and_its_reason_on_the_row() {
    let throttled = ReasonCode::DeliveryThrottled;
    for (limit, name, code) in [
        (Limit::Concurrency, "concurrency", throttled),
        (Limit::Rate, "rate", throttled),
        (Limit::TenantRate, "tenant_rate", throttled),
        (Limit::PairRate, "pair_rate", ReasonCode::DeliveryRecipientLimit),
        (Limit::Rest, "provider_rest", throttled),
        (Limit::Breaker(ReasonCode::DeliveryNetwork), "breaker", ReasonCode::DeliveryNetwork),
        (Limit::Turn, "turn", throttled),
        (Limit::WarmUp, "warm_up", throttled),
    ] {
        assert_eq!((limit.as_str(), limit.code()), (name, code));
    }
}

#[test]
fn what_is_given_back_serves_the_next() {
    let mut scene = Scene::new(Limits { rate: rate("1/min"), pair_rate: rate("1/min"), ..LIMITS });
    scene.tenants.set(1, rate("1/min"), scene.now);
    for _ in 0..3 {
        let entry = scene.go(marketing(1, 1));
        scene.gate.give_back(entry, &marketing(1, 1), scene.now, &mut scene.tenants);
        scene.advance();
    }
    scene.go(marketing(1, 1));
    assert!(matches!(scene.come(marketing(1, 2)), Coming::Wait(1, Limit::Rate)));
    assert!(scene.gate.has_line());
    scene.gate.step_out(1);
    assert!(!scene.gate.has_line());
}

#[test]
fn a_probe_that_is_given_back_is_soon_followed_by_another() {
    let mut scene = Scene::new(LIMITS);
    let refused = Word::RefusedAccount(ReasonCode::DeliveryProviderCredentials);
    let entry = scene.go(marketing(1, 1));
    scene.settle(entry, &marketing(1, 1), refused);
    scene.now += 30 * SECOND;
    let probe = scene.go(marketing(1, 2));
    scene.gate.give_back(probe, &marketing(1, 2), scene.now, &mut scene.tenants);
    scene.now += SECOND;
    assert!(scene.go(marketing(1, 3)).is_probe);
}

#[test]
fn no_hint_makes_a_provider_rest_longer_than_an_hour() {
    let mut scene = Scene::new(LIMITS);
    let day = Word::TooFast(Some(SECOND * 24 * 3600));
    for pair in [1, 2] {
        scene.wait(6);
        let entry = scene.go(marketing(1, pair));
        assert_eq!(scene.settle(entry, &marketing(1, pair), day).own_rest, Some(SECOND * 3600));
    }
    let throttled = ReasonCode::DeliveryThrottled;
    assert_eq!(scene.gate.standing(scene.now).closed, Some((SECOND * 3600, throttled)));
    let Coming::Later(later) = scene.come(marketing(1, 3)) else { panic!("it rests") };
    assert_eq!((later.wait, later.why, later.elsewhere), (SECOND * 3600, Limit::Rest, true));
    scene.wait(3600);
    assert_eq!(scene.gate.standing(scene.now).closed, None);
    scene.go(marketing(1, 3));
}

#[test]
fn a_short_rest_is_waited_for_in_line() {
    for seconds in [1, 4, 5] {
        let mut scene = Scene::new(LIMITS);
        let entry = scene.go(marketing(1, 1));
        scene.settle(entry, &marketing(1, 1), Word::TooFast(Some(SECOND * seconds)));
        assert_eq!(scene.come(marketing(1, 2)), Coming::Wait(1, Limit::Rest));
        assert_eq!(scene.gate.closed_to(scene.now), None, "rows may be made ready meanwhile");
        assert_eq!(scene.gate.wake_at(), Some(scene.now + SECOND * seconds));
        scene.wait(seconds);
        assert!(scene.decided[&1].is_ok());
    }
}

#[test]
fn who_has_mended_the_account_has_it_tried_at_once() {
    let mut scene = Scene::new(LIMITS);
    let credentials = ReasonCode::DeliveryProviderCredentials;
    let entry = scene.go(marketing(1, 1));
    scene.settle(entry, &marketing(1, 1), Word::RefusedAccount(credentials));
    assert!(matches!(scene.come(marketing(1, 2)), Coming::Later(_)));
    scene.gate.look_now(scene.now);
    assert_eq!(scene.gate.standing(scene.now).closed, Some((Duration::ZERO, credentials)));
    assert!(scene.go(marketing(1, 2)).is_probe);
}

#[test]
fn a_provider_without_a_rate_is_free_again_when_it_no_longer_says_too_fast() {
    let mut scene = Scene::new(LIMITS);
    let entry = scene.go(marketing(1, 1));
    assert_eq!(scene.gate.standing(scene.now).per_second, None);
    assert!(scene.settle(entry, &marketing(1, 1), Word::TooFast(None)).slowed);
    assert_eq!(scene.gate.standing(scene.now).per_second, Some(5.0));
    scene.wait(1);
    let entry = scene.go(marketing(1, 2));
    scene.settle(entry, &marketing(1, 2), Word::Took);
    assert_eq!(scene.come(marketing(1, 3)), Coming::Wait(1, Limit::Rate));
    scene.wait(400);
    scene.settle(scene.decided[&1].unwrap(), &marketing(1, 3), Word::Took);
    // More at one moment than any rate there was would let go.
    for pair in 10..13 {
        let entry = scene.go(marketing(2, pair));
        scene.settle(entry, &marketing(2, pair), Word::Took);
    }
    assert_eq!(scene.gate.standing(scene.now).per_second, None);
}

#[test]
fn while_the_provider_is_away_nobody_waits_in_line_for_its_rate() {
    let mut scene = Scene::new(Limits { rate: rate("1/min"), failures_max: 1, ..LIMITS });
    let entry = scene.go(marketing(1, 1));
    scene.settle(entry, &marketing(1, 1), Word::Failed);
    let Coming::Later(later) = scene.come(marketing(1, 2)) else { panic!("it is away") };
    assert_eq!(later.why, Limit::Breaker(ReasonCode::DeliveryNetwork));
}

#[test]
fn more_may_be_under_way_only_where_the_limit_was_in_the_way() {
    let mut scene = Scene::new(LIMITS);
    let comers = [1, 2, 3, 4].map(|pair| marketing(1, pair));
    let entries = comers.map(|comer| scene.go(comer));
    let mut limits = Vec::new();
    for (entry, comer) in entries.into_iter().zip(&comers) {
        scene.settle(entry, comer, Word::Took);
        limits.push(scene.gate.standing(scene.now).limit);
    }
    assert_eq!(limits, [5; 4], "the first of four that were allowed four");
}

#[test]
fn rests_grow_where_one_after_the_other_is_refused_the_account() {
    let mut scene = Scene::new(LIMITS);
    let refused = Word::RefusedAccount(ReasonCode::DeliveryProviderCredentials);
    let mut rests = Vec::new();
    for pair in 1..5 {
        let entry = scene.go(marketing(1, pair));
        scene.settle(entry, &marketing(1, pair), refused);
        let (rest, _) = scene.gate.standing(scene.now).closed.unwrap();
        rests.push(rest.as_secs());
        scene.now += rest;
    }
    assert_eq!(rests, [30, 60, 120, 240]);
}

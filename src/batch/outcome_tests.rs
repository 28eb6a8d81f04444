//! A row's life, walked at random and step by step.

use jiff::Timestamp;

use super::outcome::{Chain, RowEvent, RowOutcome, Tried, is_taken, rank};
use super::row::after_attempt;
use super::row_mark::RowMark;
use crate::codes::ReasonCode;
use crate::model::{Attempt, ChannelKind, Outcome, Receipt, Status, UntilHint};
use crate::world::{Dice, World};

const CHANNELS: [ChannelKind; 3] = [ChannelKind::Whatsapp, ChannelKind::Sms, ChannelKind::Email];
pub(super) const HINT: UntilHint = UntilHint(None);
const OUTCOMES: [Outcome; 7] = [
    Outcome::Accepted,
    Outcome::PermanentRecipient,
    Outcome::PermanentMessage,
    Outcome::Account,
    Outcome::Throttled(HINT),
    Outcome::Transient(HINT),
    Outcome::Unknown,
];

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(super) fn chain(steps: u8, receipt_within_s: u32) -> Chain {
    Chain { steps, receipt_within_s }
}

/// What an attempt of this outcome makes of a claimed row, of three attempts at most.
pub(super) fn tried(
    row: &RowOutcome,
    outcome: Outcome,
    receipt: Option<Receipt>,
    resend: bool,
    now: i64,
) -> RowEvent {
    let mut attempt = Attempt::new(outcome, None, "");
    attempt.receipt = receipt;
    attempt.provider_message_id = format!("id-{}", row.step);
    let next = after_attempt(&attempt, row.attempts_on_step() + 1, 3, resend);
    RowEvent::Tried(Box::new(Tried {
        channel: CHANNELS[usize::from(row.step).min(2)],
        provider: format!("provider-{}", row.step),
        attempt,
        next,
        at: at(now),
        due: at(now + 5),
    }))
}

/// Claims and tries.
pub(super) fn attempt(row: RowOutcome, outcome: Outcome, chain: Chain, now: i64) -> RowOutcome {
    let row = row.apply(RowEvent::Claimed, chain).unwrap();
    let event = tried(&row, outcome, None, false, now);
    row.apply(event, chain).unwrap()
}

pub(super) fn no_receipt(row: RowOutcome, chain: Chain, now: i64) -> RowOutcome {
    row.apply(RowEvent::NoReceipt { at: at(now) }, chain).unwrap()
}

/// Status, step, channels and due time: what a walk is compared by.
pub(super) fn brief(row: &RowOutcome) -> (&'static str, u8, &str, Option<Timestamp>) {
    (row.status.as_str(), row.step, row.channels_tried.as_str(), row.due())
}

#[test]
fn a_chain_goes_on_where_a_step_failed_or_gave_no_receipt_in_time() {
    let waits = chain(3, 600);
    let row = attempt(RowOutcome::untried(0), Outcome::Accepted, waits, 0);
    assert_eq!(brief(&row), ("submitted", 0, "whatsapp", Some(at(600))));
    assert!(!row.is_settled());
    let row = no_receipt(row, chain(3, 600), 600);
    assert_eq!(brief(&row), ("deferred", 1, "whatsapp", Some(at(600))));
    let row = attempt(row, Outcome::PermanentRecipient, chain(3, 0), 601);
    assert_eq!(brief(&row), ("deferred", 2, "whatsapp>sms", Some(at(601))));
    let sent = attempt(row.clone(), Outcome::Accepted, chain(3, 0), 602);
    assert_eq!(brief(&sent), ("submitted", 2, "whatsapp>sms>email", None));
    assert_eq!((sent.provider.as_str(), sent.attempts), ("provider-2", 3));
    assert!(sent.is_settled() && sent.earlier.is_none());
    // Where the last step fails, what came furthest is the last word.
    let row = attempt(row, Outcome::PermanentMessage, chain(3, 0), 603);
    assert_eq!(brief(&row), ("submitted", 0, "whatsapp>sms>email", None));
    assert_eq!((row.provider.as_str(), row.provider_message_id.as_str()), ("provider-0", "id-0"));
    assert_eq!((row.code, row.attempts), (Some(ReasonCode::DeliveryNoReceipt), 3));
    assert_eq!((row.submitted_at, row.ended_at), (Some(at(0)), Some(at(603))));
}

#[test]
fn an_unknown_step_waits_for_its_receipt_and_is_not_forgotten() {
    let ends = attempt(RowOutcome::untried(0), Outcome::Unknown, chain(2, 0), 0);
    assert_eq!(
        (ends.status, ends.is_settled()),
        (Status::Unknown, true),
        "no time: nobody goes on"
    );
    let row = attempt(RowOutcome::untried(0), Outcome::Unknown, chain(2, 60), 0);
    assert_eq!(brief(&row), ("unknown", 0, "whatsapp", Some(at(60))));
    let came = RowEvent::Receipt { step: 0, receipt: Receipt::Delivered, at: at(9) };
    let came = row.clone().apply(came, chain(2, 60)).unwrap();
    assert_eq!((came.status, came.is_settled()), (Status::Delivered, true));
    let row = no_receipt(row, chain(2, 60), 60);
    assert_eq!(brief(&row), ("deferred", 1, "whatsapp", Some(at(60))));
    let failed = attempt(row, Outcome::PermanentRecipient, chain(2, 0), 61);
    assert_eq!(brief(&failed), ("unknown", 0, "whatsapp>sms", None), "it may have gone out");
}

#[test]
fn attempts_are_used_up_on_each_step_and_counted_over_all() {
    let mut row = RowOutcome::untried(0);
    for now in 0..5 {
        row = attempt(row, Outcome::Transient(HINT), chain(2, 0), now);
    }
    assert_eq!((row.step, row.attempts, row.attempts_on_step()), (1, 5, 2));
    let row = attempt(row, Outcome::Transient(HINT), chain(2, 0), 6);
    assert_eq!((row.status, row.attempts), (Status::Expired, 6));
    assert_eq!(row.code, Some(ReasonCode::DeliveryAttemptsUsedUp));
}

#[test]
fn what_policy_rules_out_is_passed_over_and_what_ends_the_row_ends_it() {
    let ends = |row: RowOutcome, status| {
        let code = ReasonCode::PolicySuppressed;
        row.apply(RowEvent::Ended { status, code, at: at(1) }, chain(2, 0)).unwrap()
    };
    let next = ends(RowOutcome::untried(0), Status::Suppressed);
    assert_eq!((next.step, next.is_settled()), (1, false));
    assert_eq!(ends(next, Status::Suppressed).status, Status::Suppressed);
    for status in [Status::Expired, Status::Cancelled] {
        let row = ends(RowOutcome::untried(0), status);
        assert_eq!((row.status, row.is_settled()), (status, true), "{status} ends the whole row");
    }
    let failed = attempt(RowOutcome::untried(0), Outcome::PermanentMessage, chain(2, 0), 0);
    let over = ends(failed, Status::Suppressed);
    assert_eq!((over.status, over.attempts), (Status::Failed, 1), "suppressed was never attempted");
}

#[test]
fn a_bounce_that_comes_at_once_begins_the_next_step_and_one_of_an_earlier_step_changes_nothing() {
    let claimed = RowOutcome::untried(0).apply(RowEvent::Claimed, Chain::ONE).unwrap();
    let bounced = Receipt::Bounced(ReasonCode::DeliveryHardBounce);
    let event = tried(&claimed, Outcome::Accepted, Some(bounced), false, 0);
    let alone = claimed.clone().apply(event.clone(), Chain::ONE).unwrap();
    assert_eq!((alone.status, alone.is_settled()), (Status::Bounced, true));
    let row = claimed.apply(event, chain(2, 0)).unwrap();
    assert_eq!(brief(&row), ("deferred", 1, "whatsapp", Some(at(0))));
    let row = attempt(row, Outcome::Transient(HINT), chain(2, 0), 1);
    let late = |receipt| RowEvent::Receipt { step: 0, receipt, at: at(2) };
    let same = row.clone().apply(late(bounced), chain(2, 0)).unwrap();
    assert_eq!(brief(&same), brief(&row));
    let read = row.apply(late(Receipt::Read), chain(2, 0)).unwrap();
    assert_eq!((read.status, read.step, read.provider.as_str()), (Status::Read, 0, "provider-0"));
}

#[test]
fn receipts_only_raise() {
    let receipt = |row: RowOutcome, receipt| {
        row.apply(RowEvent::Receipt { step: 0, receipt, at: at(9) }, Chain::ONE).unwrap().status
    };
    let bounced = Receipt::Bounced(ReasonCode::DeliveryHardBounce);
    for (outcome, status) in [
        (Outcome::Accepted, Status::Submitted),
        (Outcome::PermanentRecipient, Status::Failed),
        (Outcome::Unknown, Status::Unknown),
    ] {
        let row = attempt(RowOutcome::untried(0), outcome, Chain::ONE, 0);
        assert_eq!(row.status, status);
        assert_eq!(receipt(row.clone(), Receipt::Delivered), Status::Delivered);
        assert_eq!(receipt(row.clone(), Receipt::Read), Status::Read);
        let is_failed = status == Status::Failed;
        let expected = if is_failed { Status::Failed } else { Status::Bounced };
        assert_eq!(receipt(row, bounced), expected);
    }
    let mut read = attempt(RowOutcome::untried(0), Outcome::Accepted, Chain::ONE, 0);
    read.status = Status::Read;
    assert_eq!(receipt(read.clone(), Receipt::Delivered), Status::Read);
    assert_eq!(receipt(read, bounced), Status::Read);
}

#[test]
fn what_waits_to_be_sent_again_in_doubt_ends_unknown_unless_somebody_asked_for_it() {
    let claimed = RowOutcome::untried(0).apply(RowEvent::Claimed, Chain::ONE).unwrap();
    let again = tried(&claimed, Outcome::Unknown, None, true, 0);
    let held = RowEvent::Held { at: at(9) };
    let waiting = claimed.clone().apply(again.clone(), Chain::ONE).unwrap();
    assert!(waiting.is_doubtfully_waiting());
    let unknown = waiting.apply(held.clone(), Chain::ONE).unwrap();
    assert_eq!((unknown.status, unknown.is_settled()), (Status::Unknown, true));
    // On a chain a receipt may still tell more.
    let waiting = claimed.apply(again, chain(2, 60)).unwrap();
    let awaited = waiting.apply(held.clone(), chain(2, 60)).unwrap();
    assert_eq!((awaited.status, awaited.receipt_until), (Status::Unknown, Some(at(69))));
    // Somebody wants it sent all the same, and a refusal in between changes nothing about that.
    let anew = unknown.apply(RowEvent::Reopened { at: at(10) }, Chain::ONE).unwrap();
    let refused = attempt(anew, Outcome::Transient(HINT), Chain::ONE, 11);
    assert!(refused.is_in_doubt() && refused.resent);
    assert!(refused.apply(held, Chain::ONE).is_err());
    let transient = attempt(RowOutcome::untried(0), Outcome::Transient(HINT), Chain::ONE, 0);
    assert!(!transient.is_doubtfully_waiting(), "there is no doubt about it");
}

/// Events of every kind, with whatever they carry.
fn any_event(dice: &Dice, row: &RowOutcome, now: i64) -> RowEvent {
    let pick = |most: u64| dice.next_u64() % most;
    let receipts =
        [Receipt::Delivered, Receipt::Read, Receipt::Bounced(ReasonCode::DeliveryHardBounce)];
    let receipt = receipts[pick(3) as usize];
    let at_once = (pick(4) == 0).then_some(receipt);
    let status = Status::ALL[pick(Status::ALL.len() as u64) as usize];
    match pick(15) {
        0..=2 => RowEvent::Claimed,
        3..=6 => tried(row, OUTCOMES[pick(7) as usize], at_once, pick(2) == 0, now),
        7 => RowEvent::Postponed { until: at(now + 9), code: None },
        8 => RowEvent::Hurried { at: at(now) },
        9 => {
            let (channel, again) = (CHANNELS[usize::from(row.step).min(2)], pick(2) == 0);
            RowEvent::Lost { channel, provider: "lost".to_owned(), again, at: at(now) }
        }
        10 => RowEvent::Ended { status, code: ReasonCode::PolicyExpired, at: at(now) },
        11 => RowEvent::Receipt { step: pick(4) as u8, receipt, at: at(now) },
        12 => RowEvent::NoReceipt { at: at(now) },
        13 => RowEvent::Held { at: at(now) },
        _ if pick(2) == 0 => RowEvent::Declared { status, at: at(now) },
        _ => RowEvent::Reopened { at: at(now) },
    }
}

/// A copy may be out of which nobody knows.
fn is_in_doubt(row: &RowOutcome) -> bool {
    let earlier = row.earlier.as_ref().is_some_and(|end| end.status == Status::Unknown);
    row.status == Status::Unknown || row.is_in_doubt() || earlier
}

fn hold_laws(before: &RowOutcome, event: &RowEvent, after: &RowOutcome) {
    let told = || format!("{before:?}\n{event:?}\n{after:?}");
    assert!(after.attempts >= after.attempts_before, "{}", told());
    assert_eq!(after.is_settled(), after.ended_at.is_some(), "{}", told());
    assert!(!after.is_settled() || after.due().is_none() && !after.claimed, "{}", told());
    assert!(after.receipt_until.is_none() || !after.claimed, "{}", told());
    assert!(!after.resent || !after.is_settled() && after.step == 0, "{}", told());
    assert!(!matches!(after.status, Status::Rejected | Status::Duplicate), "{}", told());
    if before.is_settled() {
        let is_reopened = matches!(event, RowEvent::Reopened { .. });
        assert_eq!(!after.is_settled(), is_reopened, "settled rows never go back:\n{}", told());
        let is_word = matches!(event, RowEvent::Declared { .. });
        let is_bounce = after.status == Status::Bounced;
        let never_falls =
            is_reopened || is_word || is_bounce || rank(after.status) >= rank(before.status);
        assert!(never_falls, "ranks never fall:\n{}", told());
    }
    // A copy of which a provider said something counts for more than doubt about another.
    let is_said = |status| is_taken(status) || status == Status::Bounced;
    let is_cleared = is_said(after.status)
        || after.earlier.as_ref().is_some_and(|end| is_said(end.status))
        || matches!(event, RowEvent::Declared { .. });
    assert!(
        !is_in_doubt(before) || is_in_doubt(after) || is_cleared,
        "doubt vanished:\n{}",
        told()
    );
    if matches!(event, RowEvent::Tried(_) | RowEvent::Lost { .. }) {
        assert!(before.claimed, "nothing is tried that no window holds:\n{}", told());
    }
    // What the log asks before it stores a word is never more than what the moves keep.
    if !after.claimed && after != before {
        assert!(RowMark::of(after).may_follow(RowMark::of(before)), "{}", told());
    }
}

#[test]
fn from_any_state_by_any_events_a_row_reaches_only_legal_ones() {
    let (mut moves, mut refused, mut settled) = (0, 0, [0_u32; 14]);
    for seed in 0..4_000 {
        let world = World::seeded(at(0), seed);
        let dice = &world.dice;
        let waits: [u32; 3] = std::array::from_fn(|_| (dice.next_u64() % 2) as u32 * 60);
        let steps = 1 + (dice.next_u64() % 3) as u8;
        let mut row = RowOutcome::untried(0);
        for now in 0..40 {
            let chain = chain(steps, waits[usize::from(row.step)]);
            let event = any_event(dice, &row, now);
            match row.clone().apply(event.clone(), chain) {
                Ok(after) => {
                    hold_laws(&row, &event, &after);
                    assert!(after.step < steps);
                    moves += 1;
                    settled[after.status.index() as usize] += u32::from(after.is_settled());
                    row = after;
                }
                Err(illegal) => {
                    assert_eq!(illegal.status, row.status);
                    refused += 1;
                }
            }
        }
    }
    assert!(moves > 10_000 && refused > 10_000, "{moves} {refused}");
    let ends = Status::ALL.iter().filter(|status| settled[status.index() as usize] > 0).count();
    assert_eq!(ends, 10, "every end was reached: {settled:?}");
}

#[test]
fn words_that_no_move_makes_are_not_stored() {
    let row =
        |status, attempts, code| RowOutcome { status, attempts, code, ..RowOutcome::untried(0) };
    let doubt = Some(ReasonCode::DeliveryOutcomeUnknown);
    let awaited = RowOutcome { receipt_until: Some(at(9)), ..row(Status::Submitted, 1, None) };
    let second = RowOutcome { step: 1, ..row(Status::Deferred, 1, None) };
    for (before, after) in [
        (row(Status::Sent, 1, None), row(Status::Deferred, 1, None)),
        (row(Status::Sent, 1, None), row(Status::Accepted, 0, None)),
        (row(Status::Sent, 1, None), row(Status::Failed, 2, None)),
        (row(Status::Read, 1, None), row(Status::Delivered, 1, None)),
        (row(Status::Cancelled, 0, None), row(Status::Sent, 1, None)),
        (row(Status::Suppressed, 0, None), row(Status::Accepted, 0, None)),
        (row(Status::Unknown, 1, doubt), row(Status::Accepted, 0, None)),
        (row(Status::Unknown, 1, doubt), row(Status::Deferred, 1, doubt)),
        (row(Status::Deferred, 1, doubt), row(Status::Failed, 2, None)),
        (row(Status::Deferred, 1, doubt), row(Status::Cancelled, 1, None)),
        (row(Status::Deferred, 2, None), row(Status::Deferred, 1, None)),
        (row(Status::Accepted, 0, None), row(Status::Rejected, 0, None)),
        (awaited.clone(), row(Status::Cancelled, 1, None)),
        (awaited, row(Status::Deferred, 1, None)),
        (second, row(Status::Deferred, 1, None)),
    ] {
        assert!(!RowMark::of(&after).may_follow(RowMark::of(&before)), "{before:?} {after:?}");
    }
}

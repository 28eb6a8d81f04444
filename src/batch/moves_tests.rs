//! Which moves a row can make where it stands, and what each makes of it.

use super::outcome::{Chain, RowEvent, RowOutcome, Tried};
use super::outcome_tests::{HINT, at, attempt, brief, no_receipt, tried};
use super::row::after_attempt;
use crate::codes::ReasonCode;
use crate::model::{Attempt, ChannelKind, Outcome, Receipt, Status};

/// Two steps, of which the first waits a minute for its receipt.
const TWO: Chain = Chain { steps: 2, receipt_within_s: 60 };

fn claimed(row: RowOutcome) -> RowOutcome {
    row.apply(RowEvent::Claimed, Chain::ONE).unwrap()
}

fn lost(row: RowOutcome, provider: &str, again: bool, now: i64) -> RowOutcome {
    let (channel, provider) = (ChannelKind::Sms, provider.to_owned());
    claimed(row)
        .apply(RowEvent::Lost { channel, provider, again, at: at(now) }, Chain::ONE)
        .unwrap()
}

fn reopened(row: RowOutcome) -> RowOutcome {
    row.apply(RowEvent::Reopened { at: at(30) }, Chain::ONE).unwrap()
}

#[test]
fn a_bounce_counts_for_what_went_out_or_may_have_and_the_next_step_begins() {
    let bounce = RowEvent::Receipt {
        step: 0,
        receipt: Receipt::Bounced(ReasonCode::DeliveryHardBounce),
        at: at(9),
    };
    let bounced = |row: &RowOutcome, chain| row.clone().apply(bounce.clone(), chain).unwrap();
    let awaited = attempt(RowOutcome::untried(0), Outcome::Accepted, TWO, 0);
    let next = bounced(&awaited, TWO);
    assert_eq!(brief(&next), ("deferred", 1, "whatsapp", Some(at(9))));
    assert_eq!(next.earlier.map(|end| end.status), Some(Status::Bounced));
    let doubtful = lost(RowOutcome::untried(0), "hub", true, 0);
    let ended = bounced(&doubtful, Chain::ONE);
    assert_eq!((ended.status, ended.ended_at), (Status::Bounced, Some(at(9))));
    assert_eq!(ended.code, Some(ReasonCode::DeliveryHardBounce));
    // What was certainly not accepted cannot come back.
    let refused = attempt(RowOutcome::untried(0), Outcome::Transient(HINT), Chain::ONE, 0);
    assert_eq!(bounced(&refused, Chain::ONE), refused);
}

#[test]
fn the_same_receipt_again_says_nothing_new() {
    let receipt = |now| RowEvent::Receipt { step: 0, receipt: Receipt::Delivered, at: at(now) };
    let row = attempt(RowOutcome::untried(0), Outcome::Accepted, Chain::ONE, 0);
    let row = row.apply(receipt(5), Chain::ONE).unwrap();
    assert_eq!(row.ended_at, Some(at(5)));
    assert_eq!(row.clone().apply(receipt(9), Chain::ONE), Ok(row));
}

/// One event of each kind, by the word for it in the table below.
fn every_event() -> Vec<(&'static str, RowEvent)> {
    let ended = |status| RowEvent::Ended { status, code: ReasonCode::PolicyExpired, at: at(1) };
    let found = |status| RowEvent::Declared { status, at: at(1) };
    let receipt = |step| RowEvent::Receipt { step, receipt: Receipt::Delivered, at: at(1) };
    let (channel, provider) = (ChannelKind::Sms, "hub".to_owned());
    vec![
        ("claimed", RowEvent::Claimed),
        ("released", RowEvent::Released),
        ("postponed", RowEvent::Postponed { until: at(9), code: None }),
        ("hurried", RowEvent::Hurried { at: at(1) }),
        ("tried", tried(&RowOutcome::untried(0), Outcome::Accepted, None, false, 1)),
        ("lost", RowEvent::Lost { channel, provider, again: false, at: at(1) }),
        ("held", RowEvent::Held { at: at(1) }),
        ("failed", ended(Status::Failed)),
        ("suppressed", ended(Status::Suppressed)),
        ("expired", ended(Status::Expired)),
        ("cancelled", ended(Status::Cancelled)),
        ("sent", ended(Status::Sent)),
        ("receipt-0", receipt(0)),
        ("receipt-1", receipt(1)),
        ("no-receipt", RowEvent::NoReceipt { at: at(1) }),
        ("found-sent", found(Status::Sent)),
        ("found-delivered", found(Status::Delivered)),
        ("found-failed", found(Status::Failed)),
        ("found-expired", found(Status::Expired)),
        ("reopened", RowEvent::Reopened { at: at(1) }),
    ]
}

#[test]
fn each_event_moves_only_rows_that_stand_where_it_can_happen() {
    let untried = || RowOutcome::untried(0);
    let deferred = attempt(untried(), Outcome::Transient(HINT), TWO, 0);
    let awaited = attempt(untried(), Outcome::Accepted, TWO, 0);
    let ended = |status| {
        let event = RowEvent::Ended { status, code: ReasonCode::PolicyExpired, at: at(0) };
        untried().apply(event, Chain::ONE).unwrap()
    };
    let over = RowEvent::Ended {
        status: Status::Suppressed,
        code: ReasonCode::PolicySuppressed,
        at: at(0),
    };
    let passed_over = untried().apply(over, TWO).unwrap();
    let anew = "claimed postponed failed suppressed expired cancelled";
    let waits = "claimed postponed hurried failed suppressed expired cancelled";
    for (row, moves) in [
        (untried(), anew.to_owned()),
        (claimed(untried()), "released postponed tried lost".to_owned()),
        (reopened(ended(Status::Expired)), anew.to_owned()),
        (deferred.clone(), format!("{waits} receipt-0")),
        (
            lost(untried(), "hub", true, 0),
            "claimed postponed hurried held failed suppressed expired cancelled receipt-0"
                .to_owned(),
        ),
        (reopened(lost(untried(), "hub", false, 0)), format!("{anew} receipt-0")),
        (claimed(deferred), "released postponed tried lost".to_owned()),
        (awaited.clone(), "expired cancelled receipt-0 no-receipt".to_owned()),
        (no_receipt(awaited, TWO, 60), format!("{waits} receipt-0")),
        (
            attempt(untried(), Outcome::Unknown, TWO, 0),
            "expired cancelled receipt-0 no-receipt".to_owned(),
        ),
        // Its first step was passed over: nobody was tried.
        (passed_over, waits.to_owned()),
        (attempt(untried(), Outcome::Accepted, Chain::ONE, 0), "receipt-0".to_owned()),
        (
            attempt(untried(), Outcome::PermanentMessage, Chain::ONE, 0),
            "receipt-0 reopened".to_owned(),
        ),
        (
            attempt(untried(), Outcome::Unknown, Chain::ONE, 0),
            "receipt-0 found-sent found-delivered found-failed reopened".to_owned(),
        ),
        (ended(Status::Expired), "reopened".to_owned()),
        (ended(Status::Suppressed), String::new()),
        (ended(Status::Cancelled), String::new()),
    ] {
        let can_happen = |event: &RowEvent| row.clone().apply(event.clone(), TWO).is_ok();
        let events = every_event().into_iter().filter(|(_, event)| can_happen(event));
        let legal: Vec<&str> = events.map(|(word, _)| word).collect();
        assert_eq!(legal.join(" "), moves, "{row:?}");
    }
}

#[test]
fn an_illegal_move_says_what_was_wanted_of_which_row() {
    let row = attempt(RowOutcome::untried(0), Outcome::Accepted, Chain::ONE, 0);
    let illegal = every_event().into_iter().filter_map(|(_, event)| {
        row.clone().apply(event, Chain::ONE).err().map(|illegal| illegal.to_string())
    });
    let mut said: Vec<String> = illegal.collect();
    said.dedup();
    let expected = [
        "claimed",
        "released",
        "postponed",
        "hurried",
        "tried",
        "lost",
        "held",
        "ended",
        "receipted",
        "given up waiting for",
        "declared",
        "reopened",
    ];
    let expected = expected.map(|word| format!("a row that is submitted cannot be {word}"));
    assert_eq!(said, expected);
}

#[test]
fn what_a_window_gives_back_untried_is_as_it_was() {
    let row = attempt(RowOutcome::untried(0), Outcome::Transient(HINT), Chain::ONE, 0);
    let held = claimed(row.clone());
    assert_ne!(held, row);
    assert_eq!(held.apply(RowEvent::Released, Chain::ONE), Ok(row));
}

#[test]
fn what_cannot_go_out_yet_waits_with_its_reason_unless_it_is_in_doubt() {
    let code = Some(ReasonCode::PolicyQuietHours);
    let postponed = |row: RowOutcome| {
        row.apply(RowEvent::Postponed { until: at(99), code }, Chain::ONE).unwrap()
    };
    let row = postponed(claimed(RowOutcome::untried(0)));
    assert_eq!((row.status, row.code, row.due()), (Status::Deferred, code, Some(at(99))));
    assert!(!row.claimed && row.attempts == 0);
    let row = row.apply(RowEvent::Hurried { at: at(5) }, Chain::ONE).unwrap();
    assert_eq!((row.status, row.code, row.due()), (Status::Deferred, code, Some(at(5))));
    let doubtful = postponed(lost(RowOutcome::untried(0), "hub", true, 0));
    assert_eq!(doubtful.code, Some(ReasonCode::DeliveryOutcomeUnknown));
}

#[test]
fn a_lost_attempt_counts_and_binds_the_row_to_whoever_may_have_it() {
    let doubt = Some(ReasonCode::DeliveryOutcomeUnknown);
    let ended = lost(RowOutcome::untried(0), "hub", false, 7);
    assert_eq!((ended.status, ended.code, ended.ended_at), (Status::Unknown, doubt, Some(at(7))));
    assert_eq!((ended.attempts, ended.channels_tried.as_str()), (1, "sms"));
    let again = lost(RowOutcome::untried(0), "hub", true, 7);
    assert_eq!((again.status, again.code, again.due()), (Status::Deferred, doubt, Some(at(7))));
    assert_eq!((again.attempts, again.bound_to()), (1, Some("hub")));
    let twice = lost(again.clone(), "hub", true, 8);
    assert_eq!((twice.attempts, twice.channels_tried.as_str()), (2, "sms"));
    // Nobody knows who had it: nobody is kept from it.
    assert_eq!(lost(RowOutcome::untried(0), "", true, 7).bound_to(), None);
    let failed_once = attempt(RowOutcome::untried(0), Outcome::Transient(HINT), Chain::ONE, 0);
    assert_eq!((failed_once.provider.as_str(), failed_once.bound_to()), ("provider-0", None));
    // Only that it was taken ends the doubt.
    let refused = attempt(again.clone(), Outcome::PermanentRecipient, Chain::ONE, 9);
    assert_eq!((refused.status, refused.code, refused.attempts), (Status::Unknown, doubt, 2));
    let later = attempt(again.clone(), Outcome::Transient(HINT), Chain::ONE, 9);
    assert_eq!((later.status, later.code), (Status::Deferred, doubt));
    let taken = attempt(again, Outcome::Accepted, Chain::ONE, 9);
    assert_eq!((taken.status, taken.code, taken.bound_to()), (Status::Submitted, None, None));
    // The doubt of an earlier step is not of this one.
    let second =
        RowOutcome { attempts: 1, attempts_before: 1, code: doubt, ..RowOutcome::untried(0) };
    assert!(!second.is_in_doubt());
}

#[test]
fn a_row_that_is_sent_again_begins_anew_but_for_the_doubt_about_it() {
    let anew = RowOutcome { deferred_until: Some(at(30)), ..RowOutcome::untried(0) };
    let failed = attempt(RowOutcome::untried(0), Outcome::PermanentMessage, Chain::ONE, 0);
    assert_eq!(reopened(failed), anew);
    let unknown = lost(lost(RowOutcome::untried(0), "hub", true, 0), "hub", false, 1);
    let doubtful = RowOutcome {
        attempts: 2,
        attempts_before: 1,
        code: Some(ReasonCode::DeliveryOutcomeUnknown),
        provider: "hub".to_owned(),
        resent: true,
        ..anew
    };
    assert_eq!(reopened(unknown.clone()), doubtful);
    // Of another step it is another message: nobody can tell the copy.
    let second = RowOutcome { step: 1, ..unknown };
    assert_eq!(reopened(second), RowOutcome { provider: String::new(), ..doubtful });
}

#[test]
fn what_somebody_found_out_is_the_last_word() {
    for (status, sent_at) in
        [(Status::Sent, Some(at(9))), (Status::Delivered, None), (Status::Failed, None)]
    {
        let unknown = lost(RowOutcome::untried(0), "hub", false, 0);
        let row = unknown.apply(RowEvent::Declared { status, at: at(9) }, Chain::ONE).unwrap();
        assert_eq!((row.status, row.code, row.is_settled()), (status, None, true));
        assert_eq!((row.sent_at, row.ended_at), (sent_at, Some(at(9))));
    }
}

#[test]
fn what_the_provider_handed_on_at_once_is_sent_and_not_only_submitted() {
    for (left_provider, status, sent_at) in
        [(false, Status::Submitted, None), (true, Status::Sent, Some(at(4)))]
    {
        let row = claimed(RowOutcome::untried(0));
        let attempt = Attempt { left_provider, ..Attempt::new(Outcome::Accepted, None, "") };
        let next = after_attempt(&attempt, 1, 3, false);
        let (channel, provider) = (ChannelKind::Sms, "hub".to_owned());
        let tried = Tried { channel, provider, attempt, next, at: at(4), due: at(4) };
        let row = row.apply(RowEvent::Tried(Box::new(tried)), Chain::ONE).unwrap();
        assert_eq!((row.status, row.sent_at, row.submitted_at), (status, sent_at, Some(at(4))));
    }
}

//! What an attempt leads to for its row.

use std::time::Duration;

use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, Status, UntilHint};

/// What happens to a row after one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextStep {
    /// The row is final.
    Settle { status: Status, code: Option<ReasonCode> },
    /// Certainly not accepted: another provider may be tried at once, else the row waits. `counts` is
    /// false where the try does not use up an attempt.
    Retry { code: Option<ReasonCode>, counts: bool, hint: Option<Duration> },
}

/// The consequence of an outcome. `attempts` includes this one.
pub fn after_attempt(
    attempt: &Attempt,
    attempts: u32,
    attempts_max: u32,
    resend_unknown: bool,
) -> NextStep {
    let settle = |status, code| NextStep::Settle { status, code };
    let used_up = attempts >= attempts_max;
    match attempt.outcome {
        // A receipt that comes with the answer is an event of its own.
        Outcome::Accepted if attempt.left_provider => settle(Status::Sent, None),
        Outcome::Accepted => settle(Status::Submitted, None),
        Outcome::PermanentRecipient | Outcome::PermanentMessage => {
            settle(Status::Failed, attempt.code.or(Some(ReasonCode::DeliveryRefused)))
        }
        Outcome::Account => {
            let code = attempt.code.or(Some(ReasonCode::DeliveryProviderCredentials));
            NextStep::Retry { code, counts: false, hint: None }
        }
        Outcome::Throttled(UntilHint(hint)) => {
            let code = attempt.code.or(Some(ReasonCode::DeliveryThrottled));
            NextStep::Retry { code, counts: false, hint }
        }
        Outcome::Unknown if !resend_unknown => {
            settle(Status::Unknown, Some(ReasonCode::DeliveryOutcomeUnknown))
        }
        Outcome::Unknown if used_up => {
            settle(Status::Unknown, Some(ReasonCode::DeliveryOutcomeUnknown))
        }
        Outcome::Transient(_) if used_up => {
            settle(Status::Expired, Some(ReasonCode::DeliveryAttemptsUsedUp))
        }
        Outcome::Transient(UntilHint(hint)) => {
            let code = attempt.code.or(Some(ReasonCode::DeliveryNetwork));
            NextStep::Retry { code, counts: true, hint }
        }
        Outcome::Unknown => {
            let code = Some(ReasonCode::DeliveryOutcomeUnknown);
            NextStep::Retry { code, counts: true, hint: None }
        }
    }
}

/// How often a row was offered to every provider of its channel, by the attempts it had. Each may be tried
/// as often as its place in `maxes` says, and is left out of later rounds.
pub fn full_rounds(attempts: u32, maxes: &[u32]) -> u32 {
    let used_after =
        |rounds: u32| maxes.iter().fold(0_u32, |all, most| all.saturating_add(rounds.min(*most)));
    let most = maxes.iter().copied().max().unwrap_or(0);
    (1..=most).take_while(|rounds| used_after(*rounds) <= attempts).last().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_counted_over_providers_that_allow_more_or_less() {
        for (maxes, rounds) in [
            (&[12_u32][..], [0, 1, 2, 3, 4]),
            (&[12, 12], [0, 0, 1, 1, 2]),
            (&[1, 12], [0, 0, 1, 2, 3]),
            (&[1, 2], [0, 0, 1, 2, 2]),
            (&[1], [0, 1, 1, 1, 1]),
            (&[], [0; 5]),
        ] {
            assert_eq!([0, 1, 2, 3, 4].map(|n| full_rounds(n, maxes)), rounds, "{maxes:?}");
        }
    }

    fn check(outcome: Outcome, attempts: u32, resend: bool, expected: NextStep) {
        let attempt = Attempt::new(outcome, None, "");
        assert_eq!(after_attempt(&attempt, attempts, 3, resend), expected, "{outcome:?}");
    }

    #[test]
    fn each_outcome_has_its_own_consequence() {
        let settle = |status, code| NextStep::Settle { status, code };
        let retry = |code, counts, hint| NextStep::Retry { code: Some(code), counts, hint };
        let (wait, none) = (Some(Duration::from_secs(9)), UntilHint(None));
        check(Outcome::Accepted, 1, false, settle(Status::Submitted, None));
        let refused = settle(Status::Failed, Some(ReasonCode::DeliveryRefused));
        check(Outcome::PermanentRecipient, 1, false, refused.clone());
        check(Outcome::PermanentMessage, 1, false, refused);
        let account = retry(ReasonCode::DeliveryProviderCredentials, false, None);
        check(Outcome::Account, 99, false, account);
        let throttled = retry(ReasonCode::DeliveryThrottled, false, wait);
        check(Outcome::Throttled(UntilHint(wait)), 99, false, throttled);
        let again = retry(ReasonCode::DeliveryNetwork, true, None);
        check(Outcome::Transient(none), 2, false, again);
        let used_up = settle(Status::Expired, Some(ReasonCode::DeliveryAttemptsUsedUp));
        check(Outcome::Transient(none), 3, false, used_up);
        let unknown = settle(Status::Unknown, Some(ReasonCode::DeliveryOutcomeUnknown));
        check(Outcome::Unknown, 1, false, unknown.clone());
        check(Outcome::Unknown, 3, true, unknown);
        check(Outcome::Unknown, 1, true, retry(ReasonCode::DeliveryOutcomeUnknown, true, None));
    }
}

//! What an answer says of the provider, whatever it says of the message.

use std::time::Duration;

use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, UntilHint};

/// What one answer says of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word {
    /// It took the message.
    Took,
    /// It is there, and did not take the message.
    Answered,
    /// It wants fewer messages, perhaps only after a while.
    TooFast(Option<Duration>),
    /// It could not be reached, or the answer was lost.
    Failed,
    /// It refuses our account.
    RefusedAccount(ReasonCode),
}

impl Word {
    pub fn of(attempt: &Attempt) -> Word {
        match attempt.outcome {
            Outcome::Accepted => Word::Took,
            Outcome::PermanentRecipient | Outcome::PermanentMessage => Word::Answered,
            Outcome::Account => Word::RefusedAccount(
                attempt.code.unwrap_or(ReasonCode::DeliveryProviderCredentials),
            ),
            Outcome::Throttled(UntilHint(hint)) => Word::TooFast(hint),
            Outcome::Unknown => Word::Failed,
            // A full mailbox, or a server that wants to see a stranger twice, is no fault of the provider's.
            Outcome::Transient(_) => match attempt.code {
                None | Some(ReasonCode::DeliveryNetwork) => Word::Failed,
                Some(ReasonCode::DeliveryThrottled) => Word::TooFast(None),
                Some(_) => Word::Answered,
            },
        }
    }

    pub(super) fn is_too_fast(self) -> bool {
        matches!(self, Word::TooFast(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_says_something_of_the_provider() {
        let word = |outcome, code| Word::of(&Attempt::new(outcome, code, ""));
        let transient = Outcome::Transient(UntilHint(None));
        let wait = Some(Duration::from_secs(3));
        let credentials = ReasonCode::DeliveryProviderCredentials;
        for (outcome, code, expected) in [
            (Outcome::Accepted, None, Word::Took),
            (Outcome::PermanentRecipient, None, Word::Answered),
            (Outcome::PermanentMessage, None, Word::Answered),
            (Outcome::Account, None, Word::RefusedAccount(credentials)),
            (Outcome::Throttled(UntilHint(wait)), None, Word::TooFast(wait)),
            (transient, Some(ReasonCode::DeliveryNetwork), Word::Failed),
            (transient, Some(ReasonCode::DeliveryMailboxFull), Word::Answered),
            (transient, Some(ReasonCode::DeliveryThrottled), Word::TooFast(None)),
            (Outcome::Unknown, Some(ReasonCode::DeliveryOutcomeUnknown), Word::Failed),
        ] {
            assert_eq!(word(outcome, code), expected, "{outcome:?} {code:?}");
        }
    }
}

//! Messages of a batch that are refused for one and the same reason, one after the other.

use crate::model::{Attempt, Outcome};

/// Counts equal refusals in a row: a template that a provider does not know costs a batch some rows, not
/// all of them.
#[derive(Debug, Clone)]
pub struct EqualRefusals {
    most: u32,
    code: String,
    count: u32,
}

impl EqualRefusals {
    /// `most` equal ones stop the batch; 0 never does.
    pub fn new(most: u32) -> EqualRefusals {
        EqualRefusals { most, code: String::new(), count: 0 }
    }

    /// Takes note of an answer; true where the batch must not go on.
    pub fn note(&mut self, attempt: &Attempt) -> bool {
        match attempt.outcome {
            Outcome::Accepted => self.forget(),
            Outcome::PermanentMessage if self.code == attempt.provider_code => {
                self.count += 1;
            }
            Outcome::PermanentMessage => {
                self.code.clone_from(&attempt.provider_code);
                self.count = 1;
            }
            // What is said of a recipient or of the provider says nothing of the message.
            _ => return false,
        }
        self.most > 0 && self.count >= self.most
    }

    /// The provider's code of the last ones, and how many they were.
    pub fn last(&self) -> (String, u32) {
        (self.code.clone(), self.count)
    }

    pub fn forget(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UntilHint;

    fn attempt(outcome: Outcome, code: &str) -> Attempt {
        Attempt { provider_code: code.to_owned(), ..Attempt::new(outcome, None, "") }
    }

    #[test]
    fn only_equal_refusals_of_messages_with_no_success_between_stop_a_batch() {
        use Outcome::{Accepted, PermanentMessage, PermanentRecipient, Transient, Unknown};
        let check = |most, answers: &[(Outcome, &str)], expected: bool| {
            let mut refusals = EqualRefusals::new(most);
            let stopped = answers.iter().any(|(o, code)| refusals.note(&attempt(*o, code)));
            assert_eq!(stopped, expected, "{answers:?}");
        };
        let refused = (PermanentMessage, "132001");
        check(3, &[refused, refused], false);
        check(3, &[refused; 3], true);
        check(0, &[refused; 9], false);
        check(3, &[refused, refused, (Accepted, ""), refused, refused], false);
        check(3, &[refused, refused, (PermanentMessage, "131008"), refused, refused], false);
        let others = [
            (PermanentRecipient, "131026"),
            (Transient(UntilHint(None)), "http:503"),
            (Unknown, "http:500"),
        ];
        check(3, &[&[refused][..], &others, &[refused], &others, &[refused]].concat(), true);
    }
    #[test]
    fn the_last_refusals_are_told_with_their_number() {
        let mut refusals = EqualRefusals::new(3);
        for code in ["131008", "132001", "132001"] {
            refusals.note(&attempt(Outcome::PermanentMessage, code));
        }
        assert_eq!(refusals.last(), ("132001".to_owned(), 2));
        refusals.forget();
        assert_eq!(refusals.last().1, 0);
    }
}

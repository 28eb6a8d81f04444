//! The decision about one row at one moment.

use jiff::{SignedDuration, Timestamp};

use super::Hours;
use crate::codes::ReasonCode;
use crate::model::Category;

/// Whose word counts for consent to marketing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Marketing needs a live grant in the ledger.
    Required,
    /// The operator takes the file's word.
    Asserted,
}

/// Whether the tenant may send as a row's sender on its channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Allowed,
    Refused,
    /// It might when the file was taken: somebody may have changed the configuration by mistake.
    Gone,
}

/// So soon a row is looked at again whose sender went away.
const SENDER_WAIT: SignedDuration = SignedDuration::from_secs(60);

/// What the rules need to know of a row.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    pub category: Category,
    pub consent: Consent,
    pub sender: Sender,
    pub send_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    /// Of the row's window where the recipient is; none where it may be sent at any hour.
    pub hours: Option<Hours>,
}

/// What is done with a row now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Send,
    /// Never attempted.
    Suppress(ReasonCode),
    /// Ran out of time before it could be sent.
    Expire,
    /// Waits; with a code where a rule of policy makes it wait.
    Wait {
        until: Timestamp,
        code: Option<ReasonCode>,
    },
}

/// Asks the rules in their order; the first that says something decides.
pub fn decide(question: &Question, now: Timestamp) -> Verdict {
    if question.category == Category::Marketing && question.consent == Consent::Required {
        return Verdict::Suppress(ReasonCode::PolicyNoConsent);
    }
    if question.sender == Sender::Refused {
        return Verdict::Suppress(ReasonCode::PolicySenderNotAllowed);
    }
    if question.expires_at <= now {
        return Verdict::Expire;
    }
    let wait = |until: Timestamp, code| {
        // Waiting past the end is expiring, but only once that moment has come: the row may be
        // cancelled or its window changed before.
        Verdict::Wait { until: until.min(question.expires_at), code }
    };
    if let Some(send_at) = question.send_at.filter(|t| *t > now) {
        return wait(send_at, None);
    }
    if question.sender == Sender::Gone {
        let again = now.saturating_add(SENDER_WAIT).unwrap_or(Timestamp::MAX);
        return wait(again, Some(ReasonCode::PolicySenderNotAllowed));
    }
    if let Some(Hours::Closed { until }) = question.hours {
        return wait(until, Some(ReasonCode::PolicyQuietHours));
    }
    Verdict::Send
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn check(change: impl FnOnce(&mut Question), expected: Verdict) {
        let mut question = Question {
            category: Category::Transactional,
            consent: Consent::Required,
            sender: Sender::Allowed,
            send_at: None,
            expires_at: time("2026-11-23T12:00:00Z"),
            hours: None,
        };
        change(&mut question);
        assert_eq!(decide(&question, time("2026-11-22T12:00:00Z")), expected);
    }

    #[test]
    fn the_rules_are_asked_in_their_order() {
        check(|_| {}, Verdict::Send);
        let no_consent = Verdict::Suppress(ReasonCode::PolicyNoConsent);
        check(
            |q| {
                q.category = Category::Marketing;
                q.sender = Sender::Refused;
            },
            no_consent,
        );
        check(
            |q| {
                q.category = Category::Marketing;
                q.consent = Consent::Asserted;
            },
            Verdict::Send,
        );
        let not_allowed = Verdict::Suppress(ReasonCode::PolicySenderNotAllowed);
        check(
            |q| {
                q.sender = Sender::Refused;
                q.expires_at = time("2026-11-22T11:00:00Z");
            },
            not_allowed,
        );
        let code = Some(ReasonCode::PolicySenderNotAllowed);
        let soon = Verdict::Wait { until: time("2026-11-22T12:01:00Z"), code };
        check(|q| q.sender = Sender::Gone, soon);
        check(
            |q| {
                q.sender = Sender::Gone;
                q.expires_at = time("2026-11-22T12:00:00Z");
            },
            Verdict::Expire,
        );
        check(|q| q.expires_at = time("2026-11-22T12:00:00Z"), Verdict::Expire);
        let later = Verdict::Wait { until: time("2026-11-22T15:00:00Z"), code: None };
        check(|q| q.send_at = Some(time("2026-11-22T15:00:00Z")), later);
        check(|q| q.send_at = Some(time("2026-11-22T12:00:00Z")), Verdict::Send);
        let code = Some(ReasonCode::PolicyQuietHours);
        let closed = |until| Some(Hours::Closed { until: time(until) });
        let morning = Verdict::Wait { until: time("2026-11-23T08:00:00Z"), code };
        check(|q| q.hours = closed("2026-11-23T08:00:00Z"), morning);
        let open = Hours::Open { until: time("2026-11-22T20:00:00Z") };
        check(|q| q.hours = Some(open), Verdict::Send);
        // Its own time comes first; the window is asked again then.
        check(
            |q| {
                q.send_at = Some(time("2026-11-22T15:00:00Z"));
                q.hours = closed("2026-11-23T08:00:00Z");
            },
            later,
        );
        let end = Verdict::Wait { until: time("2026-11-22T13:00:00Z"), code };
        check(
            |q| {
                q.hours = closed("2026-11-23T08:00:00Z");
                q.expires_at = time("2026-11-22T13:00:00Z");
            },
            end,
        );
    }
}

//! HTTP answers as outcomes: the one table for this kind of provider.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::answer::{clean_code, clean_id};
use super::super::settings::SuccessRule;
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, UntilHint};

/// Longest wait a provider may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What the configuration says about answers.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) success: Option<SuccessRule>,
    pub(super) id_pointer: String,
    pub(super) code_pointer: String,
    pub(super) outcomes: BTreeMap<String, Outcome>,
}

pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) body: &'a [u8],
    /// False where the body broke off or went over the cap.
    pub(super) whole: bool,
    /// `None`: the answer says nothing of when to come again.
    pub(super) retry_after: Option<UntilHint>,
}

impl Rules {
    pub(super) fn attempt(&self, answer: &Answer<'_>) -> Attempt {
        let parsed: Option<Value> = serde_json::from_slice(answer.body).ok();
        let is_readable = parsed.is_some() && answer.whole;
        let body = parsed.unwrap_or(Value::Null);
        let code = text_at(&body, &self.code_pointer);
        let status_code = format!("http:{}", answer.status);
        let configured = code
            .as_deref()
            .and_then(|code| self.outcomes.get(code))
            .or_else(|| self.outcomes.get(&status_code));
        let (outcome, reason) = match configured {
            Some(outcome) => (*outcome, configured_reason(*outcome)),
            None => self.by_status(answer, is_readable.then_some(&body)),
        };
        let outcome = with_hint(outcome, answer.retry_after.unwrap_or(UntilHint(None)));
        let is_accepted = outcome == Outcome::Accepted;
        let detail = if is_accepted { "the provider took it" } else { "the provider answered" };
        let mut attempt = Attempt::new(outcome, reason, format!("{detail} ({status_code})"));
        attempt.provider_code = match code {
            Some(code) => clean_code(&code),
            None if is_accepted => String::new(),
            None => status_code,
        };
        if is_accepted {
            let id = text_at(&body, &self.id_pointer).unwrap_or_default();
            attempt.provider_message_id = clean_id(&id);
        }
        attempt
    }

    fn by_status(
        &self,
        answer: &Answer<'_>,
        body: Option<&Value>,
    ) -> (Outcome, Option<ReasonCode>) {
        let throttled = Outcome::Throttled(UntilHint(None));
        let (outcome, reason) = match answer.status {
            200..=299 => return self.by_success_rule(body),
            // A redirect is never followed: it would carry the message to where nobody configured it.
            300..=399 => (Outcome::Account, ReasonCode::DeliveryRefused),
            402 => (Outcome::Account, ReasonCode::DeliveryProviderBalance),
            401 | 403 => (Outcome::Account, ReasonCode::DeliveryProviderCredentials),
            429 => (throttled, ReasonCode::DeliveryThrottled),
            503 if answer.retry_after.is_some() => (throttled, ReasonCode::DeliveryThrottled),
            404 | 410 => (Outcome::PermanentRecipient, ReasonCode::DeliveryNoSuchRecipient),
            // These may also mean our own parameters, so they do not say that the address is gone.
            400 | 422 => (Outcome::PermanentRecipient, ReasonCode::DeliveryRefused),
            408 | 500..=599 => (Outcome::Unknown, ReasonCode::DeliveryOutcomeUnknown),
            400..=499 => (Outcome::PermanentMessage, ReasonCode::DeliveryRefused),
            _ => (Outcome::Unknown, ReasonCode::DeliveryOutcomeUnknown),
        };
        (outcome, Some(reason))
    }

    /// A body that is cut or no JSON is no answer to the rule's question: a proxy's page or an empty text
    /// says neither yes nor no, and the message may have been taken.
    fn by_success_rule(&self, body: Option<&Value>) -> (Outcome, Option<ReasonCode>) {
        let Some(rule) = &self.success else { return (Outcome::Accepted, None) };
        let Some(body) = body else {
            return (Outcome::Unknown, Some(ReasonCode::DeliveryOutcomeUnknown));
        };
        if text_at(body, &rule.pointer).as_deref() == Some(rule.equals.as_str()) {
            return (Outcome::Accepted, None);
        }
        (Outcome::PermanentMessage, Some(ReasonCode::DeliveryRefused))
    }
}

fn configured_reason(outcome: Outcome) -> Option<ReasonCode> {
    match outcome {
        Outcome::Accepted => None,
        Outcome::PermanentRecipient => Some(ReasonCode::DeliveryUnreachable),
        Outcome::PermanentMessage => Some(ReasonCode::DeliveryRefused),
        Outcome::Account => Some(ReasonCode::DeliveryProviderCredentials),
        Outcome::Throttled(_) => Some(ReasonCode::DeliveryThrottled),
        Outcome::Transient(_) => Some(ReasonCode::DeliveryNetwork),
        Outcome::Unknown => Some(ReasonCode::DeliveryOutcomeUnknown),
    }
}

fn with_hint(outcome: Outcome, hint: UntilHint) -> Outcome {
    match outcome {
        Outcome::Throttled(_) => Outcome::Throttled(hint),
        Outcome::Transient(_) => Outcome::Transient(hint),
        other => other,
    }
}

/// A text, number or truth value at the pointer, as text.
fn text_at(body: &Value, pointer: &str) -> Option<String> {
    if pointer.is_empty() {
        return None;
    }
    match body.pointer(pointer)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

/// `Retry-After` in seconds or as an HTTP date, at most an hour. "At once" is no hint: a provider that is too
/// busy now is not asked again without a pause.
pub(super) fn retry_after(text: &str, now: Timestamp) -> Option<UntilHint> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()?;
        Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO)
    };
    Some(UntilHint((!wait.is_zero()).then_some(wait.min(RETRY_AFTER_MAX))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            success: None,
            id_pointer: "/id".to_owned(),
            code_pointer: "/error/code".to_owned(),
            outcomes: BTreeMap::from([
                ("21211".to_owned(), Outcome::PermanentRecipient),
                ("http:409".to_owned(), Outcome::Accepted),
                ("http:500".to_owned(), Outcome::Transient(UntilHint(None))),
            ]),
        }
    }

    fn attempt(rules: &Rules, status: u16, body: &str) -> Attempt {
        let answer = Answer { status, body: body.as_bytes(), whole: true, retry_after: None };
        rules.attempt(&answer)
    }

    #[test]
    fn every_status_has_its_outcome() {
        for (status, want) in [
            (200, "accepted"),
            (202, "accepted"),
            (204, "accepted"),
            (301, "account"),
            (302, "account"),
            (400, "permanent_recipient"),
            (401, "account"),
            (402, "account"),
            (403, "account"),
            (404, "permanent_recipient"),
            (405, "permanent_message"),
            (408, "unknown"),
            (409, "accepted"),
            (410, "permanent_recipient"),
            (413, "permanent_message"),
            (422, "permanent_recipient"),
            (429, "throttled"),
            (500, "transient"),
            (502, "unknown"),
            (503, "unknown"),
        ] {
            assert_eq!(attempt(&rules(), status, "").outcome.as_str(), want, "{status}");
        }
        for hint in [UntilHint(Some(Duration::from_secs(7))), UntilHint(None)] {
            let busy = Answer { status: 503, body: b"", whole: true, retry_after: Some(hint) };
            assert_eq!(rules().attempt(&busy).outcome, Outcome::Throttled(hint));
        }
    }

    #[test]
    fn the_bodys_code_goes_before_the_status() {
        let refused = attempt(&rules(), 500, r#"{"error":{"code":21211}}"#);
        assert_eq!(refused.outcome, Outcome::PermanentRecipient);
        assert_eq!(refused.provider_code, "21211");
        let transient = Outcome::Transient(UntilHint(None));
        assert_eq!(attempt(&rules(), 500, r#"{"error":{"code":"x"}}"#).outcome, transient);
        assert_eq!(attempt(&rules(), 502, "").provider_code, "http:502");
        assert_eq!(attempt(&rules(), 200, r#"{"id":17}"#).provider_message_id, "17");
    }

    #[test]
    fn a_success_rule_is_asked_on_2xx_only_and_of_a_whole_body_that_is_json() {
        let success = Some(SuccessRule { pointer: "/ok".to_owned(), equals: "true".to_owned() });
        let rules = Rules { success, ..rules() };
        let outcome = |status, body: &str| attempt(&rules, status, body).outcome.as_str();
        assert_eq!(outcome(200, r#"{"ok":true}"#), "accepted");
        assert_eq!(outcome(200, r#"{"ok":false}"#), "permanent_message");
        assert_eq!(outcome(200, "{}"), "permanent_message");
        for unreadable in ["<html>hello</html>", "", "{\"ok\":tr"] {
            assert_eq!(outcome(200, unreadable), "unknown", "{unreadable}");
        }
        assert_eq!(outcome(429, r#"{"ok":true}"#), "throttled");
        let cut = Answer { status: 200, body: b"{\"ok\":true}", whole: false, retry_after: None };
        assert_eq!(rules.attempt(&cut).outcome, Outcome::Unknown);
    }

    #[test]
    fn retry_after_comes_in_two_forms_is_at_most_an_hour_and_never_at_once() {
        let now: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        let hint = |seconds| Some(UntilHint(Some(Duration::from_secs(seconds))));
        let no_hint = Some(UntilHint(None));
        for (text, want) in [
            ("7", hint(7)),
            ("0", no_hint),
            ("000", no_hint),
            ("99999999999999999999", hint(3600)),
            ("Sun, 22 Nov 2026 10:00:30 GMT", hint(30)),
            ("Sun, 22 Nov 2026 10:00:00 GMT", no_hint),
            ("Sun, 22 Nov 2026 09:00:00 GMT", no_hint),
            ("Mon, 22 Nov 2027 10:00:00 GMT", hint(3600)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), want, "{text}");
        }
    }
}

//! SMTP's answers as outcomes: the one table for this kind of provider.

use super::super::answer::{clean_code, clean_id, transient};
use super::reply::Reply;
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome};

/// Where in the conversation an answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Greeting,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// After the final dot.
    Dot,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Stage::Greeting => "the greeting",
            Stage::StartTls => "STARTTLS",
            Stage::Auth => "AUTH",
            Stage::Mail => "MAIL",
            Stage::Rcpt => "RCPT",
            Stage::Data => "DATA",
            Stage::Dot => "the message",
        }
    }

    /// The first digit of the answer that lets the conversation go on.
    pub(super) fn good_class(self) -> u16 {
        if self == Stage::Data { 3 } else { 2 }
    }
}

impl Reply<'_> {
    /// The enhanced status code (RFC 3463), where the text begins with one that fits the code.
    fn enhanced(&self) -> Option<&str> {
        let word = self.text.split_whitespace().next()?;
        let mut parts = word.split('.');
        let class = parts.next()?;
        let rest: Vec<&str> = parts.collect();
        let numbers = rest
            .iter()
            .all(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()));
        let fits = class.len() == 1 && class == (self.code / 100).to_string();
        (fits && rest.len() == 2 && numbers).then_some(word)
    }

    /// `550 5.1.1`.
    fn provider_code(&self) -> String {
        clean_code(&format!("{} {}", self.code, self.enhanced().unwrap_or_default()))
    }

    fn is(&self, detail: &str) -> bool {
        self.enhanced().is_some_and(|enhanced| enhanced[1..].starts_with(detail))
    }
}

/// What a refusal means.
pub(super) fn refusal(stage: Stage, reply: Reply<'_>) -> Attempt {
    let (outcome, code) = outcome(stage, reply);
    // The reply's text is left out: servers quote the recipient in it.
    let detail = format!("the server answered {} to {}", reply.provider_code(), stage.as_str());
    let mut attempt = Attempt::new(outcome, Some(code), detail);
    attempt.provider_code = reply.provider_code();
    attempt
}

fn outcome(stage: Stage, reply: Reply<'_>) -> (Outcome, ReasonCode) {
    match (stage, reply.code) {
        (_, 421) => (transient(), ReasonCode::DeliveryNetwork),
        // 530, 534, 535 and 538 speak of AUTH wherever they come (RFC 4954).
        (Stage::StartTls | Stage::Auth, _) | (_, 530 | 534 | 535 | 538) => {
            (Outcome::Account, ReasonCode::DeliveryProviderCredentials)
        }
        (_, 400..=499) => (transient(), deferral_code(reply)),
        (Stage::Greeting, _) => (Outcome::Account, ReasonCode::DeliveryRefused),
        (Stage::Rcpt, _) => (Outcome::PermanentRecipient, recipient_code(reply)),
        (Stage::Mail, _) => (Outcome::PermanentMessage, ReasonCode::DeliveryRefused),
        (Stage::Data | Stage::Dot, _) => (Outcome::PermanentMessage, content_code(reply)),
    }
}

fn deferral_code(reply: Reply<'_>) -> ReasonCode {
    if reply.is(".2.2") || (reply.code == 452 && reply.enhanced().is_none()) {
        return ReasonCode::DeliveryMailboxFull;
    }
    if reply.is(".7.28") || reply.is(".5.3") {
        return ReasonCode::DeliveryThrottled;
    }
    ReasonCode::DeliverySoftBounce
}

fn recipient_code(reply: Reply<'_>) -> ReasonCode {
    if reply.enhanced().is_some() {
        return match () {
            () if reply.is(".1.") => ReasonCode::DeliveryNoSuchRecipient,
            () if reply.is(".2.2") => ReasonCode::DeliveryMailboxFull,
            () if reply.is(".2.") => ReasonCode::DeliveryUnreachable,
            () => ReasonCode::DeliveryRefused,
        };
    }
    match reply.code {
        550 | 551 | 553 => ReasonCode::DeliveryNoSuchRecipient,
        552 => ReasonCode::DeliveryMailboxFull,
        521 | 556 => ReasonCode::DeliveryUnreachable,
        _ => ReasonCode::DeliveryRefused,
    }
}

fn content_code(reply: Reply<'_>) -> ReasonCode {
    let about_content = reply.is(".6.") || reply.is(".7.") || reply.is(".3.4");
    if about_content || (reply.enhanced().is_none() && matches!(reply.code, 550 | 552 | 554)) {
        return ReasonCode::DeliveryContentRefused;
    }
    ReasonCode::DeliveryRefused
}

/// Our side of the account does not fit the server's: nobody's messages can go.
pub(super) fn account(detail: &'static str) -> Attempt {
    Attempt::new(Outcome::Account, Some(ReasonCode::DeliveryProviderCredentials), detail)
}

/// The 250 after the dot.
pub(super) fn accepted(reply: Reply<'_>) -> Attempt {
    let mut attempt = Attempt::new(Outcome::Accepted, None, "the server took it");
    attempt.provider_code = reply.provider_code();
    attempt.provider_message_id = queue_id(reply.text);
    attempt.left_provider = true;
    attempt
}

/// The queue id in `2.0.0 Ok: queued as 4F2C` or `OK id=1abc-0000`; empty where there is none.
fn queue_id(text: &str) -> String {
    let after = ["queued as ", "id="].iter().find_map(|mark| text.split_once(mark));
    let word = after.and_then(|(_, rest)| rest.split_whitespace().next()).unwrap_or_default();
    clean_id(word.trim_matches(|c: char| matches!(c, '<' | '>' | '.' | ',' | ';' | ')')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, text: &str) -> Reply<'_> {
        Reply { code, text }
    }

    #[test]
    fn every_refusal_has_its_outcome() {
        use Stage::{Auth, Data, Dot, Greeting, Mail, Rcpt, StartTls};
        for (stage, code, text, outcome, reason) in [
            (Greeting, 421, "too busy", "transient", "delivery.network"),
            (Greeting, 554, "go away", "account", "delivery.refused"),
            (StartTls, 454, "4.7.0 no TLS", "account", "delivery.provider_credentials"),
            (Auth, 535, "5.7.8 bad", "account", "delivery.provider_credentials"),
            (Auth, 454, "4.7.0 later", "account", "delivery.provider_credentials"),
            (Auth, 421, "bye", "transient", "delivery.network"),
            (Mail, 530, "5.7.0 AUTH first", "account", "delivery.provider_credentials"),
            (Mail, 451, "4.3.0 later", "transient", "delivery.soft_bounce"),
            (Mail, 550, "5.1.8 bad sender", "permanent_message", "delivery.refused"),
            (Rcpt, 450, "4.7.1 greylisted", "transient", "delivery.soft_bounce"),
            (Rcpt, 452, "4.2.2 full", "transient", "delivery.mailbox_full"),
            (Rcpt, 550, "5.1.1 unknown", "permanent_recipient", "delivery.no_such_recipient"),
            (Rcpt, 550, "no such user", "permanent_recipient", "delivery.no_such_recipient"),
            (Rcpt, 553, "bad", "permanent_recipient", "delivery.no_such_recipient"),
            (Rcpt, 552, "5.2.2 full", "permanent_recipient", "delivery.mailbox_full"),
            (Rcpt, 552, "full", "permanent_recipient", "delivery.mailbox_full"),
            (Rcpt, 550, "5.2.1 disabled", "permanent_recipient", "delivery.unreachable"),
            (Rcpt, 550, "5.7.1 blocked", "permanent_recipient", "delivery.refused"),
            (Rcpt, 556, "null MX", "permanent_recipient", "delivery.unreachable"),
            (Data, 554, "no valid recipients", "permanent_message", "delivery.content_refused"),
            (Dot, 552, "5.3.4 too big", "permanent_message", "delivery.content_refused"),
            (Dot, 550, "5.7.1 spam", "permanent_message", "delivery.content_refused"),
            (Dot, 550, "5.1.1 unknown", "permanent_message", "delivery.refused"),
            (Dot, 451, "later", "transient", "delivery.soft_bounce"),
            (Dot, 421, "closing", "transient", "delivery.network"),
        ] {
            let attempt = refusal(stage, reply(code, text));
            let found = (attempt.outcome.as_str(), attempt.code.map(ReasonCode::as_str));
            assert_eq!(found, (outcome, Some(reason)), "{stage:?} {code} {text}");
        }
    }

    #[test]
    fn the_providers_code_is_short_and_names_nobody() {
        let long = reply(550, "5.1.1 <ann@example.com>: unknown");
        let attempt = refusal(Stage::Rcpt, long);
        assert_eq!(attempt.provider_code, "550 5.1.1");
        assert_eq!(attempt.detail, "the server answered 550 5.1.1 to RCPT");
        for text in ["4.1.1 x", "5.1", "5.1.1111 x", "5.1.1.1", "5.x.1", "5..1", ""] {
            assert_eq!(reply(550, text).provider_code(), "550", "{text}");
        }
    }

    #[test]
    fn queue_ids_are_recognised() {
        for (text, want) in [
            ("2.0.0 Ok: queued as 4F2C1", "4F2C1"),
            ("OK id=1abc-0000-XX", "1abc-0000-XX"),
            ("2.0.0 Ok: queued as <q@h>.", "q@h"),
            ("Ok", ""),
        ] {
            assert_eq!(accepted(reply(250, text)).provider_message_id, want, "{text}");
        }
    }
}

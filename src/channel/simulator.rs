//! A provider that sends nothing; the recipient's ending chooses the answer, as with test card numbers.
//!
//! The ending is the last four digits of a number, or the last four characters before the `@`
//! (`ann.0101@example.com`).
//!
//! | ending | outcome | code |
//! |---|---|---|
//! | `0101` | permanent_recipient | `delivery.no_such_recipient` |
//! | `0102` | permanent_recipient | `delivery.blocked_by_recipient` |
//! | `0103` | permanent_message | `delivery.content_refused` |
//! | `0104` | account | `delivery.provider_credentials` |
//! | `0105` | throttled for a second once, then accepted | `delivery.throttled` |
//! | `0106` | transient once, then accepted | `delivery.network` |
//! | `0107` | transient always | `delivery.network` |
//! | `0108` | unknown | `delivery.outcome_unknown` |
//! | `0109` | transient twice, then accepted | `delivery.mailbox_full` |
//! | `0110` | accepted; no receipt follows | |
//! | `0111` | accepted; the receipt says read | |
//! | `0112` | accepted; the receipt says bounced | `delivery.hard_bounce` |
//! | any other | accepted; the receipt says delivered | |
//!
//! Receipts follow only what is tried out, below `/test` or with `#test=yes`; of other messages nothing
//! is known once they were accepted.
//!
//! "Once" and "twice" go by the message's attempt number; being throttled is no attempt, so the
//! simulator remembers whom it told to slow down.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::answer::{clean_id, transient};
use super::settings::SimulatorSettings;
use crate::codes::ReasonCode;
use crate::faults::{Mood, mood};
use crate::model::{Attempt, Outcome, OutgoingMessage, Receipt, Status, UntilHint};

/// How a row of a test ends, by the ending of its recipient, and what is to be said of it.
pub const TEST_ENDINGS: [(&str, Status, Option<ReasonCode>, &str); 12] = {
    use Status::{Bounced, Delivered, Expired, Failed, Read, Submitted, Unknown};
    [
        ("0101", Failed, Some(ReasonCode::DeliveryNoSuchRecipient), ""),
        ("0102", Failed, Some(ReasonCode::DeliveryBlockedByRecipient), ""),
        ("0103", Failed, Some(ReasonCode::DeliveryContentRefused), ""),
        ("0104", Expired, None, "the provider refuses the account: the whole file waits"),
        ("0105", Delivered, None, "after the provider asked to slow down"),
        ("0106", Delivered, None, "at the second attempt"),
        ("0107", Expired, None, "after many attempts"),
        ("0108", Unknown, Some(ReasonCode::DeliveryOutcomeUnknown), ""),
        ("0109", Delivered, None, "at the third attempt"),
        ("0110", Submitted, None, "no receipt comes"),
        ("0111", Read, None, ""),
        ("0112", Bounced, Some(ReasonCode::DeliveryHardBounce), ""),
    ]
};

#[derive(Debug)]
pub(super) struct Simulator {
    provider: String,
    settings: SimulatorSettings,
    /// Messages that were throttled and did not come again yet.
    throttled: Mutex<HashSet<String>>,
}

impl Simulator {
    pub(super) fn new(provider: &str, settings: SimulatorSettings) -> Simulator {
        Simulator { provider: provider.to_owned(), settings, throttled: Mutex::default() }
    }

    pub(super) async fn send(&self, message: &OutgoingMessage) -> Attempt {
        let attempt = self.answer(message);
        // What would have left the house; journeys count on it.
        tracing::debug!(
            provider = self.provider,
            channel = message.channel.as_str(),
            to = message.to,
            sender = &*message.sender,
            subject = message.subject,
            text = message.text,
            html = message.html,
            message_id = message.message_id,
            attempt = message.attempt,
            test = self.settings.receipts,
            outcome = attempt.outcome.as_str(),
            "simulated"
        );
        if !self.settings.delay.is_zero() {
            tokio::time::sleep(self.settings.delay).await;
        }
        // Until here a crash finds the message on the wire; simulations go by it.
        tracing::trace!(message_id = message.message_id, "simulator answers");
        attempt
    }

    fn answer(&self, message: &OutgoingMessage) -> Attempt {
        if let Some(mood) = mood(&self.provider, &message.message_id) {
            let refused = refusal(mood.ending, message.attempt);
            return refused.map_or_else(|| self.accepted(message), |refused| hinted(refused, mood));
        }
        let Some(attempt) = refusal(ending(message), message.attempt) else {
            return self.accepted(message);
        };
        if !matches!(attempt.outcome, Outcome::Throttled(_)) {
            return attempt;
        }
        let mut throttled = self.throttled.lock().unwrap_or_else(PoisonError::into_inner);
        if throttled.remove(&message.message_id) {
            return self.accepted(message);
        }
        throttled.insert(message.message_id.clone());
        attempt
    }

    fn accepted(&self, message: &OutgoingMessage) -> Attempt {
        let mut accepted = Attempt::new(Outcome::Accepted, None, "the simulator took it");
        accepted.provider_message_id = clean_id(&format!("sim-{}", message.message_id));
        if self.settings.receipts {
            accepted.receipt = match ending(message) {
                "0110" => None,
                "0111" => Some(Receipt::Read),
                "0112" => Some(Receipt::Bounced(ReasonCode::DeliveryHardBounce)),
                _ => Some(Receipt::Delivered),
            };
        }
        accepted
    }
}

fn ending(message: &OutgoingMessage) -> &str {
    let address = message.to.split('@').next().unwrap_or_default();
    address.get(address.len().saturating_sub(4)..).unwrap_or_default()
}

/// With what a test wants to have said of another try.
fn hinted(mut refused: Attempt, mood: Mood) -> Attempt {
    if let Outcome::Throttled(hint) | Outcome::Transient(hint) = &mut refused.outcome {
        *hint = UntilHint(mood.hint);
    }
    refused
}

/// What an ending asks for instead of being accepted.
fn refusal(ending: &str, attempt: u32) -> Option<Attempt> {
    let throttled = Outcome::Throttled(UntilHint(Some(Duration::from_secs(1))));
    let (outcome, code) = match ending {
        "0101" => (Outcome::PermanentRecipient, ReasonCode::DeliveryNoSuchRecipient),
        "0102" => (Outcome::PermanentRecipient, ReasonCode::DeliveryBlockedByRecipient),
        "0103" => (Outcome::PermanentMessage, ReasonCode::DeliveryContentRefused),
        "0104" => (Outcome::Account, ReasonCode::DeliveryProviderCredentials),
        "0105" => (throttled, ReasonCode::DeliveryThrottled),
        "0106" if attempt <= 1 => (transient(), ReasonCode::DeliveryNetwork),
        "0107" => (transient(), ReasonCode::DeliveryNetwork),
        "0108" => (Outcome::Unknown, ReasonCode::DeliveryOutcomeUnknown),
        "0109" if attempt <= 2 => (transient(), ReasonCode::DeliveryMailboxFull),
        _ => return None,
    };
    let mut refused = Attempt::new(outcome, Some(code), "the simulator was asked for it");
    refused.provider_code = format!("sim:{ending}");
    Some(refused)
}

#[cfg(test)]
mod tests {
    use super::super::tests::message;
    use super::*;

    #[test]
    fn the_ending_chooses_the_answer() {
        let outcome = |to: &str, attempt| {
            let simulator = Simulator::new("sim", SimulatorSettings::default());
            let message = OutgoingMessage { to: to.to_owned(), attempt, ..message() };
            let answer = simulator.answer(&message);
            assert_eq!(answer.receipt, None);
            (answer.outcome.as_str(), answer.code.map(ReasonCode::as_str))
        };
        for (to, attempt, want) in [
            ("+491700000101", 1, ("permanent_recipient", Some("delivery.no_such_recipient"))),
            (
                "ann.0102@example.com",
                3,
                ("permanent_recipient", Some("delivery.blocked_by_recipient")),
            ),
            ("ann0103@example.com", 1, ("permanent_message", Some("delivery.content_refused"))),
            ("+10104", 1, ("account", Some("delivery.provider_credentials"))),
            ("+10105", 1, ("throttled", Some("delivery.throttled"))),
            ("+10106", 1, ("transient", Some("delivery.network"))),
            ("+10106", 2, ("accepted", None)),
            ("+10107", 9, ("transient", Some("delivery.network"))),
            ("+10108", 1, ("unknown", Some("delivery.outcome_unknown"))),
            ("+10109", 2, ("transient", Some("delivery.mailbox_full"))),
            ("+10109", 3, ("accepted", None)),
            ("ann@0101.example", 1, ("accepted", None)),
            ("ü", 1, ("accepted", None)),
            ("", 1, ("accepted", None)),
        ] {
            assert_eq!(outcome(to, attempt), want, "{to} {attempt}");
        }
    }

    #[test]
    fn a_test_is_told_at_once_what_became_of_a_message() {
        let settings = SimulatorSettings { receipts: true, ..SimulatorSettings::default() };
        let simulator = Simulator::new("sim", settings);
        let bounced = Receipt::Bounced(ReasonCode::DeliveryHardBounce);
        for (to, receipt) in [
            ("+491700000101", None),
            ("ann.0110@example.com", None),
            ("ann.0111@example.com", Some(Receipt::Read)),
            ("+10112", Some(bounced)),
            ("ann@example.com", Some(Receipt::Delivered)),
        ] {
            let message = OutgoingMessage { to: to.to_owned(), ..message() };
            assert_eq!(simulator.answer(&message).receipt, receipt, "{to}");
        }
    }

    /// A throttled message comes again with the same attempt number: it was throttled for ever.
    #[tokio::test]
    async fn a_throttled_message_is_taken_when_it_comes_again() {
        let simulator = Simulator::new("sim", SimulatorSettings::default());
        let message = OutgoingMessage { to: "+10105".to_owned(), attempt: 1, ..message() };
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            outcomes.push(simulator.send(&message).await.outcome.as_str());
        }
        assert_eq!(outcomes, ["throttled", "accepted", "throttled"]);
    }
}

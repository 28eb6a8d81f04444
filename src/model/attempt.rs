//! One call to a provider and what it means.

use std::borrow::Cow;
use std::time::Duration;

use crate::codes::ReasonCode;

/// How long the provider asked us to wait, where it said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UntilHint(pub Option<Duration>);

/// What one attempt means; it alone decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took the message (delivery is only ever said by a receipt).
    Accepted,
    /// This recipient will never work: the row fails.
    PermanentRecipient,
    /// This message will never work: the row fails.
    PermanentMessage,
    /// Our account at the provider is refused: the provider pauses, rows stay queued.
    Account,
    /// Too fast: not an attempt; the provider's rate goes down.
    Throttled(UntilHint),
    /// Certainly not accepted, and worth another try later.
    Transient(UntilHint),
    /// Handed over, but the answer was lost: never repeated on its own.
    Unknown,
}

impl Outcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Outcome::Accepted => "accepted",
            Outcome::PermanentRecipient => "permanent_recipient",
            Outcome::PermanentMessage => "permanent_message",
            Outcome::Account => "account",
            Outcome::Throttled(_) => "throttled",
            Outcome::Transient(_) => "transient",
            Outcome::Unknown => "unknown",
        }
    }

    /// The outcome a configuration names, without a hint.
    pub fn from_text(text: &str) -> Option<Outcome> {
        Some(match text {
            "accepted" => Outcome::Accepted,
            "permanent_recipient" => Outcome::PermanentRecipient,
            "permanent_message" => Outcome::PermanentMessage,
            "account" => Outcome::Account,
            "throttled" => Outcome::Throttled(UntilHint(None)),
            "transient" => Outcome::Transient(UntilHint(None)),
            "unknown" => Outcome::Unknown,
            _ => return None,
        })
    }

    /// True where no copy of the message can have left: another provider may be tried.
    pub fn is_certainly_not_accepted(self) -> bool {
        matches!(self, Outcome::Account | Outcome::Throttled(_) | Outcome::Transient(_))
    }
}

/// The result of one call to a provider for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub outcome: Outcome,
    /// The partner's reason; empty for `Accepted`.
    pub code: Option<ReasonCode>,
    /// The provider's own id of the message, where it gave one.
    pub provider_message_id: String,
    /// The provider's own code (`550 5.1.1`, `21211`, `http:500`), at most 64 bytes, no controls.
    pub provider_code: String,
    /// One sentence for the operator's log; may quote the provider, never holds a secret.
    pub detail: Cow<'static, str>,
    /// True where a server answered 250 after the dot: status `sent` instead of `submitted`.
    pub left_provider: bool,
    /// What is known at once of a message that was accepted.
    pub receipt: Option<Receipt>,
}

/// A provider's later word on a message that it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    Delivered,
    Read,
    Bounced(ReasonCode),
}

impl Attempt {
    pub fn new(
        outcome: Outcome,
        code: Option<ReasonCode>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Attempt {
        Attempt {
            outcome,
            code,
            provider_message_id: String::new(),
            provider_code: String::new(),
            detail: detail.into(),
            left_provider: false,
            receipt: None,
        }
    }
}

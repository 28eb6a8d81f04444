//! The finished message that a channel hands to a provider.

use super::{Category, ChannelKind};

/// One rendered message to one recipient. Everything in it is final text; nothing is a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Stable per row over all attempts; for email `<batch>-<row>@<sender's domain>`.
    pub message_id: String,
    pub tenant: String,
    pub batch: String,
    /// 1-based data row of the input file.
    pub row: u64,
    pub channel: ChannelKind,
    pub category: Category,
    /// E.164 with `+`, an email address, a chat id: exactly one recipient.
    pub to: String,
    /// Email: a mailbox as configured (`Acme <news@acme.example>`); sms: sender id or number.
    pub sender: String,
    pub reply_to: String,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub template: String,
    pub lang: String,
    pub campaign: String,
    /// The row's variables by normalised name, for HTTP body templates.
    pub variables: Vec<(String, String)>,
    /// When the row was accepted; the stable `Date` of an email.
    pub date: jiff::Timestamp,
    /// 1 for the first attempt.
    pub attempt: u32,
}

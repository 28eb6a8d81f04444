//! The finished message that a channel hands to a provider.

use std::sync::Arc;

use super::{BatchId, Category, ChannelKind};

/// One rendered message to one recipient. Everything in it is final text; nothing is a template. What the
/// rows of a file tend to have in common is shared by their messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutgoingMessage {
    /// Stable per row over all attempts; for email `<batch>-<row>@<sender's domain>`.
    pub message_id: String,
    pub tenant: Arc<str>,
    pub batch: Arc<str>,
    /// 1-based data row of the input file.
    pub row: u64,
    pub channel: ChannelKind,
    pub category: Category,
    /// E.164 with `+`, an email address, a chat id: exactly one recipient.
    pub to: String,
    /// Email: a mailbox as configured (`Acme <news@acme.example>`); sms: sender id or number.
    pub sender: Arc<str>,
    pub reply_to: Arc<str>,
    pub subject: String,
    pub text: String,
    pub html: String,
    pub template: Arc<str>,
    pub lang: Arc<str>,
    pub campaign: Arc<str>,
    /// The row's variables by normalised name, for HTTP body templates.
    pub variables: Vec<(Arc<str>, String)>,
    /// When the row was accepted; the stable `Date` of an email.
    pub date: jiff::Timestamp,
    /// 1 for the first attempt.
    pub attempt: u32,
}

/// The stable name of a row's message over all attempts, resends too, which providers get and the result
/// prints; each further step of its chain has its own, since one provider may serve several channels.
/// For email it is a `Message-ID` without its brackets, in the domain of the sender's mailbox.
pub fn message_id_for(
    (batch, row, step): (BatchId, u64, u8),
    channel: ChannelKind,
    sender: &str,
) -> String {
    let mut id = batch.message_id(row);
    if step > 0 {
        id = format!("{id}.{}", u16::from(step) + 1);
    }
    if channel == ChannelKind::Email {
        let domain = sender.rsplit_once('@').map_or("", |(_, domain)| domain);
        let domain = domain.trim_end_matches(|c: char| c == '>' || c.is_whitespace());
        id.push('@');
        id.push_str(if domain.is_empty() { "dropchute.invalid" } else { domain });
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_ids_of_email_stand_in_the_senders_domain() {
        let id = |channel, sender| message_id_for((BatchId::from_u64(33), 7, 0), channel, sender);
        let rows = [
            (ChannelKind::Email, "Acme <news@acme.example>", "0000000000011-7@acme.example"),
            (ChannelKind::Email, "news@acme.example", "0000000000011-7@acme.example"),
            (ChannelKind::Email, "\"a@b\" <x@acme.example> ", "0000000000011-7@acme.example"),
            (ChannelKind::Email, "", "0000000000011-7@dropchute.invalid"),
            (ChannelKind::Email, "news@", "0000000000011-7@dropchute.invalid"),
            (ChannelKind::Sms, "ACME", "0000000000011-7"),
        ];
        for (channel, sender, expected) in rows {
            assert_eq!(id(channel, sender), expected, "{sender}");
        }
        let third = (BatchId::from_u64(33), 7, 2);
        assert_eq!(message_id_for(third, ChannelKind::Sms, ""), "0000000000011-7.3");
    }
}

//! A message as the bytes of an email.

use std::time::SystemTime;

use lettre::address::{Address, Envelope};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use super::answer::one_line;
use crate::codes::ReasonCode;
use crate::model::{Attempt, Category, Outcome, OutgoingMessage};

/// An email ready to travel.
#[derive(Debug)]
pub(super) struct Email {
    pub(super) from: Address,
    pub(super) to: Address,
    pub(super) bytes: Vec<u8>,
}

/// Builds the email; the same message gives the same bytes. An `Err` names what can never be sent.
pub(super) fn compose(message: &OutgoingMessage) -> Result<Email, Attempt> {
    let to: Address = message.to.parse().map_err(|_| {
        let code = Some(ReasonCode::DeliveryNoSuchRecipient);
        Attempt::new(Outcome::PermanentRecipient, code, "the recipient is no email address")
    })?;
    let sender = mailbox(&message.sender, "the sender is no mailbox")?;
    let from = sender.email.clone();
    let envelope = Envelope::new(Some(from.clone()), vec![to.clone()])
        .map_err(|_| refused("the envelope cannot be built"))?;
    let mut builder = lettre::Message::builder()
        .from(sender)
        .to(Mailbox::new(None, to.clone()))
        .subject(one_line(&message.subject))
        .date(SystemTime::from(message.date))
        .message_id(Some(format!("<{}>", message_id(&message.message_id)?)))
        .envelope(envelope);
    if !message.reply_to.is_empty() {
        builder = builder.reply_to(mailbox(&message.reply_to, "reply_to is no mailbox")?);
    }
    let (name, value) = match message.category {
        Category::Marketing => (HeaderName::new_from_ascii_str("Precedence"), "bulk"),
        _ => (HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated"),
    };
    builder = builder.raw_header(HeaderValue::new(name, value.to_owned()));
    let plain = || SinglePart::plain(line_ends(&message.text));
    let html = || SinglePart::html(line_ends(&message.html));
    let built = match (message.text.is_empty(), message.html.is_empty()) {
        (_, true) => builder.singlepart(plain()),
        (true, false) => builder.singlepart(html()),
        (false, false) => {
            let alternative = MultiPart::alternative().boundary(boundary(&message.message_id));
            builder.multipart(alternative.singlepart(plain()).singlepart(html()))
        }
    };
    let bytes = built.map_err(|_| refused("the email cannot be built"))?.formatted();
    Ok(Email { from, to, bytes })
}

fn mailbox(text: &str, problem: &'static str) -> Result<Mailbox, Attempt> {
    if text.contains(char::is_control) {
        return Err(refused(problem));
    }
    // A name may hold commas and dots without quotes here; the address stands in the last brackets.
    let (name, address) = match text.trim().strip_suffix('>').and_then(|t| t.rsplit_once('<')) {
        Some((name, address)) => (name.trim(), address),
        None => ("", text),
    };
    let name = match name.strip_prefix('"').and_then(|n| n.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => name.to_owned(),
    };
    let address = address.trim().parse().map_err(|_| refused(problem))?;
    Ok(Mailbox::new((!name.is_empty()).then_some(name), address))
}

/// The id goes between angle brackets as it is: nothing in it may end them or the line.
fn message_id(id: &str) -> Result<&str, Attempt> {
    let fits = id.bytes().all(|b| b.is_ascii_graphic() && b != b'<' && b != b'>');
    if fits && !id.is_empty() {
        Ok(id)
    } else {
        Err(refused("message_id cannot stand in a header"))
    }
}

/// The text with CR LF at the end of each line. A bare CR or LF is a line's end to one server and none to
/// the next, which lets a text end the message early and begin another ("SMTP smuggling").
fn line_ends(text: &str) -> String {
    let mut lines = String::with_capacity(text.len() + text.len() / 32);
    let mut rest = text;
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest.as_bytes()) {
        lines.push_str(&rest[..end]);
        lines.push_str("\r\n");
        let tail = &rest[end..];
        rest = tail.strip_prefix("\r\n").unwrap_or(&tail[1..]);
    }
    lines.push_str(rest);
    lines
}

/// Derived from the id and not from dice, so that a retry sends the same bytes.
fn boundary(id: &str) -> String {
    format!("=_{}", hex::encode(&Sha256::digest(id.as_bytes())[..18]))
}

fn refused(problem: &'static str) -> Attempt {
    Attempt::new(Outcome::PermanentMessage, Some(ReasonCode::DeliveryRefused), problem)
}

#[cfg(test)]
mod tests {
    use super::super::tests::message;
    use super::*;

    fn text(message: &OutgoingMessage) -> String {
        String::from_utf8(compose(message).unwrap().bytes).unwrap()
    }

    #[test]
    fn an_email_has_stable_headers_and_both_bodies() {
        let both = OutgoingMessage {
            html: "<p>Grüße</p>".to_owned(),
            reply_to: "Help <help@acme.example>".into(),
            ..message()
        };
        let email = text(&both);
        assert_eq!(email, text(&both));
        for line in [
            "From: Acme <news@acme.example>\r\n",
            "To: ann@example.com\r\n",
            "Reply-To: Help <help@acme.example>\r\n",
            "Message-ID: <b-1@acme.example>\r\n",
            "Date: Sun, 22 Nov 2026 10:00:00 +0000\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: multipart/alternative;",
        ] {
            assert!(email.contains(line), "{line}\n{email}");
        }
        let marketing = text(&OutgoingMessage { category: Category::Marketing, ..message() });
        assert!(
            marketing.contains("Precedence: bulk\r\n") && !marketing.contains("Auto-Submitted")
        );
    }

    #[test]
    fn a_senders_name_may_hold_commas_dots_and_quotes() {
        for sender in [
            "news@acme.example",
            "Acme, Inc. <news@acme.example>",
            "\"Acme, Inc.\" <news@acme.example>",
            "Ümlaut, Q <news@acme.example>",
            "a@b, c <news@acme.example>",
            "x <eve@example.com> <news@acme.example>",
        ] {
            let message = OutgoingMessage { sender: sender.into(), ..message() };
            let composed = compose(&message).unwrap();
            assert_eq!(composed.from.to_string(), "news@acme.example", "{sender}");
            let email = String::from_utf8(composed.bytes).unwrap();
            let from = email.lines().next().unwrap();
            assert!(from.starts_with("From: ") && from.contains("news@acme.example"), "{email}");
            assert!(!from.contains("<eve") && !from.contains("Inc. <"), "{email}");
        }
    }

    #[test]
    fn every_line_ends_in_cr_lf_whatever_the_text_holds() {
        for (given, want) in [
            ("a\nb\r\nc\rd", "a\r\nb\r\nc\r\nd"),
            ("a\r\r\n\n", "a\r\n\r\n\r\n"),
            ("\r.\r\rMAIL", "\r\n.\r\n\r\nMAIL"),
            ("", ""),
        ] {
            assert_eq!(line_ends(given), want, "{given:?}");
        }
        let sly = "a\r.\rb\n.\nc\r\n.\r".to_owned();
        let email = text(&OutgoingMessage { text: sly.clone(), html: sly, ..message() });
        assert!(!email.replace("\r\n", "").contains(['\r', '\n']), "{email:?}");
    }

    #[test]
    fn no_value_can_begin_a_header_of_its_own() {
        let evil = "x\r\nBcc: eve@example.com\r\n\r\nbody";
        let email = text(&OutgoingMessage { subject: evil.to_owned(), ..message() });
        assert!(!email.contains("\r\nBcc"), "{email}");
        for message in [
            OutgoingMessage { to: format!("ann@example.com{evil}"), ..message() },
            OutgoingMessage { sender: format!("{evil} <a@example.com>").into(), ..message() },
            OutgoingMessage { reply_to: format!("a@example.com{evil}").into(), ..message() },
            OutgoingMessage { message_id: format!("a@b>{evil}"), ..message() },
        ] {
            assert!(compose(&message).is_err(), "{message:?}");
        }
    }
}

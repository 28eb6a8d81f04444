//! One message over one connection.
//!
//! The point of no return is the final dot: whatever goes wrong before the kernel has its first byte is
//! certainly not accepted, whatever goes wrong from there on is unknown.

use std::io::Write;
use std::time::Duration;

use super::super::answer::{lost, unknown};
use super::super::mail::Email;
use super::super::settings::SmtpSettings;
use super::classify::{Stage, accepted, refusal};
use super::connection::{Connection, State};
use super::wire::{FINAL_DOT, HandOver, Lost};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome};

/// For what a server may have said just before it hung up.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(2);

/// Where each command of the envelope ends in the bytes of all three.
type Envelope = [(Stage, usize); 3];

impl Connection {
    /// Sends one email and waits for nothing beyond its outcome. NOT cancel-safe.
    pub(super) async fn deliver(&mut self, email: &Email, settings: &SmtpSettings) -> Attempt {
        self.messages += 1;
        let envelope = match self.envelope(email) {
            Ok(envelope) => envelope,
            Err(refused) => return refused,
        };
        // Whichever way this ends, only a server that went along to the end is asked again.
        self.state = State::Over;
        match self.introduce(&envelope, settings).await {
            Ok(()) => self.hand_over(email, settings).await,
            Err(attempt) => attempt,
        }
    }

    /// Writes MAIL, RCPT and DATA to `scratch`.
    fn envelope(&mut self, email: &Email) -> Result<Envelope, Attempt> {
        let (from, to): (&str, &str) = (email.from.as_ref(), email.to.as_ref());
        let utf8 = !(from.is_ascii() && to.is_ascii());
        if utf8 && !self.offers.smtp_utf8 {
            let code = Some(ReasonCode::DeliveryUnreachable);
            let detail = "the server takes no address with letters beyond ASCII";
            return Err(Attempt::new(Outcome::PermanentRecipient, code, detail));
        }
        let eight_bit = !email.bytes.is_ascii();
        if eight_bit && !self.offers.eight_bit {
            let code = Some(ReasonCode::DeliveryRefused);
            let detail = "the server takes no text beyond ASCII";
            return Err(Attempt::new(Outcome::PermanentMessage, code, detail));
        }
        let body = if eight_bit { " BODY=8BITMIME" } else { "" };
        let letters = if utf8 { " SMTPUTF8" } else { "" };
        let never = "memory takes what is written to it";
        self.scratch.clear();
        write!(self.scratch, "MAIL FROM:<{from}>{body}{letters}\r\n").expect(never);
        let mail = self.scratch.len();
        write!(self.scratch, "RCPT TO:<{to}>\r\n").expect(never);
        let rcpt = self.scratch.len();
        self.scratch.extend_from_slice(b"DATA\r\n");
        Ok([(Stage::Mail, mail), (Stage::Rcpt, rcpt), (Stage::Data, self.scratch.len())])
    }

    /// MAIL, RCPT and DATA: in one write where the server offers PIPELINING (RFC 2920), else one by one.
    async fn introduce(
        &mut self,
        envelope: &Envelope,
        settings: &SmtpSettings,
    ) -> Result<(), Attempt> {
        let wire = &mut self.talk.0;
        let mut written = 0;
        let mut refused: Option<(Stage, Attempt)> = None;
        let mut go_ahead = false;
        for &(stage, end) in envelope {
            let limit =
                if stage == Stage::Data { settings.data_timeout } else { settings.command_timeout };
            if written < end {
                let upto = if self.offers.pipelining { self.scratch.len() } else { end };
                let words = &self.scratch[written..upto];
                wire.write(words, limit).await.map_err(|Lost(detail)| lost(detail))?;
                written = upto;
            }
            let attempt = match wire.reply(limit).await {
                Ok(reply) if reply.code / 100 == stage.good_class() => {
                    go_ahead = stage == Stage::Data;
                    continue;
                }
                Ok(reply) if reply.code >= 400 => {
                    let is_over = reply.code == 421;
                    let attempt = refusal(stage, reply);
                    if !is_over {
                        refused.get_or_insert((stage, attempt));
                        if self.offers.pipelining {
                            continue;
                        }
                        break;
                    }
                    attempt
                }
                // A message that followed this would be read as commands.
                Ok(_) => lost("the server's answer does not fit the command"),
                Err(Lost(detail)) => lost(detail),
            };
            // No other answer will come; what was refused before stays refused.
            return Err(refused.map_or(attempt, |(_, earlier)| earlier));
        }
        let Some((stage, attempt)) = refused else { return Ok(()) };
        self.state = match (go_ahead, stage) {
            (false, _) => State::OwesReset,
            (true, Stage::Rcpt) => State::OwesDot,
            // DATA and perhaps RCPT were taken without MAIL: only hanging up is sure to deliver nothing.
            (true, _) => State::Over,
        };
        Err(attempt)
    }

    /// The message and its final dot in as few writes as the kernel takes, then the answer.
    async fn hand_over(&mut self, email: &Email, settings: &SmtpSettings) -> Attempt {
        self.scratch.clear();
        stuff_dots(&email.bytes, &mut self.scratch);
        let wire = &mut self.talk.0;
        let handed = wire.hand_over(&self.scratch, settings.data_timeout).await;
        let limit =
            if handed == HandOver::Whole { settings.dot_timeout } else { LAST_WORDS_TIMEOUT };
        match (wire.reply(limit).await, handed) {
            (Ok(reply), HandOver::Whole) if reply.code / 100 == 2 => {
                self.state = State::Ready;
                accepted(reply)
            }
            (Ok(reply), handed) if reply.code >= 400 => {
                // A refused message ends its own transaction: no RSET is needed.
                if handed == HandOver::Whole && reply.code != 421 {
                    self.state = State::Ready;
                }
                refusal(Stage::Dot, reply)
            }
            (Ok(_) | Err(_), HandOver::Cut(Lost(detail))) => {
                lost(format!("before the whole message was handed over: {detail}"))
            }
            (Ok(_), HandOver::Whole) => unknown("the server's answer to the message is none"),
            (Err(Lost(detail)), HandOver::Whole) | (_, HandOver::InDoubt(Lost(detail))) => {
                unknown(format!("after the message was handed over: {detail}"))
            }
        }
    }
}

/// The message with dots at the start of a line doubled, and the final dot.
fn stuff_dots(message: &[u8], out: &mut Vec<u8>) {
    out.reserve(message.len() + 64);
    let mut rest = message;
    while let Some(dot) = dot_at_line_start(rest, out.last().is_none_or(|last| *last == b'\n')) {
        out.extend_from_slice(&rest[..=dot]);
        out.push(b'.');
        rest = &rest[dot + 1..];
    }
    out.extend_from_slice(rest);
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(FINAL_DOT);
}

fn dot_at_line_start(text: &[u8], at_line_start: bool) -> Option<usize> {
    if at_line_start && text.first() == Some(&b'.') {
        return Some(0);
    }
    memchr::memmem::find(text, b"\n.").map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_the_start_of_a_line_are_doubled_and_the_last_dot_stands_alone() {
        for (message, want) in [
            (".a\r\n..b\r\nc.\r\n", "..a\r\n...b\r\nc.\r\n.\r\n"),
            ("a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("a\n.\nb\n", "a\n..\nb\n\r\n.\r\n"),
            ("..", "...\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            let mut out = Vec::new();
            stuff_dots(message.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{message}");
        }
    }
}

//! One message over one connection.
//!
//! The point of no return is the write that holds the final dot: whatever goes wrong before it is
//! certainly not accepted, whatever goes wrong from its first byte on is unknown.

use std::time::Duration;

use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::MailParameter;
use lettre::transport::smtp::response::Response;

use super::super::answer::{lost, unknown};
use super::super::mail::Email;
use super::super::settings::SmtpSettings;
use super::classify::{Reply, Stage, accepted, refusal};
use super::connection::{Connection, Trouble, step};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome};

impl Connection {
    /// Sends one email. Afterwards the connection is ready for the next one, or marked broken.
    pub(super) async fn deliver(&mut self, email: &Email, settings: &SmtpSettings) -> Attempt {
        self.messages += 1;
        match self.try_deliver(email, settings).await {
            Ok(attempt) | Err(attempt) => attempt,
        }
    }

    async fn try_deliver(
        &mut self,
        email: &Email,
        settings: &SmtpSettings,
    ) -> Result<Attempt, Attempt> {
        let mut parameters = Vec::new();
        if !(AsRef::<str>::as_ref(&email.from).is_ascii()
            && AsRef::<str>::as_ref(&email.to).is_ascii())
        {
            if !self.smtp_utf8 {
                let code = Some(ReasonCode::DeliveryUnreachable);
                let detail = "the server takes no address with letters beyond ASCII";
                return Err(Attempt::new(Outcome::PermanentRecipient, code, detail));
            }
            parameters.push(MailParameter::SmtpUtfEight);
        }
        let mail = Mail::new(Some(email.from.clone()), parameters);
        let rcpt = Rcpt::new(email.to.clone(), Vec::new());
        let body = body_with_dot(&email.bytes)?;
        if self.pipelining {
            self.pipelined(&mail, &rcpt, settings).await?;
        } else {
            self.step_by_step(&mail, &rcpt, settings).await?;
        }
        if !self.socket.is_silent() {
            // The server has hung up before a byte of the message left.
            self.broken = true;
            return Err(lost("the server closed the connection before the message"));
        }
        // From here on the final dot may be on its way.
        match step(settings.dot_timeout, self.smtp.command(body)).await {
            Ok(response) if response.code().is_positive() && u16::from(response.code()) < 300 => {
                Ok(accepted(&Reply {
                    code: u16::from(response.code()),
                    text: response.first_line().unwrap_or_default().to_owned(),
                }))
            }
            Ok(_odd) => {
                self.broken = true;
                Err(unknown("the server's answer to the message is none"))
            }
            Err(Trouble::Refused(reply)) => {
                // A refused message ends its own transaction: no RSET is needed.
                self.broken = reply.code == 421;
                Err(refusal(Stage::Dot, &reply))
            }
            Err(Trouble::Lost(detail)) => {
                self.broken = true;
                Err(unknown(format!("after the message was handed over: {detail}")))
            }
        }
    }

    async fn step_by_step(
        &mut self,
        mail: &Mail,
        rcpt: &Rcpt,
        settings: &SmtpSettings,
    ) -> Result<(), Attempt> {
        let commands = [
            (Stage::Mail, mail.to_string(), settings.command_timeout),
            (Stage::Rcpt, rcpt.to_string(), settings.command_timeout),
            (Stage::Data, Data.to_string(), settings.data_timeout),
        ];
        for (stage, command, limit) in commands {
            if let Err(trouble) = expected(stage, step(limit, self.smtp.command(command)).await) {
                return Err(self.refused(stage, trouble, settings.command_timeout).await);
            }
        }
        Ok(())
    }

    /// MAIL, RCPT and DATA in one write (RFC 2920); three answers in their order.
    async fn pipelined(
        &mut self,
        mail: &Mail,
        rcpt: &Rcpt,
        settings: &SmtpSettings,
    ) -> Result<(), Attempt> {
        let limit = settings.command_timeout;
        let answer_to_mail = step(limit, self.smtp.command(format!("{mail}{rcpt}{Data}"))).await;
        let answer_to_mail = expected(Stage::Mail, answer_to_mail);
        self.stop_if_over(Stage::Mail, &answer_to_mail)?;
        let answer_to_rcpt = step(limit, self.smtp.read_response()).await;
        let answer_to_rcpt = expected(Stage::Rcpt, answer_to_rcpt);
        self.stop_if_over(Stage::Rcpt, &answer_to_rcpt)?;
        let answer_to_data = step(settings.data_timeout, self.smtp.read_response()).await;
        let answer_to_data = expected(Stage::Data, answer_to_data);
        self.stop_if_over(Stage::Data, &answer_to_data)?;
        let go_ahead = answer_to_data.is_ok();
        let first_refusal = [
            (Stage::Mail, answer_to_mail),
            (Stage::Rcpt, answer_to_rcpt),
            (Stage::Data, answer_to_data),
        ]
        .into_iter()
        .find_map(|(stage, answer)| answer.err().map(|trouble| (stage, trouble)));
        let Some((stage, trouble)) = first_refusal else { return Ok(()) };
        if go_ahead {
            // DATA was taken though there is nobody to write to: an empty message ends it.
            match step(settings.dot_timeout, self.smtp.command(".\r\n")).await {
                Ok(_) | Err(Trouble::Refused(_)) => {}
                Err(Trouble::Lost(_)) => self.broken = true,
            }
        }
        Err(self.refused(stage, trouble, limit).await)
    }

    /// An answer after which no other will come.
    fn stop_if_over(
        &mut self,
        stage: Stage,
        answer: &Result<Response, Trouble>,
    ) -> Result<(), Attempt> {
        match answer {
            Err(Trouble::Lost(detail)) => {
                self.broken = true;
                Err(lost(*detail))
            }
            Err(Trouble::Refused(reply)) if reply.code == 421 => {
                self.broken = true;
                Err(refusal(stage, reply))
            }
            _ => Ok(()),
        }
    }

    /// What a refusal means; RSET keeps the connection for the next message.
    async fn refused(&mut self, stage: Stage, trouble: Trouble, limit: Duration) -> Attempt {
        let reply = match trouble {
            Trouble::Lost(detail) => {
                self.broken = true;
                return lost(detail);
            }
            Trouble::Refused(reply) => reply,
        };
        self.broken = self.broken
            || reply.code == 421
            || step(limit, self.smtp.command(lettre::transport::smtp::commands::Rset))
                .await
                .is_err();
        refusal(stage, &reply)
    }
}

/// A positive answer must be of the kind that the stage has: 3xx to DATA, 2xx to the others. A message
/// that followed anything else would be read as commands.
fn expected(stage: Stage, answer: Result<Response, Trouble>) -> Result<Response, Trouble> {
    let class = if stage == Stage::Data { 3 } else { 2 };
    match answer {
        Ok(response) if u16::from(response.code()) / 100 != class => {
            Err(Trouble::Lost("the server's answer does not fit the command"))
        }
        answer => answer,
    }
}

/// The message with dots stuffed and the final dot, as one text for one write.
fn body_with_dot(bytes: &[u8]) -> Result<String, Attempt> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        Attempt::new(
            Outcome::PermanentMessage,
            Some(ReasonCode::DeliveryRefused),
            "the email is not UTF-8",
        )
    })?;
    let mut body = String::with_capacity(text.len() + 64);
    for line in text.split_inclusive("\r\n") {
        if line.starts_with('.') {
            body.push('.');
        }
        body.push_str(line);
    }
    body.push_str(if body.ends_with("\r\n") { ".\r\n" } else { "\r\n.\r\n" });
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_at_the_start_of_a_line_are_doubled_and_the_last_dot_stands_alone() {
        for (message, want) in [
            (".a\r\n..b\r\nc.\r\n", "..a\r\n...b\r\nc.\r\n.\r\n"),
            ("a\r\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"),
            ("", "\r\n.\r\n"),
        ] {
            assert_eq!(body_with_dot(message.as_bytes()).unwrap(), want, "{message}");
        }
    }
}

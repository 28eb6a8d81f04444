//! AUTH: one try per connection, by the mechanism that was configured or the first that is offered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::settings::{SmtpAuth, SmtpSettings};
use super::classify::{Stage, account, refusal};
use super::connection::Talk;
use super::offers::Offers;
use crate::model::Attempt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Login,
    XOAuth2,
}

/// What we say: a command, then an answer to each 334.
struct Words {
    command: String,
    answers: Vec<String>,
}

pub(super) async fn log_in(
    talk: &mut Talk,
    offers: Offers,
    settings: &SmtpSettings,
) -> Result<(), Attempt> {
    let mechanism = choose(offers, settings.auth)
        .ok_or_else(|| account("the server offers no AUTH that is configured"))?;
    let words = words(mechanism, &settings.username, settings.password.reveal());
    let limit = settings.command_timeout;
    let mut say = words.command;
    let mut answers = words.answers.into_iter();
    loop {
        say.push_str("\r\n");
        let reply = talk.ask(say.as_bytes(), limit).await?;
        match (reply.code, answers.next()) {
            (235, _) => return Ok(()),
            (334, Some(answer)) => say = answer,
            (400..=599, _) => return Err(refusal(Stage::Auth, reply)),
            _ => return Err(account("the server's answer to AUTH is none")),
        }
    }
}

fn choose(offers: Offers, auth: SmtpAuth) -> Option<Mechanism> {
    [
        (SmtpAuth::Plain, Mechanism::Plain, offers.auth_plain),
        (SmtpAuth::Login, Mechanism::Login, offers.auth_login),
        (SmtpAuth::XOAuth2, Mechanism::XOAuth2, offers.auth_xoauth2),
    ]
    .into_iter()
    .find_map(|(word, mechanism, offered)| {
        let wanted = auth == word || (auth == SmtpAuth::Auto && word != SmtpAuth::XOAuth2);
        (wanted && offered).then_some(mechanism)
    })
}

fn words(mechanism: Mechanism, username: &str, password: &str) -> Words {
    let encoded = |text: &str| STANDARD.encode(text);
    match mechanism {
        Mechanism::Plain => Words {
            command: format!("AUTH PLAIN {}", encoded(&format!("\0{username}\0{password}"))),
            answers: Vec::new(),
        },
        Mechanism::Login => Words {
            command: "AUTH LOGIN".to_owned(),
            answers: vec![encoded(username), encoded(password)],
        },
        Mechanism::XOAuth2 => {
            let bearer = format!("user={username}\u{1}auth=Bearer {password}\u{1}\u{1}");
            // A refusal comes as a 334 with the reason; an empty answer fetches the code.
            Words {
                command: format!("AUTH XOAUTH2 {}", encoded(&bearer)),
                answers: vec![String::new()],
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mechanism_is_the_one_configured_or_the_safest_offered_for_a_password() {
        use Mechanism::{Login, Plain, XOAuth2};
        for (text, auth, want) in [
            ("AUTH LOGIN PLAIN XOAUTH2", SmtpAuth::Auto, Some(Plain)),
            ("AUTH LOGIN XOAUTH2", SmtpAuth::Auto, Some(Login)),
            ("AUTH XOAUTH2", SmtpAuth::Auto, None),
            ("AUTH PLAIN LOGIN", SmtpAuth::Login, Some(Login)),
            ("AUTH PLAIN", SmtpAuth::Login, None),
            ("AUTH PLAIN XOAUTH2", SmtpAuth::XOAuth2, Some(XOAuth2)),
            ("AUTH LOGIN", SmtpAuth::Plain, None),
        ] {
            let offers = Offers::parse(&format!("hi\n{text}"));
            assert_eq!(choose(offers, auth), want, "{text} {auth:?}");
        }
    }

    #[test]
    fn the_words_are_those_of_the_standards() {
        // RFC 4616, 4 and Google's description of XOAUTH2.
        let plain = words(Mechanism::Plain, "tim", "tanstaaftanstaaf");
        assert_eq!(plain.command, "AUTH PLAIN AHRpbQB0YW5zdGFhZnRhbnN0YWFm");
        let token = words(
            Mechanism::XOAuth2,
            "someuser@example.com",
            "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg",
        );
        let want = "AUTH XOAUTH2 dXNlcj1zb21ldXNlckBleGFtcGxlLmNvbQFhdXRoPUJlYXJlciB5YTI5LnZGOWRmdDRxbVRjMk52YjNSbGNrQmhkSFJoZG1semRHRXVZMjl0Q2cBAQ==";
        assert_eq!(token.command, want);
        let login = words(Mechanism::Login, "u", "p");
        assert_eq!(
            (login.command.as_str(), login.answers.join(" ")),
            ("AUTH LOGIN", "dQ== cA==".to_owned())
        );
    }
}

use std::sync::Arc;
use std::time::Duration;

use super::super::{ProviderKind, Secret, SmtpAuth, SmtpSettings, SmtpTls};
use super::smtp_server::{Act, Script, serve};
use super::{channel, message, send};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, OutgoingMessage};

fn settings(port: u16) -> SmtpSettings {
    let limit = Duration::from_secs(20);
    SmtpSettings {
        host: "localhost".to_owned(),
        port,
        tls: SmtpTls::None,
        connections: 1,
        hello_name: "test.example".to_owned(),
        connect_timeout: limit,
        command_timeout: limit,
        data_timeout: limit,
        dot_timeout: limit,
        ..SmtpSettings::default()
    }
}

fn smtp(settings: SmtpSettings) -> super::Channel {
    channel(ProviderKind::Smtp(Box::new(settings)))
}

fn words(attempt: &Attempt) -> (&'static str, Option<&'static str>) {
    (attempt.outcome.as_str(), attempt.code.map(ReasonCode::as_str))
}

fn to(address: &str) -> OutgoingMessage {
    OutgoingMessage { to: address.to_owned(), ..message() }
}

const BOTH: [&[&str]; 2] = [&["PIPELINING"], &["8BITMIME"]];

fn script(extensions: &[&'static str]) -> Script {
    Script { extensions: extensions.to_vec(), ..Script::default() }
}

#[tokio::test]
async fn a_message_arrives_whole_and_the_connection_is_used_again() {
    for extensions in BOTH {
        let (address, seen) = serve(script(extensions)).await;
        let channel = smtp(settings(address.port()));
        let dotted = OutgoingMessage { text: "one\n.two\n..\nthree".to_owned(), ..message() };
        for _ in 0..3 {
            let attempt = send(&channel, &dotted).await;
            assert_eq!(attempt.outcome, Outcome::Accepted, "{attempt:?}");
            assert!(attempt.left_provider);
            assert_eq!(attempt.provider_message_id, "4F2C");
            assert_eq!(attempt.provider_code, "250 2.0.0");
        }
        assert_eq!(seen.connections(), 1);
        let messages = seen.messages();
        assert!(messages[0].contains("Message-ID: <b-1@acme.example>\r\n"));
        assert!(messages[0].ends_with("one\r\n..two\r\n...\r\nthree\r\n"), "{}", messages[0]);
        assert!(messages.iter().all(|other| *other == messages[0]));
    }
}

#[tokio::test]
async fn a_refused_recipient_does_not_cost_the_connection() {
    for extensions in BOTH {
        let (address, seen) = serve(script(extensions)).await;
        let channel = smtp(settings(address.port()));
        for _ in 0..5 {
            let refused = send(&channel, &to("bad@example.com")).await;
            let want = ("permanent_recipient", Some("delivery.no_such_recipient"));
            assert_eq!(words(&refused), want);
            assert_eq!(refused.provider_code, "550 5.1.1");
            assert!(!refused.detail.contains("bad@"), "{refused:?}");
            assert_eq!(send(&channel, &message()).await.outcome, Outcome::Accepted);
        }
        assert_eq!(seen.connections(), 1);
        assert_eq!(seen.messages().len(), 5);
    }
}

#[tokio::test]
async fn every_point_of_the_conversation_has_its_outcome() {
    let transient = ("transient", Some("delivery.network"));
    let unknown = ("unknown", Some("delivery.outcome_unknown"));
    let refused = ("permanent_message", Some("delivery.refused"));
    let spam = ("permanent_message", Some("delivery.content_refused"));
    type Change = fn(&mut Script);
    let cases: [(Change, (&str, Option<&str>)); 14] = [
        (|s| s.mail = Act::Say("550 5.7.1 not you"), refused),
        (|s| s.mail = Act::SayAndClose("421 4.3.2 closing"), transient),
        (|s| s.mail = Act::Close, transient),
        (|s| s.bad_rcpt = Act::SayAndClose("421 4.3.2 closing"), transient),
        (|s| s.bad_rcpt = Act::Close, transient),
        (|s| s.bad_rcpt = Act::Say("451 4.3.0 x"), ("transient", Some("delivery.soft_bounce"))),
        (|s| s.data = Act::Say("554 5.6.0 no"), spam),
        (|s| s.data = Act::SayAndClose("354 go on"), transient),
        (|s| s.data = Act::Say("250 what body"), transient),
        (|s| s.dot = Act::Close, unknown),
        (|s| s.dot = Act::Say("554 5.7.1 spam"), spam),
        (|s| s.dot = Act::SayAndClose("421 4.3.2 closing"), transient),
        (|s| s.dot = Act::Say("this is not SMTP"), unknown),
        (|s| s.mail = Act::SayAndClose("550 5.7.1 not you"), refused),
    ];
    for extensions in BOTH {
        for (index, (change, want)) in cases.iter().enumerate() {
            let mut script = script(extensions);
            change(&mut script);
            let closes_at_data = matches!(script.data, Act::SayAndClose(_));
            let (address, seen) = serve(script).await;
            let channel = smtp(settings(address.port()));
            let recipient =
                if (3..6).contains(&index) { "bad@example.com" } else { "ann@example.com" };
            let attempt = send(&channel, &to(recipient)).await;
            // The end of the stream may come a moment after the 354; then the body has begun.
            let raced = closes_at_data && words(&attempt) == unknown;
            assert!(raced || words(&attempt) == *want, "case {index} {extensions:?}: {attempt:?}");
            assert_eq!(seen.connections(), 1, "case {index}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_not_used() {
    let (address, seen) = serve(Script { messages_max: 1, ..Script::default() }).await;
    let channel = smtp(settings(address.port()));
    for sent in 1..=3 {
        let attempt = send(&channel, &message()).await;
        assert_eq!(attempt.outcome, Outcome::Accepted, "{attempt:?}");
        seen.closed.notified().await;
        assert_eq!(seen.connections(), sent);
    }
}

#[tokio::test]
async fn a_connection_that_has_carried_enough_says_goodbye() {
    let (address, seen) = serve(Script::default()).await;
    let channel = smtp(SmtpSettings { messages_max: 2, ..settings(address.port()) });
    for _ in 0..4 {
        assert_eq!(send(&channel, &message()).await.outcome, Outcome::Accepted);
    }
    assert_eq!(seen.connections(), 2);
    // The farewell is not waited for: it is there once the server has hung up.
    while seen.commands().iter().filter(|command| *command == "QUIT").count() < 2 {
        seen.closed.notified().await;
    }
}

#[tokio::test]
async fn what_was_made_ready_and_not_used_is_there_for_the_next() {
    let (address, seen) = serve(Script::default()).await;
    let channel = smtp(settings(address.port()));
    channel.ready().await.unwrap().release();
    drop(channel.ready().await.unwrap());
    assert_eq!(seen.connections(), 1);
    assert_eq!(send(&channel, &message()).await.outcome, Outcome::Accepted);
    assert_eq!(seen.connections(), 2, "a dropped one is closed, the permit is free again");
}

#[tokio::test]
async fn nobody_listening_is_transient_and_nothing_is_ready() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let attempt = smtp(settings(port)).ready().await.unwrap_err();
    assert_eq!(words(&attempt), ("transient", Some("delivery.network")));
}

#[tokio::test]
async fn login_is_tried_once_per_connection_and_its_refusal_stops_the_account() {
    let account = ("account", Some("delivery.provider_credentials"));
    for (auth, want) in [
        (Act::Say("535 5.7.8 wrong"), account),
        (Act::Say("454 4.7.0 later"), account),
        (Act::SayAndClose("421 bye"), ("transient", Some("delivery.network"))),
        (Act::Say("235 2.7.0 ok"), ("accepted", None)),
    ] {
        let extensions = vec!["AUTH PLAIN LOGIN", "PIPELINING"];
        let (address, seen) = serve(Script { auth, extensions, ..Script::default() }).await;
        let channel = smtp(SmtpSettings {
            username: "acme".to_owned(),
            password: Secret::new("secret"),
            ..settings(address.port())
        });
        let attempt = send(&channel, &message()).await;
        assert_eq!(words(&attempt), want);
        assert!(!format!("{channel:?}{attempt:?}").contains("secret"));
        let logins = seen.commands().iter().filter(|c| c.starts_with("AUTH PLAIN")).count();
        assert_eq!(logins, 1);
    }
}

struct Certified {
    acceptor: tokio_rustls::TlsAcceptor,
    ca_file: tempfile::NamedTempFile,
}

fn certified() -> Certified {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let ca_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ca_file.path(), made.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    Certified { acceptor: tokio_rustls::TlsAcceptor::from(Arc::new(config)), ca_file }
}

#[tokio::test]
async fn tls_carries_messages_with_a_known_certificate_and_none_without() {
    let certified = certified();
    for (tls, implicit) in [(SmtpTls::StartTls, false), (SmtpTls::Implicit, true)] {
        let (address, seen) = serve(Script {
            extensions: vec!["STARTTLS", "PIPELINING"],
            tls: Some(certified.acceptor.clone()),
            implicit,
            ..Script::default()
        })
        .await;
        let known = SmtpSettings {
            tls,
            ca_file: Some(certified.ca_file.path().to_owned()),
            ..settings(address.port())
        };
        let channel = smtp(known);
        for _ in 0..3 {
            let attempt = send(&channel, &message()).await;
            assert_eq!(attempt.outcome, Outcome::Accepted, "{tls:?} {attempt:?}");
        }
        assert_eq!(seen.connections(), 1, "{tls:?}");
        let stranger = smtp(SmtpSettings { tls, ..settings(address.port()) });
        let attempt = send(&stranger, &message()).await;
        assert_eq!(attempt.outcome, Outcome::Account, "{tls:?} {attempt:?}");
        assert_eq!(seen.messages().len(), 3);
    }
}

#[tokio::test]
async fn starttls_that_is_not_offered_sends_nothing_in_clear() {
    let (address, seen) = serve(Script::default()).await;
    let channel = smtp(SmtpSettings { tls: SmtpTls::StartTls, ..settings(address.port()) });
    let attempt = send(&channel, &message()).await;
    assert_eq!(words(&attempt), ("account", Some("delivery.provider_credentials")));
    assert!(!seen.commands().iter().any(|c| c.starts_with("MAIL")));
}

#[tokio::test]
async fn a_silent_server_is_transient_before_the_dot() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let limits = SmtpSettings { command_timeout: Duration::from_millis(50), ..settings(port) };
    let attempt = smtp(limits).ready().await.unwrap_err();
    assert_eq!(words(&attempt), ("transient", Some("delivery.network")));
}

#[tokio::test]
async fn an_outcome_waits_for_neither_reset_nor_farewell() {
    let script = Script { rset: Act::Hang, quit: Act::Hang, ..Script::default() };
    let (address, seen) = serve(script).await;
    let channel = smtp(SmtpSettings {
        messages_max: 2,
        command_timeout: Duration::from_secs(2),
        ..settings(address.port())
    });
    let refused = send(&channel, &to("bad@example.com")).await;
    assert_eq!(refused.outcome, Outcome::PermanentRecipient);
    assert!(!seen.commands().contains(&"RSET".to_owned()), "{:?}", seen.commands());
    // The next message finds the connection stuck in RSET and opens another, which it wears out.
    for connections in [2, 2] {
        assert_eq!(send(&channel, &message()).await.outcome, Outcome::Accepted);
        assert_eq!(seen.connections(), connections);
    }
    assert_eq!(seen.commands().iter().filter(|command| *command == "RSET").count(), 1);
}

/// Far more than the kernel takes at once.
fn long_message() -> OutgoingMessage {
    let line = "a line of text that is about as long as this one is\n";
    OutgoingMessage { text: line.repeat(200_000), ..message() }
}

#[tokio::test]
async fn a_message_that_breaks_off_before_its_end_was_not_taken() {
    let network = ("transient", Some("delivery.network"));
    let too_big = ("permanent_message", Some("delivery.content_refused"));
    let certified = certified();
    for (act, want, code) in [
        (Act::Close, network, ""),
        (Act::SayAndClose("421 4.3.2 closing"), network, "421 4.3.2"),
        (Act::Say("552 5.3.4 too big"), too_big, "552 5.3.4"),
        (Act::Say("250 thanks"), network, ""),
        (Act::SayBytes(b"220-\xff"), network, ""),
        (Act::Hang, network, ""),
    ] {
        for tls in [SmtpTls::None, SmtpTls::Implicit] {
            let (address, seen) = serve(Script {
                body: Some((1000, act)),
                tls: Some(certified.acceptor.clone()),
                implicit: tls == SmtpTls::Implicit,
                ..Script::default()
            })
            .await;
            let channel = smtp(SmtpSettings {
                tls,
                ca_file: Some(certified.ca_file.path().to_owned()),
                data_timeout: Duration::from_secs(1),
                ..settings(address.port())
            });
            let attempt = send(&channel, &long_message()).await;
            assert_eq!(words(&attempt), want, "{act:?} {tls:?}: {attempt:?}");
            assert_eq!(attempt.provider_code, code, "{act:?} {tls:?}");
            assert!(seen.messages().is_empty());
        }
    }
}

#[tokio::test]
async fn a_long_message_arrives_whole() {
    let certified = certified();
    for tls in [SmtpTls::None, SmtpTls::Implicit] {
        let (address, seen) = serve(Script {
            tls: Some(certified.acceptor.clone()),
            implicit: tls == SmtpTls::Implicit,
            ..Script::default()
        })
        .await;
        let channel = smtp(SmtpSettings {
            tls,
            ca_file: Some(certified.ca_file.path().to_owned()),
            ..settings(address.port())
        });
        assert_eq!(send(&channel, &long_message()).await.outcome, Outcome::Accepted);
        let text = long_message().text.replace('\n', "\r\n");
        assert!(seen.messages()[0].trim_end().ends_with(text.trim_end()), "{tls:?}");
    }
}

#[tokio::test]
async fn an_answer_in_another_character_set_is_an_answer() {
    let (address, seen) = serve(Script {
        mail: Act::SayBytes(b"250 2.1.0 Absender \xfcbernommen\r\n"),
        bad_rcpt: Act::SayBytes(b"550 5.1.1 Utilisateur inconnu\xe9\r\n"),
        dot: Act::SayBytes(b"250-2.0.0 \xc3\r\n250 2.0.0 Nachricht \xfc, queued as 4F2C\r\n"),
        ..Script::default()
    })
    .await;
    let channel = smtp(settings(address.port()));
    let refused = send(&channel, &to("bad@example.com")).await;
    assert_eq!(words(&refused), ("permanent_recipient", Some("delivery.no_such_recipient")));
    let taken = send(&channel, &message()).await;
    assert_eq!(taken.outcome, Outcome::Accepted, "{taken:?}");
    assert_eq!(
        (taken.provider_code.as_str(), taken.provider_message_id.as_str()),
        ("250 2.0.0", "4F2C")
    );
    assert_eq!(seen.connections(), 1);
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_its_end() {
    let (address, seen) = serve(Script { dot: Act::Flood, ..Script::default() }).await;
    let attempt = send(&smtp(settings(address.port())), &message()).await;
    assert_eq!(attempt.outcome, Outcome::Unknown, "{attempt:?}");
    seen.closed.notified().await;
    let flooded = seen.flooded.load(std::sync::atomic::Ordering::SeqCst);
    assert!(flooded < 64 * 1024 * 1024, "{flooded} bytes were taken");
}

#[tokio::test]
async fn data_that_is_taken_without_a_recipient_delivers_nothing() {
    // The recipient is refused: a lone dot ends DATA, RSET the rest, and the connection goes on.
    let (address, seen) = serve(Script { careless: true, ..Script::default() }).await;
    let channel = smtp(settings(address.port()));
    let refused = send(&channel, &to("bad@example.com")).await;
    assert_eq!(refused.outcome, Outcome::PermanentRecipient);
    assert!(seen.messages().is_empty(), "the outcome does not wait for the dot");
    assert_eq!(send(&channel, &message()).await.outcome, Outcome::Accepted);
    assert_eq!((seen.connections(), seen.messages().len()), (1, 2));
    assert_eq!(seen.messages()[0], "", "a lone dot and nothing else");

    // MAIL is refused and the recipient taken: even an empty message might go to somebody.
    let mail = Act::Say("550 5.7.1 not you");
    let (address, seen) = serve(Script { careless: true, mail, ..Script::default() }).await;
    let channel = smtp(settings(address.port()));
    for connections in 1..=2 {
        let refused = send(&channel, &message()).await;
        assert_eq!(words(&refused), ("permanent_message", Some("delivery.refused")));
        assert_eq!(seen.connections(), connections);
    }
    assert!(seen.messages().is_empty());
}

#[tokio::test]
async fn what_is_slipped_in_before_tls_is_forgotten() {
    let certified = certified();
    let (address, seen) = serve(Script {
        extensions: vec!["STARTTLS"],
        start_tls: "220 go\r\n250-evil\r\n250 AUTH PLAIN\r\n",
        tls: Some(certified.acceptor.clone()),
        ..Script::default()
    })
    .await;
    let settings = SmtpSettings {
        tls: SmtpTls::StartTls,
        ca_file: Some(certified.ca_file.path().to_owned()),
        ..settings(address.port())
    };
    let login = SmtpSettings {
        username: "acme".to_owned(),
        password: Secret::new("secret"),
        ..settings.clone()
    };
    let attempt = send(&smtp(login), &message()).await;
    assert_eq!(attempt.outcome, Outcome::Account, "AUTH was offered in clear only: {attempt:?}");
    assert!(!seen.commands().iter().any(|command| command.starts_with("AUTH")));
    assert_eq!(send(&smtp(settings), &message()).await.outcome, Outcome::Accepted);
}

#[tokio::test]
async fn every_mechanism_of_auth_shows_who_we_are() {
    let bearer = "AUTH XOAUTH2 dXNlcj1hY21lAWF1dGg9QmVhcmVyIHNlY3JldAEB";
    let plain = "AUTH PLAIN AGFjbWUAc2VjcmV0";
    let login: &[&str] = &["AUTH LOGIN", "YWNtZQ==", "c2VjcmV0"];
    let asks = vec!["VXNlcm5hbWU6", "UGFzc3dvcmQ6"];
    let ok = Act::Say("235 2.7.0 ok");
    let no = Act::Say("535 5.7.8 no");
    for (auth, offered, challenges, answer, said, want) in [
        (SmtpAuth::Auto, "AUTH LOGIN PLAIN", vec![], ok, &[plain][..], "accepted"),
        (SmtpAuth::Auto, "AUTH=LOGIN", asks.clone(), ok, login, "accepted"),
        (SmtpAuth::Login, "AUTH PLAIN LOGIN", asks, ok, login, "accepted"),
        (SmtpAuth::XOAuth2, "AUTH PLAIN XOAUTH2", vec![], ok, &[bearer], "accepted"),
        (SmtpAuth::XOAuth2, "AUTH XOAUTH2", vec!["eyJ9"], no, &[bearer, ""], "account"),
        (SmtpAuth::Plain, "AUTH LOGIN", vec![], ok, &[], "account"),
        (SmtpAuth::Auto, "AUTH XOAUTH2", vec![], ok, &[], "account"),
    ] {
        let (address, seen) = serve(Script {
            extensions: vec![offered],
            challenges,
            auth: answer,
            ..Script::default()
        })
        .await;
        let channel = smtp(SmtpSettings {
            auth,
            username: "acme".to_owned(),
            password: Secret::new("secret"),
            ..settings(address.port())
        });
        let attempt = send(&channel, &message()).await;
        assert_eq!(attempt.outcome.as_str(), want, "{auth:?} {offered}: {attempt:?}");
        assert!(
            seen.commands()[1..]
                .starts_with(&said.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>()),
            "{auth:?} {offered}: {:?}",
            seen.commands()
        );
    }
}

#[tokio::test]
async fn letters_beyond_ascii_go_only_where_they_are_taken() {
    let unreachable = ("permanent_recipient", Some("delivery.unreachable"));
    for (extensions, want) in [
        (&["PIPELINING", "8BITMIME", "SMTPUTF8"][..], ("accepted", None)),
        (&["PIPELINING", "8BITMIME"], unreachable),
        (&["PIPELINING"], unreachable),
    ] {
        let (address, seen) = serve(script(extensions)).await;
        let channel = smtp(settings(address.port()));
        let attempt = send(&channel, &to("jürgen@example.com")).await;
        assert_eq!(words(&attempt), want, "{extensions:?}: {attempt:?}");
        let mail = seen.commands().iter().find(|c| c.starts_with("MAIL")).cloned();
        assert_eq!(mail.is_some_and(|mail| mail.ends_with(" SMTPUTF8")), want.0 == "accepted");
        assert_eq!(send(&channel, &message()).await.outcome, Outcome::Accepted);
        assert_eq!(seen.connections(), 1);
        let plain = seen.commands().iter().rfind(|c| c.starts_with("MAIL")).cloned();
        assert_eq!(plain.as_deref(), Some("MAIL FROM:<news@acme.example>"));
    }
}

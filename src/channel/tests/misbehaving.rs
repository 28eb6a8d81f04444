//! Sinks that misbehave: whatever they do, an outcome comes, the right one, and each message leaves once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::super::{
    Channel, HttpSettings, ProviderKind, Secret, SmtpSettings, SmtpTls, SuccessRule,
};
use super::{channel, message, send};
use crate::model::Outcome;

/// What a server does once it has the whole message.
#[derive(Debug, Clone, Copy)]
enum Step {
    Say(&'static str),
    Bytes(&'static [u8]),
    /// Byte by byte, with a wait before each.
    Drip(&'static str, Duration),
    Wait(Duration),
    /// The same again and again, as long as anybody reads.
    Endless(&'static str),
    /// Ends the connection with a reset instead of an end.
    Reset,
}

use Step::{Bytes, Drip, Endless, Reset, Say, Wait};

/// How long an answer may take in these tests, and a moment that is shorter.
const LIMIT: Duration = Duration::from_millis(600);
const MOMENT: Duration = Duration::from_millis(30);
/// By then every attempt must have its outcome.
const PATIENCE: Duration = Duration::from_secs(20);

async fn perform(stream: &mut TcpStream, steps: &[Step]) {
    for step in steps {
        let done = match step {
            Say(text) => stream.write_all(text.as_bytes()).await,
            Bytes(bytes) => stream.write_all(bytes).await,
            Drip(text, wait) => {
                for byte in text.bytes() {
                    sleep(*wait).await;
                    if stream.write_all(&[byte]).await.is_err() {
                        return;
                    }
                }
                Ok(())
            }
            Wait(wait) => {
                sleep(*wait).await;
                Ok(())
            }
            Endless(text) => {
                let piece = text.repeat(4096);
                while stream.write_all(piece.as_bytes()).await.is_ok() {}
                return;
            }
            Reset => SockRef::from(&*stream).set_linger(Some(Duration::ZERO)),
        };
        if done.is_err() {
            return;
        }
    }
}

/// What a server saw: whole messages, by their Message-ID or reference, and connections.
#[derive(Default)]
struct Sink {
    messages: Mutex<Vec<String>>,
    connections: AtomicUsize,
}

impl Sink {
    fn count(&self) -> usize {
        self.messages.lock().unwrap().len()
    }
}

/// An HTTP server that reads a request whole, unless told to read less, and then does as it is told;
/// what it was told last for all that follow.
#[allow(clippy::disallowed_methods, reason = "the other side of a test")]
async fn http_sink(answers: Vec<Vec<Step>>, read_body: bool) -> (SocketAddr, Arc<Sink>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sink = Arc::new(Sink::default());
    let (shared, answers) = (sink.clone(), Arc::new(answers));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let (sink, answers) = (shared.clone(), answers.clone());
            tokio::spawn(async move {
                while let Some(request) = read_request(&mut stream, read_body).await {
                    let number = {
                        let mut messages = sink.messages.lock().unwrap();
                        messages.push(request);
                        messages.len() - 1
                    };
                    let steps = &answers[number.min(answers.len() - 1)];
                    perform(&mut stream, steps).await;
                    if !matches!(steps.first(), Some(Say(text)) if text.contains("keep-alive")) {
                        return;
                    }
                }
            });
        }
    });
    (address, sink)
}

async fn read_request(stream: &mut TcpStream, read_body: bool) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // The body of these tests ends with a brace.
        let is_whole = text.contains("\r\n\r\n") && (!read_body || text.ends_with('}'));
        if is_whole {
            return Some(text);
        }
        let mut buffer = [0; 4096];
        let limit = if read_body { buffer.len() } else { 1 };
        match stream.read(&mut buffer[..limit]).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

fn http(url: String) -> Channel {
    channel(ProviderKind::Http(Box::new(HttpSettings {
        url,
        body: r#"{"ref": {{ message_id | tojson }}}"#.to_owned(),
        success: Some(SuccessRule { pointer: "/status".to_owned(), equals: "ok".to_owned() }),
        timeout: LIMIT,
        ..HttpSettings::default()
    })))
}

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";
const OK_KEPT: &str =
    "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 15\r\n\r\n{\"status\":\"ok\"}";

/// Plays one row of the table: the outcome's word, and how often the server saw the message.
async fn http_outcome(steps: &[Step], read_body: bool) -> (&'static str, usize) {
    let (address, sink) = http_sink(vec![steps.to_vec()], read_body).await;
    let channel = http(format!("http://{address}/send"));
    let attempt = timeout(PATIENCE, send(&channel, &message())).await.expect("an outcome comes");
    // Time for a second request that must not come.
    sleep(MOMENT).await;
    (attempt.outcome.as_str(), sink.count())
}

/// What an HTTP provider does, and the outcome of it: when it answers, and how.
fn http_manners() -> Vec<(&'static str, Vec<Step>, &'static str)> {
    vec![
        ("closes after the request", vec![], "unknown"),
        ("resets after the request", vec![Reset], "unknown"),
        ("answers late, but in time", vec![Wait(LIMIT / 3), Say(OK)], "accepted"),
        ("answers too late", vec![Wait(LIMIT * 3), Say(OK)], "unknown"),
        ("status line in pieces", vec![Drip(OK, Duration::from_millis(1))], "accepted"),
        (
            "body in two segments",
            vec![
                Say("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"sta"),
                Wait(MOMENT),
                Say("tus\":\"ok\"}"),
            ],
            "accepted",
        ),
        ("drips too slowly", vec![Drip(OK, Duration::from_millis(40))], "unknown"),
        ("100 first", vec![Say("HTTP/1.1 100 Continue\r\n\r\n"), Say(OK)], "accepted"),
        (
            "early hints first",
            vec![Say("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"), Wait(MOMENT), Say(OK)],
            "accepted",
        ),
        ("100 for ever", vec![Endless("HTTP/1.1 100 Continue\r\n\r\n")], "unknown"),
        ("100 and no more", vec![Say("HTTP/1.1 100 Continue\r\n\r\n")], "unknown"),
        (
            "an error in a good answer",
            vec![Say("HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{\"status\":\"fail\"}")],
            "permanent_message",
        ),
    ]
}

/// The same of answers that are not what they should be.
fn http_answers() -> Vec<(&'static str, Vec<Step>, &'static str)> {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    vec![
        (
            "a body shorter than said",
            vec![Say("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{\"status\":\"ok\"}")],
            "unknown",
        ),
        (
            "two lengths",
            vec![Say(
                "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nContent-Length: 3\r\n\r\n{\"status\":\"ok\"}",
            )],
            "unknown",
        ),
        (
            "a length that is none",
            vec![Say("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{\"status\":\"ok\"}")],
            "unknown",
        ),
        ("a body without end", vec![Say(chunked), Endless("4\r\nabcd\r\n")], "unknown"),
        (
            "a body without end nor chunks",
            vec![Say("HTTP/1.1 200 OK\r\n\r\n"), Endless("abcd")],
            "unknown",
        ),
        ("headers without end", vec![Say("HTTP/1.1 200 OK\r\n"), Endless("X-A: b\r\n")], "unknown"),
        ("one header without end", vec![Say("HTTP/1.1 200 OK\r\nX-A: "), Endless("b")], "unknown"),
        ("a chunk cut short", vec![Say(chunked), Say("f\r\n{\"status\":")], "unknown"),
        ("a chunk of no size", vec![Say(chunked), Say("zz\r\n{\"status\":\"ok\"}\r\n")], "unknown"),
        ("no last chunk", vec![Say(chunked), Say("f\r\n{\"status\":\"ok\"}\r\n")], "unknown"),
        ("reset in the body", vec![Say(chunked), Wait(MOMENT), Reset], "unknown"),
        // SETTINGS and GOAWAY of HTTP/2, which is not spoken here.
        (
            "HTTP/2",
            vec![Bytes(b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0")],
            "unknown",
        ),
        ("bytes", vec![Bytes(&[0, 255, 10, 13, 7, 128, 64])], "unknown"),
        ("another protocol", vec![Say("220 mail.example ESMTP\r\n")], "unknown"),
        (
            "a server error in full",
            vec![Say("HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")],
            "unknown",
        ),
        (
            "a status that is none",
            vec![Say("HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n")],
            "unknown",
        ),
    ]
}

#[tokio::test]
async fn whatever_an_http_provider_does_the_message_leaves_once_and_has_its_outcome() {
    let rows = http_manners().into_iter().chain(http_answers());
    for (name, steps, want) in rows {
        let (outcome, times) = http_outcome(&steps, true).await;
        assert_eq!((outcome, times), (want, 1), "{name}");
    }
}

#[tokio::test]
async fn a_request_that_was_not_read_whole_is_unknown() {
    // How much of it left cannot be told.
    for steps in [vec![], vec![Reset]] {
        let (outcome, times) = http_outcome(&steps, false).await;
        assert_eq!((outcome, times), ("unknown", 1), "{steps:?}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let (elsewhere, other) = http_sink(vec![vec![Say(OK)]], true).await;
    for status in [301, 302, 303, 307, 308] {
        let answer = format!(
            "HTTP/1.1 {status} There\r\nLocation: http://{elsewhere}/send\r\nContent-Length: 0\r\n\r\n"
        );
        let (address, sink) = http_sink(vec![vec![Say(answer.leak())]], true).await;
        let attempt = send(&http(format!("http://{address}/send")), &message()).await;
        assert_eq!(attempt.outcome, Outcome::Account, "{status}");
        assert_eq!(sink.count(), 1, "{status}");
    }
    assert_eq!(other.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_answer_nobody_asked_for_is_not_taken_for_the_next() {
    let refused = "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n";
    let twice = format!("{OK_KEPT}{refused}");
    let first = vec![Say(twice.leak())];
    let (address, sink) = http_sink(vec![first, vec![Say(OK_KEPT)]], true).await;
    let channel = http(format!("http://{address}/send"));
    for number in 1..=3 {
        assert_eq!(send(&channel, &message()).await.outcome, Outcome::Accepted, "{number}");
        sleep(MOMENT).await;
    }
    assert_eq!(sink.count(), 3);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the other side of a test")]
async fn a_tls_handshake_that_is_cut_is_transient() {
    for steps in
        [vec![], vec![Reset], vec![Bytes(&[21, 3, 3, 0, 2, 2, 40])], vec![Say("400 No\r\n")]]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shown = format!("{steps:?}");
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut hello = [0; 256];
                let _hello = stream.read(&mut hello).await;
                perform(&mut stream, &steps).await;
            }
        });
        let attempt = send(&http(format!("https://{address}/send")), &message()).await;
        assert_eq!(attempt.outcome.as_str(), "transient", "http {shown}");
        let smtp = smtp(SmtpSettings { tls: SmtpTls::Implicit, ..smtp_settings(address) });
        let attempt = send(&smtp, &message()).await;
        assert!(!attempt.outcome.as_str().contains("unknown"), "smtp {shown}: {attempt:?}");
        assert!(attempt.outcome.is_certainly_not_accepted(), "smtp {shown}: {attempt:?}");
    }
}

fn smtp_settings(address: SocketAddr) -> SmtpSettings {
    SmtpSettings {
        host: "127.0.0.1".to_owned(),
        port: address.port(),
        tls: SmtpTls::None,
        connections: 1,
        hello_name: "test.example".to_owned(),
        password: Secret::new(""),
        connect_timeout: LIMIT,
        command_timeout: LIMIT,
        data_timeout: LIMIT,
        dot_timeout: LIMIT,
        ..SmtpSettings::default()
    }
}

fn smtp(settings: SmtpSettings) -> Channel {
    channel(ProviderKind::Smtp(Box::new(settings)))
}

/// Where in the conversation a mail server goes wrong; until then it does what it should.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Greeting,
    Data,
    Dot,
}

/// A mail server that goes wrong once at one point, and serves every later connection well.
#[allow(clippy::disallowed_methods, reason = "the other side of a test")]
async fn mail_sink(at: At, steps: Vec<Step>) -> (SocketAddr, Arc<Sink>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sink = Arc::new(Sink::default());
    let shared = sink.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let first = shared.connections.fetch_add(1, Ordering::SeqCst) == 0;
            let (sink, steps) = (shared.clone(), steps.clone());
            tokio::spawn(async move {
                let wrong = first.then_some((at, steps.as_slice()));
                let _over = mail_conversation(&mut stream, wrong, &sink).await;
            });
        }
    });
    (address, sink)
}

async fn mail_conversation(
    stream: &mut TcpStream,
    mut wrong: Option<(At, &[Step])>,
    sink: &Sink,
) -> Option<()> {
    if let Some((_, steps)) = wrong.take_if(|(at, _)| *at == At::Greeting) {
        perform(stream, steps).await;
        return None;
    }
    perform(stream, &[Say("220 test\r\n")]).await;
    let mut rest = String::new();
    loop {
        let line = read_until(stream, &mut rest, "\r\n").await?;
        let word = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "EHLO" => perform(stream, &[Say("250-test\r\n250 PIPELINING\r\n")]).await,
            "DATA" => {
                if let Some((_, steps)) = wrong.take_if(|(at, _)| *at == At::Data) {
                    perform(stream, steps).await;
                    return None;
                }
                perform(stream, &[Say("354 go on\r\n")]).await;
                let mail = read_until(stream, &mut rest, "\r\n.\r\n").await?;
                sink.messages.lock().unwrap().push(mail);
                if let Some((_, steps)) = wrong.take() {
                    perform(stream, steps).await;
                    // What it said may be a good answer: then the connection goes on.
                    let goes_on = matches!(steps.last(), Some(Say(_) | Drip(..)));
                    if goes_on { continue } else { return None }
                }
                perform(stream, &[Say("250 2.0.0 Ok: queued as 7\r\n")]).await;
            }
            "QUIT" => return None,
            _ => perform(stream, &[Say("250 2.1.0 ok\r\n")]).await,
        }
    }
}

async fn read_until(stream: &mut TcpStream, rest: &mut String, end: &str) -> Option<String> {
    loop {
        if let Some(at) = rest.find(end) {
            let tail = rest.split_off(at + end.len());
            return Some(std::mem::replace(rest, tail));
        }
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        rest.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

type MailRow = (&'static str, At, Vec<Step>, &'static str, usize);

/// What a mail server does after the final dot, the outcome of it, and how many messages it has then.
fn after_the_dot() -> Vec<MailRow> {
    vec![
        ("closes after the dot", At::Dot, vec![Wait(MOMENT)], "unknown", 1),
        ("resets after the dot", At::Dot, vec![Reset], "unknown", 1),
        ("late, but in time", At::Dot, vec![Wait(LIMIT / 3), Say("250 ok\r\n")], "accepted", 1),
        ("too late", At::Dot, vec![Wait(LIMIT * 3), Say("250 ok\r\n")], "unknown", 1),
        (
            "two segments",
            At::Dot,
            vec![Say("25"), Wait(MOMENT), Say("0 2.0.0 Ok\r"), Wait(MOMENT), Say("\n")],
            "accepted",
            1,
        ),
        ("several lines", At::Dot, vec![Say("250-a\r\n250-b\r\n250 c\r\n")], "accepted", 1),
        (
            "half a line, and the end",
            At::Dot,
            vec![Say("250 2.0"), Wait(MOMENT), Reset],
            "unknown",
            1,
        ),
        (
            "drips too slowly",
            At::Dot,
            vec![Drip("250 2.0.0 Ok: queued\r\n", LIMIT / 8)],
            "unknown",
            1,
        ),
        (
            "421 after the dot",
            At::Dot,
            vec![Say("421 4.3.2 closing\r\n"), Wait(MOMENT)],
            "transient",
            1,
        ),
        ("451 after the dot", At::Dot, vec![Say("451 4.3.0 later\r\n")], "transient", 1),
        ("554 after the dot", At::Dot, vec![Say("554 5.7.1 spam\r\n")], "permanent_message", 1),
        ("354 after the dot", At::Dot, vec![Say("354 go on\r\n")], "unknown", 1),
        ("999 after the dot", At::Dot, vec![Say("999 what\r\n")], "unknown", 1),
        ("no code", At::Dot, vec![Say("fine, thanks\r\n")], "unknown", 1),
        ("bytes", At::Dot, vec![Bytes(&[0, 255, 13, 10, 128])], "unknown", 1),
        ("codes that differ", At::Dot, vec![Say("250-a\r\n550 b\r\n")], "unknown", 1),
        ("lines without end", At::Dot, vec![Endless("250-more\r\n")], "unknown", 1),
        ("a line without end", At::Dot, vec![Say("250 "), Endless("a")], "unknown", 1),
        (
            "accepted, then a reset",
            At::Dot,
            vec![Say("250 ok\r\n"), Wait(MOMENT), Reset],
            "accepted",
            1,
        ),
    ]
}

/// The same before the dot.
fn before_the_dot() -> Vec<MailRow> {
    vec![
        ("421 to DATA", At::Data, vec![Say("421 4.3.2 closing\r\n"), Wait(MOMENT)], "transient", 0),
        ("closes at DATA", At::Data, vec![], "transient", 0),
        ("resets at DATA", At::Data, vec![Reset], "transient", 0),
        ("250 to DATA", At::Data, vec![Say("250 ok\r\n"), Wait(MOMENT)], "transient", 0),
        ("DATA without end", At::Data, vec![Say("354 "), Endless("a")], "transient", 0),
        ("silent at DATA", At::Data, vec![Wait(LIMIT * 3)], "transient", 0),
        ("a greeting without end", At::Greeting, vec![Endless("220-hello\r\n")], "transient", 0),
        (
            "a greeting line without end",
            At::Greeting,
            vec![Say("220 "), Endless("a")],
            "transient",
            0,
        ),
        (
            "drips its greeting",
            At::Greeting,
            vec![Drip("220 hello there\r\n", LIMIT / 8)],
            "transient",
            0,
        ),
        (
            "speaks HTTP",
            At::Greeting,
            vec![Say("HTTP/1.1 400 Bad Request\r\n\r\n")],
            "transient",
            0,
        ),
        ("closes at once", At::Greeting, vec![], "transient", 0),
    ]
}

#[tokio::test]
async fn whatever_a_mail_server_does_the_message_leaves_once_and_has_its_outcome() {
    let rows = after_the_dot().into_iter().chain(before_the_dot());
    for (name, at, steps, want, times) in rows {
        let (address, sink) = mail_sink(at, steps).await;
        let channel = smtp(smtp_settings(address));
        let attempt =
            timeout(PATIENCE, send(&channel, &message())).await.expect("an outcome comes");
        let seen = (attempt.outcome.as_str(), sink.count());
        assert_eq!(seen, (want, times), "{name}: {attempt:?}");
        // The channel lives on, and the next message is a matter of its own; a reset has arrived by then.
        sleep(MOMENT * 2).await;
        let next = timeout(PATIENCE, send(&channel, &message())).await.expect("an outcome comes");
        assert_eq!(next.outcome, Outcome::Accepted, "after {name}: {next:?}");
        assert_eq!(sink.count(), times + 1, "after {name}");
    }
}

#[tokio::test]
async fn an_answer_too_many_never_makes_a_message_accepted_that_was_not() {
    let extra = vec![Say("250 2.0.0 Ok\r\n250 2.0.0 Ok\r\n")];
    let (address, sink) = mail_sink(At::Dot, extra).await;
    let channel = smtp(smtp_settings(address));
    let mut accepted = 0;
    for _ in 0..4 {
        let attempt = send(&channel, &message()).await;
        accepted += usize::from(attempt.outcome == Outcome::Accepted);
        let word = attempt.outcome.as_str();
        assert!(["accepted", "transient"].contains(&word), "{attempt:?}");
    }
    assert_eq!(accepted, sink.count());
    assert!(accepted >= 3, "one of them may have to come again: {accepted}");
}

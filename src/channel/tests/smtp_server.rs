//! An SMTP server that does as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server does at one point of the conversation.
#[derive(Clone, Copy)]
pub(super) enum Act {
    Say(&'static str),
    SayAndClose(&'static str),
    Close,
}

#[derive(Clone)]
pub(super) struct Script {
    pub(super) extensions: Vec<&'static str>,
    pub(super) auth: Act,
    pub(super) mail: Act,
    /// Only for recipients that begin with `bad`.
    pub(super) bad_rcpt: Act,
    pub(super) data: Act,
    pub(super) dot: Act,
    /// Hang up after this many messages on one connection.
    pub(super) messages_max: usize,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) implicit: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            extensions: vec!["PIPELINING", "8BITMIME"],
            auth: Act::Say("235 2.7.0 ok"),
            mail: Act::Say("250 2.1.0 ok"),
            bad_rcpt: Act::Say("550 5.1.1 <bad@example.com>: no such user"),
            data: Act::Say("354 go on"),
            dot: Act::Say("250 2.0.0 Ok: queued as 4F2C"),
            messages_max: usize::MAX,
            tls: None,
            implicit: false,
        }
    }
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) connections: AtomicUsize,
    pub(super) closed: tokio::sync::Notify,
    pub(super) commands: Mutex<Vec<String>>,
    pub(super) messages: Mutex<Vec<String>>,
}

impl Seen {
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn commands(&self) -> Vec<String> {
        self.commands.lock().unwrap().clone()
    }

    pub(super) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

#[allow(clippy::disallowed_methods, reason = "the other side of a test")]
pub(super) async fn serve(script: Script) -> (SocketAddr, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Seen::default());
    let shared = seen.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            shared.connections.fetch_add(1, Ordering::SeqCst);
            let (script, seen) = (script.clone(), shared.clone());
            tokio::spawn(async move {
                connection(Box::new(stream), &script, &seen).await;
                seen.closed.notify_one();
            });
        }
    });
    (address, seen)
}

async fn connection(mut stream: Box<dyn Stream>, script: &Script, seen: &Seen) {
    if script.implicit {
        let acceptor = script.tls.as_ref().unwrap();
        let Ok(tls) = acceptor.accept(stream).await else { return };
        stream = Box::new(tls);
    }
    let mut greet = true;
    while let Some(plain) = conversation(stream, script, seen, greet).await {
        let Ok(tls) = script.tls.as_ref().unwrap().accept(plain).await else { return };
        stream = Box::new(tls);
        greet = false;
    }
}

/// Returns the stream when TLS is to begin.
async fn conversation(
    stream: Box<dyn Stream>,
    script: &Script,
    seen: &Seen,
    greet: bool,
) -> Option<Box<dyn Stream>> {
    let mut stream = BufReader::new(stream);
    if greet {
        stream.write_all(b"220 test\r\n").await.ok()?;
    }
    let mut refused = false;
    let mut messages = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let command = line.trim_end().to_owned();
        seen.commands.lock().unwrap().push(command.clone());
        let word = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let act = match word.as_str() {
            "EHLO" => {
                for extension in &script.extensions {
                    stream.write_all(format!("250-{extension}\r\n").as_bytes()).await.ok()?;
                }
                Act::Say("250 HELP")
            }
            "STARTTLS" if script.tls.is_some() => {
                stream.write_all(b"220 go\r\n").await.ok()?;
                return Some(stream.into_inner());
            }
            "AUTH" => script.auth,
            "MAIL" => {
                refused = matches!(script.mail, Act::Say(text) if !text.starts_with('2'));
                script.mail
            }
            "RCPT" if command.contains("<bad") => {
                refused = true;
                script.bad_rcpt
            }
            "RCPT" if refused => Act::Say("503 5.5.1 MAIL first"),
            "DATA" if refused => Act::Say("554 5.5.1 no valid recipients"),
            "DATA" => script.data,
            "RCPT" | "RSET" | "NOOP" => Act::Say("250 2.0.0 ok"),
            "QUIT" => Act::SayAndClose("221 bye"),
            _ => Act::Say("500 what"),
        };
        perform(&mut stream, act).await?;
        if word == "DATA" && !refused && matches!(act, Act::Say(text) if text.starts_with('3')) {
            let message = body(&mut stream).await?;
            seen.messages.lock().unwrap().push(message);
            perform(&mut stream, script.dot).await?;
            messages += 1;
            if messages >= script.messages_max {
                return None;
            }
        }
    }
}

async fn perform(stream: &mut BufReader<Box<dyn Stream>>, act: Act) -> Option<()> {
    match act {
        Act::Close => None,
        Act::Say(text) => stream.write_all(format!("{text}\r\n").as_bytes()).await.ok(),
        Act::SayAndClose(text) => {
            stream.write_all(format!("{text}\r\n").as_bytes()).await.ok()?;
            stream.shutdown().await.ok()?;
            None
        }
    }
}

async fn body(stream: &mut BufReader<Box<dyn Stream>>) -> Option<String> {
    let mut message = String::new();
    loop {
        let start = message.len();
        if stream.read_line(&mut message).await.ok()? == 0 {
            return None;
        }
        if &message[start..] == ".\r\n" {
            message.truncate(start);
            return Some(message);
        }
    }
}

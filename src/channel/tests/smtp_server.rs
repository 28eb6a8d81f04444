//! An SMTP server that does as it is told.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use socket2::SockRef;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the server does at one point of the conversation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    Say(&'static str),
    /// Bytes that are no text.
    SayBytes(&'static [u8]),
    SayAndClose(&'static str),
    /// Says nothing more, and stays.
    Hang,
    /// One line without an end, for as long as the client listens.
    Flood,
    Close,
}

#[derive(Clone)]
pub(super) struct Script {
    pub(super) extensions: Vec<&'static str>,
    /// The 334 of AUTH, each of which the client answers.
    pub(super) challenges: Vec<&'static str>,
    pub(super) auth: Act,
    /// The answer to STARTTLS, and what was slipped in behind it.
    pub(super) start_tls: &'static str,
    pub(super) mail: Act,
    /// Only for recipients that begin with `bad`.
    pub(super) bad_rcpt: Act,
    pub(super) data: Act,
    /// Answers 354 to DATA though there is nobody to write to.
    pub(super) careless: bool,
    /// Done once this many bytes of a message have come; nothing is read after that.
    pub(super) body: Option<(usize, Act)>,
    pub(super) dot: Act,
    pub(super) rset: Act,
    pub(super) quit: Act,
    /// Hang up after this many messages on one connection.
    pub(super) messages_max: usize,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) implicit: bool,
}

impl Default for Script {
    fn default() -> Script {
        Script {
            extensions: vec!["PIPELINING", "8BITMIME"],
            challenges: Vec::new(),
            auth: Act::Say("235 2.7.0 ok"),
            start_tls: "220 go\r\n",
            mail: Act::Say("250 2.1.0 ok"),
            bad_rcpt: Act::Say("550 5.1.1 <bad@example.com>: no such user"),
            data: Act::Say("354 go on"),
            careless: false,
            body: None,
            dot: Act::Say("250 2.0.0 Ok: queued as 4F2C"),
            rset: Act::Say("250 2.0.0 ok"),
            quit: Act::SayAndClose("221 bye"),
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
    /// Bytes of floods that were written.
    pub(super) flooded: AtomicUsize,
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
    // Little room in the kernel: what is not read here is soon held up there.
    SockRef::from(&listener).set_recv_buffer_size(256 * 1024).unwrap();
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
                stream.write_all(script.start_tls.as_bytes()).await.ok()?;
                return Some(stream.into_inner());
            }
            "AUTH" => {
                challenge(&mut stream, script, seen).await?;
                script.auth
            }
            "MAIL" => {
                refused = matches!(script.mail, Act::Say(text) if !text.starts_with('2'));
                script.mail
            }
            "RCPT" if command.contains("<bad") => {
                refused = true;
                script.bad_rcpt
            }
            "RCPT" if refused && !script.careless => Act::Say("503 5.5.1 MAIL first"),
            "DATA" if refused && !script.careless => Act::Say("554 5.5.1 no valid recipients"),
            "DATA" => script.data,
            "RSET" => script.rset,
            "RCPT" | "NOOP" => Act::Say("250 2.0.0 ok"),
            "QUIT" => script.quit,
            _ => Act::Say("500 what"),
        };
        perform(&mut stream, act, seen).await?;
        let follows = matches!(act, Act::Say(text) if text.starts_with('3'));
        if word == "DATA" && follows && (script.careless || !refused) {
            if let Some((bytes, act)) = script.body {
                stream.read_exact(&mut vec![0; bytes]).await.ok()?;
                perform(&mut stream, act, seen).await?;
                perform(&mut stream, Act::Hang, seen).await?;
            }
            let message = body(&mut stream).await?;
            seen.messages.lock().unwrap().push(message);
            perform(&mut stream, script.dot, seen).await?;
            messages += 1;
            if messages >= script.messages_max {
                return None;
            }
        }
    }
}

async fn challenge(
    stream: &mut BufReader<Box<dyn Stream>>,
    script: &Script,
    seen: &Seen,
) -> Option<()> {
    for challenge in &script.challenges {
        stream.write_all(format!("334 {challenge}\r\n").as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_line(&mut answer).await.ok()?;
        seen.commands.lock().unwrap().push(answer.trim_end().to_owned());
    }
    Some(())
}

async fn perform(stream: &mut BufReader<Box<dyn Stream>>, act: Act, seen: &Seen) -> Option<()> {
    match act {
        Act::Close => None,
        Act::Hang => std::future::pending().await,
        Act::Flood => loop {
            seen.flooded.fetch_add(stream.write(&[b'2'; 4096]).await.ok()?, Ordering::SeqCst);
        },
        Act::SayBytes(bytes) => stream.write_all(bytes).await.ok(),
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
        // A line of its own: `read_line` checks all that stands in its buffer, again for each line.
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == ".\r\n" {
            return Some(message);
        }
        message.push_str(&line);
    }
}

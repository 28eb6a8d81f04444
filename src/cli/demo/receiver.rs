//! A mail server for the demo: takes everything but mail to `nobody`, tells of each message, keeps none.
//!
//! The commands of RFC 5321 that a sender needs, with PIPELINING (RFC 2920). Not a mail server for
//! anything else.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::super::table::shown;

/// Events that wait to be shown; then senders wait.
pub(super) const EVENTS_MAX: usize = 64;
/// Connections at the same time.
const CONNECTIONS_MAX: usize = 32;
/// Longest command or line of a message, with its line end.
const LINE_MAX_BYTES: u64 = 8 << 10;
/// Longest message.
const MESSAGE_MAX_BYTES: usize = 1 << 20;

/// Mail to these is refused: `nobody@...`.
const UNKNOWN_LOCAL_PART: &str = "nobody@";

/// What happened at the mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    Arrived(Mail),
    /// The recipient that was answered 550.
    Refused(String),
}

/// A message that was answered 250.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Mail {
    pub(super) to: String,
    pub(super) subject: String,
    /// Without the angle brackets.
    pub(super) message_id: String,
}

impl Event {
    /// For people.
    pub(super) fn told(&self) -> String {
        match self {
            Event::Arrived(mail) => {
                format!("  mail for {}: {}", shown(&mail.to), shown(&mail.subject))
            }
            Event::Refused(to) => format!("  mail for {}: refused with 550", shown(to)),
        }
    }
}

pub(super) struct Receiver {
    listener: TcpListener,
    address: SocketAddr,
}

impl Receiver {
    /// Any free port on loopback.
    pub(super) async fn bind() -> io::Result<Receiver> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok(Receiver { listener, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Never ends by itself. Dropping it hangs up on everybody.
    pub(super) async fn serve<T>(self, events: mpsc::Sender<Event>) -> io::Result<T> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Some(_ended) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                    let conversation =
                        Conversation { stream: BufStream::new(accepted?.0), events: events.clone() };
                    // Who hangs up in the middle has not sent anything.
                    connections.spawn(async move { conversation.hold().await.is_ok() });
                }
            }
        }
    }
}

struct Conversation {
    stream: BufStream<TcpStream>,
    events: mpsc::Sender<Event>,
}

impl Conversation {
    async fn hold(mut self) -> io::Result<()> {
        self.answer("220 dropchute demo").await?;
        // Whom the message is for, once there is a sender and a recipient.
        let (mut sender, mut recipient) = (false, None);
        while let Some(command) = self.line().await? {
            let command = String::from_utf8_lossy(&command);
            let word = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let answer = match word.as_str() {
                "EHLO" | "HELO" => {
                    "250-localhost\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8"
                }
                "MAIL" => {
                    (sender, recipient) = (true, None);
                    "250 2.1.0 ok"
                }
                "RCPT" if !sender => "503 5.5.1 MAIL first",
                "RCPT" => {
                    let to = address(&command);
                    if to.starts_with(UNKNOWN_LOCAL_PART) {
                        self.tell(Event::Refused(to)).await;
                        "550 5.1.1 nobody of that name here"
                    } else {
                        recipient = Some(to);
                        "250 2.1.5 ok"
                    }
                }
                "DATA" if recipient.is_none() => "554 5.5.1 no valid recipients",
                "DATA" => {
                    self.answer("354 end with a dot").await?;
                    let Some(mail) = self.message().await? else { return Ok(()) };
                    let to = recipient.take().unwrap_or_default();
                    sender = false;
                    self.tell(Event::Arrived(Mail { to, ..mail })).await;
                    "250 2.0.0 taken"
                }
                "RSET" => {
                    (sender, recipient) = (false, None);
                    "250 2.0.0 ok"
                }
                "NOOP" => "250 2.0.0 ok",
                "QUIT" => return self.answer("221 2.0.0 bye").await,
                _ => "502 5.5.1 not here",
            };
            self.answer(answer).await?;
        }
        Ok(())
    }

    /// Reads up to the final dot. `None` where it never came, or the message is too long.
    async fn message(&mut self) -> io::Result<Option<Mail>> {
        let (mut head, mut in_head, mut bytes) = (Vec::new(), true, 0);
        while let Some(line) = self.line().await? {
            bytes += line.len();
            if line == b"." {
                return Ok(Some(mail_of(&head)));
            }
            if bytes > MESSAGE_MAX_BYTES {
                break;
            }
            in_head = in_head && !line.is_empty();
            if in_head {
                head.push(String::from_utf8_lossy(&line).into_owned());
            }
        }
        Ok(None)
    }

    /// A line without its end. `None` at the end of the stream; a line cut or too long counts as that.
    async fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.stream).take(LINE_MAX_BYTES).read_until(b'\n', &mut line).await?;
        Ok(line.strip_suffix(b"\r\n").map(<[u8]>::to_vec))
    }

    async fn answer(&mut self, text: &str) -> io::Result<()> {
        self.stream.write_all(text.as_bytes()).await?;
        self.stream.write_all(b"\r\n").await?;
        self.stream.flush().await
    }

    /// Before the answer goes out, so that nothing is answered and not known.
    async fn tell(&self, event: Event) {
        // Nobody listens only when the demo ends.
        let _ended = self.events.send(event).await;
    }
}

/// What stands between the angle brackets.
fn address(command: &str) -> String {
    let inner = command.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map(|(address, _)| address.to_owned()).unwrap_or_default()
}

fn mail_of(head: &[String]) -> Mail {
    let field = |name: &str| {
        let at = head.iter().position(|line| {
            line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
        })?;
        let mut value = head[at].split_once(':').map_or("", |(_, value)| value).trim().to_owned();
        // A line that begins with white space goes on with the one before (RFC 5322).
        for more in head[at + 1..].iter().take_while(|line| line.starts_with([' ', '\t'])) {
            value.push(' ');
            value.push_str(more.trim());
        }
        Some(value)
    };
    Mail {
        to: String::new(),
        subject: field("Subject").unwrap_or_default(),
        message_id: field("Message-ID")
            .unwrap_or_default()
            .trim_matches(['<', '>'].as_slice())
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn pipelined_mail_is_told_of_before_it_is_answered() {
        let receiver = Receiver::bind().await.unwrap();
        let address = receiver.address();
        let (told, mut events) = mpsc::channel(EVENTS_MAX);
        let talk = async {
            let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
            let send = "EHLO me\r\nDATA\r\nMAIL FROM:<a@x.example>\r\nRCPT TO:<nobody@x.example>\r\n\
                        DATA\r\nRSET\r\nRCPT TO:<b@x.example>\r\nMAIL FROM:<a@x.example> SIZE=5\r\n\
                        RCPT TO:<b@x.example>\r\nDATA\r\nsubject: long\r\n and folded\r\n\
                        Message-ID: <7@x>\r\n\r\nSubject: not this\r\n..\r\n.\r\nNOOP\r\nQUIT\r\n";
            stream.write_all(send.as_bytes()).await.unwrap();
            let mut answers = String::new();
            stream.read_to_string(&mut answers).await.unwrap();
            answers
        };
        let answers = tokio::select! {
            served = receiver.serve::<String>(told) => served.unwrap(),
            answers = talk => answers,
        };
        let codes: Vec<&str> = answers.lines().map(|line| &line[..3]).collect();
        let wanted = "220 250 250 250 250 554 250 550 554 250 503 250 250 354 250 250 221";
        assert_eq!(codes.join(" "), wanted, "{answers}");
        assert_eq!(events.recv().await, Some(Event::Refused("nobody@x.example".to_owned())));
        let mail = Mail {
            to: "b@x.example".to_owned(),
            subject: "long and folded".to_owned(),
            message_id: "7@x".to_owned(),
        };
        assert_eq!(events.recv().await, Some(Event::Arrived(mail)));
    }
}

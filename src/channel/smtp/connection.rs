//! One connection to an SMTP server: from TCP to AUTH, and between messages.

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::super::answer::lost;
use super::super::settings::{SmtpSettings, SmtpTls};
use super::classify::{Stage, account, refusal};
use super::connect::connect;
use super::login::log_in;
use super::offers::Offers;
use super::reply::Reply;
use super::tls::Tls;
use super::wire::{FINAL_DOT, Lost, Stream, Wire};
use crate::model::Attempt;

/// How long a used connection may take to become ready for the next message.
const TIDY_TIMEOUT: Duration = Duration::from_secs(5);
/// Larger buffers are given back after the message that needed them.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

/// What a connection needs before the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Ready,
    /// A transaction was refused half-way.
    OwesReset,
    /// DATA was taken although the recipient was refused: an empty message to nobody ends it.
    OwesDot,
    /// Lost or over, or a message is under way: never used again.
    Over,
}

/// A connection that has said EHLO and, where there is a username, AUTH.
pub(in crate::channel) struct Connection {
    pub(super) talk: Talk,
    pub(super) offers: Offers,
    pub(super) state: State,
    pub(super) messages: u32,
    /// Holds what is written next, to be filled anew each time.
    pub(super) scratch: Vec<u8>,
    opened: Instant,
    used: Instant,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("messages", &self.messages)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Cancel-safe: dropped, it closes what it was opening.
    pub(super) async fn open(
        settings: &SmtpSettings,
        tls: Option<&Tls>,
        now: Instant,
    ) -> Result<Connection, Attempt> {
        let limit = settings.command_timeout;
        let stream = match timeout(settings.connect_timeout, stream(settings, tls)).await {
            Ok(stream) => stream?,
            Err(_elapsed) => return Err(lost("not connected in time")),
        };
        let mut talk = Talk(Wire::new(stream));
        talk.answer(limit).await.and_then(|reply| expect_ok(Stage::Greeting, reply))?;
        let mut offers = talk.hello(settings).await?;
        if settings.tls == SmtpTls::StartTls {
            let tls = tls.ok_or_else(|| account("TLS is not set up"))?;
            talk = talk.start_tls(offers, tls, settings).await?;
            // What was offered in clear counts for nothing: anybody may have said it.
            offers = talk.hello(settings).await?;
        }
        if !settings.username.is_empty() {
            log_in(&mut talk, offers, settings).await?;
        }
        let scratch = Vec::new();
        let state = State::Ready;
        Ok(Connection { talk, offers, state, messages: 0, scratch, opened: now, used: now })
    }

    /// Back to the others; false where no message may go this way any more.
    pub(super) fn rest(&mut self, settings: &SmtpSettings, now: Instant) -> bool {
        self.used = now;
        self.scratch.clear();
        self.scratch.shrink_to(SCRATCH_BYTES_KEPT);
        self.state != State::Over && !self.is_worn_out(settings, now) && self.talk.0.is_read_up()
    }

    /// True where the next message may go this way: not worn out, and the server has not hung up.
    pub(super) fn is_fresh(&self, settings: &SmtpSettings, now: Instant) -> bool {
        self.state != State::Over
            && !self.is_worn_out(settings, now)
            && now.saturating_duration_since(self.used) < settings.idle_max
            && self.talk.0.is_silent()
    }

    fn is_worn_out(&self, settings: &SmtpSettings, now: Instant) -> bool {
        self.messages >= settings.messages_max
            || now.saturating_duration_since(self.opened) >= settings.age_max
    }

    /// Ends what the last message left open; false where the server does not go along. This is done now and
    /// not after that message, whose outcome must not wait for it.
    pub(super) async fn tidy(&mut self, settings: &SmtpSettings) -> bool {
        let limit = settings.command_timeout.min(TIDY_TIMEOUT);
        let tidied = match std::mem::replace(&mut self.state, State::Over) {
            State::Ready => true,
            State::OwesReset => self.talk.reset(limit).await,
            // Whatever the server says to an empty message without a recipient, nobody gets it.
            State::OwesDot => {
                self.talk.ask(FINAL_DOT, limit).await.is_ok() && self.talk.reset(limit).await
            }
            State::Over => false,
        };
        if tidied {
            self.state = State::Ready;
        }
        tidied
    }

    /// Says goodbye without waiting: neither for room in the socket nor for the answer.
    pub(super) fn dismiss(mut self) {
        // Within DATA it would be a line of the message.
        if matches!(self.state, State::Ready | State::OwesReset) {
            let _said = self.talk.0.write(b"QUIT\r\n", TIDY_TIMEOUT).now_or_never();
        }
    }
}

async fn stream(settings: &SmtpSettings, tls: Option<&Tls>) -> Result<Stream, Attempt> {
    let socket = connect(&settings.host, settings.port)
        .await
        .map_err(|error| lost(format!("not connected: {}", error.kind())))?;
    match tls {
        Some(tls) if settings.tls == SmtpTls::Implicit => tls.handshake(socket).await,
        _ => Ok(Stream::Plain(socket)),
    }
}

/// The conversation before the first message: what goes wrong here is an attempt that never left.
pub(super) struct Talk(pub(super) Wire);

impl Talk {
    pub(super) async fn answer(&mut self, limit: Duration) -> Result<Reply<'_>, Attempt> {
        self.0.reply(limit).await.map_err(|Lost(detail)| lost(detail))
    }

    pub(super) async fn ask(
        &mut self,
        words: &[u8],
        limit: Duration,
    ) -> Result<Reply<'_>, Attempt> {
        self.0.write(words, limit).await.map_err(|Lost(detail)| lost(detail))?;
        self.answer(limit).await
    }

    async fn hello(&mut self, settings: &SmtpSettings) -> Result<Offers, Attempt> {
        let hello = format!("EHLO {}\r\n", settings.hello_name);
        let reply = self.ask(hello.as_bytes(), settings.command_timeout).await?;
        expect_ok(Stage::Greeting, reply).map(|()| Offers::parse(reply.text))
    }

    async fn start_tls(
        mut self,
        offers: Offers,
        tls: &Tls,
        settings: &SmtpSettings,
    ) -> Result<Talk, Attempt> {
        if !offers.start_tls {
            return Err(account("the server does not offer STARTTLS"));
        }
        let reply = self.ask(b"STARTTLS\r\n", settings.command_timeout).await?;
        expect_ok(Stage::StartTls, reply)?;
        let socket = self.0.into_plain().expect("STARTTLS is said once, in clear");
        match timeout(settings.connect_timeout, tls.handshake(socket)).await {
            Ok(stream) => Ok(Talk(Wire::new(stream?))),
            Err(_elapsed) => Err(lost("the TLS handshake took too long")),
        }
    }

    async fn reset(&mut self, limit: Duration) -> bool {
        self.ask(b"RSET\r\n", limit).await.is_ok_and(|reply| reply.code / 100 == 2)
    }
}

fn expect_ok(stage: Stage, reply: Reply<'_>) -> Result<(), Attempt> {
    match reply.code {
        200..=299 => Ok(()),
        400..=599 => Err(refusal(stage, reply)),
        _ => Err(lost("the server's answer does not fit the command")),
    }
}

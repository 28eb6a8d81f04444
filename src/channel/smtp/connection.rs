//! One connection to an SMTP server, from TCP to AUTH.

use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, AsyncTokioStream};
use lettre::transport::smtp::commands::Ehlo;
use lettre::transport::smtp::extension::{ClientId, Extension};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::super::answer::lost;
use super::super::settings::SmtpSettings;
use super::classify::{Reply, Stage, refusal};
use super::socket::Socket;
use super::tls::{Tls, TlsSocket, is_refusal};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome};

/// How long a goodbye may take.
const QUIT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that has said EHLO and, where there is a username, AUTH.
pub(in crate::channel) struct Connection {
    pub(super) smtp: AsyncSmtpConnection,
    pub(super) socket: Socket,
    pub(super) pipelining: bool,
    pub(super) smtp_utf8: bool,
    /// Set when the conversation is lost or over: never used again.
    pub(super) broken: bool,
    pub(super) messages: u32,
    opened: Instant,
    used: Instant,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("messages", &self.messages)
            .field("broken", &self.broken)
            .finish_non_exhaustive()
    }
}

/// Why a step of the conversation did not end well.
pub(super) enum Trouble {
    Refused(Reply),
    /// The network, the time limit, or words that are no SMTP.
    Lost(&'static str),
}

/// One step of the conversation with a limit on its time.
pub(super) async fn step<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, lettre::transport::smtp::Error>>,
) -> Result<T, Trouble> {
    match timeout(limit, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(trouble(&error)),
        Err(_elapsed) => Err(Trouble::Lost("the server took too long")),
    }
}

fn trouble(error: &lettre::transport::smtp::Error) -> Trouble {
    match error.status() {
        // lettre keeps the text of a refusal as the error's source.
        Some(code) => Trouble::Refused(Reply {
            code: u16::from(code),
            text: std::error::Error::source(error).map(ToString::to_string).unwrap_or_default(),
        }),
        None => Trouble::Lost("the connection was lost"),
    }
}

impl Trouble {
    fn at(self, stage: Stage) -> Attempt {
        match self {
            Trouble::Refused(reply) => refusal(stage, &reply),
            Trouble::Lost(detail) => lost(detail),
        }
    }
}

impl Connection {
    pub(super) async fn open(
        settings: &SmtpSettings,
        tls: Option<&Tls>,
        now: Instant,
    ) -> Result<Connection, Attempt> {
        let connecting = TcpStream::connect((settings.host.as_str(), settings.port));
        let stream = match timeout(settings.connect_timeout, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(lost(format!("not connected: {}", error.kind()))),
            Err(_elapsed) => return Err(lost("not connected in time")),
        };
        let socket = Socket::new(stream).map_err(|_| lost("not connected"))?;
        let transport = transport(settings, tls, &socket).await?;
        let hello = ClientId::Domain(settings.hello_name.clone());
        let limit = settings.command_timeout;
        let mut smtp = step(limit, AsyncSmtpConnection::connect_with_transport(transport, &hello))
            .await
            .map_err(|trouble| trouble.at(Stage::Greeting))?;
        if let Some(Tls::StartTls(parameters)) = tls {
            start_tls(&mut smtp, parameters.clone(), &hello, limit).await?;
        }
        // lettre's reading of EHLO leaves PIPELINING out, so the server is asked once more.
        let extensions = step(limit, smtp.command(Ehlo::new(hello)))
            .await
            .map_err(|trouble| trouble.at(Stage::Greeting))?;
        let pipelining =
            extensions.message().any(|line| line.trim().eq_ignore_ascii_case("PIPELINING"));
        let smtp_utf8 = smtp.server_info().supports_feature(Extension::SmtpUtfEight);
        if !settings.username.is_empty() {
            authenticate(&mut smtp, settings).await?;
        }
        Ok(Connection {
            smtp,
            socket,
            pipelining,
            smtp_utf8,
            broken: false,
            messages: 0,
            opened: now,
            used: now,
        })
    }

    pub(super) fn touch(&mut self, now: Instant) {
        self.used = now;
    }

    /// True where the next message may go this way: not worn out, and the server has not hung up.
    pub(super) fn is_fresh(&self, settings: &SmtpSettings, now: Instant) -> bool {
        !self.broken
            && !self.is_worn_out(settings, now)
            && now.saturating_duration_since(self.used) < settings.idle_max
            && self.socket.is_silent()
    }

    pub(super) fn is_worn_out(&self, settings: &SmtpSettings, now: Instant) -> bool {
        self.messages >= settings.messages_max
            || now.saturating_duration_since(self.opened) >= settings.age_max
    }

    /// Says goodbye; the answer changes nothing and is not waited for long.
    pub(super) async fn quit(mut self) {
        if !self.broken {
            let _farewell = timeout(QUIT_TIMEOUT, self.smtp.quit()).await;
        }
    }
}

async fn transport(
    settings: &SmtpSettings,
    tls: Option<&Tls>,
    socket: &Socket,
) -> Result<Box<dyn AsyncTokioStream>, Attempt> {
    let Some(Tls::Implicit { connector, name }) = tls else {
        return Ok(Box::new(socket.clone()));
    };
    let handshake = connector.connect(name.clone(), socket.clone());
    match timeout(settings.connect_timeout, handshake).await {
        Ok(Ok(stream)) => Ok(Box::new(TlsSocket(stream))),
        Ok(Err(error)) if is_refusal(&error) => Err(account("TLS failed; see the certificates")),
        Ok(Err(_)) => Err(lost("the connection was lost in the TLS handshake")),
        Err(_elapsed) => Err(lost("the TLS handshake took too long")),
    }
}

async fn start_tls(
    smtp: &mut AsyncSmtpConnection,
    parameters: lettre::transport::smtp::client::TlsParameters,
    hello: &ClientId,
    limit: Duration,
) -> Result<(), Attempt> {
    if !smtp.can_starttls() {
        return Err(account("the server does not offer STARTTLS"));
    }
    match timeout(limit, smtp.starttls(parameters, hello)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if is_refusal(&error) => Err(account("TLS failed; see the certificates")),
        Ok(Err(error)) => Err(trouble(&error).at(Stage::StartTls)),
        Err(_elapsed) => Err(lost("STARTTLS took too long")),
    }
}

async fn authenticate(
    smtp: &mut AsyncSmtpConnection,
    settings: &SmtpSettings,
) -> Result<(), Attempt> {
    let mechanisms = [Mechanism::Plain, Mechanism::Login];
    if smtp.server_info().get_auth_mechanism(&mechanisms).is_none() {
        return Err(account("the server offers neither AUTH PLAIN nor LOGIN"));
    }
    let credentials =
        Credentials::new(settings.username.clone(), settings.password.reveal().to_owned());
    step(settings.command_timeout, smtp.auth(&mechanisms, &credentials))
        .await
        .map(|_response| ())
        .map_err(|trouble| trouble.at(Stage::Auth))
}

fn account(detail: &str) -> Attempt {
    Attempt::new(Outcome::Account, Some(ReasonCode::DeliveryProviderCredentials), detail)
}

//! What a provider is, as the configuration gives it. Secrets are already read from their files.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::model::Outcome;
use crate::pacing::{Rate, RetrySchedule, WarmUp};

/// A password, token or key that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// One `[provider.<id>]`.
#[derive(Debug, Clone)]
pub struct ProviderSettings {
    pub id: String,
    pub kind: ProviderKind,
    /// Messages (of SMS, parts) per time at most; dispatch keeps to it.
    pub rate: Option<Rate>,
    /// Messages under way at most (SMTP: `connections` bounds it too).
    pub concurrency: usize,
    /// Messages from one sender to one recipient per time at most.
    pub pair_rate: Option<Rate>,
    /// So many failures in a row, of different recipients, and the provider counts as away.
    pub failures_max: u32,
    /// The ramp of each sender that is new at this provider.
    pub warm_up: Option<WarmUp>,
    pub retry: RetrySchedule,
    pub on_unknown: OnUnknown,
}

impl ProviderSettings {
    /// Default of `concurrency`.
    pub const CONCURRENCY: usize = 64;
    /// Default of `failures_max`.
    pub const FAILURES_MAX: u32 = 10;

    pub fn new(id: impl Into<String>, kind: ProviderKind) -> ProviderSettings {
        ProviderSettings {
            id: id.into(),
            kind,
            rate: None,
            concurrency: ProviderSettings::CONCURRENCY,
            pair_rate: None,
            failures_max: ProviderSettings::FAILURES_MAX,
            warm_up: None,
            retry: RetrySchedule::default(),
            on_unknown: OnUnknown::Hold,
        }
    }
}

/// What becomes of a row whose outcome is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnUnknown {
    #[default]
    Hold,
    Resend,
}

#[derive(Debug, Clone)]
pub enum ProviderKind {
    Smtp(Box<SmtpSettings>),
    Http(Box<HttpSettings>),
    Simulator(SimulatorSettings),
    Directory(DirectorySettings),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SmtpTls {
    #[default]
    StartTls,
    Implicit,
    None,
}

/// `kind = "smtp"`.
#[derive(Debug, Clone)]
pub struct SmtpSettings {
    pub host: String,
    pub port: u16,
    pub tls: SmtpTls,
    /// Empty: no AUTH.
    pub username: String,
    pub password: Secret,
    /// Connections at most.
    pub connections: usize,
    /// The name in EHLO.
    pub hello_name: String,
    /// More certificate authorities (PEM), beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Until the TCP connection and TLS stand.
    pub connect_timeout: Duration,
    /// For the answer to a command before DATA.
    pub command_timeout: Duration,
    /// For the answer to DATA.
    pub data_timeout: Duration,
    /// For the answer after the final dot.
    pub dot_timeout: Duration,
    /// An idle connection older than this is not used again.
    pub idle_max: Duration,
    /// A connection older than this is not used again.
    pub age_max: Duration,
    /// Messages per connection at most.
    pub messages_max: u32,
}

impl Default for SmtpSettings {
    fn default() -> SmtpSettings {
        SmtpSettings {
            host: String::new(),
            port: 587,
            tls: SmtpTls::StartTls,
            username: String::new(),
            password: Secret::new(""),
            connections: 8,
            hello_name: "localhost".to_owned(),
            ca_file: None,
            connect_timeout: Duration::from_secs(30),
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(120),
            dot_timeout: Duration::from_secs(600),
            idle_max: Duration::from_secs(60),
            age_max: Duration::from_secs(600),
            messages_max: 1000,
        }
    }
}

/// `kind = "http"`: any HTTP API, described instead of coded. `url`, `headers` and `body` are templates.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub auth: HttpAuth,
    pub content_type: String,
    pub body: String,
    /// Beside a 2xx status.
    pub success: Option<SuccessRule>,
    /// JSON pointer to the provider's message id; empty: none.
    pub id_pointer: String,
    /// JSON pointer to the provider's error code; empty: none.
    pub code_pointer: String,
    /// Outcome by the body's code or `http:<status>`.
    pub outcomes: BTreeMap<String, Outcome>,
    /// Until TCP and TLS stand.
    pub connect_timeout: Duration,
    /// For the whole exchange.
    pub timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            method: "POST".to_owned(),
            url: String::new(),
            headers: Vec::new(),
            auth: HttpAuth::None,
            content_type: "application/json".to_owned(),
            body: String::new(),
            success: None,
            id_pointer: String::new(),
            code_pointer: String::new(),
            outcomes: BTreeMap::new(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(60),
        }
    }
}

/// The value at `pointer` must be this text, number or truth value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuccessRule {
    pub pointer: String,
    pub equals: String,
}

#[derive(Debug, Clone)]
pub enum HttpAuth {
    None,
    Bearer {
        token: Secret,
    },
    Basic {
        username: String,
        password: Secret,
    },
    Header {
        name: String,
        value: Secret,
    },
    Query {
        name: String,
        value: Secret,
    },
    /// Client credentials (RFC 6749, 4.4).
    OAuth2 {
        token_url: String,
        client_id: String,
        client_secret: Secret,
        scope: String,
    },
    /// HMAC-SHA-256 over the body, in a header.
    Hmac {
        header: String,
        secret: Secret,
        encoding: HmacEncoding,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HmacEncoding {
    Hex,
    Base64,
}

/// `kind = "simulator"`: nothing leaves the house.
#[derive(Debug, Clone, Default)]
pub struct SimulatorSettings {
    /// How long each message takes.
    pub delay: Duration,
    /// What it took is followed by a receipt, which comes at once. No key: only tests have it.
    pub receipts: bool,
}

/// `kind = "directory"`: each message becomes a file.
#[derive(Debug, Clone)]
pub struct DirectorySettings {
    pub path: PathBuf,
}

//! The sections of the server itself: doors, admin, web, shutdown, log, limits.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tracing_subscriber::filter::Targets;

use super::problem::Complaint;
use super::secret::{Places, check_private};
use super::section::{Item, Section};
use super::value;
use crate::records;
use crate::telemetry::LogFormat;
use crate::transfer::{
    AlgorithmPolicy, FtpSettings, HostKeyType, Limits, Network, SessionReuse, Settings,
    SftpSettings, TlsMode,
};

/// The front that may face the internet. Nothing listens there yet in this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Web {
    pub listen: SocketAddr,
    /// How partners' clients and providers reach it.
    pub public_url: Option<String>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severe level, where need be by module: `info,dropchute::store=debug`.
    pub filter: String,
    pub format: LogFormat,
}

/// The admin front listens on the machine itself only, unless told otherwise.
const ADMIN_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);
const WEB_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);
const BALLAST_BYTES: u64 = 64 << 20;
const SHUTDOWN_GRACE: Duration = Duration::from_secs(20);

/// Everything the doors are told.
pub(super) fn doors(top: &Section<'_>, places: &Places) -> Settings {
    let built_in = Settings::default();
    let data_dir = data_dir(top, places, built_in.data_dir);
    let sftp = sftp(&top.section("sftp"), places);
    let ftp = ftp(&top.section("ftp"), places);
    Settings {
        sftp: Some(sftp).filter(|sftp| !sftp.listen.is_empty()),
        ftp: Some(ftp).filter(|ftp| !ftp.listen.is_empty() || !ftp.implicit_listen.is_empty()),
        limits: built_in.limits,
        guard: built_in.guard,
        disk_reserve: top.value("disk_reserve", built_in.disk_reserve, value::percent),
        data_dir,
    }
}

/// How large the ballast may be.
pub(super) fn ballast(top: &Section<'_>) -> u64 {
    top.value("ballast", BALLAST_BYTES, value::size)
}

/// The folder need not be there yet: starting makes it.
fn data_dir(top: &Section<'_>, places: &Places, built_in: PathBuf) -> PathBuf {
    top.value("data_dir", built_in, |item| {
        let path = places.path(item)?;
        if path.metadata().is_ok_and(|there| !there.is_dir()) {
            return Err(
                Complaint::new("is a file").allowed("a folder, or a path with nothing there yet")
            );
        }
        Ok(path)
    })
}

fn sftp(section: &Section<'_>, places: &Places) -> SftpSettings {
    let built_in = SftpSettings::default();
    let policies: Vec<_> = AlgorithmPolicy::ALL
        .iter()
        .flat_map(|policy| policy.names().map(|name| (name, *policy)))
        .collect();
    let kinds: Vec<_> = HostKeyType::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    let policy = section.value("policy", built_in.policy, value::one_of(&policies));
    let kinds = value::list(value::one_of(&kinds));
    SftpSettings {
        listen: section.value("listen", built_in.listen, value::list(value::listener)),
        host_key_types: section.value("host_key_types", built_in.host_key_types, |item| {
            let types = kinds(item)?;
            if types.is_empty() {
                return Err(Complaint::new("names no kind of key").allowed("at least \"ed25519\""));
            }
            match types.iter().find(|kind| !policy.takes_host_key(**kind)) {
                None => Ok(types),
                Some(kind) => {
                    let why = format!("names {:?}, which the policy does not offer", kind.as_str());
                    Err(Complaint::new(why).hint("leave it out, or set policy = \"legacy\""))
                }
            }
        }),
        host_key_file: section
            .optional("host_key_file", built_in.host_key_file, |item| places.path(item)),
        policy,
        from_proxy: from_proxy(section),
    }
}

fn ftp(section: &Section<'_>, places: &Places) -> FtpSettings {
    let built_in = FtpSettings::default();
    let modes =
        [("required", TlsMode::Required), ("optional", TlsMode::Optional), ("off", TlsMode::Off)];
    let reuses = [
        ("off", SessionReuse::Off),
        ("preferred", SessionReuse::Preferred),
        ("required", SessionReuse::Required),
    ];
    let tls = section.value("tls", built_in.tls, value::one_of(&modes));
    if tls != TlsMode::Required {
        let complaint = Complaint::new(
            "lets accounts with the protocol \"ftp\" send passwords and files in clear",
        );
        section.warn("tls", complaint);
    }
    let certificate_file =
        section.optional("certificate_file", None, |item| certificate(places.path(item)?));
    let key_file = section.optional("key_file", None, |item| private_key(places.path(item)?));
    for (given, other) in [("certificate_file", "key_file"), ("key_file", "certificate_file")] {
        if section.has(given) && !section.has(other) {
            section.complain(given, Complaint::new(format!("needs {other} beside it")));
        }
    }
    let listeners = |key, built_in| section.value(key, built_in, value::list(value::listener));
    let implicit_listen = listeners("implicit_listen", built_in.implicit_listen);
    if tls == TlsMode::Off && !implicit_listen.is_empty() {
        let complaint = Complaint::new("needs TLS, which tls = \"off\" switches off");
        section.complain("implicit_listen", complaint.allowed("[], or another tls"));
    }
    let reuse = value::one_of(&reuses);
    FtpSettings {
        listen: listeners("listen", built_in.listen),
        implicit_listen,
        tls,
        tls_session_reuse: section.value("tls_session_reuse", built_in.tls_session_reuse, reuse),
        active: section.value("active", built_in.active, value::switch),
        certificate_file,
        key_file,
        passive_ports: section.value("passive_ports", built_in.passive_ports, ports),
        public_address: section.optional("public_address", built_in.public_address, address),
        from_proxy: from_proxy(section),
    }
}

/// Whoever comes from these networks says for whom: a network of everybody would let everybody lie.
fn from_proxy(section: &Section<'_>) -> Vec<Network> {
    section.value("from_proxy", Vec::new(), value::list(value::network))
}

pub(super) fn certificate(path: PathBuf) -> Result<PathBuf, Complaint> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&path).and_then(|certificates| certificates.collect());
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(path),
        Ok(_) => Err(Complaint::new("holds no certificate").allowed("a chain in PEM")),
        Err(error) => {
            Err(Complaint::new(format!("cannot be read: {error}")).allowed("a chain in PEM"))
        }
    }
}

fn private_key(path: PathBuf) -> Result<PathBuf, Complaint> {
    check_private(&path)?;
    match PrivateKeyDer::from_pem_file(&path) {
        Ok(_) => Ok(path),
        Err(error) => {
            Err(Complaint::new(format!("cannot be read: {error}")).allowed("a private key in PEM"))
        }
    }
}

fn ports(item: &Item<'_>) -> Result<RangeInclusive<u16>, Complaint> {
    let allowed = "two ports such as \"50000-50999\"";
    let text = value::str_of(item, allowed)?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.trim().parse::<u16>(), last.trim().parse::<u16>()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok(first..=last),
        _ => Err(Complaint::new("is no range of ports").allowed(allowed)),
    }
}

fn address(item: &Item<'_>) -> Result<IpAddr, Complaint> {
    let allowed = "an IP address such as \"203.0.113.7\"";
    let text = value::str_of(item, allowed)?;
    text.parse().map_err(|_| Complaint::new("is no IP address").allowed(allowed))
}

/// `None` where the operator switched the admin front off.
pub(super) fn admin_listen(section: &Section<'_>) -> Option<SocketAddr> {
    section.value("listen", Some(ADMIN_LISTEN), |item| match item.get_ref().as_str() {
        Some("off") => Ok(None),
        _ => value::listener(item).map(Some),
    })
}

pub(super) fn shutdown_grace(section: &Section<'_>) -> Duration {
    section.value("grace", SHUTDOWN_GRACE, value::duration_or_zero)
}

impl Web {
    pub(super) fn read(section: &Section<'_>) -> Web {
        let public_url = section.optional("public_url", None, |item| {
            let allowed = "a URL such as \"https://drop.example.net\"";
            let url = value::str_of(item, allowed)?;
            match reqwest::Url::parse(url) {
                Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
                    Ok(url.to_owned())
                }
                _ => Err(Complaint::new("is no URL").allowed(allowed)),
            }
        });
        if public_url.is_some() {
            let complaint =
                Complaint::new("has no effect yet: the web front is not available in this version");
            section.warn("public_url", complaint);
        }
        Web { listen: section.value("listen", WEB_LISTEN, value::listener), public_url }
    }
}

impl Log {
    pub(super) fn read(section: &Section<'_>) -> Log {
        let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
        let filter = section.value("filter", "info".to_owned(), |item| {
            let allowed =
                "error, warn, info, debug or trace, or such as \"info,dropchute::store=debug\"";
            let filter = value::str_of(item, allowed)?;
            // A word that is no level would be taken for a module, and silence all others.
            let is_level =
                |word: &str| ["off", "error", "warn", "info", "debug", "trace"].contains(&word);
            let fits = |part: &str| is_level(part.rsplit('=').next().unwrap_or_default().trim());
            match filter.parse::<Targets>() {
                Ok(_) if filter.split(',').all(fits) => Ok(filter.to_owned()),
                _ => Err(Complaint::new("is no log filter").allowed(allowed)),
            }
        });
        Log { filter, format: section.value("format", LogFormat::Text, value::one_of(&formats)) }
    }
}

/// The bounds on files and on the doors. One key bounds a file, at the door and when it is read; one
/// grace holds for uploads and for messages in flight.
pub(super) fn limits(section: &Section<'_>, shutdown_grace: Duration) -> (Limits, records::Limits) {
    let (doors, files) = (Limits::default(), records::Limits::default());
    let count = || value::number(1, 1_000_000);
    let files = records::Limits {
        file_max_bytes: section.value("file_max_bytes", files.file_max_bytes, value::size),
        expansion_max: section.value(
            "expansion_max",
            files.expansion_max,
            value::number(1, 1_000_000),
        ),
        rows_max: section.value("rows_max", files.rows_max, value::number(1, u64::MAX)),
        columns_max: section.value("columns_max", files.columns_max, value::number(1, 10_000)),
        field_max_bytes: section.value(
            "field_max_bytes",
            files.field_max_bytes,
            value::size_in_memory,
        ),
        record_max_bytes: section.value(
            "record_max_bytes",
            files.record_max_bytes,
            value::size_in_memory,
        ),
        directives_max: section.value("directives_max", files.directives_max, count()),
    };
    let doors = Limits {
        connections_max: section.value("connections_max", doors.connections_max, count()),
        connections_per_address: section.value(
            "connections_per_address",
            doors.connections_per_address,
            count(),
        ),
        logins_pending_max: section.value("logins_pending_max", doors.logins_pending_max, count()),
        session_bandwidth: section.optional(
            "session_bandwidth",
            doors.session_bandwidth,
            value::bandwidth,
        ),
        login_grace: section.value("login_grace", doors.login_grace, value::duration),
        idle_timeout: section.value("idle_timeout", doors.idle_timeout, value::duration),
        stall_timeout: section.value("stall_timeout", doors.stall_timeout, value::duration),
        data_timeout: section.value("data_timeout", doors.data_timeout, value::duration),
        password_checks_max: section.value(
            "password_checks_max",
            doors.password_checks_max,
            count(),
        ),
        password_queue_max: section.value("password_queue_max", doors.password_queue_max, count()),
        upload_max_bytes: files.file_max_bytes,
        handles_max: section.value("handles_max", doors.handles_max, count()),
        auth_attempts_max: section.value("auth_attempts_max", doors.auth_attempts_max, count()),
        drain_grace: shutdown_grace,
        ..doors
    };
    (doors, files)
}

//! What the operator can set about the doors; `config` builds these.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::GuardSettings;

/// All doors. A door that is `None` is not opened.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where everything of ours lies; made when it is not there.
    pub data_dir: PathBuf,
    pub sftp: Option<SftpSettings>,
    pub ftp: Option<FtpSettings>,
    pub limits: Limits,
    pub guard: GuardSettings,
    /// Share of the disk that uploads leave free.
    pub disk_reserve: f64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            data_dir: PathBuf::from("/var/lib/dropchute"),
            sftp: None,
            ftp: None,
            limits: Limits::default(),
            guard: GuardSettings::default(),
            disk_reserve: 0.05,
        }
    }
}

#[derive(Debug, Clone)]
pub struct SftpSettings {
    pub listen: Vec<SocketAddr>,
    /// The server's private key; made (Ed25519, 0600) when it is not there.
    pub host_key_file: PathBuf,
    pub policy: AlgorithmPolicy,
}

impl Default for SftpSettings {
    fn default() -> SftpSettings {
        SftpSettings {
            listen: vec![SocketAddr::from(([0u16; 8], 2222))],
            host_key_file: PathBuf::from("/var/lib/dropchute/ssh_host_ed25519_key"),
            policy: AlgorithmPolicy::Compat,
        }
    }
}

/// Named sets of algorithms, as of November 2026.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlgorithmPolicy {
    /// Post-quantum and curve key exchange, authenticated ciphers only.
    Modern,
    /// What clients of the last ten years speak, without SHA-1 and CBC.
    #[default]
    Compat,
    /// Adds SHA-1 and CBC for clients that cannot be updated.
    Legacy,
}

#[derive(Debug, Clone)]
pub struct FtpSettings {
    pub listen: Vec<SocketAddr>,
    pub tls: TlsMode,
    /// PEM chain; without one a self-signed certificate is made and kept in `data_dir`.
    pub certificate_file: Option<PathBuf>,
    /// PEM key of the certificate.
    pub key_file: Option<PathBuf>,
    /// Ports of data connections.
    pub passive_ports: RangeInclusive<u16>,
    /// The address told to clients for data connections; by default the one they reached us at.
    pub public_address: Option<IpAddr>,
}

impl Default for FtpSettings {
    fn default() -> FtpSettings {
        FtpSettings {
            listen: vec![SocketAddr::from(([0u16; 8], 2121))],
            tls: TlsMode::Required,
            certificate_file: None,
            key_file: None,
            passive_ports: 50_000..=50_999,
            public_address: None,
        }
    }
}

/// Whether FTP clients must, may or cannot use TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsMode {
    #[default]
    Required,
    Optional,
    Off,
}

/// What one client, one address and all clients together can use up.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at all doors together.
    pub connections_max: usize,
    /// Connections from one address.
    pub connections_per_address: usize,
    /// Time to log in.
    pub login_grace: Duration,
    /// Time without a word from the client.
    pub idle_timeout: Duration,
    /// Time without a byte inside an FTP transfer.
    pub stall_timeout: Duration,
    /// Passwords checked at the same time; each check takes memory and a processor.
    pub password_checks_max: usize,
    /// Passwords that wait to be checked; further ones are refused for the moment.
    pub password_queue_max: usize,
    /// Largest file, in bytes.
    pub upload_max_bytes: u64,
    /// Files and folders an SFTP session has open.
    pub handles_max: usize,
    /// Wrong passwords and keys per connection.
    pub auth_attempts_max: usize,
    /// Time running transfers have to finish when the program stops.
    pub drain_grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 512,
            connections_per_address: 64,
            login_grace: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            stall_timeout: Duration::from_secs(120),
            password_checks_max: 2,
            password_queue_max: 256,
            upload_max_bytes: 2 << 30,
            handles_max: 256,
            auth_attempts_max: 6,
            drain_grace: Duration::from_secs(20),
        }
    }
}

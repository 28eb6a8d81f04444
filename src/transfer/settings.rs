//! What the operator can set about the doors; `config` builds these.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{GuardSettings, Network};

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
    /// The kinds of keys the server has, each made (0600) when it is not there.
    pub host_key_types: Vec<HostKeyType>,
    /// The private key of the first kind; by default it lies in `data_dir`, like the others.
    pub host_key_file: Option<PathBuf>,
    pub policy: AlgorithmPolicy,
    /// Networks whose connections begin with a header of the PROXY protocol.
    pub from_proxy: Vec<Network>,
}

impl Default for SftpSettings {
    fn default() -> SftpSettings {
        SftpSettings {
            listen: vec![SocketAddr::from(([0u16; 8], 2222))],
            host_key_types: vec![HostKeyType::Ed25519],
            host_key_file: None,
            policy: AlgorithmPolicy::Compat,
            from_proxy: Vec::new(),
        }
    }
}

impl SftpSettings {
    /// Where the key of each kind lies.
    pub(super) fn host_keys(&self, data_dir: &Path) -> Vec<(HostKeyType, PathBuf)> {
        let mut keys: Vec<_> = self
            .host_key_types
            .iter()
            .map(|kind| (*kind, data_dir.join(format!("ssh_host_{}_key", kind.as_str()))))
            .collect();
        if let (Some((_, path)), Some(file)) = (keys.first_mut(), &self.host_key_file) {
            path.clone_from(file);
        }
        keys
    }
}

/// A kind of host key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostKeyType {
    Ed25519,
    /// 3072 bits.
    Rsa,
    /// On the curve P-256.
    Ecdsa,
}

impl HostKeyType {
    pub const ALL: [HostKeyType; 3] = [HostKeyType::Ed25519, HostKeyType::Rsa, HostKeyType::Ecdsa];

    pub fn as_str(self) -> &'static str {
        match self {
            HostKeyType::Ed25519 => "ed25519",
            HostKeyType::Rsa => "rsa",
            HostKeyType::Ecdsa => "ecdsa",
        }
    }
}

/// Named sets of algorithms, as of November 2026.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AlgorithmPolicy {
    /// Post-quantum key exchange and authenticated ciphers only.
    Modern,
    /// What clients of the last ten years speak, without SHA-1, CBC and the NIST curves.
    #[default]
    Compat,
    /// Adds those for clients that cannot be updated.
    Legacy,
}

#[derive(Debug, Clone)]
pub struct FtpSettings {
    /// FTPS by AUTH TLS, and plain FTP.
    pub listen: Vec<SocketAddr>,
    /// FTPS with TLS from the first byte.
    pub implicit_listen: Vec<SocketAddr>,
    pub tls: TlsMode,
    /// PEM chain; without one a self-signed certificate is made and kept in `data_dir`.
    pub certificate_file: Option<PathBuf>,
    /// PEM key of the certificate.
    pub key_file: Option<PathBuf>,
    pub tls_session_reuse: SessionReuse,
    /// Whether clients may have data connections made to them (PORT, EPRT).
    pub active: bool,
    /// Ports of data connections.
    pub passive_ports: RangeInclusive<u16>,
    /// The address told to clients for data connections; by default the one they reached us at.
    pub public_address: Option<IpAddr>,
    /// Networks whose connections begin with a header of the PROXY protocol.
    pub from_proxy: Vec<Network>,
}

impl Default for FtpSettings {
    fn default() -> FtpSettings {
        FtpSettings {
            listen: vec![SocketAddr::from(([0u16; 8], 2121))],
            implicit_listen: Vec::new(),
            tls: TlsMode::Required,
            certificate_file: None,
            key_file: None,
            tls_session_reuse: SessionReuse::Preferred,
            active: false,
            passive_ports: 50_000..=50_999,
            public_address: None,
            from_proxy: Vec::new(),
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

/// Whether data connections resume the TLS session of their control connection: it proves that both
/// come from the same client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionReuse {
    /// Sessions cannot be resumed.
    Off,
    /// They can; without, a data connection must come from the same address, as always.
    #[default]
    Preferred,
    /// A data connection that does not is refused.
    Required,
}

/// What one client, one address and all clients together can use up.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections at all doors together.
    pub connections_max: usize,
    /// Connections from one address, or from one IPv6 network of 64 bits.
    pub connections_per_address: usize,
    /// Connections without a login; beyond it the oldest of the source that has most makes room.
    pub logins_pending_max: usize,
    /// Bytes a second of one session, in each direction.
    pub session_bandwidth: Option<u64>,
    /// Time to log in.
    pub login_grace: Duration,
    /// Time without a word from the client.
    pub idle_timeout: Duration,
    /// Time without a byte inside an FTP transfer.
    pub stall_timeout: Duration,
    /// Time to open an FTP data connection.
    pub data_timeout: Duration,
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
    /// Bytes of requests a client may have sent over SFTP without taking the answers, beside a
    /// small part that is free.
    pub asked_per_session_max_bytes: usize,
    /// The same for all SFTP clients together.
    pub asked_max_bytes: usize,
    /// Bytes over SSH, each way, after which new keys are agreed on; not set by the operator.
    pub rekey_bytes: usize,
    /// Time after which the same happens.
    pub rekey_time: Duration,
    /// Time running transfers have to finish when the program stops.
    pub drain_grace: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            connections_max: 4096,
            connections_per_address: 64,
            logins_pending_max: 512,
            session_bandwidth: None,
            login_grace: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            stall_timeout: Duration::from_secs(120),
            data_timeout: Duration::from_secs(30),
            password_checks_max: 2,
            password_queue_max: 256,
            upload_max_bytes: 2 << 30,
            handles_max: 256,
            auth_attempts_max: 6,
            asked_per_session_max_bytes: 16 << 20,
            asked_max_bytes: 256 << 20,
            rekey_bytes: 1 << 30,
            rekey_time: Duration::from_secs(3600),
            drain_grace: Duration::from_secs(20),
        }
    }
}

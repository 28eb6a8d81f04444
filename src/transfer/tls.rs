//! TLS of the FTP doors: the certificate, and sessions that belong to one control connection.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, StoresServerSessions,
};
use rustls::sign::CertifiedKey;

use super::host_key::write_secret;
use super::{FtpSettings, SessionReuse};

/// Tickets a client gets on its control connection. Some use one of them for all data connections,
/// others each one once.
const CONTROL_TICKETS: usize = 4;
/// Where resuming is required, a data connection brings the next ticket for those who use each one
/// once. Elsewhere none: a client that only writes closes with the ticket unread, and its kernel then
/// resets the connection with the end of the upload still in it (Go's and Node's clients, now and
/// then curl).
const DATA_TICKETS_REQUIRED: usize = 1;
/// Sessions of data connections that are kept per control connection.
const RECENT_SESSIONS: usize = 4;

/// The certificate that clients see; cheap to clone, the same for all clones.
#[derive(Clone)]
pub(super) struct Certificates {
    shown: Arc<Shown>,
    certificate_file: PathBuf,
    key_file: PathBuf,
}

/// All that FTP's connections need for TLS.
pub(super) struct FtpTls {
    config: ServerConfig,
    reuse: SessionReuse,
    pub(super) certificates: Certificates,
}

/// TLS of one control connection and of the data connections that belong to it.
pub(super) struct ConnectionTls {
    pub(super) control: Arc<ServerConfig>,
    pub(super) data: Arc<ServerConfig>,
}

impl FtpTls {
    /// TLS 1.2 and 1.3 with the operator's certificate, or a self-signed one kept in `data_dir`.
    pub(super) fn new(settings: &FtpSettings, data_dir: &Path) -> io::Result<FtpTls> {
        let (certificate_file, key_file) = match (&settings.certificate_file, &settings.key_file) {
            (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
            _ => self_signed(settings, data_dir)?,
        };
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let certified = read_certified(&certificate_file, &key_file, &provider)?;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certified))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_no_client_auth()
            .with_cert_resolver(shown.clone());
        // Ours begins with what runs in hardware.
        config.ignore_client_order = true;
        let certificates = Certificates { shown, certificate_file, key_file };
        Ok(FtpTls { config, reuse: settings.tls_session_reuse, certificates })
    }

    /// For one new control connection: a session it begins can be resumed by its own data
    /// connections and by nobody else.
    pub(super) fn connection(&self) -> ConnectionTls {
        let mut control = self.config.clone();
        let mut data = self.config.clone();
        if self.reuse == SessionReuse::Off {
            control.session_storage = Arc::new(NoServerSessionStorage {});
            data.session_storage = Arc::new(NoServerSessionStorage {});
            (control.send_tls13_tickets, data.send_tls13_tickets) = (0, 0);
        } else {
            let sessions = Arc::new(Sessions::default());
            control.session_storage =
                Arc::new(SessionsOf { sessions: sessions.clone(), control: true });
            data.session_storage = Arc::new(SessionsOf { sessions, control: false });
            control.send_tls13_tickets = CONTROL_TICKETS;
            let required = self.reuse == SessionReuse::Required;
            data.send_tls13_tickets = if required { DATA_TICKETS_REQUIRED } else { 0 };
        }
        ConnectionTls { control: Arc::new(control), data: Arc::new(data) }
    }
}

impl Certificates {
    /// Reads certificate and key again, and says whether they are new; with an error the ones shown so
    /// far stay. Blocks.
    pub(super) fn reload(&self) -> io::Result<bool> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = read_certified(&self.certificate_file, &self.key_file, &provider)?;
        let mut shown = self.shown.0.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = shown.cert != certified.cert;
        *shown = Arc::new(certified);
        Ok(is_new)
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("certificate_file", &self.certificate_file)
            .finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

type Session = (Vec<u8>, Vec<u8>);

/// The sessions of one control connection and its data connections. Looking one up never uses it up:
/// several clients resume each data connection from the control connection's one session.
#[derive(Default)]
struct Sessions {
    control: Mutex<VecDeque<Session>>,
    recent: Mutex<VecDeque<Session>>,
}

struct SessionsOf {
    sessions: Arc<Sessions>,
    control: bool,
}

impl StoresServerSessions for SessionsOf {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        let (kept, most) = match self.control {
            true => (&self.sessions.control, CONTROL_TICKETS),
            false => (&self.sessions.recent, RECENT_SESSIONS),
        };
        let mut kept = locked(kept);
        if kept.len() >= most {
            kept.pop_front();
        }
        kept.push_back((key, value));
        true
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        [&self.sessions.recent, &self.sessions.control].into_iter().find_map(|kept| {
            let kept = locked(kept);
            kept.iter().find(|(one, _)| one == key).map(|(_, value)| value.clone())
        })
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.get(key)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// Sessions are secrets.
impl fmt::Debug for SessionsOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionsOf").field("control", &self.control).finish_non_exhaustive()
    }
}

fn locked(sessions: &Mutex<VecDeque<Session>>) -> MutexGuard<'_, VecDeque<Session>> {
    sessions.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A chain and its key; an error where the two do not belong together.
fn read_certified(
    certificate_file: &Path,
    key_file: &Path,
    provider: &CryptoProvider,
) -> io::Result<CertifiedKey> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate_file)
        .map_err(io::Error::other)?
        .collect::<Result<_, _>>()
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(io::Error::other)?;
    CertifiedKey::from_der(chain, key, provider).map_err(io::Error::other)
}

fn self_signed(settings: &FtpSettings, data_dir: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (certificate, key) =
        (data_dir.join("ftp_self_signed.crt"), data_dir.join("ftp_self_signed.key"));
    tracing::warn!(
        certificate = %certificate.display(),
        "no certificate_file for FTP: partners see a self-signed certificate"
    );
    if certificate.try_exists()? && key.try_exists()? {
        return Ok((certificate, key));
    }
    for left in [&certificate, &key] {
        if left.try_exists()? {
            std::fs::remove_file(left)?;
        }
    }
    let mut names = vec!["localhost".to_owned()];
    names.extend(settings.public_address.map(|address| address.to_string()));
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    write_secret(&key, made.signing_key.serialize_pem().as_bytes())?;
    write_secret(&certificate, made.cert.pem().as_bytes())?;
    Ok((certificate, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_new_certificate_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let tls = FtpTls::new(&FtpSettings::default(), folder.path()).unwrap();
        let shown = |tls: &FtpTls| tls.certificates.shown.0.read().unwrap().cert.clone();
        let first = shown(&tls);
        assert!(!tls.certificates.reload().unwrap());
        assert_eq!(shown(&tls), first);

        let other = rcgen::generate_simple_self_signed(["other".to_owned()]).unwrap();
        let file = &tls.certificates.certificate_file;
        std::fs::write(file, other.cert.pem()).unwrap();
        tls.certificates.reload().unwrap_err();
        assert_eq!(shown(&tls), first);

        let key_file = &tls.certificates.key_file;
        std::fs::write(key_file, other.signing_key.serialize_pem()).unwrap();
        assert!(tls.certificates.clone().reload().unwrap());
        assert_ne!(shown(&tls), first);
    }

    #[test]
    fn sessions_of_the_control_connection_outlive_those_of_data() {
        let sessions = Arc::new(Sessions::default());
        let control = SessionsOf { sessions: sessions.clone(), control: true };
        let data = SessionsOf { sessions, control: false };
        control.put(b"first".to_vec(), b"1".to_vec());
        for number in 0..100u8 {
            data.put(vec![number], vec![number]);
        }
        assert_eq!(data.take(b"first"), Some(b"1".to_vec()));
        assert_eq!(data.take(b"first"), Some(b"1".to_vec()));
        assert_eq!((data.get(&[0]), control.get(&[99])), (None, Some(vec![99])));
    }
}

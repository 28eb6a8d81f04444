//! TLS towards an SMTP server, implicit or after STARTTLS, trusting the system's authorities.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::answer::lost;
use super::super::sender::ChannelError;
use super::super::settings::{SmtpSettings, SmtpTls};
use super::classify::account;
use super::wire::Stream;
use crate::model::Attempt;

/// What a handshake needs.
pub(super) struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// `None` for `tls = "none"`.
    pub(super) fn new(settings: &SmtpSettings) -> Result<Option<Tls>, ChannelError> {
        let authorities = settings.ca_file.as_ref().map(|path| {
            std::fs::read(path).map_err(|cause| ChannelError::File {
                key: "ca_file",
                path: path.display().to_string(),
                cause,
            })
        });
        let authorities = authorities.transpose()?.unwrap_or_default();
        if settings.tls == SmtpTls::None {
            return Ok(None);
        }
        let config = config(&authorities)?;
        let name = ServerName::try_from(settings.host.clone()).map_err(|e| problem("host", &e))?;
        Ok(Some(Tls { connector: TlsConnector::from(Arc::new(config)), name }))
    }

    /// Takes as long as the network does: the caller sets the limit.
    pub(super) async fn handshake(&self, socket: TcpStream) -> Result<Stream, Attempt> {
        match self.connector.connect(self.name.clone(), socket).await {
            Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
            Err(error) if is_refusal(&error) => Err(account("TLS failed; see the certificates")),
            Err(_) => Err(lost("the connection was lost in the TLS handshake")),
        }
    }
}

fn config(authorities: &[u8]) -> Result<ClientConfig, ChannelError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|e| problem("ca_file", &e))?;
        roots.add(certificate).map_err(|e| problem("ca_file", &e))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| problem("tls", &e))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn problem(key: &'static str, error: &dyn Error) -> ChannelError {
    ChannelError::Setting { key, problem: error.to_string() }
}

/// True where a handshake failed by what was said in it and not by the network.
fn is_refusal(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        // The cause of an io::Error is its inside, not its source.
        let inside = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inside.is_some_and(|inside| inside.is::<rustls::Error>()) {
            return true;
        }
        next = error.source();
    }
    false
}

//! TLS towards an SMTP server, implicit or after STARTTLS, trusting the system's authorities.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use lettre::transport::smtp::client::{AsyncTokioStream, Certificate, TlsParameters};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::super::sender::ChannelError;
use super::super::settings::{SmtpSettings, SmtpTls};
use super::socket::Socket;

/// What a handshake needs.
pub(super) enum Tls {
    StartTls(TlsParameters),
    Implicit { connector: TlsConnector, name: ServerName<'static> },
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Tls::StartTls(_) => "StartTls",
            Tls::Implicit { .. } => "Implicit",
        })
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
        match settings.tls {
            SmtpTls::None => Ok(None),
            SmtpTls::StartTls => start_tls(settings, &authorities).map(Some),
            SmtpTls::Implicit => implicit(settings, &authorities).map(Some),
        }
    }
}

fn start_tls(settings: &SmtpSettings, authorities: &[u8]) -> Result<Tls, ChannelError> {
    let mut builder = TlsParameters::builder(settings.host.clone());
    if !authorities.is_empty() {
        let certificate = Certificate::from_pem(authorities).map_err(|e| problem("ca_file", &e))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map(Tls::StartTls).map_err(|e| problem("tls", &e))
}

fn implicit(settings: &SmtpSettings, authorities: &[u8]) -> Result<Tls, ChannelError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        let certificate = certificate.map_err(|e| problem("ca_file", &e))?;
        roots.add(certificate).map_err(|e| problem("ca_file", &e))?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| problem("tls", &e))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(settings.host.clone()).map_err(|e| problem("host", &e))?;
    Ok(Tls::Implicit { connector: TlsConnector::from(Arc::new(config)), name })
}

fn problem(key: &'static str, error: &dyn Error) -> ChannelError {
    ChannelError::Setting { key, problem: error.to_string() }
}

/// True where a handshake failed by what was said in it and not by the network.
pub(super) fn is_refusal(error: &(dyn Error + 'static)) -> bool {
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

/// Lets lettre talk over our TLS.
#[derive(Debug)]
pub(super) struct TlsSocket(pub(super) TlsStream<Socket>);

impl AsyncTokioStream for TlsSocket {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.0.get_ref().0.peer_addr()
    }
}

impl AsyncRead for TlsSocket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TlsSocket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

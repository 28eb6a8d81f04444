//! Refuses at USER, before a password is asked for, who may not come in without TLS.
//!
//! The engine answers every USER with 331 and offers no say in it. It asks whether a certificate is
//! enough, though, before it answers: at that moment the refusal is written and the connection ended.

use std::io::{self, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

const REFUSAL: &[u8] = b"530 Not allowed without TLS\r\n";

/// One connection's way to refuse.
#[derive(Debug)]
pub(super) struct Clear {
    socket: TcpStream,
    secured: Arc<AtomicBool>,
}

impl Clear {
    /// `socket` is a second handle on the connection.
    pub(super) fn new(socket: TcpStream) -> Clear {
        Clear { socket, secured: Arc::default() }
    }

    /// The configuration for this connection, which tells when TLS begins on it.
    pub(super) fn watching(&self, config: &ServerConfig) -> Arc<ServerConfig> {
        let mut config = config.clone();
        let inner = config.cert_resolver.clone();
        config.cert_resolver = Arc::new(Watch { inner, secured: self.secured.clone() });
        Arc::new(config)
    }

    pub(super) fn is_in_clear(&self) -> bool {
        !self.secured.load(Ordering::Relaxed)
    }

    /// Nothing that the engine answers after this reaches the client.
    pub(super) fn refuse(&self) -> io::Result<()> {
        let written = (&self.socket).write_all(REFUSAL);
        self.socket.shutdown(Shutdown::Write)?;
        written
    }
}

/// Hands out the certificate, and with that knows that a handshake is going on.
#[derive(Debug)]
struct Watch {
    inner: Arc<dyn ResolvesServerCert>,
    secured: Arc<AtomicBool>,
}

impl ResolvesServerCert for Watch {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.secured.store(true, Ordering::Relaxed);
        self.inner.resolve(hello)
    }
}

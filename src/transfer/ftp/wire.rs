//! A TCP connection, in clear or under TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::{HandshakeKind, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// What is read at once of a data connection under TLS: rustls itself asks for 4 KiB.
const TLS_READ_BYTES: usize = 64 << 10;

/// Control and data connections alike.
pub(super) enum Wire {
    Clear(TcpStream),
    Tls(Box<TlsStream<BufReader<TcpStream>>>),
}

impl Wire {
    /// A control connection under TLS, once the client has done its part.
    pub(super) async fn secure_control(
        stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> io::Result<Wire> {
        // Its lines are short: a buffer smaller than what rustls asks for is passed over.
        secure(BufReader::with_capacity(1, stream), config).await
    }

    /// A data connection under TLS.
    pub(super) async fn secure_data(
        stream: TcpStream,
        config: Arc<ServerConfig>,
    ) -> io::Result<Wire> {
        secure(BufReader::with_capacity(TLS_READ_BYTES, stream), config).await
    }

    /// True where the client resumed a TLS session rather than beginning one.
    pub(super) fn is_resumed(&self) -> bool {
        match self {
            Wire::Clear(_) => false,
            Wire::Tls(stream) => {
                stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed)
            }
        }
    }
}

async fn secure(stream: BufReader<TcpStream>, config: Arc<ServerConfig>) -> io::Result<Wire> {
    Ok(Wire::Tls(Box::new(TlsAcceptor::from(config).accept(stream).await?)))
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    /// Says close_notify under TLS, and ends our direction.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}

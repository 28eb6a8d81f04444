//! The socket of an SSH connection, which notices what is written and how the connection ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio::net::TcpStream;

use crate::transfer::sftp::Outflow;

/// How a connection ended, as far as the socket tells; the first sign counts.
#[derive(Debug, Default)]
pub(super) struct Ending(AtomicU8);

const CALM: u8 = 1;
const RESET: u8 = 2;

impl Ending {
    /// True where the peer reset the connection before any word of farewell.
    pub(super) fn was_reset(&self) -> bool {
        self.0.load(Ordering::Relaxed) == RESET
    }

    fn note(&self, sign: u8) {
        // Only the first sign counts: after a farewell a reset says nothing.
        let _ = self.0.compare_exchange(0, sign, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn note_error<T>(&self, result: &Poll<io::Result<T>>) {
        if let Poll::Ready(Err(error)) = result
            && error.kind() == io::ErrorKind::ConnectionReset
        {
            self.note(RESET);
        }
    }
}

/// Bytes read ahead: russh asks for the length of a packet first, and then for the rest.
const READ_AHEAD_BYTES: usize = 4 << 10;

/// A socket whose end is noted.
pub(super) struct Watched {
    stream: BufReader<TcpStream>,
    ending: Arc<Ending>,
    outflow: Arc<Outflow>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, ending: Arc<Ending>, outflow: Arc<Outflow>) -> Watched {
        let stream = BufReader::with_capacity(READ_AHEAD_BYTES, stream);
        Watched { stream, ending, outflow }
    }
}

impl AsyncRead for Watched {
    /// russh reads on only when it has written all that it had, if that was anything.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.outflow.written();
        let (before, room) = (buf.filled().len(), buf.remaining());
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(result, Poll::Ready(Ok(()))) && buf.filled().len() == before && room > 0 {
            self.ending.note(CALM);
        }
        self.ending.note_error(&result);
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.ending.note_error(&result);
        result
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outflow.written();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// russh shuts down after either side's disconnect message.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ending.note(CALM);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

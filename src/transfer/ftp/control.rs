//! The control connection: lines in, answers out, and how it ended.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::line::{Line, Lines};
use super::reply::Reply;
use super::wire::Wire;

/// Bytes read at once; commands are short.
const READ_BYTES: usize = 1024;
/// Time a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time the last answer has to reach the client before the connection is closed.
const GOODBYE_TIMEOUT: Duration = Duration::from_millis(500);

/// What came over the control connection.
#[derive(Debug)]
pub(super) enum Heard {
    Line(Vec<u8>),
    /// A line that was too long; the next one counts again.
    TooLong,
    /// Bytes without end and without a line end.
    Flood,
    /// The client has closed its side.
    End,
    /// The connection was reset, or timed out.
    Lost(io::Error),
}

pub(super) struct Control {
    /// `None` after a TLS handshake that failed.
    wire: Option<Wire>,
    lines: Lines,
    /// Time an answer may wait for a client that does not read.
    patience: Duration,
}

impl Control {
    pub(super) fn new(stream: TcpStream, patience: Duration) -> Control {
        // Telnet's "synch" comes as urgent data: inline, it is a part of the line it belongs to. Where
        // that fails, ABOR of a few old clients is not understood.
        socket2::SockRef::from(&stream).set_out_of_band_inline(true).ok();
        Control { wire: Some(Wire::Clear(stream)), lines: Lines::default(), patience }
    }

    /// The next line. May be dropped at any moment without losing any.
    pub(super) async fn hear(&mut self) -> Heard {
        let Some(wire) = &mut self.wire else { return Heard::End };
        loop {
            match self.lines.next() {
                Ok(Some(Line::Text(line))) => return Heard::Line(line),
                Ok(Some(Line::TooLong)) => return Heard::TooLong,
                Ok(None) => {}
                Err(_flood) => return Heard::Flood,
            }
            match read(wire, self.lines.room(READ_BYTES)).await {
                Ok(0) => return Heard::End,
                Ok(_) => {}
                Err(error) => return ended(error),
            }
        }
    }

    pub(super) async fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let Some(wire) = &mut self.wire else { return Err(io::ErrorKind::NotConnected.into()) };
        let bytes = reply.to_bytes();
        let saying = async {
            wire.write_all(&bytes).await?;
            wire.flush().await
        };
        timeout(self.patience, saying).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Whether bytes of the client wait that belong to no line yet asked for.
    pub(super) fn has_more(&self) -> bool {
        !self.lines.is_empty()
    }

    /// From here on under TLS.
    pub(super) async fn secure(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let Some(Wire::Clear(stream)) = self.wire.take() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let handshake = Wire::secure_control(stream, config);
        let secured = timeout(HANDSHAKE_TIMEOUT, handshake).await;
        self.wire = Some(secured.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?);
        Ok(())
    }

    /// Ends the connection so that the last answer is not lost: closing with bytes unread would make
    /// the kernel send a reset, which overtakes it.
    pub(super) async fn close(&mut self) {
        let Some(mut wire) = self.wire.take() else { return };
        let goodbye = async {
            wire.shutdown().await?;
            let mut rest = [0; 512];
            while wire.read(&mut rest).await? > 0 {}
            Ok::<_, io::Error>(())
        };
        // Who is gone need not hear it, and who goes on sending is not waited for.
        timeout(GOODBYE_TIMEOUT, goodbye).await.ok();
    }
}

/// A read ends at urgent data, and a short read of tokio's waits for the next packet then: in clear the
/// socket is asked until it has no more.
async fn read(wire: &mut Wire, into: &mut Vec<u8>) -> io::Result<usize> {
    let stream = match wire {
        Wire::Clear(stream) => stream,
        Wire::Tls(_) => return wire.read_buf(into).await,
    };
    loop {
        stream.readable().await?;
        match stream.try_read_buf(into) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// TLS without its proper end is an end like FIN, and a broken pipe tells that a FIN came before; only
/// what else TCP itself reports is a loss.
fn ended(error: io::Error) -> Heard {
    use io::ErrorKind as Kind;
    match error.kind() {
        Kind::UnexpectedEof | Kind::InvalidData | Kind::BrokenPipe => Heard::End,
        _ => Heard::Lost(error),
    }
}

//! The bytes of one conversation: answers read within bounds, messages handed over so that it can be
//! told whether the server may have all of one.

use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::reply::{Line, Reply};

/// Longest line of an answer, in bytes. RFC 5321 has 512; servers write more.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Lines of one answer at most.
const LINES_MAX: usize = 128;
/// Longest text kept of an answer, in bytes; the rest is read and forgotten.
const TEXT_BYTES_MAX: usize = 16 * 1024;

/// The line that ends a message, with the end of the line before it left out.
pub(super) const FINAL_DOT: &[u8] = b".\r\n";

/// The conversation is over: the network, the time limit, or words that are no SMTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost(pub(super) &'static str);

/// How far a message came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HandOver {
    /// The kernel has all of it: the server may act on it.
    Whole,
    /// It ended before the final dot: the server cannot have the message.
    Cut(Lost),
    /// It ended within the final dot.
    InDoubt(Lost),
}

#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

pub(super) struct Wire {
    stream: Stream,
    /// What was read and not yet looked at is `unread` of it.
    input: Box<[u8]>,
    unread: Range<usize>,
    /// The text of the last answer.
    text: String,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Wire {
        let input = vec![0; LINE_BYTES_MAX].into_boxed_slice();
        Wire { stream, input, unread: 0..0, text: String::new() }
    }

    /// The bare socket, for TLS to begin on. What came before the handshake is forgotten with the rest:
    /// anybody may have slipped it in.
    pub(super) fn into_plain(self) -> Option<TcpStream> {
        match self.stream {
            Stream::Plain(socket) => Some(socket),
            Stream::Tls(_) => None,
        }
    }

    /// True while the server has neither closed nor said anything. Between messages an SMTP server has
    /// nothing to say but 421, and under TLS nothing but its farewell: either way the connection is over.
    pub(super) fn is_silent(&self) -> bool {
        if !self.is_read_up() {
            return false;
        }
        let mut byte = [MaybeUninit::uninit()];
        let peeked = SockRef::from(self.stream.socket()).peek(&mut byte);
        matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// True where no word of the server waits here; asks nobody.
    pub(super) fn is_read_up(&self) -> bool {
        self.unread.is_empty()
    }

    pub(super) async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Lost> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        match timeout(limit, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Lost("the connection was lost")),
            Err(_elapsed) => Err(Lost("the server took too long to read")),
        }
    }

    /// One whole answer; the limit is on all of it.
    pub(super) async fn reply(&mut self, limit: Duration) -> Result<Reply<'_>, Lost> {
        match timeout(limit, self.read_reply()).await {
            Ok(code) => Ok(Reply { code: code?, text: &self.text }),
            Err(_elapsed) => Err(Lost("the server took too long")),
        }
    }

    async fn read_reply(&mut self) -> Result<u16, Lost> {
        self.text.clear();
        let mut code = None;
        for _ in 0..LINES_MAX {
            let range = self.read_line().await?;
            let line = Line::parse(&self.input[range]).ok_or(Lost("the answer is no SMTP"))?;
            if *code.get_or_insert(line.code) != line.code {
                return Err(Lost("the answer has two codes"));
            }
            if self.text.len() + line.text.len() < TEXT_BYTES_MAX {
                line.append_to(&mut self.text);
            }
            if line.is_last {
                return Ok(line.code);
            }
        }
        Err(Lost("the answer has too many lines"))
    }

    /// Where the next line stands in `input`, without its end.
    async fn read_line(&mut self) -> Result<Range<usize>, Lost> {
        loop {
            let unread = self.unread.clone();
            if let Some(length) = memchr::memchr(b'\n', &self.input[unread.clone()]) {
                self.unread.start += length + 1;
                return Ok(unread.start..unread.start + length);
            }
            self.input.copy_within(unread.clone(), 0);
            self.unread = 0..unread.len();
            if unread.len() == self.input.len() {
                return Err(Lost("a line of the answer is too long"));
            }
            match self.stream.read(&mut self.input[unread.len()..]).await {
                Ok(0) => return Err(Lost("the server closed the connection")),
                Ok(count) => self.unread.end += count,
                Err(_) => return Err(Lost("the connection was lost")),
            }
        }
    }

    /// Writes a message that ends in the final dot. `limit` is on each step forward. A server that speaks
    /// before it has seen the end has refused the message: nothing more is written.
    pub(super) async fn hand_over(&mut self, message: &[u8], limit: Duration) -> HandOver {
        let before_dot = message.len() - FINAL_DOT.len();
        let mut written = 0;
        let mut is_silent = poll_fn(|cx| Poll::Ready(self.poll_spoken(cx).is_pending())).await;
        let lost = loop {
            if !is_silent {
                break Lost("the server spoke or hung up before the end of the message");
            }
            let step = poll_fn(|cx| self.poll_forward(cx, &message[written..]));
            match timeout(limit, step).await {
                Ok(Forward::Wrote(count)) => written += count,
                Ok(Forward::Done) => return HandOver::Whole,
                Ok(Forward::Spoken) => is_silent = false,
                Ok(Forward::Failed) => break Lost("the connection was lost"),
                Err(_elapsed) => break Lost("the server took too long to read"),
            }
        };
        // What TLS still holds back is the end of the last record, without which none of it can be read.
        if written > before_dot && self.stream.is_flushed() {
            return HandOver::InDoubt(lost);
        }
        HandOver::Cut(lost)
    }

    fn poll_forward(&mut self, cx: &mut Context<'_>, rest: &[u8]) -> Poll<Forward> {
        let stream = Pin::new(&mut self.stream);
        let forward = if rest.is_empty() {
            stream.poll_flush(cx).map_ok(|()| Forward::Done)
        } else {
            stream.poll_write(cx, rest).map_ok(Forward::Wrote)
        };
        match forward {
            Poll::Ready(Ok(Forward::Wrote(0)) | Err(_)) => Poll::Ready(Forward::Failed),
            Poll::Ready(Ok(forward)) => Poll::Ready(forward),
            Poll::Pending => self.poll_spoken(cx).map(|()| Forward::Spoken),
        }
    }

    /// Ready where the server has said something or hung up.
    fn poll_spoken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_read_up() {
            let mut buffer = ReadBuf::new(&mut self.input);
            // A failed read ends the conversation as a word does; reading on tells the rest.
            let _ended = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            self.unread = 0..buffer.filled().len();
        }
        Poll::Ready(())
    }
}

enum Forward {
    Wrote(usize),
    Done,
    Spoken,
    Failed,
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.get_ref().0,
        }
    }

    /// True where the kernel has all that was written.
    fn is_flushed(&self) -> bool {
        match self {
            Stream::Plain(_) => true,
            Stream::Tls(tls) => !tls.get_ref().1.wants_write(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

//! The bytes of one transfer, from the data connection to the disk and back.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::io::{Errno, retry_on_intr};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::data::Meeting;
use super::guest::{Guest, Moved};
use super::lists::Listing;
use super::reply::{Reply, sentence};
use super::wire::Wire;
use crate::files::{HomeError, RelPath, Upload};
use crate::model::UploadEvidence;
use crate::transfer::Limits;
use crate::transfer::house::{House, QUICK_SYNC_BYTES};
use crate::transfer::visit::Visit;
use crate::worker::{QuickWork, blocking};
use crate::world::World;

/// A piece that takes longer has waited for the disk.
const SLOW_PIECE: Duration = Duration::from_millis(20);
/// Bytes per step of a transfer, on the disk and on the wire.
const PIECE_BYTES: usize = 256 << 10;
/// The first step of an upload: most files are small.
const FIRST_PIECE_BYTES: usize = 32 << 10;
/// Time the other side has to take the end of a data connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How far a transfer has come, for those who watch it.
#[derive(Default)]
pub(super) struct Progress {
    bytes: AtomicU64,
    finishing: AtomicBool,
}

impl Progress {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// True once the file is being published: from there on nothing can be called off.
    pub(super) fn is_finishing(&self) -> bool {
        self.finishing.load(Ordering::Relaxed)
    }

    fn moved(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// How a transfer ended: what the client hears, and what was recorded.
pub(super) struct Ending {
    pub(super) reply: Reply,
    pub(super) evidence: Option<UploadEvidence>,
}

impl From<Reply> for Ending {
    fn from(reply: Reply) -> Ending {
        Ending { reply, evidence: None }
    }
}

/// What every transfer needs.
pub(super) struct Carrier {
    pub(super) house: Arc<House>,
    pub(super) limits: Arc<Limits>,
    pub(super) visit: Visit,
    pub(super) guest: Arc<Guest>,
    pub(super) meeting: Meeting,
    pub(super) progress: Arc<Progress>,
}

/// Why bytes stopped.
enum Stop {
    Wire(io::Error),
    Home(HomeError),
}

impl Carrier {
    /// Receives a file. It is published, and the client hears so, only after its last byte.
    pub(super) async fn receive(
        self,
        mut upload: Upload,
        path: RelPath,
        name: Option<String>,
    ) -> Ending {
        let Carrier { house, limits, visit, guest, meeting, progress } = self;
        let begin = house.world.clock.instant();
        let kept = upload.length();
        let flow = Flow::new(&house, &limits, &visit, &progress);
        let mut wire = match meeting.meet().await {
            Ok(wire) => wire,
            Err(reply) => return reply.into(),
        };
        let outcome = match flow.pour(&mut wire, &mut upload, kept).await {
            Ok(rest) => {
                progress.finishing.store(true, Ordering::Relaxed);
                // Python's and others' clients wait for our end before they ask for the answer.
                close(&mut wire).await;
                drop(wire);
                let finished = if upload.length() > QUICK_SYNC_BYTES {
                    // Much to be synced takes its time on any disk.
                    blocking(move || publish(upload, rest)).await
                } else {
                    house.on_disk(|| publish(upload, rest))
                };
                finished.map_err(Stop::Home)
            }
            Err(stop) => Err(stop),
        };
        match outcome {
            Ok(evidence) => {
                visit.uploaded();
                let took = house.world.clock.instant() - begin;
                let bytes = progress.bytes();
                let path = path.to_bytes();
                guest.log_transfer(Moved { done: "upload", path: &path, bytes, took });
                let text = match name {
                    Some(name) => format!("{bytes} bytes arrived and are safe, as {name}."),
                    None => format!("{bytes} bytes arrived and are safe."),
                };
                Ending { reply: Reply::new(226, text), evidence }
            }
            Err(stop) => {
                visit.uploads_lost(1);
                refusal(&guest, "upload", &path, stop).into()
            }
        }
    }

    /// Sends a file from `offset` on.
    pub(super) async fn send(self, file: File, path: RelPath, offset: u64) -> Ending {
        let Carrier { house, limits, visit, guest, meeting, progress } = self;
        let begin = house.world.clock.instant();
        let flow = Flow::new(&house, &limits, &visit, &progress);
        let mut wire = match meeting.meet().await {
            Ok(wire) => wire,
            Err(reply) => return reply.into(),
        };
        visit.downloaded();
        match flow.send_file(&mut wire, &file, offset).await {
            Ok(()) => {
                let took = house.world.clock.instant() - begin;
                let bytes = progress.bytes();
                let path = path.to_bytes();
                guest.log_transfer(Moved { done: "download", path: &path, bytes, took });
                Reply::new(226, format!("{bytes} bytes sent.")).into()
            }
            Err(stop) => refusal(&guest, "download", &path, stop).into(),
        }
    }

    /// Sends a listing, as far as it is read.
    pub(super) async fn send_listing(self, listing: Listing) -> Ending {
        let Carrier { house, limits, visit, guest, meeting, progress } = self;
        let flow = Flow::new(&house, &limits, &visit, &progress);
        let mut wire = match meeting.meet().await {
            Ok(wire) => wire,
            Err(reply) => return reply.into(),
        };
        match flow.send_lines(&mut wire, listing).await {
            Ok(()) => Reply::new(226, "That is all.").into(),
            Err(stop) => refusal(&guest, "listing", &RelPath::root(), stop).into(),
        }
    }
}

/// Moves bytes, at the pace allowed, and gives up when none move for too long.
struct Flow<'a> {
    /// Time without a byte.
    stall: Duration,
    visit: &'a Visit,
    progress: &'a Progress,
    world: &'a World,
}

impl<'a> Flow<'a> {
    fn new(
        house: &'a House,
        limits: &Limits,
        visit: &'a Visit,
        progress: &'a Progress,
    ) -> Flow<'a> {
        Flow { stall: limits.stall_timeout, visit, progress, world: &house.world }
    }

    /// Writes what arrives to the disk, but for the last piece, which it returns.
    async fn pour(
        &self,
        wire: &mut Wire,
        upload: &mut Upload,
        mut offset: u64,
    ) -> Result<Piece, Stop> {
        let work = QuickWork::new(SLOW_PIECE);
        let mut bytes = Vec::with_capacity(FIRST_PIECE_BYTES);
        loop {
            let more = self.fill(wire, &mut bytes).await;
            if let Ok(false) = more {
                return Ok(Piece { offset, bytes });
            }
            // What came before the line broke stays as well: the client may go on from there.
            let writing = || upload.write_at(offset, &bytes);
            work.run(|| self.now(), writing).map_err(Stop::Home)?;
            more.map_err(Stop::Wire)?;
            offset += bytes.len() as u64;
            bytes.clear();
            bytes.reserve_exact(PIECE_BYTES);
        }
    }

    /// Reads until the buffer is full or the client has ended the connection; says whether there is
    /// more. Silence for too long and an end without TLS's own are errors, behind what came before.
    async fn fill(&self, wire: &mut Wire, buffer: &mut Vec<u8>) -> io::Result<bool> {
        while buffer.len() < buffer.capacity() {
            // No more than the room there is: the buffer would grow.
            let room = buffer.capacity() - buffer.len();
            let mut limited = (&mut *wire).take(room as u64);
            let read = limited.read_buf(buffer);
            let read = timeout(self.stall, read).await.map_err(stalled)??;
            if read == 0 {
                return Ok(false);
            }
            self.progress.moved(read);
            self.visit.received(read);
            self.visit.pace_in(read).await;
        }
        Ok(true)
    }

    fn now(&self) -> Instant {
        self.world.clock.instant()
    }

    /// Sends a file from `at` on: answers and media do not grow while they are read.
    async fn send_file(&self, wire: &mut Wire, file: &File, at: u64) -> Result<(), Stop> {
        match wire {
            // What is paced is paced before it is sent.
            Wire::Clear(stream) if !self.visit.is_paced() => {
                self.send_uncopied(stream, file, at).await?;
            }
            _ => self.send_pieces(wire, file, at).await?,
        }
        self.end(wire).await.map_err(Stop::Wire)
    }

    /// The kernel takes the bytes from its own memory.
    async fn send_uncopied(
        &self,
        stream: &TcpStream,
        file: &File,
        mut at: u64,
    ) -> Result<(), Stop> {
        let work = QuickWork::new(SLOW_PIECE);
        loop {
            let sending = stream.async_io(Interest::WRITABLE, || {
                let mut sendfile =
                    || rustix::fs::sendfile(stream, file, Some(&mut at), PIECE_BYTES);
                Ok(work.run(|| self.now(), || retry_on_intr(&mut sendfile))?)
            });
            let sent = timeout(self.stall, sending).await;
            let sent =
                sent.map_err(stalled).flatten().map_err(|error| match error.raw_os_error() {
                    Some(code) if code == Errno::IO.raw_os_error() => Stop::Home(error.into()),
                    _ => Stop::Wire(error),
                })?;
            if sent == 0 {
                return Ok(());
            }
            self.progress.moved(sent);
            self.visit.sent(sent);
            self.visit.pace_out(sent).await;
        }
    }

    async fn send_pieces(&self, wire: &mut Wire, file: &File, mut at: u64) -> Result<(), Stop> {
        let disk = |error: io::Error| Stop::Home(error.into());
        let left = file.metadata().map_err(disk)?.len().saturating_sub(at);
        let work = QuickWork::new(SLOW_PIECE);
        // Room for a byte at least: an empty file is read to its end as well.
        let mut piece = Vec::with_capacity(left.clamp(1, PIECE_BYTES as u64) as usize);
        loop {
            let reading = || rustix::io::pread(file, spare_capacity(&mut piece), at);
            let read = work.run(|| self.now(), reading).map_err(|error| disk(error.into()))?;
            if read == 0 {
                return Ok(());
            }
            self.write(wire, &piece).await.map_err(Stop::Wire)?;
            at += read as u64;
            piece.clear();
        }
    }

    async fn send_lines(&self, wire: &mut Wire, mut listing: Listing) -> Result<(), Stop> {
        loop {
            let (back, lines) = blocking(move || {
                let lines = listing.next();
                (listing, lines)
            })
            .await;
            let mut lines = lines.map_err(Stop::Home)?;
            if lines.is_empty() {
                return self.end(wire).await.map_err(Stop::Wire);
            }
            lines.push(Vec::new());
            self.write(wire, &lines.join(&b"\r\n"[..])).await.map_err(Stop::Wire)?;
            listing = back;
        }
    }

    /// The last bytes leave, and then our end.
    async fn end(&self, wire: &mut Wire) -> io::Result<()> {
        timeout(self.stall, wire.flush()).await.map_err(stalled)??;
        close(wire).await;
        Ok(())
    }

    async fn write(&self, wire: &mut Wire, mut bytes: &[u8]) -> io::Result<()> {
        self.visit.pace_out(bytes.len()).await;
        while !bytes.is_empty() {
            let writing = wire.write(bytes);
            let wrote = timeout(self.stall, writing).await.map_err(stalled)??;
            if wrote == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.progress.moved(wrote);
            self.visit.sent(wrote);
            bytes = &bytes[wrote..];
        }
        Ok(())
    }
}

/// Bytes and where they go.
struct Piece {
    offset: u64,
    bytes: Vec<u8>,
}

/// The last write and the end of the upload.
fn publish(mut upload: Upload, last: Piece) -> Result<Option<UploadEvidence>, HomeError> {
    if !last.bytes.is_empty() {
        upload.write_at(last.offset, &last.bytes)?;
    }
    upload.finish()
}

/// Ends our side: close_notify under TLS, then FIN.
async fn close(wire: &mut Wire) {
    // Who has gone without waiting for it had all bytes, or gives no sign that can be told.
    timeout(CLOSE_TIMEOUT, wire.shutdown()).await.map(|done| done.ok()).ok();
}

fn stalled(_: tokio::time::error::Elapsed) -> io::Error {
    io::ErrorKind::TimedOut.into()
}

/// What a client hears of a transfer that broke off; what it does not hear is logged.
fn refusal(guest: &Guest, what: &str, path: &RelPath, stop: Stop) -> Reply {
    let path = path.to_bytes();
    match stop {
        Stop::Home(error) => {
            if let Some(source) = std::error::Error::source(&error) {
                tracing::error!(account = guest.login.account.name, %source, "{what}: {error}");
            }
            guest.log_failure(what, &path, &error.to_string());
            Reply::from(&error)
        }
        Stop::Wire(error) => {
            let why = match error.kind() {
                io::ErrorKind::TimedOut => "nothing moved for too long",
                io::ErrorKind::UnexpectedEof => "the data connection ended without TLS's own end",
                io::ErrorKind::InvalidData => "what came over the data connection was not TLS",
                _ => "the data connection broke",
            };
            guest.log_failure(what, &path, why);
            Reply::new(426, sentence(&format!("{why}, the transfer did not succeed")))
        }
    }
}

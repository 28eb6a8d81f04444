//! The bytes of one transfer, from the data connection to the disk and back.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::data::Meeting;
use super::guest::{Guest, Moved};
use super::lists::Listing;
use super::reply::{Reply, sentence};
use super::wire::Wire;
use crate::files::{HomeError, RelPath, Upload};
use crate::model::UploadEvidence;
use crate::transfer::Limits;
use crate::transfer::house::House;
use crate::transfer::visit::Visit;
use crate::worker::blocking;

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
        upload: Upload,
        path: RelPath,
        name: Option<String>,
    ) -> Ending {
        let Carrier { house, limits, visit, guest, meeting, progress } = self;
        let begin = house.world.clock.instant();
        let kept = upload.length();
        let flow = Flow { stall: limits.stall_timeout, visit: &visit, progress: &progress };
        let mut wire = match meeting.meet().await {
            Ok(wire) => wire,
            Err(reply) => return reply.into(),
        };
        let outcome = match flow.pour(&mut wire, upload, kept).await {
            Ok((upload, rest)) => {
                progress.finishing.store(true, Ordering::Relaxed);
                // Python's and others' clients wait for our end before they ask for the answer.
                close(&mut wire).await;
                drop(wire);
                publish(upload, rest).await.map_err(Stop::Home)
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
        let flow = Flow { stall: limits.stall_timeout, visit: &visit, progress: &progress };
        let mut wire = match meeting.meet().await {
            Ok(wire) => wire,
            Err(reply) => return reply.into(),
        };
        visit.downloaded();
        match flow.send_file(&mut wire, Arc::new(file), offset).await {
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
        let Carrier { limits, visit, guest, meeting, progress, .. } = self;
        let flow = Flow { stall: limits.stall_timeout, visit: &visit, progress: &progress };
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
}

impl Flow<'_> {
    /// Writes one piece to the disk while the next arrives. Returns the upload and its last piece,
    /// which is yet to be written.
    async fn pour(
        &self,
        wire: &mut Wire,
        mut upload: Upload,
        mut offset: u64,
    ) -> Result<(Upload, Piece), Stop> {
        let first = Vec::with_capacity(FIRST_PIECE_BYTES);
        let (mut bytes, mut more) = self.fill(wire, first).await;
        let mut spare = None;
        while matches!(more, Ok(true)) {
            let at = offset;
            let writing = blocking(move || {
                let result = upload.write_at(at, &bytes);
                (upload, bytes, result)
            });
            let empty = spare.take().unwrap_or_else(|| Vec::with_capacity(PIECE_BYTES));
            let ((back, written, result), next) = tokio::join!(writing, self.fill(wire, empty));
            result.map_err(Stop::Home)?;
            upload = back;
            offset += written.len() as u64;
            // The small first piece is not used again.
            spare = Some(written).filter(|piece| piece.capacity() >= PIECE_BYTES);
            (bytes, more) = next;
        }
        let last = Piece { offset, bytes };
        if let Err(error) = more {
            // What came before the line broke stays: the client may go on from there.
            keep(upload, last).await.map_err(Stop::Home)?;
            return Err(Stop::Wire(error));
        }
        Ok((upload, last))
    }

    /// Reads until the buffer is full or the client has ended the connection; says whether there is
    /// more. Silence for too long and an end without TLS's own are errors, behind what came before.
    async fn fill(&self, wire: &mut Wire, mut buffer: Vec<u8>) -> (Vec<u8>, io::Result<bool>) {
        buffer.clear();
        let room = buffer.capacity();
        while buffer.len() < room {
            let left = room - buffer.len();
            let mut limited = (&mut *wire).take(left as u64);
            let read = timeout(self.stall, limited.read_buf(&mut buffer)).await;
            match read.unwrap_or_else(|elapsed| Err(stalled(elapsed))) {
                Ok(0) => return (buffer, Ok(false)),
                Ok(read) => {
                    self.progress.moved(read);
                    self.visit.received(read);
                    self.visit.pace_in(read).await;
                }
                Err(error) => return (buffer, Err(error)),
            }
        }
        (buffer, Ok(true))
    }

    /// Reads one piece from the disk while the one before is sent.
    async fn send_file(&self, wire: &mut Wire, file: Arc<File>, mut at: u64) -> Result<(), Stop> {
        let disk = |error: io::Error| Stop::Home(error.into());
        let mut piece = read_piece(file.clone(), at, Vec::new()).await.map_err(disk)?;
        let mut spare = Vec::new();
        while !piece.is_empty() {
            at += piece.len() as u64;
            if piece.len() < PIECE_BYTES {
                // The end: answers and media do not grow.
                self.write(wire, &piece).await.map_err(Stop::Wire)?;
                break;
            }
            let reading = read_piece(file.clone(), at, spare);
            let (sent, next) = tokio::join!(self.write(wire, &piece), reading);
            sent.map_err(Stop::Wire)?;
            (spare, piece) = (piece, next.map_err(disk)?);
        }
        self.end(wire).await.map_err(Stop::Wire)
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

/// The last write and the end of the upload, in one go off the async workers.
async fn publish(mut upload: Upload, last: Piece) -> Result<Option<UploadEvidence>, HomeError> {
    blocking(move || {
        if !last.bytes.is_empty() {
            upload.write_at(last.offset, &last.bytes)?;
        }
        upload.finish()
    })
    .await
}

/// The last write of an upload that was cut.
async fn keep(mut upload: Upload, last: Piece) -> Result<(), HomeError> {
    blocking(move || match last.bytes.as_slice() {
        [] => Ok(()),
        bytes => upload.write_at(last.offset, bytes),
    })
    .await
}

async fn read_piece(file: Arc<File>, at: u64, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    blocking(move || {
        buffer.resize(PIECE_BYTES, 0);
        let mut length = 0;
        while length < PIECE_BYTES {
            match file.read_at(&mut buffer[length..], at + length as u64)? {
                0 => break,
                read => length += read,
            }
        }
        buffer.truncate(length);
        Ok(buffer)
    })
    .await
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

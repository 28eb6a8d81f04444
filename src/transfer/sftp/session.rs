//! One SFTP session: requests in, answers out, in order.
//!
//! What changes folders or syncs leaves its async worker to others meanwhile; most requests are quick.

use std::sync::Arc;

use super::answers::Answers;
use super::book::{Book, shown};
use super::frames::Input;
use super::handles::{Download, Handles, Listing, Open, Receipt};
use super::packet::{self, Malformed, Packet, Request};
use super::reply::{self, Code};
use crate::files::{Home, HomeError, Keep, RelPath, UploadStart};
use crate::worker::in_place;
use crate::world::World;

/// Answers are sent when there are so many bytes of them.
const ANSWERS_BATCH_BYTES: usize = 128 << 10;
/// Bytes of file data in one READ or WRITE, as OpenSSH has it.
const DATA_MAX_BYTES: usize = 255 << 10;
/// What clients that ask for our limits are told to read at once: more does not make them faster, and a
/// session with a slow client holds several answers.
const READ_TOLD_BYTES: u64 = 64 << 10;
/// Entries in one answer to READDIR.
const NAMES_BATCH: usize = 128;

/// Flags of OPEN.
const WRITE: u32 = 0x02;
const APPEND: u32 = 0x04;
const TRUNCATE: u32 = 0x10;

/// The state of one SFTP channel.
pub(in crate::transfer) struct Session {
    home: Home,
    handles: Handles,
    book: Book,
}

/// How a request was answered: with a packet already written, or with "OK".
enum Answer {
    Written,
    Done,
}

impl Session {
    pub(in crate::transfer) fn new(home: Home, book: Book, handles_max: usize) -> Session {
        Session { home, handles: Handles::new(handles_max), book }
    }

    pub(super) fn world(&self) -> Arc<World> {
        self.book.world.clone()
    }

    /// Answers packets until there are no more, or a batch of answers is full.
    pub(super) fn serve(
        &mut self,
        input: &mut Input,
        answers: &mut Answers,
    ) -> Result<(), Malformed> {
        while answers.bytes() < ANSWERS_BATCH_BYTES {
            match input.next(|packet| self.serve_one(packet::parse(packet)?, answers)) {
                None => break,
                Some(result) => result?,
            }
        }
        Ok(())
    }

    fn serve_one(&mut self, packet: Packet<'_>, answers: &mut Answers) -> Result<(), Malformed> {
        let id = packet.id;
        let answered = match effort(&packet.request) {
            Effort::Little => self.answer(id, packet.request, answers),
            Effort::Names => {
                let (disk, world) = (self.book.disk.clone(), self.book.world.clone());
                disk.run(|| world.clock.instant(), || self.answer(id, packet.request, answers))
            }
            Effort::Much => in_place(|| self.answer(id, packet.request, answers)),
        };
        match answered {
            Ok(Answer::Written) => {}
            Ok(Answer::Done) => reply::status(answers.small(), id, Code::Ok, "done"),
            Err(error) => {
                self.book.refused(&error);
                reply::refusal(answers.small(), id, &error);
            }
        }
        Ok(())
    }

    fn answer(
        &mut self,
        id: u32,
        request: Request<'_>,
        answers: &mut Answers,
    ) -> Result<Answer, HomeError> {
        match request {
            Request::Init => reply::version(answers.small()),
            Request::Open { path, flags } => {
                let handle = self.open(path, flags)?;
                reply::handle(answers.small(), id, &handle);
            }
            Request::Close(handle) => return self.close(handle),
            Request::Read { handle, offset, length } => {
                return self.read(id, handle, offset, length as usize, answers);
            }
            Request::Write { handle, offset, data } => return self.write(handle, offset, data),
            Request::Stat(path) => {
                let entry = self.home.stat(&resolve(path)?)?;
                reply::attributes(answers.small(), id, &entry);
            }
            Request::Fstat(handle) => self.fstat(id, handle, answers)?,
            Request::Setstat { path, length } => return self.setstat(path, length),
            Request::Fsetstat { handle, length } => return self.fsetstat(handle, length),
            Request::Opendir(path) => {
                let handle = self.opendir(path)?;
                reply::handle(answers.small(), id, &handle);
            }
            Request::Readdir(handle) => self.readdir(id, handle, answers)?,
            Request::Remove(path) => return done(self.home.remove_file(&resolve(path)?)),
            Request::Mkdir(path) => return done(self.home.make_folder(&resolve(path)?)),
            Request::Rmdir(path) => return done(self.home.remove_folder(&resolve(path)?)),
            Request::Realpath(path) => {
                let mut full = b"/".to_vec();
                full.extend_from_slice(&resolve(path)?.names().join(&b'/'));
                reply::path(answers.small(), id, &full);
            }
            Request::Rename { from, to, replace } => {
                return done(self.home.rename(&resolve(from)?, &resolve(to)?, replace));
            }
            Request::Fsync(handle) => {
                return match self.handles.get(handle)? {
                    Open::Upload(receipt) => done(receipt.upload.sync()),
                    _ => Ok(Answer::Done),
                };
            }
            Request::Statvfs(path) => {
                self.home.stat(&resolve(path)?)?;
                let (free, total) = self.home.space()?;
                reply::space(answers.small(), id, free, total);
            }
            Request::Limits => {
                let handles = self.handles.max() as u64;
                let limits = [256 << 10, READ_TOLD_BYTES, DATA_MAX_BYTES as u64, handles];
                reply::limits(answers.small(), id, limits);
            }
            Request::Unsupported => {
                let sentence = "links, copies and other extensions are not offered here";
                reply::status(answers.small(), id, Code::Unsupported, sentence);
            }
        }
        Ok(Answer::Written)
    }

    fn open(&mut self, path: &[u8], flags: u32) -> Result<Vec<u8>, HomeError> {
        const CREATE: u32 = 0x08;
        const EXCLUSIVE: u32 = 0x20;
        self.handles.check_room()?;
        let (path, since) = (resolve(path)?, self.book.now());
        let reads = flags & (WRITE | APPEND) == 0;
        let what = format!("{} {}", if reads { "get" } else { "put" }, shown(&path));
        let open = if reads {
            let entry = self.home.stat(&path)?;
            let file = self.home.open(&path)?;
            self.book.visit.downloaded();
            Open::File(Box::new(Download { file, entry, path, bytes: 0, since }))
        } else {
            let start = UploadStart {
                keep: if flags & TRUNCATE == 0 { Keep::All } else { Keep::Nothing },
                append: flags & APPEND != 0,
                must_exist: flags & CREATE == 0,
                must_be_new: flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE,
            };
            let upload = self.home.begin_upload(&path, start)?;
            Open::Upload(Box::new(Receipt { upload, path, since }))
        };
        Ok(self.handles.insert(open, self.book.visit.transfer_of(what)))
    }

    /// The end of an upload: only when the file is whole, in place and recorded it is "done".
    fn close(&mut self, handle: &[u8]) -> Result<Answer, HomeError> {
        let (open, _transfer) = self.handles.remove(handle)?;
        match open {
            Open::Upload(receipt) => return done(self.book.uploaded(*receipt)),
            Open::File(download) => self.book.downloaded(&download),
            Open::Folder(_) => {}
        }
        Ok(Answer::Done)
    }

    fn read(
        &mut self,
        id: u32,
        handle: &[u8],
        offset: u64,
        length: usize,
        answers: &mut Answers,
    ) -> Result<Answer, HomeError> {
        let open = self.handles.get(handle)?;
        let length = length.min(DATA_MAX_BYTES);
        let mut message = reply::begin_data(id, length);
        open.read(offset, length, &mut message)?;
        if message.len() == reply::DATA_HEADER_BYTES {
            reply::status(answers.small(), id, Code::Eof, "end of file");
            return Ok(Answer::Written);
        }
        let count = answers.data(message);
        if let Open::File(download) = open {
            download.bytes += count as u64;
        }
        self.book.visit.sent(count);
        Ok(Answer::Written)
    }

    fn write(&mut self, handle: &[u8], offset: u64, data: &[u8]) -> Result<Answer, HomeError> {
        let Open::Upload(receipt) = self.handles.get(handle)? else {
            return Err(HomeError::Refused("the file is not open for writing"));
        };
        receipt.upload.write_at(offset, data)?;
        self.book.visit.received(data.len());
        Ok(Answer::Done)
    }

    fn fstat(&mut self, id: u32, handle: &[u8], answers: &mut Answers) -> Result<(), HomeError> {
        let out = answers.small();
        match self.handles.get(handle)? {
            Open::File(download) => reply::attributes(out, id, &download.entry),
            Open::Upload(receipt) => reply::attributes(out, id, &receipt.upload.entry()),
            Open::Folder(listing) => reply::attributes(out, id, &listing.entry),
        }
        Ok(())
    }

    /// Times and permissions are taken and not used. A file that is cut is a new file of its name.
    fn setstat(&mut self, path: &[u8], length: Option<u64>) -> Result<Answer, HomeError> {
        let path = resolve(path)?;
        let Some(length) = length else { return done(self.home.set_attributes(&path)) };
        let there = self.home.stat(&path)?.version.bytes;
        if length == there {
            return Ok(Answer::Done);
        }
        if length > there {
            return Err(HomeError::Refused("a file is made longer by writing to it only"));
        }
        let start =
            UploadStart { keep: Keep::First(length), must_exist: true, ..UploadStart::FRESH };
        let (since, upload) = (self.book.now(), self.home.begin_upload(&path, start)?);
        done(self.book.uploaded(Receipt { upload, path, since }))
    }

    fn fsetstat(&mut self, handle: &[u8], length: Option<u64>) -> Result<Answer, HomeError> {
        match (self.handles.get(handle)?, length) {
            (Open::Upload(receipt), Some(length)) => done(receipt.upload.truncate(length)),
            (_, Some(_)) => Err(HomeError::Refused("the file is not open for writing")),
            (_, None) => Ok(Answer::Done),
        }
    }

    fn opendir(&mut self, path: &[u8]) -> Result<Vec<u8>, HomeError> {
        self.handles.check_room()?;
        let path = resolve(path)?;
        let entry = self.home.stat(&path)?;
        let folder = self.home.folder(&path)?;
        let open = Open::Folder(Box::new(Listing { entry, folder }));
        Ok(self.handles.insert(open, self.book.visit.transfer()))
    }

    fn readdir(&mut self, id: u32, handle: &[u8], answers: &mut Answers) -> Result<(), HomeError> {
        let Open::Folder(listing) = self.handles.get(handle)? else {
            return Err(HomeError::Refused("this is not a folder"));
        };
        let entries = listing.folder.next(NAMES_BATCH)?;
        if entries.is_empty() {
            reply::status(answers.small(), id, Code::Eof, "no more entries");
        } else {
            reply::names(answers.small(), id, &entries, self.book.world.clock.now());
        }
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        for (open, _transfer) in self.handles.drain() {
            match open {
                Open::Upload(receipt) => self.book.cut(*receipt),
                Open::File(download) => self.book.downloaded(&download),
                Open::Folder(_) => {}
            }
        }
    }
}

/// What a request asks of the disk.
enum Effort {
    /// Mostly what the kernel has in its memory.
    Little,
    /// Folders change, or something is synced. CLOSE knows by the handle.
    Names,
    /// A file may have to be copied, or its bytes synced.
    Much,
}

fn effort(request: &Request<'_>) -> Effort {
    match request {
        Request::Open { flags, .. } if flags & (WRITE | APPEND) == 0 => Effort::Little,
        Request::Open { flags, .. } if flags & TRUNCATE == 0 => Effort::Much,
        Request::Open { .. } => Effort::Names,
        Request::Setstat { length: Some(_), .. } | Request::Fsetstat { length: Some(_), .. } => {
            Effort::Much
        }
        Request::Opendir(_)
        | Request::Remove(_)
        | Request::Mkdir(_)
        | Request::Rmdir(_)
        | Request::Rename { .. } => Effort::Names,
        Request::Fsync(_) => Effort::Much,
        _ => Effort::Little,
    }
}

fn resolve(path: &[u8]) -> Result<RelPath, HomeError> {
    Ok(RelPath::root().resolve(path)?)
}

fn done(result: Result<(), HomeError>) -> Result<Answer, HomeError> {
    result.map(|()| Answer::Done)
}

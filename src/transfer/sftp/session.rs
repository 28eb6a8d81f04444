//! One SFTP session: requests in, answers out, in order. Blocks on the disk.

use std::sync::Arc;

use super::handles::{Handles, Open};
use super::packet::{self, Malformed, Request};
use super::reply::{self, Code};
use crate::files::{Home, HomeError, Keep, RelPath, UploadStart};
use crate::transfer::visit::Visit;
use crate::world::World;

/// Answers are sent when there are so many bytes of them.
const ANSWERS_BATCH_BYTES: usize = 512 << 10;
/// Bytes of file data in one READ or WRITE, as OpenSSH has it.
const DATA_MAX_BYTES: usize = 255 << 10;
/// Entries in one answer to READDIR.
const NAMES_BATCH: usize = 128;

/// The state of one SFTP channel.
pub(in crate::transfer) struct Session {
    home: Home,
    handles: Handles,
    visit: Visit,
    world: Arc<World>,
}

/// How a request was answered: with a packet already written, or with "OK".
enum Answer {
    Written,
    Done,
}

impl Session {
    pub(in crate::transfer) fn new(
        home: Home,
        visit: Visit,
        world: Arc<World>,
        handles_max: usize,
    ) -> Session {
        Session { home, handles: Handles::new(handles_max), visit, world }
    }

    /// Answers the whole packets at the beginning of `input`, until a batch of answers is full;
    /// returns how many bytes it used.
    pub(in crate::transfer) fn serve(
        &mut self,
        input: &[u8],
        answers: &mut Vec<u8>,
    ) -> Result<usize, Malformed> {
        let mut used = 0;
        while answers.len() < ANSWERS_BATCH_BYTES {
            let Some((body, bytes)) = packet::split(&input[used..])? else { break };
            let packet = packet::parse(body)?;
            match self.answer(packet.id, packet.request, answers) {
                Ok(Answer::Written) => {}
                Ok(Answer::Done) => reply::status(answers, packet.id, Code::Ok, "done"),
                Err(error) => {
                    self.log(&error);
                    reply::refusal(answers, packet.id, &error);
                }
            }
            used += bytes;
        }
        Ok(used)
    }

    fn answer(
        &mut self,
        id: u32,
        request: Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Answer, HomeError> {
        match request {
            Request::Init => reply::version(out),
            Request::Open { path, flags } => {
                let handle = self.open(path, flags)?;
                reply::handle(out, id, &handle);
            }
            Request::Close { handle } => return self.close(handle),
            Request::Read { handle, offset, length } => {
                self.read(id, handle, offset, length as usize, out)?;
            }
            Request::Write { handle, offset, data } => return self.write(handle, offset, data),
            Request::Stat { path } => {
                reply::attributes(out, id, &self.home.stat(&resolve(path)?)?);
            }
            Request::Fstat { handle } => self.fstat(id, handle, out)?,
            Request::Setstat { path, length } => return self.setstat(path, length),
            Request::Fsetstat { handle, length } => return self.fsetstat(handle, length),
            Request::Opendir { path } => {
                self.handles.check_room()?;
                let left = self.home.list(&resolve(path)?)?.into_iter();
                let handle = self.handles.insert(Open::Folder { left }, self.visit.transfer());
                reply::handle(out, id, &handle);
            }
            Request::Readdir { handle } => self.readdir(id, handle, out)?,
            Request::Remove { path } => return done(self.home.remove_file(&resolve(path)?)),
            Request::Mkdir { path } => return done(self.home.make_folder(&resolve(path)?)),
            Request::Rmdir { path } => return done(self.home.remove_folder(&resolve(path)?)),
            Request::Realpath { path } => {
                let mut full = b"/".to_vec();
                full.extend_from_slice(&resolve(path)?.names().join(&b'/'));
                reply::path(out, id, &full);
            }
            Request::Rename { from, to, replace } => {
                return done(self.home.rename(&resolve(from)?, &resolve(to)?, replace));
            }
            Request::Fsync { handle } => {
                return match self.handles.get(handle)? {
                    Open::Upload(upload) => done(upload.sync()),
                    _ => Ok(Answer::Done),
                };
            }
            Request::Statvfs { path } => {
                self.home.stat(&resolve(path)?)?;
                let (free, total) = self.home.space()?;
                reply::space(out, id, free, total);
            }
            Request::Limits => {
                let data = DATA_MAX_BYTES as u64;
                reply::limits(out, id, [256 << 10, data, data, self.handles.max() as u64]);
            }
            Request::Unsupported => {
                reply::status(out, id, Code::Unsupported, "this is not offered here");
            }
        }
        Ok(Answer::Written)
    }

    fn open(&mut self, path: &[u8], flags: u32) -> Result<Vec<u8>, HomeError> {
        const WRITE: u32 = 0x02;
        const APPEND: u32 = 0x04;
        const CREATE: u32 = 0x08;
        const TRUNCATE: u32 = 0x10;
        const EXCLUSIVE: u32 = 0x20;
        self.handles.check_room()?;
        let path = resolve(path)?;
        let reads = flags & (WRITE | APPEND) == 0;
        let path_text = String::from_utf8_lossy(&path.to_bytes()).into_owned();
        let what = format!("{} /{path_text}", if reads { "get" } else { "put" });
        let open = if flags & (WRITE | APPEND) == 0 {
            let entry = self.home.stat(&path)?;
            let file = self.home.open(&path)?;
            self.visit.downloaded();
            Open::File { file, entry }
        } else {
            let start = UploadStart {
                keep: if flags & TRUNCATE == 0 { Keep::All } else { Keep::Nothing },
                append: flags & APPEND != 0,
                must_exist: flags & CREATE == 0,
                must_be_new: flags & (CREATE | EXCLUSIVE) == CREATE | EXCLUSIVE,
            };
            Open::Upload(Box::new(self.home.begin_upload(&path, start)?))
        };
        Ok(self.handles.insert(open, self.visit.transfer_of(what)))
    }

    /// The end of an upload: only when the file is whole, in place and recorded it is "done".
    fn close(&mut self, handle: &[u8]) -> Result<Answer, HomeError> {
        let (open, _transfer) = self.handles.remove(handle)?;
        if let Open::Upload(upload) = open {
            let finished = upload.finish();
            match &finished {
                Ok(_) => self.visit.uploaded(),
                Err(_) => self.visit.uploads_lost(1),
            }
            finished?;
        }
        Ok(Answer::Done)
    }

    fn read(
        &mut self,
        id: u32,
        handle: &[u8],
        offset: u64,
        length: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), HomeError> {
        let open = self.handles.get(handle)?;
        let length = length.min(DATA_MAX_BYTES);
        let read = reply::data(out, id, length, |space| open.read(offset, space))?;
        if read == 0 {
            reply::status(out, id, Code::Eof, "end of file");
        }
        self.visit.sent(read);
        Ok(())
    }

    fn write(&mut self, handle: &[u8], offset: u64, data: &[u8]) -> Result<Answer, HomeError> {
        let Open::Upload(upload) = self.handles.get(handle)? else {
            return Err(HomeError::Refused("the file is not open for writing"));
        };
        upload.write_at(offset, data)?;
        self.visit.received(data.len());
        Ok(Answer::Done)
    }

    fn fstat(&mut self, id: u32, handle: &[u8], out: &mut Vec<u8>) -> Result<(), HomeError> {
        let entry = match self.handles.get(handle)? {
            Open::File { entry, .. } => entry.clone(),
            Open::Upload(upload) => upload.entry(),
            Open::Folder { .. } => self.home.stat(&RelPath::root())?,
        };
        reply::attributes(out, id, &entry);
        Ok(())
    }

    fn setstat(&mut self, path: &[u8], length: Option<u64>) -> Result<Answer, HomeError> {
        if length.is_some() {
            return Err(HomeError::Refused("a file's length is changed by writing it anew only"));
        }
        done(self.home.set_attributes(&resolve(path)?))
    }

    fn fsetstat(&mut self, handle: &[u8], length: Option<u64>) -> Result<Answer, HomeError> {
        match (self.handles.get(handle)?, length) {
            (Open::Upload(upload), Some(length)) => done(upload.truncate(length)),
            (_, Some(_)) => Err(HomeError::Refused("the file is not open for writing")),
            (_, None) => Ok(Answer::Done),
        }
    }

    fn readdir(&mut self, id: u32, handle: &[u8], out: &mut Vec<u8>) -> Result<(), HomeError> {
        let now = self.world.clock.now();
        let Open::Folder { left } = self.handles.get(handle)? else {
            return Err(HomeError::Refused("this is not a folder"));
        };
        let entries: Vec<_> = left.take(NAMES_BATCH).collect();
        if entries.is_empty() {
            reply::status(out, id, Code::Eof, "no more entries");
        } else {
            reply::names(out, id, &entries, now);
        }
        Ok(())
    }

    fn log(&self, error: &HomeError) {
        let source = std::error::Error::source(error);
        match source {
            // A fault on our side: the partner sees a sentence, the operator the cause.
            Some(source) => tracing::error!(peer = %self.visit.peer, %source, "sftp: {error}"),
            None => tracing::debug!(peer = %self.visit.peer, "sftp: {error}"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.visit.uploads_lost(self.handles.uploads());
    }
}

fn resolve(path: &[u8]) -> Result<RelPath, HomeError> {
    Ok(RelPath::root().resolve(path)?)
}

fn done(result: Result<(), HomeError>) -> Result<Answer, HomeError> {
    result.map(|()| Answer::Done)
}

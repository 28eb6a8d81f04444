//! A tenant's home as the FTP library wants to see a disk.

use std::fmt::Debug;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use unftp_core::storage::{
    Error, ErrorKind, FEATURE_RESTART, Fileinfo, Metadata, Permissions, Result, StorageBackend,
};

use super::gate::Guest;
use crate::files::{Entry, EntryKind, Home, HomeError, Keep, RelPath, Upload, UploadStart};
use crate::transfer::house::House;
use crate::transfer::visit::Visit;
use crate::worker::blocking;

/// Bytes per step of a transfer, on the disk and on the wire.
const BUFFER_BYTES: usize = 256 << 10;

/// The disk of one connection; the home comes with each call, in the guest.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    visit: Visit,
    stall_timeout: Duration,
}

/// What the library asks about a file.
#[derive(Debug)]
pub(super) struct About(Entry);

impl Disk {
    pub(super) fn new(house: &House, visit: &Visit) -> Disk {
        Disk { visit: visit.clone(), stall_timeout: house.limits().stall_timeout }
    }

    /// Does one thing with the guest's home, off the async workers.
    async fn with<T: Send + 'static>(
        &self,
        guest: &Guest,
        path: impl AsRef<Path>,
        work: impl FnOnce(&Home, &RelPath) -> std::result::Result<T, HomeError> + Send + 'static,
    ) -> Result<T> {
        let home = guest.home.clone();
        let path = path.as_ref().as_os_str().as_bytes().to_vec();
        let peer = self.visit.peer;
        let result = blocking(move || {
            let path = RelPath::root().resolve(&path)?;
            work(&home, &path)
        })
        .await;
        result.map_err(|error| {
            match std::error::Error::source(&error) {
                Some(source) => tracing::error!(%peer, %source, "ftp: {error}"),
                None => tracing::debug!(%peer, "ftp: {error}"),
            }
            refusal(error)
        })
    }

    /// Receives until the client ends the data connection. Writes one buffer while the next fills.
    async fn receive<R: AsyncRead + Unpin>(
        &self,
        mut upload: Upload,
        mut offset: u64,
        mut input: R,
    ) -> Result<Upload> {
        let mut buffer = self.fill(&mut input, Vec::with_capacity(BUFFER_BYTES)).await?;
        let mut spare = Vec::with_capacity(BUFFER_BYTES);
        while !buffer.is_empty() {
            let at = offset;
            let writing = blocking(move || {
                let result = upload.write_at(at, &buffer);
                (upload, buffer, result)
            });
            let ((back, written, result), next) =
                tokio::join!(writing, self.fill(&mut input, spare));
            result.map_err(refusal)?;
            upload = back;
            offset += written.len() as u64;
            self.visit.received(written.len());
            (buffer, spare) = (next?, written);
        }
        Ok(upload)
    }

    /// Reads until the buffer is full or the client is done. A client that is silent for too long,
    /// or gone without a proper end, is an error.
    async fn fill<R: AsyncRead + Unpin>(
        &self,
        input: &mut R,
        mut buffer: Vec<u8>,
    ) -> io::Result<Vec<u8>> {
        buffer.clear();
        let mut limited = input.take(BUFFER_BYTES as u64);
        while buffer.len() < BUFFER_BYTES {
            let read = limited.read_buf(&mut buffer);
            match timeout(self.stall_timeout, read).await {
                Ok(Ok(0)) => break,
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
        Ok(buffer)
    }
}

#[async_trait]
impl StorageBackend<Guest> for Disk {
    type Metadata = About;

    fn supported_features(&self) -> u32 {
        FEATURE_RESTART
    }

    async fn metadata<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &Guest,
        path: P,
    ) -> Result<About> {
        self.with(user, path, |home, path| home.stat(path).map(About)).await
    }

    async fn list<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &Guest,
        path: P,
    ) -> Result<Vec<Fileinfo<PathBuf, About>>> {
        let list = |home: &Home, path: &RelPath| match home.stat(path)?.kind {
            EntryKind::Folder => home.list(path),
            _ => Ok(vec![home.stat(path)?]),
        };
        let entries = self.with(user, path, list).await?;
        let named = |entry: Entry| {
            let path = std::ffi::OsString::from_vec(entry.name.clone()).into();
            Fileinfo { path, metadata: About(entry) }
        };
        Ok(entries.into_iter().map(named).collect())
    }

    async fn get<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &Guest,
        path: P,
        start_pos: u64,
    ) -> Result<Box<dyn AsyncRead + Send + Sync + Unpin>> {
        let file = self
            .with(user, path, move |home, path| {
                use io::Seek;
                let mut file = home.open(path)?;
                file.seek(io::SeekFrom::Start(start_pos))?;
                Ok(file)
            })
            .await?;
        Ok(Box::new(tokio::fs::File::from_std(file)))
    }

    async fn get_into<'a, P, W: ?Sized>(
        &self,
        user: &Guest,
        path: P,
        start_pos: u64,
        output: &'a mut W,
    ) -> Result<u64>
    where
        W: AsyncWrite + Unpin + Sync + Send,
        P: AsRef<Path> + Send + Debug,
    {
        let _transfer = self.visit.transfer();
        let file = Arc::new(self.with(user, path, |home, path| home.open(path)).await?);
        self.visit.downloaded();
        let read = |at: u64, mut buffer: Vec<u8>| {
            let file = file.clone();
            blocking(move || {
                buffer.resize(BUFFER_BYTES, 0);
                let count = file.read_at(&mut buffer, at)?;
                buffer.truncate(count);
                Ok::<_, io::Error>(buffer)
            })
        };
        let mut offset = start_pos;
        let mut buffer = read(offset, Vec::new()).await?;
        let mut spare = Vec::new();
        while !buffer.is_empty() {
            offset += buffer.len() as u64;
            let sending = timeout(self.stall_timeout, output.write_all(&buffer));
            let (sent, next) = tokio::join!(sending, read(offset, spare));
            sent.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))??;
            self.visit.sent(buffer.len());
            (spare, buffer) = (buffer, next?);
        }
        output.flush().await?;
        Ok(offset - start_pos)
    }

    async fn put<P: AsRef<Path> + Send + Debug, R: AsyncRead + Send + Sync + Unpin + 'static>(
        &self,
        user: &Guest,
        input: R,
        path: P,
        start_pos: u64,
    ) -> Result<u64> {
        let _transfer = self.visit.transfer();
        let keep = if start_pos == 0 { Keep::Nothing } else { Keep::First(start_pos) };
        let start = UploadStart { keep, ..UploadStart::FRESH };
        let upload =
            self.with(user, path, move |home, path| home.begin_upload(path, start)).await?;
        let upload = match self.receive(upload, start_pos, input).await {
            Ok(upload) => upload,
            // Reset, stalled, or TLS without its proper end: dropped, so never seen as a file.
            Err(error) => {
                self.visit.uploads_lost(1);
                return Err(error);
            }
        };
        let bytes = upload.length() - start_pos;
        let finished = self.with(user, "/", move |_, _| upload.finish()).await;
        match &finished {
            Ok(_) => self.visit.uploaded(),
            Err(_) => self.visit.uploads_lost(1),
        }
        finished.map(|_| bytes)
    }

    async fn del<P: AsRef<Path> + Send + Debug>(&self, user: &Guest, path: P) -> Result<()> {
        self.with(user, path, |home, path| home.remove_file(path)).await
    }

    async fn mkd<P: AsRef<Path> + Send + Debug>(&self, user: &Guest, path: P) -> Result<()> {
        self.with(user, path, |home, path| home.make_folder(path)).await
    }

    async fn rename<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &Guest,
        from: P,
        to: P,
    ) -> Result<()> {
        let to = to.as_ref().as_os_str().as_bytes().to_vec();
        self.with(user, from, move |home, from| {
            home.rename(from, &RelPath::root().resolve(&to)?, true)
        })
        .await
    }

    async fn rmd<P: AsRef<Path> + Send + Debug>(&self, user: &Guest, path: P) -> Result<()> {
        self.with(user, path, |home, path| home.remove_folder(path)).await
    }

    async fn cwd<P: AsRef<Path> + Send + Debug>(&self, user: &Guest, path: P) -> Result<()> {
        self.with(user, path, |home, path| match home.stat(path)?.kind {
            EntryKind::Folder => Ok(()),
            _ => Err(HomeError::NotFound),
        })
        .await
    }
}

impl Metadata for About {
    fn len(&self) -> u64 {
        self.0.version.bytes
    }

    fn is_dir(&self) -> bool {
        self.0.kind == EntryKind::Folder
    }

    fn is_file(&self) -> bool {
        self.0.kind == EntryKind::File
    }

    fn is_symlink(&self) -> bool {
        false
    }

    fn modified(&self) -> Result<SystemTime> {
        let nanoseconds = u64::try_from(self.0.version.modified_ns).unwrap_or(0);
        Ok(UNIX_EPOCH + Duration::from_nanos(nanoseconds))
    }

    fn gid(&self) -> u32 {
        0
    }

    fn uid(&self) -> u32 {
        0
    }

    fn permissions(&self) -> Permissions {
        Permissions(self.0.mode)
    }
}

/// The reply code for a refused wish; the library has fixed texts.
fn refusal(error: HomeError) -> Error {
    let kind = match &error {
        HomeError::NotFound | HomeError::AlreadyThere => ErrorKind::PermanentFileNotAvailable,
        HomeError::Refused(_) => ErrorKind::PermissionDenied,
        HomeError::NameRefused(_) => ErrorKind::FileNameNotAllowedError,
        HomeError::NotEmpty => ErrorKind::PermanentDirectoryNotEmpty,
        HomeError::TooLarge { .. } | HomeError::OverQuota { .. } => {
            ErrorKind::ExceededStorageAllocationError
        }
        HomeError::DiskFull => ErrorKind::InsufficientStorageSpaceError,
        HomeError::Incomplete | HomeError::Journal(_) | HomeError::Disk(_) => ErrorKind::LocalError,
    };
    Error::new(kind, error)
}

//! Why a client's wish was not done, in sentences the client may read.

use std::error::Error;
use std::io;

use super::InvalidPath;

/// Each variant is a situation a door answers differently; the text is shown to the partner, the
/// source only to the operator.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("there is no such file or folder")]
    NotFound,
    #[error("{0}")]
    Refused(&'static str),
    #[error("{0}")]
    NameRefused(&'static str),
    #[error("a file or folder of that name is already there")]
    AlreadyThere,
    #[error("the folder is not empty")]
    NotEmpty,
    #[error("the file is larger than {limit} bytes, the most that is taken")]
    TooLarge { limit: u64 },
    /// Of bytes or of files.
    #[error(
        "the tenant's quota of {limit} {of} is used up, remove something in /media or send less"
    )]
    OverQuota { limit: u64, of: &'static str },
    #[error("the disk is nearly full, uploads are not taken for now")]
    DiskFull,
    #[error("some bytes of the file never arrived or were not taken, send the file again")]
    Incomplete,
    #[error("the upload could not be recorded, send the file again")]
    Journal(#[source] Box<dyn Error + Send + Sync>),
    #[error("the disk did not take or give the data")]
    Disk(#[source] io::Error),
}

impl From<io::Error> for HomeError {
    fn from(error: io::Error) -> HomeError {
        use io::ErrorKind as Kind;
        match error.kind() {
            // openat2 says "loop" or "crosses devices" for a link on the way: links are shown to nobody.
            Kind::NotFound | Kind::NotADirectory | Kind::CrossesDevices => HomeError::NotFound,
            Kind::AlreadyExists => HomeError::AlreadyThere,
            Kind::DirectoryNotEmpty => HomeError::NotEmpty,
            Kind::IsADirectory => HomeError::Refused("this is a folder, not a file"),
            Kind::InvalidFilename => InvalidPath::PathTooLong.into(),
            Kind::StorageFull | Kind::QuotaExceeded => HomeError::DiskFull,
            _ if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                HomeError::NotFound
            }
            _ => HomeError::Disk(error),
        }
    }
}

impl From<rustix::io::Errno> for HomeError {
    fn from(error: rustix::io::Errno) -> HomeError {
        io::Error::from(error).into()
    }
}

impl From<InvalidPath> for HomeError {
    fn from(error: InvalidPath) -> HomeError {
        HomeError::NameRefused(match error {
            InvalidPath::Nul => "a name may not hold a NUL byte",
            InvalidPath::NameTooLong => "a name may not be longer than 255 bytes",
            InvalidPath::PathTooLong => "the path is too long or too deep",
        })
    }
}

//! Packed files: the one file in a `.gz` or `.zip`, checked and laid beside the original.
//!
//! What comes out is bounded by the limit of a plain file and by how far it may expand; names inside an
//! archive are never used.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use super::IntakeError;
use crate::codes::ReasonCode;
use crate::records::{FileProblem, Limits};
use crate::spool::BatchFolder;

/// Bytes of a zip's directory that are read to find its one file: a directory of millions of names is
/// an attack on memory.
const DIRECTORY_MAX_BYTES: u64 = 1 << 20;
/// A small file may expand as it likes up to here, whatever its ratio.
const ALWAYS_FITS_BYTES: u64 = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zip,
}

impl Packing {
    /// By the name's ending; the bytes are held against it later.
    pub(super) fn of_name(name: &str) -> Option<Packing> {
        let (_, ending) = name.rsplit_once('.')?;
        match ending.to_ascii_lowercase().as_str() {
            "gz" => Some(Packing::Gzip),
            "zip" => Some(Packing::Zip),
            _ => None,
        }
    }
}

/// The original's size and digest, since the text that is read has others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Original {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// Why nothing came out.
#[derive(Debug)]
pub(super) enum UnpackError {
    /// The file's fault, in a sentence for the partner.
    Refused(FileProblem),
    Failed(IntakeError),
}

impl UnpackError {
    fn damaged(message: impl Into<String>) -> UnpackError {
        UnpackError::Refused(FileProblem::new(ReasonCode::FileArchiveInvalid, message.into()))
    }
}

impl From<IntakeError> for UnpackError {
    fn from(error: IntakeError) -> UnpackError {
        UnpackError::Failed(error)
    }
}

/// Size and digest of a claimed file as it was received.
pub(super) fn original(folder: &BatchFolder) -> Result<Original, IntakeError> {
    let unreadable = |source| IntakeError::Input { source };
    let mut file = File::open(folder.input()).map_err(unreadable)?;
    let (mut hash, mut bytes) = (Sha256::new(), 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = file.read(&mut buffer).map_err(unreadable)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        bytes += count as u64;
    }
    Ok(Original { bytes, sha256: hex::encode(hash.finalize()) })
}

/// Lays the file in the archive beside it; a file left by an earlier try is written anew.
pub(super) fn unpack(
    packing: Packing,
    folder: &BatchFolder,
    packed_bytes: u64,
    limits: &Limits,
) -> Result<(), UnpackError> {
    let input = File::open(folder.input()).map_err(|source| IntakeError::Input { source })?;
    let unwritable = |source| IntakeError::Unpack { source };
    let out = File::create(folder.unpacked()).map_err(unwritable)?;
    let mut out = Bounded {
        out: BufWriter::with_capacity(BUFFER_BYTES, out),
        written: 0,
        file_max: limits.file_max_bytes,
        expanded_max: packed_bytes.saturating_mul(limits.expansion_max).max(ALWAYS_FITS_BYTES),
        expansion_max: limits.expansion_max,
    };
    match packing {
        Packing::Gzip => {
            let mut gzip = MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, input));
            out.take_all(&mut gzip)?;
        }
        Packing::Zip => unzip(input, &mut out)?,
    }
    out.out.flush().map_err(unwritable)?;
    Ok(())
}

fn unzip(input: File, out: &mut Bounded) -> Result<(), UnpackError> {
    const DAMAGED: &str = "the file is no zip, or a damaged one";
    let budget = Budget { file: input, left: Some(DIRECTORY_MAX_BYTES) };
    let zip = ZipArchive::new(budget).map_err(|_| UnpackError::damaged(DAMAGED))?;
    let mut files = Vec::new();
    for index in 0..zip.len() {
        let Some(Ok(name)) = zip.name_for_index(index) else {
            return Err(UnpackError::damaged(DAMAGED));
        };
        if !name.ends_with('/') && !name.starts_with("__MACOSX/") {
            files.push((index, Packing::of_name(&name)));
        }
    }
    let [(index, inner)] = files.as_slice() else {
        let message = format!("the zip holds {} files, not one", files.len());
        return Err(UnpackError::damaged(message));
    };
    if inner.is_some() {
        return Err(UnpackError::damaged("the zip holds another archive"));
    }
    let index = *index;
    // The directory is read: the member may be as long as the limits allow.
    let mut input = zip.into_inner();
    input.left = None;
    let mut zip = ZipArchive::new(input).map_err(|_| UnpackError::damaged(DAMAGED))?;
    let mut member = match zip.by_index(index) {
        Ok(member) => member,
        Err(ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED)) => {
            return Err(UnpackError::damaged("the zip is protected by a password"));
        }
        Err(_) => return Err(UnpackError::damaged(DAMAGED)),
    };
    out.take_all(&mut member)
}

/// Where the text goes, up to its limits.
struct Bounded {
    out: BufWriter<File>,
    written: u64,
    file_max: u64,
    expanded_max: u64,
    expansion_max: u64,
}

impl Bounded {
    fn take_all(&mut self, from: &mut impl Read) -> Result<(), UnpackError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // An error of the disk has a number, one of the format has none.
                Err(source) if source.raw_os_error().is_some() => {
                    return Err(IntakeError::Input { source }.into());
                }
                Err(_) => {
                    return Err(UnpackError::damaged(
                        "the archive is cut or damaged: its contents do not fit its checksum",
                    ));
                }
            };
            self.written += count as u64;
            if self.written > self.file_max {
                let message = format!("more than {} bytes come out of the archive", self.file_max);
                return Err(UnpackError::Refused(FileProblem::new(
                    ReasonCode::FileTooLarge,
                    message,
                )));
            }
            if self.written > self.expanded_max {
                let times = self.expansion_max;
                return Err(UnpackError::damaged(format!(
                    "the archive expands to more than {times} times its size"
                )));
            }
            self.out
                .write_all(&buffer[..count])
                .map_err(|source| IntakeError::Unpack { source })?;
        }
    }
}

/// A file of which only so much is read.
struct Budget {
    file: File,
    left: Option<u64>,
}

impl Read for Budget {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(into)?;
        if let Some(left) = &mut self.left {
            *left = left
                .checked_sub(count as u64)
                .ok_or_else(|| io::Error::other("the directory is too long"))?;
        }
        Ok(count)
    }
}

impl Seek for Budget {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

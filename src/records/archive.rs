//! What is in a `.gz` or `.zip`: one file, checked against its checksum as it comes out.
//!
//! What comes out is bounded by the limit of a plain file and by how far it may expand; names inside an
//! archive say at most what form the file has.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::rc::Rc;

use flate2::bufread::GzDecoder;
use zip::result::ZipError;
use zip::{CompressionMethod, ZipArchive};

use crate::codes::ReasonCode;
use crate::model::FileForm;

use super::form::{Packing, form_of_name};
use super::problem::FileProblem;
use super::settings::Limits;

/// Bytes of a zip's directory that are read at most: one of millions of names is an attack on memory.
const DIRECTORY_MAX_BYTES: u64 = 1 << 20;
/// A small file may expand as it likes up to here, whatever its ratio.
const ALWAYS_FITS_BYTES: u64 = 1 << 20;
const BUFFER_BYTES: usize = 256 << 10;

/// Why nothing came out, or not all.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The file's fault, in a sentence for the partner.
    #[error("the archive is refused: {}", .0.code)]
    Refused(Box<FileProblem>),
    #[error("read the archive")]
    Read(#[source] io::Error),
    #[error("write what was in the archive")]
    Write(#[source] io::Error),
}

impl UnpackError {
    pub(super) fn refused(problem: FileProblem) -> UnpackError {
        UnpackError::Refused(Box::new(problem))
    }

    pub(super) fn damaged(message: impl Into<String>) -> UnpackError {
        UnpackError::refused(FileProblem::new(ReasonCode::FileArchiveInvalid, message))
    }

    pub(super) fn damaged_so(message: impl Into<String>, hint: &str) -> UnpackError {
        let problem = FileProblem::new(ReasonCode::FileArchiveInvalid, message);
        UnpackError::refused(problem.hint(hint))
    }

    /// An error of the disk has a number, one of the format has none.
    pub(super) fn from_read(error: io::Error) -> UnpackError {
        if error.raw_os_error().is_some() {
            return UnpackError::Read(error);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let message = "the archive ends in the middle: it was cut";
                UnpackError::damaged_so(message, "upload the file again")
            }
            _ => {
                let message = "the archive is damaged: its contents do not fit its checksum";
                UnpackError::damaged_so(message, "pack the file again and upload it")
            }
        }
    }
}

/// Writes what is in an archive of this many bytes; gives the form that its name in there speaks of.
pub fn unpack(
    packing: Packing,
    packed: impl Read + Seek,
    packed_bytes: u64,
    limits: &Limits,
    out: &mut impl Write,
) -> Result<FileForm, UnpackError> {
    if packed_bytes == 0 {
        let problem = FileProblem::new(ReasonCode::FileEmpty, "the file has no bytes");
        return Err(UnpackError::refused(problem));
    }
    let mut bounded = Bounded::new(packed_bytes, limits);
    let mut head = Head { first: [0; 3], seen: 0, out };
    let form = match packing {
        Packing::Gzip => {
            gunzip(packed, &mut bounded, &mut head)?;
            FileForm::Delimited
        }
        Packing::Zip => unzip(packed, &mut bounded, &mut head)?,
    };
    match head.first {
        [0x1F, 0x8B, 8] => Err(nested()),
        _ => Ok(form),
    }
}

/// The members of a gzip follow one another, and what is in them is one stream (RFC 1952, 2.2). Zeros
/// behind the last one are the padding of a tape or a transfer, and passed over as `gzip` does.
fn gunzip(
    packed: impl Read,
    bounded: &mut Bounded,
    out: &mut impl Write,
) -> Result<(), UnpackError> {
    let mut input = BufReader::with_capacity(BUFFER_BYTES, packed);
    if !input.fill_buf().map_err(UnpackError::from_read)?.starts_with(&[0x1F, 0x8B]) {
        let hint = "give the file the ending that it should have, or pack it again";
        return Err(UnpackError::damaged_so("the file is no gzip", hint));
    }
    loop {
        let mut member = GzDecoder::new(input);
        bounded.take_all(&mut member, out)?;
        input = member.into_inner();
        match input.fill_buf().map_err(UnpackError::from_read)? {
            [] => return Ok(()),
            [0x1F, ..] => {}
            _ => return padding(input),
        }
    }
}

fn padding(mut input: impl BufRead) -> Result<(), UnpackError> {
    loop {
        let rest = input.fill_buf().map_err(UnpackError::from_read)?;
        let length = rest.len();
        if rest.iter().any(|byte| *byte != 0) {
            let message = "bytes that are no gzip follow the archive";
            return Err(UnpackError::damaged_so(message, "pack the file again and upload it"));
        }
        if length == 0 {
            return Ok(());
        }
        input.consume(length);
    }
}

fn nested() -> UnpackError {
    UnpackError::damaged_so("the archive holds another archive", "pack the file once")
}

fn unzip(
    mut packed: impl Read + Seek,
    bounded: &mut Bounded,
    out: &mut impl Write,
) -> Result<FileForm, UnpackError> {
    refuse_twins(&mut packed)?;
    let mut zip = open_zip(packed)?;
    let mut files = Vec::new();
    for index in 0..zip.len() {
        let Some(Ok(name)) = zip.name_for_index(index) else {
            return Err(UnpackError::damaged("the zip is damaged: a name in it cannot be read"));
        };
        if !name.ends_with('/') && !name.starts_with("__MACOSX/") {
            files.push((index, name.into_owned()));
        }
    }
    let [(index, name)] = files.as_slice() else {
        let message = format!("the zip holds {} files, not one", files.len());
        return Err(UnpackError::damaged_so(message, "put each file into a zip of its own"));
    };
    if Packing::of_name(name).is_some() {
        return Err(nested());
    }
    let form = form_of_name(name);
    bounded.take_member(&mut zip, *index, out)?;
    Ok(form)
}

/// Refuses a zip in which a name stands twice: whoever opens it by name sees one of the two.
fn refuse_twins(packed: &mut (impl Read + Seek)) -> Result<(), UnpackError> {
    let zip = open_zip(&mut *packed)?;
    let (names, directory) = (zip.len(), zip.central_directory_start());
    drop(zip);
    let mut entries = 0;
    packed.seek(SeekFrom::Start(directory)).map_err(UnpackError::Read)?;
    let mut packed = BufReader::new(packed);
    let mut entry = [0; 46];
    // The lengths of name, extra field and comment stand at the end of each entry's fixed part.
    while packed.read_exact(&mut entry).is_ok() && entry.starts_with(b"PK\x01\x02") {
        entries += 1;
        let length = |at: usize| i64::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
        let rest = length(28) + length(30) + length(32);
        packed.seek_relative(rest).map_err(UnpackError::Read)?;
    }
    if entries <= names {
        return Ok(());
    }
    let message = "a name stands twice in the zip";
    Err(UnpackError::damaged_so(message, "put each file into a zip of its own"))
}

/// Opens a zip whose directory is no attack.
pub(super) fn open_zip<R: Read + Seek>(packed: R) -> Result<ZipArchive<Budget<R>>, UnpackError> {
    let left = Rc::new(Cell::new(DIRECTORY_MAX_BYTES));
    let budget = Budget { input: packed, left: Rc::clone(&left) };
    let zip = ZipArchive::new(budget).map_err(|error| match error {
        ZipError::Io(error) if error.raw_os_error().is_some() => UnpackError::Read(error),
        _ => UnpackError::damaged_so(
            "the file is no zip, or it was cut: no directory at its end",
            "upload it again; if it is no zip, give it the ending that it should have",
        ),
    })?;
    // The directory is read: the members may be as long as the limits allow.
    left.set(u64::MAX);
    Ok(zip)
}

/// What comes out, counted and bounded.
pub(super) struct Bounded {
    written: u64,
    file_max: u64,
    expanded_max: u64,
    expansion_max: u64,
}

impl Bounded {
    pub(super) fn new(packed_bytes: u64, limits: &Limits) -> Bounded {
        Bounded {
            written: 0,
            file_max: limits.file_max_bytes,
            expanded_max: packed_bytes.saturating_mul(limits.expansion_max).max(ALWAYS_FITS_BYTES),
            expansion_max: limits.expansion_max,
        }
    }

    /// Writes the whole of one member of a zip.
    pub(super) fn take_member<R: Read + Seek>(
        &mut self,
        zip: &mut ZipArchive<R>,
        index: usize,
        out: &mut impl Write,
    ) -> Result<(), UnpackError> {
        let told = zip.by_index_raw(index).map(|m| (m.encrypted(), m.compression()));
        match told {
            Ok((true, _)) => {
                let hint = "pack it without a password: SFTP and FTPS encrypt the way";
                let message = "the zip is protected by a password";
                return Err(UnpackError::damaged_so(message, hint));
            }
            Ok((_, CompressionMethod::Stored | CompressionMethod::Deflated)) | Err(_) => {}
            Ok(_) => {
                let message = "the zip is packed by a method that is not read here";
                return Err(UnpackError::damaged_so(message, "pack it with deflate, as most do"));
            }
        }
        let mut member = zip.by_index(index).map_err(|error| match error {
            ZipError::Io(error) => UnpackError::from_read(error),
            _ => UnpackError::damaged("the zip is damaged: its directory names what is not there"),
        })?;
        let (size, before) = (member.size(), self.written);
        self.take_all(&mut member, out)?;
        if self.written - before == size {
            return Ok(());
        }
        let message = "the zip is damaged: its directory gives another size than its file has";
        Err(UnpackError::damaged_so(message, "pack the file again and upload it"))
    }

    fn take_all(&mut self, from: &mut impl Read, out: &mut impl Write) -> Result<(), UnpackError> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(UnpackError::from_read(error)),
            };
            self.written += count as u64;
            if self.written > self.file_max {
                let message = format!("more than {} bytes come out of the archive", self.file_max);
                let problem = FileProblem::new(ReasonCode::FileTooLarge, message);
                return Err(UnpackError::refused(problem));
            }
            if self.written > self.expanded_max {
                let times = self.expansion_max;
                let message = format!("the archive expands to more than {times} times its size");
                let hint = "send the file unpacked: what packs so well may be an attack";
                return Err(UnpackError::damaged_so(message, hint));
            }
            out.write_all(&buffer[..count]).map_err(UnpackError::Write)?;
        }
    }
}

/// A file of which only so much is read.
pub(super) struct Budget<R> {
    input: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(into)?;
        let left = self.left.get().checked_sub(count as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("the directory is too long"))?);
        Ok(count)
    }
}

impl<R: Seek> Seek for Budget<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.input.seek(to)
    }
}

/// Remembers how what passes through begins.
struct Head<W> {
    first: [u8; 3],
    seen: usize,
    out: W,
}

impl<W: Write> Write for Head<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        for byte in bytes[..count].iter().take(self.first.len() - self.seen) {
            self.first[self.seen] = *byte;
            self.seen += 1;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap().into_inner()
    }

    fn unpacked(packing: Packing, bytes: &[u8]) -> Result<(String, FileForm), String> {
        let mut out = Vec::new();
        let form =
            unpack(packing, Cursor::new(bytes), bytes.len() as u64, &Limits::default(), &mut out);
        match form {
            Ok(form) => Ok((String::from_utf8(out).unwrap(), form)),
            Err(UnpackError::Refused(problem)) => {
                Err(format!("{}: {}", problem.code, problem.message))
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    #[test]
    fn members_of_a_gzip_are_one_stream_and_zeros_behind_it_are_padding() {
        let one = gzip(b"one\n");
        let (text, form) = unpacked(Packing::Gzip, &one).unwrap();
        assert_eq!((text.as_str(), form), ("one\n", FileForm::Delimited));
        let two = [one.clone(), gzip(b"two\n")].concat();
        assert_eq!(unpacked(Packing::Gzip, &two).unwrap().0, "one\ntwo\n");
        let padded = [one.clone(), vec![0; 600_000]].concat();
        assert_eq!(unpacked(Packing::Gzip, &padded).unwrap().0, "one\n");
        let followed = [one, b"\0\0x".to_vec()].concat();
        assert!(unpacked(Packing::Gzip, &followed).unwrap_err().contains("follow the archive"));
    }

    #[test]
    fn one_file_comes_out_of_a_zip_whatever_macos_adds() {
        let both = zip(&[("__MACOSX/._a.csv", b"?"), ("folder/", b""), ("folder/a.jsonl", b"{}")]);
        assert_eq!(unpacked(Packing::Zip, &both), Ok(("{}".to_owned(), FileForm::Objects)));
    }

    #[test]
    fn an_archive_that_was_cut_anywhere_never_comes_out() {
        let text: String = (0..2000).map(|n| format!("row {n} of {}\n", n * 7919 % 1000)).collect();
        for (packing, whole) in [
            (Packing::Gzip, gzip(text.as_bytes())),
            (Packing::Zip, zip(&[("a.csv", text.as_bytes())])),
        ] {
            assert_eq!(unpacked(packing, &whole).unwrap().0, text);
            for length in 1..whole.len() {
                let refused = unpacked(packing, &whole[..length]).unwrap_err();
                assert!(refused.starts_with("file.archive_invalid"), "{length}: {refused}");
            }
        }
    }

    #[test]
    fn what_is_refused_is_said_clearly() {
        let bomb = gzip(&vec![b' '; 300 << 20]);
        let long_name = "n".repeat(60_000);
        let names: Vec<String> = (0..20).map(|n| format!("{n}{long_name}")).collect();
        let directory: Vec<(&str, &[u8])> = names.iter().map(|n| (n.as_str(), &b""[..])).collect();
        for (packing, bytes, part) in [
            (Packing::Gzip, Vec::new(), "file.empty"),
            (Packing::Gzip, b"email,text\n".to_vec(), "no gzip"),
            (Packing::Zip, b"email,text\n".to_vec(), "no zip"),
            (Packing::Gzip, gzip(&gzip(b"x")), "holds another archive"),
            (Packing::Zip, zip(&[("a.csv", &gzip(b"x"))]), "holds another archive"),
            (Packing::Zip, zip(&[("a.zip", b"x")]), "holds another archive"),
            (Packing::Zip, zip(&[]), "holds 0 files"),
            (Packing::Zip, zip(&[("a", b"1"), ("b", b"2")]), "holds 2 files"),
            (Packing::Zip, zip(&directory), "no directory"),
            (Packing::Gzip, bomb, "more than 100 times"),
        ] {
            let refused = unpacked(packing, &bytes).unwrap_err();
            assert!(refused.contains(part), "{part}: {refused}");
        }
        let mut small = Limits { file_max_bytes: 10, ..Limits::default() };
        let packed = gzip(b"more than ten bytes");
        let mut out = Vec::new();
        let refused = unpack(Packing::Gzip, Cursor::new(&packed), 40, &small, &mut out);
        assert!(
            matches!(refused, Err(UnpackError::Refused(p)) if p.code == ReasonCode::FileTooLarge)
        );
        small.file_max_bytes = 19;
        out.clear();
        unpack(Packing::Gzip, Cursor::new(&packed), 40, &small, &mut out).unwrap();
    }
}

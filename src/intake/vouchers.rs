//! What the sidecars of a claimed file say, held against what was received.

use std::fs::File;
use std::io::{self, Read};

use super::IntakeError;
use super::pairs::{SidecarKind, well_known};
use crate::batch::BatchState;
use crate::codes::ReasonCode;
use crate::records::{
    DIGEST_NOTE_MAX_BYTES, FileProblem, MANIFEST_MAX_BYTES, Manifest, noted_digest,
};
use crate::spool::BatchFolder;
use crate::store::{BatchRecord, Facts};

const SHA256_DIGITS: usize = 64;
const MD5_DIGITS: usize = 32;
const BUFFER_BYTES: usize = 256 << 10;

/// The sidecars that say more than that the file is whole.
#[derive(Debug, Default)]
pub(super) struct Vouchers {
    manifest: Option<Result<Manifest, Box<FileProblem>>>,
    digests: Vec<Note>,
    /// Of a file that was held: the digest of the bytes that somebody let go on.
    approved: Option<String>,
}

/// The bytes that were received, as far as they are known.
pub(super) struct Received<'a> {
    pub(super) bytes: u64,
    pub(super) sha256: &'a str,
    /// Opens them for another digest; `None` where they are not there any more.
    pub(super) open: &'a dyn Fn() -> io::Result<Option<File>>,
}

/// One digest file.
#[derive(Debug)]
struct Note {
    /// The sidecar's name.
    name: String,
    kind: SidecarKind,
    /// `None` where it holds no digest of the file.
    digest: Option<String>,
}

impl Vouchers {
    /// Reads the sidecars that were claimed with a file. One that was held passes only with the bytes that
    /// were found then: what is approved is what is sent.
    pub(super) fn of(
        record: &BatchRecord,
        before: &Facts,
        folder: &BatchFolder,
    ) -> Result<Vouchers, IntakeError> {
        let is_approved = record.state == BatchState::Released;
        let approved = is_approved.then(|| before.sha256.clone());
        let (mut vouchers, file) = (Vouchers { approved, ..Vouchers::default() }, record.name());
        for name in folder.sidecars()? {
            // Sentinels, also those of the profile's own pattern, have said all with their coming.
            if let Some((kind, _)) = well_known(&name) {
                let sidecar = File::open(folder.sidecar(&name)).map_err(unreadable)?;
                vouchers.add(kind, &name, sidecar, file)?;
            }
        }
        Ok(vouchers)
    }

    /// Adds what the sidecar of this name says of a file.
    pub(super) fn add(
        &mut self,
        kind: SidecarKind,
        name: &str,
        sidecar: File,
        file: &str,
    ) -> Result<(), IntakeError> {
        let beginning = |bytes_max| -> Result<Vec<u8>, IntakeError> {
            let mut bytes = Vec::new();
            sidecar.take(bytes_max).read_to_end(&mut bytes).map_err(unreadable)?;
            Ok(bytes)
        };
        let digits = match kind {
            SidecarKind::Sentinel => return Ok(()),
            SidecarKind::Manifest => {
                let json = beginning(MANIFEST_MAX_BYTES + 1)?;
                // Which of two would count, their sender could not know.
                let two = self.manifest.is_some().then(|| {
                    let message = format!("{file} came with two manifests");
                    Box::new(FileProblem::new(ReasonCode::FileManifestInvalid, message))
                });
                self.manifest = Some(two.map_or_else(|| Manifest::parse(&json, file), Err));
                return Ok(());
            }
            SidecarKind::Sha256 => SHA256_DIGITS,
            SidecarKind::Md5 => MD5_DIGITS,
        };
        let digest = noted_digest(&beginning(DIGEST_NOTE_MAX_BYTES)?, file, digits);
        self.digests.push(Note { name: name.to_owned(), kind, digest });
        Ok(())
    }

    /// The manifest, where it can be read.
    pub(super) fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref().and_then(|manifest| manifest.as_ref().ok())
    }

    /// True where a digest shows that they speak of these bytes, and where they ask for nothing: they
    /// can wait for no other file.
    pub(super) fn belong_to(&self, received: &Received<'_>) -> Result<bool, IntakeError> {
        let says_digest = self.manifest().is_some_and(|manifest| manifest.sha256.is_some());
        let shows = says_digest || !self.digests.is_empty();
        let asks = self.manifest().is_some_and(Manifest::asks);
        Ok(shows && !asks && self.disagreement(received)?.is_none())
    }

    /// The first thing that a sidecar says of the file's bytes and that is not so.
    pub(super) fn disagreement(
        &self,
        received: &Received<'_>,
    ) -> Result<Option<FileProblem>, IntakeError> {
        let sha256 = received.sha256;
        if let Some(approved) = self.approved.as_ref().filter(|approved| *approved != sha256) {
            let message = format!(
                "the file was changed while it was held: it had SHA-256 {approved}, now {sha256}"
            );
            return Ok(Some(FileProblem::new(ReasonCode::FileChecksumMismatch, message)));
        }
        match &self.manifest {
            Some(Err(problem)) => return Ok(Some((**problem).clone())),
            Some(Ok(manifest)) => {
                if let Some(problem) = manifest.disagreement(received.bytes, sha256) {
                    return Ok(Some(problem));
                }
            }
            None => {}
        }
        // However many ask for it, it is made once.
        let md5 = match self.digests.iter().any(|note| note.kind == SidecarKind::Md5) {
            true => (received.open)().map_err(unreadable)?.map(md5_of).transpose()?,
            false => None,
        };
        Ok(self.digests.iter().find_map(|note| match note.kind {
            SidecarKind::Md5 => note.disagreement(md5.as_deref()),
            _ => note.disagreement(Some(sha256)),
        }))
    }
}

impl Note {
    fn disagreement(&self, received: Option<&str>) -> Option<FileProblem> {
        let name = &self.name;
        let message = match (&self.digest, received) {
            (Some(digest), Some(received)) if digest == received => return None,
            (Some(digest), Some(received)) => {
                format!("{name} says {digest}, but the bytes received have {received}")
            }
            (Some(_), None) => format!("{name} cannot be held against the file any more"),
            (None, _) => format!("{name} holds no digest of this file"),
        };
        Some(FileProblem::new(ReasonCode::FileChecksumMismatch, message))
    }
}

fn unreadable(source: io::Error) -> IntakeError {
    IntakeError::Input { source }
}

fn md5_of(mut file: File) -> Result<String, IntakeError> {
    let (mut digest, mut buffer) = (md5::Context::new(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok(format!("{:x}", digest.finalize())),
            count => digest.consume(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn note(text: &str) -> File {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        io::Seek::rewind(&mut file).unwrap();
        file
    }

    fn code(vouchers: &Vouchers, opened: &Cell<u32>) -> Option<ReasonCode> {
        let open = || {
            opened.set(opened.get() + 1);
            Ok(Some(note("")))
        };
        let received = Received { bytes: 0, sha256: "", open: &open };
        vouchers.disagreement(&received).unwrap().map(|problem| problem.code)
    }

    #[test]
    fn the_file_is_read_once_however_many_md5_files_came_with_it() {
        let (mut vouchers, opened) = (Vouchers::default(), Cell::new(0));
        for name in ["a.csv.md5", "a.csv.MD5", "A.csv.Md5"] {
            let digest = note("d41d8cd98f00b204e9800998ecf8427e");
            vouchers.add(SidecarKind::Md5, name, digest, "a.csv").unwrap();
        }
        assert_eq!((code(&vouchers, &opened), opened.get()), (None, 1));
        vouchers.add(SidecarKind::Md5, "a.csv.mD5", note(&"0".repeat(32)), "a.csv").unwrap();
        assert_eq!(code(&vouchers, &opened), Some(ReasonCode::FileChecksumMismatch));
    }

    #[test]
    fn of_two_manifests_neither_counts() {
        let mut vouchers = Vouchers::default();
        for name in ["a.csv.manifest.json", "a.csv.MANIFEST.json"] {
            let manifest = note(r#"{"file": "a.csv"}"#);
            vouchers.add(SidecarKind::Manifest, name, manifest, "a.csv").unwrap();
        }
        assert_eq!(code(&vouchers, &Cell::new(0)), Some(ReasonCode::FileManifestInvalid));
    }
}

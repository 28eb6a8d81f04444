//! What the sidecars of a claimed file say, held against what was received.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::IntakeError;
use super::pairs::{SidecarKind, well_known};
use crate::codes::ReasonCode;
use crate::records::{
    DIGEST_NOTE_MAX_BYTES, FileProblem, MANIFEST_MAX_BYTES, Manifest, noted_digest,
};
use crate::spool::BatchFolder;

const SHA256_DIGITS: usize = 64;
const MD5_DIGITS: usize = 32;
const BUFFER_BYTES: usize = 256 << 10;

/// The sidecars that say more than that the file is whole.
#[derive(Debug, Default)]
pub(super) struct Vouchers {
    manifest: Option<Result<Manifest, Box<FileProblem>>>,
    digests: Vec<Note>,
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
    /// Reads the sidecars that were claimed with the file of this name.
    pub(super) fn read(folder: &BatchFolder, file: &str) -> Result<Vouchers, IntakeError> {
        let mut vouchers = Vouchers::default();
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
                self.manifest = Some(Manifest::parse(&json, file));
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

    /// The first thing that a sidecar says of the file's bytes and that is not so.
    pub(super) fn disagreement(
        &self,
        folder: &BatchFolder,
        bytes: u64,
        sha256: &str,
    ) -> Result<Option<FileProblem>, IntakeError> {
        match &self.manifest {
            Some(Err(problem)) => return Ok(Some((**problem).clone())),
            Some(Ok(manifest)) => {
                if let Some(problem) = manifest.disagreement(bytes, sha256) {
                    return Ok(Some(problem));
                }
            }
            None => {}
        }
        for note in &self.digests {
            let received = match note.kind {
                SidecarKind::Md5 => md5_of(&folder.input())?,
                _ => sha256.to_owned(),
            };
            if let Some(problem) = note.disagreement(&received) {
                return Ok(Some(problem));
            }
        }
        Ok(None)
    }
}

impl Note {
    fn disagreement(&self, received: &str) -> Option<FileProblem> {
        let name = &self.name;
        let message = match &self.digest {
            Some(digest) if digest == received => return None,
            Some(digest) => format!("{name} says {digest}, but the bytes received have {received}"),
            None => {
                let message = format!("{name} holds no digest of this file");
                let problem = FileProblem::new(ReasonCode::FileChecksumMismatch, message);
                let hint = "write the file's digest into it, as sha256sum and md5sum do".to_owned();
                return Some(FileProblem { hint, ..problem });
            }
        };
        Some(FileProblem::new(ReasonCode::FileChecksumMismatch, message))
    }
}

fn unreadable(source: io::Error) -> IntakeError {
    IntakeError::Input { source }
}

fn md5_of(path: &Path) -> Result<String, IntakeError> {
    let mut file = File::open(path).map_err(unreadable)?;
    let (mut digest, mut buffer) = (md5::Context::new(), vec![0; BUFFER_BYTES]);
    loop {
        match file.read(&mut buffer).map_err(unreadable)? {
            0 => return Ok(format!("{:x}", digest.finalize())),
            count => digest.consume(&buffer[..count]),
        }
    }
}

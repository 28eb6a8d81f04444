//! The text of a packed file or a workbook, checked and laid beside the original.
//!
//! What is laid out is needed until the answers are written, so it is durable before the batch is.

use std::fs::File;
use std::io::{self, BufWriter, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::IntakeError;
use super::identify::{Identity, identify};
use super::prepare::Unprepared;
use super::settings::{ProfileSettings, TenantSettings};
use crate::files::{RelPath, Root};
use crate::model::FileForm;
use crate::records::{UnpackError, check_workbook, unpack, write_first_sheet};
use crate::spool::BatchFolder;

const BUFFER_BYTES: usize = 256 << 10;

/// How the text of a claimed file lies there.
pub(super) struct Laid {
    pub(super) form: FileForm,
    /// Of a file that is not its own text.
    pub(super) original: Option<Original>,
}

/// The file as received, whose text has another size and digest.
pub(super) struct Original {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl From<IntakeError> for Unprepared {
    fn from(error: IntakeError) -> Unprepared {
        Unprepared::Failed(error)
    }
}

impl From<UnpackError> for Unprepared {
    fn from(error: UnpackError) -> Unprepared {
        match error {
            UnpackError::Refused(problem) => Unprepared::Refused(problem),
            UnpackError::Read(source) => Unprepared::Failed(IntakeError::Input { source }),
            UnpackError::Write(source) => Unprepared::Failed(IntakeError::Unpack { source }),
        }
    }
}

/// Lays out what is in the file; what an earlier try left is written anew.
pub(super) fn lay_out(
    folder: &BatchFolder,
    identity: &Identity<'_>,
    profile: &ProfileSettings,
) -> Result<Laid, Unprepared> {
    let mut form = identity.form;
    if identity.packing.is_none() && form != FileForm::Workbook {
        return Ok(Laid { form, original: None });
    }
    let original = original(folder)?;
    let limits = &profile.read.limits;
    folder.remove_unpacked().map_err(IntakeError::from)?;
    if let Some(packing) = identity.packing {
        let (input, mut out) = through(folder)?;
        let inside = unpack(packing, input, original.bytes, limits, &mut out)?;
        finish(out)?;
        // The outer name may say it; else the name in the archive does.
        form = if form == FileForm::Delimited { inside } else { form };
    }
    if form == FileForm::Workbook {
        let (input, mut out) = through(folder)?;
        let bytes = input.metadata().map_err(|source| IntakeError::Input { source })?.len();
        write_first_sheet(input, bytes, &profile.read, &mut out)?;
        finish(out)?;
    }
    folder.sync().map_err(IntakeError::from)?;
    Ok(Laid { form, original: Some(original) })
}

/// Whether a file in an inbox is an archive or a workbook, and not whole.
pub(super) fn is_half(
    tree: &Path,
    tenant: &TenantSettings,
    path: &str,
) -> Result<bool, IntakeError> {
    let failed = |source| IntakeError::Inbox { tenant: tenant.id.to_string(), source };
    let Ok(identity) = identify(tenant, path) else { return Ok(false) };
    if identity.packing.is_none() && identity.form != FileForm::Workbook {
        return Ok(false);
    }
    match Root::open(tree).and_then(|tree| tree.read_file(&RelPath::of(path))) {
        // Its sender took it back; the claim finds out.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed(error)),
        Ok(file) => Ok(!is_whole(file, &identity)),
    }
}

/// Every checksum in it is held.
fn is_whole(file: File, identity: &Identity<'_>) -> bool {
    let limits = &identity.profile.read.limits;
    let Ok(bytes) = file.metadata().map(|found| found.len()) else { return false };
    match identity.packing {
        Some(packing) => unpack(packing, file, bytes, limits, &mut io::sink()).is_ok(),
        None => check_workbook(file, bytes, limits).is_ok(),
    }
}

/// The text as it lies there so far, and where the next one goes: an open file outlives its name.
fn through(folder: &BatchFolder) -> Result<(File, BufWriter<File>), IntakeError> {
    let input = File::open(folder.text()).map_err(|source| IntakeError::Input { source })?;
    folder.remove_unpacked()?;
    let out = File::create(folder.unpacked()).map_err(|source| IntakeError::Unpack { source })?;
    Ok((input, BufWriter::with_capacity(BUFFER_BYTES, out)))
}

fn finish(out: BufWriter<File>) -> Result<(), IntakeError> {
    let written = out.into_inner().map_err(io::IntoInnerError::into_error);
    written.and_then(|file| file.sync_data()).map_err(|source| IntakeError::Unpack { source })
}

/// Size and digest of a claimed file as it was received.
fn original(folder: &BatchFolder) -> Result<Original, IntakeError> {
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

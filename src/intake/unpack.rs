//! The text of a packed file or a workbook, checked and laid beside the original.

use std::fs::File;
use std::io::Read;

use sha2::{Digest, Sha256};

use super::IntakeError;
use super::identify::Identity;
use super::prepare::Unprepared;
use super::settings::ProfileSettings;
use crate::model::FileForm;
use crate::records::{UnpackError, unpack, write_first_sheet};
use crate::spool::{BatchFolder, SpoolError};

const BUFFER_BYTES: usize = 256 << 10;

/// How the text of a claimed file lies there.
pub(super) struct Laid {
    pub(super) form: FileForm,
    /// Of a file that is not its own text.
    pub(super) original: Option<Original>,
}

/// The file as received, whose text has another size and digest.
#[derive(Debug, Clone)]
pub(super) struct Original {
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl From<IntakeError> for Unprepared {
    fn from(error: IntakeError) -> Unprepared {
        Unprepared::Failed(error)
    }
}

impl From<SpoolError> for Unprepared {
    fn from(error: SpoolError) -> Unprepared {
        Unprepared::Failed(error.into())
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
    let Identity { packing, form, .. } = *identity;
    if packing.is_none() && form != FileForm::Workbook {
        return Ok(Laid { form, original: None });
    }
    let (original, settings) = (original(folder)?, &profile.read);
    folder.remove_unpacked().map_err(IntakeError::from)?;
    let inside = packing.map(|packing| {
        folder.lay_out(|input, mut out| -> Result<FileForm, Unprepared> {
            Ok(unpack(packing, input, original.bytes, &settings.limits, &mut out)?)
        })
    });
    // The outer name may say it; else the name in the archive does.
    let form = match inside.transpose()? {
        Some(inside) if form == FileForm::Delimited => inside,
        _ => form,
    };
    if form == FileForm::Workbook {
        folder.lay_out(|input, mut out| -> Result<(), Unprepared> {
            let bytes = input.metadata().map_err(UnpackError::Read)?.len();
            Ok(write_first_sheet(input, bytes, settings, &mut out)?)
        })?;
    }
    Ok(Laid { form, original: Some(original) })
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

//! The text of a packed file or a workbook, laid beside the original as long as it is needed.
//!
//! It may be many times as large as what came, so it never takes the disk's last room.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use super::folder::BatchFolder;
use crate::model::FileForm;
use crate::records::{Packing, ReadSettings, UnpackError, unpack, write_first_sheet};

const BUFFER_BYTES: usize = 256 << 10;
/// The room on the disk is looked at each time so much more was written.
const SPACE_CHECK_BYTES: u64 = 16 << 20;

impl BatchFolder {
    /// Lays out what is in the claimed file, durably; what an earlier try left is written anew. `form` is
    /// what the file's name says; returns what the text is.
    pub fn lay_out(
        &self,
        packing: Option<Packing>,
        mut form: FileForm,
        settings: &ReadSettings,
    ) -> Result<FileForm, UnpackError> {
        self.forget_unpacked()?;
        let result = self.try_lay_out(packing, &mut form, settings);
        if result.is_err() {
            self.forget_unpacked()?;
        }
        result.map(|()| form)
    }

    fn try_lay_out(
        &self,
        packing: Option<Packing>,
        form: &mut FileForm,
        settings: &ReadSettings,
    ) -> Result<(), UnpackError> {
        if let Some(packing) = packing {
            let (input, mut out) = self.through()?;
            let bytes = input.metadata().map_err(UnpackError::Read)?.len();
            let inside = unpack(packing, input, bytes, &settings.limits, &mut out)?;
            finish(out)?;
            // The outer name may say it; else the name in the archive does.
            *form = if *form == FileForm::Delimited { inside } else { *form };
        }
        if *form == FileForm::Workbook {
            let (input, mut out) = self.through()?;
            let bytes = input.metadata().map_err(UnpackError::Read)?.len();
            write_first_sheet(input, bytes, settings, &mut out)?;
            finish(out)?;
        }
        self.sync().map_err(|error| UnpackError::Write(io::Error::other(error)))
    }

    /// The text as it lies there so far, and where the next one goes: an open file outlives its name.
    fn through(&self) -> Result<(File, BufWriter<Roomy>), UnpackError> {
        let input = File::open(self.text()).map_err(UnpackError::Read)?;
        self.forget_unpacked()?;
        let file = File::create(self.unpacked()).map_err(UnpackError::Write)?;
        let out = Roomy { file, reserve: self.reserve(), unchecked_bytes: SPACE_CHECK_BYTES };
        Ok((input, BufWriter::with_capacity(BUFFER_BYTES, out)))
    }

    fn forget_unpacked(&self) -> Result<(), UnpackError> {
        self.remove_unpacked().map_err(|error| UnpackError::Write(io::Error::other(error)))
    }
}

/// A file that ends where the disk would be nearly full.
struct Roomy {
    file: File,
    /// The part of the disk that stays free.
    reserve: f64,
    unchecked_bytes: u64,
}

impl Write for Roomy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.unchecked_bytes >= SPACE_CHECK_BYTES {
            self.unchecked_bytes = 0;
            let disk = rustix::fs::fstatvfs(&self.file)?;
            if (disk.f_bavail as f64) < disk.f_blocks as f64 * self.reserve {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the disk is below its reserve",
                ));
            }
        }
        let written = self.file.write(bytes)?;
        self.unchecked_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn finish(out: BufWriter<Roomy>) -> Result<(), UnpackError> {
    let written = out.into_inner().map_err(io::IntoInnerError::into_error);
    written.and_then(|out| out.file.sync_data()).map_err(UnpackError::Write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::Spool;

    #[test]
    fn nothing_is_laid_out_where_the_disk_is_below_its_reserve() {
        let data = tempfile::tempdir().unwrap();
        let lay_out = |spool: &Spool| {
            let folder = spool.batch(crate::model::BatchId::from_u64(1));
            folder.create().unwrap();
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gz.write_all(b"phone,text\n").unwrap();
            std::fs::write(folder.input(), gz.finish().unwrap()).unwrap();
            let packing = Packing::of_name("a.csv.gz");
            let laid = folder.lay_out(packing, FileForm::Delimited, &ReadSettings::default());
            (laid, std::fs::read_to_string(folder.unpacked()).ok())
        };
        let full = Spool::open(data.path()).unwrap().with_reserve(1.1);
        assert!(matches!(lay_out(&full), (Err(UnpackError::Write(_)), None)));
        let (laid, text) = lay_out(&Spool::open(data.path()).unwrap());
        assert!(laid.is_ok());
        assert_eq!(text.as_deref(), Some("phone,text\n"));
    }
}

//! The text of a packed file or a workbook, laid beside the original as long as it is needed.
//!
//! It may be many times as large as what came, so it never takes the disk's last room.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;

use super::folder::BatchFolder;
use super::log::SpoolError;
use crate::disk::Space;
use crate::faults::{self, FileAct};

const BUFFER_BYTES: usize = 256 << 10;
/// The room on the disk is looked at each time so much more was written.
const SPACE_CHECK_BYTES: u64 = 16 << 20;

impl BatchFolder {
    /// Makes another text of the one that lies there, durably: first of the file itself, which stays.
    /// Where that fails nothing is left.
    pub fn lay_out<T, E: From<SpoolError>>(
        &self,
        make: impl FnOnce(File, &mut dyn Write) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = self.try_lay_out(make);
        if result.is_err() {
            self.remove_unpacked()?;
        }
        result
    }

    fn try_lay_out<T, E: From<SpoolError>>(
        &self,
        make: impl FnOnce(File, &mut dyn Write) -> Result<T, E>,
    ) -> Result<T, E> {
        let (text, path) = (self.text()?, self.unpacked());
        let input = File::open(&text).map_err(SpoolError::io("open", &text))?;
        // An open file outlives its name.
        self.remove_unpacked()?;
        let file = faults::before(FileAct::Open(path.as_path().into()))
            .and_then(|()| File::create(&path))
            .map_err(SpoolError::io("create", &path))?;
        let out = Roomy { file, reserve: self.reserve(), unchecked_bytes: SPACE_CHECK_BYTES };
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        let made = make(input, &mut out)?;
        let written = out.into_inner().map_err(io::IntoInnerError::into_error);
        let synced = written.and_then(|out| {
            faults::before(FileAct::Sync(out.file.as_fd()))?;
            out.file.sync_data()
        });
        synced.map_err(SpoolError::io("write", &path))?;
        self.sync()?;
        Ok(made)
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
            if Space::around(&self.file)?.is_below(self.reserve) {
                return Err(io::Error::new(
                    io::ErrorKind::StorageFull,
                    "the disk is below its reserve",
                ));
            }
        }
        faults::before(FileAct::Write(self.file.as_fd()))?;
        let written = self.file.write(bytes)?;
        self.unchecked_bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BatchId;
    use crate::spool::Spool;

    #[test]
    fn nothing_is_laid_out_where_the_disk_is_below_its_reserve() {
        let data = tempfile::tempdir().unwrap();
        let folder = |reserve| {
            let spool = Spool::open(data.path()).unwrap().with_reserve(reserve);
            spool.batch(BatchId::from_u64(1))
        };
        folder(0.0).create().unwrap();
        std::fs::write(folder(0.0).input(), "packed").unwrap();
        let lay_out = |reserve| {
            let laid = folder(reserve).lay_out(|_, out| {
                out.write_all(&[b'x'; 2 * BUFFER_BYTES])
                    .map_err(SpoolError::io("write", data.path()))
            });
            (laid.is_ok(), folder(reserve).unpacked().exists())
        };
        assert_eq!(lay_out(1.1), (false, false));
        assert_eq!(lay_out(0.0), (true, true));
    }
}

//! Why a file could not be taken through.

use std::io;

use crate::spool::SpoolError;
use crate::store::StoreError;

/// A fault of the world, never of the file's content.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("look through inbox of tenant {tenant}")]
    Inbox { tenant: String, source: io::Error },
    #[error("claim {path}")]
    Claim { path: String, source: io::Error },
    /// The file has left the inbox, and it cannot be told whether that survives a power cut.
    #[error("make claim of {path} durable")]
    HalfClaimed { path: String, source: io::Error },
    #[error("read claimed file")]
    Input { source: io::Error },
    #[error("write what was in the archive")]
    Unpack { source: io::Error },
    /// Somebody goes on writing into the claimed file.
    #[error("claimed file changed while it was read")]
    StillWritten,
    /// A fault of this program.
    #[error("reading the file panicked")]
    Panicked,
    #[error("keep rows")]
    Spool(#[from] SpoolError),
    #[error("record batch")]
    Store(#[from] StoreError),
}

impl IntakeError {
    /// There was no room for it, and nothing was changed: later there may be.
    pub fn is_for_room(&self) -> bool {
        matches!(
            self,
            IntakeError::Store(StoreError::Full) | IntakeError::Spool(SpoolError::Full { .. })
        )
    }

    /// Without the store nothing can be promised any more; a claim in the middle is finished by the
    /// next start.
    pub fn is_fatal(&self) -> bool {
        let lasts = matches!(self, IntakeError::Store(_) | IntakeError::HalfClaimed { .. });
        lasts && !self.is_for_room()
    }
}

//! What stops the station, or one batch: without spool or store nothing may be sent.

use crate::batch::{IllegalRowMove, RowMark};
use crate::channel::ChannelError;
use crate::spool::SpoolError;
use crate::store::StoreError;

impl DispatchError {
    /// There was no room to write something down, or to open a file, and nothing was changed: later there
    /// may be.
    pub(super) fn is_for_room(&self) -> bool {
        match self {
            DispatchError::Store(StoreError::Full)
            | DispatchError::Spool(SpoolError::Full { .. }) => true,
            DispatchError::Spool(error) => error.is_of_descriptors(),
            _ => false,
        }
    }

    /// What is wrong is one batch's alone: others can be sent.
    pub(super) fn is_of_one_batch(&self) -> bool {
        match self {
            DispatchError::Spool(error) => error.is_of_reading(),
            DispatchError::ChunkMissing { .. }
            | DispatchError::IllegalMove(_)
            | DispatchError::IllegalWord { .. }
            | DispatchError::Panicked => true,
            DispatchError::Store(_) | DispatchError::Provider { .. } | DispatchError::TaskLost => {
                false
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    #[error("read or write outcomes")]
    Spool(#[from] SpoolError),
    #[error("record windows")]
    Store(#[from] StoreError),
    #[error("set up provider {provider}")]
    Provider { provider: String, source: ChannelError },
    #[error("chunk {chunk} of batch {batch} is not in the store")]
    ChunkMissing { batch: String, chunk: u32 },
    #[error("settle a row")]
    IllegalMove(#[from] IllegalRowMove),
    /// Nothing of it was stored.
    #[error("row {index} of chunk {chunk} of batch {batch}: {after:?} must not follow {before:?}")]
    IllegalWord { batch: String, chunk: u32, index: u32, before: Box<RowMark>, after: Box<RowMark> },
    /// A fault of this program.
    #[error("a batch's task panicked")]
    Panicked,
    #[error("a chunk's task ended early")]
    TaskLost,
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_batch_that_no_descriptor_is_left_for_is_opened_later_and_not_damaged() {
        let failed = |error| {
            let (act, path) = ("open", "rows".into());
            DispatchError::from(SpoolError::Io { act, path, source: error })
        };
        for errno in [23, 24] {
            let error = failed(io::Error::from_raw_os_error(errno));
            assert!(error.is_for_room() && !error.is_of_one_batch(), "{error:?}");
        }
        let damaged = failed(io::Error::from_raw_os_error(5));
        assert!(!damaged.is_for_room() && damaged.is_of_one_batch());
    }
}

//! What stops the station: without spool or store nothing may be sent.

use crate::channel::ChannelError;
use crate::spool::SpoolError;
use crate::store::StoreError;

impl DispatchError {
    /// There was no room to write something down, and nothing was changed: later there may be.
    pub(super) fn is_for_room(&self) -> bool {
        matches!(
            self,
            DispatchError::Store(StoreError::Full) | DispatchError::Spool(SpoolError::Full { .. })
        )
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
    #[error("a chunk's task ended early")]
    TaskLost,
}

//! What stops the station: without spool or store nothing may be sent.

use crate::channel::ChannelError;
use crate::spool::SpoolError;
use crate::store::StoreError;

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

//! Why an answer could not be published.

use std::io;

use crate::model::TenantId;
use crate::records::{ReadError, UnpackError};
use crate::spool::SpoolError;
use crate::store::StoreError;

/// Only a failing store is fatal; everything else is tried again later.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("write in the tenant's folders")]
    Files(#[from] io::Error),
    #[error("read the original again")]
    Original(#[from] ReadError),
    /// A fault of this program.
    #[error("writing the answer panicked")]
    Panicked,
    #[error("unpack the original again")]
    Unpack(#[from] UnpackError),
    #[error("render what the batch would send")]
    Rehearsal(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("tenant {0} is not configured")]
    UnknownTenant(TenantId),
}

impl OutboxError {
    /// Without the store nothing is known of what was published; where it only has no room, later it may.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self, OutboxError::Store(error) if *error != StoreError::Full)
    }

    /// True where trying again leads to the same: the original cannot be read as it was, or this program
    /// falls over it.
    pub(super) fn is_lasting(&self) -> bool {
        matches!(self, OutboxError::Panicked | OutboxError::Original(ReadError::Refused(_)))
    }
}

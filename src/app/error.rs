//! Why the program could not start, or had to stop.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use crate::admin::AdminError;
use crate::dispatch::DispatchError;
use crate::intake::IntakeError;
use crate::model::TenantId;
use crate::spool::SpoolError;
use crate::store::StoreError;
use crate::transfer::TransferError;

#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("make {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error("open store")]
    Store(#[from] StoreError),
    #[error("open spool")]
    Spool(#[from] SpoolError),
    #[error("open doors")]
    Transfer(#[from] TransferError),
    #[error("open admin")]
    Admin(#[from] AdminError),
    #[error("set up dispatch")]
    Dispatch(#[from] DispatchError),
    #[error("make a scratch folder")]
    Scratch(#[source] io::Error),
    #[error("there is no {what} {name:?}")]
    Unknown { what: &'static str, name: String },
    #[error("take the file through")]
    Intake(#[from] IntakeError),
    #[error("write the answers")]
    Answers(#[source] Box<dyn Error + Send + Sync>),
    #[error("{station} stopped")]
    Station { station: &'static str, source: Box<dyn Error + Send + Sync> },
    #[error("{station} ended although nobody asked it to")]
    Ended { station: &'static str },
    #[error(
        "channel {channel} of tenant {tenant} names provider {provider}, which is set up at the next start"
    )]
    NewProvider { tenant: TenantId, channel: &'static str, provider: String },
    #[error("tenant {tenant} is gone, and {batches} batches of it are open; suspend it instead")]
    TenantInUse { tenant: TenantId, batches: usize },
    #[error("listen for signals")]
    Signals(#[source] io::Error),
}

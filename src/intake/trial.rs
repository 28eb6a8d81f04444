//! A file taken through intake without an inbox: what would it do?

use std::path::Path;

use jiff::Timestamp;

use super::IntakeError;
use super::concluding::Desk;
use super::settings::TenantSettings;
use crate::batch::BatchState;
use crate::model::{BatchId, Proof};
use crate::spool::Spool;
use crate::store::{BatchRecord, ControlRecord, Facts, Store};

/// A file as it would lie in an inbox.
#[derive(Debug, Clone)]
pub struct Trial<'a> {
    /// Where it would lie, such as `inbox/x.csv`.
    pub path: String,
    /// Who would have dropped it; empty for nobody in particular.
    pub account: String,
    /// Where it lies; it is copied.
    pub file: &'a Path,
    pub batch: BatchId,
    pub now: Timestamp,
}

/// Reads, judges and concludes a file on a store and a spool that nobody else uses: by the same code
/// as any file that is dropped.
pub fn try_out(
    store: Store,
    spool: Spool,
    tenant: &TenantSettings,
    trial: Trial<'_>,
) -> Result<BatchRecord, IntakeError> {
    let record = store.open_batch(BatchRecord {
        id: trial.batch,
        tenant: tenant.id.clone(),
        path: trial.path,
        state: BatchState::Claimed,
        account: trial.account,
        proof: Some(Proof::Close),
        received_at: trial.now,
        claimed_at: trial.now,
        validated_at: None,
        closed_at: None,
        facts: Facts::default(),
        chunks: 0,
        hold: None,
        control: ControlRecord::default(),
    })?;
    let folder = spool.batch(record.id);
    folder.create()?;
    std::fs::copy(trial.file, folder.input()).map_err(|source| IntakeError::Input { source })?;
    Desk { store, spool }.read_unchanged(tenant, record, trial.now, || {})
}

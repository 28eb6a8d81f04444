//! Tenants that are not configured any more, while rows of theirs are open.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::model::{BatchId, TenantId};
use crate::store::{Store, StoreError};

/// Chunks read at a time.
const PAGE: usize = 500;

/// What is left of such a tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) batches: usize,
    /// Rows that are not final.
    pub(super) rows: u64,
}

/// Tenants that are not configured, and of which batches are open.
pub(super) fn tenants_gone(
    config: &Config,
    store: &Store,
) -> Result<BTreeMap<TenantId, Left>, StoreError> {
    let configured: BTreeSet<&TenantId> = config.tenants.iter().map(|tenant| &tenant.id).collect();
    let mut gone: BTreeMap<TenantId, Left> = BTreeMap::new();
    for batch in store.open_batches()? {
        if !configured.contains(&batch.tenant) {
            let rows = open_rows(store, batch.id)?;
            let left = gone.entry(batch.tenant).or_default();
            left.batches += 1;
            left.rows += rows;
        }
    }
    Ok(gone)
}

fn open_rows(store: &Store, batch: BatchId) -> Result<u64, StoreError> {
    let (mut rows, mut from) = (0, 0);
    loop {
        let page = store.chunks(batch, from, PAGE)?;
        let Some(last) = page.last() else { return Ok(rows) };
        from = last.number + 1;
        rows += page.iter().map(|chunk| u64::from(chunk.open)).sum::<u64>();
    }
}

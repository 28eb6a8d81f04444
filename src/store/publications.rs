//! What must still be done in the tenants' folders, in order.

use super::Store;
use super::engine::{Op, Space, StoreError, after_prefix};
use super::keys;
use crate::batch::Publication;
use crate::model::BatchId;

impl Store {
    /// Up to `limit` publications that are ordered and not done; of each batch in their order.
    pub fn publications(&self, limit: usize) -> Result<Vec<(BatchId, Publication)>, StoreError> {
        let page = self.engine.scan(Space::Publications, &[], &after_prefix(&[]), limit)?;
        page.iter()
            .map(|(key, _)| {
                keys::publication_of(key).ok_or(StoreError::Damaged { space: "publications" })
            })
            .collect()
    }

    /// True where nothing of a batch is left to publish.
    pub fn is_published(&self, batch: BatchId) -> Result<bool, StoreError> {
        let prefix = keys::batch(batch);
        let page = self.engine.scan(Space::Publications, &prefix, &after_prefix(&prefix), 1)?;
        Ok(page.is_empty())
    }

    /// A publication is done: it stands in the tenant's folder, synced.
    pub fn published(&self, batch: BatchId, publication: Publication) -> Result<(), StoreError> {
        let key = keys::publication(batch, publication);
        self.commit(vec![Op::Delete(Space::Publications, key)], Vec::new())
    }
}

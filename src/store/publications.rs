//! What must still be done in the tenants' folders, in order.

use super::Store;
use super::engine::{Expect, Op, Space, StoreError, after_prefix};
use super::keys;
use crate::batch::Publication;
use crate::model::BatchId;

/// One order to publish: the same answer may be ordered again while it is written.
#[derive(Debug)]
pub struct Ordered {
    key: Vec<u8>,
    value: Vec<u8>,
}

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

    /// Waits until what was read of a batch would be read after a power cut, too: before a partner is told
    /// of it. Waits for nothing but a commit to this very batch that is being synced.
    pub fn settled(&self, batch: BatchId) -> Result<(), StoreError> {
        self.engine.settled(&keys::batch(batch))
    }

    /// What is to be published, as it was ordered; to be read before the batch is.
    pub fn ordered(
        &self,
        batch: BatchId,
        publication: Publication,
    ) -> Result<Option<Ordered>, StoreError> {
        let key = keys::publication(batch, publication);
        Ok(self.engine.get(Space::Publications, &key)?.map(|value| Ordered { key, value }))
    }

    /// A publication is done: it stands in the tenant's folder, synced. One that was ordered anew
    /// meanwhile is left.
    pub fn published(&self, ordered: &Ordered) -> Result<(), StoreError> {
        let Ordered { key, value } = ordered;
        let expected = Expect::Value(Space::Publications, key.clone(), value.clone());
        match self.commit(vec![Op::Delete(Space::Publications, key.clone())], vec![expected]) {
            Err(StoreError::Conflict) => Ok(()),
            result => result,
        }
    }
}

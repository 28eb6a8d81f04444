//! From what partners name to batches: names of files, campaigns, rows.

use super::Store;
use super::engine::{Space, StoreError, after_prefix};
use super::keys;
use super::names::StoredName;
use super::records::{ChunkRecord, decode};
use crate::model::{BatchId, Kind, Realm, TenantId};

impl Store {
    /// The newest file of a name that was no DUPLICATE: in one folder of an inbox, such as
    /// `messages` (empty for the inbox itself), or in any. The realm says which inbox.
    pub fn newest_named(
        &self,
        (tenant, realm): (&TenantId, Realm),
        folder: Option<&str>,
        name: &str,
    ) -> Result<Option<BatchId>, StoreError> {
        let kinds = Kind::ALL.iter().map(|kind| kind.as_str());
        let folders: Vec<&str> = match folder {
            Some(folder) => vec![folder],
            None => [""].into_iter().chain(kinds).collect(),
        };
        let mut newest = None;
        for folder in folders {
            let slash = if folder.is_empty() { "" } else { "/" };
            let path = format!("{}outbox/{folder}{slash}{name}", realm.root());
            let key = keys::named(tenant, path.as_bytes());
            let Some(bytes) = self.engine.get(Space::Names, &key)? else { continue };
            let stored: StoredName = decode("names", &bytes)?;
            newest = newest.max(Some(stored.batch));
        }
        Ok(newest)
    }

    /// The batches of a campaign, oldest first, at most `limit`.
    pub fn campaign(
        &self,
        (tenant, realm): (&TenantId, Realm),
        campaign: &str,
        limit: usize,
    ) -> Result<Vec<BatchId>, StoreError> {
        let prefix = campaign_prefix(tenant, realm, campaign);
        let page = self.engine.scan(Space::Campaigns, &prefix, &after_prefix(&prefix), limit)?;
        let batch = |(key, _): &(Vec<u8>, Vec<u8>)| {
            let damaged = StoreError::Damaged { space: "campaigns" };
            keys::batch_of(key.get(prefix.len()..).unwrap_or_default()).ok_or(damaged)
        };
        page.iter().map(batch).collect()
    }

    /// The chunk that holds a row: chunks follow each other without gaps.
    pub fn chunk_of_row(
        &self,
        batch: BatchId,
        chunks: u32,
        row: u64,
    ) -> Result<Option<ChunkRecord>, StoreError> {
        let (mut low, mut high) = (0, chunks);
        while high.saturating_sub(low) > 1 {
            let middle = low + (high - low) / 2;
            match self.chunk(batch, middle)? {
                Some(chunk) if chunk.first_row <= row => low = middle,
                _ => high = middle,
            }
        }
        let found = self.chunk(batch, low)?;
        Ok(found.filter(|c| (c.first_row..c.first_row + u64::from(c.rows)).contains(&row)))
    }
}

/// `tenant | 0 | campaign | 0`; the batch's id follows. No campaign is without a name, so that those of
/// tests stand apart behind another 0.
pub(super) fn campaign_prefix(tenant: &TenantId, realm: Realm, campaign: &str) -> Vec<u8> {
    let mut key = keys::named(tenant, if realm.is_test() { b"\0" } else { b"" });
    key.extend_from_slice(campaign.as_bytes());
    key.push(0);
    key
}

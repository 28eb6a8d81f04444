//! The digest files of row ids, as the store names them: one a batch, until several are merged.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Expect, Op, Space, StoreError, after_prefix};
use super::keys;
use super::records::{batch_text, decode, encode};
use crate::model::{BatchId, TenantId};

/// One digest file of row ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowIdFile {
    /// Whose ids they are; the newest, where those of several batches were merged.
    pub batch: BatchId,
    pub accepted_at: Timestamp,
    pub ids: u64,
    /// How often it was merged: a part of the file's name.
    pub generation: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredRowIds {
    #[serde(with = "batch_text")]
    batch: BatchId,
    accepted_at: Timestamp,
    ids: u64,
    #[serde(default)]
    generation: u32,
}

impl RowIdFile {
    pub(super) fn put(&self, tenant: &TenantId, scope: &str) -> Op {
        let stored = StoredRowIds {
            batch: self.batch,
            accepted_at: self.accepted_at,
            ids: self.ids,
            generation: self.generation,
        };
        Op::Put(Space::RowIds, self.key(tenant, scope), encode(&stored))
    }

    fn key(&self, tenant: &TenantId, scope: &str) -> Vec<u8> {
        let mut key = prefix(tenant, scope);
        key.extend_from_slice(&keys::batch(self.batch));
        key
    }

    fn decode(bytes: &[u8]) -> Result<RowIdFile, StoreError> {
        let StoredRowIds { batch, accepted_at, ids, generation } = decode("row_ids", bytes)?;
        Ok(RowIdFile { batch, accepted_at, ids, generation })
    }
}

fn prefix(tenant: &TenantId, scope: &str) -> Vec<u8> {
    let mut key = keys::named(tenant, scope.as_bytes());
    key.push(0);
    key
}

impl Store {
    /// The digest files of a scope, oldest first.
    pub fn row_id_files(
        &self,
        tenant: &TenantId,
        scope: &str,
    ) -> Result<Vec<RowIdFile>, StoreError> {
        let prefix = prefix(tenant, scope);
        let mut files = Vec::new();
        let mut from = prefix.clone();
        loop {
            let page = self.engine.scan(Space::RowIds, &from, &after_prefix(&prefix), 500)?;
            let Some((last, _)) = page.last() else { return Ok(files) };
            from = last.clone();
            from.push(0);
            for (_, bytes) in &page {
                files.push(RowIdFile::decode(bytes)?);
            }
        }
    }

    /// The scopes that have digest files, of one tenant or of all.
    pub fn row_id_scopes(
        &self,
        tenant: Option<&TenantId>,
    ) -> Result<Vec<(TenantId, String)>, StoreError> {
        let mut scopes = Vec::new();
        let mut from = tenant.map_or(Vec::new(), |tenant| keys::named(tenant, b""));
        let until = after_prefix(&from);
        loop {
            let page = self.engine.scan(Space::RowIds, &from, &until, 1)?;
            let Some((key, _)) = page.first() else { return Ok(scopes) };
            let scope = scope_of(key).ok_or(StoreError::Damaged { space: "row_ids" })?;
            from = after_prefix(&prefix(&scope.0, &scope.1));
            scopes.push(scope);
        }
    }

    /// Names one file instead of several, in one commit. A conflict says that they are not named any
    /// more as they were.
    pub fn replace_row_ids(
        &self,
        tenant: &TenantId,
        scope: &str,
        old: &[RowIdFile],
        new: Option<&RowIdFile>,
    ) -> Result<(), StoreError> {
        let (mut ops, mut expected) = (Vec::new(), Vec::new());
        for file in old {
            let key = file.key(tenant, scope);
            let bytes = self.engine.get(Space::RowIds, &key)?.ok_or(StoreError::Conflict)?;
            if RowIdFile::decode(&bytes)? != *file {
                return Err(StoreError::Conflict);
            }
            // One that is named anew is put below.
            if new.is_none_or(|new| new.batch != file.batch) {
                ops.push(Op::Delete(Space::RowIds, key.clone()));
            }
            expected.push(Expect::Value(Space::RowIds, key, bytes));
        }
        ops.extend(new.map(|new| new.put(tenant, scope)));
        self.commit(ops, expected)
    }
}

/// `tenant | 0 | scope | 0 | batch u64`.
fn scope_of(key: &[u8]) -> Option<(TenantId, String)> {
    let (named, batch) = key.split_at_checked(key.len().checked_sub(9)?)?;
    let text = std::str::from_utf8(named).ok()?;
    let (tenant, scope) = text.split_once('\0')?;
    (batch[0] == 0).then_some(())?;
    Some((tenant.parse().ok()?, scope.to_owned()))
}

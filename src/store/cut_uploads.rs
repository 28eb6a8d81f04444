//! Uploads that were cut: said at once, and taken by intake when nobody continued them in time.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Op, Space, StoreError, after_prefix};
use super::keys;
use super::records::{decode, encode};
use crate::codes::ReasonCode;
use crate::model::{CutUpload, Notice, TenantId};

/// Uploads given out at once.
const PAGE: usize = 100;

#[derive(Serialize, Deserialize)]
struct StoredCutUpload {
    path: String,
    account: String,
    bytes_in: String,
    bytes: u64,
    since: Timestamp,
}

impl Store {
    /// Tells the tenant, once, that an upload was cut.
    pub fn notice_cut_upload(&self, cut: &CutUpload) -> Result<bool, StoreError> {
        let name = cut.path.rsplit('/').next().unwrap_or(&cut.path);
        let message =
            format!("the upload was cut after {} bytes; nothing of it is taken yet", cut.bytes);
        let hint = "send the rest of it, or send it again under the same name".to_owned();
        let notice = Notice::warning(cut.since, ReasonCode::FileIncomplete, name, message)
            .in_realm_of(&cut.path);
        let (what, about) = (format!("cut {}", cut.path), cut.since.to_string());
        self.notice_once(&cut.tenant, &Notice { hint, ..notice }, &what, &about)
    }

    /// Hands a cut upload that nobody continued over to intake.
    pub fn record_cut_upload(&self, cut: &CutUpload) -> Result<(), StoreError> {
        let CutUpload { tenant, path, account, bytes_in, bytes, since } = cut.clone();
        let key = keys::named(&tenant, bytes_in.as_bytes());
        let stored = StoredCutUpload { path, account, bytes_in, bytes, since };
        self.commit(vec![Op::Put(Space::CutUploads, key, encode(&stored))], Vec::new())
    }

    /// Cut uploads of a tenant that intake has to take.
    pub fn cut_uploads(&self, tenant: &TenantId) -> Result<Vec<CutUpload>, StoreError> {
        let prefix = keys::named(tenant, b"");
        let page = self.engine.scan(Space::CutUploads, &prefix, &after_prefix(&prefix), PAGE)?;
        page.iter()
            .map(|(_, bytes)| {
                let stored: StoredCutUpload = decode("cut_uploads", bytes)?;
                let StoredCutUpload { path, account, bytes_in, bytes, since } = stored;
                Ok(CutUpload { tenant: tenant.clone(), path, account, bytes_in, bytes, since })
            })
            .collect()
    }

    /// Intake has taken a cut upload, or it is gone.
    pub fn forget_cut_upload(&self, cut: &CutUpload) -> Result<(), StoreError> {
        let key = keys::named(&cut.tenant, cut.bytes_in.as_bytes());
        self.commit(vec![Op::Delete(Space::CutUploads, key)], Vec::new())
    }
}

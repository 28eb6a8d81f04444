//! The ramps of new senders.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Op, Space, StoreError};
use super::records::{decode, encode};

/// Where one sender stands at one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RampRecord {
    /// When its first message was about to go: its days begin there.
    pub started_at: Timestamp,
    /// The last day on which something went, counted from 0.
    pub day: u32,
    /// Messages of that day that may have gone out.
    pub committed: u32,
}

impl Store {
    pub fn ramp(&self, provider: &str, sender: &str) -> Result<Option<RampRecord>, StoreError> {
        let found = self.engine.get(Space::Ramps, &key(provider, sender))?;
        found.map(|bytes| decode("ramps", &bytes)).transpose()
    }

    /// Keeps what may go out, before it does.
    pub fn put_ramp(
        &self,
        provider: &str,
        sender: &str,
        record: &RampRecord,
    ) -> Result<(), StoreError> {
        let put = Op::Put(Space::Ramps, key(provider, sender), encode(record));
        self.commit(vec![put], Vec::new())
    }
}

/// `provider | 0 | sender`.
fn key(provider: &str, sender: &str) -> Vec<u8> {
    [provider.as_bytes(), &[0], sender.as_bytes()].concat()
}

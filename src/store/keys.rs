//! Keys: big-endian, fixed width first, so that order in the store is order in meaning.

use jiff::Timestamp;

use crate::batch::Publication;
use crate::model::{BatchId, TenantId};

pub(super) fn batch(batch: BatchId) -> Vec<u8> {
    batch.as_u64().to_be_bytes().to_vec()
}

pub(super) fn batch_of(key: &[u8]) -> Option<BatchId> {
    let bytes: [u8; 8] = key.get(..8)?.try_into().ok()?;
    Some(BatchId::from_u64(u64::from_be_bytes(bytes)))
}

/// `batch u64 | number u32`: chunks and windows.
pub(super) fn numbered(batch_id: BatchId, number: u32) -> Vec<u8> {
    let mut key = batch(batch_id);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub(super) fn number_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(8..12)?.try_into().ok()?))
}

/// `batch u64 | due ms u64 | chunk u32`.
pub(super) fn timer(batch_id: BatchId, due: Timestamp, chunk: u32) -> Vec<u8> {
    let mut key = batch(batch_id);
    key.extend_from_slice(&(due.as_millisecond().max(0) as u64).to_be_bytes());
    key.extend_from_slice(&chunk.to_be_bytes());
    key
}

pub(super) fn timer_of(key: &[u8]) -> Option<(Timestamp, u32)> {
    let due = u64::from_be_bytes(key.get(8..16)?.try_into().ok()?);
    let chunk = u32::from_be_bytes(key.get(16..20)?.try_into().ok()?);
    Some((Timestamp::from_millisecond(i64::try_from(due).ok()?).ok()?, chunk))
}

/// `batch u64 | step u8`, steps in the order in which they are done.
pub(super) fn publication(batch_id: BatchId, publication: Publication) -> Vec<u8> {
    let mut key = batch(batch_id);
    key.push(publication as u8);
    key
}

pub(super) fn publication_of(key: &[u8]) -> Option<(BatchId, Publication)> {
    let step = *key.get(8)?;
    Some((batch_of(key)?, *Publication::ALL.get(step as usize)?))
}

/// `tenant | 0 | text`.
pub(super) fn named(tenant: &TenantId, text: &[u8]) -> Vec<u8> {
    let mut key = tenant.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(text);
    key
}

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

/// The steps in the order in which they are done. What was added later stands behind the one that it
/// follows, whose own bytes it begins with.
const STEPS: [(Publication, &[u8]); 10] = [
    (Publication::Supersede, &[0]),
    (Publication::Errors, &[1]),
    (Publication::Rejected, &[2]),
    (Publication::Archive, &[3]),
    (Publication::Ack, &[4]),
    (Publication::Rendered, &[4, 1]),
    (Publication::Result, &[5]),
    (Publication::Final, &[6]),
    (Publication::Summary, &[7]),
    (Publication::Recall, &[8]),
];

/// `batch u64 | step`.
pub(super) fn publication(batch_id: BatchId, publication: Publication) -> Vec<u8> {
    let step = STEPS.iter().find(|(of, _)| *of == publication);
    let (_, step) = step.expect("every publication has its step");
    [&batch(batch_id), *step].concat()
}

pub(super) fn publication_of(key: &[u8]) -> Option<(BatchId, Publication)> {
    let step = STEPS.iter().find(|(_, step)| Some(*step) == key.get(8..));
    Some((batch_of(key)?, step?.0))
}

/// `tenant | 0 | text`.
pub(super) fn named(tenant: &TenantId, text: &[u8]) -> Vec<u8> {
    let mut key = tenant.as_str().as_bytes().to_vec();
    key.push(0);
    key.extend_from_slice(text);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publications_keep_their_order_and_their_numbers_in_the_store() {
        let batch = BatchId::from_u64(7);
        let keys: Vec<Vec<u8>> = Publication::ALL.map(|p| publication(batch, p)).to_vec();
        assert!(keys.is_sorted());
        for (key, publication) in keys.iter().zip(Publication::ALL) {
            assert_eq!(publication_of(key), Some((batch, publication)));
        }
        // As the first version stored it.
        assert_eq!(keys[9], [0, 0, 0, 0, 0, 0, 0, 7, 8]);
        assert_eq!(publication_of(&keys[9][..8]), None);
    }
}

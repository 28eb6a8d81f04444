//! Who has an answer name: the newest file of it, and whose answers it replaces.

use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Expect, Op, Space, StoreError};
use super::keys;
use super::records::{BatchRecord, batch_text, decode, encode, optional_batch};
use crate::batch::{BatchEvent, BatchState};
use crate::model::{BatchId, Realm};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredName {
    /// The newest file of the name that was no DUPLICATE.
    #[serde(with = "batch_text")]
    pub(super) batch: BatchId,
    /// Whose ACK stands under the name.
    #[serde(default, with = "optional_batch")]
    ack: Option<BatchId>,
    /// The newest file of the name whose rows were accepted.
    #[serde(default, with = "optional_batch")]
    accepted: Option<BatchId>,
    /// The same of files that were only tried out.
    #[serde(default, with = "optional_batch")]
    tried: Option<BatchId>,
}

impl Store {
    /// The newest file of an answer name that was no DUPLICATE.
    pub fn name_owner(&self, record: &BatchRecord) -> Result<Option<BatchId>, StoreError> {
        Ok(self.stored_name(&key_of(record))?.map(|(_, name)| name.batch))
    }

    /// The newest file of the record's name and realm whose rows were accepted.
    pub fn name_accepted(&self, record: &BatchRecord) -> Result<Option<BatchRecord>, StoreError> {
        let Some((_, name)) = self.stored_name(&key_of(record))? else { return Ok(None) };
        let newest = match record.realm() {
            // Names stored by the first version say only who has them.
            Realm::Real => Some(name.accepted.unwrap_or(name.batch)),
            Realm::Test => name.tried,
        };
        let Some(found) = newest.map_or(Ok(None), |newest| self.batch(newest))? else {
            return Ok(None);
        };
        let was_accepted = matches!(found.state, BatchState::Running | BatchState::Closed);
        Ok(Some(found).filter(|found| was_accepted && found.realm() == record.realm()))
    }

    fn stored_name(&self, key: &[u8]) -> Result<Option<(Vec<u8>, StoredName)>, StoreError> {
        let Some(bytes) = self.engine.get(Space::Names, key)? else { return Ok(None) };
        let name = decode("names", &bytes)?;
        Ok(Some((bytes, name)))
    }

    /// What the event means for the file's name. A file that is judged for the first time learns
    /// whose answers it replaces.
    pub(super) fn name_step(
        &self,
        record: &mut BatchRecord,
        before: BatchState,
        event: BatchEvent,
    ) -> Result<Option<(Op, Expect)>, StoreError> {
        if matches!(event, BatchEvent::RowsSettled | BatchEvent::HoldReleased) {
            return Ok(None);
        }
        let is_first = before == BatchState::Claimed;
        let key = key_of(record);
        let (bytes, stored) = self.stored_name(&key)?.unzip();
        let (id, ack) = (record.id, stored.as_ref().map(|name| name.ack.unwrap_or(name.batch)));
        if is_first {
            record.facts.replaces = stored.as_ref().map(|name| name.batch);
        }
        let mut name =
            stored.unwrap_or(StoredName { batch: id, ack: None, accepted: None, tried: None });
        if is_first && event != BatchEvent::FileDuplicate {
            name.batch = id;
        }
        // A file that was held speaks again, over a duplicate that came meanwhile too.
        if is_first || name.batch == id {
            record.facts.replaces_ack = ack.filter(|ack| *ack != id).or(record.facts.replaces_ack);
            name.ack = Some(id);
        }
        if record.state == BatchState::Running {
            let newest = match record.realm() {
                Realm::Real => &mut name.accepted,
                Realm::Test => &mut name.tried,
            };
            *newest = (*newest).max(Some(id));
        }
        let expect = match bytes {
            Some(bytes) => Expect::Value(Space::Names, key.clone(), bytes),
            None => Expect::Absent(Space::Names, key.clone()),
        };
        Ok(Some((Op::Put(Space::Names, key, encode(&name)), expect)))
    }
}

fn key_of(record: &BatchRecord) -> Vec<u8> {
    let name = format!("{}/{}", record.answer_folder(), record.name());
    keys::named(&record.tenant, name.as_bytes())
}

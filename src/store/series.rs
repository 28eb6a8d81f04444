//! What is known of the files of one profile, one after the other: their numbers and usual size.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::engine::{Expect, Op, Space, StoreError};
use super::intake::Acceptance;
use super::keys;
use super::records::{BatchRecord, Facts, decode, encode};
use crate::batch::{BatchEvent, NumberPlace, Numbers, USUAL_FILES};
use crate::model::{Realm, TenantId};

/// The files of one profile so far; those that no profile matches are a series of their own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Series {
    /// Rows of the last accepted files, the newest last; at most [`USUAL_FILES`].
    pub recent_rows: Vec<u64>,
    pub numbers: Numbers,
    /// When the last file was claimed that was not refused; of those without a profile it is not kept.
    pub last_taken: Option<Timestamp>,
}

#[derive(Serialize, Deserialize)]
struct StoredSeries {
    recent_rows: Vec<u64>,
    next: Option<u64>,
    used: Vec<(u64, u64)>,
    #[serde(default)]
    last_taken: Option<Timestamp>,
}

impl Store {
    /// The files of a profile so far, by its name; empty for files without one.
    pub fn series(
        &self,
        (tenant, realm): (&TenantId, Realm),
        profile: &str,
    ) -> Result<Series, StoreError> {
        Ok(self.stored_series(&key_of(tenant, realm, profile))?.1)
    }

    fn stored_series(&self, key: &[u8]) -> Result<(Option<Vec<u8>>, Series), StoreError> {
        let Some(bytes) = self.engine.get(Space::Series, key)? else {
            return Ok((None, Series::default()));
        };
        let stored: StoredSeries = decode("series", &bytes)?;
        let StoredSeries { recent_rows, next, used, last_taken } = stored;
        Ok((Some(bytes), Series { recent_rows, numbers: Numbers { next, used }, last_taken }))
    }

    /// What the event means for the file's series, and the number it leaves the partner with. `before` is
    /// what was known: what a file took when it was held is given back, however it is read this time.
    pub(super) fn series_step(
        &self,
        record: &mut BatchRecord,
        before: &Facts,
        event: BatchEvent,
        acceptance: &Acceptance,
    ) -> Result<Option<(Op, Expect)>, StoreError> {
        let is_refused = matches!(event, BatchEvent::FileRefused | BatchEvent::HoldRefused);
        let gives_back = is_refused && record.hold.as_ref().is_some_and(|hold| hold.took_number);
        let is_taken = !is_refused && !record.facts.profile.is_empty();
        if !(acceptance.numbered || acceptance.usual_rows.is_some() || gives_back || is_taken) {
            return Ok(None);
        }
        let Facts { profile, seq, .. } = if gives_back { before } else { &record.facts };
        let (key, seq) = (key_of(&record.tenant, record.realm(), profile), *seq);
        let (stored, mut series) = self.stored_series(&key)?;
        let was = series.clone();
        if acceptance.numbered || gives_back {
            count(&mut series.numbers, record, seq, event);
            record.facts.next_seq = series.numbers.next;
        }
        if let Some(rows) = acceptance.usual_rows {
            series.recent_rows.push(rows);
            let too_many = series.recent_rows.len().saturating_sub(USUAL_FILES);
            series.recent_rows.drain(..too_many);
        }
        if is_taken {
            series.last_taken = series.last_taken.max(Some(record.claimed_at));
        }
        if series == was {
            return Ok(None);
        }
        let Series { recent_rows, numbers: Numbers { next, used }, last_taken } = series;
        let value = encode(&StoredSeries { recent_rows, next, used, last_taken });
        let expect = match stored {
            Some(bytes) => Expect::Value(Space::Series, key.clone(), bytes),
            None => Expect::Absent(Space::Series, key.clone()),
        };
        Ok(Some((Op::Put(Space::Series, key, value), expect)))
    }
}

/// No profile's name holds a slash, so that the series of tests stand apart.
fn key_of(tenant: &TenantId, realm: Realm, profile: &str) -> Vec<u8> {
    keys::named(tenant, format!("{}{profile}", realm.root()).as_bytes())
}

/// Accepted files use their number up, held ones take it unless they wait for an earlier one, refused
/// ones have none.
fn count(numbers: &mut Numbers, record: &mut BatchRecord, number: Option<u64>, event: BatchEvent) {
    let Some(number) = number else { return };
    let took = record.hold.as_ref().is_some_and(|hold| hold.took_number);
    match event {
        BatchEvent::FileAccepted => numbers.take(number),
        BatchEvent::FileHeld => {
            let comes_early = matches!(numbers.place(number), NumberPlace::Gap { .. });
            if let Some(hold) = record.hold.as_mut().filter(|_| !comes_early) {
                hold.took_number = true;
                numbers.take(number);
            }
        }
        // The same content as before under the number that is next: it came, nothing is missing.
        BatchEvent::FileDuplicate if numbers.place(number) == NumberPlace::Next => {
            numbers.take(number);
        }
        BatchEvent::FileRefused | BatchEvent::HoldRefused if took => numbers.give_back(number),
        _ => {}
    }
}

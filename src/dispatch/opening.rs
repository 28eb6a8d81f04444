//! Opening batches: found in the store, recovered beside everything else, then part of the rota.
//!
//! What a crash left in one batch may take long to read; the others are sent meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::aside::caught;
use super::chunk::ROOM_WAIT;
use super::error::DispatchError;
use super::exits::Exits;
use super::live::LiveBatch;
use super::recover::recover;
use super::station::{Dispatch, Ended, Entry};
use crate::batch::BatchState;
use crate::model::{BatchId, Urgency};
use crate::store::{BatchRecord, Store, StoreError};
use crate::worker::blocking;

/// Batches opened at the same time: one that is long leaves room for others beside it.
const OPENING_MAX: usize = 4;

/// Batches that are not open yet.
#[derive(Debug, Default)]
pub(super) struct Opening {
    /// The running batches of an earlier process were found.
    recovered: bool,
    /// Found and not begun, oldest first: those that are new or urgent, then what an earlier process left.
    ahead: VecDeque<BatchRecord>,
    behind: VecDeque<BatchRecord>,
    /// So many are under way.
    running: usize,
    /// All of these.
    ids: BTreeSet<BatchId>,
    /// Cannot be worked on; with when that is tried again.
    pub(super) aside: BTreeMap<BatchId, Instant>,
}

impl Opening {
    /// It is under way, or will be.
    pub(super) fn holds(&self, batch: BatchId) -> bool {
        self.ids.contains(&batch) || self.aside.contains_key(&batch)
    }

    fn add(&mut self, record: BatchRecord) {
        if self.holds(record.id) {
            return;
        }
        self.ids.insert(record.id);
        let urgencies = record.facts.urgencies;
        let first = urgencies.and_then(|(first, _)| Urgency::from_u8(first));
        match self.recovered || first.is_some_and(|urgency| urgency.class() == 0) {
            true => self.ahead.push_back(record),
            false => self.behind.push_back(record),
        }
    }

    /// The next one, where there is room for it.
    fn next(&mut self) -> Option<BatchRecord> {
        if self.running >= OPENING_MAX {
            return None;
        }
        let record = self.ahead.pop_front().or_else(|| self.behind.pop_front())?;
        self.running += 1;
        Some(record)
    }

    pub(super) fn ended(&mut self, batch: BatchId) {
        self.running -= 1;
        self.ids.remove(&batch);
    }
}

/// A batch that was opened.
pub(super) struct Opened {
    live: Arc<LiveBatch>,
    exits: Exits,
    /// How urgent each chunk is, where they differ.
    urgencies: Vec<u8>,
    /// Rows that were on the wire at a crash.
    unknown: u64,
}

impl Dispatch {
    /// Finds running batches that are not open yet. The first time every one is looked at, since a
    /// batch whose last row was settled just before a crash has no timer any more.
    pub(super) async fn discover(&mut self) -> Result<(), DispatchError> {
        self.try_aside().await?;
        let (store, first) = (self.store.clone(), !self.opening.recovered);
        let mut known: BTreeSet<BatchId> = self.batches.keys().copied().collect();
        known.extend(self.opening.ids.iter());
        known.extend(self.opening.aside.keys());
        let running = blocking(move || {
            let mut found = Vec::new();
            if first {
                found = store.open_batches()?;
            } else {
                for batch in store.batches_with_timers()? {
                    if !known.contains(&batch) {
                        found.extend(store.batch(batch)?);
                    }
                }
            }
            found.retain(|record| {
                record.state == BatchState::Running && !known.contains(&record.id)
            });
            Ok::<_, StoreError>(found)
        })
        .await?;
        running.into_iter().for_each(|record| self.opening.add(record));
        self.opening.recovered = true;
        self.open_waiting();
        Ok(())
    }

    /// Opens a batch, unless that is under way.
    pub(super) fn open(&mut self, record: BatchRecord) {
        self.opening.add(record);
        self.open_waiting();
    }

    fn open_waiting(&mut self) {
        while let Some(record) = self.opening.next() {
            let id = record.id;
            let exits = Exits::of(&record, &self.providers, &self.ground);
            let (store, spool) = (self.store.clone(), self.spool.clone());
            let (boot, world) = (self.settings.boot_id.clone(), Arc::clone(&self.world));
            let route = self.settings.routes.of(&record.tenant);
            self.tasks.spawn(async move {
                let opened = blocking(move || {
                    let urgencies = urgencies(&store, &record)?;
                    let exits_of = (&exits, route.as_deref());
                    let (live, unknown) =
                        recover((&store, &spool), record, &boot, exits_of, &world)?;
                    Ok(Opened { live, exits, urgencies, unknown })
                });
                Ended::Opened(id, caught(opened).await)
            });
        }
    }

    /// A batch was opened, with what a crash left in it: it takes its place in the rota.
    pub(super) async fn opened(
        &mut self,
        id: BatchId,
        result: Result<Opened, DispatchError>,
    ) -> Result<(), DispatchError> {
        self.opening.ended(id);
        let Opened { live, exits, urgencies, unknown } = match result {
            Err(error) if error.is_for_room() => {
                // Not at once: where only this finds no room it would be opened in a circle.
                let again = self.world.clock.instant() + ROOM_WAIT;
                self.opening.aside.insert(id, again);
                return Ok(());
            }
            opened => opened?,
        };
        let lane = live.record.lane();
        if unknown > 0 {
            tracing::warn!(tenant = %lane.0, batch = %id, rows = unknown,
                "rows were on the wire when the process ended; their outcome is unknown");
        }
        let traffic = Arc::new(self.traffic(&lane, id));
        let halt = self.stopping.child_token();
        self.batches.insert(id, Entry::new(live, exits, traffic, urgencies, halt));
        match self.rota.iter_mut().find(|(of, _)| *of == lane) {
            Some((_, batches)) => batches.push_back(id),
            None => self.rota.push_front((lane, VecDeque::from([id]))),
        }
        self.count_open();
        // Not only at the next turn, which may be long in coming while thousands wait.
        self.open_waiting();
        self.close_if_done(id).await
    }
}

/// How urgent each chunk of a batch is, where they differ.
fn urgencies(store: &Store, record: &BatchRecord) -> Result<Vec<u8>, StoreError> {
    let (mut all, mut from) = (Vec::new(), 0);
    if record.facts.urgencies.is_none_or(|(first, last)| first == last) {
        return Ok(all);
    }
    loop {
        let page = store.chunks(record.id, from, 500)?;
        let Some(last) = page.last() else { break };
        from = last.number + 1;
        all.extend(page.iter().map(|chunk| chunk.urgency.unwrap_or(Urgency::USUAL.as_u8())));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::Category;
    use crate::store::{ControlRecord, Facts};

    fn record(id: u64, category: Category) -> BatchRecord {
        let urgency = Urgency::new(category, 5).as_u8();
        let facts = Facts { urgencies: Some((urgency, urgency)), ..Facts::default() };
        BatchRecord {
            id: BatchId::from_u64(id),
            tenant: "acme".parse().unwrap(),
            path: "inbox/a.csv".to_owned(),
            state: BatchState::Running,
            account: String::new(),
            proof: None,
            received_at: Timestamp::UNIX_EPOCH,
            claimed_at: Timestamp::UNIX_EPOCH,
            validated_at: None,
            closed_at: None,
            facts,
            chunks: 1,
            hold: None,
            control: ControlRecord::default(),
        }
    }

    #[test]
    fn new_and_urgent_batches_are_opened_before_those_an_earlier_process_left() {
        let mut opening = Opening::default();
        (1..=8).for_each(|id| opening.add(record(id, Category::Marketing)));
        opening.add(record(9, Category::Authentication));
        opening.recovered = true;
        opening.add(record(10, Category::Marketing));
        opening.add(record(10, Category::Marketing));
        let next = |opening: &mut Opening| opening.next().map(|record| record.id.as_u64());
        let opened: Vec<u64> = std::iter::from_fn(|| next(&mut opening)).collect();
        assert_eq!(opened, [9, 10, 1, 2], "no more at a time than there is room for");
        opening.ended(BatchId::from_u64(9));
        assert!(!opening.holds(BatchId::from_u64(9)) && opening.holds(BatchId::from_u64(8)));
        assert_eq!(next(&mut opening), Some(3));
    }
}

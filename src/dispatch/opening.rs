//! Opening batches: found in the store, recovered beside everything else, then part of the rota.
//!
//! What a crash left in one batch may take long to read; the others are sent meanwhile.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use tokio::time::Instant;

use super::aside::caught;
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
    /// Found and not begun, oldest first.
    waiting: VecDeque<BatchRecord>,
    /// Under way.
    pub(super) running: BTreeSet<BatchId>,
    /// Cannot be worked on; with when that is tried again.
    pub(super) aside: BTreeMap<BatchId, Instant>,
}

impl Opening {
    fn holds(&self, batch: BatchId) -> bool {
        self.running.contains(&batch)
            || self.aside.contains_key(&batch)
            || self.waiting.iter().any(|record| record.id == batch)
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
        known.extend(self.opening.running.iter());
        known.extend(self.opening.aside.keys());
        known.extend(self.opening.waiting.iter().map(|record| record.id));
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
        self.opening.recovered = true;
        self.opening.waiting.extend(running);
        self.open_waiting();
        Ok(())
    }

    /// Opens a batch, unless that is under way.
    pub(super) fn open(&mut self, record: BatchRecord) {
        if !self.opening.holds(record.id) {
            self.opening.waiting.push_back(record);
            self.open_waiting();
        }
    }

    fn open_waiting(&mut self) {
        while self.opening.running.len() < OPENING_MAX {
            let Some(record) = self.opening.waiting.pop_front() else { break };
            let id = record.id;
            self.opening.running.insert(id);
            let exits = Exits::of(&record, &self.providers, &self.ground);
            let (store, spool) = (self.store.clone(), self.spool.clone());
            let (boot, world) = (self.settings.boot_id.clone(), Arc::clone(&self.world));
            self.tasks.spawn(async move {
                let opened = blocking(move || {
                    let urgencies = urgencies(&store, &record)?;
                    let (live, unknown) = recover((&store, &spool), record, &boot, &exits, &world)?;
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
        self.opening.running.remove(&id);
        let Opened { live, exits, urgencies, unknown } = match result {
            Err(error) if error.is_for_room() => {
                // As if the process had just begun: it is found again when there is.
                self.opening.recovered = false;
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

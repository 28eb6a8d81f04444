//! Finding running batches, and opening their files when their turn comes.
//!
//! Of a batch that only waits nothing is open: of what is due and idle only so many as are worth it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::aside::caught;
use super::entry::{Entry, Files, Open, Order};
use super::error::DispatchError;
use super::exits::{Exits, Providers};
use super::live::LiveBatch;
use super::provider::Ground;
use super::recover::recover;
use super::slots::Seat;
use super::station::{Dispatch, Ended, LINGER};
use super::timers::{Timers, first_urgency};
use crate::batch::BatchState;
use crate::model::{BatchId, Lane};
use crate::spool::Spool;
use crate::store::{Changed, OrderAct, Store, StoreError};
use crate::worker::blocking;

/// Batches of a class opened at the same time: one whose outcomes are long leaves room for others.
pub(super) const OPENING_MAX: usize = 4;

/// Rows, duplicates, outcomes to read and to write.
pub(super) const FILES_PER_BATCH: usize = 4;
/// Batches whose files stay open though nothing of them is due: most will be due again soon.
const IDLE_MAX: usize = 256;

/// What it takes to open a batch.
#[derive(Debug, Clone)]
pub(super) struct Opener {
    pub(super) store: Store,
    pub(super) spool: Spool,
    pub(super) providers: Providers,
    pub(super) ground: Ground,
    pub(super) boot_id: String,
}

/// A batch that was opened.
pub(super) struct Opened {
    pub(super) live: Arc<LiveBatch>,
    pub(super) exits: Exits,
    pub(super) timers: Timers,
}

impl Opener {
    /// Opens a batch as it is now, with what a crash left in it; none where it is over. Blocking.
    pub(super) fn open(&self, batch: BatchId) -> Result<Option<Opened>, DispatchError> {
        let record = self.store.batch(batch)?;
        let running = record.filter(|record| record.state == BatchState::Running);
        let Some(record) = running else { return Ok(None) };
        let exits = Exits::of(&record, &self.providers, &self.ground);
        let about = (&self.store, &self.spool);
        let (live, unknown) = recover(about, record, &self.boot_id, &exits, &self.ground.world)?;
        if unknown > 0 {
            tracing::warn!(tenant = %live.record.tenant, %batch, rows = unknown,
                "rows were on the wire when the process ended; their outcome is unknown");
        }
        let timers = Timers::load(&self.store, &live.record)?;
        Ok(Some(Opened { live, exits, timers }))
    }
}

/// A running batch that was found in the store, or an order of one that runs no more.
enum Found {
    Running {
        batch: BatchId,
        lane: Lane,
        class: usize,
        due: Option<Timestamp>,
        order: Option<OrderAct>,
        /// A crash left something in it.
        has_windows: bool,
    },
    Over,
}

/// What there is to know of a batch without opening it.
fn find(store: &Store, batch: BatchId, has_windows: bool) -> Result<Found, StoreError> {
    let record = store.batch(batch)?;
    let order = store.next_order(batch)?;
    match (record, order) {
        (Some(record), order) if record.state == BatchState::Running => Ok(Found::Running {
            batch,
            lane: record.lane(),
            class: first_urgency(&record).class(),
            due: store.timers(batch, 1)?.first().map(|(due, _)| *due),
            order: order.map(|order| order.act),
            has_windows,
        }),
        (Some(_), Some(order)) => {
            // It is over: there is nothing to do for the order. Where there is no room to say so, it is
            // found again at the next start.
            match store.end_order(batch, &order) {
                Ok(_) | Err(StoreError::Full) => Ok(Found::Over),
                Err(error) => Err(error),
            }
        }
        _ => Ok(Found::Over),
    }
}

/// Looks at what was changed.
fn look(store: &Store, changed: Changed) -> Result<Vec<Found>, StoreError> {
    match changed {
        Changed::Batches(batches) => {
            batches.into_iter().map(|batch| find(store, batch, false)).collect()
        }
        Changed::Anything => {
            let left = store.batches_with_windows()?;
            let mut batches = store.open_ids()?;
            batches.extend(store.next_orders()?.iter().map(|(batch, _)| *batch));
            batches.sort_unstable();
            batches.dedup();
            let has_windows = |batch: &BatchId| left.binary_search(batch).is_ok();
            batches.iter().map(|batch| find(store, *batch, has_windows(batch))).collect()
        }
    }
}

/// Open batches of which nothing is under way or due.
#[derive(Debug, Default)]
pub(super) struct Idle {
    last: u64,
    /// The one that is idle longest first.
    since: BTreeMap<u64, BatchId>,
}

impl Idle {
    fn begin(&mut self, batch: BatchId) -> u64 {
        self.last += 1;
        self.since.insert(self.last, batch);
        self.last
    }

    fn end(&mut self, since: u64) {
        self.since.remove(&since);
    }
}

impl Dispatch {
    /// Takes note of batches that began to run, and of what was ordered. The first time every one is
    /// looked at: one whose last row was settled just before a crash has no timer any more.
    pub(super) async fn discover(&mut self) -> Result<(), DispatchError> {
        let changed = self.store.changed();
        if matches!(&changed, Changed::Batches(batches) if batches.is_empty()) {
            return Ok(());
        }
        let (store, is_first) = (self.store.clone(), changed == Changed::Anything);
        for found in blocking(move || look(&store, changed)).await? {
            let Found::Running { batch, lane, class, due, order, has_windows } = found else {
                continue;
            };
            if !self.batches.contains_key(&batch) {
                let is_new = !is_first || has_windows;
                self.know(batch, Entry { due, is_new, ..Entry::new(lane, class) });
                if due.is_none() && order.is_none() {
                    self.close_if_done(batch).await?;
                }
            }
            match order {
                Some(act) => self.note_order(batch, act),
                None => self.seat(batch),
            }
        }
        self.count_open();
        Ok(())
    }

    /// Begins to open a batch; it holds a place of its lane meanwhile.
    pub(super) fn begin_to_open(&mut self, batch: BatchId, class: usize, seat: Seat) {
        let Some(entry) = self.batches.get_mut(&batch) else { return };
        entry.files = Files::Opening(class, seat);
        self.slots.take(&entry.lane, class, seat);
        self.openings[class] += 1;
        let opener = self.opener();
        self.tasks.spawn(async move {
            let opened = blocking(move || opener.open(batch));
            Ended::Opened(batch, caught(opened).await)
        });
    }

    pub(super) fn opener(&self) -> Opener {
        Opener {
            store: self.store.clone(),
            spool: self.spool.clone(),
            providers: Arc::clone(&self.providers),
            ground: self.ground.clone(),
            boot_id: self.settings.boot_id.clone(),
        }
    }

    /// A batch was opened, or could not be: its place is free again, and it has its turn first.
    pub(super) fn leave_opening(&mut self, batch: BatchId) {
        let Some(entry) = self.batches.get_mut(&batch) else { return };
        if let Files::Opening(class, seat) = entry.files {
            self.slots.give_back(&entry.lane, class, seat);
            self.openings[class] -= 1;
            (entry.files, entry.is_new) = (Files::Closed, true);
        }
    }

    pub(super) async fn opened(
        &mut self,
        batch: BatchId,
        result: Result<Option<Opened>, DispatchError>,
    ) -> Result<(), DispatchError> {
        self.leave_opening(batch);
        let opened = match result {
            Err(error) if error.is_for_room() => {
                let later = self.world.clock.now().saturating_add(LINGER);
                if let (Some(entry), Ok(later)) = (self.batches.get_mut(&batch), later) {
                    entry.due = Some(later);
                }
                self.seat(batch);
                return Ok(());
            }
            opened => opened?,
        };
        let Some(Opened { live, exits, timers }) = opened else {
            self.forget(batch);
            return Ok(());
        };
        let traffic = Arc::new(self.traffic(&live.record.lane(), batch));
        let halt = self.stopping.child_token();
        let is_over = timers.is_empty();
        if let Some(entry) = self.batches.get_mut(&batch) {
            entry.files = Files::Open(Box::new(Open::new((live, timers), exits, traffic, halt)));
        }
        self.open.insert(batch);
        self.seat(batch);
        match is_over {
            true => self.close_if_done(batch).await,
            false => Ok(()),
        }
    }

    /// Gives a batch its place, after whatever happened to it: in line, at its alarm, among the idle.
    pub(super) fn seat(&mut self, batch: BatchId) {
        self.seat_at(batch, self.world.clock.now());
    }

    pub(super) fn seat_at(&mut self, batch: BatchId, now: Timestamp) {
        let is_aside = self.aside.contains_key(&batch);
        let Some(entry) = self.batches.get_mut(&batch) else { return };
        let (due, alarm) = match is_aside {
            true => Default::default(),
            false => entry.has_to_do(now, &self.stopping),
        };
        let (is_new, lane) = (entry.is_new, &entry.lane);
        self.rota.seat((batch, lane), &mut entry.place, due, is_new, alarm);
        if let Order::Waits { to_look } = entry.order
            && entry.is_idle()
            && !is_aside
        {
            entry.order = Order::InLine;
            if to_look { &mut self.looks } else { &mut self.orders }.push_back(batch);
        }
        let may_close = entry.is_idle() && due.iter().all(|due| !due);
        if let Files::Open(open) = &mut entry.files {
            match (may_close && !open.is_stuck(), open.idle_since) {
                (true, None) => open.idle_since = Some(self.idle.begin(batch)),
                (false, Some(_)) => {
                    open.idle_since.take().into_iter().for_each(|since| self.idle.end(since));
                }
                _ => {}
            }
            if is_aside && entry.is_idle() {
                self.close(batch);
            }
        }
    }

    /// Closes the files of batches that are idle longest, beyond as many as may stay open.
    pub(super) fn close_idle(&mut self) {
        let most = (self.settings.files_max / 2 / FILES_PER_BATCH).clamp(1, IDLE_MAX);
        while self.idle.since.len() > most
            && let Some(batch) = self.idle.since.values().next().copied()
        {
            self.close(batch);
            self.seat(batch);
        }
    }

    /// Closes the files of a batch of which nothing is under way.
    pub(super) fn close(&mut self, batch: BatchId) {
        if let Some(entry) = self.batches.get_mut(&batch) {
            let since = entry.open().and_then(|open| open.idle_since);
            since.into_iter().for_each(|since| self.idle.end(since));
            entry.close();
        }
        self.open.remove(&batch);
    }

    /// Rings for batches whose time has come.
    pub(super) fn ring(&mut self) {
        let now = self.world.clock.now();
        while let Some(batch) = self.rota.rung(now) {
            self.seat_at(batch, now);
        }
    }

    fn know(&mut self, batch: BatchId, entry: Entry) {
        *self.lanes_known.entry(entry.lane.clone()).or_default() += 1;
        self.batches.insert(batch, entry);
    }

    /// A batch is over.
    pub(super) fn forget(&mut self, batch: BatchId) {
        self.close(batch);
        let Some(mut entry) = self.batches.remove(&batch) else { return };
        let lane = &entry.lane;
        self.rota.seat((batch, lane), &mut entry.place, Default::default(), false, None);
        if let Some(known) = self.lanes_known.get_mut(lane) {
            *known -= 1;
            if *known == 0 {
                self.lanes_known.remove(lane);
            }
        }
        self.lingering.remove(&batch);
        self.aside.remove(&batch);
        self.count_open();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_is_idle_longest_is_first() {
        let mut idle = Idle::default();
        let since = [7, 3, 5].map(|batch| idle.begin(BatchId::from_u64(batch)));
        idle.end(since[0]);
        idle.begin(BatchId::from_u64(7));
        let order: Vec<u64> = idle.since.values().map(|batch| batch.as_u64()).collect();
        assert_eq!(order, [3, 5, 7]);
    }
}

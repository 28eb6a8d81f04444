//! One chunk, from its timer to its release: decide, claim, send, settle.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::error::DispatchError;
use super::exits::Exits;
use super::flow::Flow;
use super::live::{LiveBatch, Words};
use super::settings::Route;
use super::traffic::Traffic;
use crate::batch::RowOutcome;
use crate::disk::{Disk, Room};
use crate::model::Status;
use crate::spool::{RowState, StoredRow};
use crate::store::{ChunkRecord, Store};
use crate::telemetry::Metrics;
use crate::worker::blocking;
use crate::world::World;

/// How long something that must be recorded waits for room on the disk, before it is tried again.
pub(super) const ROOM_WAIT: Duration = Duration::from_secs(1);

/// What the task of a chunk works with.
#[derive(Debug, Clone)]
pub(super) struct ChunkTask {
    pub(super) live: Arc<LiveBatch>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) number: u32,
    pub(super) route: Arc<Route>,
    /// The tenant is not configured any more: policy cannot be asked, and rows only run out of time.
    pub(super) is_gone: bool,
    pub(super) exits: Exits,
    pub(super) store: Store,
    pub(super) world: Arc<World>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) window_rows: usize,
    pub(super) boot_id: String,
    pub(super) disk: Disk,
    pub(super) stopping: CancellationToken,
    /// Nothing is sent, of this batch or of its tenant; what ends without being sent ends all the same.
    pub(super) paused: bool,
    /// When the batch was opened again: rows without an expiry of their own then have their whole time
    /// once more.
    pub(super) reopened_at: Option<Timestamp>,
    /// Wakes the station.
    pub(super) nudge: Arc<Notify>,
    /// No more rows than this may go, where all slots are taken.
    pub(super) part: Option<usize>,
    /// Nothing more of it will begin: it only waits for what is on the wire, and needs no slot.
    pub(super) is_tired: Arc<AtomicBool>,
}

/// Until when a row waits that could not be sent now, or that somebody has paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Deferred(Timestamp),
    Paused(Timestamp),
    /// It went out, and a receipt is waited for.
    Receipt(Timestamp),
}

impl ChunkTask {
    /// Works through what is due in the chunk and stores what is left of it.
    pub(super) async fn run(self) -> Result<ChunkRecord, DispatchError> {
        let task = self.clone();
        let (before, chunk, mut plan) = blocking(move || task.plan()).await?;
        self.record(0, &plan.noted).await?;
        plan.outbound.truncate(self.part.unwrap_or(usize::MAX));
        let accepted = std::mem::take(&mut plan.accepted);
        let (windows, waiting) = {
            let rows = if plan.outbound.is_empty() { Vec::new() } else { chunk.rows()? };
            Flow::new(&self, &rows, plan).run().await?
        };
        drop(chunk);
        let task = Arc::new(self);
        let left = Arc::new((before, windows, accepted, waiting));
        loop {
            let (releasing, left) = (Arc::clone(&task), Arc::clone(&left));
            let released = blocking(move || {
                let (before, windows, accepted, waiting) = &*left;
                releasing.release(before, windows, (accepted, waiting))
            })
            .await;
            match released {
                Err(error) if error.is_for_room() => task.wait_for_room().await,
                result => return result,
            }
        }
    }

    /// What cannot be recorded is not sent.
    pub(super) fn may_claim(&self) -> bool {
        !self.stopping.is_cancelled() && self.disk.room(self.world.clock.instant()) != Room::None
    }

    /// Appends outcomes, however long there is no room for them: nobody else knows them.
    async fn record(&self, window: u32, rows: &[RowOutcome]) -> Result<(), DispatchError> {
        loop {
            match self.append(window, rows) {
                Err(error) if error.is_for_room() => tokio::time::sleep(ROOM_WAIT).await,
                result => return result,
            }
        }
    }

    /// Appends outcomes, where there is room for them or the ballast makes some.
    pub(super) fn append(&self, window: u32, rows: &[RowOutcome]) -> Result<(), DispatchError> {
        if rows.is_empty() {
            return Ok(());
        }
        match self.live.append(self.number, window, rows) {
            Err(error) if error.is_for_room() && self.disk.let_ballast_go() => {
                self.live.append(self.number, window, rows)?;
            }
            result => result?,
        }
        self.count_settled(rows);
        Ok(())
    }

    async fn wait_for_room(&self) {
        if !self.disk.let_ballast_go() {
            tokio::time::sleep(ROOM_WAIT).await;
        }
    }

    fn count_settled(&self, rows: &[RowOutcome]) {
        let mut settled: BTreeMap<Status, u64> = BTreeMap::new();
        for row in rows.iter().filter(|row| row.is_settled()) {
            *settled.entry(row.status).or_default() += 1;
        }
        let test = self.live.record.realm().yes_no();
        for (status, rows) in settled {
            self.metrics.rows_settled.of([status.as_str(), test]).inc_by(rows);
        }
    }

    /// Ends the windows and stores what is left of the chunk.
    fn release(
        &self,
        before: &ChunkRecord,
        windows: &[u32],
        (accepted, waiting): (&[u32], &HashMap<u32, Wait>),
    ) -> Result<ChunkRecord, DispatchError> {
        self.live.consolidate(self.number)?;
        let outcomes_bytes = self.live.outcomes_bytes();
        self.live.sync()?;
        let (words, now) = (self.live.last_words(self.number), self.world.clock.now());
        let after = remaining(before, accepted, (&words, outcomes_bytes), waiting, now);
        self.store.release_windows(self.live.record.id, windows, before, &after)?;
        self.live.leave(self.number);
        Ok(after)
    }
}

/// Positions of the rows that are to be sent, or were.
pub(super) fn accepted(rows: &[StoredRow<'_>]) -> Vec<u32> {
    let accepted = (0..).zip(rows).filter(|(_, row)| row.state == RowState::Accepted);
    accepted.map(|(index, _)| index).collect()
}

/// What is left of a chunk, from the last words on its accepted rows, and how long the outcomes are with it.
pub(super) fn remaining(
    before: &ChunkRecord,
    accepted: &[u32],
    (words, outcomes_bytes): (&Words, u64),
    waiting: &HashMap<u32, Wait>,
    now: Timestamp,
) -> ChunkRecord {
    let mut resendable = 0;
    let mut after =
        ChunkRecord { open: 0, deferred: 0, due: None, outcomes_bytes, ..before.clone() };
    for index in accepted {
        let word = words.get(*index as usize);
        resendable += u32::from(word.is_some_and(|word| word.is_resendable));
        if word.is_some_and(|word| word.is_settled) {
            continue;
        }
        let known = word.and_then(|word| match word.receipt_until {
            Some(until) => Some(Wait::Receipt(until)),
            None => word.deferred_until.map(Wait::Deferred),
        });
        // Planned waiting is the newer word; rows that were never reached are due at once.
        let (due, is_deferred) = match waiting.get(index).copied().or(known) {
            Some(Wait::Deferred(until)) => (until, until > now),
            Some(Wait::Paused(until) | Wait::Receipt(until)) => (until, false),
            None => (now, false),
        };
        after.open += 1;
        after.deferred += u32::from(is_deferred);
        after.due = Some(after.due.map_or(due, |earliest| earliest.min(due)));
    }
    after.resendable = Some(resendable);
    after
}

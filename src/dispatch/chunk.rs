//! One chunk, from its timer to its release: decide, claim, send, settle.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::attempt::{Outbound, Sending};
use super::error::DispatchError;
use super::exits::Exits;
use super::live::LiveBatch;
use super::message::{Composer, Unrenderable};
use super::provider::Provider;
use super::question::{calendar, question};
use super::settings::Route;
use super::traffic::Traffic;
use crate::codes::ReasonCode;
use crate::disk::{Disk, Room};
use crate::model::{Status, Urgency};
use crate::policy::{Calendar, Hours, Verdict, decide};
use crate::spool::{RowOutcome, RowState, StoredRow};
use crate::store::{ChunkRecord, Store, StoreError, WindowRecord};
use crate::telemetry::Metrics;
use crate::worker::blocking;
use crate::world::World;

/// How long rows wait whose channel has no provider, or whose template is not there, any more.
const ABSENCE_WAIT: Duration = Duration::from_secs(60);

/// How long something that must be recorded waits for room on the disk, before it is tried again.
const ROOM_WAIT: Duration = Duration::from_secs(1);

/// What the task of a chunk works with.
#[derive(Debug, Clone)]
pub(super) struct ChunkTask {
    pub(super) live: Arc<LiveBatch>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) number: u32,
    pub(super) route: Arc<Route>,
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
}

/// What is to be done with a chunk's open rows.
#[derive(Debug, Default)]
struct Plan {
    /// Final without an attempt.
    settled: Vec<RowOutcome>,
    /// May be sent now.
    outbound: Vec<Outbound>,
    /// Not due yet, by position in the chunk.
    waiting: HashMap<u32, Wait>,
}

/// Until when a row waits that could not be sent now, or that somebody has paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    Deferred(Timestamp),
    Paused(Timestamp),
}

impl Plan {
    fn defer(&mut self, index: u32, until: Timestamp) {
        self.waiting.insert(index, Wait::Deferred(until));
    }
}

impl ChunkTask {
    /// Works through what is due in the chunk and stores what is left of it.
    pub(super) async fn run(self) -> Result<ChunkRecord, DispatchError> {
        let task = self.clone();
        let (before, mut plan) = blocking(move || task.plan()).await?;
        if !plan.settled.is_empty() {
            self.record(0, std::mem::take(&mut plan.settled)).await?;
        }
        // Stable: rows of one urgency go in the file's order.
        plan.outbound.sort_by_key(|row| row.urgency);
        let mut outbound = std::mem::take(&mut plan.outbound).into_iter();
        let groups = std::iter::from_fn(|| {
            let rows: Vec<Outbound> = outbound.by_ref().take(self.window_rows).collect();
            (!rows.is_empty() && self.may_claim()).then_some(rows)
        });
        // The next window is claimed while the last rows of the one before are still under way.
        let mut sending = stream::iter(groups).map(|rows| self.window(rows)).buffer_unordered(2);
        let mut windows = Vec::new();
        while let Some(number) = sending.next().await {
            windows.extend(number?);
        }
        drop(sending);
        let task = Arc::new(self);
        let left = Arc::new((before, windows, plan.waiting));
        loop {
            let (releasing, left) = (Arc::clone(&task), Arc::clone(&left));
            let released = blocking(move || releasing.release(&left.0, &left.1, &left.2)).await;
            match released {
                Err(error) if error.is_for_room() => task.wait_for_room().await,
                result => return result,
            }
        }
    }

    /// What cannot be recorded is not sent.
    fn may_claim(&self) -> bool {
        !self.stopping.is_cancelled() && self.disk.room(self.world.clock.instant()) != Room::None
    }

    /// Appends outcomes, however long there is no room for them: nobody else knows them.
    async fn record(&self, window: u32, rows: Vec<RowOutcome>) -> Result<(), DispatchError> {
        while let Err(error) = self.live.append(self.number, window, rows.clone()) {
            if !error.is_for_room() {
                return Err(error);
            }
            self.wait_for_room().await;
        }
        Ok(())
    }

    async fn wait_for_room(&self) {
        if !self.disk.let_ballast_go() {
            tokio::time::sleep(ROOM_WAIT).await;
        }
    }

    fn plan(&self) -> Result<(ChunkRecord, Plan), DispatchError> {
        let missing = || DispatchError::ChunkMissing {
            batch: self.live.record.id.to_string(),
            chunk: self.number,
        };
        let record = self.store.chunk(self.live.record.id, self.number)?.ok_or_else(missing)?;
        let chunk = self.live.chunk(&record)?;
        let latest = self.live.latest(self.number)?;
        let (now, mut plan) = (self.world.clock.now(), Plan::default());
        let mut composer = Composer::new(&self.live.record, &self.live.head, &self.route);
        let calendar = calendar(&self.route);
        for (index, row) in (0..).zip(chunk.rows()?) {
            if row.state != RowState::Accepted {
                continue;
            }
            let earlier = latest.get(&index);
            if earlier.is_some_and(RowOutcome::is_settled) {
                continue;
            }
            if let Some(due) = earlier.and_then(|o| o.deferred_until).filter(|due| *due > now) {
                plan.defer(index, due);
                continue;
            }
            self.plan_row(index, &row, earlier, &mut composer, &calendar, &mut plan);
        }
        Ok((record, plan))
    }

    fn plan_row(
        &self,
        index: u32,
        row: &StoredRow<'_>,
        earlier: Option<&RowOutcome>,
        composer: &mut Composer<'_>,
        calendar: &Calendar,
        plan: &mut Plan,
    ) {
        let now = self.world.clock.now();
        let attempts = earlier.map_or(0, |o| o.attempts);
        let settle = |status: Status, code: ReasonCode| {
            let test = self.live.record.realm().yes_no();
            let outcome = ended(index, earlier, status, code, now);
            self.metrics.rows_settled.of([outcome.status.as_str(), test]).inc();
            outcome
        };
        let Some(channel) = row.channel else {
            plan.settled.push(settle(Status::Failed, ReasonCode::RowChannelUnavailable));
            return;
        };
        let expires_at = self.expires_at(row);
        let question = question(&self.route, row, channel, expires_at, (calendar, now));
        match decide(&question, now) {
            Verdict::Suppress(code) => plan.settled.push(settle(Status::Suppressed, code)),
            Verdict::Expire => {
                plan.settled.push(settle(Status::Expired, ReasonCode::PolicyExpired));
            }
            Verdict::Wait { until, .. } => plan.defer(index, until),
            Verdict::Send if self.paused => {
                plan.waiting.insert(index, Wait::Paused(expires_at));
            }
            Verdict::Send => {
                let closes_at = match question.hours {
                    Some(Hours::Open { until }) => Some(until),
                    _ => None,
                };
                let mut providers = self.exits.on(channel, &self.route);
                let is_served = !providers.is_empty();
                providers.retain(|provider| !provider.is_paused());
                // Where the configuration changed since the row was accepted, the row waits for its
                // provider or template to come back, at the latest until it expires.
                let again = now.saturating_add(ABSENCE_WAIT).unwrap_or(expires_at).min(expires_at);
                if !is_served {
                    plan.defer(index, again);
                } else if providers.is_empty() {
                    plan.waiting.insert(index, Wait::Paused(expires_at));
                } else if let Some(until) = all_closed(&providers, now) {
                    // Nothing is written for rows that only wait for a provider to wake.
                    plan.defer(index, until.min(expires_at));
                } else {
                    match composer.compose(row, channel, attempts + 1) {
                        Ok(message) => plan.outbound.push(Outbound {
                            index,
                            urgency: Urgency::new(message.category, row.priority),
                            cost: u32::from(row.parts.max(1)),
                            message,
                            attempts,
                            in_doubt: earlier.is_some_and(RowOutcome::is_in_doubt),
                            expires_at,
                            allowed_until: closes_at.map_or(expires_at, |at| at.min(expires_at)),
                            providers,
                        }),
                        Err(Unrenderable(ReasonCode::RowTemplateUnknown)) => {
                            plan.defer(index, again);
                        }
                        Err(Unrenderable(code)) => plan.settled.push(settle(Status::Failed, code)),
                    }
                }
            }
        }
    }

    fn expires_at(&self, row: &StoredRow<'_>) -> Timestamp {
        let expires_at = row.expires_at.unwrap_or(Timestamp::MAX);
        let again = self.reopened_at.filter(|_| !row.expiry_given);
        let accepted = self.live.record.validated_at;
        let (Some(again), Some(accepted)) = (again, accepted) else { return expires_at };
        let due = row.send_at.map_or(accepted, |at| at.max(accepted));
        let lifetime = expires_at.duration_since(due);
        expires_at.max(again.saturating_add(lifetime).unwrap_or(Timestamp::MAX))
    }

    /// Claims a window durably, sends its rows, and syncs their outcomes. `None` where there was no room for
    /// the claim.
    async fn window(&self, rows: Vec<Outbound>) -> Result<Option<u32>, DispatchError> {
        let number = self.live.next_window();
        let mut positions: Vec<u32> = rows.iter().map(|row| row.index).collect();
        positions.sort_unstable();
        let window = WindowRecord {
            number,
            chunk: self.number,
            rows: WindowRecord::runs_of(&positions),
            boot_id: self.boot_id.clone(),
        };
        let (store, batch) = (self.store.clone(), self.live.record.id);
        match blocking(move || store.claim_window(batch, &window)).await {
            Err(StoreError::Full) => return Ok(None),
            claimed => claimed?,
        }
        self.metrics.window_claims.inc();
        let sending = Sending {
            live: Arc::clone(&self.live),
            traffic: Arc::clone(&self.traffic),
            chunk: self.number,
            window: number,
            world: Arc::clone(&self.world),
            metrics: Arc::clone(&self.metrics),
            stopping: self.stopping.clone(),
            nudge: Arc::clone(&self.nudge),
        };
        let mut under_way: FuturesUnordered<_> =
            rows.into_iter().map(|row| sending.send(row)).collect();
        while let Some(first) = under_way.next().await {
            // Whatever ended together is written together; it is in the kernel's hands at once, so that
            // a crash of the process makes nothing of it unknown.
            let mut ended = Vec::from_iter(first?);
            while let Some(Some(next)) = futures_util::FutureExt::now_or_never(under_way.next()) {
                ended.extend(next?);
            }
            if !ended.is_empty() {
                self.record(number, ended).await?;
            }
        }
        let live = Arc::clone(&self.live);
        blocking(move || live.sync()).await?;
        Ok(Some(number))
    }

    /// Ends the windows and stores what is left of the chunk.
    fn release(
        &self,
        before: &ChunkRecord,
        windows: &[u32],
        waiting: &HashMap<u32, Wait>,
    ) -> Result<ChunkRecord, DispatchError> {
        let latest = self.live.latest(self.number)?;
        self.live.consolidate(self.number, &latest)?;
        self.live.sync()?;
        let chunk = self.live.chunk(before)?;
        let after = remaining(before, &chunk.rows()?, &latest, waiting, self.world.clock.now());
        self.store.release_windows(self.live.record.id, windows, before, &after)?;
        Ok(after)
    }
}

/// What is left of a chunk, from the latest word on its rows.
pub(super) fn remaining(
    before: &ChunkRecord,
    rows: &[StoredRow<'_>],
    latest: &HashMap<u32, RowOutcome>,
    waiting: &HashMap<u32, Wait>,
    now: Timestamp,
) -> ChunkRecord {
    let mut resendable = 0;
    let mut after = ChunkRecord { open: 0, deferred: 0, due: None, ..before.clone() };
    for (index, row) in (0..).zip(rows) {
        let outcome = latest.get(&index);
        if row.state != RowState::Accepted {
            continue;
        }
        resendable += u32::from(outcome.is_some_and(RowOutcome::is_resendable));
        if outcome.is_some_and(RowOutcome::is_settled) {
            continue;
        }
        let deferred_until = outcome.and_then(|o| o.deferred_until);
        // Planned waiting is the newer word; rows that were never reached are due at once.
        let wait = waiting.get(&index).copied().or(deferred_until.map(Wait::Deferred));
        let (due, is_deferred) = match wait {
            Some(Wait::Deferred(until)) => (until, until > now),
            Some(Wait::Paused(until)) => (until, false),
            None => (now, false),
        };
        after.open += 1;
        after.deferred += u32::from(is_deferred);
        after.due = Some(after.due.map_or(due, |earliest| earliest.min(due)));
    }
    after.resendable = Some(resendable);
    after
}

fn all_closed(providers: &[Arc<Provider>], now: Timestamp) -> Option<Timestamp> {
    let mut earliest: Option<Timestamp> = None;
    for provider in providers {
        let until = provider.closed_until(now)?;
        earliest = Some(earliest.map_or(until, |e| e.min(until)));
    }
    earliest
}

/// A row that ends without a further attempt. One that may have gone out stays in doubt, whatever ends
/// its wait.
pub(super) fn ended(
    index: u32,
    earlier: Option<&RowOutcome>,
    status: Status,
    code: ReasonCode,
    now: Timestamp,
) -> RowOutcome {
    let row = earlier.cloned().unwrap_or_else(|| untried(index));
    let (status, code) = match row.is_in_doubt() {
        true => (Status::Unknown, ReasonCode::DeliveryOutcomeUnknown),
        false => (status, code),
    };
    RowOutcome { status, code: Some(code), deferred_until: None, ended_at: Some(now), ..row }
}

pub(super) fn untried(index: u32) -> RowOutcome {
    RowOutcome {
        index,
        status: Status::Accepted,
        code: None,
        attempts: 0,
        provider: String::new(),
        provider_message_id: String::new(),
        provider_code: String::new(),
        channels_tried: String::new(),
        deferred_until: None,
        submitted_at: None,
        sent_at: None,
        ended_at: None,
    }
}

//! One chunk, from its timer to its release: decide, claim, send, settle.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{self, FuturesUnordered, StreamExt};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::attempt::{Outbound, Sending, Tries};
use super::error::DispatchError;
use super::exits::Exits;
use super::live::LiveBatch;
use super::message::{Composer, Unrenderable};
use super::provider::Provider;
use super::question::{calendar, question};
use super::settings::Route;
use super::traffic::Traffic;
use crate::batch::{RowEvent, RowOutcome};
use crate::codes::ReasonCode;
use crate::disk::{Disk, Room};
use crate::model::{ChannelKind, OutgoingMessage, Status, Urgency};
use crate::pacing::{HINT_MAX, sms_parts};
use crate::policy::{Calendar, Hours, Verdict, decide};
use crate::spool::{RowState, StoredRow};
use crate::store::{ChunkRecord, Store, StoreError, WindowRecord};
use crate::telemetry::Metrics;
use crate::worker::blocking;
use crate::world::World;

/// How long rows wait whose channel has no provider, or whose template is not there, any more.
const ABSENCE_WAIT: Duration = Duration::from_secs(60);

/// How long something that must be recorded waits for room on the disk, before it is tried again.
pub(super) const ROOM_WAIT: Duration = Duration::from_secs(1);

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
    /// What became of rows without an attempt: they are final, or on a further step of their chain.
    noted: Vec<RowOutcome>,
    /// Some of these are not final: what is sent next rests on it.
    moved_on: bool,
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
    /// It went out, and a receipt is waited for.
    Receipt(Timestamp),
}

/// What is to be done with a row on the step it is on.
enum Planned {
    Ends(Status, ReasonCode),
    Waits(Wait),
    Goes(Box<Going>),
}

/// What an attempt needs beside the row's standing.
struct Going {
    message: OutgoingMessage,
    urgency: Urgency,
    cost: u32,
    expires_at: Timestamp,
    allowed_until: Timestamp,
    providers: Vec<Arc<Provider>>,
    tries: Tries,
}

impl ChunkTask {
    /// Works through what is due in the chunk and stores what is left of it.
    pub(super) async fn run(mut self) -> Result<ChunkRecord, DispatchError> {
        // A fault in one window stops the other as well, and nobody else.
        self.stopping = self.stopping.child_token();
        let task = self.clone();
        let (before, mut plan) = blocking(move || task.plan()).await?;
        self.record(0, &plan.noted).await?;
        if plan.moved_on {
            // A window must not outlive the word on which step its rows are.
            let live = Arc::clone(&self.live);
            blocking(move || live.sync()).await?;
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
        let (mut windows, mut fault) = (Vec::new(), None);
        while let Some(number) = sending.next().await {
            match number {
                Ok(number) => windows.extend(number),
                Err(error) => self.stop_for(error, &mut fault),
            }
        }
        drop(sending);
        if let Some(fault) = fault {
            return Err(fault);
        }
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

    /// The chunk begins nothing more. What is on the wire ends, and is recorded, before the first fault is
    /// told: cut off, it would be unknown for ever.
    fn stop_for(&self, error: DispatchError, fault: &mut Option<DispatchError>) {
        self.stopping.cancel();
        fault.get_or_insert(error);
    }

    /// Appends outcomes, however long there is no room for them: nobody else knows them.
    async fn record(&self, window: u32, rows: &[RowOutcome]) -> Result<(), DispatchError> {
        if rows.is_empty() {
            return Ok(());
        }
        while let Err(error) = self.live.append(self.number, window, rows) {
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
        let mut latest = self.live.latest(self.number)?;
        let (now, mut plan) = (self.world.clock.now(), Plan::default());
        let mut composer = Composer::new(&self.live.record, &self.live.head, &self.route);
        let calendar = calendar(&self.route);
        for (index, row) in (0..).zip(chunk.rows()?) {
            if row.state != RowState::Accepted {
                continue;
            }
            let standing = latest.remove(&index).unwrap_or_else(|| RowOutcome::untried(index));
            if standing.is_settled() {
                continue;
            }
            let due = standing.due().filter(|due| *due > now);
            if let Some(due) = due.filter(|due| !self.is_misplaced(&row, &standing, *due, now)) {
                let wait =
                    if standing.receipt_until.is_some() { Wait::Receipt } else { Wait::Deferred };
                plan.waiting.insert(index, wait(due));
                continue;
            }
            self.plan_row(&row, standing, &mut composer, &calendar, &mut plan)?;
        }
        Ok((record, plan))
    }

    /// What is to be done with a row now. Steps of its chain that policy or the row itself rule out are
    /// passed over.
    fn plan_row(
        &self,
        row: &StoredRow<'_>,
        mut standing: RowOutcome,
        composer: &mut Composer<'_>,
        calendar: &Calendar,
        plan: &mut Plan,
    ) -> Result<(), DispatchError> {
        let (now, begun_on) = (self.world.clock.now(), standing.step);
        if standing.receipt_until.is_some() {
            let chain = row.chain(standing.step);
            standing = standing.apply(RowEvent::NoReceipt { at: now }, chain)?;
        } else if self.is_held(&standing) {
            let chain = row.chain(standing.step);
            standing = standing.apply(RowEvent::Held { at: now }, chain)?;
        }
        if standing.receipt_until.is_some() {
            // A receipt may tell more: it is waited for.
            plan.noted.push(standing);
            return Ok(());
        }
        while !standing.is_settled() {
            let step = standing.step;
            let on_step =
                if step == 0 { Cow::Borrowed(row) } else { Cow::Owned(row.on_step(step)) };
            let chain = row.chain(step);
            match self.plan_step(&on_step, &standing, composer, calendar) {
                Planned::Ends(status, code) => {
                    let event = RowEvent::Ended { status, code, at: now };
                    standing = standing.apply(event, chain)?;
                    continue;
                }
                Planned::Waits(wait) => {
                    plan.waiting.insert(standing.index, wait);
                }
                Planned::Goes(going) => {
                    let Going {
                        message,
                        urgency,
                        cost,
                        expires_at,
                        allowed_until,
                        providers,
                        tries,
                    } = *going;
                    let standing = standing.clone();
                    plan.outbound.push(Outbound {
                        standing,
                        chain,
                        message,
                        urgency,
                        cost,
                        expires_at,
                        allowed_until,
                        providers,
                        tries,
                    });
                }
            }
            if step != begun_on {
                plan.moved_on = true;
                plan.noted.push(standing);
            }
            return Ok(());
        }
        let test = self.live.record.realm().yes_no();
        self.metrics.rows_settled.of([standing.status.as_str(), test]).inc();
        plan.noted.push(standing);
        Ok(())
    }

    /// The same for one step of its chain.
    fn plan_step(
        &self,
        row: &StoredRow<'_>,
        standing: &RowOutcome,
        composer: &mut Composer<'_>,
        calendar: &Calendar,
    ) -> Planned {
        let now = self.world.clock.now();
        let Some(channel) = row.channel else {
            return Planned::Ends(Status::Failed, ReasonCode::RowChannelUnavailable);
        };
        let expires_at = self.expires_at(row);
        let question = question(&self.route, row, channel, expires_at, (calendar, now));
        let verdict = decide(&question, now);
        // Whatever the clock alone has brought about must wait until it is believed: it may be put right again.
        let is_by_clock =
            verdict == Verdict::Expire || row.send_at.is_some() || question.hours.is_some();
        if let Some(rest) = self.world.clock.doubted_for().filter(|_| is_by_clock) {
            return Planned::Waits(Wait::Deferred(now.saturating_add(rest).unwrap_or(now)));
        }
        match verdict {
            Verdict::Suppress(code) => return Planned::Ends(Status::Suppressed, code),
            Verdict::Expire => return Planned::Ends(Status::Expired, ReasonCode::PolicyExpired),
            Verdict::Wait { until, .. } => return Planned::Waits(Wait::Deferred(until)),
            Verdict::Send if self.paused => return Planned::Waits(Wait::Paused(expires_at)),
            Verdict::Send => {}
        }
        let closes_at = match question.hours {
            Some(Hours::Open { until }) => Some(until),
            _ => None,
        };
        let (mut providers, tries) = self.providers(channel, standing);
        let is_served = !providers.is_empty();
        providers.retain(|provider| !provider.is_paused());
        // Where the configuration changed since the row was accepted, the row waits for its
        // provider or template to come back, at the latest until it expires.
        let again = now.saturating_add(ABSENCE_WAIT).unwrap_or(expires_at).min(expires_at);
        if !is_served {
            return Planned::Waits(Wait::Deferred(again));
        }
        if providers.is_empty() {
            return Planned::Waits(Wait::Paused(expires_at));
        }
        if let Some(until) = all_closed(&providers, now) {
            // Nothing is written for rows that only wait for a provider to wake.
            return Planned::Waits(Wait::Deferred(until.min(expires_at)));
        }
        match composer.compose((row, standing.step), channel, standing.attempts_on_step() + 1) {
            Ok(message) => Planned::Goes(Box::new(Going {
                urgency: Urgency::new(message.category, row.priority),
                cost: cost(&message),
                message,
                expires_at,
                allowed_until: closes_at.map_or(expires_at, |at| at.min(expires_at)),
                providers,
                tries,
            })),
            Err(Unrenderable(ReasonCode::RowTemplateUnknown)) => {
                Planned::Waits(Wait::Deferred(again))
            }
            Err(Unrenderable(code)) => Planned::Ends(Status::Failed, code),
        }
    }

    /// Those that may be given the row, paused ones among them.
    fn providers(
        &self,
        channel: ChannelKind,
        standing: &RowOutcome,
    ) -> (Vec<Arc<Provider>>, Tries) {
        let mut providers = self.exits.on(channel, &self.route);
        let tries = Tries::of(standing, &providers);
        match standing.bound_to() {
            Some(only) => providers.retain(|provider| provider.id() == only),
            None => tries.leave_out_used_up(&mut providers),
        }
        (providers, tries)
    }

    /// It is to be tried again later than it can have been meant: the clock was ahead then.
    fn is_misplaced(
        &self,
        row: &StoredRow<'_>,
        standing: &RowOutcome,
        due: Timestamp,
        now: Timestamp,
    ) -> bool {
        let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        if standing.deferred_until.is_none() || wait <= HINT_MAX {
            return false;
        }
        let channel = row.on_step(standing.step).channel;
        let providers = channel.map(|channel| self.exits.on(channel, &self.route));
        wait > Tries::longest_wait(&providers.unwrap_or_default())
    }

    /// It may have gone out, and whoever may have it is not to be asked twice any more.
    fn is_held(&self, standing: &RowOutcome) -> bool {
        standing.is_doubtfully_waiting()
            && standing.bound_to().is_some_and(|provider| self.exits.holds_unknown(provider))
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
        let mut positions: Vec<u32> = rows.iter().map(|row| row.standing.index).collect();
        positions.sort_unstable();
        let window = WindowRecord {
            number,
            chunk: self.number,
            rows: WindowRecord::runs_of(&positions),
            boot_id: self.boot_id.clone(),
        };
        let (store, batch) = (self.store.clone(), self.live.record.id);
        match blocking(move || store.claim_window(batch, &window)).await {
            Err(StoreError::Full) => {
                tokio::time::sleep(ROOM_WAIT).await;
                return Ok(None);
            }
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
        let mut fault = None;
        let mut under_way: FuturesUnordered<_> =
            rows.into_iter().map(|row| sending.send(row)).collect();
        while let Some(first) = under_way.next().await {
            // Whatever ended together is written together; it is in the kernel's hands at once, so that
            // a crash of the process makes nothing of it unknown.
            let (mut ended, mut next) = (Vec::new(), Some(first));
            while let Some(result) = next {
                match result {
                    Ok(row) => ended.extend(row),
                    Err(error) => self.stop_for(error, &mut fault),
                }
                next = under_way.next().now_or_never().flatten();
            }
            if let Err(error) = self.record(number, &ended).await {
                self.stop_for(error, &mut fault);
                // The fault may be of one row: nobody else knows what became of the others.
                for row in &ended {
                    let _fault = self.record(number, std::slice::from_ref(row)).await;
                }
            }
        }
        if let Some(fault) = fault {
            return Err(fault);
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
        let outcomes_bytes = self.live.outcomes_bytes();
        self.live.sync()?;
        let (chunk, now) = (self.live.chunk(before)?, self.world.clock.now());
        let rows = chunk.rows()?;
        let after = remaining(before, &rows, (&latest, outcomes_bytes), waiting, now);
        self.store.release_windows(self.live.record.id, windows, before, &after)?;
        self.live.leave(self.number);
        Ok(after)
    }
}

/// What is left of a chunk, from the latest word on its rows, and how long the outcomes are with it.
pub(super) fn remaining(
    before: &ChunkRecord,
    rows: &[StoredRow<'_>],
    (latest, outcomes_bytes): (&HashMap<u32, RowOutcome>, u64),
    waiting: &HashMap<u32, Wait>,
    now: Timestamp,
) -> ChunkRecord {
    let mut resendable = 0;
    let mut after =
        ChunkRecord { open: 0, deferred: 0, due: None, outcomes_bytes, ..before.clone() };
    for (index, row) in (0..).zip(rows) {
        let outcome = latest.get(&index);
        if row.state != RowState::Accepted {
            continue;
        }
        resendable += u32::from(outcome.is_some_and(RowOutcome::is_resendable));
        if outcome.is_some_and(RowOutcome::is_settled) {
            continue;
        }
        let known = outcome.and_then(|outcome| match outcome.receipt_until {
            Some(until) => Some(Wait::Receipt(until)),
            None => outcome.deferred_until.map(Wait::Deferred),
        });
        // Planned waiting is the newer word; rows that were never reached are due at once.
        let (due, is_deferred) = match waiting.get(&index).copied().or(known) {
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

/// What a message counts for at limits.
fn cost(message: &OutgoingMessage) -> u32 {
    match message.channel {
        ChannelKind::Sms => sms_parts(&message.text),
        _ => 1,
    }
}

fn all_closed(providers: &[Arc<Provider>], now: Timestamp) -> Option<Timestamp> {
    let mut earliest: Option<Timestamp> = None;
    for provider in providers {
        let until = provider.closed_until(now)?;
        earliest = Some(earliest.map_or(until, |e| e.min(until)));
    }
    earliest
}

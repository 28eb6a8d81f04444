//! The station's loop: which chunk next, fairly over tenants and their batches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::aside::caught;
use super::chunk::ChunkTask;
use super::error::DispatchError;
use super::exits::{Exits, Providers};
use super::lanes::Lanes;
use super::live::LiveBatch;
use super::opening::{Opened, Opening};
use super::provider::{Ground, Provider};
use super::settings::Settings;
use super::slots::{Busy, SLOTS};
use super::traffic::{Halts, Traffic};
use crate::channel::{Channel, ProviderSettings};
use crate::disk::Room;
use crate::model::{BatchId, Lane, Realm, TenantId, Urgency};
use crate::spool::Spool;
use crate::store::{BatchRecord, ChunkRecord, Store, StoreError};
use crate::telemetry::Metrics;
use crate::worker::{Progress, Worker, blocking};
use crate::world::World;

/// A batch with open rows.
pub(super) struct Entry {
    pub(super) live: Arc<LiveBatch>,
    exits: Exits,
    pub(super) traffic: Arc<Traffic>,
    /// How urgent each chunk is, where they differ.
    urgencies: Vec<u8>,
    /// Chunks that have a task, with their class.
    pub(super) active: BTreeMap<u32, usize>,
    /// When its next idle chunk is due; `None` where that must be asked of the store.
    pub(super) next_due: Option<Timestamp>,
    /// Cancelled: no new attempt of the batch begins.
    pub(super) halt: CancellationToken,
    /// An order is being followed: nothing else happens to the batch meanwhile.
    pub(super) ordered: bool,
    paused: bool,
    /// Its tenant is suspended.
    suspended: bool,
    reopened_at: Option<Timestamp>,
}

impl Entry {
    pub(super) fn new(
        live: Arc<LiveBatch>,
        exits: Exits,
        traffic: Arc<Traffic>,
        urgencies: Vec<u8>,
        halt: CancellationToken,
    ) -> Entry {
        let mut entry = Entry {
            live,
            exits,
            traffic,
            urgencies,
            active: BTreeMap::new(),
            next_due: None,
            halt,
            ordered: false,
            paused: false,
            suspended: false,
            reopened_at: None,
        };
        let live = Arc::clone(&entry.live);
        entry.heed(&live.record);
        entry
    }

    /// Takes over what was asked of the batch.
    pub(super) fn heed(&mut self, record: &BatchRecord) {
        self.paused = record.control.paused;
        if !self.paused {
            self.traffic.go_on();
        }
        self.reopened_at = record.control.reopened_at;
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// That it is paused is stored.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// The classes of what it may have to send, from the first to the last.
    fn classes(&self) -> RangeInclusive<usize> {
        let class = |number: u8| Urgency::from_u8(number).unwrap_or(Urgency::USUAL).class();
        let usual = Urgency::USUAL.as_u8();
        let (first, last) = self.live.record.facts.urgencies.unwrap_or((usual, usual));
        class(first)..=class(last)
    }

    fn urgency(&self, chunk: u32) -> Urgency {
        let of_batch = self.live.record.facts.urgencies.map(|(first, _)| first);
        let own = self.urgencies.get(chunk as usize).copied().or(of_batch);
        own.and_then(Urgency::from_u8).unwrap_or(Urgency::USUAL)
    }

    /// Takes over whether its tenant is suspended. Tasks that began before end at once; from then on the
    /// batch is looked at as a paused one.
    fn suspend(&mut self, suspended: bool, stopping: &CancellationToken) {
        if suspended && !self.suspended {
            self.halt.cancel();
        }
        self.suspended = suspended;
        if self.halt.is_cancelled() && self.active.is_empty() && !self.ordered {
            self.halt = stopping.child_token();
            self.next_due = None;
        }
    }

    /// True where a chunk may begin; of a paused batch, too: its rows run out of time meanwhile.
    fn may_start(&self) -> bool {
        !self.ordered && !self.halt.is_cancelled()
    }
}

/// A task that ended.
pub(super) enum Ended {
    Chunk(BatchId, u32, Result<ChunkRecord, DispatchError>),
    Opened(BatchId, Result<Opened, DispatchError>),
    /// With the batch as it is now; none where a stop came first.
    Order(BatchId, Result<Option<Box<BatchRecord>>, DispatchError>),
}

/// The station.
pub struct Dispatch {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) spool: Spool,
    pub(super) world: Arc<World>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) providers: Providers,
    pub(super) opening: Opening,
    pub(super) ground: Ground,
    lanes: Lanes,
    /// What tenants were told of their providers' troubles, and since when these last.
    pub(super) told: BTreeMap<(TenantId, String), Timestamp>,
    pub(super) batches: BTreeMap<BatchId, Entry>,
    /// Of these no row is open, but they cannot be closed yet.
    lingering: BTreeSet<BatchId>,
    /// Lanes of tenants that are suspended, or were a moment ago.
    suspended: BTreeSet<Lane>,
    /// Lanes with batches, the one served longest ago first; each with its batches likewise.
    pub(super) rota: VecDeque<(Lane, VecDeque<BatchId>)>,
    pub(super) tasks: JoinSet<Ended>,
    ended: Vec<Result<Ended, JoinError>>,
    /// The wall clock was compared with what is stored.
    pub(super) clock_compared: bool,
    nudge: Arc<Notify>,
    pub(super) outbox: Arc<Notify>,
    pub(super) stopping: CancellationToken,
}

impl std::fmt::Debug for Dispatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dispatch").field("batches", &self.batches.len()).finish_non_exhaustive()
    }
}

impl Dispatch {
    /// Builds the providers; touches no network. `nudge` wakes it, `outbox` is woken by it.
    pub fn new(
        settings: Settings,
        providers: Vec<ProviderSettings>,
        (store, spool): (Store, Spool),
        (world, metrics): (Arc<World>, Arc<Metrics>),
        nudge: Arc<Notify>,
        outbox: Arc<Notify>,
    ) -> Result<Dispatch, DispatchError> {
        let (mut built, lanes) = (BTreeMap::new(), Lanes::default());
        let ground = Ground {
            store: store.clone(),
            world: Arc::clone(&world),
            metrics: Arc::clone(&metrics),
            tenants: Arc::clone(&lanes.rates),
            nudge: Arc::clone(&nudge),
        };
        for provider in providers {
            let id = provider.id.clone();
            let channel = Channel::new(provider, Arc::clone(&world))
                .map_err(|source| DispatchError::Provider { provider: id.clone(), source })?;
            let paused = settings.paused.clone();
            built.insert(id, Arc::new(Provider::new(channel, paused, &ground)));
        }
        Ok(Dispatch {
            settings,
            store,
            spool,
            world,
            metrics,
            providers: Arc::new(built),
            opening: Opening::default(),
            ground,
            lanes,
            told: BTreeMap::new(),
            batches: BTreeMap::new(),
            lingering: BTreeSet::new(),
            suspended: BTreeSet::new(),
            rota: VecDeque::new(),
            tasks: JoinSet::new(),
            ended: Vec::new(),
            clock_compared: false,
            nudge,
            outbox,
            stopping: CancellationToken::new(),
        })
    }

    /// While there is none, nothing new is begun: what is under way ends.
    fn has_room(&self) -> bool {
        self.settings.disk.room(self.world.clock.instant()) != Room::None
    }

    pub(super) fn traffic(&mut self, lane: &Lane, batch: BatchId) -> Traffic {
        let route = self.settings.routes.of(&lane.0);
        let number = self.lanes.number(lane, route.as_deref(), self.now());
        let (weight, refusals_max) =
            route.map_or((1, 0), |route| (route.weight, route.pause_after_equal_refusals));
        let halts = Halts {
            tenant: lane.0.clone(),
            routes: self.settings.routes.clone(),
            store: self.store.clone(),
            // What was asked of it before it was opened is found in any case.
            seen: AtomicU64::new(u64::MAX),
        };
        Traffic::new((number, weight), batch, halts, refusals_max)
    }

    fn now(&self) -> std::time::Instant {
        self.world.clock.instant().into_std()
    }

    pub(super) fn count_open(&self) {
        for realm in Realm::ALL {
            let of_realm = self.rota.iter().filter(|((_, of), _)| *of == realm);
            let open: usize = of_realm.map(|(_, batches)| batches.len()).sum();
            self.metrics.batches_open.of([realm.yes_no()]).set(open as i64);
        }
    }

    /// Draws the consequences of chunk tasks that ended.
    async fn reap(&mut self) -> Result<bool, DispatchError> {
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended.push(ended);
        }
        let any = !self.ended.is_empty();
        for ended in std::mem::take(&mut self.ended) {
            let ended = ended.map_err(|_| DispatchError::TaskLost)?;
            let Some(ended) = self.spare(ended).await? else { continue };
            let (batch, chunk, after) = match ended {
                Ended::Chunk(batch, chunk, result) => (batch, chunk, result?),
                Ended::Opened(batch, result) => {
                    self.opened(batch, result).await?;
                    continue;
                }
                Ended::Order(batch, result) => {
                    let record = match result {
                        // It is still in the store, and followed when there is room.
                        Err(error) if error.is_for_room() => None,
                        result => result?,
                    };
                    self.resume_after_order(batch, record).await?;
                    continue;
                }
            };
            if let Some(entry) = self.batches.get_mut(&batch) {
                entry.active.remove(&chunk);
                entry.next_due = None;
            }
            if after.open == 0 {
                self.close_if_done(batch).await?;
            }
        }
        self.leave_aside();
        Ok(any)
    }

    /// Closes a batch of which no row is open.
    pub(super) async fn close_if_done(&mut self, batch: BatchId) -> Result<(), DispatchError> {
        let is_idle = |entry: &&Entry| entry.active.is_empty() && !entry.ordered;
        if self.batches.get(&batch).filter(is_idle).is_none() {
            return Ok(());
        }
        let (store, now) = (self.store.clone(), self.world.clock.now());
        let (closed, is_open) = blocking(move || {
            let closed = match store.close_batch(batch, now) {
                // It lingers until there is.
                Err(StoreError::Full) => return Ok((None, false)),
                closed => closed?,
            };
            Ok::<_, StoreError>((closed, !store.timers(batch, 1)?.is_empty()))
        })
        .await?;
        if closed.is_some() || is_open {
            self.lingering.remove(&batch);
        } else {
            self.lingering.insert(batch);
        }
        if let Some(record) = closed {
            tracing::info!(tenant = %record.tenant, %batch, file = record.name(), "batch done");
            self.forget(batch);
            self.outbox.notify_one();
        }
        Ok(())
    }

    /// Closes the files of a batch of which nothing is under way.
    pub(super) fn forget(&mut self, batch: BatchId) {
        self.batches.remove(&batch);
        self.lingering.remove(&batch);
        for (_, batches) in &mut self.rota {
            batches.retain(|b| *b != batch);
        }
        self.rota.retain(|(_, batches)| !batches.is_empty());
        self.count_open();
    }

    /// Begins what can be begun.
    async fn begin(&mut self) -> Result<bool, DispatchError> {
        self.heed_clock().await?;
        self.discover().await?;
        let paused = self.pause_stuck().await?;
        self.tell_of_troubles().await?;
        let heeded = self.heed().await?;
        self.heed_suspensions();
        for batch in self.lingering.clone() {
            self.close_if_done(batch).await?;
        }
        Ok(self.start_chunks()? || heeded || paused)
    }

    /// Starts chunks while there is room: one of each lane in turn, of each of its batches in turn.
    fn start_chunks(&mut self) -> Result<bool, DispatchError> {
        let mut started = false;
        let mut idle_turns = 0;
        let mut house = [0; Urgency::CLASSES];
        for entry in self.batches.values() {
            entry.active.values().for_each(|class| house[*class] += 1);
        }
        while idle_turns < self.rota.len() {
            let Some((lane, mut batches)) = self.rota.pop_front() else { break };
            let found = self.start_one(&lane, &mut batches, &mut house)?;
            self.rota.push_back((lane, batches));
            idle_turns = if found { 0 } else { idle_turns + 1 };
            started |= found;
        }
        Ok(started)
    }

    /// Sees which tenants are suspended, before anything of theirs begins.
    fn heed_suspensions(&mut self) {
        for (lane, batches) in &self.rota {
            let suspended = self.settings.routes.of(&lane.0).is_some_and(|route| route.suspended);
            if !suspended && !self.suspended.contains(lane) {
                continue;
            }
            let mut is_still = true;
            for batch in batches {
                if let Some(entry) = self.batches.get_mut(batch) {
                    entry.suspend(suspended, &self.stopping);
                    is_still &= !entry.halt.is_cancelled();
                }
            }
            match suspended || !is_still {
                true => self.suspended.insert(lane.clone()),
                false => self.suspended.remove(lane),
            };
        }
    }

    fn start_one(
        &mut self,
        lane: &Lane,
        batches: &mut VecDeque<BatchId>,
        house: &mut [usize; Urgency::CLASSES],
    ) -> Result<bool, DispatchError> {
        let Some(route) = self.settings.routes.of(&lane.0) else { return Ok(false) };
        let mut busy = Busy { house: *house, ..Busy::default() };
        for entry in batches.iter().filter_map(|batch| self.batches.get(batch)) {
            entry.active.values().for_each(|class| busy.lane[*class] += 1);
        }
        for _ in 0..batches.len() {
            let Some(batch) = batches.pop_front() else { break };
            batches.push_back(batch);
            let Some((number, class)) = self.due_chunk(batch, busy)? else { continue };
            // The tenant's rate may have been read anew.
            self.lanes.number(lane, Some(&route), self.now());
            let Some(entry) = self.batches.get_mut(&batch) else { continue };
            entry.active.insert(number, class);
            entry.next_due = None;
            house[class] += 1;
            entry.traffic.set_weight(route.weight);
            let task = ChunkTask {
                live: Arc::clone(&entry.live),
                traffic: Arc::clone(&entry.traffic),
                number,
                route,
                exits: entry.exits.clone(),
                store: self.store.clone(),
                world: Arc::clone(&self.world),
                metrics: Arc::clone(&self.metrics),
                window_rows: self.settings.window_rows,
                boot_id: self.settings.boot_id.clone(),
                disk: self.settings.disk.clone(),
                stopping: entry.halt.clone(),
                paused: entry.paused || entry.suspended,
                reopened_at: entry.reopened_at,
                nudge: Arc::clone(&self.nudge),
            };
            self.tasks.spawn(async move { Ended::Chunk(batch, number, caught(task.run()).await) });
            return Ok(true);
        }
        Ok(false)
    }

    /// The next idle chunk of a batch with its class, if it is due now and there is room for it: of those
    /// that are due the most urgent. Reads from the store's page cache.
    fn due_chunk(
        &mut self,
        batch: BatchId,
        mut busy: Busy,
    ) -> Result<Option<(u32, usize)>, DispatchError> {
        let now = self.world.clock.now();
        let Some(entry) = self.batches.get_mut(&batch) else { return Ok(None) };
        busy.batch = entry.active.len();
        let has_room = |class| SLOTS.admit(class, &busy);
        if !entry.may_start()
            || !entry.classes().any(has_room)
            || entry.next_due.is_some_and(|due| due > now)
        {
            return Ok(None);
        }
        let looked_at = if entry.urgencies.is_empty() { 1 } else { CHUNKS_COMPARED };
        let timers = self.store.timers(batch, entry.active.len() + looked_at)?;
        let mut idle = timers.into_iter().filter(|(_, number)| !entry.active.contains_key(number));
        let Some(first) = idle.next() else {
            entry.next_due = Some(Timestamp::MAX);
            return Ok(None);
        };
        entry.next_due = Some(first.0);
        let due = [first].into_iter().chain(idle).take_while(|(due, _)| *due <= now);
        let next = due
            .map(|(_, number)| (entry.urgency(number), number))
            .filter(|(urgency, _)| has_room(urgency.class()))
            .min_by_key(|(urgency, _)| *urgency);
        Ok(next.map(|(urgency, number)| (number, urgency.class())))
    }
}

#[async_trait]
impl Worker for Dispatch {
    fn name(&self) -> &'static str {
        "dispatch"
    }

    async fn work(&mut self) -> Result<Progress, Box<dyn Error + Send + Sync>> {
        let reaped = self.reap().await?;
        if !self.has_room() {
            return Ok(if reaped { Progress::Busy } else { Progress::Idle });
        }
        let begun = match self.begin().await {
            Err(error) if error.is_for_room() => false,
            begun => begun?,
        };
        Ok(if reaped || begun { Progress::Busy } else { Progress::Idle })
    }

    async fn wait_for_work(&mut self) {
        let clock = &self.world.clock;
        let next = self
            .batches
            .values()
            .filter(|e| e.may_start() && e.active.len() < SLOTS.per_batch)
            .filter_map(|e| e.next_due)
            .min();
        let rest = if self.lingering.is_empty() { REST } else { LINGER };
        let wake = match next {
            Some(due) => clock.instant() + clock.until(due).clamp(MOMENT, rest),
            None => clock.instant() + rest,
        };
        let wake = match self.has_room() {
            true => wake,
            false => clock.instant() + LINGER,
        };
        tokio::select! {
            Some(ended) = self.tasks.join_next() => self.ended.push(ended),
            () = self.nudge.notified() => {}
            () = tokio::time::sleep_until(wake) => {}
        }
    }

    /// Begins no new attempt; those under way may end until `deadline`, then they are left to recovery.
    async fn stop(&mut self, deadline: Instant) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.stopping.cancel();
        while !self.tasks.is_empty() {
            match tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
                Ok(Some(ended)) => self.ended.push(ended),
                Ok(None) => break,
                Err(_) => {
                    tracing::warn!(chunks = self.tasks.len(), "attempts under way are cut off");
                    self.tasks.shutdown().await;
                    break;
                }
            }
        }
        self.reap().await?;
        Ok(())
    }
}

/// Due chunks of one batch that are compared to find the most urgent.
const CHUNKS_COMPARED: usize = 1024;
/// Wake-ups are at least this far apart: what is due and cannot start, because its tenant is at
/// a limit, must not keep a processor busy.
const MOMENT: Duration = Duration::from_millis(50);
/// How soon a batch is looked at again that cannot be closed yet.
const LINGER: Duration = Duration::from_secs(1);
/// Without anything due the station looks up this often all the same: the wall clock may jump.
const REST: Duration = Duration::from_secs(30);

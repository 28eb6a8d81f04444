//! The station's loop: which chunk next, fairly over tenants and their batches.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chunk::ChunkTask;
use super::error::DispatchError;
use super::exits::{Exits, Providers};
use super::live::LiveBatch;
use super::opening::{Opened, Opening};
use super::provider::Provider;
use super::settings::Settings;
use crate::channel::{Channel, ProviderSettings};
use crate::disk::Room;
use crate::model::{BatchId, Lane, Realm};
use crate::spool::Spool;
use crate::store::{BatchRecord, ChunkRecord, Store, StoreError};
use crate::telemetry::Metrics;
use crate::worker::{Progress, Worker, blocking};
use crate::world::World;

/// A batch with open rows.
pub(super) struct Entry {
    pub(super) live: Arc<LiveBatch>,
    exits: Exits,
    /// Chunks that have a task.
    pub(super) active: BTreeSet<u32>,
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
    pub(super) fn new(live: Arc<LiveBatch>, exits: Exits, halt: CancellationToken) -> Entry {
        let mut entry = Entry {
            live,
            exits,
            active: BTreeSet::new(),
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
        self.reopened_at = record.control.reopened_at;
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
    pub(super) batches: BTreeMap<BatchId, Entry>,
    /// Of these no row is open, but they cannot be closed yet.
    lingering: BTreeSet<BatchId>,
    /// Lanes of tenants that are suspended, or were a moment ago.
    suspended: BTreeSet<Lane>,
    /// Lanes with batches, the one served longest ago first; each with its batches likewise.
    pub(super) rota: VecDeque<(Lane, VecDeque<BatchId>)>,
    pub(super) tasks: JoinSet<Ended>,
    ended: Vec<Result<Ended, JoinError>>,
    nudge: Arc<Notify>,
    outbox: Arc<Notify>,
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
        let mut built = BTreeMap::new();
        for provider in providers {
            let id = provider.id.clone();
            let channel = Channel::new(provider, Arc::clone(&world))
                .map_err(|source| DispatchError::Provider { provider: id.clone(), source })?;
            let paused = settings.paused.clone();
            built.insert(id, Arc::new(Provider::new(channel, paused, Arc::clone(&world))));
        }
        Ok(Dispatch {
            settings,
            store,
            spool,
            world,
            metrics,
            providers: Arc::new(built),
            opening: Opening::default(),
            batches: BTreeMap::new(),
            lingering: BTreeSet::new(),
            suspended: BTreeSet::new(),
            rota: VecDeque::new(),
            tasks: JoinSet::new(),
            ended: Vec::new(),
            nudge,
            outbox,
            stopping: CancellationToken::new(),
        })
    }

    /// While there is none, nothing new is begun: what is under way ends.
    fn has_room(&self) -> bool {
        self.settings.disk.room(self.world.clock.instant()) != Room::None
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
            let (batch, chunk, after) = match ended.map_err(|_| DispatchError::TaskLost)? {
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
            self.batches.remove(&batch);
            for (_, batches) in &mut self.rota {
                batches.retain(|b| *b != batch);
            }
            self.rota.retain(|(_, batches)| !batches.is_empty());
            self.count_open();
            self.outbox.notify_one();
        }
        Ok(())
    }

    /// Begins what can be begun.
    async fn begin(&mut self) -> Result<bool, DispatchError> {
        self.discover().await?;
        let heeded = self.heed().await?;
        self.heed_suspensions();
        for batch in self.lingering.clone() {
            self.close_if_done(batch).await?;
        }
        Ok(self.start_chunks()? || heeded)
    }

    /// Starts chunks while there is room: one of each lane in turn, of each of its batches in turn.
    fn start_chunks(&mut self) -> Result<bool, DispatchError> {
        let mut started = false;
        let mut idle_turns = 0;
        while self.tasks.len() < self.settings.chunks_at_once && idle_turns < self.rota.len() {
            let Some((lane, mut batches)) = self.rota.pop_front() else { break };
            let found = self.start_one(&lane, &mut batches)?;
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
        (tenant, _): &Lane,
        batches: &mut VecDeque<BatchId>,
    ) -> Result<bool, DispatchError> {
        let busy: usize =
            batches.iter().filter_map(|b| self.batches.get(b)).map(|e| e.active.len()).sum();
        let Some(route) = self.settings.routes.of(tenant) else { return Ok(false) };
        if busy >= self.settings.chunks_per_tenant {
            return Ok(false);
        }
        for _ in 0..batches.len() {
            let Some(batch) = batches.pop_front() else { break };
            batches.push_back(batch);
            let Some(number) = self.due_chunk(batch)? else { continue };
            let Some(entry) = self.batches.get_mut(&batch) else { continue };
            entry.active.insert(number);
            entry.next_due = None;
            let task = ChunkTask {
                live: Arc::clone(&entry.live),
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
            };
            self.tasks.spawn(async move { Ended::Chunk(batch, number, task.run().await) });
            return Ok(true);
        }
        Ok(false)
    }

    /// The next idle chunk of a batch, if it is due now. Reads from the store's page cache.
    fn due_chunk(&mut self, batch: BatchId) -> Result<Option<u32>, DispatchError> {
        let now = self.world.clock.now();
        let Some(entry) = self.batches.get_mut(&batch) else { return Ok(None) };
        if !entry.may_start()
            || entry.active.len() >= self.settings.chunks_per_batch
            || entry.next_due.is_some_and(|due| due > now)
        {
            return Ok(None);
        }
        let timers = self.store.timers(batch, entry.active.len() + 1)?;
        let next = timers.into_iter().find(|(_, number)| !entry.active.contains(number));
        entry.next_due = Some(next.map_or(Timestamp::MAX, |(due, _)| due));
        Ok(next.filter(|(due, _)| *due <= now).map(|(_, number)| number))
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
            .filter(|e| e.may_start() && e.active.len() < self.settings.chunks_per_batch)
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

/// Wake-ups are at least this far apart: what is due and cannot start, because its tenant is at
/// a limit, must not keep a processor busy.
const MOMENT: Duration = Duration::from_millis(50);
/// How soon a batch is looked at again that cannot be closed yet.
const LINGER: Duration = Duration::from_secs(1);
/// Without anything due the station looks up this often all the same: the wall clock may jump.
const REST: Duration = Duration::from_secs(30);

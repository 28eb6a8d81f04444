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

use super::entry::{Active, Entry, Open, Order};
use super::error::DispatchError;
use super::exits::Providers;
use super::lanes::Lanes;
use super::opening::{FILES_PER_BATCH, Idle, Opened};
use super::order::Followed;
use super::provider::{Ground, Provider};
use super::rota::Rota;
use super::settings::Settings;
use super::slots::Slots;
use super::traffic::Traffic;
use crate::channel::{Channel, ProviderSettings};
use crate::disk::Room;
use crate::model::{BatchId, Lane, Realm, TenantId, Urgency};
use crate::spool::Spool;
use crate::store::{ChunkRecord, Store, StoreError};
use crate::telemetry::Metrics;
use crate::worker::{Progress, Worker, blocking};
use crate::world::World;

/// A task that ended.
pub(super) enum Ended {
    Chunk(BatchId, u32, Result<ChunkRecord, DispatchError>),
    /// None where it is over.
    Opened(BatchId, Result<Option<Opened>, DispatchError>),
    /// None where a stop came first.
    Order(BatchId, Result<Option<Followed>, DispatchError>),
}

/// The station.
pub struct Dispatch {
    pub(super) settings: Settings,
    pub(super) store: Store,
    pub(super) spool: Spool,
    pub(super) world: Arc<World>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) providers: Providers,
    pub(super) ground: Ground,
    pub(super) lanes: Lanes,
    /// What tenants were told of their providers' troubles, and since when these last.
    pub(super) told: BTreeMap<(TenantId, String), Timestamp>,
    /// Every batch that runs.
    pub(super) batches: BTreeMap<BatchId, Entry>,
    /// Lanes that have batches, and how many.
    pub(super) lanes_known: BTreeMap<Lane, usize>,
    /// Whose turn it is.
    pub(super) rota: Rota,
    pub(super) slots: Slots,
    /// Batches whose files are open.
    pub(super) open: BTreeSet<BatchId>,
    pub(super) idle: Idle,
    /// Batches that are being opened, by class.
    pub(super) openings: [usize; Urgency::CLASSES],
    /// Batches of which something was ordered and nothing is under way, in the order of their turns.
    pub(super) orders: VecDeque<BatchId>,
    /// The same where they only are to look again at what their rows wait for.
    pub(super) looks: VecDeque<BatchId>,
    /// Orders that are being followed.
    pub(super) following: usize,
    /// Of these no row is open, but they cannot be closed yet.
    pub(super) lingering: BTreeSet<BatchId>,
    /// Cannot be worked on; with when that is tried again.
    pub(super) aside: BTreeMap<BatchId, Instant>,
    pub(super) tasks: JoinSet<Ended>,
    ended: Vec<Result<Ended, JoinError>>,
    pub(super) nudge: Arc<Notify>,
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
        let slots = Slots::within(settings.files_max / 2, FILES_PER_BATCH);
        Ok(Dispatch {
            settings,
            store,
            spool,
            world,
            metrics,
            providers: Arc::new(built),
            ground,
            lanes,
            told: BTreeMap::new(),
            batches: BTreeMap::new(),
            lanes_known: BTreeMap::new(),
            rota: Rota::default(),
            slots,
            open: BTreeSet::new(),
            idle: Idle::default(),
            openings: [0; Urgency::CLASSES],
            orders: VecDeque::new(),
            looks: VecDeque::new(),
            following: 0,
            lingering: BTreeSet::new(),
            aside: BTreeMap::new(),
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

    pub(super) fn traffic(&mut self, lane: &Lane, batch: BatchId) -> Traffic {
        let route = self.settings.routes.of(&lane.0);
        let number = self.lanes.number(lane, route.as_deref(), self.now());
        let (weight, refusals_max) =
            route.map_or((1, 0), |route| (route.weight, route.pause_after_equal_refusals));
        Traffic::new((number, weight), batch.as_u64(), refusals_max)
    }

    pub(super) fn now(&self) -> std::time::Instant {
        self.world.clock.instant().into_std()
    }

    /// The batches whose files are open.
    pub(super) fn open(&self) -> impl Iterator<Item = (BatchId, &Open)> {
        self.open.iter().filter_map(|batch| Some((*batch, self.batches.get(batch)?.open()?)))
    }

    pub(super) fn open_mut(&mut self, batch: BatchId) -> Option<&mut Open> {
        self.batches.get_mut(&batch)?.open_mut()
    }

    pub(super) fn count_open(&self) {
        for realm in Realm::ALL {
            let of_realm = self.lanes_known.iter().filter(|((_, of), _)| *of == realm);
            let open: usize = of_realm.map(|(_, batches)| batches).sum();
            self.metrics.batches_open.of([realm.yes_no()]).set(open as i64);
        }
    }

    /// Draws the consequences of tasks that ended.
    async fn reap(&mut self) -> Result<bool, DispatchError> {
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended.push(ended);
        }
        let any = !self.ended.is_empty();
        for ended in std::mem::take(&mut self.ended) {
            let ended = ended.map_err(|_| DispatchError::TaskLost)?;
            match self.spare(ended).await? {
                None => {}
                Some(Ended::Chunk(batch, chunk, result)) => {
                    self.chunk_ended(batch, chunk, &result?).await?;
                }
                Some(Ended::Opened(batch, result)) => self.opened(batch, result).await?,
                Some(Ended::Order(batch, result)) => {
                    self.resume_after_order(batch, result?).await?;
                }
            }
        }
        Ok(any)
    }

    async fn chunk_ended(
        &mut self,
        batch: BatchId,
        number: u32,
        after: &ChunkRecord,
    ) -> Result<(), DispatchError> {
        self.leave_chunk(batch, number);
        if let Some(open) = self.open_mut(batch) {
            let live = Arc::clone(&open.live);
            open.timers.put(&live.record, after);
        }
        self.seat(batch);
        match after.open {
            0 => self.close_if_done(batch).await,
            _ => Ok(()),
        }
    }

    /// A chunk has no task any more.
    pub(super) fn leave_chunk(&mut self, batch: BatchId, number: u32) {
        let Some(entry) = self.batches.get_mut(&batch) else { return };
        let active = entry.open_mut().and_then(|open| open.active.remove(&number));
        if let Some(Active { class, seat: Some(seat), .. }) = active {
            self.slots.give_back(&entry.lane, class, seat);
        }
    }

    /// Closes a batch of which no row is open.
    pub(super) async fn close_if_done(&mut self, batch: BatchId) -> Result<(), DispatchError> {
        let may_be_done = |entry: &&Entry| {
            let has_none = entry.open().is_none_or(|open| open.timers.is_empty());
            has_none && entry.is_idle() && entry.order == Order::None
        };
        if self.batches.get(&batch).filter(may_be_done).is_none() {
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

    /// Begins what can be begun.
    async fn begin(&mut self) -> Result<bool, DispatchError> {
        self.discover().await?;
        self.try_aside().await?;
        let paused = self.pause_stuck().await?;
        self.tell_of_troubles().await?;
        let followed = self.follow_orders();
        self.heed_suspensions();
        for batch in self.lingering.clone() {
            self.close_if_done(batch).await?;
        }
        self.free_tired();
        self.ring();
        let started = self.start_chunks();
        self.close_idle();
        Ok(started || followed || paused)
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
        let (clock, next) = (&self.world.clock, self.rota.next_alarm());
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

/// Wake-ups by alarms are at least this far apart.
const MOMENT: Duration = Duration::from_millis(50);
/// How soon a batch is looked at again that cannot be closed yet, or opened for lack of room.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// Without anything due the station looks up this often all the same: the wall clock may jump.
const REST: Duration = Duration::from_secs(30);

//! The station's loop: the next publication, done; between them the progress files.

use std::collections::HashSet;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::OutboxError;
use super::progress::{PROGRESS_EVERY, ProgressFiles};
use super::publication::OpenBatch;
use super::settings::Settings;
use super::streams::publish_streams;
use crate::batch::Publication;
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState, TenantId};
use crate::spool::Spool;
use crate::store::{BatchRecord, Ordered, Store, StoreError};
use crate::telemetry::Metrics;
use crate::worker::{self, Worker};
use crate::world::World;

/// Publications looked at first; more only while those in front are held up.
const LOOK: usize = 16;

/// Answers without which a file is answered all the same: they are read out of the partner's own bytes.
const DISPENSABLE: [Publication; 2] = [Publication::Errors, Publication::Rejected];

/// The answers of one name keep their order: when one fails, those behind it wait too.
type AnswerName = (TenantId, String);

/// Publishes answers, one at a time, in the order of the store.
pub struct Publisher {
    press: Press,
    world: Arc<World>,
    /// Rung when publications were ordered.
    nudge: Arc<Notify>,
    progress: ProgressFiles,
    /// Names whose last publication failed; tried again at the next tick.
    held_up: Arc<HashSet<AnswerName>>,
    next_tick: Instant,
}

impl Publisher {
    pub fn new(
        store: Store,
        spool: Spool,
        settings: Settings,
        (world, metrics): (Arc<World>, Arc<Metrics>),
        nudge: Arc<Notify>,
    ) -> Publisher {
        let next_tick = world.clock.instant();
        let press = Press { store, spool, settings, metrics, world: Arc::clone(&world) };
        let (progress, held_up) = (ProgressFiles::default(), Arc::default());
        Publisher { press, world, nudge, progress, held_up, next_tick }
    }

    async fn tick(&mut self) -> Result<(), OutboxError> {
        let (press, now) = (self.press.clone(), self.world.clock.now());
        let mut progress = std::mem::take(&mut self.progress);
        let (progress, result) = worker::blocking(move || {
            let result = progress
                .tick(&press.store, &press.spool, &press.settings, now)
                .and_then(|()| press.streams(now));
            (progress, result)
        })
        .await;
        self.progress = progress;
        result
    }
}

#[async_trait]
impl Worker for Publisher {
    fn name(&self) -> &'static str {
        "outbox"
    }

    async fn work(&mut self) -> Result<worker::Progress, Box<dyn Error + Send + Sync>> {
        let now = self.world.clock.instant();
        if now >= self.next_tick {
            self.held_up = Arc::default();
            match self.tick().await {
                Err(error) if !error.is_fatal() => {
                    let error = &error as &dyn Error;
                    tracing::error!(error, "answers delayed, tried again later");
                }
                result => result?,
            }
            // Counted from its end: however long a look at open batches takes, answers have their turn.
            self.next_tick = self.world.clock.instant() + PROGRESS_EVERY;
        }
        let (press, held_up) = (self.press.clone(), Arc::clone(&self.held_up));
        match worker::blocking(move || press.next(&held_up)).await? {
            Step::Nothing => Ok(worker::Progress::Idle),
            Step::Done => Ok(worker::Progress::Busy),
            Step::HeldUp(name) => {
                Arc::make_mut(&mut self.held_up).insert(name);
                Ok(worker::Progress::Busy)
            }
        }
    }

    /// What is settled is answered before the end, as far as the time allows.
    async fn stop(&mut self, deadline: Instant) -> Result<(), Box<dyn Error + Send + Sync>> {
        while self.world.clock.instant() < deadline {
            if self.work().await? == worker::Progress::Idle {
                break;
            }
        }
        Ok(())
    }

    async fn wait_for_work(&mut self) {
        tokio::select! {
            () = self.nudge.notified() => {}
            () = tokio::time::sleep_until(self.next_tick) => {}
        }
    }
}

/// What one look at the store's orders led to.
enum Step {
    Nothing,
    Done,
    HeldUp(AnswerName),
}

/// Everything one publication needs; cheap to clone.
#[derive(Clone)]
struct Press {
    store: Store,
    spool: Spool,
    settings: Settings,
    metrics: Arc<Metrics>,
    world: Arc<World>,
}

impl Press {
    /// Does the first publication that is not held up.
    fn next(&self, held_up: &HashSet<AnswerName>) -> Result<Step, OutboxError> {
        let Some((record, publication)) = self.find(held_up)? else { return Ok(Step::Nothing) };
        // Before what it says is looked up: an order that comes meanwhile is another one.
        let Some(ordered) = self.store.ordered(record.id, publication)? else {
            return Ok(Step::Done);
        };
        let (record, name) = (self.record(record.id)?, name_of(&record));
        // What a power cut may take back is told to nobody.
        self.store.settled(record.id)?;
        let (tenant, batch) = (record.tenant.clone(), record.id);
        let answer = publication.as_str();
        match self.perform(record, publication, &ordered) {
            Ok(()) => Ok(Step::Done),
            Err(error) if error.is_fatal() => Err(error),
            // The ACK behind them is worth more than lines that cannot be written.
            Err(error) if error.is_lasting() && DISPENSABLE.contains(&publication) => {
                let error = &error as &dyn Error;
                tracing::error!(%tenant, %batch, answer, error,
                    "answer cannot be written; the file is answered without it");
                match self.store.published(&ordered) {
                    Err(StoreError::Full) => Ok(Step::HeldUp(name)),
                    result => Ok(result.map(|()| Step::Done)?),
                }
            }
            Err(error) => {
                let error = &error as &dyn Error;
                tracing::error!(%tenant, %batch, answer, error, "answer delayed, tried again later");
                Ok(Step::HeldUp(name))
            }
        }
    }

    fn perform(
        &self,
        record: BatchRecord,
        publication: Publication,
        ordered: &Ordered,
    ) -> Result<(), OutboxError> {
        let batch = OpenBatch::open(&self.store, &self.spool, &self.settings, record)?;
        let is_put = catch_unwind(AssertUnwindSafe(|| {
            self.world.mishaps.may_happen(publication.as_str());
            batch.perform(publication)
        }))
        .unwrap_or(Err(OutboxError::Panicked))?;
        self.store.published(ordered)?;
        if is_put {
            self.metrics.answers_published.of([publication.as_str()]).inc();
        }
        if publication == Publication::Ack {
            let record = &batch.record;
            let (tenant, file) = (&record.tenant, record.name());
            let state = record.facts.state.map_or("", FileState::as_str);
            let code = record.facts.code.map_or("", ReasonCode::as_str);
            self.metrics.files_answered.of([state, record.realm().yes_no()]).inc();
            let test = record.realm().is_test().then_some(true);
            tracing::info!(%tenant, batch = %record.id, file, state, code, test, "file answered");
        }
        Ok(())
    }

    /// Puts the files of streams that are due into the outboxes.
    fn streams(&self, now: Timestamp) -> Result<(), OutboxError> {
        for stream in publish_streams(&self.store, &self.settings, now)? {
            self.metrics.answers_published.of([stream.as_str()]).inc();
        }
        Ok(())
    }

    fn find(
        &self,
        held_up: &HashSet<AnswerName>,
    ) -> Result<Option<(BatchRecord, Publication)>, OutboxError> {
        let mut limit = LOOK;
        loop {
            let page = self.store.publications(limit)?;
            for (batch, publication) in &page {
                let record = self.record(*batch)?;
                if !held_up.contains(&name_of(&record)) {
                    return Ok(Some((record, *publication)));
                }
            }
            if page.len() < limit {
                return Ok(None);
            }
            limit *= 4;
        }
    }

    /// Orders and batches are written in one commit: one without the other is a broken store.
    fn record(&self, batch: BatchId) -> Result<BatchRecord, OutboxError> {
        Ok(self.store.batch(batch)?.ok_or(StoreError::Damaged { space: "publications" })?)
    }
}

fn name_of(record: &BatchRecord) -> AnswerName {
    (record.tenant.clone(), format!("{}/{}", record.answer_folder(), record.name()))
}

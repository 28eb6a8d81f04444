//! The station's loop: look, claim, read, conclude.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::IntakeError;
use super::claim::input_version;
use super::concluding::Desk;
use super::identify::identify;
use super::ready::{Doorbell, Readiness, Sightings};
use super::settings::{Settings, TenantSettings};
use super::watch::InboxWatch;
use crate::batch::{BatchEvent, BatchState};
use crate::codes::ReasonCode;
use crate::files::{EntryKind, RelPath, Root, is_temporary_name};
use crate::model::{BatchId, FileState, FileVersion, Kind, TenantId};
use crate::spool::Spool;
use crate::store::{Acceptance, BatchRecord, Facts, Store};
use crate::telemetry::Metrics;
use crate::worker::{Progress, Worker, blocking};
use crate::world::World;

/// How long a file that cannot be taken through rests before the next try.
const REST: Duration = Duration::from_secs(5);

/// Whom intake wakes when a batch was concluded.
#[derive(Debug, Clone, Default)]
pub struct Nudges {
    pub dispatch: Arc<Notify>,
    pub outbox: Arc<Notify>,
}

/// One file that was read to its end, or could not be.
struct Done {
    tenant: TenantId,
    batch: BatchRecord,
    result: Result<BatchRecord, IntakeError>,
    /// How much nearer a failure brought the file to being given up.
    strikes: u32,
}

/// Names that cannot be answered are remembered so far, to be said once.
const UNANSWERABLE_MAX: usize = 1000;

/// A file is answered `file.internal` after so many strikes: two panics, or a minute in which its
/// bytes could not be read.
const STRIKES_MAX: u32 = 12;

/// The station.
pub struct Intake {
    settings: Settings,
    desk: Desk,
    world: Arc<World>,
    metrics: Arc<Metrics>,
    doorbell: Arc<Doorbell>,
    nudges: Nudges,
    watch: InboxWatch,
    sightings: Sightings,
    /// Tenants whose inbox is to be looked through, and when.
    looks: BTreeMap<(Timestamp, TenantId), ()>,
    /// Claimed and not yet read, in the order of their claims.
    waiting: VecDeque<(Timestamp, BatchRecord)>,
    /// Tenants of which a file is being read: one at a time, so that "same again" is well defined.
    busy: HashSet<TenantId>,
    reading: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Of files that failed and are tried again.
    strikes: HashMap<BatchId, u32>,
    /// Files whose names cannot be answered; each is said once.
    unanswerable: HashSet<(TenantId, String)>,
    finished: Vec<Done>,
    recovered: bool,
    next_rescan: Instant,
}

impl std::fmt::Debug for Intake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Intake").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Intake {
    /// With `watch` false only the doorbell and rescans find files: for paused time.
    pub fn new(
        settings: Settings,
        (store, spool): (Store, Spool),
        (world, metrics): (Arc<World>, Arc<Metrics>),
        doorbell: Arc<Doorbell>,
        nudges: Nudges,
        watch: bool,
    ) -> Intake {
        let tenants = settings.data_dir.join("tenants");
        let watch = if watch {
            InboxWatch::start(&tenants, Arc::clone(&doorbell))
        } else {
            InboxWatch::none()
        };
        let next_rescan = world.clock.instant();
        Intake {
            settings,
            desk: Desk { store, spool },
            world,
            metrics,
            doorbell,
            nudges,
            watch,
            sightings: Sightings::default(),
            looks: BTreeMap::new(),
            waiting: VecDeque::new(),
            busy: HashSet::new(),
            reading: FuturesUnordered::new(),
            strikes: HashMap::new(),
            unanswerable: HashSet::new(),
            finished: Vec::new(),
            recovered: false,
            next_rescan,
        }
    }

    /// Batches that were claimed when the process ended are read from their beginning.
    async fn recover(&mut self) -> Result<(), IntakeError> {
        let desk = self.desk.clone();
        let claimed = blocking(move || -> Result<Vec<BatchRecord>, IntakeError> {
            let mut kept = Vec::new();
            for record in desk.store.batches_in(&[BatchState::Claimed])? {
                if desk.resume_claim(&record)? {
                    kept.push(record);
                }
            }
            Ok(kept)
        })
        .await?;
        let now = self.world.clock.now();
        self.waiting.extend(claimed.into_iter().map(|record| (now, record)));
        self.recovered = true;
        Ok(())
    }

    fn note_signs(&mut self) {
        let now = self.world.clock.now();
        while let Ok(seen) = self.watch.signs.try_recv() {
            self.sightings.sign(&seen.tenant, &seen.path, seen.sign, now);
        }
        for tenant in self.doorbell.take() {
            self.looks.insert((now, tenant), ());
        }
        if self.world.clock.instant() >= self.next_rescan {
            for tenant in self.settings.tenants.all().keys() {
                self.looks.insert((now, tenant.clone()), ());
            }
            self.watch.add_all();
            self.next_rescan = self.world.clock.instant() + self.settings.rescan;
        }
    }

    /// Looks through the inboxes that are due and claims at most one file of each idle tenant.
    async fn look(&mut self) -> Result<bool, IntakeError> {
        let now = self.world.clock.now();
        let mut due = HashSet::new();
        while let Some(entry) = self.looks.first_entry()
            && entry.key().0 <= now
        {
            due.insert(entry.remove_entry().0.1);
        }
        let mut claimed = false;
        for id in due {
            let waiting = self.waiting.iter().any(|(_, record)| record.tenant == id);
            // A busy tenant is looked at again when its file is done.
            let Some(tenant) = self.settings.tenants.of(&id).filter(|_| !waiting) else { continue };
            if self.busy.contains(&id) {
                continue;
            }
            match self.look_at(&tenant, now).await {
                Ok(found) => claimed |= found,
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    tracing::error!(tenant = %id, error = &error as &dyn Error, "inbox cannot be read");
                    self.look_again(&id, now + REST);
                }
            }
        }
        Ok(claimed)
    }

    fn look_again(&mut self, tenant: &TenantId, at: Timestamp) {
        self.looks.insert((at, tenant.clone()), ());
    }

    async fn look_at(
        &mut self,
        tenant: &TenantSettings,
        now: Timestamp,
    ) -> Result<bool, IntakeError> {
        let candidates = self.candidates(tenant, now).await?;
        let Some((path, version, ready)) = candidates.into_iter().next() else { return Ok(false) };
        if ready.ready_at > now {
            self.look_again(&tenant.id, ready.ready_at);
            return Ok(false);
        }
        let record = BatchRecord {
            id: BatchId::new(now, self.world.dice.next_u64()),
            tenant: tenant.id.clone(),
            path,
            state: BatchState::Claimed,
            account: ready.account,
            proof: Some(ready.proof),
            received_at: ready.received_at,
            claimed_at: now,
            validated_at: None,
            closed_at: None,
            facts: Facts::default(),
            chunks: 0,
        };
        let (desk, tree) = (self.desk.clone(), self.tree(&tenant.id));
        let claimed = blocking(move || {
            let path = record.path.clone();
            let tree = Root::open(&tree).map_err(|source| IntakeError::Claim { path, source })?;
            desk.claim(&tree, record, version)
        })
        .await?;
        let Some(record) = claimed else {
            self.look_again(&tenant.id, now);
            return Ok(true);
        };
        tracing::info!(tenant = %tenant.id, batch = %record.id, file = record.name(), "file claimed");
        self.metrics.files_claimed.inc();
        self.waiting.push_back((now, record));
        self.nudges.outbox.notify_one();
        Ok(true)
    }

    fn tree(&self, tenant: &TenantId) -> PathBuf {
        self.settings.data_dir.join("tenants").join(tenant.as_str())
    }

    /// The files that are or will be ready, the next first.
    async fn candidates(
        &mut self,
        tenant: &TenantSettings,
        now: Timestamp,
    ) -> Result<Vec<(String, FileVersion, Readiness)>, IntakeError> {
        let (tree, store, id) = (self.tree(&tenant.id), self.desk.store.clone(), tenant.id.clone());
        let (files, unanswerable) = blocking(move || -> Result<_, IntakeError> {
            let failed = |source| IntakeError::Inbox { tenant: id.to_string(), source };
            let found = inbox_files(&Root::open(&tree).map_err(failed)?).map_err(failed)?;
            let mut files = Vec::new();
            for (path, version) in found.files {
                let evidence = store.upload(&id, &path)?;
                files.push((path, version, evidence));
            }
            Ok((files, found.unanswerable))
        })
        .await?;
        if self.unanswerable.len() > UNANSWERABLE_MAX {
            self.unanswerable.clear();
        }
        for path in unanswerable {
            if self.unanswerable.insert((tenant.id.clone(), path.clone())) {
                tracing::warn!(tenant = %tenant.id, path = ?path,
                    "file in an inbox has a name that cannot be answered; it is never taken");
            }
        }
        let paths: HashSet<String> = files.iter().map(|(path, ..)| path.clone()).collect();
        self.sightings.keep_only(&tenant.id, &paths);
        let mut candidates = Vec::new();
        for (path, version, evidence) in files {
            let name = path.rsplit('/').next().unwrap_or(&path);
            if tenant.temporary.iter().any(|pattern| pattern.is_match(name)) {
                continue;
            }
            let profile = identify(tenant, &path).map_or(&tenant.plain, |i| i.profile);
            let file = (&tenant.id, path.as_str(), version);
            if let Some(ready) = self.sightings.readiness(file, evidence.as_ref(), profile, now) {
                candidates.push((path, version, ready));
            }
        }
        candidates.sort_by(|a, b| (a.2.ready_at, &a.0).cmp(&(b.2.ready_at, &b.0)));
        Ok(candidates)
    }

    /// Starts reading what waits, as far as there is room.
    fn start_reading(&mut self) -> bool {
        let now = self.world.clock.now();
        let mut started = false;
        while self.reading.len() < self.settings.files_at_once {
            let next = self
                .waiting
                .iter()
                .position(|(at, record)| *at <= now && !self.busy.contains(&record.tenant));
            let Some((_, record)) = next.and_then(|at| self.waiting.remove(at)) else { break };
            let Some(tenant) = self.settings.tenants.of(&record.tenant) else {
                // A tenant that left the configuration: its batch waits until it is back.
                self.waiting.push_back((now + Duration::from_secs(60), record));
                continue;
            };
            self.busy.insert(record.tenant.clone());
            let given_up = self.strikes.get(&record.id).is_some_and(|s| *s >= STRIKES_MAX);
            self.reading.push(Box::pin(read(self.desk.clone(), tenant, record, now, given_up)));
            started = true;
        }
        started
    }

    fn settle(&mut self, done: Done) -> Result<(), IntakeError> {
        let now = self.world.clock.now();
        self.busy.remove(&done.tenant);
        self.look_again(&done.tenant, now);
        let batch = done.batch.id;
        match done.result {
            Ok(record) => {
                self.strikes.remove(&batch);
                self.count(&record);
                self.nudges.outbox.notify_one();
                self.nudges.dispatch.notify_one();
            }
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                *self.strikes.entry(batch).or_default() += done.strikes;
                tracing::error!(tenant = %done.tenant, %batch, error = &error as &dyn Error,
                    "file cannot be taken through; it is tried again");
                self.waiting.push_back((now + REST, done.batch));
            }
        }
        Ok(())
    }

    fn count(&self, record: &BatchRecord) {
        let facts = &record.facts;
        let state = facts.state.map_or("", FileState::as_str);
        tracing::info!(tenant = %record.tenant, batch = %record.id, file = record.name(), state,
            code = facts.code.map_or("", ReasonCode::as_str), rows = facts.rows_total,
            accepted = facts.rows_accepted, rejected = facts.rows_rejected,
            duplicate = facts.rows_duplicate, "file judged");
        if let Some(code) = facts.code.filter(|code| code.is_limit()) {
            self.metrics.limit_hits.of([code.as_str()]).inc();
        }
        self.metrics.rows.of(["accepted"]).inc_by(facts.rows_accepted);
        self.metrics.rows.of(["rejected"]).inc_by(facts.rows_rejected);
        self.metrics.rows.of(["duplicate"]).inc_by(facts.rows_duplicate);
    }
}

/// What lies in an inbox and its kind folders.
#[derive(Debug, Default)]
struct InboxFiles {
    files: Vec<(String, FileVersion)>,
    /// Paths that cannot be answered: not UTF-8, too long, or with control characters.
    unanswerable: Vec<String>,
}

fn inbox_files(tree: &Root) -> std::io::Result<InboxFiles> {
    let mut folders = vec!["inbox".to_owned()];
    folders.extend(Kind::ALL.iter().map(|kind| format!("inbox/{kind}")));
    let mut found = InboxFiles::default();
    for folder in folders {
        let entries = match tree.entries(&RelPath::of(&folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            if entry.kind != EntryKind::File || is_temporary_name(&entry.name) {
                continue;
            }
            match std::str::from_utf8(&entry.name) {
                Ok(name) if name.len() <= 200 && !name.chars().any(char::is_control) => {
                    found.files.push((format!("{folder}/{name}"), entry.version));
                }
                _ => {
                    let name = String::from_utf8_lossy(&entry.name);
                    found.unanswerable.push(format!("{folder}/{name}"));
                }
            }
        }
    }
    Ok(found)
}

/// Reads one claimed file, or answers one that was given up.
async fn read(
    desk: Desk,
    tenant: Arc<TenantSettings>,
    record: BatchRecord,
    now: Timestamp,
    given_up: bool,
) -> Done {
    let (id, batch) = (tenant.id.clone(), record.clone());
    let result = blocking(move || {
        if given_up {
            return desk.refuse_internal(record);
        }
        catch_unwind(AssertUnwindSafe(|| desk.read_unchanged(&tenant, record, now)))
            .unwrap_or(Err(IntakeError::Panicked))
    })
    .await;
    let strikes = match &result {
        Err(IntakeError::Panicked) => STRIKES_MAX / 2,
        Err(IntakeError::Input { .. }) => 1,
        _ => 0,
    };
    Done { tenant: id, batch, result, strikes }
}

impl Desk {
    /// Concludes the file if nobody wrote into it meanwhile.
    pub(super) fn read_unchanged(
        &self,
        tenant: &TenantSettings,
        record: BatchRecord,
        now: Timestamp,
    ) -> Result<BatchRecord, IntakeError> {
        let folder = self.spool.batch(record.id);
        let before = input_version(&folder.input())?;
        self.conclude(tenant, record, now, &|| Ok(input_version(&folder.input())? == before))
    }

    /// Answers a file that this program cannot read without falling over.
    fn refuse_internal(&self, mut record: BatchRecord) -> Result<BatchRecord, IntakeError> {
        let code = ReasonCode::FileInternal;
        record.facts = Facts {
            state: Some(FileState::Rejected),
            code: Some(code),
            message: code.meaning().to_owned(),
            ..Facts::default()
        };
        record.validated_at = Some(record.claimed_at);
        self.store.clear_chunks(record.id)?;
        Ok(self.store.conclude(record, BatchEvent::FileRefused, &Acceptance::default())?)
    }
}

#[async_trait]
impl Worker for Intake {
    fn name(&self) -> &'static str {
        "intake"
    }

    async fn work(&mut self) -> Result<Progress, Box<dyn Error + Send + Sync>> {
        if !self.recovered {
            self.recover().await?;
        }
        for done in std::mem::take(&mut self.finished) {
            self.settle(done)?;
        }
        self.note_signs();
        let claimed = self.look().await?;
        let started = self.start_reading();
        Ok(if claimed || started { Progress::Busy } else { Progress::Idle })
    }

    async fn wait_for_work(&mut self) {
        let clock = &self.world.clock;
        let mut wake = self.next_rescan;
        if let Some(((at, _), ())) = self.looks.first_key_value() {
            wake = wake.min(clock.instant() + clock.until(*at));
        }
        if let Some(at) = self.waiting.iter().map(|(at, _)| *at).min()
            && self.reading.len() < self.settings.files_at_once
        {
            // At least a moment away: what could start now has been started.
            wake = wake.min(clock.instant() + clock.until(at).max(Duration::from_millis(5)));
        }
        tokio::select! {
            Some(done) = self.reading.next() => self.finished.push(done),
            () = self.doorbell.rung() => {}
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

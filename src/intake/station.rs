//! The station's loop: look, claim, read, conclude.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::error::Error;
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
use super::attempt::{Done, Reading};
use super::concluding::Desk;
use super::expected::Settled;
use super::inbox::{Inbox, profile_of};
use super::marker::{acts_on_others, is_marker, let_markers_wait};
use super::pairs::{Group, pair_up};
use super::ready::{Doorbell, Readiness, Sightings};
use super::retries::Retries;
use super::settings::{MinProof, ProfileSettings, Settings, TenantSettings};
use super::watch::InboxWatch;
use crate::batch::BatchState;
use crate::codes::ReasonCode;
use crate::files::Root;
use crate::model::{BatchId, FileState, Kind, TenantId};
use crate::spool::Spool;
use crate::store::{BatchRecord, ControlRecord, Facts, Store};
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

/// A tenant and whether there is more to tidy.
type Tidied = (TenantId, Result<bool, IntakeError>);

/// The station.
pub struct Intake {
    settings: Settings,
    pub(super) desk: Desk,
    world: Arc<World>,
    metrics: Arc<Metrics>,
    doorbell: Arc<Doorbell>,
    nudges: Nudges,
    watch: InboxWatch,
    pub(super) sightings: Sightings,
    /// Tenants whose inbox is to be looked through, and when.
    looks: BTreeMap<(Timestamp, TenantId), ()>,
    /// Claimed and not yet read, in the order of their claims.
    waiting: VecDeque<(Timestamp, BatchRecord)>,
    /// Tenants of which a file is being read: one at a time, so that "same again" is well defined.
    busy: HashSet<TenantId>,
    reading: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Of files that failed and are tried again.
    retries: Retries,
    /// What is being read is read alone.
    alone: bool,
    /// Expected files of which nothing is left to say today.
    settled: Settled,
    finished: Vec<Done>,
    /// Tenants whose memory of row ids may have become too scattered.
    untidy: BTreeSet<TenantId>,
    /// One tenant at a time, beside all else.
    tidying: FuturesUnordered<BoxFuture<'static, Tidied>>,
    /// The held files are to be looked through.
    look_at_holds: bool,
    /// A released file waits until another one of its tenant is read.
    released_waits: bool,
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
            retries: Retries::default(),
            alone: false,
            settled: Settled::new(),
            finished: Vec::new(),
            untidy: BTreeSet::new(),
            tidying: FuturesUnordered::new(),
            look_at_holds: true,
            released_waits: false,
            recovered: false,
            next_rescan,
        }
    }

    /// Batches that were claimed when the process ended are read from their beginning.
    async fn recover(&mut self) -> Result<(), IntakeError> {
        let (desk, tenants) = (self.desk.clone(), self.settings.data_dir.join("tenants"));
        let unread = blocking(move || -> Result<Vec<BatchRecord>, IntakeError> {
            desk.sweep_row_ids()?;
            let mut kept = Vec::new();
            for record in desk.store.batches_in(&[BatchState::Claimed, BatchState::Released])? {
                if record.state == BatchState::Released
                    || desk.resume_claim(&tenants.join(record.tenant.as_str()), &record)?
                {
                    kept.push(record);
                }
            }
            Ok(kept)
        })
        .await?;
        let now = self.world.clock.now();
        unread.iter().for_each(|record| self.retries.suspect(record.id));
        // Released ones are found with the held.
        let claimed = unread.into_iter().filter(|record| record.state == BatchState::Claimed);
        self.waiting.extend(claimed.map(|record| (now, record)));
        self.untidy.extend(self.settings.tenants.all().keys().cloned());
        self.recovered = true;
        Ok(())
    }

    /// Takes up signs and rings; true where it is time to look through everything.
    fn note_signs(&mut self) -> bool {
        let now = self.world.clock.now();
        while let Ok(seen) = self.watch.signs.try_recv() {
            self.sightings.sign(&seen.tenant, &seen.path, seen.sign, now);
        }
        for tenant in self.doorbell.take() {
            // It rings for released files, too.
            self.look_at_holds = true;
            self.looks.insert((now, tenant), ());
        }
        let rescan = self.world.clock.instant() >= self.next_rescan;
        if rescan {
            for tenant in self.settings.tenants.all().keys() {
                self.looks.insert((now, tenant.clone()), ());
            }
            self.watch.add_all();
            self.look_at_holds = true;
            self.next_rescan = self.world.clock.instant() + self.settings.rescan;
        }
        rescan
    }

    /// Takes up released files and ends waits that are over.
    async fn take_up_holds(&mut self) -> Result<(), IntakeError> {
        if !std::mem::take(&mut self.look_at_holds) {
            return Ok(());
        }
        let (desk, tenants) = (self.desk.clone(), self.settings.tenants.clone());
        let now = self.world.clock.now();
        let seen = blocking(move || desk.look_at_holds(&tenants, now)).await?;
        for record in seen.refused {
            self.tell_of_hold(&record, "held file refused");
            self.nudges.outbox.notify_one();
        }
        for record in seen.released {
            let waits = self.waiting.iter().any(|(_, waiting)| waiting.id == record.id);
            if self.busy.contains(&record.tenant) {
                // It may be the one that is being read.
                self.released_waits = true;
            } else if !waits {
                self.tell_of_hold(&record, "held file goes on");
                self.waiting.push_back((now, record));
            }
        }
        Ok(())
    }

    fn tell_of_hold(&self, record: &BatchRecord, what: &str) {
        let by = record.hold.as_ref().map_or("", |hold| &hold.ended_by);
        tracing::info!(tenant = %record.tenant, batch = %record.id, file = record.name(), by, "{what}");
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
        tenant: &Arc<TenantSettings>,
        now: Timestamp,
    ) -> Result<bool, IntakeError> {
        if self.claim_cut(tenant, now).await? {
            return Ok(true);
        }
        let Some((group, ready)) = self.next_file(tenant, now).await? else { return Ok(false) };
        if ready.ready_at > now {
            self.look_again(&tenant.id, ready.ready_at);
            return Ok(false);
        }
        if self.is_half_an_archive(tenant, &group.file, &ready).await? {
            self.look_again(&tenant.id, now);
            return Ok(true);
        }
        let (code, message) = ready.given_up.map_or((None, String::new()), |(c, m)| (Some(c), m));
        let state = code.map(|_| FileState::Rejected);
        let record = BatchRecord {
            account: ready.account,
            proof: ready.proof,
            // A verdict that is known before the file is read.
            facts: Facts { state, code, message, ..Facts::default() },
            ..self.new_batch(tenant, group.file.path, ready.received_at, now)
        };
        let (desk, tree) = (self.desk.clone(), self.tree(&tenant.id));
        let (version, sidecars) = (group.file.version, group.sidecars);
        let claimed = blocking(move || {
            let path = record.path.clone();
            let tree = Root::open(&tree).map_err(|source| IntakeError::Claim { path, source })?;
            desk.claim(&tree, record, version, &sidecars)
        })
        .await?;
        let Some(record) = claimed else {
            self.look_again(&tenant.id, now);
            return Ok(true);
        };
        self.claimed(record, now);
        Ok(true)
    }

    fn new_batch(
        &self,
        tenant: &TenantSettings,
        path: String,
        received_at: Timestamp,
        now: Timestamp,
    ) -> BatchRecord {
        BatchRecord {
            id: BatchId::new(now, self.world.dice.next_u64()),
            tenant: tenant.id.clone(),
            path,
            state: BatchState::Claimed,
            account: String::new(),
            proof: None,
            received_at,
            claimed_at: now,
            validated_at: None,
            closed_at: None,
            facts: Facts::default(),
            chunks: 0,
            hold: None,
            control: ControlRecord::default(),
        }
    }

    fn claimed(&mut self, record: BatchRecord, now: Timestamp) {
        let (tenant, batch) = (&record.tenant, record.id);
        tracing::info!(%tenant, %batch, file = record.name(), "file claimed");
        self.metrics.files_claimed.inc();
        self.waiting.push_back((now, record));
        self.nudges.outbox.notify_one();
    }

    /// Takes an upload that was cut and that nobody continued.
    async fn claim_cut(
        &mut self,
        tenant: &TenantSettings,
        now: Timestamp,
    ) -> Result<bool, IntakeError> {
        let (desk, id) = (self.desk.clone(), tenant.id.clone());
        let uploads = blocking(move || desk.store.cut_uploads(&id)).await?;
        let Some(cut) = uploads.into_iter().next() else { return Ok(false) };
        let message = format!("the upload was cut after {} bytes and not continued", cut.bytes);
        let (state, code) = (Some(FileState::Held), Some(ReasonCode::FileIncomplete));
        let record = BatchRecord {
            account: cut.account.clone(),
            facts: Facts { state, code, message, ..Facts::default() },
            ..self.new_batch(tenant, cut.path.clone(), cut.since, now)
        };
        let (desk, data_dir) = (self.desk.clone(), self.settings.data_dir.clone());
        let claimed = blocking(move || desk.claim_cut(&data_dir, record, &cut)).await?;
        match claimed {
            Some(record) => self.claimed(record, now),
            None => self.look_again(&tenant.id, now),
        }
        Ok(true)
    }

    pub(super) fn tree(&self, tenant: &TenantId) -> PathBuf {
        self.settings.data_dir.join("tenants").join(tenant.as_str())
    }

    /// The file that is, or will be, ready first. Sidecars that came late are settled on the way.
    async fn next_file(
        &mut self,
        tenant: &Arc<TenantSettings>,
        now: Timestamp,
    ) -> Result<Option<(Group, Readiness)>, IntakeError> {
        let (tree, desk, owner) = (self.tree(&tenant.id), self.desk.clone(), Arc::clone(tenant));
        let inbox = blocking(move || -> Result<Inbox, IntakeError> {
            let failed = |source| IntakeError::Inbox { tenant: owner.id.to_string(), source };
            let inbox = Inbox::look(&Root::open(&tree).map_err(failed)?, &desk.store, &owner)?;
            for (path, version) in &inbox.unanswerable {
                desk.note_unanswerable(&owner.id, path, *version, now)?;
            }
            Ok(inbox)
        })
        .await?;
        let paths: HashSet<String> = inbox.files.iter().map(|file| file.path.clone()).collect();
        self.sightings.keep_only(&tenant.id, &paths);
        let paired = pair_up(tenant, inbox.files);
        let mut files = Vec::new();
        // An empty file is whole however its end was seen.
        let marker =
            ProfileSettings { min_proof: MinProof::Weak, only_proof: None, ..tenant.plain.clone() };
        for group in paired.groups {
            let profile = match is_marker(&group.file) {
                true => &marker,
                false => profile_of(tenant, &group.file.path),
            };
            let ready = self.sightings.readiness(&tenant.id, &group, profile, now);
            files.push((group, ready));
        }
        let mut late = Vec::new();
        for sidecar in paired.orphans {
            let profile = profile_of(tenant, &sidecar.base);
            let (whole_at, given_up) = self.sightings.orphan(&tenant.id, &sidecar, profile, now);
            if whole_at <= now && given_up.ready_at > now {
                late.push((sidecar.clone(), given_up.received_at));
            }
            let ready_at = if whole_at > now { whole_at } else { given_up.ready_at };
            let group = Group { file: sidecar.file, sidecars: Vec::new() };
            files.push((group, Readiness { ready_at, ..given_up }));
        }
        for path in self.settle_late(tenant, late, now).await? {
            files.retain(|(group, _)| group.file.path != path);
        }
        let_markers_wait(&mut files);
        Ok(files.into_iter().min_by_key(|(group, ready)| {
            (ready.ready_at, acts_on_others(tenant, &group.file.path), group.file.path.clone())
        }))
    }

    /// Says which expected files did not come.
    async fn miss_expected(&mut self) -> Result<(), IntakeError> {
        let (desk, tenants) = (self.desk.clone(), self.settings.tenants.all());
        let (now, mut settled) = (self.world.clock.now(), std::mem::take(&mut self.settled));
        let (settled, result) = blocking(move || {
            let said = |tenant| desk.miss_expected(tenant, now, &mut settled);
            let result = tenants.values().map(Arc::as_ref).try_for_each(said);
            (settled, result)
        })
        .await;
        self.settled = settled;
        result
    }

    /// Starts reading what waits, as far as there is room.
    fn start_reading(&mut self) -> bool {
        let now = self.world.clock.now();
        let mut started = false;
        while self.reading.len() < self.settings.files_at_once {
            let Some(record) = self.next_to_read(now) else { break };
            let Some(tenant) = self.settings.tenants.of(&record.tenant) else {
                // A tenant that left the configuration: its batch waits until it is back.
                self.waiting.push_back((now + Duration::from_secs(60), record));
                continue;
            };
            self.alone = self.retries.is_read_alone(&record);
            self.busy.insert(record.tenant.clone());
            let how = self.retries.begin(&record);
            let (desk, world) = (self.desk.clone(), Arc::clone(&self.world));
            let reading = Reading { desk, tenant, world, record, now };
            self.reading.push(Box::pin(reading.run(how)));
            started = true;
        }
        started
    }

    /// The file that waits longest; one that is read alone comes first, once nothing else is read.
    fn next_to_read(&mut self, now: Timestamp) -> Option<BatchRecord> {
        let is_free = |(at, record): &(Timestamp, BatchRecord)| {
            *at <= now && !self.busy.contains(&record.tenant)
        };
        let mut files = self.waiting.iter();
        let alone = files.position(|file| is_free(file) && self.retries.is_read_alone(&file.1));
        if (alone.is_some() || self.alone) && !self.reading.is_empty() {
            return None;
        }
        let at = alone.or_else(|| self.waiting.iter().position(is_free))?;
        Some(self.waiting.remove(at)?.1)
    }

    fn settle(&mut self, done: Done) -> Result<(), IntakeError> {
        let now = self.world.clock.now();
        self.busy.remove(&done.tenant);
        self.look_again(&done.tenant, now);
        self.look_at_holds |= std::mem::take(&mut self.released_waits);
        let batch = done.batch.id;
        match done.result {
            Ok(record) => {
                // It may be the number that a held file waits for.
                self.look_at_holds |= record.facts.next_seq.is_some();
                self.retries.done(batch);
                self.count(&record);
                self.untidy.insert(done.tenant);
                if record.facts.kind == Some(Kind::Control) {
                    // A held file that was let go on is read again.
                    self.doorbell.ring(&record.tenant);
                }
                self.nudges.outbox.notify_one();
                self.nudges.dispatch.notify_one();
            }
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                self.retries.failed(&done.batch, &error);
                tracing::error!(tenant = %done.tenant, %batch, error = &error as &dyn Error,
                    "file cannot be taken through; it is tried again");
                self.waiting.push_back((now + REST, done.batch));
            }
        }
        Ok(())
    }

    /// Starts on the next tenant whose memory of row ids is to be tidied.
    fn start_tidying(&mut self) {
        if !self.tidying.is_empty() {
            return;
        }
        let Some(id) = self.untidy.pop_first() else { return };
        let Some(tenant) = self.settings.tenants.of(&id) else { return };
        let (desk, now) = (self.desk.clone(), self.world.clock.now());
        self.tidying.push(Box::pin(async move {
            let window = tenant.row_id_window;
            let tidied = blocking(move || desk.tidy_row_ids(&tenant.id, now, window)).await;
            (id, tidied)
        }));
    }

    fn tidied(&mut self, (tenant, result): Tidied) {
        match result {
            Ok(true) => {
                self.untidy.insert(tenant);
            }
            Ok(false) => {}
            // Nothing depends on it now; what is wrong with the store the next file will say.
            Err(error) => {
                tracing::warn!(%tenant, error = &error as &dyn Error, "row ids are not merged");
            }
        }
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
        // Of a held file the rows are counted when it goes on.
        if record.state == BatchState::Held {
            return;
        }
        self.metrics.rows.of(["accepted"]).inc_by(facts.rows_accepted);
        self.metrics.rows.of(["rejected"]).inc_by(facts.rows_rejected);
        self.metrics.rows.of(["duplicate"]).inc_by(facts.rows_duplicate);
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
        if self.note_signs() {
            self.miss_expected().await?;
        }
        self.take_up_holds().await?;
        let claimed = self.look().await?;
        let started = self.start_reading();
        self.start_tidying();
        Ok(if claimed || started { Progress::Busy } else { Progress::Idle })
    }

    async fn stop(&mut self, _deadline: Instant) -> Result<(), Box<dyn Error + Send + Sync>> {
        let (desk, cut) = (self.desk.clone(), self.retries.cut());
        let take_back = move || {
            cut.into_iter()
                .try_for_each(|(batch, tries)| desk.store.set_tries(batch, tries).map(|_| ()))
        };
        Ok(blocking(take_back).await?)
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
            Some(tidied) = self.tidying.next() => self.tidied(tidied),
            () = self.doorbell.rung() => {}
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

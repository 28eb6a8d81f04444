//! The station's loop: look, claim, read, conclude.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
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
use super::doorbell::Doorbell;
use super::expected::SettledDays;
use super::half::Checked;
use super::inbox::{Inbox, profile_of};
use super::late::Orphan;
use super::marker::{acts_on_others, is_marker, let_markers_wait};
use super::pairs::{Group, kind_of, pair_up};
use super::ready::{Readiness, Sightings};
use super::recovery::Claims;
use super::retries::{Retries, WAIT_MAX};
use super::settings::{MinProof, ProfileSettings, Settings, TenantSettings};
use super::watch::InboxWatch;
use crate::batch::BatchState;
use crate::codes::ReasonCode;
use crate::disk::Room;
use crate::files::Root;
use crate::model::{BatchId, FileState, Kind, Lane, Realm, TenantId};
use crate::spool::Spool;
use crate::store::{BatchRecord, ControlRecord, Facts, Store};
use crate::telemetry::Metrics;
use crate::worker::{Progress, Worker, blocking};
use crate::world::World;

/// How long a file that cannot be taken through rests before the next try.
pub(super) const REST: Duration = Duration::from_secs(5);
/// How long intake waits for room on the disk before it looks again.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// How long a released file waits before its first answers are looked for again.
pub(super) const UNANSWERED: Duration = Duration::from_secs(1);

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
    pub(super) settings: Settings,
    pub(super) desk: Desk,
    pub(super) world: Arc<World>,
    metrics: Arc<Metrics>,
    doorbell: Arc<Doorbell>,
    pub(super) nudges: Nudges,
    watch: InboxWatch,
    pub(super) sightings: Sightings,
    /// Inboxes that are to be looked through, and when.
    looks: BTreeMap<(Timestamp, Lane), ()>,
    /// Claimed and not yet read, in the order of their claims.
    pub(super) waiting: VecDeque<(Timestamp, BatchRecord)>,
    /// Inboxes of which a file is being read: one at a time, so that "same again" is well defined.
    pub(super) busy: HashSet<Lane>,
    pub(super) reading: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Where the files stood that are being read.
    pub(super) being_read: HashMap<BatchId, (TenantId, String)>,
    /// Archives that are looked through before they are claimed: the tenant is busy meanwhile.
    pub(super) checking: FuturesUnordered<BoxFuture<'static, Checked>>,
    /// Of files that failed and are tried again.
    pub(super) retries: Retries,
    /// Expected files of which nothing is left to say today.
    pub(super) settled: SettledDays,
    finished: Vec<Done>,
    /// Tenants whose memory of row ids may have become too scattered.
    pub(super) untidy: BTreeSet<TenantId>,
    /// One tenant at a time, beside all else.
    tidying: FuturesUnordered<BoxFuture<'static, Tidied>>,
    /// The held files are to be looked through.
    pub(super) look_at_holds: bool,
    /// When again, since a released file waits for its first answers.
    pub(super) holds_due: Timestamp,
    /// A released file waits until another one of its tenant is read.
    pub(super) released_waits: bool,
    /// Whether claims are to be sought that nobody goes on with.
    pub(super) claims: Claims,
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
            being_read: HashMap::new(),
            checking: FuturesUnordered::new(),
            retries: Retries::default(),
            settled: SettledDays::new(),
            finished: Vec::new(),
            untidy: BTreeSet::new(),
            tidying: FuturesUnordered::new(),
            look_at_holds: true,
            holds_due: Timestamp::MAX,
            released_waits: false,
            claims: Claims::OfBefore,
            next_rescan,
        }
    }

    /// One unit of work.
    async fn go_on(&mut self) -> Result<Progress, IntakeError> {
        self.seek_claims().await?;
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

    /// Takes up signs and rings; true where it is time to look through everything.
    fn note_signs(&mut self) -> bool {
        let now = self.world.clock.now();
        self.look_at_holds |= self.doorbell.take_released() || self.holds_due <= now;
        let rung = self.doorbell.take();
        // After the rings: a sign is there before its ring, and a look that misses it waits for `quiet`.
        while let Ok(seen) = self.watch.signs.try_recv() {
            self.sightings.sign(&seen.tenant, &seen.path, seen.sign, now);
        }
        for lane in rung {
            self.look_again(&lane, now);
        }
        let rescan = self.world.clock.instant() >= self.next_rescan;
        if rescan {
            for tenant in self.settings.tenants.all().keys() {
                self.look_at_both(tenant, now);
            }
            self.watch.add_all();
            self.look_at_holds = true;
            self.next_rescan = self.world.clock.instant() + self.settings.rescan;
        }
        rescan
    }

    /// Looks through the inboxes that are due and claims at most one file of each idle one.
    async fn look(&mut self) -> Result<bool, IntakeError> {
        if self.room() < Room::Plenty {
            return Ok(false);
        }
        let now = self.world.clock.now();
        let mut due = HashSet::new();
        while let Some(entry) = self.looks.first_entry()
            && entry.key().0 <= now
        {
            due.insert(entry.remove_entry().0.1);
        }
        let mut claimed = false;
        for lane in due {
            let waiting = self.waiting.iter().any(|(_, record)| record.inbox_lane() == lane);
            // A busy inbox is looked at again when its file is done.
            let tenant = self.settings.tenants.of(&lane.0).filter(|_| !waiting);
            let Some(tenant) = tenant.filter(|_| !self.busy.contains(&lane)) else { continue };
            match self.look_at(&tenant, &lane, now).await {
                Ok(found) => claimed |= found,
                Err(error) if error.is_fatal() => return Err(error),
                Err(error) => {
                    if !matches!(error, IntakeError::Inbox { .. }) {
                        self.claims = Claims::Failed { again: self.world.clock.instant() + REST };
                    }
                    let error = &error as &dyn Error;
                    tracing::error!(tenant = %lane.0, error, "inbox cannot be read");
                    self.look_again(&lane, now + REST);
                }
            }
        }
        Ok(claimed)
    }

    fn room(&self) -> Room {
        self.settings.disk.room(self.world.clock.instant())
    }

    fn look_at_both(&mut self, tenant: &TenantId, at: Timestamp) {
        for realm in Realm::ALL {
            self.looks.insert((at, (tenant.clone(), realm)), ());
        }
    }

    pub(super) fn look_again(&mut self, lane: &Lane, at: Timestamp) {
        self.looks.insert((at, lane.clone()), ());
    }

    async fn look_at(
        &mut self,
        tenant: &Arc<TenantSettings>,
        lane: &Lane,
        now: Timestamp,
    ) -> Result<bool, IntakeError> {
        if self.claim_cut(tenant, lane, now).await? {
            return Ok(true);
        }
        let next = self.next_file(tenant, lane, now).await?;
        let Some((group, ready)) = next else { return Ok(false) };
        if ready.ready_at > now {
            self.look_again(lane, ready.ready_at);
            return Ok(false);
        }
        if self.is_unchecked(tenant, &group.file, &ready) {
            if self.checking.len() < self.settings.files_at_once {
                self.busy.insert(lane.clone());
                self.check_archive(tenant, lane, group.file);
            } else {
                self.look_again(lane, now + REST);
            }
            return Ok(false);
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
            self.look_again(lane, now);
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
        let test = record.realm().is_test().then_some(true);
        tracing::info!(%tenant, %batch, file = record.name(), test, "file claimed");
        self.metrics.files_claimed.inc();
        self.waiting.push_back((now, record));
        self.nudges.outbox.notify_one();
    }

    /// Takes an upload that was cut and that nobody continued.
    async fn claim_cut(
        &mut self,
        tenant: &TenantSettings,
        lane: &Lane,
        now: Timestamp,
    ) -> Result<bool, IntakeError> {
        let (desk, id) = (self.desk.clone(), tenant.id.clone());
        let uploads = blocking(move || desk.store.cut_uploads(&id)).await?;
        let mut uploads = uploads.into_iter().filter(|cut| Realm::of_path(&cut.path) == lane.1);
        let Some(cut) = uploads.next() else { return Ok(false) };
        let (desk, data_dir) = (self.desk.clone(), self.settings.data_dir.clone());
        let name = cut.path.rsplit('/').next().unwrap_or(&cut.path);
        if kind_of(tenant, name, cut.bytes).is_some() {
            // Half a sidecar says nothing, and sidecars get no answer; the notice told of it.
            blocking(move || desk.drop_cut(&data_dir, &cut)).await?;
            self.look_again(lane, now);
            return Ok(true);
        }
        let message = format!("the upload was cut after {} bytes and not continued", cut.bytes);
        let (state, code) = (Some(FileState::Held), Some(ReasonCode::FileIncomplete));
        let record = BatchRecord {
            account: cut.account.clone(),
            facts: Facts { state, code, message, ..Facts::default() },
            ..self.new_batch(tenant, cut.path.clone(), cut.since, now)
        };
        let claimed = blocking(move || desk.claim_cut(&data_dir, record, &cut)).await?;
        match claimed {
            Some(record) => self.claimed(record, now),
            None => self.look_again(lane, now),
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
        lane: &Lane,
        now: Timestamp,
    ) -> Result<Option<(Group, Readiness)>, IntakeError> {
        let (tree, desk, owner) = (self.tree(&tenant.id), self.desk.clone(), Arc::clone(tenant));
        let (realm, known) = (lane.1, self.sightings.trailers.remove(lane).unwrap_or_default());
        let inbox = blocking(move || -> Result<Inbox, IntakeError> {
            let failed = |source| IntakeError::Inbox { tenant: owner.id.to_string(), source };
            let tree = Root::open(&tree).map_err(failed)?;
            let inbox = Inbox::look(&tree, &desk.store, &owner, realm, &known)?;
            for (path, version) in &inbox.unanswerable {
                desk.note_unanswerable(&owner.id, path, *version, now)?;
            }
            Ok(inbox)
        })
        .await?;
        let paths: HashSet<String> = inbox.files.iter().map(|file| file.path.clone()).collect();
        self.sightings.keep_only(lane, &paths);
        self.sightings.trailers.insert(lane.clone(), inbox.trailers);
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
            if whole_at <= now {
                late.push(Orphan {
                    sidecar: sidecar.clone(),
                    arrived: given_up.received_at,
                    is_over: given_up.ready_at <= now,
                    not_of: self.sightings.held_against(&tenant.id, &sidecar.file),
                });
            }
            let ready_at = if whole_at > now { whole_at } else { given_up.ready_at };
            let group = Group { file: sidecar.file, sidecars: Vec::new() };
            files.push((group, Readiness { ready_at, ..given_up }));
        }
        for path in self.settle_orphans(tenant, late, now).await? {
            files.retain(|(group, _)| group.file.path != path);
        }
        let_markers_wait(&mut files);
        Ok(files.into_iter().min_by_key(|(group, ready)| {
            (ready.ready_at, acts_on_others(tenant, &group.file.path), group.file.path.clone())
        }))
    }

    /// Starts reading what waits, as far as there is room.
    fn start_reading(&mut self) -> bool {
        if self.room() == Room::None {
            return false;
        }
        let now = self.world.clock.now();
        let mut started = false;
        while self.reading.len() < self.settings.files_at_once {
            let Some(record) = self.next_to_read(now) else { break };
            let Some(tenant) = self.settings.tenants.of(&record.tenant) else {
                // A tenant that left the configuration: its batch waits until it is back.
                self.waiting.push_back((now + WAIT_MAX, record));
                continue;
            };
            self.busy.insert(record.inbox_lane());
            self.being_read.insert(record.id, (record.tenant.clone(), record.path.clone()));
            let how = self.retries.begin(&record);
            let (desk, world) = (self.desk.clone(), Arc::clone(&self.world));
            let reading = Reading { desk, tenant, world, record, now };
            self.reading.push(Box::pin(reading.run(how)));
            started = true;
        }
        started
    }

    fn settle(&mut self, done: Done) -> Result<(), IntakeError> {
        let now = self.world.clock.now();
        self.busy.remove(&done.lane);
        self.look_again(&done.lane, now);
        self.look_at_holds |= std::mem::take(&mut self.released_waits);
        let batch = done.batch.id;
        self.being_read.remove(&batch);
        match done.result {
            Ok(record) => {
                // It may be the number that a held file waits for.
                self.look_at_holds |= record.facts.next_seq.is_some();
                self.retries.done(batch);
                self.count(&record);
                self.untidy.insert(done.lane.0);
                if record.facts.kind == Some(Kind::Control) {
                    // It may have let a held file go on.
                    self.look_at_holds = true;
                }
                self.nudges.outbox.notify_one();
                self.nudges.dispatch.notify_one();
            }
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                self.retries.failed(&done.batch, &error);
                tracing::error!(tenant = %done.lane.0, %batch, error = &error as &dyn Error,
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
            duplicate = facts.rows_duplicate, test = record.realm().is_test().then_some(true),
            "file judged");
        if let Some(code) = facts.code.filter(|code| code.is_limit()) {
            self.metrics.limit_hits.of([code.as_str()]).inc();
        }
        // Of a held file the rows are counted when it goes on.
        if record.state == BatchState::Held {
            return;
        }
        let test = record.realm().yes_no();
        self.metrics.rows.of(["accepted", test]).inc_by(facts.rows_accepted);
        self.metrics.rows.of(["rejected", test]).inc_by(facts.rows_rejected);
        self.metrics.rows.of(["duplicate", test]).inc_by(facts.rows_duplicate);
    }
}

#[async_trait]
impl Worker for Intake {
    fn name(&self) -> &'static str {
        "intake"
    }

    async fn work(&mut self) -> Result<Progress, Box<dyn Error + Send + Sync>> {
        match self.go_on().await {
            Err(error) if error.is_for_room() => {
                tracing::error!(error = &error as &dyn Error, "intake waits for room");
                self.look_at_holds = true;
                self.next_rescan = self.world.clock.instant() + REST;
                Ok(Progress::Idle)
            }
            result => Ok(result?),
        }
    }

    async fn stop(&mut self, _deadline: Instant) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.take_back_tries().await?)
    }

    async fn wait_for_work(&mut self) {
        let clock = &self.world.clock;
        let mut wake = self.next_rescan;
        if let Claims::Failed { again } = self.claims {
            wake = wake.min(again);
        }
        if self.holds_due < Timestamp::MAX {
            wake = wake.min(clock.instant() + clock.until(self.holds_due));
        }
        if let Some(((at, _), ())) = self.looks.first_key_value() {
            wake = wake.min(clock.instant() + clock.until(*at));
        }
        if let Some(at) = self.waiting.iter().map(|(at, _)| *at).min()
            && self.reading.len() < self.settings.files_at_once
        {
            // At least a moment away: what could start now has been started.
            wake = wake.min(clock.instant() + clock.until(at).max(Duration::from_millis(5)));
        }
        if self.room() < Room::Plenty {
            // What is due now may not begin.
            wake = wake.max(clock.instant() + ROOM_WAIT);
        }
        tokio::select! {
            Some(done) = self.reading.next() => self.finished.push(done),
            Some(checked) = self.checking.next() => self.checked(checked),
            Some(tidied) = self.tidying.next() => self.tidied(tidied),
            () = self.doorbell.rung() => {}
            () = tokio::time::sleep_until(wake) => {}
        }
    }
}

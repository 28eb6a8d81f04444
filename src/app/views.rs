//! What admin and the command line may see.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::commands::Controls;
use super::gone::Left;
use super::halts::Halting;
use super::unknown::Unknowns;
use super::{bans, sessions};
use crate::admin::{BatchQuery, Views};
use crate::batch::BatchState;
use crate::codes::ReasonCode;
use crate::disk::{Disk, Room};
use crate::dispatch::ProviderViews;
use crate::files::{Entry, EntryKind, RelPath, Root};
use crate::model::{BatchId, FileState, Kind, Proof, Realm, TenantId};
use crate::pacing::Standing;
use crate::store::{BatchRecord, Store};
use crate::telemetry::{DoorMetrics, Metrics};
use crate::transfer::{Counters, CountersSnapshot, DoorControl, Guard};
use crate::world::World;

/// Everything the views look at.
pub(super) struct Sights {
    pub(super) store: Store,
    pub(super) world: Arc<World>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) counters: Arc<Counters>,
    pub(super) doors: DoorControl,
    pub(super) guard: Guard,
    pub(super) data_dir: PathBuf,
    pub(super) disk: Disk,
    pub(super) addresses: Vec<(&'static str, std::net::SocketAddr)>,
    pub(super) started_at: Timestamp,
    pub(super) controls: Arc<Controls>,
    pub(super) halting: Arc<Halting>,
    pub(super) providers: ProviderViews,
    pub(super) unknowns: Unknowns,
    /// What the doors had counted when metrics were shown last.
    pub(super) shown: Mutex<Option<CountersSnapshot>>,
}

/// Batches whose times tell the newest that was stored.
const RECENT: usize = 64;
/// Most batches that a listing walks over before it stops looking for more.
const WALKED_MAX: usize = 100_000;

impl Sights {
    pub(super) fn views(self) -> Views {
        let sights = Arc::new(self);
        let (a, b, c, d, e) =
            (sights.clone(), sights.clone(), sights.clone(), sights.clone(), sights.clone());
        let h = sights.clone();
        let (i, j) = (sights.halting.clone(), sights.halting.clone());
        let (k, l) = (sights.unknowns.clone(), sights.unknowns.clone());
        let (f, g) = (sights.doors.clone(), sights.doors.clone());
        let controls = Arc::clone(&sights.controls);
        let (listed, pardoning) = (sights.guard.clone(), sights.guard.clone());
        Views {
            readiness: Arc::new(move || a.readiness()),
            metrics: Arc::new(move || b.metrics()),
            status: Arc::new(move || c.status()),
            batches: Arc::new(move |query| d.batches(&query)),
            batch: Arc::new(move |id| e.batch(id)),
            tenants: Arc::new(move || h.tenants()),
            providers: Arc::new(move || i.providers()),
            halt: Arc::new(move |asked| j.command(asked)),
            unknown: Arc::new(move |query| k.list(query)),
            settle: Arc::new(move |asked| l.settle(asked)),
            command: Arc::new(move |asked| controls.command(asked)),
            bans: Arc::new(move || bans::list(&listed)),
            remove_bans: Arc::new(move |address| bans::remove(&pardoning, address)),
            sessions: Arc::new(move |query| sessions::list(&f, query)),
            kill_sessions: Arc::new(move |query| sessions::kill(&g, query)),
        }
    }

    fn readiness(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let health = self.store.health();
        if health.failed {
            reasons.push("the store failed".to_owned());
        }
        if health.blobs > 0 {
            reasons.push(format!("the store has {} unsynced blob files", health.blobs));
        }
        match self.disk.look() {
            Ok((Room::None, _)) => {
                reasons.push("the disk is nearly full, nothing is sent".to_owned());
            }
            Ok((Room::Little, _)) => reasons.push("the disk is below its reserve".to_owned()),
            Ok((Room::Plenty, _)) => {}
            Err(error) => reasons.push(format!("the data folder cannot be read: {error}")),
        }
        match self.closed_outboxes() {
            Ok(0) => {}
            Ok(count) => reasons.push(format!("{count} outboxes cannot be written")),
            Err(error) => reasons.push(format!("the tenants' folders cannot be read: {error}")),
        }
        if let Some(newest) = self.newest_time()
            && newest > self.world.clock.now()
        {
            reasons.push(format!("the clock is earlier than the newest stored time, {newest}"));
        }
        reasons
    }

    /// How many tenants' outboxes are not there or not ours to write.
    fn closed_outboxes(&self) -> std::io::Result<usize> {
        let tenants = Root::open(&self.data_dir)?.sub(&RelPath::of("tenants"))?;
        let entries = tenants.entries(&RelPath::root())?;
        let outbox = |entry: &Entry| RelPath::root().join(&entry.name).join(b"outbox");
        let closed = |entry: &&Entry| {
            entry.kind == EntryKind::Folder && !tenants.writable(&outbox(entry)).unwrap_or(false)
        };
        Ok(entries.iter().filter(closed).count())
    }

    /// Of the newest files: an older one may have ended after a newer one came.
    fn newest_time(&self) -> Option<Timestamp> {
        let newest = self.store.batches_before(None, RECENT).ok()?;
        let times = newest.iter().flat_map(|batch| {
            let held = batch.hold.as_ref().and_then(|hold| hold.ended_at);
            let later = [batch.validated_at, batch.closed_at, batch.control.reopened_at, held];
            later.into_iter().flatten().chain([batch.claimed_at])
        });
        times.max()
    }

    fn metrics(&self) -> String {
        let now = self.counters.snapshot();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let before = shown.replace(now);
        count_doors(&self.metrics.doors, &before.unwrap_or_default(), &now);
        let metrics = &self.metrics;
        let incomplete = i64::try_from(now.uploads_incomplete).unwrap_or(i64::MAX);
        metrics.doors.uploads_incomplete.set(incomplete);
        let open = self.doors.sessions_by_protocol();
        for (protocol, _) in now.by_protocol() {
            let open = open.get(protocol).copied().unwrap_or(0);
            metrics.doors.sessions.of([protocol]).set(i64::try_from(open).unwrap_or(i64::MAX));
        }
        metrics.doors.bans.set(i64::try_from(self.guard.bans()).unwrap_or(i64::MAX));
        metrics.store_blobs.set(i64::try_from(self.store.health().blobs).unwrap_or(i64::MAX));
        if let Ok((room, space)) = self.disk.look() {
            metrics.disk_room.set(room as i64);
            metrics.disk_free_bytes.set(i64::try_from(space.free).unwrap_or(i64::MAX));
            metrics.disk_free_inodes.set(i64::try_from(space.free_files).unwrap_or(i64::MAX));
        }
        for (provider, standing) in self.providers.all() {
            metrics.providers.under_way.of([&provider]).set(standing.under_way as i64);
            metrics.providers.concurrency.of([&provider]).set(standing.limit as i64);
            metrics.providers.waiting.of([&provider]).set(standing.waiting as i64);
        }
        metrics.render()
    }

    fn status(&self) -> Value {
        let open = |realm: Realm| self.metrics.batches_open.of([realm.yes_no()]).get();
        let counters = self.counters.snapshot();
        let listeners: Vec<Value> = self
            .addresses
            .iter()
            .map(|(door, address)| json!({ "door": door, "address": address.to_string() }))
            .collect();
        let now = self.world.clock.now();
        let (suspended, paused) = self.halting.holding();
        let disk = self.disk.look().ok();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "started_at": self.started_at.to_string(),
            "uptime_s": now.duration_since(self.started_at).as_secs(),
            "ready": self.readiness().is_empty(),
            "not_ready": self.readiness(),
            "listeners": listeners,
            "disk_room": disk.map(|(room, _)| room.as_str()),
            "disk_free_bytes": disk.map(|(_, space)| space.free),
            "sessions": self.doors.sessions_by_protocol().values().sum::<usize>(),
            "uploads": counters.total(|tally| tally.uploads),
            "logins_failed": counters.logins_failed(),
            "bans": self.guard.bans(),
            "batches_open": open(Realm::Real),
            "tests_open": open(Realm::Test),
            "batches_aside": self.metrics.batches_aside.get(),
            "tenants_suspended": suspended,
            "tenants_gone": self.halting.gone().iter().map(gone).collect::<Vec<_>>(),
            "providers_paused": paused,
            "providers": self.providers.all().into_iter().map(provider).collect::<Vec<_>>(),
        })
    }

    fn tenants(&self) -> Value {
        let open = self.store.open_batches().unwrap_or_default();
        self.halting.tenants(|tenant| open.iter().filter(|batch| batch.tenant == *tenant).count())
    }

    fn batches(&self, query: &BatchQuery) -> Value {
        let (mut found, mut before, mut walked) = (Vec::new(), None, 0);
        while found.len() < query.limit && walked < WALKED_MAX {
            let page = match self.store.batches_before(before, 256) {
                Ok(page) => page,
                Err(error) => return json!({ "error": error.to_string() }),
            };
            let Some(oldest) = page.last() else { break };
            before = Some(oldest.id);
            walked += page.len();
            let fits = |batch: &&BatchRecord| {
                let word = |wanted: &Option<String>, is: &str| {
                    wanted.as_ref().is_none_or(|w| w.eq_ignore_ascii_case(is))
                };
                let state = batch.facts.state.map_or("", FileState::as_str);
                word(&query.tenant, batch.tenant.as_str())
                    && (word(&query.state, stage(batch)) || word(&query.state, state))
            };
            found.extend(page.iter().filter(fits).map(|batch| self.batch_line(batch)));
        }
        found.truncate(query.limit);
        json!({ "batches": found })
    }

    fn batch(&self, id: &str) -> Option<Value> {
        let id: BatchId = id.parse().ok()?;
        let batch = self.store.batch(id).ok()??;
        let mut value = self.batch_line(&batch);
        let facts = &batch.facts;
        let more = json!({
            "path": batch.path,
            "account": batch.account,
            "cancelled": batch.control.cancelled,
            "paused_for": batch.control.paused_for.map_or("", ReasonCode::as_str),
            "reopened_at": batch.control.reopened_at.map(|t| t.to_string()),
            "resends": batch.control.resends,
            "resent_rows": batch.control.resent_rows,
            "proof": batch.proof.map_or("", Proof::as_str),
            "received_at": batch.received_at.to_string(),
            "validated_at": batch.validated_at.map(|t| t.to_string()),
            "bytes": facts.bytes,
            "sha256": facts.sha256,
            "profile": facts.profile,
            "message": facts.message,
            "warnings": facts.warnings,
            "rows_suppressed": facts.rows_suppressed,
            "rows_deferred": facts.rows_deferred,
            "duplicate_of": facts.duplicate_of.map(|b| b.to_string()),
            "seq": facts.seq,
            "next_seq": facts.next_seq,
            "chunks": batch.chunks,
        });
        let hold = batch.hold.as_ref().map(|hold| {
            json!({
                "held_for": hold.code.as_str(),
                "held_since": hold.since.to_string(),
                "held_until": hold.until.to_string(),
                "hold_ended_by": hold.ended_by,
                "hold_ended_at": hold.ended_at.map(|t| t.to_string()),
            })
        });
        for more in [Some(more), hold].into_iter().flatten() {
            if let (Value::Object(value), Value::Object(more)) = (&mut value, more) {
                value.extend(more);
            }
        }
        Some(value)
    }

    fn batch_line(&self, batch: &BatchRecord) -> Value {
        let facts = &batch.facts;
        let open = if batch.state == BatchState::Running { self.open_rows(batch.id) } else { 0 };
        json!({
            "batch_id": batch.id.to_string(),
            "tenant": batch.tenant.as_str(),
            "file": batch.name(),
            "kind": facts.kind.map_or("", Kind::as_str),
            "test": batch.realm().yes_no(),
            "stage": stage(batch),
            "state": facts.state.map_or("", FileState::as_str),
            "code": facts.code.map_or("", ReasonCode::as_str),
            "rows_total": facts.rows_total,
            "rows_accepted": facts.rows_accepted,
            "rows_rejected": facts.rows_rejected,
            "rows_duplicate": facts.rows_duplicate,
            "rows_open": open,
            "claimed_at": batch.claimed_at.to_string(),
            "closed_at": batch.closed_at.map(|t| t.to_string()),
        })
    }

    fn open_rows(&self, batch: BatchId) -> u64 {
        let (mut open, mut from) = (0, 0);
        while let Ok(page) = self.store.chunks(batch, from, 500) {
            let Some(last) = page.last() else { break };
            from = last.number + 1;
            open += page.iter().map(|chunk| u64::from(chunk.open)).sum::<u64>();
        }
        open
    }
}

/// A tenant that is not configured, and what of it never goes out.
fn gone((tenant, left): (&TenantId, &Left)) -> Value {
    json!({ "tenant": tenant.as_str(), "batches_open": left.batches, "rows_open": left.rows })
}

fn provider((id, standing): (String, Standing)) -> Value {
    json!({
        "provider": id,
        "under_way": standing.under_way,
        "concurrency": standing.limit,
        "waiting": standing.waiting,
        "per_second": standing.per_second,
        "closed_for_s": standing.closed.map(|(rest, _)| rest.as_secs()),
        "code": standing.closed.map_or("", |(_, code)| code.as_str()),
    })
}

/// Where a batch stands, as people say it.
fn stage(batch: &BatchRecord) -> &'static str {
    match batch.state {
        BatchState::Running if batch.control.paused => "paused",
        state => state.as_str(),
    }
}

/// Adds what the doors have counted since the metrics were shown last.
fn count_doors(metrics: &DoorMetrics, before: &CountersSnapshot, now: &CountersSnapshot) {
    for ((protocol, before), (_, now)) in before.by_protocol().zip(now.by_protocol()) {
        let of = [protocol];
        metrics.connections.of(of).inc_by(now.connections - before.connections);
        metrics.logins.of([protocol, "ok"]).inc_by(now.logins_ok - before.logins_ok);
        metrics.logins.of([protocol, "refused"]).inc_by(now.logins_failed - before.logins_failed);
        metrics.uploads.of(of).inc_by(now.uploads - before.uploads);
        metrics.uploads_aborted.of(of).inc_by(now.uploads_aborted - before.uploads_aborted);
        metrics.upload_bytes.of(of).inc_by(now.bytes_in - before.bytes_in);
        metrics.downloads.of(of).inc_by(now.downloads - before.downloads);
        metrics.download_bytes.of(of).inc_by(now.bytes_out - before.bytes_out);
    }
    for ((reason, before), (_, now)) in before.refused().zip(now.refused()) {
        metrics.connections_refused.of([reason]).inc_by(now - before);
    }
    metrics.password_checks.inc_by(now.password_checks - before.password_checks);
    metrics.guard_delays.inc_by(now.guard_delays - before.guard_delays);
    metrics.guard_delay_ms.inc_by(now.guard_delay_ms - before.guard_delay_ms);
    metrics.uploads_expired.inc_by(now.uploads_expired - before.uploads_expired);
    metrics.accept_errors.inc_by(now.accept_errors - before.accept_errors);
}

//! A tenant's tree, a spool and a store that survive a "crash", with batches laid down by hand.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::super::{Publisher, Settings, TenantAnswers};
use crate::batch::{BatchEvent, BatchState, RowOutcome};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState, Kind, Proof, Status};
use crate::records::ReadSettings;
use crate::spool::{
    ChunkBuilder, DuplicateMark, LogWriter, OutcomeRecord, RowHead, Spool, StoredProblem, StoredRow,
};
use crate::store::{
    Acceptance, BatchRecord, ChunkRecord, ControlRecord, Facts, SimulatedDisk, Store,
};
use crate::telemetry::Metrics;
use crate::worker::{Progress, Worker};
use crate::world::World;

/// Late in the evening in UTC, the next day in the tenant's zone.
pub(super) const BASE: &str = "2026-11-22T23:30:00Z";

pub(super) fn after(seconds: i64) -> Timestamp {
    BASE.parse::<Timestamp>().unwrap() + jiff::SignedDuration::from_secs(seconds)
}

pub(super) struct House {
    pub(super) data: tempfile::TempDir,
    pub(super) disk: SimulatedDisk,
    pub(super) store: Store,
    pub(super) spool: Spool,
    world: Arc<World>,
    publisher: Publisher,
}

impl House {
    pub(super) fn new() -> House {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(data.path().join("tenants/acme/outbox")).unwrap();
        let disk = SimulatedDisk::default();
        let store = Store::simulated(&disk).unwrap();
        let spool = Spool::open(data.path()).unwrap();
        let world = Arc::new(World::seeded(BASE.parse().unwrap(), 1));
        let publisher = publisher(data.path(), &store, &spool, &world);
        House { data, disk, store, spool, world, publisher }
    }

    /// The process dies and starts anew on the same disks.
    pub(super) fn restart(&mut self) {
        self.store = Store::simulated(&self.disk).unwrap();
        self.publisher = publisher(self.data.path(), &self.store, &self.spool, &self.world);
    }

    /// Works until there is nothing left to do; `Err` where the store failed on the way.
    pub(super) async fn try_publish(&mut self) -> Result<(), String> {
        loop {
            match self.publisher.work().await {
                Ok(Progress::Busy) => {}
                Ok(Progress::Idle) => return Ok(()),
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    pub(super) async fn publish(&mut self) {
        self.try_publish().await.unwrap();
    }

    pub(super) async fn wait(&mut self) {
        self.publisher.wait_for_work().await;
    }

    pub(super) fn claim(&self, id: u64, path: &str, at: Timestamp, input: &str) -> BatchRecord {
        self.claim_for("acme", id, path, at, input)
    }

    pub(super) fn claim_for(
        &self,
        tenant: &str,
        id: u64,
        path: &str,
        at: Timestamp,
        input: &str,
    ) -> BatchRecord {
        let record = BatchRecord {
            id: BatchId::from_u64(id),
            tenant: tenant.parse().unwrap(),
            path: path.to_owned(),
            state: BatchState::Claimed,
            account: "erp".to_owned(),
            proof: Some(Proof::Close),
            received_at: at,
            claimed_at: at,
            validated_at: None,
            closed_at: None,
            facts: Facts::default(),
            chunks: 0,
            hold: None,
            control: ControlRecord::default(),
        };
        let record = self.store.open_batch(record).unwrap();
        let folder = self.spool.batch(record.id);
        folder.create().unwrap();
        std::fs::write(folder.input(), input).unwrap();
        record
    }

    /// Writes the rows, a chunk for each group, with the marks of that group.
    pub(super) fn lay_rows(
        &self,
        record: &mut BatchRecord,
        groups: &[(&[StoredRow<'_>], &[DuplicateMark])],
    ) {
        let folder = self.spool.batch(record.id);
        let rows = LogWriter::create(&folder.rows()).unwrap();
        let head = RowHead { x_columns: vec!["x_k".to_owned()], variables: Vec::new() };
        rows.append(RowHead::KIND, &head.to_bytes()).unwrap();
        let duplicates = LogWriter::create(&folder.duplicates()).unwrap();
        let (mut builder, mut chunks) = (ChunkBuilder::default(), Vec::new());
        for (number, (group, marks)) in (0..).zip(groups) {
            group.iter().for_each(|row| builder.push(row));
            let (body, first_row, count) = builder.take().unwrap();
            let at = rows.append(ChunkBuilder::KIND, body).unwrap();
            let marks = (!marks.is_empty()).then(|| {
                let at = duplicates.append(DuplicateMark::KIND, &DuplicateMark::encode(marks));
                let at = at.unwrap();
                (at.offset, at.bytes)
            });
            chunks.push(ChunkRecord {
                number,
                offset: at.offset,
                bytes: at.bytes,
                first_row,
                rows: count,
                duplicates: marks,
                open: count,
                deferred: 0,
                resendable: Some(0),
                due: Some(record.claimed_at),
                urgency: None,
                outcomes_bytes: 0,
            });
        }
        record.chunks = chunks.len() as u32;
        self.store.put_chunks(record.id, &chunks).unwrap();
    }

    pub(super) fn keep_read_as(&self, batch: u64, read_as: &[u8]) {
        self.spool.batch(BatchId::from_u64(batch)).keep_read_as(read_as).unwrap();
    }

    pub(super) fn lay_problems(&self, record: &BatchRecord, problems: &[StoredProblem]) {
        let log = LogWriter::create(&self.spool.batch(record.id).problems()).unwrap();
        for problem in problems {
            log.append(StoredProblem::KIND, &problem.to_bytes()).unwrap();
        }
    }

    pub(super) fn lay_outcomes(&self, record: &BatchRecord, groups: &[(u32, Vec<RowOutcome>)]) {
        let log = LogWriter::create(&self.spool.batch(record.id).outcomes()).unwrap();
        for (chunk, rows) in groups {
            let rows = rows.clone();
            let (kind, body) = OutcomeRecord::Settled { chunk: *chunk, window: 1, rows }.encode();
            log.append(kind, &body).unwrap();
        }
    }

    /// Stores how many rows of chunk 0 are still open.
    pub(super) fn leave_open(&self, record: &BatchRecord, open: u32, deferred: u32, due: i64) {
        let before = self.store.chunk(record.id, 0).unwrap().unwrap();
        let after = ChunkRecord { open, deferred, due: Some(after(due)), ..before };
        self.store.release_windows(record.id, &[], &before, &after).unwrap();
    }

    pub(super) fn conclude(&self, record: BatchRecord, event: BatchEvent) -> BatchRecord {
        self.store.conclude(record, event, &Acceptance::default()).unwrap()
    }

    /// Every file in the tenant's tree, by its path.
    /// Where a file of the tenant stands.
    pub(super) fn path(&self, name: &str) -> std::path::PathBuf {
        self.data.path().join("tenants/acme").join(name)
    }

    pub(super) fn tree(&self) -> BTreeMap<String, String> {
        let root = self.data.path().join("tenants/acme");
        let (mut files, mut folders) = (BTreeMap::new(), vec![root.clone()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        files
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.tree().into_keys().collect()
    }
}

fn publisher(data: &Path, store: &Store, spool: &Spool, world: &Arc<World>) -> Publisher {
    let answers = TenantAnswers {
        timezone: jiff::tz::TimeZone::get("Europe/Berlin").unwrap(),
        read_settings: Arc::new(|_| ReadSettings::default()),
        styles: BTreeMap::new(),
    };
    let settings = Settings {
        data_dir: data.to_owned(),
        tenant: Arc::new(move |id| (id.as_str() == "acme").then(|| answers.clone())),
        rehearse: Arc::new(|_, _| Ok(())),
    };
    let metrics = Arc::new(Metrics::new("test"));
    let (world, nudge) = (Arc::clone(world), Arc::new(Notify::new()));
    Publisher::new(store.clone(), spool.clone(), settings, (world, metrics), nudge)
}

pub(super) fn facts(state: FileState, code: Option<ReasonCode>, counts: [u64; 4]) -> Facts {
    Facts {
        kind: Some(Kind::Messages),
        state: Some(state),
        code,
        bytes: 120,
        sha256: "5ha".to_owned(),
        records_sha256: "rec".to_owned(),
        encoding: "UTF-8".to_owned(),
        delimiter: ",".to_owned(),
        rows_total: counts[0],
        rows_accepted: counts[1],
        rows_rejected: counts[2],
        rows_duplicate: counts[3],
        ..Facts::default()
    }
}

pub(super) fn settled(index: u32, status: Status, code: Option<ReasonCode>) -> RowOutcome {
    let taken = (status == Status::Sent).then(|| after(5));
    RowOutcome {
        status,
        code,
        attempts: 1,
        provider: "mailhub".to_owned(),
        provider_code: if taken.is_some() { "250 2.0.0" } else { "550 5.1.1" }.to_owned(),
        channels_tried: "email".to_owned(),
        submitted_at: taken,
        sent_at: taken,
        ended_at: Some(after(6)),
        ..RowOutcome::untried(index)
    }
}

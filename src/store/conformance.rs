//! One suite that every engine passes: sled, and the simulated one.

use jiff::Timestamp;

use super::engine::Space;
use super::*;
use crate::batch::{BatchEvent, BatchState, Decider, Effect, Publication};
use crate::codes::ReasonCode;
use crate::model::{BatchId, ControlOp, FileVersion, Proof, Realm, UploadEvidence};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_780_000_000 + seconds).unwrap()
}

pub(super) fn claimed(id: u64) -> BatchRecord {
    BatchRecord {
        id: BatchId::from_u64(id),
        tenant: "acme".parse().unwrap(),
        path: "inbox/a.csv".to_owned(),
        state: BatchState::Claimed,
        account: "erp".to_owned(),
        proof: Some(Proof::Close),
        received_at: at(0),
        claimed_at: at(2),
        validated_at: None,
        closed_at: None,
        facts: Facts::default(),
        chunks: 0,
        hold: None,
        control: ControlRecord::default(),
    }
}

pub(super) fn chunk(number: u32, due: Option<Timestamp>) -> ChunkRecord {
    ChunkRecord {
        number,
        offset: 9,
        bytes: 100,
        first_row: 1,
        rows: 4,
        duplicates: None,
        open: 4,
        deferred: 0,
        resendable: Some(0),
        due,
        urgency: None,
        outcomes_bytes: 0,
    }
}

fn evidence() -> UploadEvidence {
    UploadEvidence {
        tenant: "acme".parse().unwrap(),
        path: "inbox/a.csv".to_owned(),
        account: "erp".to_owned(),
        protocol: "sftp",
        proof: Proof::Close,
        weak: false,
        version: FileVersion { device: 1, inode: 2, bytes: 3, modified_ns: 4 },
        at: at(0),
    }
}

/// Runs the whole journey of a batch through a store and opens it anew at every step.
fn journey(reopen: &mut dyn FnMut(Option<Store>) -> Store) {
    let store = reopen(None);
    let upload = evidence();
    store.record_upload(&upload).unwrap();
    let store = reopen(Some(store));
    assert_eq!(store.upload(&upload.tenant, "inbox/a.csv").unwrap(), Some(upload.clone()));
    assert_eq!(store.upload(&"other".parse().unwrap(), "inbox/a.csv").unwrap(), None);
    // Taken back: only where it speaks of that version.
    let newer = FileVersion { inode: 9, ..upload.version };
    store.forget_upload(&UploadEvidence { version: newer, ..upload.clone() }).unwrap();
    assert_eq!(store.upload(&upload.tenant, "inbox/a.csv").unwrap(), Some(upload.clone()));
    store.forget_upload(&UploadEvidence { weak: true, ..upload.clone() }).unwrap();
    store.forget_upload(&upload).unwrap();
    let store = reopen(Some(store));
    assert_eq!(store.upload(&upload.tenant, "inbox/a.csv").unwrap(), None);
    store.record_upload(&upload).unwrap();

    let first = store.open_batch(claimed(7)).unwrap();
    let second = store.open_batch(claimed(7)).unwrap();
    assert_eq!((first.id, second.id), (BatchId::from_u64(7), BatchId::from_u64(8)));
    store.forget_claim(second.id).unwrap();
    assert_eq!(store.forget_claim(second.id), Err(StoreError::Conflict));

    let chunks: Vec<ChunkRecord> =
        (0..1001).map(|n| chunk(n, (n != 3).then(|| at(i64::from(n % 10))))).collect();
    store.put_chunks(first.id, &chunks).unwrap();
    let store = reopen(Some(store));
    assert_eq!(store.chunks(first.id, 0, 5000).unwrap(), chunks);
    assert_eq!(store.chunk(first.id, 1000).unwrap(), Some(chunks[1000].clone()));
    assert_eq!(store.timers(first.id, 2).unwrap(), [(at(0), 0), (at(0), 10)]);
    store.clear_chunks(first.id).unwrap();
    assert!(store.chunks(first.id, 0, 10).unwrap().is_empty());
    assert!(store.timers(first.id, 10).unwrap().is_empty());
    store.put_chunks(first.id, &chunks[..1]).unwrap();

    let row_ids = Some(("tenant".to_owned(), 4));
    let acceptance = Acceptance { content: Some([9; 32]), row_ids, ..Acceptance::default() };
    let mut judged = first.clone();
    judged.validated_at = Some(at(3));
    let running = store.conclude(judged, BatchEvent::FileAccepted, &acceptance).unwrap();
    let store = reopen(Some(store));
    assert_eq!(store.batch(first.id).unwrap(), Some(running.clone()));
    assert_eq!(running.state, BatchState::Running);
    assert_eq!(store.open_batches().unwrap(), std::slice::from_ref(&running));
    assert_eq!(store.upload(&upload.tenant, "inbox/a.csv").unwrap(), None);
    assert_eq!(store.name_owner(&running).unwrap(), Some(first.id));
    assert_eq!(store.content(&upload.tenant, &[9; 32]).unwrap(), Some((first.id, at(3))));
    let files = store.row_id_files(&upload.tenant, "tenant").unwrap();
    assert_eq!(files, [RowIdFile { batch: first.id, accepted_at: at(3), ids: 4, generation: 0 }]);
    assert!(store.row_id_files(&upload.tenant, "ten").unwrap().is_empty());
    let ordered: Vec<Publication> =
        store.publications(100).unwrap().into_iter().map(|(_, p)| p).collect();
    assert_eq!(ordered.last(), Some(&Publication::Ack));
    for publication in ordered {
        publish(&store, first.id, publication);
    }
    let again = store.conclude(running.clone(), BatchEvent::FileAccepted, &acceptance);
    assert_eq!(again, Err(StoreError::Conflict));

    digest_files(&store, &upload.tenant, &files[0]);
    names(&store, &running);
    windows(&store, first.id);
    let store = reopen(Some(store));
    store.conclude(running, BatchEvent::RowsSettled, &Acceptance::default()).unwrap();
    let ids = |records: Vec<BatchRecord>| records.iter().map(|r| r.id).collect::<Vec<_>>();
    assert_eq!(ids(store.batches(None, 9).unwrap()), [7, 12, 13, 14].map(BatchId::from_u64));
    assert_eq!(store.open_batches().unwrap(), []);

    hold(&store, 20);
    let store = reopen(Some(store));
    assert_eq!(store.holds().unwrap(), []);
    assert_eq!(store.series((&upload.tenant, Realm::Real), "").unwrap(), Series::default());

    beside(store, reopen);
}

/// What stands beside the journey of one batch.
fn beside(store: Store, reopen: &mut dyn FnMut(Option<Store>) -> Store) {
    steer(&store, 30);
    let store = reopen(Some(store));
    assert_eq!(store.next_orders().unwrap(), []);

    guard(&store);
    let store = reopen(Some(store));
    let sources: Vec<String> =
        store.guard_sources().unwrap().into_iter().map(|record| record.source).collect();
    assert_eq!(sources, ["192.0.2.7", "2001:db8::/64"]);
    assert_eq!(store.guard_accounts().unwrap()[0].sources.len(), 1);

    dump_and_load(&store);
}

/// Two digest files become one, and one that is not named as it was stops the commit.
fn digest_files(store: &Store, tenant: &crate::model::TenantId, first: &RowIdFile) {
    let second = RowIdFile { batch: BatchId::from_u64(9), ids: 2, ..first.clone() };
    store.replace_row_ids(tenant, "tenant", &[], Some(&second)).unwrap();
    store.replace_row_ids(tenant, "tenantx", &[], Some(&second)).unwrap();
    let both = [first.clone(), second.clone()];
    assert_eq!(store.row_id_files(tenant, "tenant").unwrap(), both);
    let scopes = store.row_id_scopes(Some(tenant)).unwrap();
    let scopes: Vec<_> = scopes.iter().map(|(_, scope)| scope.as_str()).collect();
    assert_eq!(scopes, ["tenant", "tenantx"]);
    let merged = RowIdFile { ids: 6, generation: 1, ..second };
    store.replace_row_ids(tenant, "tenant", &both, Some(&merged)).unwrap();
    assert_eq!(store.row_id_files(tenant, "tenant").unwrap(), [merged]);
    let again = store.replace_row_ids(tenant, "tenant", &both, None);
    assert_eq!(again, Err(StoreError::Conflict));
    store.replace_row_ids(tenant, "tenantx", &both[1..], None).unwrap();
    assert_eq!(store.row_id_scopes(None).unwrap().len(), 1);
}

/// A duplicate replaces the ACK alone, a refused file all answers; neither has rows of its own.
fn names(store: &Store, accepted: &BatchRecord) {
    let judge = |id: u64, event: BatchEvent| {
        let record = store.open_batch(claimed(id)).unwrap();
        store.conclude(record, event, &Acceptance::default()).unwrap()
    };
    let (first, accepted) = (accepted.id, || store.name_accepted(accepted).unwrap().unwrap().id);
    let duplicate = judge(12, BatchEvent::FileDuplicate);
    let replaced = |record: &BatchRecord| (record.facts.replaces, record.facts.replaces_ack);
    assert_eq!(replaced(&duplicate), (Some(first), Some(first)));
    assert_eq!(store.name_owner(&duplicate).unwrap(), Some(first));
    let refused = judge(13, BatchEvent::FileRefused);
    assert_eq!(replaced(&refused), (Some(first), Some(duplicate.id)));
    assert_eq!(store.name_owner(&refused).unwrap(), Some(refused.id));
    assert_eq!(accepted(), first);
    let newer = judge(14, BatchEvent::FileAccepted);
    assert_eq!(replaced(&newer), (Some(refused.id), Some(refused.id)));
    assert_eq!(accepted(), newer.id);
    for (batch, publication) in store.publications(100).unwrap() {
        publish(store, batch, publication);
    }
    store.conclude(newer, BatchEvent::RowsSettled, &Acceptance::default()).unwrap();
}

fn publish(store: &Store, batch: BatchId, publication: Publication) {
    let ordered = store.ordered(batch, publication).unwrap().unwrap();
    store.published(&ordered).unwrap();
}

/// A numbered file that is held and released, and one that is held and refused.
fn hold(store: &Store, id: u64) {
    let numbered = Acceptance { numbered: true, ..Acceptance::default() };
    let held = |id: u64, seq: u64| {
        let mut record = store.open_batch(claimed(id)).unwrap();
        let (code, until) = (ReasonCode::FileApprovalNeeded, at(99));
        let (since, ended_by) = (at(3), String::new());
        record.hold =
            Some(HoldRecord { code, since, until, took_number: false, ended_by, ended_at: None });
        record.facts = Facts {
            seq: Some(seq),
            profile: "billing".to_owned(),
            rows_total: 9,
            rows_duplicate: 2,
            ..Facts::default()
        };
        store.conclude(record, BatchEvent::FileHeld, &numbered).unwrap()
    };
    let series = || store.series((&claimed(id).tenant, Realm::Real), "billing").unwrap();
    let publications = || store.publications(99).unwrap();
    let publish_all = || {
        for (batch, publication) in publications() {
            publish(store, batch, publication);
        }
    };
    let (first, second, early) = (held(id, 5), held(id + 1, 6), held(id + 2, 9));
    assert_eq!([first.facts.next_seq, early.facts.next_seq], [Some(6), Some(7)]);
    let took = |record: &BatchRecord| record.hold.as_ref().unwrap().took_number;
    assert_eq!([took(&first), took(&early)], [true, false]);
    assert_eq!(store.holds().unwrap().len(), 3);
    publish_all();

    let released = store.release(first.id, &Decider::Operator, at(9)).unwrap();
    assert_eq!(released.hold.as_ref().unwrap().ended_by, "operator");
    assert_eq!((released.state, publications()), (BatchState::Released, Vec::new()));
    assert_eq!(store.release(first.id, &Decider::Operator, at(9)), Err(StoreError::Conflict));
    let code = ReasonCode::FileApprovalNeeded;
    let late = store.refuse_held(first.id, &Decider::Nobody, code, at(9));
    assert_eq!(late, Err(StoreError::Conflict));
    assert_eq!(store.holds().unwrap()[0], released);
    let usual = Acceptance { usual_rows: Some(7), ..numbered.clone() };
    store.conclude(released, BatchEvent::FileAccepted, &usual).unwrap();
    assert_eq!((series().recent_rows, series().numbers.next), (vec![7], Some(7)));

    let refused = store.refuse_held(second.id, &Decider::Nobody, code, at(100)).unwrap();
    assert_eq!((refused.facts.rows_rejected, refused.facts.next_seq), (7, Some(6)));
    assert_eq!(series().numbers.used, [(5, 5)]);
    let by = Decider::Account("boss".to_owned());
    let other = store.refuse_held(early.id, &by, ReasonCode::FileIncomplete, at(100)).unwrap();
    assert_eq!((other.facts.rows_total, other.facts.rows_rejected), (0, 0));
    assert_eq!(other.hold.unwrap().ended_by, "account boss");
    publish_all();
    assert_eq!(store.holds().unwrap(), []);
}

/// A batch that is paused, cancelled and closed; one that is closed and opened again.
fn steer(store: &Store, id: u64) {
    let mut record = store.open_batch(claimed(id)).unwrap();
    record.facts = Facts { rows_accepted: 4, campaign: "may".to_owned(), ..Facts::default() };
    record.chunks = 1;
    let open = chunk(0, Some(at(5)));
    store.put_chunks(record.id, std::slice::from_ref(&open)).unwrap();
    store.conclude(record.clone(), BatchEvent::FileAccepted, &Acceptance::default()).unwrap();
    let tenant = &record.tenant;
    assert_eq!(store.campaign((tenant, Realm::Real), "may", 9).unwrap(), [record.id]);
    assert_eq!(store.campaign((tenant, Realm::Real), "ma", 9).unwrap(), []);
    assert_eq!(store.newest_named((tenant, Realm::Real), None, "a.csv").unwrap(), Some(record.id));
    assert_eq!(store.newest_named((tenant, Realm::Real), Some("messages"), "a.csv").unwrap(), None);
    assert_eq!(store.chunk_of_row(record.id, 1, 4).unwrap(), Some(open.clone()));
    assert_eq!(store.chunk_of_row(record.id, 1, 5).unwrap(), None);

    let ask = |op, row| {
        let mut commands = Commands::new("operator".to_owned(), at(6));
        let effect = store.command(&mut commands, op, record.id, row).unwrap();
        store.carry_out(&commands).unwrap();
        effect
    };
    assert_eq!(ask(ControlOp::Pause, None), Ok(Effect::Pause));
    assert_eq!(ask(ControlOp::Pause, None), Ok(Effect::Nothing));
    assert_eq!(ask(ControlOp::Cancel, None), Ok(Effect::Cancel));
    assert!(ask(ControlOp::Resend, None).is_err());
    // Two that were decided on the same state: the second finds it changed.
    let mut late = Commands::new("operator".to_owned(), at(6));
    store.command(&mut late, ControlOp::Resume, record.id, None).unwrap().unwrap();
    assert_eq!(ask(ControlOp::Resume, None), Ok(Effect::Resume));
    assert_eq!(store.carry_out(&late), Err(StoreError::Conflict));

    let done = ChunkRecord { open: 0, due: None, ..open };
    let mut acts = Vec::new();
    while let Some(mut order) = store.next_order(record.id).unwrap() {
        assert_eq!(store.close_batch(record.id, at(7)).unwrap(), None, "an order is left");
        acts.push(order.act);
        if order.act == OrderAct::Cancel {
            order = OrderRecord { next_chunk: 1, changed: 4, ..order };
            store.advance_order(record.id, &order, &[(open.clone(), done.clone())]).unwrap();
        }
        store.end_order(record.id, &order).unwrap();
    }
    assert_eq!(acts, [OrderAct::Look, OrderAct::Cancel, OrderAct::Look]);
    let closed = store.close_batch(record.id, at(7)).unwrap().unwrap();
    assert!(closed.state == BatchState::Closed && closed.control.wholly_cancelled);

    let failed = ChunkRecord { resendable: Some(1), ..done };
    store.release_windows(record.id, &[], &done, &failed).unwrap();
    let is_listed = || store.open_batches().unwrap().iter().any(|open| open.id == record.id);
    assert!(!is_listed());
    assert_eq!(ask(ControlOp::Resend, Some(2)), Ok(Effect::Reopen));
    assert!(is_listed(), "it is open again");
    assert_eq!(ask(ControlOp::Resend, Some(3)), Ok(Effect::Resend));
    let ordered = || {
        let all = store.publications(99).unwrap().into_iter();
        all.filter(|(batch, _)| *batch == record.id).map(|(_, p)| p).collect::<Vec<_>>()
    };
    assert!(!ordered().contains(&Publication::Result), "it is written when nothing is open");
    while let Some(order) = store.next_order(record.id).unwrap() {
        store.end_order(record.id, &order).unwrap();
    }
    assert_eq!(
        store.close_batch(record.id, at(9)).unwrap(),
        None,
        "earlier answers are in the way"
    );
    publish(store, record.id, Publication::Recall);
    let closed = store.close_batch(record.id, at(9)).unwrap().unwrap();
    assert_eq!((closed.state, closed.control.wholly_cancelled), (BatchState::Closed, false));
    assert!(ordered().ends_with(&[Publication::Result, Publication::Final, Publication::Summary]));
    for publication in ordered() {
        publish(store, record.id, publication);
    }
}

fn guard(store: &Store) {
    let record = |source: &str| SourceRecord {
        source: source.to_owned(),
        slices: vec![100, 0, 0, 0, 0, 0, 0],
        newest_slice: 5,
        bans: 2,
        banned_until: Some(at(1800)),
        reason: "garbage".to_owned(),
        last: at(0),
    };
    let both = [record("192.0.2.7"), record("2001:db8::/64"), record("192.0.2.8")];
    let from = |account: &str, sources: &[&str]| AccountSources {
        account: account.to_owned(),
        sources: sources.iter().map(|source| ((*source).to_owned(), at(0))).collect(),
    };
    store
        .record_guard(&both, &[], &[from("erp", &["192.0.2.7"]), from("old", &["::/64"])])
        .unwrap();
    assert_eq!(store.guard_sources().unwrap()[0], both[0]);
    store.record_guard(&[], &["192.0.2.8".to_owned()], &[from("old", &[])]).unwrap();
    assert_eq!(store.guard_accounts().unwrap(), [from("erp", &["192.0.2.7"])]);
}

fn dump_and_load(store: &Store) {
    let mut dump = Vec::new();
    let count = store.dump(&mut dump).unwrap();
    let copy = Store::simulated(&SimulatedDisk::default()).unwrap();
    assert_eq!(copy.load(&mut dump.as_slice()).unwrap(), count);
    let mut again = Vec::new();
    copy.dump(&mut again).unwrap();
    assert_eq!(again, dump);
    assert!(matches!(copy.load(&mut dump.as_slice()), Err(DumpError::NotEmpty)));
    for broken in [dump.len() / 2, dump.len() - 20] {
        let mut bytes = dump.clone();
        bytes[broken] ^= 1;
        let fresh = Store::simulated(&SimulatedDisk::default()).unwrap();
        assert!(fresh.load(&mut bytes.as_slice()).is_err(), "flip at {broken}");
    }
}

fn windows(store: &Store, batch: BatchId) {
    let window = WindowRecord { number: 1, chunk: 0, rows: vec![(0, 3)], boot_id: "b".to_owned() };
    store.claim_window(batch, &window).unwrap();
    assert_eq!(store.claim_window(batch, &window), Err(StoreError::Conflict));
    assert_eq!(store.windows(batch).unwrap(), std::slice::from_ref(&window));
    let chunk = || store.chunk(batch, 0).unwrap().unwrap();
    let before = chunk();
    let after = ChunkRecord { open: 1, deferred: 1, due: Some(at(99)), ..chunk() };
    store.release_windows(batch, &[1], &before, &after).unwrap();
    assert!(store.windows(batch).unwrap().is_empty());
    assert_eq!(store.timers(batch, 9).unwrap(), [(at(99), 0)]);
    let late = store.release_windows(batch, &[], &before, &after);
    assert_eq!(late, Err(StoreError::Conflict));
    let done = ChunkRecord { open: 0, deferred: 0, due: None, ..chunk() };
    store.release_windows(batch, &[], &after, &done).unwrap();
    assert!(store.timers(batch, 9).unwrap().is_empty());
}

#[test]
fn sled_passes_the_conformance_suite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    journey(&mut |open| {
        drop(open);
        Store::open(&path).unwrap()
    });
    let store = Store::open(&path).unwrap();
    assert_eq!(store.health(), Health { failed: false, blobs: 0 });
    assert!(matches!(Store::open(&path), Err(StoreError::Failed(_))), "opened twice");
}

#[test]
fn the_simulated_engine_passes_the_conformance_suite() {
    let disk = SimulatedDisk::default();
    journey(&mut |_| Store::simulated(&disk).unwrap());
}

#[test]
fn after_a_failed_commit_the_handle_is_dead_and_the_disk_tells_the_truth() {
    for applied in [false, true] {
        let disk = SimulatedDisk::default();
        let store = Store::simulated(&disk).unwrap();
        disk.fail_commit(1, applied);
        assert!(matches!(store.open_batch(claimed(1)), Err(StoreError::Failed(_))));
        assert!(store.health().failed);
        assert!(store.batch(BatchId::from_u64(1)).is_err(), "a dead handle answers nothing");
        let reopened = Store::simulated(&disk).unwrap();
        assert_eq!(reopened.batch(BatchId::from_u64(1)).unwrap().is_some(), applied);
    }
}

#[test]
fn what_would_become_a_blob_file_is_refused() {
    let store = Store::simulated(&SimulatedDisk::default()).unwrap();
    let mut record = claimed(1);
    record.facts.message = "x".repeat(5000);
    assert!(matches!(store.open_batch(record), Err(StoreError::TooLarge(_))));
}

#[test]
fn commits_from_many_threads_are_all_there_after_opening_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = Store::open(&path).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let store = &store;
            scope.spawn(move || {
                for n in 0..20 {
                    store.open_batch(claimed(thread * 1000 + n)).unwrap();
                }
            });
        }
    });
    drop(store);
    assert_eq!(Store::open(&path).unwrap().batches(None, 1000).unwrap().len(), 160);
}

/// An engine under which somebody else's commit comes right after the first read of a space.
#[derive(Debug)]
struct Overtaken {
    inner: simulated::SimulatedEngine,
    space: Space,
    newer: std::sync::Mutex<Option<Vec<Op>>>,
}

impl Overtaken {
    fn open(disk: &SimulatedDisk, space: Space, newer: Op) -> Store {
        let newer = std::sync::Mutex::new(Some(vec![newer]));
        Store::of(Arc::new(Overtaken { inner: disk.open(), space, newer })).unwrap()
    }
}

impl Engine for Overtaken {
    fn commit(&self, ops: Vec<Op>, expected: Vec<Expect>) -> Result<(), StoreError> {
        self.inner.commit(ops, expected)
    }

    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.inner.get(space, key);
        if space == self.space
            && let Some(newer) = self.newer.lock().unwrap().take()
        {
            self.inner.commit(newer, Vec::new())?;
        }
        found
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<engine::KeyValue>, StoreError> {
        self.inner.scan(space, from, until, limit)
    }

    fn scan_back(
        &self,
        space: Space,
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<engine::KeyValue>, StoreError> {
        self.inner.scan_back(space, until, limit)
    }

    fn settled(&self, batch: &[u8]) -> Result<(), StoreError> {
        self.inner.settled(batch)
    }

    fn health(&self) -> Health {
        self.inner.health()
    }
}

#[test]
fn evidence_that_comes_while_an_older_file_is_concluded_stays() {
    let disk = SimulatedDisk::default();
    let store = Store::simulated(&disk).unwrap();
    let newer = UploadEvidence { at: at(9), ..evidence() };
    store.record_upload(&newer).unwrap();
    let key = keys::named(&newer.tenant, newer.path.as_bytes());
    let recorded = store.engine.get(Space::Uploads, &key).unwrap().unwrap();
    store.record_upload(&evidence()).unwrap();
    let record = store.open_batch(claimed(7)).unwrap();
    let store = Overtaken::open(&disk, Space::Uploads, Op::Put(Space::Uploads, key, recorded));
    store.conclude(record, BatchEvent::FileRefused, &Acceptance::default()).unwrap();
    assert_eq!(store.upload(&newer.tenant, &newer.path).unwrap(), Some(newer));
}

/// A batch that waits for approval.
fn held(store: &Store, mut record: BatchRecord) -> BatchRecord {
    record.hold = Some(HoldRecord {
        code: ReasonCode::FileApprovalNeeded,
        since: at(3),
        until: at(99),
        took_number: false,
        ended_by: String::new(),
        ended_at: None,
    });
    // What stands in it is known when it is judged.
    let facts = std::mem::take(&mut record.facts);
    let record = BatchRecord { facts, ..store.open_batch(record).unwrap() };
    store.conclude(record, BatchEvent::FileHeld, &Acceptance::default()).unwrap()
}

#[test]
fn answers_asked_for_while_a_hold_ends_stay_asked_for() {
    let disk = SimulatedDisk::default();
    let store = Store::simulated(&disk).unwrap();
    let mut asked = held(&store, claimed(7));
    asked.control.reported = true;
    let put = Op::Put(Space::Batches, keys::batch(asked.id), records::encode(&asked));
    let store = Overtaken::open(&disk, Space::Batches, put);
    let released = store.release(asked.id, &Decider::Operator, at(9)).unwrap();
    assert!(released.state == BatchState::Released && released.control.reported);
    assert_eq!(store.batch(asked.id).unwrap(), Some(released));
}

#[test]
fn the_longest_record_is_concluded_and_acted_on() {
    let store = Store::simulated(&SimulatedDisk::default()).unwrap();
    let long = |bytes: usize| "x".repeat(bytes);
    let mut record = claimed(7);
    record.tenant = long(64).parse().unwrap();
    record.account = long(128);
    // As the file system and intake allow them, where every character takes two.
    record.path = format!("inbox/messages/{}", "\"".repeat(255));
    record.facts = Facts {
        profile: long(64),
        file_ref: long(256),
        campaign: long(256),
        message: long(1500),
        sha256: long(64),
        records_sha256: long(64),
        lead_sha256: long(64),
        duplicate_of: Some(record.id),
        replaces: Some(record.id),
        replaces_ack: Some(record.id),
        x: vec![("x_a".to_owned(), long(256)); 4],
        ..Facts::default()
    };
    let held = held(&store, record);
    assert!(held.facts.x.len() < 4 && !held.facts.message.is_empty());
    let by = Decider::Account(long(128));
    let released = store.release(held.id, &by, at(9)).unwrap();
    store.conclude(released, BatchEvent::FileAccepted, &Acceptance::default()).unwrap();
    for _ in 0..20 {
        let mut commands = Commands::new(by.to_string(), at(10));
        for op in [ControlOp::Pause, ControlOp::Resume, ControlOp::Cancel, ControlOp::ResendReport]
        {
            store.command(&mut commands, op, held.id, None).unwrap().unwrap();
        }
        store.carry_out(&commands).unwrap();
    }
}

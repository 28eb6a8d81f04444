//! What becomes of files that wait, while others come.

use std::collections::BTreeMap;
use std::time::Duration;

use dropchute::batch::{BatchState, Decider};
use dropchute::codes::ReasonCode;
use jiff::Timestamp;

use crate::stage::{End, Life, Stage, files_below};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(4 * 3600);
const ROWS: &str = "phone,text\n01701234501,One\n01701234502,Two\n";
const HELD: &str = "tenant.acme.approve_above = 1\n";

fn put(life: &Life<'_>, account: &str, name: &str, text: &str) {
    let name = format!("messages/{name}");
    life.drop_files_as(account, &BTreeMap::from([(name, text.as_bytes().to_vec())]), true);
}

fn ack(stage: &Stage, name: &str) -> String {
    let answers = files_below(&stage.tenant("outbox/messages"));
    String::from_utf8_lossy(&answers[&format!("{name}.ack.csv")]).into_owned()
}

#[test]
fn a_cut_upload_outlives_the_release_of_an_older_file_of_its_name() {
    let stage = Stage::new(HELD);
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "erp", "a.csv", ROWS);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let now: Timestamp = life.world.clock.now();
        life.stop().await;
        now
    });
    stage.lay_cut_upload("inbox/messages/a.csv", b"phone,text\n01701", "2026-11-23T07:30:00Z");
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let held = life.store.holds().unwrap();
        let (older, cut) = (&held[0], &held[1]);
        assert_eq!(cut.hold.as_ref().unwrap().code, ReasonCode::FileIncomplete);
        life.store.release(older.id, &Decider::Operator, life.world.clock.now()).unwrap();
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let state = |id| life.store.batch(id).unwrap().unwrap().state;
        assert_eq!((state(older.id), state(cut.id)), (BatchState::Closed, BatchState::Held));
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 2);
}

#[test]
fn what_was_approved_is_sent_whatever_sidecars_came_meanwhile() {
    let stage = Stage::new(&format!("{HELD}tenant.acme.pair_timeout = \"10m\"\n"));
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, "erp", "a.csv", ROWS);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let manifest = r#"{"file": "a.csv", "directives": {"send_at": "2027-01-01T12:00:00Z"}}"#;
        put(&life, "erp", "a.csv.manifest.json", manifest);
        put(&life, "erp", "a.csv.md5", "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let held = life.store.holds().unwrap().remove(0);
        life.store.release(held.id, &Decider::Operator, life.world.clock.now()).unwrap();
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let ack = ack(&stage, "a.csv");
    assert!(ack.contains(",ACCEPTED,") && !ack.contains("2027"), "{ack}");
    assert_eq!(stage.log.sent().len(), 2);
    let notices: String = files_below(&stage.tenant("outbox"))
        .iter()
        .filter(|(name, _)| name.starts_with("notices_"))
        .map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned())
        .collect();
    assert!(notices.contains("file.pair_missing,a.csv.manifest.json"), "{notices}");
    assert!(notices.contains("what it asks for was not done"), "{notices}");
}

#[test]
fn an_account_that_left_the_configuration_approves_nothing() {
    let stage = Stage::new(HELD);
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, "erp", "a.csv", ROWS);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        put(&life, "gone", "a.csv.approve", "");
        put(&life, "gone", "b.csv", "phone,text\n01701234503,Three\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        assert_eq!(life.store.holds().unwrap()[0].state, BatchState::Held);
        life.stop().await;
    });
    let marker = ack(&stage, "a.csv.approve");
    assert!(marker.contains(",REJECTED,file.kind_not_allowed,"), "{marker}");
    assert_eq!(stage.log.sent().len(), 1, "what it dropped before is taken");
}

#[test]
fn a_cut_upload_of_a_sidecar_gets_no_answer_of_its_own() {
    let stage = Stage::new("");
    stage.lay_cut_upload("inbox/messages/a.csv.sha256", b"3d2c0ae554fe", "2026-11-23T07:30:00Z");
    stage.live(START.parse().unwrap(), async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        assert_eq!(life.store.newest_batch().unwrap(), None);
        life.stop().await;
    });
    assert_eq!(files_below(&stage.tenant("outbox/messages")), BTreeMap::new());
}

#[test]
fn what_was_unpacked_does_not_stay_while_a_file_is_held() {
    let stage = Stage::new(HELD);
    stage.live(START.parse().unwrap(), async |life| {
        let packed = {
            let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            std::io::Write::write_all(&mut gz, ROWS.as_bytes()).unwrap();
            gz.finish().unwrap()
        };
        life.drop_files(&BTreeMap::from([("messages/a.csv.gz".to_owned(), packed)]), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let held = life.store.holds().unwrap().remove(0);
        let kept = files_below(&stage.folder.path().join("data/batches"));
        assert!(kept.contains_key(&format!("{}/input", held.id)), "{:?}", kept.keys());
        assert!(!kept.contains_key(&format!("{}/unpacked", held.id)), "{:?}", kept.keys());
        let code = ReasonCode::FileApprovalNeeded;
        let now = life.world.clock.now();
        life.store.refuse_held(held.id, &Decider::Operator, code, now).unwrap();
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let answers = files_below(&stage.tenant("outbox/messages"));
    let rejected = String::from_utf8_lossy(&answers["a.csv.gz.rejected.csv"]).into_owned();
    assert_eq!(rejected.lines().count(), 3, "{rejected}");
    assert!(rejected.ends_with("01701234502,Two\n"), "{rejected}");
}

#[test]
fn a_missing_file_is_told_of_when_the_program_stood_still_at_the_end_of_its_day() {
    let expected = "tenant.acme.profile.stock = { match = \"STK_*.csv\", kind = \"messages\", \
                    expected = { by = \"23:30\", rows_min = 3 } }\n";
    let stage = Stage::new(expected);
    stage.live("2026-11-23T09:00:00Z".parse().unwrap(), async |life| {
        put(&life, "erp", "STK_1.csv", ROWS);
        put(&life, "erp", "STK_2.csv", "phone,text\n01701234503,Three\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    // Down on the next evening, from before 23:30 until after midnight in Berlin.
    for start in ["2026-11-24T23:10:00Z", "2026-11-24T23:40:00Z"] {
        stage.live(start.parse().unwrap(), async |life| {
            tokio::time::sleep(Duration::from_secs(600)).await;
            life.stop().await;
        });
    }
    let notices: Vec<String> = files_below(&stage.tenant("outbox"))
        .iter()
        .filter(|(name, _)| name.starts_with("notices_"))
        .flat_map(|(_, bytes)| {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    let said = |what: &str| notices.iter().filter(|line| line.contains(what)).count();
    assert_eq!(said("was taken on 2026-11-24 by 23:30"), 1, "{notices:?}");
    assert_eq!((said("STK_1.csv,\"the file has 2"), said("STK_2.csv,\"the file has 1")), (1, 1));
    assert_eq!(notices.len(), 3, "{notices:?}");
}

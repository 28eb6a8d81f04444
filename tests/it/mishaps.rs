//! Files over which the program itself falls: they are answered, and nobody else notices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use crate::stage::{End, Life, Stage, files_below};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3600);
const ROWS: &str = "row_id,phone,text\nr1,01701234501,One\nr2,12,Two\n";
/// A second tenant, whose files come another road.
const BETA: &str = "
[tenant.beta]
default_country = \"DE\"
default_category = \"transactional\"
quiet = \"1s\"
channel.sms = [\"sim\"]
sender.sms = [\"BETA\"]
";

fn put(life: &Life<'_>, names: &[&str]) {
    let file = |name: &&str| ((*name).to_owned(), ROWS.as_bytes().to_vec());
    life.drop_files(&names.iter().map(file).collect(), true);
}

fn put_beta(stage: &Stage, name: &str) {
    std::fs::write(stage.tenant("../beta/inbox").join(name), ROWS).unwrap();
}

/// A column of an ACK, or nothing where there is none.
fn ack(stage: &Stage, path: &str, column: &str) -> Option<String> {
    let bytes = std::fs::read(stage.tenant(path)).ok()?;
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let at = reader.headers().unwrap().iter().position(|header| header == column).unwrap();
    Some(reader.records().next().unwrap().unwrap()[at].to_owned())
}

fn archived(stage: &Stage, verdict: &str) -> BTreeMap<String, Vec<u8>> {
    files_below(&stage.tenant("archive").join(verdict))
}

#[test]
fn a_file_over_which_reading_panics_is_answered_after_one_retry_and_nobody_else_notices() {
    let mut stage = Stage::new(BETA);
    let falls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&falls);
    stage.mishap = Some(Arc::new(move |file| {
        if file.ends_with("bad.csv") {
            counted.fetch_add(1, Ordering::Relaxed);
            panic!("arranged");
        }
    }));
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, &["messages/bad.csv", "messages/good.csv"]);
        put_beta(&stage, "messages_b.csv");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(falls.load(Ordering::Relaxed), 2, "one retry");
    let bad = "outbox/messages/bad.csv.ack.csv";
    assert_eq!(ack(&stage, bad, "state").as_deref(), Some("REJECTED"));
    assert_eq!(ack(&stage, bad, "code").as_deref(), Some("file.internal"));
    assert_eq!(ack(&stage, bad, "rows_total").as_deref(), Some("0"));
    let quarantined = archived(&stage, "rejected");
    assert_eq!(quarantined.len(), 1);
    let (name, bytes) = quarantined.first_key_value().unwrap();
    assert!(name.ends_with("_bad.csv") && bytes == ROWS.as_bytes(), "{name}");
    let good = ack(&stage, "outbox/messages/good.csv.ack.csv", "state");
    assert_eq!(good.as_deref(), Some("ACCEPTED_WITH_ERRORS"));
    let beta = ack(&stage, "../beta/outbox/messages_b.csv.ack.csv", "state");
    assert_eq!(beta.as_deref(), Some("ACCEPTED_WITH_ERRORS"));
    assert_eq!(stage.log.sent().len(), 2);
}

#[test]
fn a_file_that_ends_the_process_is_given_up_and_the_others_are_answered() {
    let mut stage = Stage::new(BETA);
    let disk = stage.disk.clone();
    // What kills a process leaves no word: nothing of this life is stored any more.
    stage.mishap = Some(Arc::new(move |file| {
        if file.ends_with("bad.csv") {
            disk.fail_commit(1, false);
        }
    }));
    let mut now: Timestamp = START.parse().unwrap();
    let mut deaths = 0;
    loop {
        let (end, then) = stage.live(now, async |life| {
            if deaths == 0 {
                put(&life, &["messages/bad.csv"]);
                put_beta(&stage, "messages_b.csv");
            }
            (life.rest(PATIENCE).await, life.world.clock.now())
        });
        if end == End::Rest {
            break;
        }
        assert_eq!(end, End::Crash);
        deaths += 1;
        assert!(deaths <= 3, "it goes on dying");
        now = then + Duration::from_secs(60);
    }
    assert_eq!(deaths, 3);
    let bad = "outbox/messages/bad.csv.ack.csv";
    assert_eq!(ack(&stage, bad, "code").as_deref(), Some("file.internal"));
    assert_eq!(archived(&stage, "rejected").len(), 1);
    let beta = ack(&stage, "../beta/outbox/messages_b.csv.ack.csv", "state");
    assert_eq!(beta.as_deref(), Some("ACCEPTED_WITH_ERRORS"));
    // The name is free again.
    stage.mishap = None;
    stage.live(now, async |life| {
        put(&life, &["messages/bad.csv"]);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(ack(&stage, bad, "state").as_deref(), Some("ACCEPTED_WITH_ERRORS"));
}

#[test]
fn a_file_that_was_there_when_the_process_was_killed_twice_is_read_all_the_same() {
    let mut stage = Stage::new("");
    let disk = stage.disk.clone();
    let kills = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&kills);
    stage.mishap = Some(Arc::new(move |_| {
        if counted.fetch_add(1, Ordering::Relaxed) < 2 {
            disk.fail_commit(1, false);
        }
    }));
    let mut now: Timestamp = START.parse().unwrap();
    for _ in 0..2 {
        now = stage.live(now, async |life| {
            if kills.load(Ordering::Relaxed) == 0 {
                put(&life, &["messages/a.csv"]);
            }
            assert_eq!(life.rest(PATIENCE).await, End::Crash);
            life.world.clock.now() + Duration::from_secs(60)
        });
    }
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let batch = life.store.newest_batch().unwrap().unwrap();
        assert_eq!(batch.facts.tries, 0, "what was read to its end has a clean record");
        life.stop().await;
    });
    let state = ack(&stage, "outbox/messages/a.csv.ack.csv", "state");
    assert_eq!(state.as_deref(), Some("ACCEPTED_WITH_ERRORS"));
}

#[test]
fn an_answer_that_cannot_be_written_leaves_the_ack_and_the_other_files() {
    let mut stage = Stage::new("");
    stage.mishap = Some(Arc::new(|what| assert_ne!(what, "rejected", "arranged")));
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, &["messages/a.csv"]);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let answers: Vec<String> = files_below(&stage.tenant("outbox/messages")).into_keys().collect();
    let expected = ["ack", "errors", "final", "result", "summary"];
    assert_eq!(answers, expected.map(|answer| format!("a.csv.{answer}.csv")));
}

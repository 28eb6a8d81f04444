//! What is asked of a file while its messages are on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::stage::{End, Life, Stage, files_below};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3600);
/// One message after the other, each takes a while.
const SLOW: &str = "provider.sim.delay = \"10s\"\nprovider.sim.concurrency = 1\n";
const ROWS: &str =
    "row_id,phone,text\nr1,01701234501,One\nr2,01701234502,Two\nr3,01701234503,Three\n";

fn put(life: &Life<'_>, name: &str, text: &str) {
    life.drop_files(&BTreeMap::from([(name.to_owned(), text.as_bytes().to_vec())]), true);
}

/// A column of an answer.
fn column(stage: &Stage, answer: &str, name: &str) -> Vec<String> {
    let answers = files_below(&stage.tenant("outbox/messages"));
    let mut reader = csv::Reader::from_reader(answers[answer].as_slice());
    let at = reader.headers().unwrap().iter().position(|header| header == name).unwrap();
    reader.records().map(|record| record.unwrap()[at].to_owned()).collect()
}

#[test]
fn a_message_on_the_wire_ends_as_it_ends_and_the_others_are_cancelled() {
    let stage = Stage::new(SLOW);
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", ROWS);
        // The inbox is looked at every fifteen seconds: the second message is on the wire by then.
        tokio::time::sleep(Duration::from_secs(5)).await;
        put(&life, "messages/a.csv.cancel", "");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let status = column(&stage, "a.csv.result.csv", "status");
    assert_eq!(status, ["submitted", "submitted", "cancelled"]);
    assert_eq!(stage.log.sent().len(), 2);
}

#[test]
fn a_pause_holds_over_a_restart_until_it_is_resumed() {
    let stage = Stage::new(SLOW);
    let paused = |stage: &Stage| column(stage, "a.csv.progress.csv", "state");
    let now = stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", ROWS);
        tokio::time::sleep(Duration::from_secs(5)).await;
        put(&life, "messages/a.csv.pause", "");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(paused(&stage), ["PAUSED"]);
        let now: Timestamp = life.world.clock.now();
        life.stop().await;
        now
    });
    assert_eq!(stage.log.sent().len(), 2, "the message on the wire was the second");
    stage.live(now, async |life| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!((paused(&stage), stage.log.sent().len()), (vec!["PAUSED".to_owned()], 2));
        put(&life, "messages/a.csv.resume", "");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(stage.log.sent().len(), 3);
    assert_eq!(column(&stage, "a.csv.summary.csv", "submitted"), ["3"]);
}

/// Of the third row the file says itself when it ends; the others have ten minutes, being what they are.
const SHORT_LIVED: &str = "row_id,phone,text,category,expires_at\n\
    r1,01701234501,One,authentication,\nr2,01701234502,Two,authentication,\n\
    r3,01701234503,Three,authentication,2026-11-23 10:05\nr4,01701234504,Four,authentication,\n";

/// Pauses the file while its second message is on the wire, until the others have run out of time.
async fn expire_while_paused(life: &Life<'_>) {
    put(life, "messages/a.csv", SHORT_LIVED);
    tokio::time::sleep(Duration::from_secs(5)).await;
    put(life, "messages/a.csv.pause", "");
    tokio::time::sleep(Duration::from_secs(900)).await;
}

#[test]
fn rows_of_a_paused_file_run_out_of_time_and_the_file_is_answered() {
    let stage = Stage::new(SLOW);
    stage.live(START.parse().unwrap(), async |life| {
        expire_while_paused(&life).await;
        let status = column(&stage, "a.csv.result.csv", "status");
        assert_eq!(status, ["submitted", "submitted", "expired", "expired"]);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let codes = column(&stage, "a.csv.result.csv", "code");
    assert_eq!(codes, ["", "", "policy.expired", "policy.expired"]);
}

#[test]
fn a_resend_never_sends_past_the_expires_at_that_the_file_gave() {
    let stage = Stage::new(SLOW);
    stage.live(START.parse().unwrap(), async |life| {
        expire_while_paused(&life).await;
        put(&life, "control/c.csv", "op,target\nresend,file:a.csv\n");
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let status = column(&stage, "a.csv.result.csv", "status");
    assert_eq!(status, ["submitted", "submitted", "expired", "submitted"]);
    assert_eq!(stage.log.sent().len(), 3);
}

#[test]
fn a_row_that_may_have_gone_out_stays_unknown_when_its_resend_is_cancelled() {
    let stage = Stage::new("");
    stage.live(START.parse().unwrap(), async |life| {
        put(&life, "messages/a.csv", "row_id,phone,text\nr1,01701230108,One\nr2,01701230101,Two\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        put(&life, "control/c.csv", "op,target\nresend,file:a.csv\ncancel,file:a.csv\n");
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["unknown", "cancelled"]);
    assert_eq!(column(&stage, "a.csv.result.csv", "attempts"), ["1", "0"]);
    assert_eq!(stage.log.sent().len(), 2, "neither was sent again");
}

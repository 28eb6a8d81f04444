//! What partners are told of uploads that were cut, and of names that cannot be answered.

use std::collections::BTreeMap;
use std::time::Duration;

use dropchute::batch::Decider;
use jiff::Timestamp;

use crate::stage::{End, Stage, files_below};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3600);

/// The lines of the stream of notices, over all its files, without `spec`.
fn notices(stage: &Stage) -> Vec<String> {
    let files = files_below(&stage.tenant("outbox")).into_iter();
    let text = files.filter(|(name, _)| name.starts_with("notices_")).map(|(_, bytes)| bytes);
    let text = text.map(|bytes| String::from_utf8(bytes).unwrap());
    text.flat_map(|text| text.lines().skip(1).map(|line| line[2..].to_owned()).collect::<Vec<_>>())
        .collect()
}

fn ack(stage: &Stage, folder: &str, ending: &str) -> BTreeMap<String, String> {
    let files = files_below(&stage.tenant(folder));
    let found = files.iter().find(|(name, _)| name.ends_with(ending));
    let (_, bytes) = found.unwrap_or_else(|| panic!("{ending} in {:?}", files.keys()));
    let mut reader = csv::Reader::from_reader(bytes.as_slice());
    let header = reader.headers().unwrap().clone();
    let record = reader.records().next().unwrap().unwrap();
    header.iter().zip(&record).map(|(a, b)| (a.to_owned(), b.to_owned())).collect()
}

fn state(ack: &BTreeMap<String, String>) -> (&str, &str, &str) {
    (&ack["state"], &ack["code"], &ack["proof"])
}

/// A stage on which an upload was cut half an hour ago, in the middle of its second row.
fn cut_upload() -> Stage {
    let stage = Stage::new("");
    let bytes = b"phone,text\n01701234567,One\n0170123";
    stage.lay_cut_upload("inbox/messages/a.csv", bytes, "2026-11-23T08:30:00Z");
    stage
}

#[test]
fn a_cut_upload_is_told_at_once_and_held_once_nobody_continues_it() {
    let stage = cut_upload();
    let now = stage.live(START.parse().unwrap(), async |life| {
        tokio::time::sleep(Duration::from_secs(90)).await;
        assert_eq!(notices(&stage).len(), 1);
        assert!(!stage.tenant("outbox/messages/a.csv.ack.csv").exists());
        // In the middle of the window the process ends without a word.
        life.world.clock.now()
    });
    let now = stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let ack = ack(&stage, "outbox", "messages/a.csv.ack.csv");
        assert_eq!(state(&ack), ("HELD", "file.incomplete", ""));
        assert_eq!((ack["bytes"].as_str(), ack["kind"].as_str()), ("34", "messages"));
        life.world.clock.now()
    });
    let said = notices(&stage);
    assert_eq!(said.len(), 1, "{said:?}");
    let told =
        "1,2026-11-23T08:30:00Z,warning,file.incomplete,a.csv,the upload was cut after 34 bytes";
    assert!(said[0].starts_with(told), "{said:?}");
    // The whole file ends it.
    stage.live(now, async |life| {
        let whole = b"phone,text\n01701234567,One\n01701234568,Two\n".to_vec();
        life.drop_files(&[("messages/a.csv".to_owned(), whole)].into(), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
    });
    let new = ack(&stage, "outbox", "messages/a.csv.ack.csv");
    assert_eq!((state(&new), new["rows_total"].as_str()), (("ACCEPTED", "", "close"), "2"));
    let old = ack(&stage, "archive/answers", "_a.csv.ack.csv");
    assert_eq!(state(&old), ("REJECTED", "file.incomplete", ""));
}

#[test]
fn a_cut_upload_that_is_approved_is_taken_as_it_is() {
    let stage = cut_upload();
    stage.live(START.parse().unwrap(), async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        let held = life.store.holds().unwrap().remove(0);
        assert_eq!(held.account, "erp");
        life.store.release(held.id, &Decider::Operator, life.world.clock.now()).unwrap();
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
    });
    let ack = ack(&stage, "outbox", "messages/a.csv.ack.csv");
    assert_eq!(state(&ack), ("ACCEPTED_WITH_ERRORS", "row.cut", ""));
    assert_eq!((ack["rows_accepted"].as_str(), ack["rows_rejected"].as_str()), ("1", "1"));
}

#[test]
fn names_that_cannot_be_answered_are_told_once_over_all_restarts() {
    let stage = Stage::new("");
    let long = format!("{}.csv", "x".repeat(200));
    let mut now: Timestamp = START.parse().unwrap();
    for life_number in 1..=2 {
        now = stage.live(now, async |life| {
            for name in ["a\u{1}.csv", &long].into_iter().filter(|_| life_number == 1) {
                std::fs::write(stage.tenant("inbox/messages").join(name), "phone,text\n").unwrap();
            }
            tokio::time::sleep(Duration::from_secs(200)).await;
            life.world.clock.now()
        });
    }
    let said = notices(&stage);
    let about: Vec<String> =
        said.iter().map(|line| line.split(',').nth(4).unwrap().chars().take(6).collect()).collect();
    assert_eq!(about, ["a\u{fffd}.csv", "xxxxxx"], "{said:?}");
    assert!(said.iter().all(|line| line.contains("file.name_invalid")), "{said:?}");
}

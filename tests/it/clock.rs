//! The wall clock over restarts: due backlogs, clocks that were put forwards and back.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};

use crate::stage::{End, Life, Stage};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3600);

fn put(life: &Life<'_>, name: &str, text: &str) {
    life.drop_files(&BTreeMap::from([(name.to_owned(), text.as_bytes().to_vec())]), true);
}

fn start() -> Timestamp {
    START.parse().unwrap()
}

fn sent(stage: &Stage) -> Vec<Timestamp> {
    stage.log.sent().iter().map(|line| line.at).collect()
}

#[test]
fn a_backlog_that_became_due_while_nothing_ran_drains_within_the_rate() {
    let stage = Stage::new("provider.sim.rate = \"10/s\"\n");
    stage.live(start(), async |life| {
        let rows: String =
            (0..300).map(|n| format!("01701235{n:03},Row {n},2026-11-23T10:00:00Z\n")).collect();
        put(&life, "messages/a.csv", &format!("phone,text,send_at\n{rows}"));
        assert_eq!(life.answered(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(sent(&stage), []);
    let later = start() + 3.hours();
    stage.live(later, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let sent = sent(&stage);
    assert!(sent.iter().all(|at| *at >= later), "nothing was sent while nothing ran");
    // A full bucket at the start, then its rate; endings of numbers that are refused once come again.
    for second in 0..40 {
        let within = |at: &&Timestamp| {
            **at >= later + second.seconds() && **at < later + (second + 1).seconds()
        };
        let count = sent.iter().filter(within).count();
        assert!(count <= 20, "{count} in second {second}");
    }
    let last = *sent.iter().max().unwrap();
    assert!(last >= later + 20.seconds(), "300 messages at 10 a second: {last}");
    assert!(last <= later + 120.seconds(), "and not much slower: {last}");
}

/// The clock goes back a day, then is right again: nothing is early, lost or sent twice.
#[test]
fn a_clock_that_is_put_back_and_forwards_again_neither_loses_nor_doubles_a_row() {
    let stage = Stage::new("");
    stage.live(start(), async |life| {
        let rows = "row_id,phone,text,send_at\nr1,01701234501,Now,\nr2,01701234502,Later,2026-11-23T10:00:00Z\n";
        put(&life, "messages/a.csv", rows);
        tokio::time::sleep(Duration::from_secs(60)).await;
        life.stop().await;
    });
    assert_eq!(sent(&stage).len(), 1);
    let before = start() - 24.hours();
    stage.live(before, async |life| {
        put(&life, "messages/b.csv", "row_id,phone,text\nr3,01701234503,Yesterday\n");
        tokio::time::sleep(Duration::from_secs(600)).await;
        life.stop().await;
    });
    assert_eq!(sent(&stage).len(), 2, "what has no time of its own goes on; the other row waits");
    stage.live(start() + 2.hours(), async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let mut texts: Vec<String> =
        stage.log.sent().iter().map(|line| line.field("text").to_owned()).collect();
    texts.sort();
    assert_eq!(texts, ["Later", "Now", "Yesterday"]);
}

#[test]
fn a_clock_that_is_a_day_ahead_expires_what_then_is_too_old_and_sends_nothing_twice() {
    let stage = Stage::new("");
    stage.live(start(), async |life| {
        let rows = "row_id,phone,text,send_at,expires_at\n\
            r1,01701234501,Day,2026-11-23T10:00:00Z,2026-11-23T12:00:00Z\n\
            r2,01701234502,Week,2026-11-23T10:00:00Z,2026-11-30T12:00:00Z\n";
        put(&life, "messages/a.csv", rows);
        assert_eq!(life.answered(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    stage.live(start() + 24.hours(), async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    stage.live(start() + 1.minutes(), async |life| {
        tokio::time::sleep(Duration::from_secs(7200)).await;
        life.stop().await;
    });
    let texts: Vec<String> =
        stage.log.sent().iter().map(|line| line.field("text").to_owned()).collect();
    assert_eq!(texts, ["Week"]);
}

/// What a wrong clock alone has brought about waits for a minute: then it is believed, or right again.
#[test]
fn a_clock_that_jumps_ahead_for_a_moment_expires_nothing_and_sends_nothing_early() {
    let stage = Stage::new("");
    stage.live(start(), async |life| {
        let rows = "row_id,phone,text,send_at,expires_at\n\
            r1,01701234501,Soon,2026-11-23T10:00:00Z,2026-11-23T12:00:00Z\n\
            r2,01701234502,Late,2026-11-23T20:00:00Z,2026-11-30T12:00:00Z\n";
        put(&life, "messages/a.csv", rows);
        tokio::time::sleep(Duration::from_secs(60)).await;
        life.world.clock.put(24.hours().try_into().unwrap());
        put(&life, "messages/b.csv", "row_id,phone,text\nr3,01701234503,Now\n");
        tokio::time::sleep(Duration::from_secs(50)).await;
        assert_eq!(sent(&stage).len(), 1, "what has no time of its own goes on");
        life.world.clock.put((-24).hours().try_into().unwrap());
        assert_eq!(life.rest(24 * PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let sent = stage.log.sent();
    let at = |text: &str| sent.iter().find(|line| line.field("text") == text).unwrap().at;
    assert!(at("Soon") >= start() + 1.hours() && at("Soon") < start() + 65.minutes());
    assert!(at("Late") >= start() + 11.hours());
    assert_eq!(sent.len(), 3);
}

#[test]
fn a_clock_that_jumps_ahead_and_stays_is_believed_after_a_minute() {
    let stage = Stage::new("");
    stage.live(start(), async |life| {
        let rows = "row_id,phone,text,send_at,expires_at\n\
            r1,01701234501,Over,2026-11-23T10:00:00Z,2026-11-23T12:00:00Z\n\
            r2,01701234502,Due,2026-11-23T20:00:00Z,2026-11-30T12:00:00Z\n";
        put(&life, "messages/a.csv", rows);
        tokio::time::sleep(Duration::from_secs(60)).await;
        life.world.clock.put(24.hours().try_into().unwrap());
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(sent(&stage), []);
        assert_eq!(life.rest(Duration::from_secs(120)).await, End::Rest);
        life.stop().await;
    });
    let texts: Vec<String> =
        stage.log.sent().iter().map(|line| line.field("text").to_owned()).collect();
    assert_eq!(texts, ["Due"]);
}

/// A retry that was planned a day ahead does not wait for that day, be it over a restart.
#[test]
fn retries_stored_under_a_wrong_clock_come_when_it_is_right_again() {
    for restarts in [false, true] {
        let stage = Stage::new("provider.sim.retry_first = \"10m\"\n");
        let ahead = start() + 24.hours();
        let first = async |life: &Life<'_>| {
            put(
                life,
                "messages/a.csv",
                "row_id,phone,text,expires_at\nr1,01701230106,One,2026-12-01T12:00:00Z\n",
            );
            tokio::time::sleep(Duration::from_secs(60)).await;
            assert_eq!(sent(&stage).len(), 1, "refused once");
        };
        if restarts {
            stage.live(ahead, async |life| {
                first(&life).await;
                life.stop().await;
            });
            stage.live(start(), async |life| {
                assert_eq!(life.rest(PATIENCE).await, End::Rest);
                life.stop().await;
            });
        } else {
            stage.live(ahead, async |life| {
                first(&life).await;
                life.world.clock.put((-24).hours().try_into().unwrap());
                assert_eq!(life.rest(PATIENCE).await, End::Rest);
                life.stop().await;
            });
        }
        assert_eq!(sent(&stage).len(), 2, "restarts: {restarts}");
    }
}

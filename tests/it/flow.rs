//! Chunks on their way out at a slow provider: what is claimed ahead of its rate.

use std::cell::Cell;
use std::fmt::Write;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use dropchute::faults::{FileAct, arrange};

use crate::halts::{column, put, wait};
use crate::stage::{End, Line, Stage};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

#[test]
fn a_power_cut_makes_only_the_next_rows_of_a_slow_provider_unknown() {
    let mut stage = Stage::new("provider.sim.rate = \"10/min\"\n");
    let now = stage.live(START.parse().unwrap(), async |life| {
        let mut rows = "row_id,phone,text\n".to_owned();
        (0..300).for_each(|n| writeln!(rows, "r{n},01701234{n:03},Hello").unwrap());
        put(&life, "messages/a.csv", &rows);
        wait(60).await;
        life.world.clock.now()
    });
    let sent = stage.log.sent().len();
    assert!((5..30).contains(&sent), "{sent} were sent");
    stage.boot += 1;
    stage.live(now, async |life| {
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let status = column(&stage, "a.csv.result.csv", "status");
    let unknown = status.iter().filter(|status| *status == "unknown").count();
    assert!(unknown <= 2, "{unknown} rows are unknown, and {sent} of 300 were sent");
}

#[test]
fn who_is_on_the_wire_is_heard_while_there_is_no_room_for_outcomes() {
    let stage = Stage::new("provider.sim.rate = \"1/s\"\nprovider.sim.delay = \"3s\"\n");
    let is_full = Rc::new(Cell::new(false));
    let listener = Rc::clone(&is_full);
    let _arranged = arrange(move |act| match act {
        FileAct::Write(_) if listener.get() => Err(io::Error::from_raw_os_error(28)),
        _ => Ok(()),
    });
    stage.live(START.parse().unwrap(), async |life| {
        let rows: String = (0..9).map(|n| format!("r{n},01701234{n:03},Hello\n")).collect();
        put(&life, "messages/a.csv", &format!("row_id,phone,text\n{rows}"));
        while stage.log.sent().len() < 2 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        is_full.set(true);
        wait(120).await;
        assert!(!life.store.health().failed);
        let begun = stage.log.sent();
        let answered = stage.log.lines();
        let answered = answered.iter().filter(|line| line.message == "simulator answers");
        let answered: Vec<_> = answered.map(|line| line.at).collect();
        assert_eq!(answered.len(), begun.len(), "nobody listens");
        for (line, at) in begun.iter().zip(answered) {
            assert!(at.duration_since(line.at).as_secs() <= 4, "{line}: {at}");
        }
        is_full.set(false);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    assert_eq!(column(&stage, "a.csv.result.csv", "status"), ["submitted"; 9]);
    assert_eq!(stage.log.sent().len(), 9);
}

/// The channels of the rows of a file that begin in some minutes of its time.
fn begun_within(differences: &str, rows: &str, minutes: Range<i64>) -> Vec<String> {
    let stage = Stage::new(differences);
    let start: jiff::Timestamp = START.parse().unwrap();
    stage.live(start, async |life| {
        put(&life, "messages/a.csv", rows);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let sent = stage.log.sent();
    let minute = |line: &&Line| minutes.contains(&line.at.duration_since(start).as_mins());
    sent.iter().filter(minute).map(|line| line.field("channel").to_owned()).collect()
}

#[test]
fn a_slow_answer_takes_nothing_of_a_low_rate() {
    let rows: String = (0..300).map(|n| format!("r{n},01701234{n:03},Hello\n")).collect();
    let slow = "provider.sim.rate = \"1/s\"\nprovider.sim.delay = \"6s\"\n";
    let begun = begun_within(slow, &format!("row_id,phone,text\n{rows}"), 2..4).len();
    // After half a minute a chunk claims no more until its last answer has come.
    assert!((95..=121).contains(&begun), "{begun} began in two minutes");
}

#[test]
fn a_slow_providers_rows_hold_up_no_others_of_their_file() {
    let rows: String = (0..300)
        .map(|n| match n % 2 {
            0 => format!("r{n},sms,01701234{n:03},,Hello\n"),
            _ => format!("r{n},email,,ann{n}@example.com,Hello\n"),
        })
        .collect();
    let rows = format!("row_id,channel,phone,email,text\n{rows}");
    let two = "provider.slow = { kind = \"simulator\", rate = \"1/s\" }\n
        tenant.acme.channel.sms = [\"slow\"]\n";
    let begun = begun_within(two, &rows, 0..1);
    let count = |channel| begun.iter().filter(|of| *of == channel).count();
    assert_eq!(count("email"), 150, "{} texts", count("sms"));
    assert!((40..=70).contains(&count("sms")), "{} texts", count("sms"));
}

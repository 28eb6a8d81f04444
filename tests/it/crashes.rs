//! Crashes: the store fails at every commit, or the process dies at any moment, and starts again.
//!
//! What must hold after that: every file is answered, rows in equal rows out, nothing is sent twice,
//! and what the partner reads is what he would have read without the crash, except for times, ids,
//! and rows that were on the wire.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use dropchute::store::Store;
use jiff::Timestamp;

use crate::stage::{End, Stage, files_below};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(3600);
/// Between the end of a process and the start of the next.
const PAUSE: Duration = Duration::from_secs(60);

/// Crashes played at once.
const THREADS: usize = 8;

/// Good rows, a refused one, a duplicate, one that is tried again, one that fails; a file that is refused.
fn files() -> BTreeMap<String, Vec<u8>> {
    let good = "row_id,phone,email,subject,text,x_n\n\
                r1,01701234567,,,One,1\n\
                r2,,ann.0106@example.com,S,Two,2\n\
                r3,12,,,Bad,3\n\
                r1,01701234568,,,Again,4\n\
                r4,,bob.0101@example.com,S,Gone,5\n\
                r5,01701234569,,,Five,6\n";
    let files = [("messages/good.csv", good), ("messages/bad.csv", "phone,text\n12,Bad\n")];
    files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).into()
}

/// The answers without what a crash may change: times, ids.
type Answers = BTreeMap<String, Vec<BTreeMap<String, String>>>;

fn answers(stage: &Stage) -> Answers {
    let mut answers = Answers::new();
    for (name, bytes) in files_below(&stage.tenant("outbox")) {
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        let header = reader.headers().unwrap().clone();
        let rows = reader.records().map(|record| {
            let record = record.unwrap();
            let cells = header.iter().zip(&record).filter(|(column, _)| {
                // The proof, too: a client that heard no success leaves only a quiet file, which comes
                // later, so that numbers may come in another order.
                !column.ends_with("_at")
                    && !column.ends_with("_id")
                    && !["deferred_until", "proof", "next_seq"].contains(column)
            });
            cells.map(|(column, cell)| (column.to_owned(), without_id(cell))).collect()
        });
        answers.insert(name, rows.collect());
    }
    answers
}

/// A sentence without the id of the batch it names.
fn without_id(text: &str) -> String {
    match text.split_once(" (batch ") {
        Some((before, rest)) => {
            format!("{before}{}", rest.split_once(')').map_or("", |(_, after)| after))
        }
        None => text.to_owned(),
    }
}

fn check(stage: &Stage, whole: &Answers, when: &str) {
    let found = answers(stage);
    let names = |answers: &Answers| answers.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(whole), "{when}: every answer, once");
    let mut unknown = 0;
    for (name, rows) in whole {
        assert_eq!(found[name].len(), rows.len(), "{when}: {name}: rows in are rows out");
        for (row, expected) in found[name].iter().zip(rows) {
            let on_the_wire = row.get("status").is_some_and(|status| status == "unknown");
            unknown += usize::from(on_the_wire && name.ends_with(".final.csv"));
            // A summary counts the rows that were on the wire, too; its sum is checked below.
            if !on_the_wire && !name.ends_with(".summary.csv") {
                assert_eq!(row, expected, "{when}: {name}");
            }
        }
    }
    let summary = &found["messages/good.csv.summary.csv"][0];
    let number = |column: &str| summary[column].parse::<usize>().unwrap();
    assert_eq!(number("unknown"), unknown, "{when}");
    let sum: usize = summary
        .iter()
        .filter(|(column, _)| !["spec", "rows_total", "parts"].contains(&column.as_str()))
        .filter_map(|(_, cell)| cell.parse::<usize>().ok())
        .sum();
    assert_eq!(number("rows_total"), sum, "{when}: {summary:?}");
    let mut handed_over = BTreeMap::new();
    for line in stage.log.sent().iter().filter(|line| line.field("outcome") != "transient") {
        *handed_over.entry(line.field("to").to_owned()).or_insert(0) += 1;
    }
    assert!(handed_over.values().all(|times| *times == 1), "{when}: sent twice: {handed_over:?}");
    let lost: Vec<_> = files_below(&stage.folder.path().join("data/batches")).into_keys().collect();
    assert!(lost.iter().all(|name| !name.contains("input")), "{when}: left behind: {lost:?}");
}

/// The next process, which brings everything to rest.
fn live_on(stage: &Stage, now: Timestamp, when: &str) {
    let end = stage.live(now + PAUSE, async |life| life.rest(PATIENCE).await);
    let log = || stage.log.lines().iter().map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(end, End::Rest, "{when}:\n{}", log());
}

fn uninterrupted(differences: &str) -> (Stage, Answers) {
    let stage = Stage::new(differences);
    let end = stage.live(START.parse().unwrap(), async |life| {
        life.drop_files(&files(), true);
        life.rest(PATIENCE).await
    });
    assert_eq!(end, End::Rest);
    let whole = answers(&stage);
    (stage, whole)
}

#[test]
fn a_store_that_fails_at_any_commit_loses_nothing_and_sends_nothing_twice() {
    let (first, whole) = uninterrupted("");
    let commits = first.disk.commits();
    assert!(commits > 15, "the journey writes {commits} times");
    for applied in [false, true] {
        for nth in 1..=commits {
            let when = format!("commit {nth} failed, applied: {applied}");
            let stage = Stage::new("");
            let (end, now) = stage.live(START.parse().unwrap(), async |life| {
                // The version of the store is written before anything can fail.
                stage.disk.fail_commit(nth, applied);
                life.drop_files(&files(), true);
                (life.rest(PATIENCE).await, life.world.clock.now())
            });
            if end == End::Rest {
                // The journey was over before this commit.
                check(&stage, &whole, &when);
                continue;
            }
            assert_eq!(end, End::Crash, "{when}");
            // The next process fails as well, early on: in the middle of picking up the pieces.
            let now = stage.live(now + PAUSE, async |life| {
                stage.disk.fail_commit(nth % 5 + 1, applied);
                life.rest(PATIENCE).await;
                life.world.clock.now()
            });
            live_on(&stage, now, &when);
            check(&stage, &whole, &when);
        }
    }
}

/// Files with several rows wait for approval, a numbered one for the number before it.
const HOLDING: &str = "tenant.acme.approve_above = 1\ntenant.acme.profile.counted.match = \"N*\"\n\
                       tenant.acme.profile.counted.sequence = \"hold\"\n";

fn counted_files() -> BTreeMap<String, Vec<u8>> {
    let counted = [("Na", 1), ("Nb", 3), ("Nc", 2)].map(|(name, number)| {
        let text = format!("#seq={number}\nphone,text\n0170123400{number},Number {number}\n");
        (format!("messages/{name}.csv"), text.into_bytes())
    });
    files().into_iter().chain(counted).collect()
}

/// One process: drops files, decides about those that are held, and goes on to rest.
fn live_with_holds(stage: &Stage, now: Timestamp, drop: bool, release: bool) -> (End, Timestamp) {
    stage.live(now, async |life| {
        if drop {
            life.drop_files(&counted_files(), true);
        }
        let mut end = life.rest(PATIENCE).await;
        if end == End::Rest {
            life.decide_holds(release);
            end = life.rest_without_holds(PATIENCE).await;
        }
        (end, life.world.clock.now())
    })
}

/// Plays the files with a store that fails at the `nth` commit, and once more.
fn crash_while_holding(whole: &Answers, release: bool, nth: u64, applied: bool) {
    let when = format!("release: {release}, commit {nth} failed, applied: {applied}");
    let stage = Stage::new(HOLDING);
    // The version of the store is written before anything can fail.
    drop(Store::simulated(&stage.disk).unwrap());
    stage.disk.fail_commit(nth, applied);
    let (mut end, now) = live_with_holds(&stage, START.parse().unwrap(), true, release);
    if end != End::Rest {
        assert_eq!(end, End::Crash, "{when}");
        end = live_with_holds(&stage, now + PAUSE, false, release).0;
    }
    assert_eq!(end, End::Rest, "{when}");
    if release {
        check(&stage, whole, &when);
    } else {
        assert_eq!(&answers(&stage), whole, "{when}");
    }
}

#[test]
fn a_held_file_is_released_or_refused_once_whatever_commit_fails() {
    for release in [true, false] {
        let first = Stage::new(HOLDING);
        let (end, _) = live_with_holds(&first, START.parse().unwrap(), true, release);
        let (whole, commits) = (answers(&first), first.disk.commits());
        let state = &whole["messages/good.csv.ack.csv"][0]["state"];
        let expected = if release { "ACCEPTED_WITH_ERRORS" } else { "REJECTED" };
        assert_eq!((end, state.as_str()), (End::Rest, expected));
        assert_eq!(whole["messages/Nb.csv.ack.csv"][0]["state"], "ACCEPTED");
        let crashes = (1..=commits).flat_map(|nth| [(nth, false), (nth, true)]);
        // They mostly wait for the disk: several at once.
        let queue = Mutex::new(crashes.collect::<Vec<_>>());
        std::thread::scope(|threads| {
            for _ in 0..THREADS {
                threads.spawn(|| {
                    loop {
                        let Some((nth, applied)) = queue.lock().unwrap().pop() else { break };
                        crash_while_holding(&whole, release, nth, applied);
                    }
                });
            }
        });
    }
}

#[test]
fn a_process_that_dies_at_any_moment_loses_nothing_and_sends_nothing_twice() {
    // Each message takes a while, so that a death finds some on the wire.
    let slow = "provider.sim.delay = \"700ms\"\nprovider.sim.concurrency = 2\n";
    let (_, whole) = uninterrupted(slow);
    let mut unknown = 0;
    for tenths in (1..120).step_by(3) {
        let (when, stage) = (format!("died after {tenths} tenths"), Stage::new(slow));
        let now = stage.live(START.parse().unwrap(), async |life| {
            life.drop_files(&files(), true);
            tokio::time::sleep(Duration::from_millis(tenths * 100)).await;
            life.world.clock.now()
        });
        live_on(&stage, now, &when);
        check(&stage, &whole, &when);
        let summary = &answers(&stage)["messages/good.csv.summary.csv"][0];
        unknown += summary["unknown"].parse::<u32>().unwrap();
    }
    assert!(unknown > 0, "no death found a message on the wire");
}

/// What the stream of notices says, over all its files: the number of each line, and what it is about.
fn notices(stage: &Stage) -> Vec<(u64, String)> {
    let mut notices = Vec::new();
    for (number, (name, bytes)) in (1..).zip(
        files_below(&stage.tenant("outbox"))
            .into_iter()
            .filter(|(name, _)| name.starts_with("notices_")),
    ) {
        assert_eq!(name, format!("notices_20261123_{number:06}.csv"), "no gap between files");
        let mut reader = csv::Reader::from_reader(bytes.as_slice());
        for record in reader.records() {
            let record = record.unwrap();
            let message = record[6].split(" (batch").next().unwrap().to_owned();
            let about = format!("{} {} {message}", &record[4], &record[5]);
            notices.push((record[1].parse().unwrap(), about));
        }
    }
    notices
}

/// Two lives: a file with its manifest, a marker without a file and an upload that was cut; then a digest
/// that comes too late and lies. The store fails at the `nth` commit of both together.
fn play_sidecars(stage: &Stage, fail_at: Option<(u64, bool)>, when: &str) {
    let files = |names: &[(&str, &str)]| -> BTreeMap<String, Vec<u8>> {
        names.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    };
    let first = files(&[
        ("messages/a.csv", "phone,text\n01701234567,One"),
        ("messages/a.csv.manifest.json", "{\"file\":\"a.csv\",\"rows\":1}"),
        ("messages/b.csv", "phone,text\n01701234568,Two\n"),
        ("messages/lost.csv.done", ""),
    ]);
    let late = files(&[("messages/b.csv.sha256", "00")]);
    stage.lay_cut_upload("inbox/messages/cut.csv", b"phone,text\n0170", "2026-11-23T08:00:01Z");
    let mut now: Timestamp = START.parse().unwrap();
    for (number, dropped) in [first, late].into_iter().enumerate() {
        let (end, until) = stage.live(now, async |life| {
            if let Some((nth, applied)) = fail_at.filter(|_| number == 0) {
                stage.disk.fail_commit(nth, applied);
            }
            life.drop_files(&dropped, true);
            (life.rest(PATIENCE).await, life.world.clock.now())
        });
        now = until + PAUSE;
        match end {
            End::Rest => {}
            End::Crash => live_on(stage, until, when),
            End::Late(left) => panic!("{when}: {left}"),
        }
    }
}

#[test]
fn sidecars_cut_uploads_and_notices_survive_a_crash_at_any_commit() {
    const DIFFERENCES: &str = "tenant.acme.pair_timeout = \"20m\"\n\
         [tenant.acme.profile.lost]\nmatch = \"lost*\"\npair_timeout = \"1m\"\n";
    let whole = Stage::new(DIFFERENCES);
    play_sidecars(&whole, None, "without a crash");
    let (expected, said) = (answers(&whole), notices(&whole));
    let mut about: Vec<&str> = said.iter().map(|(_, about)| about.as_str()).collect();
    about.sort_unstable();
    assert_eq!(about.len(), 2, "{about:?}");
    assert!(about[0].starts_with("file.checksum_mismatch b.csv.sha256 it came after b.csv"));
    assert!(about[1].starts_with("file.incomplete cut.csv the upload was cut after 15 bytes"));
    let names = |answers: &Answers| -> Vec<String> {
        answers.keys().filter(|name| !name.starts_with("notices_")).cloned().collect()
    };
    let ack =
        |answers: &Answers, name: &str| answers[&format!("messages/{name}.ack.csv")][0].clone();
    let verdict = |name| {
        let ack = ack(&expected, name);
        (ack["state"].clone(), ack["code"].clone())
    };
    for (name, state, code) in [
        ("a.csv", "ACCEPTED", ""),
        ("cut.csv", "HELD", "file.incomplete"),
        ("lost.csv.done", "REJECTED", "file.pair_missing"),
    ] {
        assert_eq!((verdict(name).0.as_str(), verdict(name).1.as_str()), (state, code));
    }
    for applied in [false, true] {
        for nth in 1..=whole.disk.commits() {
            let when = format!("commit {nth} failed, applied: {applied}");
            let stage = Stage::new(DIFFERENCES);
            play_sidecars(&stage, Some((nth, applied)), &when);
            let found = notices(&stage);
            let numbers: Vec<u64> = found.iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (1..=found.len() as u64).collect::<Vec<_>>(), "{when}");
            let mut told: Vec<&str> = found.iter().map(|(_, about)| about.as_str()).collect();
            told.sort_unstable();
            assert_eq!(told, about, "{when}");
            let found = answers(&stage);
            assert_eq!(names(&found), names(&expected), "{when}");
            for name in ["a.csv", "b.csv", "cut.csv", "lost.csv.done"] {
                let (found, expected) = (ack(&found, name), ack(&expected, name));
                assert_eq!(found, expected, "{when}");
            }
        }
    }
}

/// A file of which one row fails; what is asked of it later, and of a file that comes with it.
fn steered() -> [BTreeMap<String, Vec<u8>>; 2] {
    let files = |files: &[(&str, &str)]| {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    };
    let later = "phone,text,send_at\n\
                 01701234501,One,2026-11-23T12:00:00Z\n\
                 01701234502,Two,2026-11-23T12:00:00Z\n";
    let sent =
        "row_id,email,subject,text\nr1,ann@example.com,S,One\nr2,bob.0101@example.com,S,Two\n";
    let control = "op,target\nresend,file:a.csv\nresend,file:none.csv\nresend_report,file:a.csv\n";
    [
        files(&[("messages/a.csv", sent)]),
        files(&[
            ("control/c.csv", control),
            ("messages/b.csv", later),
            ("messages/b.csv.cancel", ""),
        ]),
    ]
}

/// The first file, brought to rest.
fn lay_first(stage: &Stage) -> Timestamp {
    stage.live(START.parse().unwrap(), async |life| {
        life.drop_files(&steered()[0], true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.world.clock.now()
    })
}

fn check_steered(stage: &Stage, whole: &Answers, when: &str) {
    assert_eq!(&answers(stage), whole, "{when}");
    let mut handed_over = BTreeMap::new();
    for line in stage.log.sent() {
        *handed_over.entry(line.field("to").to_owned()).or_insert(0) += 1;
    }
    let expected = [("ann@example.com".to_owned(), 1), ("bob.0101@example.com".to_owned(), 2)];
    assert_eq!(handed_over, expected.into(), "{when}: resent once, cancelled rows never");
}

#[test]
fn what_is_asked_of_a_batch_is_done_once_whichever_commit_fails() {
    let first = Stage::new("");
    let now = lay_first(&first);
    let before = first.disk.commits();
    let end = first.live(now + PAUSE, async |life| {
        life.drop_files(&steered()[1], true);
        life.rest(PATIENCE).await
    });
    assert_eq!(end, End::Rest);
    let whole = answers(&first);
    check_steered(&first, &whole, "uninterrupted");
    let commits = first.disk.commits() - before;
    assert!(commits > 15, "the second part writes {commits} times");
    for applied in [false, true] {
        // Every other commit each way: the journeys above go through all.
        for nth in (4 + usize::from(applied)..=commits as usize).step_by(2) {
            let nth = nth as u64;
            let when = format!("commit {nth} failed, applied: {applied}");
            let stage = Stage::new("");
            let now = lay_first(&stage);
            let now = stage.live(now + PAUSE, async |life| {
                // What the door writes down is not meant here: without it the marker is not seen in time.
                life.drop_files(&steered()[1], true);
                stage.disk.fail_commit(nth - 3, applied);
                life.rest(PATIENCE).await;
                life.world.clock.now()
            });
            live_on(&stage, now, &when);
            check_steered(&stage, &whole, &when);
        }
    }
}

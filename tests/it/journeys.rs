//! Journeys: folders below `fixtures/journeys`, each a file's way from inbox to answers.
//!
//! | in a case's folder | what it is |
//! |---|---|
//! | `about.md` | two lines: goal and method |
//! | `config.toml` | differences to the base configuration; its table `[journey]` is the runner's own: `start` (the time, a Monday morning by default), `pause` (before each further folder, as `25h`), `seen = false` (no door saw the upload end), `patience` (how long a step may take, `1h` by default), `proof` (what the door saw, `close` by default), `accounts = [...]` (who drops each folder; `erp` by default), `after.1 = "release"` (or `"refuse"`: what the operator does with held files after step 1; `"wait"`: until none is held) |
//! | `inbox/`, `inbox-2/`, … | files to drop, each folder when the one before is at rest |
//! | `test-inbox/`, `test-inbox-2/`, … | files dropped into `/test/inbox` beside these |
//! | `expected/outbox/`, `expected/test/outbox/` | every answer, byte for byte |
//! | `expected/archive.txt` | the names in the archive |
//! | `expected/sent.txt` | what the provider was given, one line per attempt; of tests the simulator that they have, with `test` in front |
//! | `expected/story.txt` | the log from INFO up, in the journey's time |
//!
//! `UPDATE=1` rewrites `expected/`; `JOURNEY=<part of a name>` runs some only.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use dropchute::model::Proof;
use jiff::{SignedDuration, Timestamp};
use tracing::Level;

use crate::stage::{End, Stage, files_below};

/// Journeys played at once.
const THREADS: usize = 8;
/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";

#[test]
fn every_journey_ends_as_its_folder_says() {
    let only = std::env::var("JOURNEY").unwrap_or_default();
    let update = std::env::var_os("UPDATE").is_some();
    let mut cases = cases();
    cases.retain(|case| case.to_string_lossy().contains(&only));
    assert!(!cases.is_empty(), "no journey of this name");
    // Journeys mostly wait for the disk: several at once, each on a thread of its own.
    let (queue, wrong) = (Mutex::new(cases.into_iter()), Mutex::new(BTreeMap::new()));
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                loop {
                    let Some(case) = queue.lock().unwrap().next() else { break };
                    let difference = compare(&case, update);
                    if !difference.is_empty() {
                        wrong.lock().unwrap().insert(case, difference);
                    }
                }
            });
        }
    });
    let wrong: String = wrong.into_inner().unwrap().into_values().collect();
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// Plays a case; returns what is not as expected.
fn compare(case: &Path, update: bool) -> String {
    let name = case.file_name().unwrap().to_string_lossy();
    let about = std::fs::read_to_string(case.join("about.md")).unwrap_or_default();
    assert_eq!(about.lines().count(), 2, "{name}: about.md says goal and method in two lines");
    let found = play(case);
    let expected = case.join("expected");
    if update {
        rewrite(&expected, &found);
    }
    let difference = differences(&files_below(&expected), &found);
    if difference.is_empty() { difference } else { format!("== {name}: {about}{difference}") }
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/journeys");
    let mut cases: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// In the journey's own time.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Too large for a folder: a cell of ten megabytes is refused, its neighbours are sent.
#[test]
fn a_cell_of_ten_megabytes_refuses_its_row_alone() {
    let stage = Stage::new("");
    let mut file = b"phone,text\n01701234567,One\n01701234568,".to_vec();
    file.resize(file.len() + 10_000_000, b'x');
    file.extend(b"\n01701234569,Three\n");
    stage.live(START.parse().unwrap(), async |life| {
        life.drop_files(&[("messages/big.csv".to_owned(), file.clone())].into(), true);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let to: Vec<_> = stage.log.sent().iter().map(|line| line.field("to").to_owned()).collect();
    assert_eq!(to, ["+491701234567", "+491701234569"]);
    let answers = files_below(&stage.tenant("outbox/messages"));
    let text = |name: &str| String::from_utf8_lossy(&answers[name]).into_owned();
    let errors = text("big.csv.errors.csv");
    assert!(errors.lines().nth(1).unwrap().starts_with("1,big.csv,3,2,"), "{errors}");
    assert!(errors.contains("row.record_too_long") && errors.len() < 1000, "{errors}");
    assert!(text("big.csv.rejected.csv").len() > 10_000_000, "the record stands there as it came");
}

/// Plays one case; returns what must stand in `expected/`.
fn play(case: &Path) -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(case.join("config.toml")).unwrap_or_default();
    let mut differences: toml::Table = text.parse().unwrap();
    let own = differences.remove("journey");
    let setting = |name: &str| own.as_ref().and_then(|own| own.get(name));
    let start = setting("start").and_then(toml::Value::as_str).unwrap_or(START);
    let seen = setting("seen").and_then(toml::Value::as_bool).unwrap_or(true);
    let accounts = setting("accounts").and_then(toml::Value::as_array);
    let accounts: Vec<&str> =
        accounts.into_iter().flatten().filter_map(toml::Value::as_str).collect();
    let start: Timestamp = start.parse().unwrap();
    let pause: SignedDuration =
        setting("pause").and_then(toml::Value::as_str).unwrap_or("0s").parse().unwrap();
    let patience = setting("patience").and_then(toml::Value::as_str).unwrap_or("1h");
    let patience = patience.parse::<SignedDuration>().unwrap().unsigned_abs();
    let proof = setting("proof").and_then(toml::Value::as_str).unwrap_or("close");
    let stage = Stage::new(&differences.to_string());
    stage.live(start, async |mut life| {
        life.proof = Proof::from_text(proof).unwrap();
        for step in 1.. {
            let tail = if step == 1 { String::new() } else { format!("-{step}") };
            let files = files_below(&case.join(format!("inbox{tail}")));
            let tests = files_below(&case.join(format!("test-inbox{tail}")));
            if files.is_empty() && tests.is_empty() {
                break;
            }
            if step > 1 {
                tokio::time::sleep(pause.unsigned_abs()).await;
            }
            let account = accounts.get(step - 1).copied().unwrap_or("erp");
            life.drop_files_as(account, &files, seen);
            life.drop_files_into("test/inbox", account, &tests, seen);
            let end = life.rest(patience).await;
            let log =
                || stage.log.lines().iter().map(|line| format!("{line}\n")).collect::<String>();
            assert_eq!(end, End::Rest, "{case:?}, step {step}:\n{}", log());
            let after = setting("after").and_then(|after| after.get(step.to_string()));
            let Some(after) = after.and_then(toml::Value::as_str) else { continue };
            if after != "wait" {
                life.decide_holds(after == "release");
            }
            let end = life.rest_without_holds(patience).await;
            assert_eq!(end, End::Rest, "{case:?}, after step {step}:\n{}", log());
        }
        life.stop().await;
    });
    outcome(case, &stage)
}

fn outcome(case: &Path, stage: &Stage) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for outbox in ["outbox", "test/outbox"] {
        for (name, bytes) in files_below(&stage.tenant(outbox)) {
            found.insert(format!("{outbox}/{name}"), bytes);
        }
    }
    let (mut archive, mut story, mut sent) = (String::new(), String::new(), String::new());
    for name in files_below(&stage.tenant("archive")).keys() {
        writeln!(archive, "{name}").unwrap();
    }
    let house = stage.folder.path().to_str().unwrap();
    for line in stage.log.lines() {
        assert_ne!(line.level, Level::ERROR, "{case:?}: {line}");
        if line.level <= Level::INFO {
            writeln!(story, "{}", line.to_string().replace(house, "…")).unwrap();
        }
    }
    for line in stage.log.sent() {
        let test = if line.field("test") == "true" { "test " } else { "" };
        write!(sent, "{test}{}", line.at).unwrap();
        for name in ["channel", "to", "sender", "subject", "text", "html", "message_id", "attempt"]
        {
            if !line.field(name).is_empty() {
                write!(sent, " {name}={:?}", line.field(name)).unwrap();
            }
        }
        writeln!(sent, " {}", line.field("outcome")).unwrap();
    }
    for (name, text) in [("archive.txt", archive), ("story.txt", story), ("sent.txt", sent)] {
        found.insert(name.to_owned(), text.into_bytes());
    }
    found
}

fn rewrite(expected: &Path, found: &BTreeMap<String, Vec<u8>>) {
    if expected.exists() {
        std::fs::remove_dir_all(expected).unwrap();
    }
    for (name, bytes) in found {
        let path = expected.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn differences(expected: &BTreeMap<String, Vec<u8>>, found: &BTreeMap<String, Vec<u8>>) -> String {
    let mut text = String::new();
    let names: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for name in names {
        match (expected.get(name), found.get(name)) {
            (Some(_), None) => writeln!(text, "{name}: is missing").unwrap(),
            (None, Some(bytes)) => {
                writeln!(text, "{name}: is not expected:\n{}", bytes.escape_ascii()).unwrap();
            }
            (Some(expected), Some(found)) if expected != found => {
                writeln!(text, "{name}:").unwrap();
                let lines = |bytes: &[u8]| -> Vec<String> {
                    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
                    lines.map(|line| line.escape_ascii().to_string()).collect()
                };
                let (old, new) = (lines(expected), lines(found));
                for at in 0..old.len().max(new.len()) {
                    if old.get(at) != new.get(at) {
                        let or_none = |line: Option<&String>| line.cloned().unwrap_or_default();
                        writeln!(text, "  expected {}", or_none(old.get(at))).unwrap();
                        writeln!(text, "  found    {}", or_none(new.get(at))).unwrap();
                    }
                }
            }
            _ => {}
        }
    }
    text
}

//! Journeys: folders below `fixtures/journeys`, each a file's way from inbox to answers.
//!
//! | in a case's folder | what it is |
//! |---|---|
//! | `about.md` | two lines: goal and method |
//! | `config.toml` | differences to the base configuration; its table `[journey]` is the runner's own: `start` (the time, a Monday morning by default), `seen = false` (no door saw the upload end) |
//! | `inbox/`, `inbox-2/`, … | files to drop, each folder when the one before is at rest |
//! | `expected/outbox/` | every answer, byte for byte |
//! | `expected/archive.txt` | the names in the archive |
//! | `expected/sent.txt` | what the provider was given, one line per attempt |
//! | `expected/story.txt` | the log from INFO up, in the journey's time |
//!
//! `UPDATE=1` rewrites `expected/`; `JOURNEY=<part of a name>` runs some only.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use tracing::Level;

use crate::stage::{End, Stage, files_below};

/// In the journey's own time.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";

#[test]
fn every_journey_ends_as_its_folder_says() {
    let only = std::env::var("JOURNEY").unwrap_or_default();
    let update = std::env::var_os("UPDATE").is_some();
    let (mut played, mut wrong) = (0, String::new());
    for case in cases().into_iter().filter(|case| case.to_string_lossy().contains(&only)) {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        let about = std::fs::read_to_string(case.join("about.md")).unwrap_or_default();
        assert_eq!(about.lines().count(), 2, "{name}: about.md says goal and method in two lines");
        let found = play(&case);
        let expected = case.join("expected");
        if update {
            rewrite(&expected, &found);
        }
        let difference = differences(&files_below(&expected), &found);
        if !difference.is_empty() {
            write!(wrong, "== {name}: {about}{difference}").unwrap();
        }
        played += 1;
    }
    assert!(played > 0, "no journey of this name");
    assert!(wrong.is_empty(), "\n{wrong}");
}

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/journeys");
    let mut cases: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    cases
}

/// Plays one case; returns what must stand in `expected/`.
fn play(case: &Path) -> BTreeMap<String, Vec<u8>> {
    let text = std::fs::read_to_string(case.join("config.toml")).unwrap_or_default();
    let mut differences: toml::Table = text.parse().unwrap();
    let own = differences.remove("journey");
    let setting = |name: &str| own.as_ref().and_then(|own| own.get(name));
    let start = setting("start").and_then(toml::Value::as_str).unwrap_or(START);
    let seen = setting("seen").and_then(toml::Value::as_bool).unwrap_or(true);
    let start: Timestamp = start.parse().unwrap();
    let stage = Stage::new(&differences.to_string());
    stage.live(start, async |life| {
        for step in 1.. {
            let folder = if step == 1 { "inbox".to_owned() } else { format!("inbox-{step}") };
            let files = files_below(&case.join(folder));
            if files.is_empty() {
                break;
            }
            life.drop_files(&files, seen);
            let end = life.rest(PATIENCE).await;
            let log =
                || stage.log.lines().iter().map(|line| format!("{line}\n")).collect::<String>();
            assert_eq!(end, End::Rest, "{case:?}, step {step}:\n{}", log());
        }
        life.stop().await;
    });
    outcome(case, &stage)
}

fn outcome(case: &Path, stage: &Stage) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for (name, bytes) in files_below(&stage.tenant("outbox")) {
        found.insert(format!("outbox/{name}"), bytes);
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
        write!(sent, "{}", line.at).unwrap();
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

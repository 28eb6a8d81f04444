//! Which codes are reached: every one that intake can give stands in an answer that some journey or some
//! case of the corpus expects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use dropchute::codes::ReasonCode;

use crate::intake_corpus;
use crate::stage::files_below;

/// Codes of `file`, `header` and `row` that nothing gives, and why: no source may name them.
const NEVER_GIVEN: &[(&str, &str)] = &[
    ("file.quota_exceeded", "uploads over quota are refused at the door, in the protocol's words"),
    ("file.signature_invalid", "PGP is not built"),
    ("file.shrink_guard", "#mode=full is not built"),
    ("header.optout_missing", "one-click unsubscribe is not built"),
    ("row.media_missing", "the column media is not built"),
    ("row.contact_unknown", "contacts are not built"),
    ("row.contact_ambiguous", "contacts are not built"),
    ("row.stale_update", "contacts are not built"),
    ("row.consent_older_than_optout", "the consent ledger is not built"),
];

/// Codes that need what no folder of files can be: where they are tried instead.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    ("file.name_invalid", "such a name cannot stand in the outbox either", "tests/it/notices.rs"),
    ("file.internal", "a fault of this program", "src/intake/attempt.rs"),
];

/// Every code in an answer that some journey or case expects.
fn reached() -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for entry in std::fs::read_dir("fixtures/journeys").unwrap() {
        note_codes(files_below(&entry.unwrap().path().join("expected/outbox")), &mut reached);
    }
    for answers in intake_corpus::expected() {
        note_codes(answers, &mut reached);
    }
    reached
}

fn note_codes(answers: BTreeMap<String, Vec<u8>>, reached: &mut BTreeSet<String>) {
    for (name, bytes) in answers {
        if name.ends_with(".brief") {
            continue;
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let header = text.lines().find(|line| !line.starts_with('#')).unwrap_or_default();
        let delimiter = if header.contains(';') { b';' } else { b',' };
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .from_reader(text.as_bytes());
        let header = reader.headers().cloned().unwrap_or_default();
        let Some(at) = header.iter().position(|name| name == "code" || name == "_code") else {
            continue;
        };
        for record in reader.records() {
            let record = record.unwrap_or_else(|error| panic!("{name}: {error}"));
            reached.extend(record.get(at).filter(|code| !code.is_empty()).map(str::to_owned));
        }
    }
}

/// Every source of the program but the table of codes, and the text of each without its tests.
fn sources() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
    };
    let sources = files_below(&src).into_iter().map(|(name, bytes)| (name, text(bytes)));
    sources.filter(|(name, _)| name != "codes.rs" && !name.contains("tests")).collect()
}

#[test]
fn every_code_that_intake_can_give_stands_in_a_journey_or_the_corpus() {
    let reached = reached();
    let excuses: BTreeSet<&str> =
        NEVER_GIVEN.iter().map(|e| e.0).chain(ELSEWHERE.iter().map(|e| e.0)).collect();
    let of_intake = |code: &&ReasonCode| {
        ["file.", "header.", "row."].iter().any(|family| code.as_str().starts_with(family))
    };
    let codes: BTreeSet<&str> =
        ReasonCode::ALL.iter().filter(of_intake).map(|code| code.as_str()).collect();
    let missing: Vec<&&str> =
        codes.iter().filter(|code| !reached.contains(**code) && !excuses.contains(*code)).collect();
    assert!(missing.is_empty(), "nothing reaches {missing:?}, and nothing says why");
    let stale: Vec<&&str> =
        excuses.iter().filter(|code| reached.contains(**code) || !codes.contains(*code)).collect();
    assert!(stale.is_empty(), "{stale:?} is excused and needs no excuse");
}

#[test]
fn excuses_for_codes_are_true() {
    let sources = sources();
    let variant = |code: &str| format!("{:?}", ReasonCode::from_text(code).unwrap());
    for (code, why) in NEVER_GIVEN {
        let variant = variant(code);
        let names = |text: &String| text.contains(&format!("ReasonCode::{variant}"));
        let given = sources.iter().find(|(_, text)| names(text)).map(|(file, _)| file);
        assert_eq!(given, None, "{code} is given, though {why}");
    }
    for (code, _, file) in ELSEWHERE {
        let text = std::fs::read_to_string(file).unwrap();
        let tests = text.split_once("#[cfg(test)]").map_or(text.as_str(), |(_, tests)| tests);
        let tries = tests.contains(&variant(code)) || tests.contains(code);
        assert!(tries && tests.contains("#[test]"), "{file} does not try {code}");
    }
}

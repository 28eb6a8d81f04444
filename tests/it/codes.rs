//! Which codes the journeys reach: every one that intake can give.

use std::collections::BTreeSet;

use dropchute::codes::ReasonCode;

use crate::stage::files_below;

/// Codes of `file`, `header` and `row` that no journey reaches, and why.
const NOT_REACHED: &[(&str, &str)] = &[
    ("file.incomplete", "completeness rules are being built"),
    ("file.checksum_mismatch", "completeness rules are being built"),
    ("file.manifest_invalid", "completeness rules are being built"),
    ("file.pair_missing", "completeness rules are being built"),
    ("file.archive_invalid", "archives are being built"),
    ("file.name_reused", "reuse_names is being built"),
    ("file.sequence_gap", "sequences are being built"),
    ("file.sequence_reused", "sequences are being built"),
    ("file.shrink_guard", "guards are being built"),
    ("file.spike_guard", "guards are being built"),
    ("file.approval_needed", "HELD is being built"),
    ("row.target_unknown", "control files are being built"),
    ("row.target_state", "control files are being built"),
    ("file.name_invalid", "such names are refused at the door, or never taken: `tests/it/doors`"),
    ("file.quota_exceeded", "uploads over quota are refused at the door: `files/tests/quota.rs`"),
    ("file.internal", "only a fault of this program gives it"),
    ("file.signature_invalid", "PGP is not built"),
    ("header.optout_missing", "needs one-click unsubscribe, which is not built"),
    ("row.number_invalid", "no column that is built holds a number"),
    ("row.media_missing", "the column media is not built"),
    ("row.contact_unknown", "contacts are not built"),
    ("row.contact_ambiguous", "contacts are not built"),
    ("row.stale_update", "contacts are not built"),
    ("row.consent_older_than_optout", "the consent ledger is not built"),
];

/// Every code in an answer that some journey expects.
fn reached() -> BTreeSet<String> {
    let mut reached = BTreeSet::new();
    for entry in std::fs::read_dir("fixtures/journeys").unwrap() {
        for (name, bytes) in files_below(&entry.unwrap().path().join("expected/outbox")) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let header = text.lines().next().unwrap_or_default();
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
    reached
}

#[test]
fn every_code_that_intake_can_give_stands_in_a_journey() {
    let reached = reached();
    let of_intake = |code: &&ReasonCode| {
        ["file.", "header.", "row."].iter().any(|family| code.as_str().starts_with(family))
    };
    let codes = ReasonCode::ALL.iter().filter(of_intake).map(|code| code.as_str());
    let excused = |code: &str| NOT_REACHED.iter().any(|(known, _)| *known == code);
    let missing: Vec<&str> = codes.filter(|c| !reached.contains(*c) && !excused(c)).collect();
    assert!(missing.is_empty(), "no journey reaches {missing:?}, and nothing says why");
}

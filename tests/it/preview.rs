//! `preview` says what intake says: over the first file of every journey, and the files of the corpus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dropchute::app::{Preview, PreviewRequest, preview};
use dropchute::config;
use dropchute::world::World;
use jiff::Timestamp;

use crate::stage::{Stage, files_below};

/// Columns of an ACK that tell when it was, and which batch.
const OF_THE_MOMENT: [&str; 6] =
    ["batch_id", "received_at", "validated_at", "first_send_at", "proof", "duplicate_of"];

fn seen(case: &Path, name: &str, file: PathBuf) -> Preview {
    let text = std::fs::read_to_string(case.join("config.toml")).unwrap_or_default();
    let mut differences: toml::Table = text.parse().unwrap();
    let own = differences.remove("journey");
    let start = own.as_ref().and_then(|own| own.get("start")).and_then(toml::Value::as_str);
    seen_with(&differences, start.unwrap_or("2026-11-23T09:00:00Z"), name, file)
}

/// What a preview shows of a file, under the base configuration and what differs from it.
pub(crate) fn seen_with(
    differences: &toml::Table,
    start: &str,
    name: &str,
    file: PathBuf,
) -> Preview {
    let start: Timestamp = start.parse().unwrap();
    let stage = Stage::new(&differences.to_string());
    let config = config::load(&stage.folder.path().join("dropchute.toml")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        // As in the journey, the file is taken once its grace is over.
        let world = Arc::new(World::seeded(start + jiff::SignedDuration::from_secs(5), 1));
        let request = PreviewRequest {
            tenant: "acme".parse().unwrap(),
            file,
            name: name.to_owned(),
            profile: None,
            account: "erp".to_owned(),
            messages_max: 2,
        };
        preview(&config, world, request).await.unwrap()
    })
}

/// An ACK, less what tells when it was, and of which batch.
pub(crate) fn record(bytes: &[u8]) -> BTreeMap<String, String> {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().unwrap().clone();
    let row = reader.records().next().unwrap().unwrap();
    let cells = header.iter().zip(&row).map(|(name, cell)| (name.to_owned(), cell.to_owned()));
    cells.filter(|(name, _)| !OF_THE_MOMENT.contains(&name.as_str())).collect()
}

#[test]
fn a_preview_gives_the_answers_that_intake_gives() {
    let mut compared = 0;
    for entry in std::fs::read_dir("fixtures/journeys").unwrap() {
        let case = entry.unwrap().path();
        let expected = files_below(&case.join("expected/outbox"));
        let mut dropped = files_below(&case.join("inbox")).into_keys();
        // A preview is of one file alone: what stands beside it (a manifest, a digest, the pair's
        // other half) is for the daemon to judge.
        let (Some(name), None) = (dropped.next(), dropped.next()) else { continue };
        let answer = |which: &str| expected.get(&format!("{name}.{which}.csv"));
        let later = ["inbox-2", "inbox-3", "inbox-4"].iter();
        let is_reused = later.clone().any(|folder| case.join(folder).join(&name).exists());
        // Answers of other names are those of journeys about names.
        let Some(ack) = answer("ack").filter(|_| !is_reused) else { continue };
        let preview = seen(&case, &name, case.join("inbox").join(&name));
        let file = name.rsplit('/').next().unwrap();
        let found = |which: &str| preview.answers.get(&format!("{file}.{which}.csv"));
        let (found_ack, ack) = (record(found("ack").unwrap()), record(ack));
        if found_ack["state"] == "HELD" && ack["state"] != "HELD" {
            // The journey goes on to what became of the file once it was let go.
            continue;
        }
        assert_eq!(found_ack, ack, "{}", case.display());
        assert_eq!(found("errors"), answer("errors"), "{}", case.display());
        assert_eq!(found("rejected"), answer("rejected"), "{}", case.display());
        compared += 1;
    }
    assert!(compared >= 50, "only {compared} journeys were compared");
}

//! Stores of earlier versions: what they wrote must be read for ever, and brought to its end.
//!
//! `fixtures/stores/<version>/` holds a dump, what it says, and the data folder beside it. `UPDATE=1`
//! adds the folder of this version where there is none; a folder that is there is never rewritten.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dropchute::model::TenantId;
use dropchute::store::Store;

use crate::stage::{End, Stage, files_below};

/// A message is on the wire for a while.
const SLOW: &str = "provider.sim.delay = \"10s\"";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/stores")
}

/// The folder of each version.
fn versions() -> Vec<PathBuf> {
    std::fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn load(store: &Store, version: &Path) {
    let dump = std::fs::read(version.join("dump.bin")).unwrap();
    store.load(&mut dump.as_slice()).unwrap();
}

/// Copies the files that the next process goes on with.
fn copy_data(from: &Path, to: &Path) {
    let folders = ["inbox", "outbox", "archive"].map(|name| format!("tenants/acme/{name}"));
    for part in ["batches".to_owned(), "row_ids".to_owned()].into_iter().chain(folders) {
        for (name, bytes) in files_below(&from.join(&part)) {
            let path = to.join(&part).join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
}

/// What a store says, in words that do not change with its types.
fn contents(store: &Store) -> String {
    let mut text = String::new();
    for batch in store.batches(None, 100).unwrap() {
        let facts = &batch.facts;
        writeln!(
            text,
            "{} {} {} {} {} {} {} rows {}={}+{}+{} received {} claimed {}",
            batch.id,
            batch.tenant,
            batch.path,
            batch.account,
            batch.state.as_str(),
            facts.state.map_or("-", |state| state.as_str()),
            facts.code.map_or("-", |code| code.as_str()),
            facts.rows_total,
            facts.rows_accepted,
            facts.rows_rejected,
            facts.rows_duplicate,
            batch.received_at,
            batch.claimed_at,
        )
        .unwrap();
        for number in 0..batch.chunks {
            let chunk = store.chunk(batch.id, number).unwrap().unwrap();
            let (open, deferred, due) = (chunk.open, chunk.deferred, chunk.due);
            let (first, rows) = (chunk.first_row, chunk.rows);
            writeln!(
                text,
                "  chunk {number}: {rows} rows from {first}, {open} open, {deferred} deferred, due {due:?}"
            )
            .unwrap();
        }
        for (due, chunk) in store.timers(batch.id, 100).unwrap() {
            writeln!(text, "  timer of chunk {chunk}: {due}").unwrap();
        }
        for window in store.windows(batch.id).unwrap() {
            let rows: Vec<u32> = window.positions().collect();
            writeln!(text, "  window {} of chunk {}: {rows:?}", window.number, window.chunk)
                .unwrap();
        }
    }
    for (batch, publication) in store.publications(100).unwrap() {
        writeln!(text, "{batch} is to publish {}", publication.as_str()).unwrap();
    }
    let tenant: TenantId = "acme".parse().unwrap();
    for path in ["inbox/messages/good.csv", "inbox/messages/waiting.csv"] {
        if let Some(upload) = store.upload(&tenant, path).unwrap() {
            writeln!(text, "{path} was uploaded: {:?} {}", upload.proof, upload.at).unwrap();
        }
    }
    text
}

/// A store in the middle of its work: a row on the wire, one that waits, an answer not yet published.
fn make(folder: &Path) {
    let stage = Stage::new(SLOW);
    let files = |name: &str, text: &str| [(name.to_owned(), text.as_bytes().to_vec())].into();
    let good = "row_id,phone,text,send_at\nr1,01701234567,One,\nr1,01701234568,Again,\n\
                r2,12,Bad,\nr3,01701234569,Later,2026-11-24 12:00\n";
    stage.live("2026-11-23T09:00:00Z".parse().unwrap(), async |life| {
        life.drop_files(&files("messages/bad.csv", "phone,text\n12,Bad\n"), true);
        tokio::time::sleep(Duration::from_secs(20)).await;
        life.drop_files(&files("messages/good.csv", good), true);
        tokio::time::sleep(Duration::from_secs(12)).await;
        life.drop_files(&files("messages/waiting.csv", "phone,text\n01701234567,New\n"), true);
    });
    let store = Store::simulated(&stage.disk).unwrap();
    let mut dump = Vec::new();
    store.dump(&mut dump).unwrap();
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(folder.join("dump.bin"), dump).unwrap();
    std::fs::write(folder.join("contents.txt"), contents(&store)).unwrap();
    copy_data(&stage.folder.path().join("data"), &folder.join("data"));
}

#[test]
fn stores_of_every_version_are_read() {
    let of_this_version = fixtures().join(env!("CARGO_PKG_VERSION"));
    if std::env::var_os("UPDATE").is_some() && !of_this_version.exists() {
        make(&of_this_version);
    }
    assert!(of_this_version.exists(), "a version keeps a store of its own: run with UPDATE=1");
    for version in versions() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(&data.path().join("store")).unwrap();
        load(&store, &version);
        let expected = std::fs::read_to_string(version.join("contents.txt")).unwrap();
        assert_eq!(contents(&store), expected, "{version:?}");
    }
}

#[test]
fn stores_of_every_version_are_brought_to_their_end() {
    for version in versions() {
        let stage = Stage::new(SLOW);
        load(&Store::simulated(&stage.disk).unwrap(), &version);
        copy_data(&version.join("data"), &stage.folder.path().join("data"));
        // Shortly before the row that waits is due.
        stage.live("2026-11-24T10:59:00Z".parse().unwrap(), async |life| {
            assert_eq!(life.rest(Duration::from_secs(600)).await, End::Rest, "{version:?}");
            life.stop().await;
        });
        let answers = files_below(&stage.tenant("outbox/messages"));
        let statuses = |answer: &str| {
            let mut reader = csv::Reader::from_reader(answers[answer].as_slice());
            let at = reader.headers().unwrap().iter().position(|name| name == "status").unwrap();
            reader.records().map(|row| row.unwrap()[at].to_owned()).collect::<Vec<_>>()
        };
        let good = ["unknown", "duplicate", "rejected", "submitted"];
        assert_eq!(statuses("good.csv.result.csv"), good, "{version:?}");
        assert_eq!(statuses("waiting.csv.result.csv"), ["submitted"], "{version:?}");
        assert_eq!(
            stage.log.sent().len(),
            2,
            "{version:?}: what was on the wire is not sent again"
        );
    }
}

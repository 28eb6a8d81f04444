//! Sidecars that come before the next file of a name whose last one was taken just now.

use std::collections::BTreeMap;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::stage::{End, Life, Stage, files_below};

/// Monday, 10:00 in Berlin.
const START: &str = "2026-11-23T09:00:00Z";
const PATIENCE: Duration = Duration::from_secs(48 * 3600);
/// An upload takes its time.
const LATER: Duration = Duration::from_secs(120);
const FIRST: &str = "phone,text\n01701234501,One\n";
const NEXT: &str = "phone,text\n01701234502,Two\n";

fn put(life: &Life<'_>, name: &str, text: &str) {
    let name = format!("messages/{name}");
    life.drop_files(&BTreeMap::from([(name, text.as_bytes().to_vec())]), true);
}

/// Drops a file, the sidecar of the next one of its name, and that one; gives the ACK of the last.
fn next_file_after(stage: &Stage, sidecar: (&str, &str), also: Option<&str>) -> String {
    stage.live(START.parse().unwrap(), async |life| {
        if let Some(manifest) = also {
            put(&life, "x.csv.manifest.json", manifest);
        }
        put(&life, "x.csv", FIRST);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        put(&life, sidecar.0, sidecar.1);
        tokio::time::sleep(LATER).await;
        put(&life, "x.csv", NEXT);
        assert_eq!(life.rest(PATIENCE).await, End::Rest);
        life.stop().await;
    });
    let answers = files_below(&stage.tenant("outbox/messages"));
    String::from_utf8_lossy(&answers["x.csv.ack.csv"]).into_owned()
}

fn notices(stage: &Stage) -> String {
    let streams = files_below(&stage.tenant("outbox"));
    let notices = streams.iter().filter(|(name, _)| name.starts_with("notices_"));
    notices.map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect()
}

#[test]
fn directives_that_come_before_their_file_are_heeded_whatever_was_taken_before() {
    let stage = Stage::new("");
    let manifest = r#"{"file": "x.csv", "directives": {"send_at": "2026-11-24T12:00:00+01:00"}}"#;
    let ack = next_file_after(&stage, ("x.csv.manifest.json", manifest), None);
    assert!(ack.contains(",ACCEPTED,") && ack.contains(",manifest,"), "{ack}");
    assert!(ack.contains("2026-11-24T11:00:00Z"), "{ack}");
    let sent: Vec<String> = stage.log.sent().iter().map(|line| line.at.to_string()).collect();
    assert_eq!(sent[1], "2026-11-24T11:00:00Z", "{sent:?}");
    assert_eq!(notices(&stage), "");
}

#[test]
fn a_manifest_that_is_asked_for_may_come_before_its_file_whatever_was_taken_before() {
    let stage = Stage::new("tenant.acme.completeness = \"manifest\"\n");
    let manifest = r#"{"file": "x.csv"}"#;
    let ack = next_file_after(&stage, ("x.csv.manifest.json", manifest), Some(manifest));
    assert!(ack.contains(",ACCEPTED,") && ack.contains(",manifest,"), "{ack}");
    assert_eq!(stage.log.sent().len(), 2);
}

#[test]
fn a_digest_that_comes_long_before_its_file_vouches_for_that_one() {
    let sha256 = hex::encode(Sha256::digest(NEXT));
    let stage = Stage::new("");
    let ack = next_file_after(&stage, ("x.csv.sha256", &sha256), None);
    assert!(ack.contains(",ACCEPTED,") && ack.contains(",sentinel,"), "{ack}");
    assert_eq!(notices(&stage), "");

    let md5 = format!("{:x}", md5::compute(NEXT));
    let stage = Stage::new("");
    let ack = next_file_after(&stage, ("x.csv.md5", &md5), None);
    assert!(ack.contains(",ACCEPTED,") && ack.contains(",sentinel,"), "{ack}");
}

#[test]
fn a_digest_of_the_file_that_was_taken_does_not_stay_for_the_next_one() {
    for (name, digest) in [
        ("x.csv.sha256", hex::encode(Sha256::digest(FIRST))),
        ("x.csv.md5", format!("{:x}", md5::compute(FIRST))),
    ] {
        let stage = Stage::new("");
        let ack = next_file_after(&stage, (name, &digest), None);
        assert!(ack.contains(",ACCEPTED,") && ack.contains(",close,"), "{name}: {ack}");
        assert_eq!(notices(&stage), "");
    }
}

//! What stands beside a file: its manifest and its digest. An input is both.
#![no_main]

use dropchute::records::{Manifest, ReadSettings, noted_digest};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const FILE: &str = "a.csv";

fuzz_target!(|input: &[u8]| {
    let json = input.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(input);
    let value = serde_json::from_slice::<Value>(json).ok();
    match Manifest::parse(input, FILE) {
        Ok(manifest) => agrees(&manifest, &value.expect("JSON")),
        Err(problem) => {
            assert!(problem.message.starts_with("the manifest"), "{}", problem.message);
            assert!(!problem.message.contains(char::is_control), "{:?}", problem.message);
            assert!(problem.message.len() < 2000, "{}", problem.message.len());
            assert!(!value.is_some_and(|value| is_good(&value, input)), "{}", problem.message);
        }
    }
    for digits in [32, 64] {
        let Some(digest) = noted_digest(input, FILE, digits) else { continue };
        assert!(digest.len() == digits && digest.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(digest, digest.to_ascii_lowercase());
        let note = String::from_utf8_lossy(input).to_ascii_lowercase();
        assert!(note.contains(&digest));
        // As the usual programs would write it.
        for note in [format!("{digest} *{FILE}\n"), format!("MD5 ({FILE}) = {digest}")] {
            assert_eq!(noted_digest(note.as_bytes(), FILE, digits).as_ref(), Some(&digest));
        }
    }
});

fn agrees(manifest: &Manifest, value: &Value) {
    let object = value.as_object().expect("an object");
    assert_eq!(object["file"], FILE);
    let known = ["file", "bytes", "sha256", "rows", "seq", "directives"];
    assert!(object.keys().all(|key| known.contains(&key.as_str())));
    assert_eq!(manifest.bytes, object.get("bytes").and_then(Value::as_u64));
    assert_eq!(manifest.rows, object.get("rows").and_then(Value::as_u64));
    if let Some(seq) = object.get("seq").and_then(Value::as_u64) {
        assert_eq!(manifest.directive("seq"), Some(seq.to_string().as_str()));
    }
    let digest = object.get("sha256").and_then(Value::as_str).map(str::to_ascii_lowercase);
    assert_eq!(manifest.sha256, digest);
    let (bytes, digest) = (manifest.bytes.unwrap_or(3), digest.unwrap_or("0".repeat(64)));
    assert_eq!(manifest.disagreement(bytes, &digest), None);
    if manifest.bytes.is_some() {
        assert!(manifest.disagreement(bytes ^ 1, &digest).is_some());
    }
    let mut settings = ReadSettings::default();
    manifest.announce(&mut settings);
    for (key, value) in &settings.announced {
        assert_eq!(manifest.directive(key), Some(value.as_str()));
    }
}

/// Good beyond doubt: only what is simple is judged.
fn is_good(value: &Value, input: &[u8]) -> bool {
    let Some(object) = value.as_object() else { return false };
    let counts = |key: &str| object.get(key).is_none_or(Value::is_u64);
    let twice = String::from_utf8_lossy(input).matches('"').count() != object.len() * 2 + 2;
    object.get("file").and_then(Value::as_str) == Some(FILE)
        && object.keys().all(|key| ["file", "bytes", "rows", "seq"].contains(&key.as_str()))
        && ["bytes", "rows", "seq"].iter().all(|key| counts(key))
        && !twice
}

//! `profile learn` over samples as partners send them: what it proposes can be pasted, and reads them.

use std::fs;
use std::path::{Path, PathBuf};

use dropchute::config;
use dropchute::records::{Record, RecordReader, Step, learn};

/// Samples, by name; each has its proposal beside it.
fn samples() -> Vec<PathBuf> {
    let entries = fs::read_dir("fixtures/learn").unwrap().map(|entry| entry.unwrap().path());
    let mut samples: Vec<_> = entries.filter(|path| path.extension().unwrap() != "toml").collect();
    samples.sort();
    samples
}

#[test]
fn proposals_are_as_expected_and_read_their_samples() {
    let samples = samples();
    assert!(samples.len() >= 12);
    for path in samples {
        check(&path);
    }
}

fn check(path: &Path) {
    let bytes = fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let proposal = learn(&bytes, name, Some("DE")).unwrap_or_else(|why| panic!("{name}: {why}"));
    let found = config::profile_toml(&proposal, Some("acme"));
    let beside = path.with_file_name(format!("{name}.toml"));
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&beside, &found).unwrap();
    }
    assert_eq!(fs::read_to_string(&beside).unwrap_or_default(), found, "{name}");

    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("dropchute.toml");
    fs::write(&main, format!("format = 1\n{found}")).unwrap();
    let config = config::load(&main).unwrap_or_else(|problems| panic!("{name}: {problems}"));
    let tenant = config.for_intake().remove(0);
    let profile = tenant.profile(&proposal.name).unwrap();
    assert!(profile.matcher.as_ref().unwrap().is_match(name), "{name}: {}", proposal.pattern);
    let mut reader = RecordReader::new(bytes.as_slice(), profile.read.clone());
    let opened = reader.open().unwrap_or_else(|why| panic!("{name}: {why:?}"));
    let addresses = opened.layout.position(dropchute::records::Column::Email).is_some()
        || opened.layout.position(dropchute::records::Column::Phone).is_some();
    assert!(addresses, "{name}: no address");
    let mut record = Record::new();
    let mut rows = 0;
    while let Ok(Some(step)) = reader.next(&mut record) {
        rows += usize::from(step == Step::Row);
    }
    assert!(rows >= 2, "{name}: {rows} rows can be read");
}

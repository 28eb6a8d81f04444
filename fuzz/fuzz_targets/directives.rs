//! Directives, in the file and in its manifest: they mean the same in both, and however they are written;
//! and a row's own cell comes before a directive, a directive before the profile.
//!
//! The input is text, a directive `key=value` a line.
#![no_main]

use dropchute::codes::ReasonCode;
use dropchute::model::ChannelKind;
use dropchute::records::{
    Directives, Manifest, MessageChecker, MessageRow, ReadError, ReadSettings, Record,
    RecordReader, TenantContext,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if text.contains(['\0', '\r', '"']) {
        return;
    }
    let given: Vec<(&str, &str)> =
        text.split('\n').filter_map(|line| line.split_once('=')).collect();
    let lines: Vec<String> = given.iter().map(|(key, value)| format!("#{key}={value}")).collect();
    let found = read(&lines, &[]);
    // Written as a spreadsheet would; what a value ends in must not look like padding.
    if lines.iter().any(|line| line.trim_end().ends_with([',', ';', '\t', '|'])) {
        return;
    }
    for (before, behind) in [("", ";;;"), ("\"", "\""), (" ", " ,")] {
        let padded: Vec<String> =
            lines.iter().map(|line| format!("{before}{line}{behind}")).collect();
        // A line that is no directive is told from a header by its delimiters, and refused either way.
        let padded = read(&padded, &[]);
        assert!(found == padded || (found.is_err() && padded.is_err()), "{found:?} {padded:?}");
    }
    if let Ok(directives) = &found {
        are_as_they_must(directives);
        let again: Vec<String> =
            directives.iter().map(|(key, value)| format!("#{key}={value}")).collect();
        assert_eq!(found, read(&again, &[]), "{again:?}");
        let twice: Vec<String> = again.iter().chain(&again).cloned().collect();
        assert_eq!(found, read(&twice, &[]), "{twice:?}");
        manifest_says_the_same(directives, &again);
    }
    precedence(&given);
});

/// The directives of a file that begins with these lines; else the codes of why it is refused.
fn read(
    lines: &[String],
    announced: &[(String, String)],
) -> Result<Directives, Vec<&'static str>> {
    let file = format!("{}\nemail,text\n", lines.join("\n"));
    let announced = announced.to_vec();
    let settings = ReadSettings { announced, strong_proof: true, ..ReadSettings::default() };
    let mut reader = RecordReader::new(file.as_bytes(), settings);
    match reader.open() {
        Ok(opened) => Ok(opened.directives),
        Err(ReadError::Refused(problems)) => {
            let mut codes: Vec<_> = problems.iter().map(|problem| problem.code.as_str()).collect();
            codes.sort_unstable();
            codes.dedup();
            Err(codes)
        }
        Err(ReadError::Io(error)) => panic!("{error}"),
    }
}

fn are_as_they_must(directives: &Directives) {
    for (key, value) in directives.iter() {
        assert!(!value.is_empty() && value.len() <= 1024 && !value.contains(char::is_control));
        assert_eq!(value, value.trim());
        assert_eq!(directives.get(key), Some(value), "{key} stands there twice");
        match key {
            "rows" => assert!(directives.rows().is_some()),
            "seq" => assert!(directives.seq().is_some()),
            "dedupe" => assert!(directives.dedupe().is_some()),
            "reject_threshold" => {
                let share = directives.reject_threshold().expect("a number");
                assert!((0.0..=1.0).contains(&share), "{share}");
            }
            "channel" => assert!(ChannelKind::from_text(value).is_some()),
            _ => {}
        }
    }
}

fn manifest_says_the_same(directives: &Directives, lines: &[String]) {
    let object: serde_json::Map<String, serde_json::Value> =
        directives.iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
    let json = serde_json::json!({ "file": "a.csv", "directives": object }).to_string();
    let manifest = Manifest::parse(json.as_bytes(), "a.csv").expect("a manifest");
    let mut settings = ReadSettings::default();
    manifest.announce(&mut settings);
    let sorted = |directives: Directives| {
        let mut all: Vec<(String, String)> =
            directives.iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        all.sort();
        all
    };
    let want = sorted(directives.clone());
    // Alone, and beside the same directives in the file.
    assert_eq!(read(&[], &settings.announced).map(sorted), Ok(want.clone()));
    assert_eq!(read(lines, &settings.announced).map(sorted), Ok(want));
    // One that says something else is a conflict.
    if let Some((key, value)) = directives.iter().find(|(key, _)| key.starts_with("x_")) {
        let other = [(key.to_owned(), format!("{value}0"))];
        if other[0].1.len() <= 1024 {
            assert_eq!(read(lines, &other), Err(vec!["header.directive_conflict"]));
        }
    }
}

/// The first three values are those of row, directive and profile.
fn precedence(given: &[(&str, &str)]) {
    let word = |at: usize| -> String {
        let value = given.get(at).map_or("", |(_, value)| *value);
        value.chars().filter(|c| c.is_ascii_alphanumeric() || "-._".contains(*c)).take(40).collect()
    };
    let (row, directive, profile, fixed) = (word(0), word(1), word(2), word(3));
    let line = match directive.as_str() {
        "" => String::new(),
        directive => format!("#campaign={directive}\n"),
    };
    let file = format!("{line}email,text,campaign\na@b.example,Hello,{row}\n");
    let pair = |value: &str| {
        (!value.is_empty()).then(|| ("Campaign".to_owned(), value.to_owned())).into_iter().collect()
    };
    let settings = ReadSettings {
        defaults: pair(&profile),
        values: pair(&fixed),
        ..ReadSettings::default()
    };
    let mut reader = RecordReader::new(file.as_bytes(), settings.clone());
    let opened = reader.open().expect("a file like others");
    let tenant = TenantContext {
        default_country: None,
        timezone: TimeZone::UTC,
        channels: vec![ChannelKind::Email],
        default_category: None,
        templates: Vec::new(),
        now: Timestamp::UNIX_EPOCH,
    };
    let checker = MessageChecker::new(opened.layout, &opened.directives, &settings, tenant);
    let (mut record, mut message, mut errors) = (Record::new(), MessageRow::default(), Vec::new());
    reader.next(&mut record).expect("a file like others");
    assert!(checker.check(&record, &mut message, &mut errors), "{errors:?}");
    let strongest = [fixed, row, directive, profile].into_iter().find(|word| !word.is_empty());
    assert_eq!(message.campaign, strongest.unwrap_or_default(), "{file}");
    assert!(errors.iter().all(|error| error.code != ReasonCode::FileInternal));
}

//! What names say: kind, profile, reference and number, sidecars, markers, patterns and answers.
//!
//! The input is text, a name a line; empty files where the line ends in a blank.
#![no_main]

use std::cell::OnceCell;

use dropchute::intake::NamePattern;
use dropchute::intake::fuzzing::{Names, Said, marker};
use dropchute::model::{BatchId, Kind, Target};
use dropchute::report::{Answer, AnswerPattern, Subject};
use libfuzzer_sys::fuzz_target;

thread_local! {
    static NAMES: OnceCell<Names> = const { OnceCell::new() };
}

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // What the doors let through.
    let is_name = |name: &&str| {
        !name.is_empty()
            && name.len() <= 200
            && !name.contains('/')
            && !name.contains(char::is_control)
            && ![".", ".."].contains(name)
    };
    let files: Vec<(&str, u64)> = text
        .split('\n')
        .map(|line| line.strip_suffix(' ').map_or((line, 5), |name| (name, 0)))
        .filter(|(name, _)| is_name(name))
        .take(20)
        .collect();
    NAMES.with(|names| {
        let names = names.get_or_init(Names::new);
        for (name, _) in &files {
            identified(names, name);
            marked(name);
            answered(name);
        }
        paired(names, files.clone());
        if let [(before, _), (behind, _), (digits, _), ..] = files[..] {
            built(names, before, behind, digits);
            numbered(before, behind, digits);
        }
    });
});

/// A file of rejected rows is what its file was.
fn identified(names: &Names, name: &str) {
    for folder in ["inbox", "inbox/messages", "inbox/contacts"] {
        let path = format!("{folder}/{name}");
        let said = names.identify(&path);
        let rejected = names.identify(&format!("{path}.rejected.csv"));
        assert_eq!(said, rejected, "{path}");
        if let (Ok(said), Some((_, below))) = (&said, folder.split_once('/')) {
            assert_eq!(said.kind.as_str(), below, "{path}");
        }
    }
}

fn marked(name: &str) {
    let path = format!("inbox/messages/{name}");
    if let Some((op, file, folder)) = marker(&path) {
        let again = format!("{file}.{op}");
        assert!(again.eq_ignore_ascii_case(name), "{again}");
        assert_eq!(folder, "messages");
        assert!(!file.is_empty());
    }
    let target = Target::File(name.to_owned());
    if name.trim() == name {
        assert_eq!(Target::from_text(&target.to_string()), Some(target));
    }
    if let Some(target) = Target::from_text(name) {
        assert_eq!(Target::from_text(&target.to_string()), Some(target));
    }
}

/// An answer's name tells its file.
fn answered(name: &str) {
    let subject = Subject { name, date: "20261122", batch: BatchId::from_u64(7) };
    for answer in Answer::ALL {
        let pattern = answer.pattern();
        let of_file = pattern.name(subject);
        assert_eq!(pattern.file_of(&of_file), Some(name));
        assert_ne!(pattern.late_name(subject), of_file);
        assert!(pattern.late_name(subject).len() <= 255);
    }
    // A pattern of the operator's.
    if let Ok(pattern) = AnswerPattern::parse(name) {
        let of_file = pattern.name(subject);
        assert!(!of_file.contains('/') && of_file.len() <= 255, "{of_file}");
        assert!(pattern.late_name(subject).len() <= 255);
    }
}

/// Each file stands in one place.
fn paired(names: &Names, mut files: Vec<(&str, u64)>) {
    files.sort_unstable();
    files.dedup_by_key(|(name, _)| *name);
    let (groups, orphans) = names.pair_up(&files);
    let mut all: Vec<&str> = orphans.iter().map(String::as_str).collect();
    for (file, sidecars) in &groups {
        all.push(file);
        all.extend(sidecars.iter().map(String::as_str));
        for sidecar in sidecars {
            let stem = file.rsplit_once('.').map_or(file.as_str(), |(stem, _)| stem);
            let stem = stem.rsplit_once('.').map_or(stem, |(stem, _)| stem);
            assert!(sidecar.to_lowercase().contains(&stem.to_lowercase()), "{sidecar} of {file}");
        }
    }
    all.sort_unstable();
    assert!(all.iter().eq(files.iter().map(|(name, _)| name)), "{all:?} of {files:?}");
}

/// A name made by the rules is read by them.
fn built(names: &Names, kind: &str, reference: &str, digits: &str) {
    let at = kind.len() % Kind::ALL.len();
    let kind = Kind::ALL[at];
    let word = |text: &str| -> String {
        text.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect()
    };
    let reference = word(reference);
    // A reference whose own end could be a date or a number is not told from one.
    let end = reference.rsplit('_').next().unwrap_or_default();
    if end.is_empty() || end.bytes().any(|b| b.is_ascii_digit()) || reference.starts_with('_') {
        return;
    }
    let number: Option<u64> = digits.parse().ok();
    let number = number.filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let tail = number.map_or(String::new(), |number| format!("_s{number}"));
    for date in ["", "_20261122", "_20261122T101500Z"] {
        for ending in ["csv", "csv.gz", "csv.zip", "xlsx", "jsonl", "jsonl.gz"] {
            let name = format!("inbox/{kind}_{reference}{date}{tail}.{ending}");
            let file_ref = reference.clone();
            let want = Said { kind, profile: String::new(), file_ref, number };
            assert_eq!(names.identify(&name), Ok(want), "{name}");
        }
    }
}

/// A number stands where the pattern says.
fn numbered(before: &str, behind: &str, digits: &str) {
    let digit_at_the_border = before.ends_with(|c: char| c.is_ascii_digit())
        || behind.starts_with(|c: char| c.is_ascii_digit());
    let Ok(number) = digits.parse::<u64>() else { return };
    if digit_at_the_border || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return;
    }
    let literal = |text: &str| -> String {
        let escaped = |c: char| if c.is_ascii_alphanumeric() { vec![c] } else { vec!['\\', c] };
        text.chars().flat_map(escaped).collect()
    };
    let pattern = format!("{}{{seq}}{}", literal(before), literal(behind));
    let pattern = NamePattern::new(&pattern).expect("a pattern of its own letters");
    assert_eq!(pattern.number(&format!("{before}{digits}{behind}")), Some(number));
    // Whatever else is a pattern, it neither falls over nor matches without a number.
    if let Ok(pattern) = NamePattern::new(before) {
        assert_eq!(pattern.number(behind).is_some(), before.contains("{seq}") && pattern.is_match(behind));
    }
}

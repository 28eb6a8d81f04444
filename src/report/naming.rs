//! What an answer is called: by the contract `<name>.<answer>.csv`, or as the operator wants it.

use super::{Ack, ErrorsFile, Progress, RenderedFile, ResultFile, Summary};
use crate::model::BatchId;

/// The answers about one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    Ack,
    Errors,
    Rejected,
    Progress,
    Result,
    Final,
    Summary,
    Rendered,
}

impl Answer {
    pub const ALL: [Answer; 8] = [
        Answer::Ack,
        Answer::Errors,
        Answer::Rejected,
        Answer::Progress,
        Answer::Result,
        Answer::Final,
        Answer::Summary,
        Answer::Rendered,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Answer::Ack => "ack",
            Answer::Errors => "errors",
            Answer::Rejected => "rejected",
            Answer::Progress => "progress",
            Answer::Result => "result",
            Answer::Final => "final",
            Answer::Summary => "summary",
            Answer::Rendered => "rendered",
        }
    }

    /// The columns before `x_*`; `None` where they are not ours.
    pub fn columns(self) -> Option<&'static [&'static str]> {
        match self {
            Answer::Ack => Some(Ack::COLUMNS),
            Answer::Errors => Some(ErrorsFile::COLUMNS),
            Answer::Progress => Some(Progress::COLUMNS),
            Answer::Result | Answer::Final => Some(ResultFile::COLUMNS),
            Answer::Summary => Some(Summary::COLUMNS),
            Answer::Rendered => Some(RenderedFile::COLUMNS),
            Answer::Rejected => None,
        }
    }

    /// The contract's own name.
    pub fn pattern(self) -> AnswerPattern {
        AnswerPattern(format!("{{name}}.{}.csv", self.as_str()))
    }
}

/// A name with placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPattern(String);

/// What can stand in the braces.
const PLACEHOLDERS: [&str; 4] = ["name", "stem", "date", "batch_id"];
/// Longest name of an intake file, in bytes; a longer one is refused at the door.
const FILE_NAME_MAX_BYTES: usize = 200;
/// Longest name of an answer, so that it still fits a file system with a dot and a batch's id added.
const ANSWER_NAME_MAX_BYTES: usize = 240;

/// The file that an answer is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub name: &'a str,
    /// The tenant's date of the verdict, `yyyymmdd`.
    pub date: &'a str,
    pub batch: BatchId,
}

impl AnswerPattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<AnswerPattern, String> {
        let mut rest = text;
        while let Some((_, behind)) = rest.split_once('{') {
            let (word, behind) = behind.split_once('}').ok_or("has a { without its }")?;
            if !PLACEHOLDERS.contains(&word) {
                return Err(format!("has the unknown placeholder {{{word}}}"));
            }
            rest = behind;
        }
        if rest.contains('}') {
            return Err("has a } without its {".to_owned());
        }
        if text.is_empty() || text.contains('/') || text.chars().any(char::is_control) {
            return Err("is no file name".to_owned());
        }
        if text.starts_with('.') {
            return Err("begins with a dot, and collectors pass over hidden files".to_owned());
        }
        let pattern = AnswerPattern(text.to_owned());
        let longest = Subject {
            name: &"n".repeat(FILE_NAME_MAX_BYTES),
            date: "20261122",
            batch: BatchId::from_u64(u64::MAX),
        };
        if pattern.name(longest).len() > ANSWER_NAME_MAX_BYTES {
            return Err("becomes too long for a file name".to_owned());
        }
        Ok(pattern)
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn name(&self, of: Subject<'_>) -> String {
        self.0
            .replace("{batch_id}", &of.batch.to_string())
            .replace("{date}", of.date)
            .replace("{stem}", stem(of.name))
            .replace("{name}", of.name)
    }

    /// The name once a newer file has taken the usual one over: the batch's id tells whose answer
    /// this is.
    pub fn late_name(&self, of: Subject<'_>) -> String {
        if self.0.contains("{batch_id}") {
            return self.name(of);
        }
        for part in ["{name}", "{stem}"] {
            if self.0.contains(part) {
                let pattern = self.0.replacen(part, &format!("{part}.{{batch_id}}"), 1);
                return AnswerPattern(pattern).name(of);
            }
        }
        AnswerPattern(format!("{{batch_id}}_{}", self.0)).name(of)
    }

    /// True where files of different names may get answers of one name.
    pub fn is_shared(&self) -> bool {
        !self.0.contains("{name}") && !self.0.contains("{batch_id}")
    }

    /// True where the name belongs to files of one name or stem.
    pub fn names_its_file(&self) -> bool {
        self.0.contains("{name}") || self.0.contains("{stem}")
    }

    /// The name of the file that an answer of this name is about, where the pattern tells it.
    pub fn file_of<'a>(&self, answer: &'a str) -> Option<&'a str> {
        let (before, behind) = self.0.split_once("{name}")?;
        let name = answer.strip_prefix(before)?.strip_suffix(behind)?;
        (!name.is_empty()).then_some(name)
    }
}

/// The name without what tells its form: `KUNDEN` of `KUNDEN.TXT`, `a` of `a.csv.gz`.
fn stem(name: &str) -> &str {
    let cut = |name: &'_ str| name.rsplit_once('.').map_or(name.len(), |(stem, _)| stem.len());
    let mut stem = name;
    loop {
        let shorter = &stem[..cut(stem)];
        if shorter.is_empty() {
            return stem;
        }
        let ending = stem[shorter.len()..].to_ascii_lowercase();
        stem = shorter;
        if ![".gz", ".zip", ".pgp", ".gpg", ".asc"].contains(&ending.as_str()) {
            return stem;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pattern: &str, name: &str) -> (String, String) {
        let pattern = AnswerPattern::parse(pattern).unwrap();
        let subject = Subject { name, date: "20261122", batch: BatchId::from_u64(1) };
        (pattern.name(subject), pattern.late_name(subject))
    }

    #[test]
    fn names_are_made_of_the_files_own() {
        for (pattern, name, expected, late) in [
            ("{name}.ack.csv", "A.CSV", "A.CSV.ack.csv", "A.CSV.0000000000001.ack.csv"),
            ("{stem}_OK.TXT", "KUNDEN.TXT", "KUNDEN_OK.TXT", "KUNDEN.0000000000001_OK.TXT"),
            ("{stem}.ok", "a.b.csv.gz", "a.b.ok", "a.b.0000000000001.ok"),
            ("{stem}.ok", ".gz", ".gz.ok", ".gz.0000000000001.ok"),
            ("ERGEBNIS.TXT", "x", "ERGEBNIS.TXT", "0000000000001_ERGEBNIS.TXT"),
            ("R{date}_{batch_id}", "x", "R20261122_0000000000001", "R20261122_0000000000001"),
        ] {
            assert_eq!(names(pattern, name), (expected.to_owned(), late.to_owned()), "{pattern}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_names_are_refused() {
        for pattern in
            ["", "a/b", "{nam}.csv", "{name", "name}", ".{name}", "a\tb", &"x".repeat(241)]
        {
            assert!(AnswerPattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_file_is_found_in_its_answers_name() {
        let file = |pattern: &str, answer| {
            AnswerPattern::parse(pattern).unwrap().file_of(answer).map(str::to_owned)
        };
        assert_eq!(file("{name}.rejected.csv", "a.csv.rejected.csv").as_deref(), Some("a.csv"));
        assert_eq!(file("FEHLER_{name}", "FEHLER_a.csv").as_deref(), Some("a.csv"));
        assert_eq!(file("{name}.rejected.csv", ".rejected.csv"), None);
        assert_eq!(file("{name}.rejected.csv", "a.csv"), None);
    }
}

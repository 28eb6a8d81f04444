//! Lines `#key=value` before the header: what the file says about itself.

use crate::codes::ReasonCode;
use crate::model::{Category, ChannelKind, normalise_name};

use super::chain;
use super::encoding::TextEncoding;
use super::moment::{self, Zones};
use super::nearest::{did_you_mean, nearest};
use super::problem::{FileProblem, cut_value, either};

/// Every directive there is, beside `x_*`.
const NAMES: [&str; 21] = [
    "rows",
    "profile",
    "ref",
    "seq",
    "mode",
    "encoding",
    "campaign",
    "template",
    "channel",
    "fallback",
    "category",
    "send_at",
    "tz",
    "tz_mode",
    "window",
    "expires_at",
    "sender",
    "dedupe",
    "allow_duplicate",
    "reject_threshold",
    "test",
];
/// Named by the contract, refused until it is built.
const NOTIFY: &str = "notify";
/// Longest value of a directive, in bytes.
const VALUE_MAX_BYTES: usize = 1024;
/// Directives that say nothing about what the records mean.
const NOT_CONTENT: [&str; 4] = ["rows", "seq", "encoding", "allow_duplicate"];

/// Which rows of one file count as the same message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dedupe {
    None,
    /// Same address, content and time.
    Exact,
    /// Same address.
    Recipient,
}

impl Dedupe {
    pub fn from_text(text: &str) -> Option<Dedupe> {
        match text {
            "none" => Some(Dedupe::None),
            "exact" => Some(Dedupe::Exact),
            "recipient" => Some(Dedupe::Recipient),
            _ => None,
        }
    }
}

/// One directive line, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DirectiveLine {
    /// 0 where it comes from the manifest.
    pub(super) line: u64,
    pub(super) key: String,
    pub(super) value: String,
}

impl DirectiveLine {
    /// Reads `#key=value`; `None` for any other line. Spreadsheets pad lines with delimiters and may
    /// quote the whole line; both are undone.
    pub(super) fn parse(line: u64, text: &str) -> Option<DirectiveLine> {
        let mut text = text.trim().trim_end_matches([',', ';', '\t', '|']).trim();
        if let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
            text = inner.trim();
        }
        let (key, value) = text.strip_prefix('#')?.split_once('=')?;
        let key = normalise_name(key);
        let is_key = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_');
        is_key.then(|| DirectiveLine { line, key, value: value.trim().to_owned() })
    }

    pub(super) fn is_known(&self) -> bool {
        self.key == NOTIFY || self.key.starts_with("x_") || NAMES.contains(&self.key.as_str())
    }
}

/// The checked directives of one file. An absent key is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directives {
    given: Vec<(String, String)>,
}

impl Directives {
    /// The value as given; of `x_*` too.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.given.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All of them, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.given.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// How many data rows the sender counted.
    pub fn rows(&self) -> Option<u64> {
        self.get("rows")?.parse().ok()
    }

    pub fn seq(&self) -> Option<u64> {
        self.get("seq")?.parse().ok()
    }

    pub fn dedupe(&self) -> Option<Dedupe> {
        Dedupe::from_text(self.get("dedupe")?)
    }

    pub fn allow_duplicate(&self) -> bool {
        self.get("allow_duplicate") == Some("yes")
    }

    /// The file is only to be tried out. Such a file is one of its own, however like another one.
    pub fn is_test(&self) -> bool {
        self.get("test") == Some("yes")
    }

    /// A share of rows, 0 to 1.
    pub fn reject_threshold(&self) -> Option<f64> {
        self.get("reject_threshold")?.parse().ok()
    }

    /// Those that belong to the content of the file, sorted: part of `records_sha256`.
    pub(super) fn content(&self) -> Vec<(&str, &str)> {
        let mut content: Vec<(&str, &str)> =
            self.iter().filter(|(key, _)| !NOT_CONTENT.contains(key)).collect();
        content.sort_unstable();
        content
    }

    /// Checks the lines of one file; all problems are found together.
    pub(super) fn check(
        lines: &[DirectiveLine],
        encoding: &str,
        zones: &Zones,
    ) -> Result<Directives, Vec<FileProblem>> {
        let mut directives = Directives::default();
        let mut problems = Vec::new();
        for line in lines {
            let value = normal_value(line);
            match directives.get(&line.key) {
                Some(earlier) if earlier == value => {}
                Some(earlier) => problems.push(conflict(line, earlier)),
                None => match check_value(line, &value, encoding, zones) {
                    Ok(()) => directives.given.push((line.key.clone(), value)),
                    Err(problem) => problems.push(*problem),
                },
            }
        }
        if problems.is_empty() { Ok(directives) } else { Err(problems) }
    }
}

/// Words are compared in lower case; names and texts stay as they are.
fn normal_value(line: &DirectiveLine) -> String {
    match line.key.as_str() {
        "mode" | "channel" | "fallback" | "category" | "tz_mode" | "dedupe" | "allow_duplicate"
        | "test" => line.value.to_ascii_lowercase(),
        _ => line.value.clone(),
    }
}

fn conflict(line: &DirectiveLine, earlier: &str) -> FileProblem {
    let (key, earlier, later) = (&line.key, cut_value(earlier), cut_value(&line.value));
    let message = match line.line {
        0 => format!("the directive #{key} says {earlier:?}, the manifest says {later:?}"),
        _ => format!("the directive #{key} is given twice, as {earlier:?} and as {later:?}"),
    };
    FileProblem::new(ReasonCode::HeaderDirectiveConflict, message)
        .at_line(line.line)
        .value(&line.value)
}

fn check_value(
    line: &DirectiveLine,
    value: &str,
    encoding: &str,
    zones: &Zones,
) -> Result<(), Box<FileProblem>> {
    let invalid = |message: String, hint: String| {
        let problem = FileProblem::new(ReasonCode::HeaderDirectiveInvalid, message);
        Err(Box::new(problem.at_line(line.line).value(&line.value).hint(hint)))
    };
    let key = line.key.as_str();
    if !line.is_known() {
        let hint = match nearest(key, NAMES) {
            Some(name) => did_you_mean(&format!("#{name}")),
            None => "remove the line; own facts go into #x_<name>".to_owned(),
        };
        return invalid(format!("there is no directive #{key}"), hint);
    }
    if value.len() > VALUE_MAX_BYTES || value.chars().any(char::is_control) {
        let hint = format!("write at most {VALUE_MAX_BYTES} bytes without control characters");
        return invalid(format!("the value of #{key} is too long or no plain text"), hint);
    }
    if value.is_empty() {
        return invalid(format!("#{key} has no value"), "give a value or remove the line".into());
    }
    if key == "encoding" {
        return check_encoding(line, encoding);
    }
    let unbuilt = match (key, value) {
        (NOTIFY, _) => true,
        ("mode", word) => word == "full",
        _ => false,
    };
    if unbuilt {
        let hint = "remove the line; nothing of this file was sent".to_owned();
        return invalid(format!("this version does not have #{key}={value} yet"), hint);
    }
    match allowed(key, value, zones) {
        Ok(()) => Ok(()),
        Err(hint) => invalid(format!("#{key} cannot be {:?}", cut_value(value)), hint),
    }
}

/// The encoding was settled before this line could be read; here it can only agree.
fn check_encoding(line: &DirectiveLine, actual: &str) -> Result<(), Box<FileProblem>> {
    let problem = match TextEncoding::from_label(&line.value) {
        Some(encoding) if encoding.name() == actual => return Ok(()),
        Some(_) => FileProblem::new(
            ReasonCode::HeaderDirectiveConflict,
            format!("#encoding says {}, but the file is read as {actual}", cut_value(&line.value)),
        ),
        None => FileProblem::new(
            ReasonCode::HeaderDirectiveInvalid,
            format!("the encoding {:?} is not known", cut_value(&line.value)),
        )
        .hint("use a WHATWG name such as utf-8 or windows-1252, or cp437, cp850, cp852"),
    };
    Err(Box::new(problem.at_line(line.line).value(&line.value)))
}

/// Whether the value is allowed, or what would be.
pub(super) fn allowed(key: &str, value: &str, zones: &Zones) -> Result<(), String> {
    let one_of = |words: &[&str]| {
        if words.contains(&value) {
            return Ok(());
        }
        Err(format!("use {}", either(words.iter().copied())))
    };
    let when = |good: bool, hint: &str| if good { Ok(()) } else { Err(hint.to_owned()) };
    match key {
        "rows" | "seq" => when(value.parse::<u64>().is_ok(), "write digits only"),
        "mode" => one_of(&["delta"]),
        "tz_mode" => one_of(&["fixed", "recipient"]),
        "test" | "allow_duplicate" => one_of(&["yes", "no"]),
        "dedupe" => one_of(&["none", "exact", "recipient"]),
        "channel" => when(
            ChannelKind::from_text(value).is_some(),
            &format!("use {}", either(ChannelKind::ALL.iter().map(|c| c.as_str()))),
        ),
        "fallback" => when(chain::parse(value).is_some(), chain::CHAIN_HINT),
        "category" => when(
            Category::parse(value).is_some(),
            &format!("use {}", either(Category::ALL.iter().map(|c| c.as_str()))),
        ),
        "reject_threshold" => when(
            value.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share)),
            "write a share from 0 to 1, such as 0.2",
        ),
        "tz" => when(zones.get(value).is_some(), &zones.hint(value)),
        "window" => when(moment::window(value).is_some(), moment::WINDOW_HINT),
        // Which zone a local time is in depends on the row; whether it is a time does not.
        "send_at" | "expires_at" => when(
            moment::instant(value, None, &jiff::tz::TimeZone::UTC).is_some(),
            ReasonCode::RowTimeInvalid.advice(),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<Directives, Vec<(ReasonCode, String)>> {
        let lines: Vec<DirectiveLine> = (1..)
            .zip(text.lines())
            .map(|(number, line)| DirectiveLine::parse(number, line).unwrap())
            .collect();
        let codes = |problems: Vec<FileProblem>| {
            problems.into_iter().map(|p| (p.code, p.hint)).collect::<Vec<_>>()
        };
        let zones = Zones::new();
        Directives::check(&lines, "UTF-8", &zones).map_err(codes)
    }

    #[test]
    fn good_directives_are_read_and_normalised() {
        let text = "#rows=3,,,\n# Channel = SMS\n\"#window=09:00-20:00\"\n#x_order=A;\n#rows=3\n\
            #send-at=2026-12-01 10:00\n#allow_duplicate=yes\n#encoding=utf8\n#dedupe=Exact\n#test=no";
        let directives = check(text).unwrap();
        assert_eq!(directives.rows(), Some(3));
        assert_eq!(directives.get("channel"), Some("sms"));
        assert_eq!(directives.get("x_order"), Some("A"));
        assert_eq!(directives.get("send_at"), Some("2026-12-01 10:00"));
        assert_eq!(directives.dedupe(), Some(Dedupe::Exact));
        assert!(directives.allow_duplicate());
        let keys: Vec<&str> = directives.content().iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["channel", "dedupe", "send_at", "test", "window", "x_order"]);
    }

    #[test]
    fn bad_directives_are_all_named() {
        for (text, code, hint) in [
            ("#rows=three", ReasonCode::HeaderDirectiveInvalid, "digits"),
            ("#rosw=3", ReasonCode::HeaderDirectiveInvalid, "did you mean `#rows`?"),
            ("#test=maybe", ReasonCode::HeaderDirectiveInvalid, "use "),
            ("#mode=full", ReasonCode::HeaderDirectiveInvalid, "nothing of this file was sent"),
            ("#notify=a@b.example", ReasonCode::HeaderDirectiveInvalid, "nothing"),
            ("#tz=Mars/Base", ReasonCode::HeaderDirectiveInvalid, "IANA"),
            ("#window=9-20", ReasonCode::HeaderDirectiveInvalid, "09:00-20:00"),
            ("#send_at=tomorrow", ReasonCode::HeaderDirectiveInvalid, "2026"),
            ("#reject_threshold=2", ReasonCode::HeaderDirectiveInvalid, "0 to 1"),
            ("#category=ads", ReasonCode::HeaderDirectiveInvalid, "marketing"),
            ("#fallback=sms>fax", ReasonCode::HeaderDirectiveInvalid, "whatsapp:10m>sms>email"),
            ("#campaign=", ReasonCode::HeaderDirectiveInvalid, "value"),
            ("#encoding=utf-16le", ReasonCode::HeaderDirectiveConflict, "keep one"),
            ("#campaign=a\n#campaign=b", ReasonCode::HeaderDirectiveConflict, "keep one"),
        ] {
            let problems = check(text).unwrap_err();
            assert_eq!(problems.len(), 1, "{text}");
            assert_eq!(problems[0].0, code, "{text}");
            assert!(problems[0].1.contains(hint), "{text}: {}", problems[0].1);
        }
        assert_eq!(check("#rows=x\n#test=x").unwrap_err().len(), 2);
    }
}

//! A profile: a pattern of file names with its kind, dialect, mapping and rules.

use std::sync::LazyLock;

use jiff::civil::{DateTime, Time, Weekday, date};
use jiff::fmt::strtime;

use super::problem::Complaint;
use super::rules::{FinalNewline, Rules};
use super::section::{Item, Section};
use super::value;
use crate::intake::{Expected, NamePattern};
use crate::model::Kind;
use crate::records::{
    HeaderMode, Limits, Misgiven, ReadSettings, TextEncoding, check_column, check_given,
};
use crate::report::Answer;

/// What is declared for the files whose names match.
#[derive(Debug, Clone)]
pub struct Profile {
    pub name: String,
    /// The names of its files; the key `match`.
    pub pattern: NamePattern,
    /// The kind, where folder and name need not give it.
    pub kind: Option<Kind>,
    /// Dialect, mapping, fixed values and defaults.
    pub read: ReadSettings,
    pub rules: Rules,
    /// When its files are due, and their usual size.
    pub expected: Option<Expected>,
}

impl Profile {
    /// The profiles of a tenant or of `[defaults]`, in the order of the file. Those without a usable
    /// pattern were reported and are left out.
    pub(super) fn read_all(section: &Section<'_>, outer: &Rules, limits: &Limits) -> Vec<Profile> {
        let profiles = section.named_sections("profile").into_iter();
        profiles
            .filter_map(|(name, section)| Profile::read(name, &section, outer, limits))
            .collect()
    }

    fn read(
        name: String,
        section: &Section<'_>,
        outer: &Rules,
        limits: &Limits,
    ) -> Option<Profile> {
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            let complaint = Complaint::new("has a name that no file can carry")
                .hint("a profile's name is made of a-z, 0-9, \"-\" and \"_\"");
            section.complain("", complaint);
        }
        not_yet(section);
        let rules = Rules::read(section, outer);
        if rules.answers.pattern(Answer::Progress) != outer.answers.pattern(Answer::Progress) {
            let why = "name the progress file, which begins before a file's profile is known";
            section.complain("answers", Complaint::new(why).hint("name it in the tenant"));
        }
        let kind = section.optional("kind", None, kind);
        let kind_read = kind.unwrap_or(ReadSettings::default().kind);
        let read = read_settings(section, &rules, kind_read, limits);
        let pattern = section.required("match", "a pattern such as \"INV_*.csv\"", pattern)?;
        let expected =
            expected(&section.section("expected"), section.optional("match", None, value::word));
        Some(Profile { name, pattern, kind, read, rules, expected })
    }
}

/// Keys the contract gives a profile that this version does not act on.
fn not_yet(section: &Section<'_>) {
    section.not_yet("decimal", Some("."));
}

fn read_settings(
    section: &Section<'_>,
    rules: &Rules,
    kind: Kind,
    limits: &Limits,
) -> ReadSettings {
    let built_in = ReadSettings::default();
    let (header, columns) = header(section, kind);
    let date_format = section.optional("date_format", built_in.date_format, date_format);
    let given = |name: &str, item: &Item<'_>| {
        let value = value::text(item)?;
        check_given(name, &value, kind, date_format.as_deref()).map_err(misgiven)?;
        Ok(value)
    };
    ReadSettings {
        kind,
        delimiter: section.optional("delimiter", built_in.delimiter, value::delimiter),
        quote: section.value("quote", built_in.quote, quote),
        encoding: section.optional("encoding", built_in.encoding, encoding),
        form: built_in.form,
        header,
        skip_lines: section.value("skip_lines", built_in.skip_lines, value::number(0, 1_000)),
        columns,
        defaults: section.named_values("defaults", given),
        values: section.named_values("values", given),
        date_format,
        final_newline_optional: rules.final_newline == FinalNewline::Optional,
        // The proof is the file's, not the profile's.
        strong_proof: built_in.strong_proof,
        announced: built_in.announced,
        limits: limits.clone(),
    }
}

/// With a header `columns` maps its names; without one it lists them.
fn header(section: &Section<'_>, kind: Kind) -> (HeaderMode, Vec<(String, String)>) {
    let words = [("present", true), ("none", false)];
    if section.value("header", true, value::one_of(&words)) {
        let mapping = |_: &str, item: &Item<'_>| {
            let name = value::word(item)?;
            check_column(&name, kind).map_err(misgiven)?;
            Ok(name)
        };
        return (HeaderMode::Present, section.named_values("columns", mapping));
    }
    let allowed = "the list of the columns' names, since header = \"none\"";
    let listed = |item: &Item<'_>| {
        let name = value::text(item)?;
        check_column(&name, kind).map_err(misgiven)?;
        Ok(name)
    };
    let names = section.required("columns", allowed, |item| {
        match item.get_ref().as_array().is_some_and(|names| !names.is_empty()) {
            true => value::list(listed)(item),
            false => Err(Complaint::must_be(allowed)),
        }
    });
    (HeaderMode::Columns(names.unwrap_or_default()), Vec::new())
}

fn misgiven(wrong: Misgiven) -> Complaint {
    let mut complaint = Complaint::new(wrong.why);
    complaint.hint = wrong.hint;
    complaint
}

fn quote(item: &Item<'_>) -> Result<Option<u8>, Complaint> {
    let allowed = "one ASCII character such as '\"', or \"none\"";
    match value::str_of(item, allowed)? {
        "none" => Ok(None),
        text => match text.as_bytes() {
            [byte] if byte.is_ascii_punctuation() && !b",;|".contains(byte) => Ok(Some(*byte)),
            _ => Err(Complaint::must_be(allowed)),
        },
    }
}

fn encoding(item: &Item<'_>) -> Result<TextEncoding, Complaint> {
    let allowed = "an encoding such as \"utf-8\", \"windows-1252\", \"cp850\" or \"cp500\"";
    let label = value::str_of(item, allowed)?;
    TextEncoding::from_label(label)
        .ok_or_else(|| Complaint::new("is no known encoding").allowed(allowed))
}

/// A format is tried on a moment: it must give the day back.
fn date_format(item: &Item<'_>) -> Result<String, Complaint> {
    static SAMPLE: LazyLock<DateTime> = LazyLock::new(|| date(2026, 11, 22).at(13, 14, 15, 0));
    let allowed = "a format such as \"%d.%m.%Y %H:%M\"";
    let format = value::str_of(item, allowed)?;
    let complaint = || Complaint::new("does not tell a day").allowed(allowed);
    let text = strtime::format(format, *SAMPLE).map_err(|_| complaint())?;
    let read = strtime::parse(format, &text).and_then(|parsed| parsed.to_date());
    if read.is_ok_and(|day| day == SAMPLE.date()) {
        Ok(format.to_owned())
    } else {
        Err(complaint())
    }
}

/// Every day, unless `days` names some.
fn expected(section: &Section<'_>, pattern: Option<String>) -> Option<Expected> {
    const DAYS: [(&str, Weekday); 7] = [
        ("mon", Weekday::Monday),
        ("tue", Weekday::Tuesday),
        ("wed", Weekday::Wednesday),
        ("thu", Weekday::Thursday),
        ("fri", Weekday::Friday),
        ("sat", Weekday::Saturday),
        ("sun", Weekday::Sunday),
    ];
    let by = section.optional("by", None, time_of_day);
    let every_day = DAYS.map(|(_, day)| day).to_vec();
    let days = section.value("days", every_day, value::list(value::one_of(&DAYS)));
    if !section.has("by") && section.has("days") {
        section.complain(
            "days",
            Complaint::new("says when, but no time by which").hint("add by = \"09:00\""),
        );
    }
    let rows = value::number(0, u64::MAX);
    let rows_min = section.optional("rows_min", None, &rows);
    let rows_max = section.optional("rows_max", None, &rows);
    if rows_min.is_some_and(|min| rows_max.is_some_and(|max| max < min)) {
        section.complain("rows_max", Complaint::new("is smaller than rows_min"));
    }
    let due = by.map(|by| (by, days));
    let pattern = pattern.unwrap_or_default();
    section.is_given().then_some(Expected { due, rows_min, rows_max, pattern })
}

fn time_of_day(item: &Item<'_>) -> Result<Time, Complaint> {
    let allowed = "a time of day such as \"09:00\"";
    let text = value::str_of(item, allowed)?;
    let parts = text.split_once(':').filter(|(hour, minute)| hour.len() == 2 && minute.len() == 2);
    let number =
        |text: &str| text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    parts
        .and_then(|(hour, minute)| Time::new(number(hour)?, number(minute)?, 0, 0).ok())
        .ok_or_else(|| Complaint::new("is no time of day").allowed(allowed))
}

/// A glob over whole names; `{seq}` stands for a sequence number.
fn pattern(item: &Item<'_>) -> Result<NamePattern, Complaint> {
    NamePattern::new(&value::word(item)?).map_err(|error| {
        Complaint::new(format!("is no pattern: {}", error.kind())).allowed(
            "a file name in which \"*\", \"?\" and \"[a-z]\" stand for others, and {seq} for a number",
        )
    })
}

fn kind(item: &Item<'_>) -> Result<Kind, Complaint> {
    let words: Vec<_> = Kind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    value::one_of(&words)(item)
}

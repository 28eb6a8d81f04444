//! A profile: a pattern of file names with its kind, dialect, mapping and rules.

use std::sync::LazyLock;

use encoding_rs::Encoding;
use jiff::civil::{DateTime, date};
use jiff::fmt::strtime;

use super::problem::Complaint;
use super::rules::{FinalNewline, Rules};
use super::section::{Item, Section};
use super::tenant::{Pattern, pattern};
use super::value;
use crate::model::Kind;
use crate::records::{HeaderMode, Limits, ReadSettings};
use crate::report::Answer;

/// What is declared for the files whose names match.
#[derive(Debug, Clone)]
pub struct Profile {
    pub name: String,
    /// The names of its files; the key `match`.
    pub pattern: Pattern,
    /// The kind, where folder and name need not give it.
    pub kind: Option<Kind>,
    /// Dialect, mapping, fixed values and defaults.
    pub read: ReadSettings,
    pub rules: Rules,
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
        let read = read_settings(section, &rules, limits);
        let kind = section.optional("kind", None, kind);
        let pattern = section.required("match", "a pattern such as \"INV_*.csv\"", pattern)?;
        Some(Profile { name, pattern, kind, read, rules })
    }
}

/// Keys the contract gives a profile that this version does not act on.
fn not_yet(section: &Section<'_>) {
    section.not_yet("approve_above", None);
    section.not_yet("decimal", Some("."));
    section.not_yet("expected", None);
    section.not_yet("first_file_held", Some("false"));
    section.not_yet("reuse_names", Some("true"));
    section.not_yet("sentinel", None);
    section.not_yet("sequence", Some("off"));
}

fn read_settings(section: &Section<'_>, rules: &Rules, limits: &Limits) -> ReadSettings {
    let built_in = ReadSettings::default();
    let (header, columns) = header(section);
    ReadSettings {
        delimiter: section.optional("delimiter", built_in.delimiter, value::delimiter),
        quote: section.value("quote", built_in.quote, quote),
        encoding: section.optional("encoding", built_in.encoding, encoding),
        header,
        skip_lines: section.value("skip_lines", built_in.skip_lines, value::number(0, 1_000)),
        columns,
        defaults: section.named_values("defaults", |_, item| value::text(item)),
        values: section.named_values("values", |_, item| value::text(item)),
        date_format: section.optional("date_format", built_in.date_format, date_format),
        final_newline_optional: rules.final_newline == FinalNewline::Optional,
        // The proof is the file's, not the profile's.
        strong_proof: built_in.strong_proof,
        limits: limits.clone(),
    }
}

/// With a header `columns` maps its names; without one it lists them.
fn header(section: &Section<'_>) -> (HeaderMode, Vec<(String, String)>) {
    let words = [("present", true), ("none", false)];
    if section.value("header", true, value::one_of(&words)) {
        let mapping = |_: &str, item: &Item<'_>| value::word(item);
        return (HeaderMode::Present, section.named_values("columns", mapping));
    }
    let allowed = "the list of the columns' names, since header = \"none\"";
    let names = section.required("columns", allowed, |item| {
        match item.get_ref().as_array().is_some_and(|names| !names.is_empty()) {
            true => value::list(value::text)(item),
            false => Err(Complaint::must_be(allowed)),
        }
    });
    (HeaderMode::Columns(names.unwrap_or_default()), Vec::new())
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

fn encoding(item: &Item<'_>) -> Result<&'static Encoding, Complaint> {
    let allowed = "an encoding such as \"utf-8\", \"windows-1252\" or \"iso-8859-15\"";
    let label = value::str_of(item, allowed)?;
    if ["cp437", "cp850", "cp852", "cp273", "cp500"].contains(&label.to_ascii_lowercase().as_str())
    {
        return Err(Complaint::not_yet());
    }
    Encoding::for_label_no_replacement(label.as_bytes())
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

fn kind(item: &Item<'_>) -> Result<Kind, Complaint> {
    let words: Vec<_> = Kind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    value::one_of(&words)(item)
}

//! `answers`: which answers are written, under which names, in which dialect.

use std::collections::BTreeMap;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::problem::Complaint;
use super::section::{Item, Section};
use super::value;
use crate::model::BatchId;
use crate::outbox::AnswerStyle;
use crate::report::{Answer, AnswerPattern, Dialect, Subject};

/// Reads the section of a tenant or a profile; what it does not say is as in `outer`.
pub(super) fn read(section: &Section<'_>, outer: &AnswerStyle) -> AnswerStyle {
    let style = AnswerStyle {
        write: section.value("write", outer.write.clone(), write),
        names: names(&section.section("names"), &outer.names),
        columns: columns(&section.section("columns"), &outer.columns),
        dialect: dialect(section, outer.dialect),
    };
    names_are_apart(section, &style);
    style
}

fn words() -> Vec<(&'static str, Answer)> {
    Answer::ALL.into_iter().map(|answer| (answer.as_str(), answer)).collect()
}

/// Every ready file is answered, so that the ACK cannot be left out.
fn write(item: &Item<'_>) -> Result<Vec<Answer>, Complaint> {
    let answers = value::list(value::one_of(&words()))(item)?;
    if answers.contains(&Answer::Ack) {
        return Ok(answers);
    }
    Err(Complaint::new("leaves out the ack, which every file gets").hint("add \"ack\" to the list"))
}

fn names(
    section: &Section<'_>,
    outer: &BTreeMap<Answer, AnswerPattern>,
) -> BTreeMap<Answer, AnswerPattern> {
    let read = |answer: Answer| {
        let outer = outer.get(&answer).cloned();
        let pattern = section.optional(answer.as_str(), outer, |item| name(answer, item))?;
        Some((answer, pattern))
    };
    Answer::ALL.into_iter().filter_map(read).collect()
}

fn name(answer: Answer, item: &Item<'_>) -> Result<AnswerPattern, Complaint> {
    let allowed = "a file name, which may hold {name}, {stem}, {date} and {batch_id}";
    let text = value::str_of(item, allowed)?;
    let pattern = AnswerPattern::parse(text).map_err(|why| Complaint::new(why).allowed(allowed))?;
    // What comes back corrected is known by its name to belong to the file it came from.
    let tells_its_file = text.matches('{').count() == 1 && text.contains("{name}");
    if answer == Answer::Rejected && !(tells_its_file && text != "{name}") {
        let why = "does not tell the file's whole name, by which a corrected file is known again";
        return Err(Complaint::new(why).hint("write {name} with a fixed text before or behind it"));
    }
    Ok(pattern)
}

fn columns(
    section: &Section<'_>,
    outer: &BTreeMap<Answer, Vec<String>>,
) -> BTreeMap<Answer, Vec<String>> {
    let read = |answer: Answer| {
        // Rejected records keep their own columns, and progress is known by its first ones.
        let known = answer.columns().filter(|_| answer != Answer::Progress)?;
        let outer = outer.get(&answer).cloned();
        let of_known = |item: &Item<'_>| {
            let mut words: Vec<(&str, &str)> = known.iter().map(|name| (*name, *name)).collect();
            words.push(("x_*", "x_*"));
            let names = value::list(value::one_of(&words))(item)?;
            match names.is_empty() {
                true => Err(Complaint::new("names no column")),
                false => Ok(names.into_iter().map(str::to_owned).collect()),
            }
        };
        Some((answer, section.optional(answer.as_str(), outer, of_known)?))
    };
    Answer::ALL.into_iter().filter_map(read).collect()
}

fn dialect(section: &Section<'_>, outer: Dialect) -> Dialect {
    let line_ends = [("lf", "\n"), ("crlf", "\r\n")];
    let dialect = Dialect {
        delimiter: section.value("delimiter", outer.delimiter, value::delimiter),
        encoding: section.value("encoding", outer.encoding, encoding),
        bom: section.value("bom", outer.bom, value::switch),
        newline: section.value("newline", outer.newline, value::one_of(&line_ends)),
        spreadsheet_safe: section.value("spreadsheet_safe", outer.spreadsheet_safe, value::switch),
    };
    if dialect.bom && ![UTF_8, UTF_16LE, UTF_16BE].contains(&dialect.encoding) {
        let why = format!("is not possible with {}", dialect.encoding.name());
        section.complain("bom", Complaint::new(why).hint("only Unicode has a byte order mark"));
    }
    dialect
}

fn encoding(item: &Item<'_>) -> Result<&'static Encoding, Complaint> {
    let allowed = "an encoding such as \"utf-8\", \"windows-1252\" or \"utf-16le\"";
    let label = value::str_of(item, allowed)?;
    let encoding = Encoding::for_label_no_replacement(label.as_bytes())
        .ok_or_else(|| Complaint::new("is no known encoding").allowed(allowed))?;
    // Others shift between alphabets, which a cell alone cannot do.
    let fits = encoding.is_ascii_compatible() || [UTF_16LE, UTF_16BE].contains(&encoding);
    if fits { Ok(encoding) } else { Err(Complaint::new("cannot be written").allowed(allowed)) }
}

/// Two answers about one file must not have one name.
fn names_are_apart(section: &Section<'_>, style: &AnswerStyle) {
    for file in ["A.csv", "KUNDEN.TXT", "a.b.csv.gz"] {
        let subject = Subject { name: file, date: "20261122", batch: BatchId::from_u64(1) };
        let mut taken: BTreeMap<String, Answer> = BTreeMap::new();
        for answer in style.write.iter().copied() {
            let name = style.pattern(answer).name(subject);
            let Some(other) = taken.insert(name.clone(), answer) else { continue };
            if other == answer {
                continue;
            }
            let why = format!(
                "give {} and {} of a file {file} the same name {name:?}",
                other.as_str(),
                answer.as_str()
            );
            return section.complain("names", Complaint::new(why));
        }
    }
}

//! Records that are no rows of a table: what they seem to be, and what the partner should do.

use crate::codes::ReasonCode;
use crate::model::{Kind, is_invisible};

use super::directives::DirectiveLine;
use super::preamble::trailer;
use super::record::Record;

/// What is wrong with a record, in sentences.
pub(super) struct Oddity {
    pub(super) code: ReasonCode,
    pub(super) message: &'static str,
    pub(super) hint: &'static str,
}

/// A record that is no row at all, whatever its number of cells.
pub(super) fn no_row(record: &Record, names: &[String], kind: Kind) -> Option<Oddity> {
    let first = record.get(0)?;
    if record.len() > 1 && record.text.trim_start().is_empty() {
        return Some(Oddity {
            code: match kind {
                Kind::Messages => ReasonCode::RowAddressMissing,
                _ => ReasonCode::RowValueMissing,
            },
            message: "the row has no value in any column",
            hint: "remove the line: it may have been left by a spreadsheet",
        });
    }
    if is_name(first, names.first()?) && is_header(record, names) {
        return Some(Oddity {
            code: ReasonCode::RowValueNotAllowed,
            message: "the row repeats the header",
            hint: "remove the line: a file has one header, above its rows",
        });
    }
    let rest_is_blank = || record.iter().skip(1).all(|cell| cell.trim().is_empty());
    if !first.trim_start().starts_with('#') || !rest_is_blank() {
        return None;
    }
    let code = match record.len() == names.len() {
        true => ReasonCode::RowValueNotAllowed,
        false => ReasonCode::RowFieldCount,
    };
    let first = first.trim();
    if trailer(&first.to_ascii_uppercase().replace("ROWS=", "rows=")).is_some() {
        let message = "the row looks like the trailer, but is not";
        let hint = "write #EOF in capitals, as #EOF or #EOF rows=<n> in the last line";
        return Some(Oddity { code, message, hint });
    }
    if DirectiveLine::parse(0, first).is_some_and(|directive| directive.is_known()) {
        let message = "a directive stands behind the header";
        let hint = "let the lines #key=value stand above the header";
        return Some(Oddity { code, message, hint });
    }
    (code == ReasonCode::RowFieldCount).then_some(Oddity {
        code,
        message: "the line begins with # and is no row",
        hint: "remove the line: comments are not read",
    })
}

fn is_header(record: &Record, names: &[String]) -> bool {
    record.len() >= names.len()
        && record.iter().zip(names).all(|(cell, name)| is_name(cell, name))
        && record.iter().skip(names.len()).all(|cell| cell.trim().is_empty())
}

fn is_name(cell: &str, name: &str) -> bool {
    let cell = cell.trim_matches(|c: char| c.is_whitespace() || is_invisible(c));
    !name.is_empty() && cell.eq_ignore_ascii_case(name)
}

/// What to do about a record that has more or fewer cells than there are columns.
pub(super) fn count_hint(record: &Record, columns: usize, quote: Option<u8>) -> &'static str {
    let Some(quote) = quote.map(char::from) else {
        return "write no delimiter and no line end inside a cell: this file has no quotes";
    };
    if record.text.contains(&format!("\\{quote}")) {
        return "double a quote inside quotes: a backslash does not escape it";
    }
    if record.len() < columns {
        return "write a delimiter for every column, and put a text with a line end in quotes";
    }
    if record.iter().skip(columns).all(|cell| cell.trim().is_empty()) {
        return "remove the delimiter at the end of the row, or add one to the header";
    }
    let is_late = |cell: &str| cell.starts_with(' ') && cell.trim_start().starts_with(quote);
    if record.iter().any(is_late) {
        return "let no space stand between a delimiter and a quote";
    }
    "put a text that holds the delimiter in quotes"
}

/// A count and its noun.
pub(super) fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

//! What a file is that has no header of ours: what its first bytes and lines look like. Never more than
//! a sentence for the partner: nothing is read on the strength of it.

use crate::codes::ReasonCode;
use crate::model::FileForm;

use super::layout::{Column, is_known, standard_name};
use super::nearest::{did_you_mean, nearest};
use super::problem::{FileProblem, ReadError};
use super::settings::{DELIMITERS, ReadSettings};

/// Signs that other programs cut columns by.
const OTHER_DELIMITERS: [char; 5] = [':', '^', '~', '\u{1f}', ' '];
/// Lines below the first that a header is looked for in.
const LINES_MAX: usize = 20;

/// A file that is not what its name says, by its first bytes.
pub(super) fn foreign(head: &[u8], form: FileForm) -> Option<ReadError> {
    const ENDING: &str = "send CSV, or give the file the ending it should have: .xlsx, .zip or .gz";
    const PACK: &str = "pack it as .gz or .zip, or send it as it is";
    const CSV: &str = "send CSV, .xlsx or .jsonl";
    let (what, hint) = match head {
        [b'P', b'K', 3, 4, ..] => ("a zip archive or a spreadsheet", ENDING),
        [0x1F, 0x8B, 8, ..] => ("a gzip archive", ENDING),
        [b'B', b'Z', b'h', ..] => ("a bzip2 archive", PACK),
        [0xFD, b'7', b'z', b'X', b'Z', ..] => ("an xz archive", PACK),
        [b'7', b'z', 0xBC, 0xAF, ..] => ("a 7z archive", PACK),
        [b'R', b'a', b'r', b'!', ..] => ("a RAR archive", PACK),
        [0xD0, 0xCF, 0x11, 0xE0, ..] => {
            ("an old or protected Office file", "save it as .xlsx or CSV")
        }
        [b'%', b'P', b'D', b'F', b'-', ..] => ("a PDF", CSV),
        [0x89, b'P', b'N', b'G', ..] | [0xFF, 0xD8, 0xFF, ..] => ("a picture", CSV),
        _ if form == FileForm::Delimited => match head.trim_ascii_start() {
            [b'<', ..] => ("HTML or XML", "send CSV: what was uploaded may be an error page"),
            [b'{', b'"', ..] => ("JSON", "name it .jsonl if each line is an object, else send CSV"),
            [b'[', rest @ ..] if rest.trim_ascii_start().starts_with(b"{") => {
                ("a list in JSON", "write one object a line into a .jsonl, or send CSV")
            }
            _ => return None,
        },
        _ => return None,
    };
    let message = format!("the file is {what}, not CSV");
    Some(FileProblem::new(ReasonCode::FileNotText, message).hint(hint).into())
}

/// A first line without a known name under any delimiter: why that may be.
pub(super) fn unknown_header(text: &str, line: u64, settings: &ReadSettings) -> ReadError {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let message = "the line holds no known column name, whatever the delimiter";
    FileProblem::new(ReasonCode::HeaderDelimiterUnknown, message)
        .at_line(line)
        .value(first.trim())
        .hint(hint(first, lines, line, settings))
        .into()
}

/// True for a line above the header, or one whose cells nobody can tell apart: its delimiter says nothing.
pub(super) fn is_title(text: &str, settings: &ReadSettings) -> bool {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    quoted_whole(first, settings) || header_below(lines, 1, settings).is_some()
}

/// A line whose cells stand in one pair of quotes together.
fn quoted_whole(line: &str, settings: &ReadSettings) -> bool {
    let inner = line.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let has_names =
        |inner: &str| DELIMITERS.iter().any(|d| known(inner, char::from(*d), settings) > 1);
    inner.is_some_and(has_names)
}

fn hint<'a>(
    first: &str,
    below: impl Iterator<Item = &'a str>,
    line: u64,
    settings: &ReadSettings,
) -> String {
    let widest = DELIMITERS.into_iter().max_by_key(|d| cells(first, char::from(*d)).count());
    if quoted_whole(first, settings) {
        return "remove the quotes around the whole line: each cell has its own".to_owned();
    }
    if let Some(hint) = header_below(below, line, settings) {
        return hint;
    }
    if let Some(sign) = OTHER_DELIMITERS.into_iter().find(|s| known(first, *s, settings) > 1) {
        return format!("the columns are cut by {sign:?}: use comma, semicolon, tab or bar");
    }
    let delimiter = char::from(widest.unwrap_or(b','));
    let columns = || Column::ALL.iter().filter(|c| c.is_of(settings.kind)).map(|c| c.as_str());
    if let Some(near) = cells(first, delimiter).find_map(|cell| nearest(cell, columns())) {
        return did_you_mean(near);
    }
    if cells(first, delimiter).count() > 1 {
        return "name the columns as /spec/columns.csv does, or ask the operator for a profile that \
                maps them"
            .to_owned();
    }
    ReasonCode::HeaderDelimiterUnknown.advice().to_owned()
}

/// Where the header stands, if some line below has names of columns.
fn header_below<'a>(
    below: impl Iterator<Item = &'a str>,
    line: u64,
    settings: &ReadSettings,
) -> Option<String> {
    let has_names =
        |line: &str| DELIMITERS.iter().any(|d| known(line, char::from(*d), settings) > 1);
    let at = line + 1 + below.take(LINES_MAX).position(has_names)? as u64;
    Some(format!("the header seems to be line {at}: remove the lines above it"))
}

/// A declared delimiter that does not cut the header, where another one does.
pub(super) fn misdeclared(
    text: &str,
    (declared, by_sep): (u8, bool),
    line: u64,
    settings: &ReadSettings,
) -> Option<ReadError> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    if known(first, char::from(declared), settings) > 0 {
        return None;
    }
    let cuts = |delimiter: &u8| known(first, char::from(*delimiter), settings) > 1;
    let Some(fits) = DELIMITERS.into_iter().find(cuts).map(char::from) else {
        let hint = header_below(lines, line, settings)?;
        let message = "the line holds no known column name";
        let problem = FileProblem::new(ReasonCode::HeaderMissing, message);
        return Some(problem.at_line(line).value(first.trim()).hint(hint).into());
    };
    let declared = char::from(declared);
    let (message, hint) = if by_sep {
        let message = format!("the line sep= names {declared:?}, the header is cut by {fits:?}");
        (message, "let the line sep= name the delimiter of the rows, or remove it")
    } else {
        let message = format!(
            "the profile says that {declared:?} cuts the columns, the header is cut by {fits:?}"
        );
        (message, "use the delimiter of the profile, or ask the operator to change it")
    };
    let problem = FileProblem::new(ReasonCode::HeaderDelimiterUnknown, message);
    Some(problem.at_line(line).value(first.trim()).hint(hint).into())
}

fn cells(line: &str, delimiter: char) -> impl Iterator<Item = &str> {
    let around = |c: char| c == '"' || c.is_whitespace();
    line.split(delimiter).map(move |cell| cell.trim_matches(around)).filter(|cell| !cell.is_empty())
}

fn known(line: &str, delimiter: char, settings: &ReadSettings) -> usize {
    cells(line, delimiter)
        .filter(|cell| is_known(&standard_name(cell, &settings.columns), settings.kind))
        .count()
}

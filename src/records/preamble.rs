//! What stands before the first data row: `sep=`, directives, skipped lines, the header.

use std::io::{self, Read};

use crate::codes::ReasonCode;
use crate::model::{FileForm, normalise_name};

use super::cursor::{Cursor, Found};
use super::directives::DirectiveLine;
use super::first_line;
use super::layout::{is_known, looks_like_data, standard_name};
use super::problem::{FileProblem, ReadError};
use super::scan::{Field, Scan, Scanner};
use super::settings::{DELIMITERS, HeaderMode, ReadSettings};
use super::source::Source;

/// The columns that a `.rejected.csv` puts before the file's own.
pub(super) const REJECT_COLUMNS: [&str; 5] = ["_line", "_row", "_code", "_column", "_hint"];

/// The quote of a `.rejected.csv` whose header is quoted: what came from a workbook or from objects may
/// hold anything, and a profile without this quote could not write it down.
pub(super) const REJECT_QUOTE: u8 = b'"';
/// Records that are looked at where no header tells the delimiter.
const RECORDS_LOOKED_AT: usize = 100;
/// As far as these bytes go; however a file comes in, they are looked at.
const BYTES_LOOKED_AT: usize = 64 << 10;

/// The preamble of one file, the cursor standing behind it.
#[derive(Default)]
pub(super) struct Preamble {
    /// The file began with a byte order mark.
    pub(super) mark: bool,
    /// The `sep=` line as it came, line end included.
    pub(super) sep_line: Vec<u8>,
    pub(super) directives: Vec<DirectiveLine>,
    /// Each directive line as it came, line end included.
    pub(super) directive_bytes: Vec<Vec<u8>>,
    pub(super) delimiter: u8,
    /// The quote of the records: the profile's, unless the header of a rejected file is quoted.
    pub(super) quote: Option<u8>,
    /// The header's names; from the profile where the file has no header line.
    pub(super) cells: Vec<String>,
    pub(super) header_line: Option<u64>,
    /// The header record as it came; empty where the file has none.
    pub(super) header_bytes: Vec<u8>,
    /// The file is a corrected `.rejected.csv`.
    pub(super) redropped: bool,
}

/// The trailer `#EOF` or `#EOF rows=<n>`: the announced rows, where the line is one.
pub(super) fn trailer(text: &str) -> Option<Option<&str>> {
    let rest =
        text.trim_end_matches([',', ';', '\t', '|', ' ', '\r', '\n']).strip_prefix("#EOF")?;
    if rest.is_empty() {
        return Some(None);
    }
    let rest = rest.strip_prefix(' ')?.trim();
    Some(Some(rest.strip_prefix("rows=").unwrap_or(rest)))
}

/// Reads up to the first data row.
pub(super) fn read<R: Read>(
    cursor: &mut Cursor<R>,
    settings: &ReadSettings,
) -> Result<Preamble, ReadError> {
    let mark = cursor.source.begin(settings.declared())?;
    let mut preamble = Preamble { mark, delimiter: b',', ..Preamble::default() };
    cursor.check_size()?;
    if let Some(foreign) = first_line::foreign(cursor.source.head(), settings.form) {
        return Err(foreign);
    }
    let sep = read_lines(cursor, settings, &mut preamble)?;
    preamble.quote = settings.text_quote();
    if let (FileForm::Objects, HeaderMode::Columns(names)) = (settings.form, &settings.header) {
        cursor.cut_by_lines();
        preamble.cells.clone_from(names);
        return if names.is_empty() { Err(no_objects(cursor)) } else { Ok(preamble) };
    }
    if let Some((delimiter, is_quoted)) = rejected_header(cursor)? {
        preamble.redropped = true;
        preamble.delimiter = delimiter;
        if is_quoted {
            preamble.quote = Some(REJECT_QUOTE);
        }
    } else {
        let declared = sep.or(settings.delimiter);
        if let (Some(delimiter), HeaderMode::Present) = (declared, &settings.header) {
            check_declared(cursor, (delimiter, sep.is_some()), settings)?;
        }
        preamble.delimiter = match (declared, &settings.header) {
            (Some(delimiter), _) => delimiter,
            (None, HeaderMode::Present) => detect(cursor, settings)?,
            (None, HeaderMode::Columns(names)) => detect_by_count(cursor, preamble.quote, names)?,
        };
    }
    cursor.cut_by(preamble.delimiter, preamble.quote, cursor.scanner.line);
    match &settings.header {
        HeaderMode::Columns(names) if !preamble.redropped => preamble.cells.clone_from(names),
        _ => read_header(cursor, settings, &mut preamble)?,
    }
    preamble.announce(&settings.announced);
    Ok(preamble)
}

impl Preamble {
    /// Adds what the manifest says, as if it stood in the file behind the file's own directives.
    fn announce(&mut self, announced: &[(String, String)]) {
        let line_end = if self.header_bytes.ends_with(b"\r\n") { "\r\n" } else { "\n" };
        for (key, value) in announced {
            if self.directives.iter().any(|own| own.key == *key && own.value == *value) {
                continue;
            }
            let (key, value) = (key.clone(), value.clone());
            self.directive_bytes.push(format!("#{key}={value}{line_end}").into_bytes());
            self.directives.push(DirectiveLine { line: 0, key, value });
        }
    }
}

/// What a directive of the file itself says, read before its dialect is known. What is wrong with the
/// lines above the header is said when the file is read.
pub fn own_directive(
    text: impl Read,
    settings: &ReadSettings,
    key: &str,
) -> io::Result<Option<String>> {
    let mut cursor = Cursor::new(Source::new(text), settings.form, &settings.limits);
    cursor.source.begin(settings.declared())?;
    let mut preamble = Preamble::default();
    if let Err(ReadError::Io(error)) = read_lines(&mut cursor, settings, &mut preamble) {
        return Err(error);
    }
    Ok(preamble.directives.into_iter().find(|line| line.key == key).map(|line| line.value))
}

/// Reads `sep=`, directives, blank and skipped lines; returns the delimiter that `sep=` names.
fn read_lines<R: Read>(
    cursor: &mut Cursor<R>,
    settings: &ReadSettings,
    preamble: &mut Preamble,
) -> Result<Option<u8>, ReadError> {
    let mut sep = None;
    let mut to_skip = settings.skip_lines;
    loop {
        if cursor.line()?.is_some() {
            // Such as stands in front of a header when directives were put above a marked file.
            cursor.source.pass_marks();
        }
        let Some(length) = cursor.line()? else { return Err(empty()) };
        let bytes = &cursor.source.window()[..length];
        let text = cursor.source.text_of(bytes);
        let number = cursor.scanner.line;
        let directive = DirectiveLine::parse(number, &text);
        if text.trim().is_empty() {
            to_skip = to_skip.saturating_sub(1);
        } else if let Some(named) = sep_line(&text).filter(|_| number == 1) {
            sep = Some(named.ok_or_else(|| {
                FileProblem::new(
                    ReasonCode::HeaderDelimiterUnknown,
                    "the sep= line names no delimiter",
                )
                .at_line(1)
                .value(text.trim())
            })?);
            preamble.sep_line = bytes.to_vec();
        } else if length >= settings.limits.record_max_bytes && text.starts_with('#') {
            let message = "a directive is longer than a record may be";
            let problem = FileProblem::new(ReasonCode::HeaderDirectiveInvalid, message);
            return Err(problem.at_line(number).value(&text).hint("shorten the line").into());
        } else if trailer(&text).is_some() && to_skip == 0 {
            return Err(empty());
        } else if let Some(directive) = directive.filter(|d| to_skip == 0 || d.is_known()) {
            if preamble.directives.len() == settings.limits.directives_max {
                let message =
                    format!("there are more than {} directives", preamble.directives.len());
                let problem = FileProblem::new(ReasonCode::HeaderDirectiveInvalid, message);
                let hint = "remove lines; /spec/limits.csv says how many there may be";
                return Err(problem.at_line(number).hint(hint).into());
            }
            preamble.directives.push(directive);
            preamble.directive_bytes.push(bytes.to_vec());
        } else if to_skip > 0 && rejected_delimiter(&text).is_none() {
            to_skip -= 1;
        } else if text.starts_with('#') && !text.contains([',', ';', '\t', '|']) {
            let problem = FileProblem::new(
                ReasonCode::HeaderDirectiveInvalid,
                "a line before the header begins with # but is no directive",
            );
            let problem = problem.at_line(number).value(text.trim());
            return Err(problem.hint("write #key=value, or remove the line").into());
        } else {
            return Ok(sep);
        }
        cursor.pass_line(length)?;
    }
}

fn no_objects<R: Read>(cursor: &Cursor<R>) -> ReadError {
    let message = "no line of the file is a JSON object with names in it";
    let hint = match cursor.source.window().trim_ascii_start() {
        [b'[', ..] => "remove the brackets and commas around the objects: one object a line",
        [b'{', ..] => "write each object in a line of its own, without line ends inside it",
        _ => "write one object a line, such as {\"email\":\"a@example.com\",\"text\":\"Hello\"}",
    };
    FileProblem::new(ReasonCode::HeaderMissing, message)
        .at_line(cursor.scanner.line)
        .hint(hint)
        .into()
}

fn empty() -> ReadError {
    let message = "the file holds no header and no rows";
    FileProblem::new(ReasonCode::FileEmpty, message).into()
}

/// Excel's `sep=;`: the outer `None` is another line, the inner one no delimiter of ours.
fn sep_line(text: &str) -> Option<Option<u8>> {
    let text = text.trim_end_matches(['\r', '\n']).trim_matches('"');
    let head = text.get(..4)?;
    if !head.eq_ignore_ascii_case("sep=") {
        return None;
    }
    Some(match text.as_bytes()[4..] {
        [delimiter] | [delimiter, b' '] if DELIMITERS.contains(&delimiter) => Some(delimiter),
        // `sep=,` padded by a spreadsheet.
        [first, ..] if DELIMITERS.contains(&first) && text[4..].bytes().all(|b| b == first) => {
            Some(first)
        }
        _ => None,
    })
}

/// The delimiter of a `.rejected.csv` header.
fn rejected_delimiter(text: &str) -> Option<u8> {
    DELIMITERS.into_iter().find(|delimiter| {
        let mut cells = text
            .split(char::from(*delimiter))
            .map(|cell| normalise_name(cell.trim().trim_matches('"')));
        REJECT_COLUMNS[..3].iter().all(|name| cells.next().as_deref() == Some(*name))
    })
}

/// The delimiter of the `.rejected.csv` header at the window's start, and whether its names are quoted.
fn rejected_header<R: Read>(cursor: &mut Cursor<R>) -> Result<Option<(u8, bool)>, ReadError> {
    let Some(length) = cursor.line()? else { return Ok(None) };
    let bytes = &cursor.source.window()[..length];
    let delimiter = rejected_delimiter(&cursor.source.text_of(bytes));
    Ok(delimiter.map(|delimiter| (delimiter, bytes.first() == Some(&REJECT_QUOTE))))
}

/// The cells of the record at the window's start, were this its delimiter. Consumes nothing.
fn cells_with<R: Read>(
    cursor: &mut Cursor<R>,
    delimiter: u8,
    quote: Option<u8>,
) -> Result<Option<(Vec<String>, usize)>, ReadError> {
    let line = cursor.scanner.line;
    cursor.cut_by(delimiter, quote, line);
    let found = cursor.find()?;
    let line_after = std::mem::replace(&mut cursor.scanner.line, line);
    let Found::Record { length, .. } = found else { return Ok(None) };
    let record = &cursor.source.window()[..length];
    let mut scratch = Vec::new();
    let quote = quote.unwrap_or(b'"');
    let mut text = |field: &Field| {
        cursor.source.text_of(field.value(record, quote, &mut scratch)).into_owned()
    };
    let cells = cursor.scanner.fields.iter().map(&mut text).collect();
    cursor.cut_by(delimiter, Some(quote), line_after);
    Ok(Some((cells, length)))
}

/// The delimiter under which the header has the most columns that are known.
fn detect<R: Read>(cursor: &mut Cursor<R>, settings: &ReadSettings) -> Result<u8, ReadError> {
    let line = cursor.scanner.line;
    if is_empty_line(cursor)? {
        return Err(no_names(line));
    }
    let mut best: Option<(usize, usize, u8)> = None;
    let mut cutting = Vec::new();
    let (mut data, mut refused) = (None, None);
    let mut is_long = false;
    for delimiter in DELIMITERS {
        let cells = cells_with(cursor, delimiter, settings.text_quote());
        cursor.scanner.line = line;
        let cells = match cells {
            Ok(Some((cells, _))) => cells,
            Ok(None) => {
                is_long = true;
                continue;
            }
            // A quote may be open under one delimiter only; under all of them it refuses the file.
            Err(error) => {
                refused = Some(error);
                continue;
            }
        };
        if let Some(at) = looks_like_data(&cells, settings) {
            data.get_or_insert((at, cells[at].clone()));
        }
        if cells.len() > 1 {
            cutting.push(delimiter);
        }
        let is_known =
            |cell: &&String| is_known(&standard_name(cell, &settings.columns), settings.kind);
        let known = cells.iter().filter(is_known).count();
        if known > 0 && best.is_none_or(|(most, width, _)| (known, cells.len()) > (most, width)) {
            best = Some((known, cells.len(), delimiter));
        }
    }
    match (best, data, refused, cutting.as_slice()) {
        (Some((_, _, delimiter)), ..) => Ok(delimiter),
        (None, Some((at, cell)), ..) => Err(data_as_header(line, at, &cell)),
        (None, None, Some(error), _) => Err(error),
        (None, None, None, _) if is_long => Err(long_header(cursor, line)),
        (None, None, None, cutting) => {
            let text = cursor.source.text_of(cursor.source.window());
            match cutting {
                // The delimiter is plain to see: the names are at fault, and whoever reads them says so.
                [delimiter] if !first_line::is_title(&text, settings) => Ok(*delimiter),
                _ => Err(first_line::unknown_header(&text, line, settings)),
            }
        }
    }
}

/// Refuses a delimiter that is declared and does not cut the header, where another one does.
fn check_declared<R: Read>(
    cursor: &mut Cursor<R>,
    declared: (u8, bool),
    settings: &ReadSettings,
) -> Result<(), ReadError> {
    if cursor.line()?.is_none() {
        return Ok(());
    }
    let text = cursor.source.text_of(cursor.source.window());
    let line = cursor.scanner.line;
    first_line::misdeclared(&text, declared, line, settings).map_or(Ok(()), Err)
}

/// Without a header the delimiter is the one that cuts most of the first records into as many fields as
/// there are names. Where two do so, nothing is guessed.
fn detect_by_count<R: Read>(
    cursor: &mut Cursor<R>,
    quote: Option<u8>,
    names: &[String],
) -> Result<u8, ReadError> {
    let line = cursor.scanner.line;
    let (mut best, mut rival) = (Fitting::default(), None);
    let mut found = None;
    for delimiter in DELIMITERS {
        let fitting = fitting(cursor, delimiter, quote, names)?;
        cursor.scanner.line = line;
        if fitting > best {
            (best, rival, found) = (fitting, None, Some(delimiter));
        } else if fitting == best && best.cut > 0 {
            rival = Some(delimiter);
        }
    }
    let columns = names.len();
    let (message, hint) = match (found, rival) {
        (Some(delimiter), None) => return Ok(delimiter),
        (Some(one), Some(other)) => (
            format!(
                "both {:?} and {:?} cut the first lines into {columns} fields",
                char::from(one),
                char::from(other)
            ),
            "put cells that hold one of them into quotes, or have the profile name the delimiter",
        ),
        (None, _) => (
            format!("no delimiter cuts the first lines into {columns} fields"),
            ReasonCode::HeaderDelimiterUnknown.advice(),
        ),
    };
    let problem = FileProblem::new(ReasonCode::HeaderDelimiterUnknown, message);
    Err(problem.at_line(line).hint(hint).into())
}

/// How many of the first records have as many fields as there are names, and how many of these the
/// delimiter cut.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Fitting {
    records: usize,
    cut: usize,
}

fn fitting<R: Read>(
    cursor: &mut Cursor<R>,
    delimiter: u8,
    quote: Option<u8>,
    names: &[String],
) -> Result<Fitting, ReadError> {
    let mut fitting = Fitting::default();
    let line = cursor.scanner.line;
    cursor.cut_by(delimiter, quote, line);
    let Ok(Found::Record { length, .. }) = cursor.find() else { return Ok(fitting) };
    let most = length.max(BYTES_LOOKED_AT);
    let mut before = 0;
    while (before..most).contains(&cursor.source.window().len()) {
        before = cursor.source.window().len() + 1;
        cursor.source.more()?;
    }
    let window = cursor.source.window();
    let last = cursor.source.ended() && window.len() <= most;
    let mut rest = &window[..window.len().min(most)];
    let mut scanner = Scanner::new(delimiter, quote, line);
    let named = names.iter().rposition(|name| !name.trim().is_empty()).map_or(0, |at| at + 1);
    for _ in 0..RECORDS_LOOKED_AT {
        let Scan::Record { length, .. } = scanner.scan(rest, last) else { break };
        let mut scratch = Vec::new();
        let mut is_empty = |field: &Field| {
            field.value(rest, quote.unwrap_or(b'"'), &mut scratch).trim_ascii().is_empty()
        };
        let fields = &scanner.fields;
        let is_blank = fields.len() == 1 && is_empty(&fields[0]);
        // As many as there are names; a delimiter at the end of a line is no field more.
        let fits = (named..=names.len().max(named + 1)).contains(&fields.len())
            && fields[named..].iter().all(is_empty);
        if fits && !is_blank {
            fitting.records += 1;
            fitting.cut += usize::from(fields.len() > 1);
        }
        rest = &rest[length..];
        scanner.start_record();
        if rest.is_empty() {
            break;
        }
    }
    Ok(fitting)
}

fn read_header<R: Read>(
    cursor: &mut Cursor<R>,
    settings: &ReadSettings,
    preamble: &mut Preamble,
) -> Result<(), ReadError> {
    let line = cursor.scanner.line;
    let Some((cells, length)) = cells_with(cursor, preamble.delimiter, preamble.quote)? else {
        return Err(long_header(cursor, line));
    };
    let line_after = cursor.scanner.line;
    cursor.cut_by(preamble.delimiter, preamble.quote, line_after);
    preamble.header_line = Some(line);
    preamble.header_bytes = cursor.source.window()[..length].to_vec();
    cursor.source.consume(length);
    if cells.iter().all(|cell| cell.trim().is_empty()) {
        return Err(no_names(line));
    }
    if let Some(at) = looks_like_data(&cells, settings).filter(|_| !preamble.redropped) {
        return Err(data_as_header(line, at, &cells[at]));
    }
    preamble.cells = cells;
    Ok(())
}

/// A first line that is longer than a record may be: one of many columns, or a file without line ends.
fn long_header<R: Read>(cursor: &Cursor<R>, line: u64) -> ReadError {
    let has_columns = cursor.source.window().iter().any(|byte| DELIMITERS.contains(byte));
    let problem = if has_columns {
        let message = "the header is longer than a record may be";
        FileProblem::new(ReasonCode::HeaderTooManyColumns, message)
    } else {
        let message = "the first line is longer than a record may be, and no header";
        let hint = "write the column names in the first line, and end each line with LF or CRLF";
        FileProblem::new(ReasonCode::HeaderMissing, message).hint(hint)
    };
    problem.at_line(line).into()
}

/// Nothing but delimiters and quotes.
fn is_empty_line<R: Read>(cursor: &mut Cursor<R>) -> Result<bool, ReadError> {
    let Some(length) = cursor.line()? else { return Ok(false) };
    let empty =
        |byte: &u8| DELIMITERS.contains(byte) || matches!(byte, b'"' | b' ' | b'\r' | b'\n');
    Ok(cursor.source.window()[..length].iter().all(empty))
}

fn no_names(line: u64) -> ReadError {
    let message = "the header line names no column";
    FileProblem::new(ReasonCode::HeaderMissing, message).at_line(line).into()
}

fn data_as_header(line: u64, at: usize, cell: &str) -> ReadError {
    let message = "the first line looks like data, not like column names";
    let problem = FileProblem::new(ReasonCode::HeaderLooksLikeData, message);
    problem.at_line(line).at_column(at, "").value(cell).into()
}

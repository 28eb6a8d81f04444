//! Pulls checked records out of a file, one at a time.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::codes::ReasonCode;
use crate::model::FileForm;

use super::cursor::{Cursor, Found};
use super::directives::Directives;
use super::layout::{Column, Layout, standard_name};
use super::moment::Zones;
use super::objects::{Fault, Objects, without_nul};
use super::odd_row::{count_hint, counted, no_row};
use super::preamble::{self, trailer};
use super::problem::{FileProblem, ReadError, RowError, cut_value};
use super::record::Record;
use super::settings::{HeaderMode, ReadSettings};
use super::source::Source;

/// Records are digested in pieces of this size: a digest call for each cell would cost more than the
/// digest.
const DIGEST_PIECE_BYTES: usize = 16 << 10;
const CELL_END: u8 = 0xFF;
const RECORD_END: u8 = 0xFE;

/// What the preamble said.
#[derive(Debug, Clone)]
pub struct Opened {
    pub layout: Layout,
    pub directives: Directives,
    /// Warnings about the header.
    pub warnings: Vec<FileProblem>,
    /// The file is a corrected `.rejected.csv`: it has no sequence number, whatever its name.
    pub redropped: bool,
}

/// One step through the data rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The record is well formed.
    Row,
    /// The record is not; it holds the cells that could be read.
    Bad(RowError),
}

/// What is known of a file, at any moment of reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Bytes as received.
    pub bytes: u64,
    /// Digest of the bytes as received.
    pub sha256: [u8; 32],
    /// Digest of header, directives and records, whatever encoding, delimiter and line ends they
    /// came in. Of the part that was read, if the file was refused in the middle.
    pub records_sha256: [u8; 32],
    /// WHATWG name, or that of a code page; empty for a workbook.
    pub encoding: &'static str,
    /// `None` if the file was refused before the delimiter was known, or has none.
    pub delimiter: Option<u8>,
    /// Data rows.
    pub rows: u64,
    /// The trailer `#EOF` stood at the end.
    pub trailer: bool,
    /// The last record had no line end.
    pub last_line_open: bool,
    /// `records_sha256` without the last record.
    pub lead_sha256: [u8; 32],
    /// `records_sha256` up to the watched row, where the file reaches it, and up to the row before.
    pub watched_all: Option<[u8; 32]>,
    pub watched_lead: Option<[u8; 32]>,
    /// `file.encoding_suspect`, where it is.
    pub warning: Option<FileProblem>,
}

/// Reads one file: `open` once, `next` until it gives `None`, `finish`.
pub struct RecordReader<R> {
    cursor: Cursor<R>,
    settings: ReadSettings,
    width: usize,
    width_max: usize,
    row_id_at: Option<usize>,
    names: Vec<String>,
    /// Of a file with an object on each line.
    objects: Option<Objects>,
    /// How many data rows there must be, and who says so.
    rows_announced: Option<(u64, &'static str)>,
    delimiter: Option<u8>,
    rows: u64,
    trailer: bool,
    last_line_open: bool,
    scratch: Vec<u8>,
    records_digest: Sha256,
    to_digest: Vec<u8>,
    /// Where the last record begins in `to_digest`.
    last_at: usize,
    /// The digest before the last record, where that was too long to stand in `to_digest`.
    before_long: Option<Sha256>,
    watched: Option<u64>,
    watched_all: Option<[u8; 32]>,
    watched_lead: Option<[u8; 32]>,
}

impl<R: Read> RecordReader<R> {
    pub fn new(input: R, settings: ReadSettings) -> RecordReader<R> {
        RecordReader::of(Source::new(input), settings)
    }

    pub(super) fn of(source: Source<R>, settings: ReadSettings) -> RecordReader<R> {
        RecordReader {
            cursor: Cursor::new(source, settings.form, &settings.limits),
            settings,
            width: 0,
            width_max: 0,
            row_id_at: None,
            names: Vec::new(),
            objects: None,
            rows_announced: None,
            delimiter: None,
            rows: 0,
            trailer: false,
            last_line_open: false,
            scratch: Vec::new(),
            records_digest: Sha256::new(),
            to_digest: Vec::with_capacity(DIGEST_PIECE_BYTES * 2),
            last_at: 0,
            before_long: None,
            watched: None,
            watched_all: None,
            watched_lead: None,
        }
    }

    /// Digests the file also up to this row, and to the one before: to be asked before the rows.
    pub fn watch_row(&mut self, row: u64) {
        self.watched = Some(row);
    }

    /// Reads up to the first data row.
    pub fn open(&mut self) -> Result<Opened, ReadError> {
        let preamble = preamble::read(&mut self.cursor, &self.settings)?;
        match self.settings.form {
            FileForm::Delimited => self.delimiter = Some(preamble.delimiter),
            FileForm::Objects => self.objects = Some(Objects::new(&preamble.cells, &self.settings)),
            FileForm::Workbook => {}
        }
        self.settings.quote = preamble.quote;
        let encoding = self.cursor.source.encoding().name();
        let checked = Directives::check(&preamble.directives, encoding, &Zones::new());
        let directives = checked.map_err(ReadError::Refused)?;
        let (layout, mut warnings) = Layout::build(&preamble.cells, &self.settings, &directives)
            .map_err(|mut problems| {
                problems.iter_mut().for_each(|problem| problem.line = preamble.header_line);
                ReadError::Refused(problems)
            })?;
        warnings.iter_mut().for_each(|warning| warning.line = preamble.header_line);
        self.width = layout.width();
        self.width_max = layout.width_max();
        self.row_id_at = layout.position(Column::RowId);
        self.names = (0..layout.width()).map(|at| layout.name_at(at).to_owned()).collect();
        let in_file = preamble.directives.iter().any(|d| d.key == "rows" && d.line > 0);
        let by = if in_file { "#rows" } else { "the manifest" };
        self.rows_announced = directives.rows().map(|rows| (rows, by));
        self.digest_preamble(&directives);
        Ok(Opened { layout, directives, warnings, redropped: preamble.redropped })
    }

    /// The next data row, or `None` at the end of a file that is whole.
    pub fn next(&mut self, record: &mut Record) -> Result<Option<Step>, ReadError> {
        loop {
            let line = self.cursor.scanner.line;
            match self.cursor.find()? {
                Found::End => return self.end().map(|()| None),
                Found::Record { length, ended } => {
                    self.fill(record, length, line);
                    self.note_controls(record);
                    let marks = (self.cursor.scanner.control_in, self.cursor.scanner.stray_quote);
                    self.cursor.pass(length);
                    if is_blank(record) {
                        continue;
                    }
                    if let Some(announced) = record.get(0).and_then(trailer)
                        && record.iter().skip(1).all(str::is_empty)
                    {
                        let announced = announced.map(str::to_owned);
                        return self.trailer(announced, line).map(|()| None);
                    }
                    self.count(line)?;
                    record.row = self.rows;
                    self.last_line_open = !ended && !self.cursor.source.dos_end();
                    let bad = match self.objects.take() {
                        Some(mut objects) => {
                            let bad = self.judge_object(&mut objects, record);
                            self.objects = Some(objects);
                            bad
                        }
                        None => {
                            let bad = self.judge(record, marks);
                            self.digest(record);
                            bad
                        }
                    };
                    self.note_watched();
                    return Ok(Some(bad.map_or(Step::Row, Step::Bad)));
                }
                Found::TooLong => {
                    record.clear();
                    record.line = line;
                    self.count(line)?;
                    record.row = self.rows;
                    let digest = &mut self.records_digest;
                    digest.update(&self.to_digest);
                    self.to_digest.clear();
                    self.before_long = Some(digest.clone());
                    self.cursor.skip(|piece| {
                        digest.update(piece);
                        Ok(())
                    })?;
                    self.note_watched();
                    return Ok(Some(Step::Bad(self.too_long(record))));
                }
            }
        }
    }

    /// Reads what is left, so that size and digest are those of the whole file, also of a refused one.
    pub fn finish(mut self) -> io::Result<Facts> {
        let lead_sha256 = match self.before_long.take() {
            Some(digest) => digest.finalize().into(),
            None => self.digest_up_to(self.last_at),
        };
        self.records_digest.update(&self.to_digest);
        let encoding = self.cursor.source.encoding();
        let warning = self.cursor.source.is_suspect().then(|| {
            let message = format!(
                "the file is declared as {}, but all of it is valid UTF-8",
                encoding.name()
            );
            FileProblem::new(ReasonCode::FileEncodingSuspect, message)
        });
        let (bytes, sha256) = self.cursor.source.drain()?;
        Ok(Facts {
            bytes,
            sha256,
            records_sha256: self.records_digest.finalize().into(),
            encoding: match self.settings.form {
                FileForm::Workbook => "",
                _ => encoding.name(),
            },
            delimiter: self.delimiter,
            rows: self.rows,
            trailer: self.trailer,
            last_line_open: self.last_line_open,
            lead_sha256,
            watched_all: self.watched_all,
            watched_lead: self.watched_lead,
            warning,
        })
    }

    fn fill(&mut self, record: &mut Record, length: usize, line: u64) {
        record.clear();
        record.line = line;
        let quote = self.settings.quote.unwrap_or(b'"');
        let bytes = &self.cursor.source.window()[..length];
        // The source has checked it; looking once more is cheaper than keeping unsafe code right.
        let text = std::str::from_utf8(bytes).expect("the source shows whole characters only");
        for field in &self.cursor.scanner.fields {
            match field.shape {
                super::scan::Shape::Plain => record.push(&text[field.start..field.end]),
                super::scan::Shape::Quoted => record.push(&text[field.start + 1..field.end - 1]),
                super::scan::Shape::Tangled => {
                    let value = field.value(bytes, quote, &mut self.scratch);
                    record.push(&String::from_utf8_lossy(value));
                }
            }
        }
    }

    fn note_controls(&self, record: &mut Record) {
        record.has_controls = self.cursor.scanner.has_controls;
    }

    fn count(&mut self, line: u64) -> Result<(), ReadError> {
        if self.rows == self.settings.limits.rows_max {
            let message = format!("the file has more than {} data rows", self.rows);
            return Err(FileProblem::new(ReasonCode::FileTooManyRows, message)
                .at_line(line)
                .into());
        }
        self.rows += 1;
        Ok(())
    }

    /// Why the record is not well formed, if it is not.
    fn judge(&self, record: &mut Record, (control_in, stray_quote): Marks) -> Option<RowError> {
        while record.len() > self.width && record.len() <= self.width_max && record.pop_empty() {}
        let settings = &self.settings;
        if self.last_line_open && !settings.strong_proof && !settings.final_newline_optional {
            let message = "the last row has no line end, so it may be cut";
            return Some(self.bad(record, ReasonCode::RowCut, None, message.into()));
        }
        if let Some(odd) = no_row(record, &self.names, settings.kind) {
            let bad = self.bad(record, odd.code, None, odd.message.to_owned());
            return Some(RowError { hint: odd.hint.to_owned(), ..bad });
        }
        if let Some((at, line)) = stray_quote {
            let message = format!("text follows the quote that closes the one of line {line}");
            let hint = format!(
                "close the quote in line {line}, or double the quotes that belong to the text: \
                 the lines in between are part of this row"
            );
            let bad = self.bad(record, ReasonCode::RowValueNotAllowed, Some(at), message);
            return Some(RowError { hint, ..bad });
        }
        if record.len() != self.width {
            return Some(self.miscounted(record));
        }
        let longest = settings.limits.field_max_bytes;
        if record.text.len() > longest
            && let Some(at) = record.iter().position(|cell| cell.len() > longest)
        {
            let message = format!("the cell has more than {longest} bytes");
            return Some(self.bad(record, ReasonCode::RowValueTooLong, Some(at), message));
        }
        control_in.or_else(|| high_control_in(record)).map(|at| {
            let found = record.get(at).and_then(|cell| cell.chars().find(is_stray_control));
            let message = format!(
                "the cell holds the control character U+{:04X}",
                found.map_or(0, u32::from)
            );
            self.bad(record, ReasonCode::RowControlCharacter, Some(at), message)
        })
    }

    fn miscounted(&self, record: &Record) -> RowError {
        let (found, wanted) = (counted(record.len() as u64, "field"), self.width);
        let message = match self.settings.header {
            HeaderMode::Columns(_) if self.objects.is_none() => {
                format!(
                    "the row has {found}, the profile names {}",
                    counted(wanted as u64, "column")
                )
            }
            _ => format!("the row has {found}, the header has {wanted}"),
        };
        let hint = match self.settings.form {
            FileForm::Workbook => "empty the cells beyond the last column, or name their columns",
            _ => count_hint(record, wanted, self.settings.quote),
        };
        let hint = hint.to_owned();
        RowError { hint, ..self.bad(record, ReasonCode::RowFieldCount, None, message) }
    }

    /// Takes the line in the record for an object and puts its values there.
    fn judge_object(&mut self, objects: &mut Objects, record: &mut Record) -> Option<RowError> {
        let fault = objects.read(&record.text).err();
        if let Some(Fault::Malformed { message, cut }) = fault {
            let (strong, settings) = (self.settings.strong_proof, &self.settings);
            let may_be_cut = self.last_line_open && !strong && !settings.final_newline_optional;
            let code = match cut && may_be_cut {
                true => ReasonCode::RowCut,
                false => ReasonCode::RowFieldCount,
            };
            self.digest(record);
            let text = record.text.trim();
            let hint = if code == ReasonCode::RowCut {
                code.advice()
            } else if text.ends_with(',') || text.starts_with(['[', ']']) {
                "remove the brackets and commas around the objects: one object a line"
            } else {
                "write one JSON object a line, such as {\"email\":\"a@example.com\"}"
            };
            // What stands in no column is no cell.
            record.clear();
            return Some(RowError { hint: hint.into(), ..self.bad(record, code, None, message) });
        }
        // A whole object was not cut.
        self.last_line_open = false;
        let is_control = |b: &u8| *b < b' ' || *b == 0x7F;
        let is_stray = |b: &u8| is_control(b) && !matches!(b, b'\t' | b'\r' | b'\n');
        // A NUL is refused as what it was, and answered as what can be written.
        let control_in = objects.values().position(|value| value.as_bytes().iter().any(is_stray));
        record.clear();
        objects.values().for_each(|value| record.push(&without_nul(value)));
        record.has_controls = record.text.as_bytes().iter().any(is_control);
        self.digest(record);
        let text = "write one text, number, true or false for each name; lists in a cell as a|b";
        let (at, message, hint) = match fault {
            None | Some(Fault::Malformed { .. }) => return self.judge(record, (control_in, None)),
            Some(Fault::Nested(at)) => (at, "the value is a list or an object", text),
            Some(Fault::Twice(at)) => {
                (at, "the name stands in the object twice", "keep one of the two")
            }
            Some(Fault::Unreadable(at)) => {
                let hint = "write whole characters: half of a pair such as \\ud83d is none";
                (at, "the text stands for no characters", hint)
            }
            Some(Fault::Unknown(name)) => {
                let message = format!("no column is named {:?}", cut_value(&name));
                return Some(self.bad(record, ReasonCode::RowFieldCount, None, message));
            }
        };
        let bad = self.bad(record, ReasonCode::RowValueNotAllowed, Some(at), message.to_owned());
        Some(RowError { hint: hint.into(), ..bad })
    }

    fn bad(
        &self,
        record: &Record,
        code: ReasonCode,
        at: Option<usize>,
        message: String,
    ) -> RowError {
        let cell = |at: usize| record.get(at).map(cut_value).unwrap_or_default();
        RowError {
            line: record.line,
            row: record.row,
            row_id: self.row_id_at.map(cell).unwrap_or_default().trim().to_owned(),
            column: at.map(|at| at + 1),
            column_name: at
                .and_then(|at| self.names.get(at))
                .map(|n| cut_value(n))
                .unwrap_or_default(),
            code,
            severity: code.severity(),
            message,
            value: at.map(cell).unwrap_or_default(),
            hint: code.advice().to_owned(),
        }
    }

    fn too_long(&self, record: &Record) -> RowError {
        let most = self.settings.limits.record_max_bytes;
        let message = format!("the row has more than {most} bytes");
        self.bad(record, ReasonCode::RowRecordTooLong, None, message)
    }

    /// After `#EOF` nothing may stand but blank lines.
    fn trailer(&mut self, announced: Option<String>, line: u64) -> Result<(), ReadError> {
        self.trailer = true;
        let mismatch =
            |message: String| FileProblem::new(ReasonCode::FileRowsMismatch, message).at_line(line);
        let followed = || {
            let hint = "let #EOF be the last line; of two exports make two files";
            mismatch("rows stand behind the line #EOF".to_owned()).hint(hint)
        };
        loop {
            match self.cursor.find()? {
                Found::End => break,
                Found::Record { length, .. } => {
                    let bytes = &self.cursor.source.window()[..length];
                    if !bytes.trim_ascii().is_empty() {
                        return Err(followed().into());
                    }
                    self.cursor.pass(length);
                }
                Found::TooLong => {
                    return Err(followed().into());
                }
            }
        }
        match announced.map(|text| (text.parse::<u64>(), text)) {
            None => {}
            Some((Ok(rows), _)) if rows == self.rows => {}
            Some((_, text)) => {
                let message = format!(
                    "the line #EOF announces rows={}, but the file has {}",
                    cut_value(&text),
                    counted(self.rows, "data row")
                );
                return Err(mismatch(message).into());
            }
        }
        self.end()
    }

    fn end(&mut self) -> Result<(), ReadError> {
        match self.rows_announced {
            Some((announced, by)) if announced != self.rows => {
                let found = counted(self.rows, "data row");
                let message = format!("{by} announces {announced}, but the file has {found}");
                Err(FileProblem::new(ReasonCode::FileRowsMismatch, message).into())
            }
            _ => Ok(()),
        }
    }

    fn digest_preamble(&mut self, directives: &Directives) {
        let mut record = Record::new();
        for (key, value) in directives.content() {
            record.push(key);
            record.push(value);
        }
        self.digest(&record);
        record.clear();
        for name in &self.names {
            record.push(&standard_name(name, &self.settings.columns));
        }
        self.digest(&record);
    }

    /// Adds a record to its digest. Neither end mark can occur in UTF-8, so no two lists of cells
    /// give the same bytes.
    fn digest(&mut self, record: &Record) {
        if self.to_digest.len() >= DIGEST_PIECE_BYTES {
            self.records_digest.update(&self.to_digest);
            self.to_digest.clear();
        }
        self.last_at = self.to_digest.len();
        self.before_long = None;
        for cell in record.iter() {
            self.to_digest.extend_from_slice(cell.as_bytes());
            self.to_digest.push(CELL_END);
        }
        self.to_digest.push(RECORD_END);
    }

    /// The digest as it would be if the file ended here in `to_digest`.
    fn digest_up_to(&self, end: usize) -> [u8; 32] {
        let mut digest = self.records_digest.clone();
        digest.update(&self.to_digest[..end]);
        digest.finalize().into()
    }

    fn note_watched(&mut self) {
        let Some(watched) = self.watched.filter(|row| self.rows == *row || self.rows + 1 == *row)
        else {
            return;
        };
        let digest = Some(self.digest_up_to(self.to_digest.len()));
        if self.rows == watched { self.watched_all = digest } else { self.watched_lead = digest }
    }
}

/// Field of the first control character, and of a quote that closes too late.
type Marks = (Option<usize>, Option<(usize, u64)>);

/// The field of the first of the control characters U+0080 to U+009F: what a wrong encoding leaves.
fn high_control_in(record: &Record) -> Option<usize> {
    // In UTF-8 they all begin with this byte, as few letters do.
    if !record.text.as_bytes().contains(&0xC2) {
        return None;
    }
    record.iter().position(|cell| cell.chars().any(|c| is_stray_control(&c)))
}

/// A line of nothing but spaces.
fn is_blank(record: &Record) -> bool {
    record.len() == 1 && record.text.trim().is_empty()
}

fn is_stray_control(c: &char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\r' | '\n')
}

//! The `.rejected.csv`: the refused records as they came, with what was wrong put first.
//!
//! Reads the original bytes once more, with the reader's own cursor, so that both count the same
//! rows. UTF-8 is copied; other encodings are decoded and encoded again, which gives every byte of a
//! single-byte file back; UTF-16, workbooks and objects leave as UTF-8 with commas.

use std::io::{self, Read, Write};

use crate::codes::ReasonCode;
use crate::model::{FileForm, normalise_name};

use super::cursor::{Cursor, Found};
use super::encoding::{Encoder, TextEncoding};
use super::objects::{Fault, Objects};
use super::preamble::{self, Preamble, REJECT_COLUMNS, REJECT_QUOTE, trailer};
use super::problem::ReadError;
use super::scan::Field;
use super::settings::ReadSettings;
use super::source::Source;

/// A row to be given back, and its first problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRow {
    /// Data record, 1-based.
    pub row: u64,
    pub code: ReasonCode,
    /// The column at fault; empty where there is none.
    pub column_name: String,
    pub hint: String,
}

/// Writes the rejected rows of a file that was read before with the same settings. `rejected` comes
/// in ascending order of rows.
pub fn write_rejects(
    original: impl Read,
    settings: &ReadSettings,
    rejected: impl IntoIterator<Item = RejectedRow>,
    out: impl Write,
) -> Result<(), ReadError> {
    let source = Source::new(original);
    let mut cursor = Cursor::new(source, settings.form, &settings.limits);
    let preamble = preamble::read(&mut cursor, settings)?;
    let mut sheet = Sheet::new(&cursor, &preamble, settings, out);
    sheet.preamble(&preamble, settings)?;
    let mut objects =
        (settings.form == FileForm::Objects).then(|| Objects::new(&preamble.cells, settings));
    let mut rejected = rejected.into_iter();
    let mut wanted = rejected.next();
    let mut row = 0;
    while let Some(reject) = &wanted {
        let line = cursor.scanner.line;
        let found = cursor.find()?;
        match found {
            Found::End => break,
            Found::Record { length, .. } => {
                match standing(&cursor, length, sheet.read_quote) {
                    Standing::Blank => {
                        cursor.pass(length);
                        continue;
                    }
                    Standing::Trailer => break,
                    Standing::Row => row += 1,
                }
                if row == reject.row {
                    sheet.prefix(line, reject)?;
                    let bytes = &cursor.source.window()[..length];
                    match &mut objects {
                        Some(objects) => sheet.object(&cursor.source.text_of(bytes), objects)?,
                        None => sheet.record(bytes, &cursor.scanner.fields)?,
                    }
                }
                cursor.pass(length);
            }
            Found::TooLong => {
                row += 1;
                if row == reject.row {
                    sheet.prefix(line, reject)?;
                    sheet.long_record(&mut cursor)?;
                } else {
                    cursor.skip(|_| Ok(()))?;
                }
            }
        }
        if row == reject.row {
            wanted = rejected.next();
        }
    }
    sheet.out.flush()?;
    Ok(())
}

/// What a record is to the reader, which must count the same rows.
enum Standing {
    Blank,
    Trailer,
    Row,
}

fn standing<R: Read>(cursor: &Cursor<R>, length: usize, quote: u8) -> Standing {
    let bytes = &cursor.source.window()[..length];
    let fields = &cursor.scanner.fields;
    let mut scratch = Vec::new();
    if fields.len() == 1 {
        let value = fields[0].value(bytes, quote, &mut scratch);
        if cursor.source.text_of(value).trim().is_empty() {
            return Standing::Blank;
        }
    }
    let first = fields.first().map(|field| field.value(bytes, quote, &mut scratch));
    let is_trailer = first.is_some_and(|value| {
        value.starts_with(b"#EOF") && trailer(&cursor.source.text_of(value)).is_some()
    });
    let alone = |scratch: &mut Vec<u8>| {
        fields[1..].iter().all(|field| field.value(bytes, quote, scratch).is_empty())
    };
    if is_trailer && alone(&mut Vec::new()) { Standing::Trailer } else { Standing::Row }
}

/// The rejected file under construction.
struct Sheet<W> {
    out: W,
    /// What the window's bytes are turned into.
    form: Form,
    delimiter: u8,
    quote: Option<u8>,
    /// The quote the original is read with.
    read_quote: u8,
    /// The quote is not the profile's: the header says so by being quoted.
    tells_quote: bool,
    line_end: &'static [u8],
    /// Columns of an earlier rejected file, which the new ones replace.
    replaced: usize,
}

/// How records leave.
enum Form {
    /// UTF-8, byte for byte.
    AsItCame,
    /// Decoded to find the records, encoded again.
    Recoded(Encoder),
    /// UTF-8 from UTF-16, a workbook or objects.
    Utf8,
}

impl<W: Write> Sheet<W> {
    fn new<R: Read>(
        cursor: &Cursor<R>,
        preamble: &Preamble,
        settings: &ReadSettings,
        out: W,
    ) -> Sheet<W> {
        let encoding = cursor.source.encoding();
        let form = if encoding.is_utf16() || settings.form != FileForm::Delimited {
            Form::Utf8
        } else if encoding == TextEncoding::UTF_8 {
            Form::AsItCame
        } else {
            Form::Recoded(Encoder::new(encoding, cursor.source.line_end()))
        };
        // Without quotes a comma inside a cell could not be kept apart from a new delimiter.
        let comma = matches!(form, Form::Utf8) && preamble.quote.is_some();
        let is_ours = |cell: &&String| REJECT_COLUMNS.contains(&normalise_name(cell).as_str());
        // Columns of these names further on are the partner's own.
        let ours = preamble.cells.iter().take(REJECT_COLUMNS.len());
        let replaced = if preamble.redropped { ours.take_while(is_ours).count() } else { 0 };
        Sheet {
            out,
            form,
            delimiter: if comma { b',' } else { preamble.delimiter },
            quote: preamble.quote,
            read_quote: preamble.quote.unwrap_or(b'"'),
            tells_quote: preamble.quote != settings.quote,
            line_end: line_end(&preamble.header_bytes),
            replaced,
        }
    }

    fn preamble(&mut self, preamble: &Preamble, settings: &ReadSettings) -> io::Result<()> {
        let utf8 = matches!(self.form, Form::Utf8);
        // A declared UTF-16 would be read into this UTF-8 file, were it not marked.
        let mark = if utf8 {
            settings.encoding.is_some_and(|e| e != TextEncoding::UTF_8)
        } else {
            preamble.mark
        };
        if mark {
            self.out.write_all(b"\xEF\xBB\xBF")?;
        }
        if !utf8 {
            self.text(&preamble.sep_line)?;
        }
        for (directive, bytes) in preamble.directives.iter().zip(&preamble.directive_bytes) {
            let stale = match directive.key.as_str() {
                "rows" | "seq" => true,
                "encoding" => utf8,
                _ => false,
            };
            if !stale {
                self.text(bytes)?;
            }
        }
        let around =
            if self.tells_quote { char::from(REJECT_QUOTE).to_string() } else { String::new() };
        for name in REJECT_COLUMNS {
            self.new_text(&format!("{around}{name}{around}"))?;
            self.delimiter()?;
        }
        if preamble.header_bytes.is_empty() || utf8 {
            self.cells(preamble.cells.iter().skip(self.replaced).map(String::as_str))?;
            return self.text(self.line_end);
        }
        let mut scanner = super::scan::Scanner::new(preamble.delimiter, self.quote, 1);
        // The header was found whole before; this finds the fields in its bytes again.
        let _found = scanner.scan(&preamble.header_bytes, true);
        self.record(&preamble.header_bytes, &scanner.fields)
    }

    /// The new cells before a record.
    fn prefix(&mut self, line: u64, reject: &RejectedRow) -> io::Result<()> {
        let (line, row) = (line.to_string(), reject.row.to_string());
        for cell in [&line, &row, reject.code.as_str(), &reject.column_name, &reject.hint] {
            self.cell(cell)?;
            self.delimiter()?;
        }
        Ok(())
    }

    /// The object of a line behind its prefix, a cell a column; a line that is none as one cell. A NUL
    /// would make the whole file no text: another control character takes its place, which a corrected
    /// row may not hold either.
    fn object(&mut self, line: &str, objects: &mut Objects) -> io::Result<()> {
        match objects.read(line) {
            Err(Fault::Malformed { .. }) => self.quoted(line.trim())?,
            _ => {
                let values: Vec<String> =
                    objects.values().map(|value| value.replace('\0', "\u{1}")).collect();
                self.cells(values.iter().map(String::as_str))?;
            }
        }
        self.text(self.line_end)
    }

    /// A record of the window behind its prefix, less the columns that were replaced.
    fn record(&mut self, bytes: &[u8], fields: &[Field]) -> io::Result<()> {
        if let Form::Utf8 = self.form {
            let mut scratch = Vec::new();
            let mut values = Vec::new();
            for field in fields.iter().skip(self.replaced) {
                let value = field.value(bytes, self.read_quote, &mut scratch);
                values.push(String::from_utf8_lossy(value).into_owned());
            }
            self.cells(values.iter().map(String::as_str))?;
            return self.text(self.line_end);
        }
        let end = fields.last().map_or(0, |field| field.end);
        let start = fields.get(self.replaced).map_or(end, |field| field.start);
        self.text(&bytes[start..])?;
        if end == bytes.len() { self.text(self.line_end) } else { Ok(()) }
    }

    /// A record that is too long to be held.
    fn long_record<R: Read>(&mut self, cursor: &mut Cursor<R>) -> Result<(), ReadError> {
        let mut to_drop = cursor.scanner.fields.get(self.replaced).map_or(0, |field| field.start);
        let mut last = 0;
        let mut held: Vec<u8> = Vec::new();
        cursor.skip(|piece| {
            let dropped = to_drop.min(piece.len());
            to_drop -= dropped;
            held.extend_from_slice(&piece[dropped..]);
            last = held.last().copied().unwrap_or(last);
            // Pieces end anywhere; a character that is cut waits for its rest.
            let whole = match (&self.form, std::str::from_utf8(&held)) {
                (Form::Recoded(_), Err(error)) => error.valid_up_to(),
                _ => held.len(),
            };
            self.text(&held[..whole])?;
            held.drain(..whole);
            Ok(())
        })?;
        if !matches!(last, b'\r' | b'\n') {
            self.text(self.line_end)?;
        }
        Ok(())
    }

    fn delimiter(&mut self) -> io::Result<()> {
        self.text(&[self.delimiter])
    }

    fn cells<'a>(&mut self, cells: impl Iterator<Item = &'a str>) -> io::Result<()> {
        for (at, cell) in cells.enumerate() {
            if at > 0 {
                self.delimiter()?;
            }
            self.quoted(cell)?;
        }
        Ok(())
    }

    /// A cell of ours: one line, whatever it says.
    fn cell(&mut self, cell: &str) -> io::Result<()> {
        let delimiter = char::from(self.delimiter);
        let apart = |c: char| c.is_control() || (self.quote.is_none() && c == delimiter);
        let line: String = cell.chars().map(|c| if apart(c) { ' ' } else { c }).collect();
        self.quoted(&line)
    }

    fn quoted(&mut self, cell: &str) -> io::Result<()> {
        let Some(quote) = self.quote else { return self.new_text(cell) };
        let delicate = |b: u8| matches!(b, b'\r' | b'\n') || b == self.delimiter || b == quote;
        if !cell.bytes().any(delicate) {
            return self.new_text(cell);
        }
        let quote = char::from(quote).to_string();
        let doubled = cell.replace(&quote, &quote.repeat(2));
        self.new_text(&format!("{quote}{doubled}{quote}"))
    }

    /// Bytes of the window.
    fn text(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.form {
            Form::AsItCame | Form::Utf8 => self.out.write_all(bytes),
            Form::Recoded(_) => self.new_text(&String::from_utf8_lossy(bytes)),
        }
    }

    /// Text in the file's encoding; a character it does not have becomes `?`.
    fn new_text(&mut self, text: &str) -> io::Result<()> {
        match &self.form {
            Form::Recoded(encoder) => encoder.write(text, &mut self.out),
            Form::AsItCame | Form::Utf8 => self.out.write_all(text.as_bytes()),
        }
    }
}

fn line_end(bytes: &[u8]) -> &'static [u8] {
    match bytes {
        [.., b'\r', b'\n'] => b"\r\n",
        [.., b'\r'] => b"\r",
        _ => b"\n",
    }
}

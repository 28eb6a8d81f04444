//! The first sheet of an `.xlsx` as delimited text: a line for every row of the sheet, so that the
//! lines of errors are the sheet's own row numbers.
//!
//! Cells are written as a spreadsheet shows them: numbers without exponents or a needless `.0`, with
//! the zeros that their format gives them; dates as ISO text; formulas as the value that was kept with
//! them. What a spreadsheet shows with an exponent has lost digits already, and is written so.

use std::borrow::Cow;
use std::io::{BufReader, Read, Seek, SeekFrom, Write};

use calamine::{DataRef, Reader, SheetType, SheetVisible, Xlsx, XlsxError};

use crate::codes::ReasonCode;
use crate::model::normalise_name;

use super::archive::{Bounded, UnpackError, open_zip};
use super::directives::DirectiveLine;
use super::parts::Part;
use super::preamble::{REJECT_COLUMNS, trailer};
use super::problem::FileProblem;
use super::settings::{HeaderMode, Limits, ReadSettings};

/// Rows and columns that a sheet can have.
const SHEET_ROWS: u32 = 1 << 20;
const SHEET_COLUMNS: u32 = 1 << 14;
/// A sheet's text may be this long, however small the workbook: rows repeat what is stored in it once.
const TEXT_ALWAYS_FITS_BYTES: u64 = 64 << 20;
/// Integers from here on have lost digits in a spreadsheet.
const EXACT_MAX: f64 = 1e15;
const HINT: &str = "save the spreadsheet anew and upload it again, or send CSV";
/// How a container of old or encrypted Office files begins.
const CONTAINER: [u8; 4] = [0xD0, 0xCF, 0x11, 0xE0];
/// A stream that only an encrypted workbook has, as such a container names it.
const ENCRYPTED: &[u8] = b"E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0";

/// Holds the checksums of all parts of a workbook, and what they would take to be read.
pub fn check_workbook(
    workbook: impl Read + Seek,
    workbook_bytes: u64,
    limits: &Limits,
) -> Result<(), UnpackError> {
    check_parts(workbook, workbook_bytes, limits).map_err(|error| match error {
        UnpackError::Refused(problem) if problem.code == ReasonCode::FileArchiveInvalid => {
            UnpackError::refused(problem.hint(HINT))
        }
        other => other,
    })
}

fn check_parts(
    mut workbook: impl Read + Seek,
    workbook_bytes: u64,
    limits: &Limits,
) -> Result<(), UnpackError> {
    refuse_containers(&mut workbook)?;
    let mut zip = open_zip(BufReader::new(workbook)).map_err(|error| match error {
        UnpackError::Refused(_) => unreadable(),
        other => other,
    })?;
    let (mut bounded, mut listed) = (Bounded::new(workbook_bytes, limits), 0);
    for index in 0..zip.len() {
        let name = match zip.name_for_index(index) {
            Some(Ok(name)) => name.into_owned(),
            _ => return Err(unreadable()),
        };
        let mut part = Part::new(&name, &mut listed);
        match bounded.take_member(&mut zip, index, &mut part) {
            // The part says why it took no more.
            Err(UnpackError::Write(_)) => {}
            result => result?,
        }
        part.finish()?;
    }
    Ok(())
}

/// Writes the first sheet of a workbook of this many bytes.
pub fn write_first_sheet(
    mut workbook: impl Read + Seek,
    workbook_bytes: u64,
    settings: &ReadSettings,
    out: &mut impl Write,
) -> Result<(), UnpackError> {
    if workbook_bytes == 0 {
        let problem = FileProblem::new(ReasonCode::FileEmpty, "the file has no bytes");
        return Err(UnpackError::refused(problem));
    }
    check_workbook(&mut workbook, workbook_bytes, &settings.limits)?;
    workbook.seek(SeekFrom::Start(0)).map_err(UnpackError::Read)?;
    let mut xlsx = Xlsx::new(BufReader::new(workbook)).map_err(failed)?;
    let shown = |sheet: &&calamine::Sheet| {
        sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible
    };
    let Some(name) = xlsx.sheets_metadata().iter().find(shown).map(|sheet| sheet.name.clone())
    else {
        let problem = FileProblem::new(ReasonCode::FileEmpty, "the spreadsheet shows no sheet");
        return Err(UnpackError::refused(problem));
    };
    let mut cells = xlsx.worksheet_cells_reader(&name).map_err(failed)?;
    let formats: Vec<Option<Zeros>> = cells
        .styles()
        .iter()
        .map(|style| Zeros::of(&style.number_format.as_ref()?.format_code))
        .collect();
    let mut text = SheetText::new(settings, workbook_bytes, out);
    while let Some((cell, style)) = cells.next_cell_with_style_id().map_err(failed)? {
        let value = shown_value(cell.get_value(), formats.get(style).copied().flatten());
        if !value.is_empty() {
            text.cell(cell.get_position(), &value)?;
        }
    }
    text.end_row()
}

fn refuse_containers(workbook: &mut (impl Read + Seek)) -> Result<(), UnpackError> {
    let mut first = [0; CONTAINER.len()];
    let mut filled = 0;
    while filled < first.len() {
        match workbook.read(&mut first[filled..]).map_err(UnpackError::Read)? {
            0 => break,
            count => filled += count,
        }
    }
    if first != CONTAINER {
        return workbook.seek(SeekFrom::Start(0)).map(|_| ()).map_err(UnpackError::Read);
    }
    let (mut kept, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let count = workbook.read(&mut buffer).map_err(UnpackError::Read)?;
        kept.extend_from_slice(&buffer[..count]);
        if kept.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
            let message = "the spreadsheet is protected by a password";
            let problem = FileProblem::new(ReasonCode::FileDecryptFailed, message);
            return Err(UnpackError::refused(problem.hint("save it without a password")));
        }
        if count == 0 {
            let message = "the file is an old Office file, not .xlsx";
            let problem = FileProblem::new(ReasonCode::FileNotText, message);
            return Err(UnpackError::refused(problem.hint("save it as .xlsx or as CSV")));
        }
        kept.drain(..kept.len().saturating_sub(ENCRYPTED.len()));
    }
}

fn unreadable() -> UnpackError {
    let message = "the file is no .xlsx spreadsheet, or it was cut or damaged";
    let problem = FileProblem::new(ReasonCode::FileArchiveInvalid, message);
    UnpackError::refused(problem.hint(HINT))
}

fn failed(error: XlsxError) -> UnpackError {
    match error {
        XlsxError::Io(error) if error.raw_os_error().is_some() => UnpackError::Read(error),
        _ => unreadable(),
    }
}

/// The sheet as text, row by row. Of a row that breaks a limit only so much is kept and written that
/// whoever reads the text meets the limit too: a few bytes of XML may stand for a megabyte of cells.
struct SheetText<'a, W> {
    settings: &'a ReadSettings,
    out: &'a mut W,
    written: u64,
    written_max: u64,
    /// The sheet's row, from 0, that `cells` belong to.
    row: u32,
    /// Rows up to here are written.
    done: u32,
    cells: Vec<String>,
    /// Bytes of the row as they will be written.
    row_bytes: usize,
    /// Cells of each row, once the header is known.
    width: Option<usize>,
}

impl<'a, W: Write> SheetText<'a, W> {
    fn new(settings: &'a ReadSettings, workbook_bytes: u64, out: &'a mut W) -> SheetText<'a, W> {
        let expanded = workbook_bytes.saturating_mul(settings.limits.expansion_max);
        SheetText {
            settings,
            out,
            written: 0,
            written_max: expanded.max(TEXT_ALWAYS_FITS_BYTES),
            row: 0,
            done: 0,
            cells: Vec::new(),
            row_bytes: 0,
            width: None,
        }
    }

    fn cell(&mut self, (row, column): (u32, u32), value: &str) -> Result<(), UnpackError> {
        if row < self.row || row >= SHEET_ROWS || column >= SHEET_COLUMNS {
            return Err(unreadable());
        }
        if row > self.row {
            self.end_row()?;
            self.row = row;
        }
        if self.is_too_long() {
            return Ok(());
        }
        // One cell more than there may be is enough to be refused.
        let column = (column as usize).min(self.settings.limits.columns_max);
        if column >= self.cells.len() {
            self.row_bytes += column + 1 - self.cells.len();
            self.cells.resize(column + 1, String::new());
        }
        if self.cells[column].is_empty() {
            self.row_bytes += quoted_bytes(value);
            value.clone_into(&mut self.cells[column]);
        }
        Ok(())
    }

    /// Longer than a record may be, its line end included.
    fn is_too_long(&self) -> bool {
        self.row_bytes > self.settings.limits.record_max_bytes
    }

    /// Writes the row, if it has cells, below a blank line for each row that has none.
    fn end_row(&mut self) -> Result<(), UnpackError> {
        if self.cells.is_empty() {
            return Ok(());
        }
        let mut line = "\n".repeat((self.row - self.done) as usize);
        self.done = self.row + 1;
        let stands_before = self.stands_before_header();
        let width = match stands_before {
            true => 0,
            false => *self.width.get_or_insert_with(|| width(&self.cells, self.settings)),
        };
        if stands_before || self.is_too_long() {
            self.plain(&mut line);
        } else {
            let padding = width.saturating_sub(self.cells.len());
            for (at, cell) in self.cells.iter().enumerate() {
                line.push_str(if at > 0 { "," } else { "" });
                quoted(cell, &mut line);
            }
            line.push_str(&",".repeat(padding));
        }
        line.push('\n');
        self.cells.clear();
        self.row_bytes = 0;
        self.written += line.len() as u64;
        self.check_size()?;
        self.out.write_all(line.as_bytes()).map_err(UnpackError::Write)
    }

    /// Cells without quotes: a quote that is open where a record may not go on would refuse the whole
    /// file, not this row.
    fn plain(&self, line: &mut String) {
        let delicate: &[char] = if self.is_too_long() { &['\r', '\n', '"'] } else { &['\r', '\n'] };
        let start = line.len();
        for (at, cell) in self.cells.iter().enumerate() {
            line.push_str(if at > 0 { "," } else { "" });
            line.push_str(&without_nul(cell).replace(delicate, " "));
        }
        if self.is_too_long() {
            let missing = self.settings.limits.record_max_bytes.saturating_sub(line.len() - start);
            line.push_str(&" ".repeat(missing));
        }
    }

    fn check_size(&self) -> Result<(), UnpackError> {
        let most = self.settings.limits.file_max_bytes;
        if self.written > most {
            let message = format!("the sheet holds more than {most} bytes of text");
            return Err(UnpackError::refused(FileProblem::new(ReasonCode::FileTooLarge, message)));
        }
        if self.written > self.written_max {
            let times = self.settings.limits.expansion_max;
            let message =
                format!("the text of the sheet is more than {times} times the file's size");
            let problem = FileProblem::new(ReasonCode::FileArchiveInvalid, message);
            let hint = "put a text that all rows repeat into a template, or send CSV";
            return Err(UnpackError::refused(problem.hint(hint)));
        }
        Ok(())
    }

    /// A line that is passed over, or a directive in a row of its own.
    fn stands_before_header(&self) -> bool {
        let first = self.cells[0].trim();
        let is_directive = self.cells.len() == 1
            && (DirectiveLine::parse(1, first).is_some() || trailer(first).is_some());
        let is_passed = (self.row as usize) < self.settings.skip_lines && !is_rejected(&self.cells);
        self.width.is_none() && (is_directive || is_passed)
    }
}

/// How many cells each row has, as the header or the profile says.
fn width(header: &[String], settings: &ReadSettings) -> usize {
    match &settings.header {
        HeaderMode::Columns(names) if !is_rejected(header) => names.len(),
        _ => header.len(),
    }
}

/// The header of a `.rejected.csv` that came back as a sheet.
fn is_rejected(header: &[String]) -> bool {
    let names = header.iter().map(|cell| normalise_name(cell));
    header.len() >= 3 && names.zip(REJECT_COLUMNS).take(3).all(|(name, ours)| name == ours)
}

fn quoted(cell: &str, line: &mut String) {
    if cell.is_empty() {
        return;
    }
    line.push('"');
    line.push_str(&without_nul(cell).replace('"', "\"\""));
    line.push('"');
}

/// Bytes that `quoted` writes.
fn quoted_bytes(cell: &str) -> usize {
    cell.len() + cell.bytes().filter(|b| *b == b'"').count() + 2
}

/// A NUL, which XML can only spell, would make the text no text: it stays a control character.
fn without_nul(cell: &str) -> Cow<'_, str> {
    match cell.contains('\0') {
        true => Cow::Owned(cell.replace('\0', "\u{1}")),
        false => Cow::Borrowed(cell),
    }
}

fn shown_value<'a>(value: &'a DataRef<'_>, zeros: Option<Zeros>) -> Cow<'a, str> {
    Cow::Owned(match value {
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            return Cow::Borrowed(text);
        }
        DataRef::SharedString(text) => return Cow::Borrowed(text),
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => shown_number(*number, zeros),
        DataRef::Bool(true) => "TRUE".to_owned(),
        DataRef::Bool(false) => "FALSE".to_owned(),
        DataRef::DateTime(time) if time.is_duration() => shown_duration(time.as_f64()),
        DataRef::DateTime(time) => {
            let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
            let date = format!("{year:04}-{month:02}-{day:02}");
            match time.as_f64() {
                value if value < 1.0 => format!("{hour:02}:{minute:02}:{second:02}"),
                value if value.fract() == 0.0 => date,
                _ => format!("{date} {hour:02}:{minute:02}:{second:02}"),
            }
        }
        DataRef::Error(error) => error.to_string(),
    })
}

/// The number format `00000` or `0.00`: the digits that are always shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Zeros {
    digits: usize,
    decimals: usize,
}

impl Zeros {
    /// More digits than a spreadsheet keeps are not its own.
    const MAX: usize = 30;

    fn of(format: &str) -> Option<Zeros> {
        let (whole, fraction) = format.split_once('.').unwrap_or((format, ""));
        let zeros = |part: &str| part.len() <= Zeros::MAX && part.bytes().all(|b| b == b'0');
        (!whole.is_empty() && zeros(whole) && zeros(fraction))
            .then_some(Zeros { digits: whole.len(), decimals: fraction.len() })
    }
}

fn shown_number(number: f64, zeros: Option<Zeros>) -> String {
    if !number.is_finite() || number.abs() >= EXACT_MAX {
        let (digits, exponent) = split_exponent(number);
        return format!("{digits}E+{exponent}");
    }
    if let Some(Zeros { digits, decimals }) = zeros {
        let point = usize::from(decimals > 0);
        let sign = if number < 0.0 { "-" } else { "" };
        return format!(
            "{sign}{:0width$.decimals$}",
            number.abs(),
            width = digits + point + decimals
        );
    }
    // Fifteen digits are all that a spreadsheet shows: 0.1 + 0.2 is 0.3 there.
    let fifteen: f64 = format!("{number:.14e}").parse().unwrap_or(number);
    if fifteen == 0.0 { "0".to_owned() } else { fifteen.to_string() }
}

/// `1.25` and `17` of 1.25E17.
fn split_exponent(number: f64) -> (String, String) {
    let text = format!("{number:.14e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    (digits.to_owned(), exponent.to_owned())
}

/// Hours may be more than a day's.
fn shown_duration(days: f64) -> String {
    let seconds = (days.abs() * 86_400.0).round() as u64;
    let sign = if days < 0.0 { "-" } else { "" };
    format!("{sign}{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use calamine::{ExcelDateTime, ExcelDateTimeType};

    use super::*;

    #[test]
    fn numbers_are_written_as_a_spreadsheet_shows_them() {
        for (number, format, shown) in [
            (4_915_112_345_678.0, "General", "4915112345678"),
            (1067.0, "00000", "01067"),
            (-7.0, "000", "-007"),
            (12.5, "0.00", "12.50"),
            (1234.5, "#,##0.00", "1234.5"),
            (0.1 + 0.2, "General", "0.3"),
            (1.0 / 3.0, "General", "0.333333333333333"),
            (-0.0, "General", "0"),
            (999_999_999_999_999.0, "General", "999999999999999"),
            (1.234_567_890_123_456_7e18, "0", "1.23456789012346E+18"),
        ] {
            assert_eq!(shown_number(number, Zeros::of(format)), shown, "{number} as {format}");
        }
    }

    #[test]
    fn dates_and_times_are_iso_text() {
        let time = |value, kind| DataRef::DateTime(ExcelDateTime::new(value, kind, false));
        for (value, shown) in [
            (time(46_348.0, ExcelDateTimeType::DateTime), "2026-11-22"),
            (time(46_348.416_666_666_664, ExcelDateTimeType::DateTime), "2026-11-22 10:00:00"),
            (time(0.375, ExcelDateTimeType::DateTime), "09:00:00"),
            (time(1.5, ExcelDateTimeType::TimeDelta), "36:00:00"),
            (DataRef::Bool(true), "TRUE"),
            (DataRef::Error(calamine::CellErrorType::NA), "#N/A"),
        ] {
            assert_eq!(shown_value(&value, None), shown);
        }
    }

    fn sheet(rows: &[(u32, &[&str])], settings: &ReadSettings) -> String {
        let mut out = Vec::new();
        let mut text = SheetText::new(settings, 1 << 20, &mut out);
        for (row, cells) in rows {
            for (column, cell) in (0..).zip(*cells).filter(|(_, cell)| !cell.is_empty()) {
                text.cell((*row, column), cell).unwrap();
            }
        }
        text.end_row().unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_row_of_the_sheet_is_a_line() {
        let settings = ReadSettings::default();
        let rows: [(u32, &[&str]); 4] = [
            (1, &["#ref=a"]),
            (2, &["email", "text", "x_a"]),
            (3, &["a@x.example", "two\nlines, \"so\""]),
            (6, &["", "b", "", "surplus"]),
        ];
        let expected = "\n#ref=a\n\"email\",\"text\",\"x_a\"\n\
            \"a@x.example\",\"two\nlines, \"\"so\"\"\",\n\n\n,\"b\",,\"surplus\"\n";
        assert_eq!(sheet(&rows, &settings), expected);
        let skipping = ReadSettings { skip_lines: 1, ..settings };
        let rows: [(u32, &[&str]); 2] = [(0, &["Export\nof", "today"]), (1, &["email", "text"])];
        assert_eq!(sheet(&rows, &skipping), "Export of,today\n\"email\",\"text\"\n");
    }

    #[test]
    fn rows_that_go_back_are_no_sheet() {
        let settings = ReadSettings::default();
        let mut out = Vec::new();
        let mut text = SheetText::new(&settings, 1 << 20, &mut out);
        text.cell((2, 0), "a").unwrap();
        for place in [(1, 0), (SHEET_ROWS, 0), (3, SHEET_COLUMNS)] {
            assert!(text.cell(place, "b").is_err(), "{place:?}");
        }
    }
}

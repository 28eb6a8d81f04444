//! `<name>.errors.csv`: a line per problem.

use std::io::{self, Write};

use super::csv::{self, Line, SPEC};
use crate::codes::{ReasonCode, Severity};

/// Lines at most; the last then says how many more there were.
const LINES_MAX: u64 = 100_000;
/// Longest value that is shown, in characters.
const VALUE_MAX_CHARS: usize = 80;

/// One problem of one row, or of the file as a whole.
#[derive(Debug, Clone, Copy)]
pub struct ErrorLine<'a> {
    /// Physical line, 0 where none is meant.
    pub line: u64,
    /// Data row, 0 for the header and the file as a whole.
    pub row: u64,
    pub row_id: &'a str,
    /// 1-based, 0 where no single column is meant.
    pub column: u64,
    pub column_name: &'a str,
    pub code: ReasonCode,
    pub severity: Severity,
    /// Empty where the code's own meaning says enough.
    pub message: &'a str,
    pub value: &'a str,
    pub hint: &'a str,
}

/// An errors file being written.
pub struct ErrorsFile<'a> {
    out: &'a mut dyn Write,
    line: Line,
    /// The cells that are the same in every line.
    start: Line,
    x_columns: usize,
    count: u64,
}

impl<'a> ErrorsFile<'a> {
    /// The columns, before `x_*`.
    pub const COLUMNS: &'static [&'static str] = &[
        "spec",
        "file",
        "line",
        "row",
        "row_id",
        "column",
        "column_name",
        "severity",
        "code",
        "message",
        "value",
        "hint",
    ];

    pub fn start(
        out: &'a mut dyn Write,
        file: &str,
        x_columns: &[String],
    ) -> io::Result<ErrorsFile<'a>> {
        csv::header(ErrorsFile::COLUMNS, x_columns, out)?;
        let mut start = Line::default();
        start.plain(SPEC).text(file);
        let (line, x_columns) = (Line::default(), x_columns.len());
        Ok(ErrorsFile { out, line, start, x_columns, count: 0 })
    }

    /// Writes one problem. The one at the limit is kept back: only the next tells whether it is the
    /// last.
    pub fn write(&mut self, error: &ErrorLine<'_>, x: &[impl AsRef<str>]) -> io::Result<()> {
        self.count += 1;
        if self.count > LINES_MAX {
            return Ok(());
        }
        let meaning = error.code.meaning();
        self.line
            .start_with(&self.start)
            .known(error.line)
            .known(error.row)
            .text(error.row_id)
            .known(error.column)
            .text(error.column_name)
            .text(error.severity.as_str())
            .text(error.code.as_str())
            .text(if error.message.is_empty() { meaning } else { error.message })
            .text(cut(error.value))
            .text(error.hint)
            .x(self.x_columns, x);
        if self.count < LINES_MAX { self.end_line() } else { Ok(()) }
    }

    /// True where further lines are only counted.
    pub fn is_full(&self) -> bool {
        self.count >= LINES_MAX
    }

    /// Ends the file. `problems` is how many there were, where more were found than written here.
    pub fn finish(mut self, problems: u64) -> io::Result<()> {
        if self.count < LINES_MAX {
            return Ok(());
        }
        let more = self.count.max(problems) - (LINES_MAX - 1);
        if more > 1 {
            let message = format!("… and {more} more problems");
            self.line.start_with(&self.start).blanks(5).text(Severity::Info.as_str()).blank();
            self.line.text(&message).blanks(2).blanks(self.x_columns);
        }
        self.end_line()
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.end(ErrorsFile::COLUMNS.len() + self.x_columns, self.out)
    }
}

fn cut(value: &str) -> &str {
    match value.char_indices().nth(VALUE_MAX_CHARS) {
        Some((end, _)) => &value[..end],
        None => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(row: u64) -> ErrorLine<'static> {
        ErrorLine {
            line: row + 1,
            row,
            row_id: "r,1",
            column: 2,
            column_name: "phone",
            code: ReasonCode::RowPhoneInvalid,
            severity: Severity::Error,
            message: "not a number",
            value: "",
            hint: "",
        }
    }

    #[test]
    fn errors_have_the_contracts_columns() {
        assert_eq!(
            ErrorsFile::COLUMNS.join(","),
            "spec,file,line,row,row_id,column,column_name,severity,code,message,value,hint"
        );
        let mut out = Vec::new();
        let mut file = ErrorsFile::start(&mut out, "a.csv", &["x_k".to_owned()]).unwrap();
        let value = "ü".repeat(81);
        file.write(&ErrorLine { value: &value, ..error(3) }, &["v"]).unwrap();
        let whole = ErrorLine { line: 0, row: 0, column: 0, row_id: "", message: "", ..error(0) };
        let (code, severity) = (ReasonCode::HeaderOptoutMissing, Severity::Warning);
        let whole = ErrorLine { column_name: "", code, severity, ..whole };
        file.write(&whole, &[""; 0]).unwrap();
        file.finish(0).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().skip(1).collect();
        let shown = "ü".repeat(80);
        let first = "1,a.csv,4,3,\"r,1\",2,phone,error,row.phone_invalid,not a number";
        assert_eq!(lines[0], format!("{first},{shown},,v"));
        assert!(
            lines[1].starts_with("1,a.csv,,,,,,warning,header.optout_missing,"),
            "{}",
            lines[1]
        );
    }

    fn check(problems: u64, known: u64, lines: u64, last: &str) {
        let mut out = Vec::new();
        let mut file = ErrorsFile::start(&mut out, "a.csv", &[]).unwrap();
        for row in 1..=problems {
            file.write(&error(row), &[""; 0]).unwrap();
        }
        file.finish(known).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.lines().count() as u64, lines + 1);
        assert!(text.lines().last().unwrap().contains(last), "{problems} {known}");
    }

    #[test]
    fn the_last_of_too_many_lines_says_how_many_more() {
        check(99_999, 0, 99_999, ",99999,");
        check(100_000, 0, 100_000, ",100000,");
        check(100_001, 0, 100_000, ",,,,,info,,… and 2 more problems,,");
        check(100_000, 300_000, 100_000, ",… and 200001 more problems,,");
    }
}

//! The dialect of every answer, cell by cell.

use std::fmt::Display;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use crate::model::BatchId;

/// The version of the column lists, first cell of every line.
pub(super) const SPEC: u64 = 1;

/// The line that begins with the file's name and its batch, as that of ack and progress.
pub(super) fn start(file: &str, batch: BatchId) -> Line {
    let mut line = Line::default();
    line.plain(SPEC).text(file).plain(batch);
    line
}

/// How an answer of one row begins: the header, and whose row it is.
pub(super) fn beginning(columns: &[&str], file: &str, batch: BatchId) -> Vec<u8> {
    let mut bytes = Vec::new();
    header(columns, &[""; 0], &mut bytes).expect("memory takes every byte");
    bytes.extend_from_slice(start(file, batch).bytes());
    bytes.push(b',');
    bytes
}

/// One line under construction. Its buffer is used again for the next line.
#[derive(Debug, Default, Clone)]
pub(super) struct Line {
    bytes: Vec<u8>,
    cells: usize,
}

impl Line {
    fn begin_cell(&mut self) {
        if self.cells > 0 {
            self.bytes.push(b',');
        }
        self.cells += 1;
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Line {
        self.begin_cell();
        if needs_quotes(text.as_bytes()) {
            self.bytes.push(b'"');
            for (index, part) in text.as_bytes().split(|b| *b == b'"').enumerate() {
                if index > 0 {
                    self.bytes.extend_from_slice(b"\"\"");
                }
                self.bytes.extend_from_slice(part);
            }
            self.bytes.push(b'"');
        } else {
            self.bytes.extend_from_slice(text.as_bytes());
        }
        self
    }

    /// A cell whose text holds nothing that needs quotes: numbers, ids, words.
    pub(super) fn plain(&mut self, value: impl Display) -> &mut Line {
        self.begin_cell();
        write!(self.bytes, "{value}").expect("memory takes every byte");
        self
    }

    /// A number, blank where it is not known.
    pub(super) fn known(&mut self, number: u64) -> &mut Line {
        if number == 0 { self.blank() } else { self.plain(number) }
    }

    /// RFC 3339, UTC, whole seconds.
    pub(super) fn time(&mut self, time: Option<Timestamp>) -> &mut Line {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
        self.begin_cell();
        if let Some(time) = time {
            PRINTER.print_timestamp(&time, &mut self.bytes).expect("memory takes every byte");
        }
        self
    }

    pub(super) fn yes_no(&mut self, value: bool) -> &mut Line {
        self.text(if value { "yes" } else { "no" })
    }

    pub(super) fn blank(&mut self) -> &mut Line {
        self.begin_cell();
        self
    }

    pub(super) fn blanks(&mut self, count: usize) -> &mut Line {
        for _ in 0..count {
            self.begin_cell();
        }
        self
    }

    /// Cells for `x_*` columns: as many as there are columns, whatever the row had.
    pub(super) fn x(&mut self, columns: usize, cells: &[impl AsRef<str>]) -> &mut Line {
        for cell in cells.iter().take(columns) {
            self.text(cell.as_ref());
        }
        self.blanks(columns.saturating_sub(cells.len()))
    }

    /// Begins with the cells of another line.
    pub(super) fn start_with(&mut self, other: &Line) -> &mut Line {
        self.bytes.clear();
        self.bytes.extend_from_slice(&other.bytes);
        self.cells = other.cells;
        self
    }

    /// Writes the line, which must have a cell for each column, and empties it.
    pub(super) fn end(&mut self, columns: usize, out: &mut dyn Write) -> io::Result<()> {
        assert_eq!(self.cells, columns, "a line has a cell for each column");
        self.bytes.push(b'\n');
        out.write_all(&self.bytes)?;
        self.bytes.clear();
        self.cells = 0;
        Ok(())
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Writes the names of the columns.
pub(super) fn header(
    columns: &[&str],
    x: &[impl AsRef<str>],
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut line = Line::default();
    for name in columns {
        line.text(name);
    }
    line.x(x.len(), x).end(columns.len() + x.len(), out)
}

fn needs_quotes(text: &[u8]) -> bool {
    text.first() == Some(&b' ')
        || text.last() == Some(&b' ')
        || text.iter().any(|b| matches!(b, b'"' | b',' | b'\n' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_quoted_only_where_needed() {
        let rows = [
            ("", ""),
            ("plain", "plain"),
            ("in side", "in side"),
            ("a;b\tc|d", "a;b\tc|d"),
            ("Grüße 🎉", "Grüße 🎉"),
            ("a,b", "\"a,b\""),
            (" lead", "\" lead\""),
            ("trail ", "\"trail \""),
            (" ", "\" \""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("\"", "\"\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("two\rlines", "\"two\rlines\""),
            ("=1+2", "=1+2"),
        ];
        for (text, expected) in rows {
            let mut out = Vec::new();
            Line::default().text(text).end(1, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("{expected}\n"));
        }
    }

    #[test]
    fn values_have_one_form() {
        let mut out = Vec::new();
        let time = "2026-11-22T11:00:59.999+01:00".parse().unwrap();
        let mut line = Line::default();
        line.time(Some(time)).time(None).yes_no(true).yes_no(false).known(0).known(7).plain(0);
        line.x(2, &["a,b", "cut off"][..1]).x(1, &["c", "too many"]).end(10, &mut out).unwrap();
        let expected = "2026-11-22T10:00:59Z,,yes,no,,7,0,\"a,b\",,c\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

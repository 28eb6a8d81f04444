//! Answers in another dialect than the contract's own, cell by cell as the lines go past.
//!
//! Answers are written in one dialect, and this turns their bytes into the one that an operator asks
//! for: so no answer knows of dialects.

use std::io::{self, Write};

use encoding_rs::{EncoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// How the lines of an answer are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    pub delimiter: u8,
    pub encoding: &'static Encoding,
    /// A byte order mark at the beginning; UTF-16 always has one.
    pub bom: bool,
    pub newline: &'static str,
    /// Free text that a spreadsheet would take for a formula gets a `'` in front.
    pub spreadsheet_safe: bool,
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect {
            delimiter: b',',
            encoding: UTF_8,
            bom: false,
            newline: "\n",
            spreadsheet_safe: false,
        }
    }
}

/// Columns whose cells somebody wrote freely; `x_*` columns are such, too. All others hold ids, words
/// of closed lists, numbers, times and names, which are never altered.
const FREE_TEXT: [&str; 11] = [
    "message",
    "column_name",
    "value",
    "hint",
    "to_given",
    "provider_code",
    "text",
    "html",
    "subject",
    "media",
    "detail",
];

/// Writes an answer in a dialect; of its columns only some, where the operator wants no more.
#[derive(Debug)]
pub struct Restyled<'a, W> {
    out: W,
    dialect: Dialect,
    /// The columns to write; `None` for all.
    wanted: Option<&'a [String]>,
    /// Of each column of the header: whether it is written, and whether it is free text.
    columns: Vec<(bool, bool)>,
    in_header: bool,
    at: usize,
    is_first_kept: bool,
    is_begun: bool,
    cell: Vec<u8>,
    in_quotes: bool,
    /// The byte before was a quote that may be the first of two.
    quote_before: bool,
}

impl<'a, W: Write> Restyled<'a, W> {
    pub fn new(out: W, dialect: Dialect, wanted: Option<&'a [String]>) -> Restyled<'a, W> {
        Restyled {
            out,
            dialect,
            wanted,
            columns: Vec::new(),
            in_header: true,
            at: 0,
            is_first_kept: true,
            is_begun: false,
            cell: Vec::new(),
            in_quotes: false,
            quote_before: false,
        }
    }

    fn take(&mut self, byte: u8) -> io::Result<()> {
        if byte == b'"' {
            if self.quote_before {
                self.cell.push(b'"');
            }
            self.quote_before = self.in_quotes;
            self.in_quotes = !self.in_quotes;
            return Ok(());
        }
        self.quote_before = false;
        match byte {
            b',' if !self.in_quotes => self.end_cell(),
            b'\n' if !self.in_quotes => {
                self.end_cell()?;
                (self.at, self.is_first_kept, self.in_header) = (0, true, false);
                self.put(self.dialect.newline)
            }
            _ => {
                self.cell.push(byte);
                Ok(())
            }
        }
    }

    fn end_cell(&mut self) -> io::Result<()> {
        let cell = std::mem::take(&mut self.cell);
        let text = String::from_utf8_lossy(&cell);
        if self.in_header {
            self.columns.push((self.is_wanted(&text), is_free(&text)));
        }
        let (is_kept, is_free) = self.columns.get(self.at).copied().unwrap_or((true, true));
        self.at += 1;
        if is_kept {
            if !std::mem::take(&mut self.is_first_kept) {
                self.put(char::from(self.dialect.delimiter).encode_utf8(&mut [0; 4]))?;
            }
            let is_risky = !self.in_header && is_free && self.dialect.spreadsheet_safe;
            let guard = if is_risky && looks_like_formula(&text) { "'" } else { "" };
            let cell = quoted(guard, &text, self.dialect.delimiter);
            self.put(&cell)?;
        }
        self.cell = cell;
        self.cell.clear();
        Ok(())
    }

    fn is_wanted(&self, column: &str) -> bool {
        self.wanted.is_none_or(|wanted| {
            wanted.iter().any(|name| name == column || (name == "x_*" && column.starts_with("x_")))
        })
    }

    /// Text in the dialect's encoding; a character it does not have becomes `?`.
    fn put(&mut self, text: &str) -> io::Result<()> {
        let encoding = self.dialect.encoding;
        let is_utf16 = encoding == UTF_16LE || encoding == UTF_16BE;
        if !std::mem::replace(&mut self.is_begun, true) && (self.dialect.bom || is_utf16) {
            self.put("\u{feff}")?;
        }
        if encoding == UTF_8 {
            return self.out.write_all(text.as_bytes());
        }
        if is_utf16 {
            let order = if encoding == UTF_16LE { u16::to_le_bytes } else { u16::to_be_bytes };
            let bytes: Vec<u8> = text.encode_utf16().flat_map(order).collect();
            return self.out.write_all(&bytes);
        }
        encode(encoding, text, &mut self.out)
    }
}

impl<W: Write> Write for Restyled<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bytes.iter().try_for_each(|byte| self.take(*byte))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn encode(encoding: &'static Encoding, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut encoder = encoding.new_encoder();
    let (mut bytes, mut rest) = ([0; 512], text);
    loop {
        let (result, read, written) =
            encoder.encode_from_utf8_without_replacement(rest, &mut bytes, true);
        out.write_all(&bytes[..written])?;
        rest = &rest[read..];
        match result {
            EncoderResult::InputEmpty => return Ok(()),
            EncoderResult::OutputFull => {}
            EncoderResult::Unmappable(_) => out.write_all(b"?")?,
        }
    }
}

fn is_free(column: &str) -> bool {
    column.starts_with("x_") || FREE_TEXT.contains(&column)
}

/// Text that a spreadsheet may run. Numbers with their sign, as phone numbers are, it only shows.
fn looks_like_formula(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['=', '+', '-', '@', '\t', '\r']) else { return false };
    let is_number = text.starts_with(['+', '-'])
        && rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | ','));
    !is_number
}

fn quoted(guard: &str, text: &str, delimiter: u8) -> String {
    let delicate = |b: u8| matches!(b, b'"' | b'\r' | b'\n') || b == delimiter;
    let needed = text.starts_with(' ') || text.ends_with(' ') || text.bytes().any(delicate);
    if needed {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::WINDOWS_1252;

    use super::*;

    fn restyled(text: &str, dialect: Dialect, wanted: Option<&[&str]>) -> Vec<u8> {
        let wanted: Option<Vec<String>> =
            wanted.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let mut out = Vec::new();
        let mut restyled = Restyled::new(&mut out, dialect, wanted.as_deref());
        // Pieces end anywhere.
        text.as_bytes().chunks(3).for_each(|piece| restyled.write_all(piece).unwrap());
        out
    }

    const TEXT: &str = "spec,code,message,x_k\n1,a.b,\"one, \"\"two\"\"\n;\",=1+2\n2,,,\"\"\n";

    #[test]
    fn the_contracts_own_dialect_comes_out_as_it_went_in() {
        let expected = TEXT.replace(",\"\"\n", ",\n");
        assert_eq!(restyled(TEXT, Dialect::default(), None), expected.as_bytes());
    }

    #[test]
    fn a_dialect_changes_delimiters_line_ends_quotes_and_encoding() {
        let windows = Dialect {
            delimiter: b';',
            newline: "\r\n",
            encoding: WINDOWS_1252,
            ..Dialect::default()
        };
        let found = restyled("a,b\n\"x,y\",\"p;q\"\nGr\u{fc}\u{df}e,\u{65e5}\n", windows, None);
        assert_eq!(found, b"a;b\r\nx,y;\"p;q\"\r\nGr\xfc\xdfe;?\r\n");
        let excel = Dialect { bom: true, ..Dialect::default() };
        assert_eq!(restyled("a\n", excel, None), b"\xEF\xBB\xBFa\n");
        let wide = Dialect { encoding: UTF_16LE, ..Dialect::default() };
        assert_eq!(restyled("a\n", wide, None), b"\xFF\xFEa\0\n\0");
    }

    #[test]
    fn only_the_columns_asked_for_are_written() {
        let found = restyled(TEXT, Dialect::default(), Some(&["code", "x_*"]));
        assert_eq!(found, b"code,x_k\na.b,=1+2\n,\n");
    }

    #[test]
    fn formulas_in_free_text_are_disarmed_and_numbers_are_not_touched() {
        let safe = Dialect { spreadsheet_safe: true, ..Dialect::default() };
        for (cell, expected) in [
            ("=1+2", "'=1+2"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("-2+3", "'-2+3"),
            ("+4915112345678", "+4915112345678"),
            ("-1.50", "-1.50"),
            ("\tx", "'\tx"),
            ("\"=a,b\"", "\"'=a,b\""),
            ("plain", "plain"),
        ] {
            let text = format!("row_id,value,x_k\n{cell},{cell},{cell}\n");
            let found = String::from_utf8(restyled(&text, safe, None)).unwrap();
            let row = found.split_once('\n').unwrap().1;
            assert_eq!(row, format!("{cell},{expected},{expected}\n"));
        }
    }
}

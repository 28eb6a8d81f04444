//! How a file is to be read: what a profile may declare, with defaults that fit most files.

use serde::{Deserialize, Serialize};

use super::encoding::TextEncoding;
use crate::model::{FileForm, Kind};

/// Delimiters a file may use; the order breaks ties when a header fits several.
pub(super) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Where the column names come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HeaderMode {
    /// The first record names the columns.
    #[default]
    Present,
    /// The file has no header line; these are the columns, in order.
    Columns(Vec<String>),
}

/// Every bound on a file. A partner can hit each of them, so each has a reason code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `file.too_large` above this many bytes as received.
    pub file_max_bytes: u64,
    /// `file.archive_invalid` where an archive expands to more than so many times its size.
    pub expansion_max: u64,
    /// `file.too_many_rows` above this many data rows.
    pub rows_max: u64,
    /// `header.too_many_columns` above this many columns.
    pub columns_max: usize,
    /// `row.value_too_long` above this many bytes of UTF-8 in one cell.
    pub field_max_bytes: usize,
    /// `row.record_too_long` above this many bytes of UTF-8 in one record.
    pub record_max_bytes: usize,
    /// `header.directive_invalid` above this many directive lines.
    pub directives_max: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            file_max_bytes: 2 << 30,
            expansion_max: 100,
            rows_max: 10_000_000,
            columns_max: 512,
            field_max_bytes: 64 << 10,
            record_max_bytes: 1 << 20,
            directives_max: 200,
        }
    }
}

/// A profile's dialect, mapping, fixed values and defaults.
#[derive(Debug, Clone)]
pub struct ReadSettings {
    /// What the file holds: it says which columns are known.
    pub kind: Kind,
    /// Declared delimiter; `None` finds it from the header.
    pub delimiter: Option<u8>,
    /// The quote; `None` reads quotes as text.
    pub quote: Option<u8>,
    /// Declared encoding; a byte order mark in the file wins. `None` is UTF-8.
    pub encoding: Option<TextEncoding>,
    /// How the records are written: the file's, not the profile's.
    pub form: FileForm,
    pub header: HeaderMode,
    /// Lines before the header that are no directives and are passed over.
    pub skip_lines: usize,
    /// Own column name to standard name (`KDNR` to `x_kdnr`).
    pub columns: Vec<(String, String)>,
    /// Column, variable or `x_*` and value, used where the cell is blank.
    pub defaults: Vec<(String, String)>,
    /// Column, variable or `x_*` and value, used whatever the cell says.
    pub values: Vec<(String, String)>,
    /// A strptime format for local times, tried before the standard ones.
    pub date_format: Option<String>,
    /// True where a last record without a line end is taken as whole.
    pub final_newline_optional: bool,
    /// True where the sender said the file is whole; `row.cut` then does not apply.
    pub strong_proof: bool,
    /// Directives that came beside the file, in its manifest: of the same rank as its own.
    pub announced: Vec<(String, String)>,
    pub limits: Limits,
}

impl Default for ReadSettings {
    fn default() -> ReadSettings {
        ReadSettings {
            kind: Kind::Messages,
            delimiter: None,
            quote: Some(b'"'),
            encoding: None,
            form: FileForm::Delimited,
            header: HeaderMode::Present,
            skip_lines: 0,
            columns: Vec::new(),
            defaults: Vec::new(),
            values: Vec::new(),
            date_format: None,
            final_newline_optional: false,
            strong_proof: false,
            announced: Vec::new(),
            limits: Limits::default(),
        }
    }
}

/// How the records of one file were cut. It is kept with the file, because its rejected rows may be
/// given back when the profile has another dialect, or is gone.
#[derive(Debug, Serialize, Deserialize)]
pub struct ReadAs {
    delimiter: Option<u8>,
    quote: Option<u8>,
    encoding: Option<String>,
    /// The columns of a file without a header line.
    header: Option<Vec<String>>,
    skip_lines: usize,
    columns: Vec<(String, String)>,
}

impl ReadSettings {
    /// The quote of the text that is read. What is no delimited text by itself was written down by this
    /// program, whatever quote the profile has.
    pub(super) fn text_quote(&self) -> Option<u8> {
        if self.form == FileForm::Delimited { self.quote } else { Some(b'"') }
    }

    pub fn read_as(&self) -> ReadAs {
        ReadAs {
            delimiter: self.delimiter,
            quote: self.quote,
            encoding: self.encoding.map(|encoding| encoding.name().to_owned()),
            header: match &self.header {
                HeaderMode::Present => None,
                HeaderMode::Columns(names) => Some(names.clone()),
            },
            skip_lines: self.skip_lines,
            columns: self.columns.clone(),
        }
    }

    /// Other settings, to cut records as they were cut before.
    pub fn reading_as(self, before: ReadAs) -> ReadSettings {
        ReadSettings {
            delimiter: before.delimiter,
            quote: before.quote,
            encoding: before.encoding.as_deref().and_then(TextEncoding::from_label),
            header: before.header.map_or(HeaderMode::Present, HeaderMode::Columns),
            skip_lines: before.skip_lines,
            columns: before.columns,
            ..self
        }
    }

    /// The encoding that holds where the file itself names none: what a manifest says, else what is
    /// declared. What comes out of a workbook is our own text.
    pub(super) fn declared(&self) -> Option<TextEncoding> {
        let announced = self.announced.iter().find(|(key, _)| key == "encoding");
        announced
            .and_then(|(_, label)| TextEncoding::from_label(label))
            .or(self.encoding)
            .filter(|_| self.form != FileForm::Workbook)
    }
}

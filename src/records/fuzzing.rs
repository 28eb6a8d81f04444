//! A way into the rules of records for the fuzz targets in `fuzz/`; not part of any build but theirs.

#![allow(unreachable_pub, reason = "what is public here is public to the fuzz targets")]

use std::io::Read;

use super::cursor::{Cursor, Found};
use super::source::Source;
use super::{Limits, ReadSettings, RecordReader, address, layout};
use crate::model::FileForm;

/// Reads a file in so small pieces that their ends come to stand in the middle of everything.
pub fn reader_in_chunks<R: Read>(
    input: R,
    settings: ReadSettings,
    bytes: usize,
) -> RecordReader<R> {
    RecordReader::of(Source::new(input).in_chunks_of(bytes), settings)
}

/// One record as it stands in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub bytes: Vec<u8>,
    pub cells: Vec<Vec<u8>>,
    /// Where it begins.
    pub line: u64,
}

/// Cuts UTF-8 text into its records, as nothing but delimiter, quote and line ends say; `None` where the
/// file would be refused.
pub fn pieces(input: &[u8], delimiter: u8, quote: Option<u8>, chunk: usize) -> Option<Vec<Piece>> {
    let source = Source::new(input).in_chunks_of(chunk);
    let mut cursor = Cursor::new(source, FileForm::Delimited, &Limits::default());
    cursor.source.begin(None).ok()?;
    cursor.cut_by(delimiter, quote, 1);
    let (mut pieces, mut scratch) = (Vec::new(), Vec::new());
    loop {
        let line = cursor.scanner.line;
        let Found::Record { length, .. } = cursor.find().ok()? else { return Some(pieces) };
        let bytes = cursor.source.window()[..length].to_vec();
        let fields = &cursor.scanner.fields;
        let mut cell = |field: &super::scan::Field| {
            field.value(&bytes, quote.unwrap_or(b'"'), &mut scratch).to_vec()
        };
        let cells = fields.iter().map(&mut cell).collect();
        pieces.push(Piece { bytes, cells, line });
        cursor.pass(length);
    }
}

/// The name that a header cell stands for.
pub fn standard_name(cell: &str, mapping: &[(String, String)]) -> String {
    layout::standard_name(cell, mapping)
}

/// The address as it is sent to, or the code of what is wrong with it.
pub fn email(given: &str) -> Result<String, &'static str> {
    let mut out = String::new();
    address::email(given, &mut out).map(|()| out).map_err(|fault| fault.code.as_str())
}

/// The number as E.164, or the code of what is wrong with it.
pub fn phone(given: &str, country: &str) -> Result<String, &'static str> {
    let mut out = String::new();
    let result = address::phone(given, country.parse().ok(), &mut out);
    result.map(|()| out).map_err(|fault| fault.code.as_str())
}

/// True for what may stand as a sender.
pub fn is_mailbox(text: &str) -> bool {
    address::is_mailbox(text)
}

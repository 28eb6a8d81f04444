//! A file of any dialect. However its bytes come, it is the same file; nothing of it is swallowed; where it
//! stands is told right; and its rejected rows come back whole.
//!
//! The input is four bytes of dialect, and the file.
#![no_main]

use std::fmt::Write;

use dropchute::codes::ReasonCode;
use dropchute::records::fuzzing::{Piece, pieces, reader_in_chunks};
use dropchute::records::{
    HeaderMode, ReadError, ReadSettings, Record, RejectedRow, TextEncoding, write_rejects,
};
use libfuzzer_sys::fuzz_target;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
const ENCODINGS: [&str; 8] =
    ["utf-8", "windows-1252", "cp850", "cp273", "utf-16le", "utf-16be", "shift_jis", "gb18030"];
/// All of an input at once.
const WHOLE: usize = 128 << 10;

fuzz_target!(|input: &[u8]| {
    let Some(([shape, text, limits, chunk], file)) = input.split_first_chunk::<4>() else { return };
    let settings = settings(*shape, *text, *limits);
    // An encoding is named in the first piece; so small ones may miss it.
    let chunk = match file.to_ascii_lowercase().windows(8).any(|window| window == b"encoding") {
        true => WHOLE,
        false => usize::from(*chunk).max(8),
    };
    let whole = read(file, &settings, WHOLE);
    assert_eq!(whole.story, read(file, &settings, chunk).story, "in chunks of {chunk}");
    let delimiter = DELIMITERS[usize::from(shape & 3)];
    if let Some(found) = pieces(file, delimiter, settings.quote, WHOLE) {
        assert_eq!(Some(&found), pieces(file, delimiter, settings.quote, chunk).as_ref());
        nothing_is_swallowed(file, &found);
        others_read_the_same(file, &found, delimiter, settings.quote);
    }
    if let Some(rows) = whole.rows {
        lines_are_right(file, &settings, &rows);
        comes_back(file, &settings, &rows);
    }
});

fn settings(shape: u8, text: u8, limits: u8) -> ReadSettings {
    let columns = ["email", "x_a", "text"].map(str::to_owned).to_vec();
    let mut settings = ReadSettings {
        delimiter: (shape & 4 == 0).then(|| DELIMITERS[usize::from(shape & 3)]),
        quote: [Some(b'"'), Some(b'\''), None, Some(b'"')][usize::from(shape >> 3 & 3)],
        header: if shape & 32 == 0 { HeaderMode::Present } else { HeaderMode::Columns(columns) },
        skip_lines: usize::from(shape >> 6),
        encoding: (text & 8 == 8)
            .then(|| TextEncoding::from_label(ENCODINGS[usize::from(text & 7)]))
            .flatten(),
        strong_proof: text & 16 == 16,
        final_newline_optional: text & 32 == 32,
        ..ReadSettings::default()
    };
    settings.limits.columns_max = if limits & 4 == 0 { 512 } else { 5 };
    settings.limits.field_max_bytes = if limits & 8 == 0 { 64 << 10 } else { 10 };
    settings.limits.record_max_bytes = [1 << 20, 100, 300, 1 << 20][usize::from(limits & 3)];
    settings
}

/// All that reading a file gives.
struct Read {
    story: String,
    /// Line and cells of each row, where the file was read to its end.
    rows: Option<Vec<Row>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Row {
    line: u64,
    cells: Vec<String>,
    too_long: bool,
}

fn read(file: &[u8], settings: &ReadSettings, chunk: usize) -> Read {
    let mut reader = reader_in_chunks(file, settings.clone(), chunk);
    let mut story = String::new();
    let mut rows = Some(Vec::new());
    match reader.open() {
        Ok(opened) => write!(story, "{opened:?}").expect("a text"),
        Err(error) => {
            write!(story, "{error:?}").expect("a text");
            rows = None;
        }
    }
    let mut record = Record::new();
    while let Some(all) = &mut rows {
        match reader.next(&mut record) {
            Ok(Some(step)) => {
                let cells = record.iter().map(str::to_owned).collect();
                let mut row = Row { line: record.line(), cells, too_long: false };
                if let dropchute::records::Step::Bad(error) = &step {
                    assert_eq!((error.row, error.line), (record.row(), record.line()));
                    row.too_long = error.code == ReasonCode::RowRecordTooLong;
                }
                write!(story, "\n{step:?} {row:?}").expect("a text");
                all.push(row);
                assert_eq!(record.row(), all.len() as u64);
            }
            Ok(None) => break,
            Err(error) => {
                assert!(matches!(error, ReadError::Refused(_)), "{error:?}");
                write!(story, "\n{error:?}").expect("a text");
                rows = None;
            }
        }
    }
    let facts = reader.finish().expect("bytes in memory");
    assert_eq!(facts.bytes, file.len() as u64);
    write!(story, "\n{facts:?}").expect("a text");
    Read { story, rows }
}

fn without_mark(file: &[u8]) -> &[u8] {
    file.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(file)
}

/// The records of a file are the file, and each begins in the line that is said of it.
fn nothing_is_swallowed(file: &[u8], pieces: &[Piece]) {
    let is_utf16 = [&b"\xFF\xFE"[..], b"\xFE\xFF"].iter().any(|mark| file.starts_with(mark));
    if is_utf16 || file.to_ascii_lowercase().windows(8).any(|window| window == b"encoding") {
        return;
    }
    let text = without_mark(file);
    let all: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    assert_eq!(all, text.strip_suffix(b"\x1A").unwrap_or(text));
    let (mut line, mut from) = (1, 0);
    for piece in pieces {
        assert_eq!(piece.line, line, "of {:?}", piece.bytes);
        line += line_ends(&all[from..from + piece.bytes.len()]);
        from += piece.bytes.len();
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    let pairs = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    (bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() - pairs) as u64
}

/// The `csv` crate cuts the same cells.
fn others_read_the_same(file: &[u8], pieces: &[Piece], delimiter: u8, quote: Option<u8>) {
    let text: Vec<u8> = pieces.iter().flat_map(|piece| piece.bytes.iter().copied()).collect();
    if text.is_empty() || !file.ends_with(&text) {
        return;
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quote(quote.unwrap_or(b'"'))
        .quoting(quote.is_some())
        .from_reader(&text[..]);
    let theirs: Vec<Vec<Vec<u8>>> = reader
        .byte_records()
        .map(|record| record.expect("bytes in memory").iter().map(<[u8]>::to_vec).collect())
        .collect();
    // A line of nothing is no record to it.
    let is_nothing = |piece: &&Piece| matches!(piece.bytes[..], [b'\r' | b'\n'] | [b'\r', b'\n']);
    let ours: Vec<_> = pieces.iter().filter(|piece| !is_nothing(piece)).collect();
    let ours: Vec<_> = ours.into_iter().map(|piece| piece.cells.clone()).collect();
    // What follows a byte order mark inside the file is not looked at.
    if !text.starts_with(b"\xEF\xBB\xBF") {
        assert_eq!(ours, theirs);
    }
}

/// A row stands in the physical line that is said.
fn lines_are_right(file: &[u8], settings: &ReadSettings, rows: &[Row]) {
    if settings.encoding.is_some() || std::str::from_utf8(file).is_err() {
        return;
    }
    let text = without_mark(file);
    if text.to_ascii_lowercase().windows(8).any(|window| window == b"encoding") {
        return;
    }
    let mut starts = vec![0];
    for at in 0..text.len() {
        if text[at] == b'\n' || (text[at] == b'\r' && text.get(at + 1) != Some(&b'\n')) {
            starts.push(at + 1);
        }
    }
    let mut last = 0;
    for row in rows {
        assert!(row.line > last, "{row:?}");
        last = row.line;
        let line = &text[starts[row.line as usize - 1]..];
        let line = match settings.quote {
            Some(quote) => line.strip_prefix(&[quote]).unwrap_or(line),
            None => line,
        };
        let first = row.cells.first().map_or(&b""[..], |cell| cell.as_bytes());
        assert_eq!(line.first().filter(|_| !first.is_empty()), first.first(), "{row:?}");
    }
}

/// All rows refused, and dropped again, are the same rows.
fn comes_back(file: &[u8], settings: &ReadSettings, rows: &[Row]) {
    if rows.is_empty() || rows.iter().any(|row| row.too_long) {
        return;
    }
    let rejected = |rows: &[Row]| -> Vec<RejectedRow> {
        let reject = |row| RejectedRow {
            row,
            code: ReasonCode::RowEmailInvalid,
            column_name: "a, \"b\"".to_owned(),
            hint: "line\nend; \u{feff}|\t'".to_owned(),
        };
        (1..=rows.len() as u64).map(reject).collect()
    };
    let mut out = Vec::new();
    write_rejects(file, settings, rejected(rows), &mut out).expect("what was read once");
    // Longer by what stands in front, and whole.
    let mut settings = settings.clone();
    settings.limits.record_max_bytes = 1 << 20;
    settings.limits.columns_max += 5;
    settings.strong_proof = true;
    let again = read(&out, &settings, WHOLE);
    let Some(found) = again.rows else {
        panic!("{}\n{}", String::from_utf8_lossy(&out), again.story);
    };
    let cells = |rows: &[Row], less: usize| -> Vec<Vec<String>> {
        let own = |row: &Row| row.cells.get(less..).unwrap_or_default().to_vec();
        rows.iter().map(own).collect()
    };
    let before = cells(rows, 0);
    if before != cells(&found, 5) && !is_redropped(file) {
        assert_eq!(before, cells(&found, 5), "{}", String::from_utf8_lossy(&out));
    }
    let mut twice = Vec::new();
    write_rejects(&out[..], &settings, rejected(rows), &mut twice).expect("what was read twice");
    let Some(third) = read(&twice, &settings, WHOLE).rows else { panic!("{again:?}", again = twice) };
    assert_eq!(cells(&found, 5), cells(&third, 5), "{}", String::from_utf8_lossy(&twice));
}

/// Rejected rows that were rejected again lose the columns that are replaced.
fn is_redropped(file: &[u8]) -> bool {
    file.to_ascii_lowercase().windows(5).any(|window| window == b"_line")
}

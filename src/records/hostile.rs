//! Changed bytes: whatever stands in an archive, a workbook or a file of objects, reading it ends, and
//! within its limits. The fuzz targets in `fuzz/` search on from here.

use std::io::{Cursor, Write};

use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::codes::ReasonCode;
use crate::model::FileForm;

use super::{
    Limits, Packing, ReadSettings, Record, RecordReader, RejectedRow, Step, UnpackError, unpack,
    write_first_sheet, write_rejects,
};

const CHANGES: u32 = 300;

/// Numbers that look as if they were thrown, the same in every run.
struct Changes(u32);

impl Changes {
    fn next(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.0 >> 8) as usize % below.max(1)
    }

    /// Changes, cuts or doubles a few bytes.
    fn change(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut changed = bytes.to_vec();
        for _ in 0..=self.next(3) {
            let at = self.next(changed.len());
            let until = (at + self.next(40)).min(changed.len());
            match self.next(5) {
                0 => changed.truncate(at),
                1 => drop(changed.drain(at..until)),
                2 => changed.extend_from_within(at..until),
                3 if at < changed.len() => changed[at] = self.next(256) as u8,
                _ if at < changed.len() => changed[at] = b"<>\"'&/9{[\0"[self.next(10)],
                _ => {}
            }
        }
        changed
    }
}

fn fixture(path: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/journeys/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[test]
fn changed_archives_come_out_within_their_limits_or_not_at_all() {
    let limits = Limits { file_max_bytes: 1 << 20, ..Limits::default() };
    for (packing, path) in [
        (Packing::Gzip, "packed_by_others/inbox/messages/members.csv.gz"),
        (Packing::Zip, "packed_by_others/inbox/messages/folder.zip"),
        (Packing::Zip, "packed_by_others/inbox/messages/streamed.zip"),
    ] {
        let whole = fixture(path);
        let mut changes = Changes(1);
        for number in 0..CHANGES {
            let changed = changes.change(&whole);
            let mut out = Vec::new();
            let bytes = changed.len() as u64;
            match unpack(packing, Cursor::new(&changed), bytes, &limits, &mut out) {
                Ok(_) | Err(UnpackError::Refused(_)) => assert!(out.len() <= 1 << 20),
                Err(error) => panic!("{path}, change {number}: {error:?}"),
            }
        }
    }
}

/// The parts of a workbook, unpacked.
fn parts() -> Vec<(String, Vec<u8>)> {
    let whole = fixture("workbook/inbox/messages/titled.xlsx");
    let mut zip = zip::ZipArchive::new(Cursor::new(whole)).unwrap();
    let mut parts = Vec::new();
    for index in 0..zip.len() {
        let mut part = zip.by_index(index).unwrap();
        let mut bytes = Vec::new();
        std::io::copy(&mut part, &mut bytes).unwrap();
        parts.push((part.name().unwrap().into_owned(), bytes));
    }
    parts
}

fn workbook(parts: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut out = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in parts {
        out.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        out.write_all(bytes).unwrap();
    }
    out.finish().unwrap().into_inner()
}

/// A packed workbook with these rows and one shared text, which does not pack so well that it is refused
/// for that.
fn repeating(text_bytes: usize, rows: &str) -> Vec<u8> {
    let mut letters = Changes(4);
    let mut letter = |_| b"\"ab,cdefghijklmnopqrstuvwxyz"[letters.next(28)] as char;
    let text: String = (0..text_bytes).map(&mut letter).collect();
    let sheet = format!(
        "<?xml version=\"1.0\"?><worksheet xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\">\
         <sheetData><row><c t=\"inlineStr\"><is><t>email</t></is></c><c t=\"inlineStr\"><is><t>text</t></is>\
         </c></row>{rows}</sheetData></worksheet>"
    );
    let strings = format!(
        "<?xml version=\"1.0\"?><sst xmlns=\"http://schemas.openxmlformats.org/spreadsheetml/2006/main\" \
         count=\"1\" uniqueCount=\"1\"><si><t>{text}</t></si></sst>"
    );
    let mut parts = parts();
    for (name, bytes) in &mut parts {
        match name.as_str() {
            "xl/sharedStrings.xml" => strings.as_bytes().clone_into(bytes),
            "xl/worksheets/sheet1.xml" | "xl/worksheets/sheet2.xml" => {
                sheet.as_bytes().clone_into(bytes);
            }
            _ => {}
        }
    }
    workbook(&parts, CompressionMethod::Deflated)
}

fn text_of(workbook: &[u8]) -> Result<Vec<u8>, ReasonCode> {
    let (bytes, mut text) = (workbook.len() as u64, Vec::new());
    match write_first_sheet(Cursor::new(workbook), bytes, &ReadSettings::default(), &mut text) {
        Ok(()) => Ok(text),
        Err(UnpackError::Refused(problem)) => Err(problem.code),
        Err(error) => panic!("{error:?}"),
    }
}

#[test]
fn a_row_of_a_workbook_that_stands_for_gigabytes_is_one_row_that_is_too_long() {
    const CELL: &str = "<c t=\"s\"><v>0</v></c>";
    let wide = format!("<row>{}</row>", CELL.repeat(16_383));
    let fitting = format!("<row>{}</row>", CELL.repeat(2));
    let text = text_of(&repeating(1_000_000, &format!("{wide}<row>{CELL}</row>"))).unwrap();
    assert!(text.len() < 8 << 20, "{}", text.len());
    let settings = ReadSettings::default().for_form(FileForm::Workbook, &text[..]).unwrap();
    let mut reader = RecordReader::new(&text[..], settings.clone());
    reader.open().unwrap();
    let mut record = Record::new();
    let Ok(Some(Step::Bad(error))) = reader.next(&mut record) else { panic!("not refused") };
    assert_eq!((error.code, error.row), (ReasonCode::RowRecordTooLong, 1));
    assert_eq!(rows(&text, &settings), Some(2), "the file goes on behind it");
    // The same text in a row that may be so long is read.
    let text = text_of(&repeating(30_000, &fitting)).unwrap();
    assert_eq!(rows(&text, &settings), Some(1));
}

#[test]
fn a_workbook_whose_text_is_far_longer_than_itself_is_refused() {
    let last_column = |row: u32| format!("<row r=\"{row}\"><c r=\"XFD{row}\"><v>1</v></c></row>");
    let padded: String = (2..130_000).map(last_column).collect();
    match text_of(&repeating(2, &padded)) {
        Ok(text) => assert!(text.len() < 100 << 20, "{}", text.len()),
        Err(code) => assert_eq!(code, ReasonCode::FileArchiveInvalid),
    }
    let repeated = "<row><c t=\"s\"><v>0</v></c></row>".repeat(2000);
    let refused = text_of(&repeating(500_000, &repeated));
    assert_eq!(refused.map(|text| text.len()), Err(ReasonCode::FileArchiveInvalid));
}

#[test]
fn changed_parts_of_a_workbook_are_read_or_refused() {
    let parts = parts();
    let mut changes = Changes(2);
    for number in 0..CHANGES {
        let changed = changes.next(parts.len());
        let mut all = parts.clone();
        all[changed].1 = changes.change(&all[changed].1);
        let workbook = workbook(&all, CompressionMethod::Stored);
        let (bytes, mut text) = (workbook.len() as u64, Vec::new());
        let settings = ReadSettings::default();
        match write_first_sheet(Cursor::new(workbook), bytes, &settings, &mut text) {
            Ok(()) => {
                rows(&text, &settings.for_form(FileForm::Workbook, &text[..]).unwrap());
            }
            Err(UnpackError::Refused(_)) => {}
            Err(error) => panic!("change {number} of {}: {error:?}", parts[changed].0),
        }
    }
}

#[test]
fn changed_objects_come_back_as_many_rows_as_were_refused() {
    let whole = fixture("json_lines/inbox/messages/a.jsonl");
    let strong = ReadSettings { strong_proof: true, ..ReadSettings::default() };
    let mut changes = Changes(3);
    for number in 0..CHANGES {
        let changed = changes.change(&whole);
        let settings = strong.for_form(FileForm::Objects, &changed[..]).unwrap();
        let Some(read) = rows(&changed, &settings) else { continue };
        let refused = (1..=read).map(|row| RejectedRow {
            row,
            code: ReasonCode::RowEmailInvalid,
            column_name: String::new(),
            hint: String::new(),
        });
        let mut out = Vec::new();
        write_rejects(&changed[..], &settings, refused, &mut out).unwrap();
        let again = rows(&out, &strong);
        assert!(again.is_none_or(|again| again == read), "change {number}: {read}, {again:?}");
    }
}

/// The number of rows of a file that is read to its end.
fn rows(text: &[u8], settings: &ReadSettings) -> Option<u64> {
    let mut reader = RecordReader::new(text, settings.clone());
    reader.open().ok()?;
    let (mut record, mut rows) = (Record::new(), 0);
    while reader.next(&mut record).ok()?.is_some() {
        rows += 1;
        assert_eq!(record.row(), rows);
    }
    Some(rows)
}

//! A workbook: the input is its sheet, its styles and its shared strings, cut at bytes 0xff. What comes
//! out is read as the text it should be.
#![no_main]

use std::io::{Cursor, Write};

use dropchute::model::FileForm;
use dropchute::records::{ReadSettings, Record, RecordReader, UnpackError, write_first_sheet};
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

const RELATIONS: &str = "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'>\
    <Relationship Id='r1' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet' \
    Target='worksheets/sheet1.xml'/></Relationships>";
const WORKBOOK: &str = "<workbook xmlns='http://schemas.openxmlformats.org/spreadsheetml/2006/main'>\
    <sheets><sheet name='a' sheetId='1' r:id='r1'/></sheets></workbook>";

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == 0xFF);
    let mut part = || parts.next().unwrap_or_default();
    let workbook = pack(&[
        ("xl/_rels/workbook.xml.rels", RELATIONS.as_bytes()),
        ("xl/workbook.xml", WORKBOOK.as_bytes()),
        ("xl/worksheets/sheet1.xml", part()),
        ("xl/styles.xml", part()),
        ("xl/sharedStrings.xml", part()),
    ]);
    let settings = ReadSettings::default();
    let mut text = Vec::new();
    match write_first_sheet(Cursor::new(&workbook), workbook.len() as u64, &settings, &mut text) {
        Ok(()) => {}
        Err(UnpackError::Refused(_)) => return,
        Err(error) => panic!("{error:?}"),
    }
    let Ok(settings) = settings.for_form(FileForm::Workbook, &text[..]) else { return };
    let mut reader = RecordReader::new(&text[..], settings);
    if reader.open().is_ok() {
        let mut record = Record::new();
        while let Ok(Some(_)) = reader.next(&mut record) {
            assert!(record.line() <= 1 << 20, "a sheet has no line {}", record.line());
        }
    }
});

fn pack(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in parts {
        zip.start_file(*name, stored).expect("a zip in memory");
        zip.write_all(bytes).expect("a zip in memory");
    }
    zip.finish().expect("a zip in memory").into_inner()
}

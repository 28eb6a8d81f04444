//! A file of JSON objects: read, every row refused, and the rejected file read again.
#![no_main]

use dropchute::codes::ReasonCode;
use dropchute::model::FileForm;
use dropchute::records::{ReadSettings, Record, RecordReader, RejectedRow, write_rejects};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let settings = ReadSettings { strong_proof: true, ..ReadSettings::default() };
    let Ok(settings) = settings.for_form(FileForm::Objects, input) else { return };
    let Some(rows) = rows(input, &settings) else { return };
    let refused = (1..=rows).map(|row| RejectedRow {
        row,
        code: ReasonCode::RowEmailInvalid,
        column_name: String::new(),
        hint: "correct it".to_owned(),
    });
    let mut out = Vec::new();
    if write_rejects(input, &settings, refused, &mut out).is_err() {
        panic!("what was read once is not read again");
    }
    let again = rows(&out, &ReadSettings { strong_proof: true, ..ReadSettings::default() });
    assert_eq!(again.unwrap_or(rows), rows, "{}", String::from_utf8_lossy(&out));
});

/// The number of rows of a file that is read to its end.
fn rows(input: &[u8], settings: &ReadSettings) -> Option<u64> {
    let mut reader = RecordReader::new(input, settings.clone());
    reader.open().ok()?;
    let mut record = Record::new();
    let mut rows = 0;
    while reader.next(&mut record).ok()?.is_some() {
        rows += 1;
        assert_eq!(record.row(), rows);
    }
    Some(rows)
}

//! A file of JSON objects: read in any pieces, each cell what JSON says it is, every row refused, and the
//! rejected file read again.
#![no_main]

use dropchute::codes::ReasonCode;
use dropchute::model::FileForm;
use dropchute::records::fuzzing::{reader_in_chunks, standard_name};
use dropchute::records::{ReadSettings, Record, RecordReader, RejectedRow, Step, write_rejects};
use serde_json::{Map, Value};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let settings = ReadSettings { strong_proof: true, ..ReadSettings::default() };
    let Ok(settings) = settings.for_form(FileForm::Objects, input) else { return };
    let whole = story(input, &settings, input.len().max(8));
    for chunk in [8, 13] {
        assert_eq!(whole, story(input, &settings, chunk), "in chunks of {chunk}");
    }
    cells_are_as_written(input, &settings);
    let Some(count) = rows(input, &settings) else { return };
    let refused = (1..=count).map(|row| RejectedRow {
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
    assert_eq!(again.unwrap_or(count), count, "{}", String::from_utf8_lossy(&out));
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

/// All that reading the file gives.
fn story(input: &[u8], settings: &ReadSettings, chunk: usize) -> String {
    // An encoding is named in the first piece.
    let named = input.to_ascii_lowercase().windows(8).any(|window| window == b"encoding");
    let mut reader = reader_in_chunks(input, settings.clone(), if named { 128 << 10 } else { chunk });
    let mut story = vec![format!("{:?}", reader.open())];
    let mut record = Record::new();
    while !story.last().is_some_and(|last| last.starts_with("Err") || last == "Ok(None)") {
        let step = reader.next(&mut record);
        if matches!(step, Ok(Some(_))) {
            story.push(format!("{record:?}"));
        }
        story.push(format!("{step:?}"));
    }
    story.push(format!("{:?}", reader.finish()));
    story.join("\n")
}

/// A good row holds the values that JSON gives its line.
fn cells_are_as_written(input: &[u8], settings: &ReadSettings) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').split(['\n', '\r']).collect();
    if lines.len() != text.lines().count() + usize::from(text.ends_with('\n')) {
        return;
    }
    let mut reader = RecordReader::new(input, settings.clone());
    let Ok(opened) = reader.open() else { return };
    let names: Vec<String> = (0..opened.layout.width())
        .map(|at| standard_name(opened.layout.name_at(at), &[]))
        .collect();
    let mut record = Record::new();
    while let Ok(Some(step)) = reader.next(&mut record) {
        let line = lines[record.line() as usize - 1];
        let object = serde_json::from_str::<Map<String, Value>>(line.trim_end_matches('\x1A'));
        if step != Step::Row {
            continue;
        }
        let object = object.expect("a good row is an object");
        let mut given = 0;
        for (name, value) in &object {
            let name = standard_name(name, &[]);
            let Some(at) = names.iter().position(|known| *known == name) else {
                assert!(name.is_empty(), "{name:?} is no column");
                continue;
            };
            let cell = record.get(at).expect("a cell for each column");
            given += 1;
            match value {
                Value::Null => assert_eq!(cell, ""),
                Value::String(text) => assert_eq!(cell, text),
                Value::Bool(yes) => assert_eq!(cell, if *yes { "true" } else { "false" }),
                Value::Number(_) => assert!(line.contains(cell) && !cell.is_empty(), "{cell}"),
                other => panic!("a good row holds {other}"),
            }
        }
        let blank = record.iter().filter(|cell| cell.is_empty()).count();
        assert!(given + blank >= names.len(), "{line}");
    }
}

//! A header and a profile's mapping: each column means one thing, however its name is spelled.
//!
//! The input is text: a line for the kind, lines `own=standard`, an empty line, and a line a column.
#![no_main]

use std::collections::HashSet;

use dropchute::model::Kind;
use dropchute::records::fuzzing::standard_name;
use dropchute::records::{
    Column, Facts, FileProblem, Layout, Opened, ReadError, ReadSettings, Record, RecordReader,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    // A first line `sep=` is no header.
    if text.contains(['\0', '\r']) || text.to_ascii_lowercase().contains("sep=") {
        return;
    }
    let mut lines = text.split('\n');
    let kind = if lines.next() == Some("control") { Kind::Control } else { Kind::Messages };
    let mapping = lines
        .by_ref()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_once('='))
        .map(|(own, standard)| (own.to_owned(), standard.to_owned()))
        .collect();
    let cells: Vec<&str> = lines.collect();
    let settings = ReadSettings {
        kind,
        columns: mapping,
        delimiter: Some(b','),
        strong_proof: true,
        ..ReadSettings::default()
    };
    for cell in &cells {
        let name = standard_name(cell, &[]);
        assert_eq!(standard_name(&name, &[]), name, "of {cell:?}");
    }
    let spelled: Vec<String> = cells.iter().map(|cell| shout(cell)).collect();
    let spelled: Vec<&str> = spelled.iter().map(String::as_str).collect();
    match (open(&cells, &settings), open(&spelled, &settings)) {
        (Ok((opened, record, facts)), Ok((other, _, other_facts))) => {
            each_column_has_one_meaning(&opened.layout, &record, &cells, &settings);
            same(&opened.layout, &other.layout);
            assert_eq!(facts.records_sha256, other_facts.records_sha256, "{cells:?}");
            assert_eq!(opened.warnings.len(), other.warnings.len());
        }
        (Err(codes), Err(others)) => assert_eq!(codes, others, "{cells:?}"),
        (one, other) => panic!("{cells:?}: {one:?}\n{other:?}"),
    }
});

/// The same name as somebody else would write it.
fn shout(cell: &str) -> String {
    let loud = cell.trim().to_ascii_uppercase().replace('_', "-");
    // What begins a preamble's line must not change.
    if cell.trim().starts_with(['#', '_', '=']) { cell.to_owned() } else { format!(" {loud} ") }
}

type Read = (Opened, Record, Facts);

fn open(cells: &[&str], settings: &ReadSettings) -> Result<Read, Vec<&'static str>> {
    let quoted = |cell: &&str| format!("\"{}\"", cell.replace('"', "\"\""));
    let header: Vec<String> = cells.iter().map(quoted).collect();
    let row: Vec<String> = (0..cells.len()).map(|at| format!("v{at}")).collect();
    let file = format!("{}\n{}\n", header.join(","), row.join(","));
    let mut reader = RecordReader::new(file.as_bytes(), settings.clone());
    let refused = |error| -> Vec<&'static str> {
        let ReadError::Refused(problems) = error else { panic!("bytes in memory") };
        let code = |problem: &FileProblem| {
            assert!(!problem.message.is_empty());
            assert!(problem.column.is_none_or(|at| (1..=cells.len()).contains(&at)));
            problem.code.as_str()
        };
        problems.iter().map(code).collect()
    };
    let opened = reader.open().map_err(refused)?;
    let mut record = Record::new();
    reader.next(&mut record).map_err(refused)?;
    Ok((opened, record, reader.finish().expect("bytes in memory")))
}

fn each_column_has_one_meaning(
    layout: &Layout,
    record: &Record,
    cells: &[&str],
    settings: &ReadSettings,
) {
    let values: HashSet<&str> = layout.x_values(record).collect();
    let variables: HashSet<(&str, &str)> = layout.variables(record).collect();
    let mut meant = 0;
    for (at, cell) in cells[..layout.width()].iter().enumerate() {
        assert_eq!(layout.name_at(at), cell.trim());
        let name = standard_name(cell, &settings.columns);
        let value = format!("v{at}");
        let as_variable = variables.iter().filter(|(_, v)| *v == value).count();
        let as_column =
            Column::ALL.iter().filter(|column| layout.position(**column) == Some(at)).count();
        let as_own = usize::from(values.contains(value.as_str()));
        let expected = usize::from(!name.is_empty() && !name.starts_with('_'));
        assert_eq!(as_variable + as_column + as_own, expected, "{cell:?} as {name:?}");
        meant += expected;
        if let Some(column) = Column::of_kind(&name, settings.kind) {
            assert_eq!(layout.position(column), Some(at));
            assert_eq!(column.as_str(), name);
        }
    }
    let positions = Column::ALL.iter().filter(|column| layout.position(**column).is_some()).count();
    assert_eq!(positions + layout.x_columns().count() + layout.variable_names().count(), meant);
}

fn same(one: &Layout, other: &Layout) {
    assert_eq!(one.width(), other.width());
    for column in Column::ALL {
        assert_eq!(one.position(*column), other.position(*column), "{column:?}");
    }
    assert!(one.x_columns().eq(other.x_columns()), "{one:?} {other:?}");
    assert!(one.variable_names().eq(other.variable_names()), "{one:?} {other:?}");
}

//! Rows a second beside a bare parse of the same bytes; to be run optimised and alone:
//! `cargo test --release --lib -- --ignored --nocapture rows_a_second`.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]

use std::fmt::Write;
use std::time::Instant;

use jiff::tz::TimeZone;

use super::{
    MessageChecker, MessageRow, ReadSettings, Record, RecordReader, Step, TemplateNeeds,
    TenantContext,
};
use crate::model::{ChannelKind, MaxAge};

const ROWS: u64 = 1_000_000;

fn file() -> String {
    let mut file = String::from(
        "row_id,email,template,var_first_name,var_last_name,var_city,var_text,x_kdnr\n",
    );
    for row in 0..ROWS {
        writeln!(
            file,
            "row-{row:08},first.last{row:07}@example-company.com,invoice,Maximilian,Mustermann,\
             Garmisch-Partenkirchen,Invoice number {row:08} for your order,K{row:08}"
        )
        .unwrap();
    }
    file
}

fn tenant() -> TenantContext {
    TenantContext {
        default_country: Some("DE".into()),
        timezone: TimeZone::UTC,
        channels: vec![ChannelKind::Email, ChannelKind::Sms],
        default_category: None,
        templates: vec![TemplateNeeds {
            name: "invoice".into(),
            channel: ChannelKind::Email,
            lang: "en".into(),
            variables: vec!["first_name".into(), "text".into()],
            category: None,
        }],
        max_age: MaxAge::default(),
        now: "2026-11-22T10:00:00Z".parse().unwrap(),
    }
}

/// Seconds for reading the file, with or without the check of its rows.
fn seconds(file: &str, with_check: bool) -> f64 {
    let start = Instant::now();
    let mut reader = RecordReader::new(file.as_bytes(), ReadSettings::default());
    let opened = reader.open().unwrap();
    let settings = ReadSettings::default();
    let checker = MessageChecker::new(opened.layout, &opened.directives, &settings, tenant());
    let (mut record, mut message, mut errors) = (Record::new(), MessageRow::default(), Vec::new());
    let mut good = 0;
    while let Some(step) = reader.next(&mut record).unwrap() {
        let is_good = !with_check || checker.check(&record, &mut message, &mut errors);
        good += u64::from(step == Step::Row && is_good);
    }
    assert_eq!((good, reader.finish().unwrap().rows), (ROWS, ROWS));
    start.elapsed().as_secs_f64()
}

#[test]
#[ignore = "measures; run it optimised and alone"]
fn rows_a_second() {
    let file = file();
    for _ in 0..3 {
        let start = Instant::now();
        let mut reader = csv::Reader::from_reader(file.as_bytes());
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).unwrap() {}
        let bare = start.elapsed().as_secs_f64();
        let (read, checked) = (seconds(&file, false), seconds(&file, true));
        let millions = |seconds: f64| ROWS as f64 / seconds / 1e6;
        println!(
            "bare {:.2} M rows/s, read {:.2} ({:.2}), read and checked {:.2} ({:.2})",
            millions(bare),
            millions(read),
            bare / read,
            millions(checked),
            bare / checked
        );
    }
}

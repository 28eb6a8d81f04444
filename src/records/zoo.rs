//! The CSV zoo: whole files in, records, problems and rejected files out.

use std::io::{self, Read};

use crate::codes::ReasonCode;
use crate::model::FileForm;

use super::{
    FileProblem, HeaderMode, Limits, ReadError, ReadSettings, Record, RecordReader, RejectedRow,
    Step, TextEncoding, write_rejects,
};

/// Gives one byte at a time, as the worst of networks would.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some((first, rest)) = self.0.split_first() else { return Ok(0) };
        buffer[0] = *first;
        self.0 = rest;
        Ok(1)
    }
}

/// All that reading a file gives, as lines of text.
fn story(input: impl Read, settings: &ReadSettings) -> Vec<String> {
    let mut lines = Vec::new();
    let mut reader = RecordReader::new(input, settings.clone());
    let refused = |problems: Vec<FileProblem>| {
        problems.into_iter().map(|p| {
            let line = p.line.map_or(String::new(), |line| format!(" line {line}"));
            format!("{}{line}", p.code)
        })
    };
    match reader.open() {
        Ok(opened) => {
            let names: Vec<&str> =
                (0..opened.layout.width()).map(|at| opened.layout.name_at(at)).collect();
            lines.push(format!("header {}", names.join("|")));
            for warning in &opened.warnings {
                lines.push(format!("{} {}", warning.code, warning.column_name));
            }
        }
        Err(ReadError::Refused(problems)) => {
            lines.extend(refused(problems));
            return lines;
        }
        Err(error) => panic!("{error}"),
    }
    let mut record = Record::new();
    loop {
        match reader.next(&mut record) {
            Ok(Some(Step::Row)) => {
                let cells: Vec<&str> = record.iter().collect();
                lines.push(format!("{}:{} {}", record.line(), record.row(), cells.join("|")));
            }
            Ok(Some(Step::Bad(error))) => {
                lines.push(format!("{}:{} {}", error.line, error.row, error.code));
            }
            Ok(None) => break,
            Err(ReadError::Refused(problems)) => {
                lines.extend(refused(problems));
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    let facts = reader.finish().unwrap();
    lines.extend(facts.warning.map(|warning| warning.code.to_string()));
    lines
}

fn settings() -> ReadSettings {
    ReadSettings::default()
}

fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/csv/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

const HEADER: &str = "header email|text";

/// Name, settings, expected story.
fn zoo() -> Vec<(&'static str, ReadSettings, Vec<&'static str>)> {
    let latin = ReadSettings { encoding: TextEncoding::from_label("windows-1252"), ..settings() };
    let columns = HeaderMode::Columns(vec!["email".into(), "text".into()]);
    let headless = ReadSettings { header: columns, ..settings() };
    let one = "2:1 a@x.example|Grüße";
    vec![
        ("plain.csv", settings(), vec![HEADER, one, "3:2 b@x.example|two"]),
        ("bom.csv", settings(), vec![HEADER, one]),
        ("crlf.csv", settings(), vec![HEADER, one, "3:2 b@x.example|two"]),
        ("cr.csv", settings(), vec![HEADER, one, "4:2 b@x.example|two"]),
        ("utf16le.csv", settings(), vec![HEADER, one]),
        ("utf16be.csv", settings(), vec![HEADER, one]),
        ("utf16-no-bom.csv", settings(), vec!["file.not_text line 1"]),
        ("windows-1252.csv", latin.clone(), vec![HEADER, one]),
        ("windows-1252.csv", settings(), vec![HEADER, "file.encoding_invalid line 2"]),
        ("encoding-directive.csv", settings(), vec![HEADER, "3:1 a@x.example|Grüße"]),
        (
            "plain.csv",
            latin,
            vec![HEADER, "2:1 a@x.example|GrÃ¼ÃŸe", "3:2 b@x.example|two", "file.encoding_suspect"],
        ),
        (
            "quoted.csv",
            settings(),
            vec![HEADER, "2:1 a@x.example|two\nlines, \"quoted\"", "5:2 b@x.example|"],
        ),
        (
            "ragged.csv",
            settings(),
            vec![HEADER, "2:1 row.field_count", "3:2 row.field_count", "4:3 b@x.example|fine"],
        ),
        ("empty.csv", settings(), vec!["file.empty"]),
        ("blank.csv", settings(), vec!["file.empty"]),
        ("header-only.csv", settings(), vec![HEADER]),
        ("no-header.csv", settings(), vec!["header.looks_like_data line 1"]),
        ("no-header.csv", headless, vec![HEADER, "1:1 a@x.example|Hello"]),
        (
            "unterminated.csv",
            settings(),
            vec![HEADER, "2:1 a@x.example|one", "file.quote_unterminated line 3"],
        ),
        ("nul.csv", settings(), vec![HEADER, "file.not_text line 2"]),
        ("sep.csv", settings(), vec![HEADER, "3:1 a@x.example|one, two"]),
        (
            "trailing.csv",
            settings(),
            vec![HEADER, "2:1 a@x.example|one", "3:2 b@x.example|two", "4:3 row.field_count"],
        ),
        ("dos-end.csv", settings(), vec![HEADER, "2:1 a@x.example|one"]),
        ("cut.csv", settings(), vec![HEADER, "2:1 a@x.example|one", "3:2 row.cut"]),
        (
            "cut.csv",
            ReadSettings { strong_proof: true, ..settings() },
            vec![HEADER, "2:1 a@x.example|one", "3:2 b@x.example|tw"],
        ),
        ("control.csv", settings(), vec![HEADER, "2:1 row.control_character"]),
        ("trailer.csv", settings(), vec![HEADER, "2:1 a@x.example|one"]),
        (
            "trailer-wrong.csv",
            settings(),
            vec![HEADER, "2:1 a@x.example|one", "file.rows_mismatch line 3"],
        ),
        ("rows.csv", settings(), vec![HEADER, "3:1 a@x.example|one", "file.rows_mismatch"]),
        (
            "skip.csv",
            ReadSettings { skip_lines: 2, ..settings() },
            vec![HEADER, "4:1 a@x.example|one"],
        ),
        ("unknown.csv", settings(), vec!["header.column_missing line 1"; 2]),
    ]
}

#[test]
fn every_animal_of_the_zoo_is_read_or_refused_as_written() {
    for (name, settings, expected) in zoo() {
        let bytes = fixture(name);
        assert_eq!(story(&bytes[..], &settings), expected, "{name}");
        assert_eq!(story(Drip(&bytes), &settings), expected, "{name}, byte by byte");
    }
}

#[test]
fn a_second_byte_order_mark_is_no_part_of_the_first_name() {
    let expected = [HEADER, "2:1 a@x.example|one"];
    let utf8 = "\u{feff}\u{feff}\u{feff}email,text\na@x.example,one\n";
    assert_eq!(story(utf8.as_bytes(), &settings()), expected);
    assert_eq!(story(Drip(utf8.as_bytes()), &settings()), expected);
    let utf16 = fixture_utf16("\u{feff}email,text\na@x.example,one\n");
    assert_eq!(story(&utf16[..], &settings()), expected);
    // A file joined to lines that were written by another program.
    let joined = "#ref=a\n\u{feff}email,text\na@x.example,one\n";
    assert_eq!(story(joined.as_bytes(), &settings())[1..], ["3:1 a@x.example|one"]);
}

#[test]
fn without_a_header_most_of_the_records_tell_the_delimiter_or_none_does() {
    let columns = |names: &[&str]| ReadSettings {
        header: HeaderMode::Columns(names.iter().map(|name| (*name).to_owned()).collect()),
        ..settings()
    };
    let two = columns(&["email", "text"]);
    for (file, first) in [
        // The trailing delimiter of each line is no field more.
        ("a@x.example;one;\nb@x.example;two;\n", "1:1 a@x.example|one"),
        // The comma of one text does not outweigh the semicolons of all rows.
        ("a@x.example;Hello, you\nb@x.example;two\n", "1:1 a@x.example|Hello, you"),
        // One odd first row is one bad row.
        ("a@x.example\nb@x.example;two\nc@x.example;three\n", "1:1 row.field_count"),
        ("\na@x.example|\"one\ntwo\"\n", "2:1 a@x.example|one\ntwo"),
        ("a@x.example;Hello, you\n", "header.delimiter_unknown line 1"),
        ("a@x.example\n", "header.delimiter_unknown line 1"),
    ] {
        let found = story(file.as_bytes(), &two);
        let at = usize::from(found.len() > 1);
        assert_eq!(found[at], first, "{file:?}: {found:?}");
    }
    let mut one = columns(&["phone"]);
    one.values = vec![("text".to_owned(), "Hello".to_owned())];
    for file in ["01701234567\n01701234568\n", "01701234567;\n01701234568;\n"] {
        assert_eq!(story(file.as_bytes(), &one)[1], "1:1 01701234567", "{file:?}");
    }
}

#[test]
fn a_plain_delimiter_is_not_blamed_for_names_that_are_not_known() {
    for (header, hint) in [
        ("Handy;Nachricht", "add one of the columns email"),
        ("Emial;Txet", "did you mean `email`?"),
    ] {
        let text = format!("{header}\na;b\n");
        let mut reader = RecordReader::new(text.as_bytes(), settings());
        let Err(ReadError::Refused(problems)) = reader.open() else { panic!("{header}: taken") };
        assert_eq!(problems[0].code, ReasonCode::HeaderColumnMissing, "{header}");
        assert!(problems[0].hint.contains(hint), "{header}: {}", problems[0].hint);
    }
}

#[test]
fn a_nul_in_an_object_is_named_and_never_answered() {
    let text = br#"{"email":"a@x.example","text":"a\u0000b","x_a":"c\u0000"}"#;
    let mut file = text.to_vec();
    file.push(b'\n');
    let settings = settings().for_form(FileForm::Objects, &file[..]).unwrap();
    let mut reader = RecordReader::new(&file[..], settings);
    let layout = reader.open().unwrap().layout;
    let mut record = Record::new();
    let Ok(Some(Step::Bad(error))) = reader.next(&mut record) else { panic!("taken") };
    assert_eq!(error.code, ReasonCode::RowControlCharacter);
    assert!(error.message.ends_with("U+0000"), "{}", error.message);
    assert_eq!(error.value, "a\u{FFFD}b");
    assert_eq!(layout.x_values(&record).collect::<Vec<_>>(), ["c\u{FFFD}"]);
}

/// Reads the file, rejects every row, reads the rejected file: the rows are still there.
fn rejected(bytes: &[u8], settings: &ReadSettings) -> Vec<u8> {
    let mut reader = RecordReader::new(bytes, settings.clone());
    let opened = reader.open();
    assert!(opened.is_ok(), "{opened:?}");
    let mut record = Record::new();
    let mut rows = Vec::new();
    while let Ok(Some(step)) = reader.next(&mut record) {
        let row = record.row();
        let (code, column_name, hint) = match step {
            Step::Row => {
                (ReasonCode::FileTooManyBadRows, "text".into(), "fill, \"it\" ☃".to_owned())
            }
            Step::Bad(error) => (error.code, error.column_name, error.hint),
        };
        rows.push(RejectedRow { row, code, column_name, hint });
    }
    let mut out = Vec::new();
    write_rejects(bytes, settings, rows, &mut out).unwrap();
    out
}

#[test]
fn rejected_files_read_back_with_the_same_rows() {
    for (name, settings, expected) in zoo() {
        if expected.iter().any(|line| line.starts_with("file.") || line.starts_with("header.")) {
            continue;
        }
        let bytes = fixture(name);
        let rows = |lines: &[String]| -> Vec<String> {
            lines[1..].iter().filter_map(|l| l.split_once(' ')).map(|(_, r)| r.to_owned()).collect()
        };
        let first = rejected(&bytes, &settings);
        let again = story(&first[..], &settings);
        assert!(again[0].starts_with("header _line|_row|_code|_column|_hint|email|text"), "{name}");
        let cells: Vec<String> =
            rows(&again).iter().map(|row| row.splitn(6, '|').last().unwrap().to_owned()).collect();
        let mut original = rows(&story(&bytes[..], &settings));
        // The cut row has a line end now; it is for the partner to see whether it is whole.
        for row in &mut original {
            if row == "row.cut" {
                *row = "b@x.example|tw".to_owned();
            }
        }
        assert_eq!(cells, original, "{name}");
        // Rejecting the rejected file replaces the columns instead of doubling them.
        let second = rejected(&first, &settings);
        assert_eq!(story(&second[..], &settings)[0], again[0], "{name}");
    }
}

#[test]
fn a_column_of_the_partner_that_is_named_like_ours_comes_back_again_and_again() {
    let bytes = b"_line,email,text\n7,a@x.example,Hello\n";
    let first = rejected(bytes, &settings());
    let second = rejected(&first, &settings());
    for out in [first, second] {
        assert!(story(&out[..], &settings())[1].ends_with("|7|a@x.example|Hello"));
    }
}

#[test]
fn rejected_rows_keep_their_bytes() {
    let latin = ReadSettings {
        encoding: TextEncoding::from_label("windows-1252"),
        quote: None,
        delimiter: Some(b';'),
        ..settings()
    };
    let bytes = b"#rows=2\r\n#x_run=\xFC\r\nemail;text\r\n\"a@x.example;Gr\xFC\xDFe\r\nb;c\r\n";
    let reject = RejectedRow {
        row: 1,
        code: ReasonCode::RowEmailInvalid,
        column_name: "email".into(),
        hint: "one; two\nthree ☃ ü".into(),
    };
    let mut out = Vec::new();
    write_rejects(&bytes[..], &latin, [reject], &mut out).unwrap();
    let expected: &[u8] = b"#x_run=\xFC\r\n_line;_row;_code;_column;_hint;email;text\r\n\
        4;1;row.email_invalid;email;one  two three ? \xFC;\"a@x.example;Gr\xFC\xDFe\r\n";
    assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(expected));
    assert_eq!(out, expected);
}

#[test]
fn a_field_of_ten_megabytes_is_one_bad_row_and_comes_back() {
    let mut bytes = b"email,text\na@x.example,".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', 10 << 20));
    bytes.extend_from_slice(b"\nb@x.example,fine\n");
    let expected = [HEADER, "2:1 row.record_too_long", "3:2 b@x.example|fine"];
    assert_eq!(story(&bytes[..], &settings()), expected);
    let out = rejected(&bytes, &settings());
    assert!(out.len() > 10 << 20);
    let again = story(&out[..], &settings());
    assert_eq!(again[1..].len(), 2);
    assert_eq!(again[1], "2:1 row.record_too_long");
}

#[test]
fn a_quote_open_at_the_record_limit_refuses_the_file() {
    let mut bytes = b"email,text\na@x.example,\"".to_vec();
    bytes.extend(std::iter::repeat_n(b'\n', 2 << 20));
    assert_eq!(story(&bytes[..], &settings()), [HEADER, "file.quote_unterminated line 2"]);
}

#[test]
fn limits_on_file_and_rows_hold() {
    let mut few = settings();
    few.limits.rows_max = 1;
    let story_of = |settings| story(&fixture("plain.csv")[..], settings);
    assert_eq!(story_of(&few)[2], "file.too_many_rows line 3");
    let mut small = settings();
    small.limits.file_max_bytes = 10;
    assert_eq!(story_of(&small), ["file.too_large"]);
}

#[test]
fn the_digest_of_the_records_does_not_depend_on_their_clothes() {
    let digest = |text: &[u8]| {
        let mut reader = RecordReader::new(text, settings());
        reader.open().unwrap();
        let mut record = Record::new();
        while reader.next(&mut record).unwrap().is_some() {}
        reader.finish().unwrap().records_sha256
    };
    let plain = digest(b"email,text\na@x.example,one\n");
    assert_eq!(plain, digest(b"#rows=1\nE-Mail;Text;\r\na@x.example;\"one\";\r\n"));
    assert_eq!(plain, digest(&fixture_utf16("email,text\na@x.example,one\n")));
    assert_ne!(plain, digest(b"email,text\na@x.exampleo,ne\n"));
    assert_ne!(plain, digest(b"#campaign=a\nemail,text\na@x.example,one\n"));
}

fn fixture_utf16(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xFE];
    bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    bytes
}

#[test]
fn the_offset_of_a_bad_byte_is_told() {
    let mut reader = RecordReader::new(&b"email,text\na@x.example,\xFF\n"[..], settings());
    reader.open().unwrap();
    let Err(ReadError::Refused(problems)) = reader.next(&mut Record::new()) else {
        panic!("not refused")
    };
    assert!(problems[0].message.contains("byte 23 "), "{}", problems[0].message);
    let facts = reader.finish().unwrap();
    assert_eq!(facts.bytes, 25);
}

/// Rows of all shapes, standing where a chunk of the input ends.
#[test]
fn rows_do_not_depend_on_where_a_chunk_ends() {
    let tail =
        "t@x.example,\"two\r\nlines \"\"é☃\"\"\"\r\nu@x.example,Grüße\r\n\r\nv@x.example,\x1A\r\n";
    let expected = [
        "t@x.example|two\r\nlines \"é☃\"".to_owned(),
        "u@x.example|Grüße".to_owned(),
        "row.control_character".to_owned(),
    ];
    // 128 KiB are read at once: as many characters of UTF-8, or half of UTF-16 behind its mark.
    for shift in 0..tail.len() + 8 {
        let utf8 = format!("{}{tail}", rows_of((128 << 10) - shift));
        let mut utf16 = fixture_utf16(&format!("{}{tail}", rows_of((64 << 10) - 1 - shift)));
        for bytes in [utf8.as_bytes(), &utf16] {
            let found = story(bytes, &settings());
            let last: Vec<&str> = found[found.len() - 3..]
                .iter()
                .filter_map(|line| line.split_once(' ').map(|(_, row)| row))
                .collect();
            assert_eq!(last, expected, "{shift}");
        }
        utf16.push(0);
        let found = story(&utf16[..], &settings());
        assert!(found.last().unwrap().starts_with("file.encoding_invalid"), "{found:?}");
    }
}

#[test]
fn bytes_that_do_not_fit_are_named_by_the_line_they_stand_in() {
    for (bytes, line) in [
        (&b"em\xffail,text\na@x.example,x\n"[..], 1),
        (b"#tz=UTC\nem\xffail,text\n", 2),
        (b"email,text\na@x.example,\xff\n", 2),
        (b"email,text\ra@x.example,x\r\xff", 3),
    ] {
        let found = story(bytes, &settings());
        let last = found.last().unwrap();
        assert_eq!(*last, format!("file.encoding_invalid line {line}"), "{found:?}");
    }
}

/// A header and rows of exactly this many characters.
fn rows_of(length: usize) -> String {
    let mut text = String::from("email,text\n");
    while text.len() < length - 100 {
        text.push_str("f@x.example,0123456789\n");
    }
    let rest = length - text.len() - "g@x.example,\n".len();
    text.push_str(&format!("g@x.example,{}\n", "x".repeat(rest)));
    text
}

#[test]
fn rejected_rows_of_other_encodings_are_readable_again() {
    let shift_jis = ReadSettings { encoding: TextEncoding::from_label("shift_jis"), ..settings() };
    let (bytes, _, _) = encoding_rs::SHIFT_JIS.encode("email,text\na@x.example,\"表,能\"\n");
    let out = rejected(&bytes, &shift_jis);
    assert!(out.ends_with(&bytes[bytes.len() - 8..]));
    assert!(story(&out[..], &shift_jis)[1].ends_with("a@x.example|表,能"));

    // Declared UTF-16 without a mark leaves as UTF-8 with one, or it could not be read again.
    let utf16 = ReadSettings { encoding: TextEncoding::from_label("utf-16le"), ..settings() };
    let bytes = &fixture_utf16("email;text;\na@x.example;\"1,5; x\";\n")[2..];
    let out = rejected(bytes, &utf16);
    assert!(out.starts_with(b"\xEF\xBB\xBF_line,_row,_code"));
    assert!(story(&out[..], &utf16)[1].ends_with("a@x.example|1,5; x"));

    // No header in the file: the rejected one has the profile's names, and is read by them.
    let columns = HeaderMode::Columns(vec!["Mail".into(), "text".into()]);
    let headless = ReadSettings { header: columns, skip_lines: 1, ..settings() };
    let out = rejected(b"#x_a=1\nexport\na@x.example;one\nb@x.example;two;\n", &headless);
    let text = String::from_utf8(out.clone()).unwrap();
    assert!(text.starts_with("#x_a=1\n_line;_row;_code;_column;_hint;Mail;text\n3;1;"), "{text}");
    assert!(story(&out[..], &headless)[1].ends_with("a@x.example|one"));
    assert!(story(&out[..], &headless)[2].ends_with("b@x.example|two"));
}

/// What lets `write_rejects` decode and encode a single-byte file without changing it.
#[test]
fn every_byte_of_a_single_byte_encoding_survives_the_way_through_unicode() {
    for label in [
        "windows-1250",
        "windows-1251",
        "windows-1252",
        "windows-1253",
        "windows-1254",
        "windows-1257",
        "iso-8859-2",
        "iso-8859-5",
        "iso-8859-15",
        "koi8-r",
        "ibm866",
        "macintosh",
    ] {
        let encoding = encoding_rs::Encoding::for_label(label.as_bytes()).unwrap();
        for byte in 0..=255_u8 {
            let bytes = [byte];
            if let Some(text) = encoding.decode_without_bom_handling_and_without_replacement(&bytes)
            {
                assert_eq!(encoding.encode(&text).0[..], bytes, "{label} {byte:#x}");
            }
        }
    }
}

#[test]
fn a_line_above_the_header_may_be_longer_than_a_record() {
    let limits = Limits { record_max_bytes: 1000, ..Limits::default() };
    let settings = ReadSettings { skip_lines: 1, limits, ..settings() };
    for length in [998, 999, 1000, 1001, 2000, 300_000] {
        for end in ["\n", "\r\n", "\r"] {
            let title = "x".repeat(length);
            let text = format!("{title}{end}email,text{end}a@x.example,one{end}");
            let expected = [HEADER, "3:1 a@x.example|one"];
            assert_eq!(story(text.as_bytes(), &settings), expected, "{length} {end:?}");
        }
    }
}

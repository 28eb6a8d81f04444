//! Correct and drop again: the rejected file of every dialect keeps its bytes and is taken back.

use std::collections::BTreeMap;

use crate::stage::{End, Stage, files_below};

/// A profile, a file of two rows with one that is refused, its bad cell and the cell put right.
struct Case {
    profile: &'static str,
    name: &'static str,
    file: Vec<u8>,
    bad_record: Vec<u8>,
    bad: Vec<u8>,
    good: Vec<u8>,
}

fn case(profile: &'static str, head: &str, rows: [&str; 2], encode: fn(&str) -> Vec<u8>) -> Case {
    Case {
        profile,
        name: if profile.is_empty() { "messages_1.csv" } else { "own_1.csv" },
        file: encode(&format!("{head}{}\n{}\n", rows[0], rows[1])),
        bad_record: encode(rows[1]),
        bad: encode("0151-none"),
        good: encode("+4915112345679"),
    }
}

fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn windows_1252(text: &str) -> Vec<u8> {
    encoding_rs::WINDOWS_1252.encode(text).0.into_owned()
}

fn cases() -> Vec<Case> {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut wide = case(
        "",
        "\u{feff}phone;text;x_k\n",
        ["+4915112345678;Grüße;1", "0151-none;\"Grüße; bis, bald\";2"],
        utf16,
    );
    // UTF-16 comes back as UTF-8 with commas.
    wide.bad_record = utf8("0151-none,\"Grüße; bis, bald\",2\n");
    (wide.bad, wide.good) = (utf8("0151-none"), utf8("+4915112345679"));
    // Objects come back with quotes, whatever quote the profile has: without one, or with another, their
    // cells could not be written down.
    let objects = |profile| Case {
        name: "own_1.jsonl",
        bad_record: utf8("0151-none,\"two\nlines, \"\"so\"\" 'it' is\"\n"),
        ..case(
            profile,
            "",
            [
                r#"{"phone":"+4915112345678","text":"Hello"}"#,
                r#"{"phone":"0151-none","text":"two\nlines, \"so\" 'it' is"}"#,
            ],
            utf8,
        )
    };
    vec![
        objects("quote = \"none\""),
        objects("quote = \"'\"\ndelimiter = \";\""),
        case(
            "",
            "#x_order=7\n#rows=2\nphone,text\n",
            ["+4915112345678,Hello", "0151-none,\"two\nlines, and \"\"quotes\"\"\""],
            utf8,
        ),
        case(
            "quote = \"none\"\ndelimiter = \"|\"",
            "phone|text\n",
            ["+4915112345678|5\" pipe", "0151-none|\"not a quote"],
            utf8,
        ),
        case(
            "header = \"none\"\ndelimiter = \";\"\ncolumns = [\"phone\", \"text\", \"x_k\"]",
            "",
            ["+4915112345678;Hello;1", "0151-none;Hello;2"],
            utf8,
        ),
        case(
            "skip_lines = 2\ndelimiter = \"\\t\"",
            "Report\n22.11.2026\nphone\ttext\n",
            ["+4915112345678\tHello", "0151-none\tHello, you"],
            utf8,
        ),
        case(
            "header = \"none\"\nskip_lines = 1\nquote = \"none\"\ndelimiter = \";\"\n\
             encoding = \"windows-1252\"\ncolumns = [\"phone\", \"text\"]",
            "Kopfzeile\n",
            ["+4915112345678;Grüße", "0151-none;Übermorgen \"früh"],
            windows_1252,
        ),
        case(
            "encoding = \"windows-1252\"\ncolumns = { Handy = \"phone\", Nachricht = \"text\" }",
            "Handy;Nachricht\r\n",
            ["+4915112345678;Grüße", "0151-none;\"Grüße; bis bald\""],
            windows_1252,
        ),
        wide,
    ]
}

fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at =
        bytes.windows(from.len()).position(|window| window == from).expect("the cell is there");
    [&bytes[..at], to, &bytes[at + from.len()..]].concat()
}

#[test]
fn rejected_rows_keep_their_bytes_and_are_taken_back_corrected() {
    for case in cases() {
        let profile = match case.profile {
            "" => String::new(),
            keys => format!(
                "[tenant.acme.profile.own]\nmatch = \"own_*\"\nkind = \"messages\"\n{keys}\n"
            ),
        };
        let name = case.name;
        let stage = Stage::new(&profile);
        stage.live("2026-11-23T09:00:00Z".parse().unwrap(), async |life| {
            let patience = std::time::Duration::from_secs(3600);
            life.drop_files(&BTreeMap::from([(name.to_owned(), case.file.clone())]), true);
            assert_eq!(life.rest(patience).await, End::Rest);
            let outbox = files_below(&stage.tenant("outbox"));
            let ack = |name: &str| String::from_utf8_lossy(&outbox[name]).into_owned();
            let about = format!("{:?}: {}", case.profile, ack(&format!("{name}.ack.csv")));
            assert!(about.contains(",ACCEPTED_WITH_ERRORS,"), "{about}");
            let rejected = outbox[&format!("{name}.rejected.csv")].clone();
            let kept = rejected.windows(case.bad_record.len()).any(|w| w == case.bad_record);
            assert!(kept, "{:?}: {}", case.profile, rejected.escape_ascii());

            let corrected = replaced(&rejected, &case.bad, &case.good);
            let again = format!("{name}.rejected.csv");
            life.drop_files(&BTreeMap::from([(again.clone(), corrected)]), true);
            assert_eq!(life.rest(patience).await, End::Rest);
            let outbox = files_below(&stage.tenant("outbox"));
            let ack = String::from_utf8_lossy(&outbox[&format!("{again}.ack.csv")]).into_owned();
            assert!(ack.contains(",ACCEPTED,"), "{:?}: {ack}", case.profile);
            assert_eq!(stage.log.sent().len(), 2, "{:?}: each row went out once", case.profile);
            life.stop().await;
        });
    }
}

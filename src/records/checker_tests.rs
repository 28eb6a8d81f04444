//! Tables for the check of a row: header and cells in, message or codes out.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::codes::ReasonCode;
use crate::model::{Category, ChannelKind, MaxAge};

use super::{
    MessageChecker, MessageRow, ReadSettings, Record, RecordReader, RowError, TemplateNeeds,
    TenantContext,
};

const NOW: &str = "2026-11-22T10:00:00Z";

fn tenant() -> TenantContext {
    let template = |name: &str, channel, variables: &[&str], category| TemplateNeeds {
        name: name.into(),
        channel,
        lang: "en".into(),
        variables: variables.iter().map(|v| (*v).to_owned()).collect(),
        category,
    };
    TenantContext {
        default_country: Some("de".into()),
        timezone: TimeZone::get("Europe/Berlin").unwrap(),
        channels: vec![ChannelKind::Email, ChannelKind::Sms, ChannelKind::Telegram],
        default_category: Some(Category::Service),
        templates: vec![
            template("invoice", ChannelKind::Email, &["name"], Some(Category::Transactional)),
            template("ad", ChannelKind::Sms, &[], Some(Category::Marketing)),
        ],
        max_age: MaxAge::default(),
        now: NOW.parse().unwrap(),
    }
}

/// Checks the first data row of a file with `|` between cells.
fn check_with(
    file: &str,
    settings: ReadSettings,
    tenant: TenantContext,
) -> (MessageRow, Vec<RowError>) {
    let settings = ReadSettings { delimiter: Some(b'|'), ..settings };
    let mut reader = RecordReader::new(file.as_bytes(), settings.clone());
    let opened = reader.open().unwrap();
    let checker = MessageChecker::new(opened.layout, &opened.directives, &settings, tenant);
    let (mut record, mut message) = (Record::new(), MessageRow::default());
    let mut errors = Vec::new();
    reader.next(&mut record).unwrap().unwrap();
    let good = checker.check(&record, &mut message, &mut errors);
    assert_eq!(good, errors.is_empty());
    (message, errors)
}

fn check(file: &str) -> (MessageRow, Vec<RowError>) {
    check_with(file, ReadSettings::default(), tenant())
}

fn codes(file: &str) -> Vec<(&'static str, String)> {
    check(file).1.iter().map(|e| (e.code.as_str(), e.column_name.clone())).collect()
}

#[test]
fn a_good_row_becomes_a_message() {
    let (message, errors) = check(
        "#campaign=autumn\nE-Mail|row_id|Template|var_name|send_at|expires_at|tz|window|country|lang\n\
         Jane@Example.COM| r1 |invoice|Jane|2026-12-01 10:00|2026-12-02T00:00:00Z|Europe/London|\
         09:00-20:00|at|en-GB\n",
    );
    assert_eq!(errors, []);
    let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let expected = MessageRow {
        row: 1,
        line: 3,
        row_id: "r1".into(),
        to: "Jane@example.com".into(),
        to_given: "Jane@Example.COM".into(),
        template: "invoice".into(),
        template_at: Some(0),
        lang: "en-GB".into(),
        category: Category::Transactional,
        send_at: time("2026-12-01T10:00:00Z"),
        expires_at: time("2026-12-02T00:00:00Z"),
        tz: "Europe/London".into(),
        window: Some((540, 1200)),
        country: "AT".into(),
        campaign: "autumn".into(),
        ..MessageRow::default()
    };
    assert_eq!(message, expected);
}

#[test]
fn the_channel_is_the_one_choice_the_addresses_leave() {
    for (header, row, expected) in [
        ("email|text", "a@x.example|hi", Ok((ChannelKind::Email, "a@x.example"))),
        ("phone|text", "=\"015112345678\"|hi", Ok((ChannelKind::Sms, "+4915112345678"))),
        ("phone|text", "\"=\"\"015112345678\"\"\"|hi", Ok((ChannelKind::Sms, "+4915112345678"))),
        ("telegram_chat_id|text", "-100123|hi", Ok((ChannelKind::Telegram, "-100123"))),
        ("to|channel|text", "a@x.example|Email|hi", Ok((ChannelKind::Email, "a@x.example"))),
        (
            "email|phone|channel|text",
            "bad|+4915112345678|sms|hi",
            Ok((ChannelKind::Sms, "+4915112345678")),
        ),
        ("email|phone|text", "a@x.example||hi", Ok((ChannelKind::Email, "a@x.example"))),
        ("email|phone|text", "a@x.example|+4915112345678|hi", Err("row.address_conflict")),
        ("email|phone|text", "||hi", Err("row.address_missing")),
        ("email|text", "\\N|hi", Err("row.address_missing")),
        ("email|text", "a@x|hi", Err("row.email_invalid")),
        ("phone|text", "4.915E+11|hi", Err("row.phone_damaged")),
        ("phone|country|text", "015112345678|ZZ|hi", Err("row.country_unknown")),
        ("phone|country|text", "0664 1234567|at|hi", Ok((ChannelKind::Sms, "+436641234567"))),
        ("to|text", "a@x.example|hi", Err("row.value_missing")),
        ("to|channel|text", "a@x.example|sms|hi", Err("row.address_unfit_for_channel")),
        ("to|channel|text", "+4915112345678|email|hi", Err("row.address_unfit_for_channel")),
        ("to|email|channel|text", "b@x.example|a@x.example|email|hi", Err("row.address_conflict")),
        ("email|channel|text", "a@x.example|sms|hi", Err("row.address_unfit_for_channel")),
        ("email|channel|text", "a@x.example|fax|hi", Err("row.value_not_allowed")),
        ("whatsapp|text", "+4915112345678|hi", Err("row.channel_unavailable")),
        ("telegram_chat_id|text", "no id|hi", Err("row.value_not_allowed")),
    ] {
        let (message, errors) = check(&format!("{header}\n{row}\n"));
        let found = match errors.first() {
            None => Ok((message.channel, message.to.as_str())),
            Some(error) => Err(error.code.as_str()),
        };
        assert_eq!(found, expected, "{header} {row}");
        assert!(errors.len() <= 1, "{row}: {errors:?}");
    }
}

#[test]
fn each_bad_cell_is_named() {
    let long = "x".repeat(129);
    for (column, value, code) in [
        ("row_id", long.as_str(), "row.value_too_long"),
        ("row_id", "\"a\nb\"", "row.control_character"),
        ("row_id", "1.23E+12", "row.cell_damaged"),
        ("subject", "\"a\nBcc: b@x.example\"", "row.control_character"),
        ("sender", "a\tb", "row.control_character"),
        ("reply_to", "nobody", "row.email_invalid"),
        ("lang", "english language", "row.lang_unknown"),
        ("category", "ads", "row.value_not_allowed"),
        ("tz", "Mars/Base", "row.zone_unknown"),
        ("window", "9-17", "row.time_invalid"),
        ("send_at", "tomorrow", "row.time_invalid"),
        ("send_at", "2026-11-20T09:00:00Z", "row.too_late"),
        ("expires_at", "2026-11-22T10:00:00Z", "row.too_late"),
        ("country", "Germany", "row.country_unknown"),
        ("priority", "0", "row.number_invalid"),
        ("fallback", "sms>fax", "row.value_not_allowed"),
        ("contact_id", "k1", "row.value_not_allowed"),
        ("consent_at", "2026-01-01", "row.value_not_allowed"),
        ("subject", "#NAME?", "row.cell_damaged"),
        ("city", "#####", "row.cell_damaged"),
    ] {
        let file = format!("email|text|{column}\na@x.example|hi|{value}\n");
        assert_eq!(codes(&file), [(code, column.to_owned())], "{column} {value}");
    }
    let all = codes("email|lang|tz|text\nno|no language|no|\n");
    let all: Vec<&str> = all.iter().map(|(code, _)| *code).collect();
    let expected = ["row.email_invalid", "row.lang_unknown", "row.body_empty", "row.zone_unknown"];
    assert_eq!(all, expected);
}

#[test]
fn blank_cells_and_an_old_but_fresh_enough_time_are_fine() {
    for row in ["a@x.example|hi||", "a@x.example|hi|\\N|2026-11-21T09:00:00Z"] {
        assert_eq!(codes(&format!("email|text|priority|send_at\n{row}\n")), [], "{row}");
    }
}

#[test]
fn templates_must_exist_fit_and_have_their_variables() {
    for (header, row, expected) in [
        ("email|template|name", "a@x.example|invoice|Jane", vec![]),
        ("email|template|var_name", "a@x.example|invoice|Jane", vec![]),
        ("email|template|name", "a@x.example|invoice|", vec!["row.variable_missing"]),
        ("email|template|name", "a@x.example|invoice|\\N", vec!["row.variable_missing"]),
        ("email|template", "a@x.example|invoce", vec!["row.template_unknown"]),
        ("email|template", "a@x.example|ad", vec!["row.template_unknown"]),
        ("email|template", "a@x.example|", vec!["row.body_empty"]),
        ("phone|html", "+4915112345678|<b>hi</b>", vec!["row.body_empty"]),
        ("email|html", "a@x.example|<b>hi</b>", vec![]),
        ("email|template|text|name", "a@x.example|invoice|hi|J", vec!["row.value_not_allowed"]),
    ] {
        let found = codes(&format!("{header}\n{row}\n"));
        let found: Vec<&str> = found.iter().map(|(code, _)| *code).collect();
        assert_eq!(found, expected, "{header} {row}");
    }
    let (_, errors) = check("email|template\na@x.example|invoce\n");
    assert_eq!(errors[0].hint, "did you mean `invoice`?");
}

#[test]
fn the_stricter_category_holds() {
    for (category, row, expected) in [
        ("marketing", "a@x.example||invoice||J", Category::Marketing),
        ("utility", "a@x.example||invoice||J", Category::Transactional),
        ("", "a@x.example||invoice||J", Category::Transactional),
        ("transactional", "|+4915112345678|ad||", Category::Marketing),
        ("", "a@x.example|||hi|", Category::Service),
    ] {
        let (message, errors) =
            check(&format!("email|phone|template|text|name|category\n{row}|{category}\n"));
        assert_eq!((message.category, errors), (expected, vec![]), "{category} {row}");
    }
}

#[test]
fn row_outranks_directive_outranks_default_and_fixed_values_outrank_all() {
    let pairs = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
    };
    let settings = ReadSettings {
        defaults: pairs(&[("campaign", "profile"), ("sender", "profile"), ("lang", "de")]),
        values: pairs(&[("subject", "fixed"), ("var_brand", "Acme")]),
        ..ReadSettings::default()
    };
    let file = "#sender=directive\n#template=invoice\n\
        email|text|campaign|sender|subject|name|x_a\na@x.example|hi|row||row||1\n";
    let (message, errors) = check_with(file, settings, tenant());
    assert_eq!(errors, []);
    let found = [&message.campaign, &message.sender, &message.lang, &message.subject];
    assert_eq!(found, ["row", "directive", "de", "fixed"]);
    assert_eq!((message.template.as_str(), message.text.as_str()), ("", "hi"));
}

#[test]
fn a_template_for_the_whole_file_is_checked_before_the_rows() {
    for (file, expected) in [
        ("#template=invoice\nemail|name\n", vec![]),
        ("#template=invoice\nemail\n", vec![ReasonCode::HeaderVariableWithoutColumn]),
        ("#template=nothing\nemail\n", vec![ReasonCode::HeaderTemplateUnknown]),
        ("email|template\n", vec![]),
        ("email|text\n", vec![]),
    ] {
        let settings = ReadSettings { delimiter: Some(b'|'), ..ReadSettings::default() };
        let mut reader = RecordReader::new(file.as_bytes(), settings.clone());
        let opened = reader.open().unwrap();
        let checker = MessageChecker::new(opened.layout, &opened.directives, &settings, tenant());
        let found: Vec<ReasonCode> = checker.file_problems().iter().map(|p| p.code).collect();
        assert_eq!(found, expected, "{file}");
    }
}

//! The tables of codes, templates and limits.

use std::time::Duration;

use super::pages::Portrait;
use crate::codes::ReasonCode;
use crate::intake::TenantSettings;
use crate::model::Category;
use crate::policy::Window;

/// A table in the dialect of the answers: UTF-8, comma, LF.
pub(super) fn csv<'a>(
    header: &[&str],
    rows: impl IntoIterator<Item = Vec<std::borrow::Cow<'a, str>>>,
) -> Vec<u8> {
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record(header).expect("memory takes every byte");
    for row in rows {
        table.write_record(row.iter().map(|cell| cell.as_bytes())).expect("rows are of one width");
    }
    table.into_inner().expect("memory takes every byte")
}

/// Every code an answer can carry.
pub(super) fn error_codes() -> Vec<u8> {
    let row = |code: &ReasonCode| {
        vec![
            code.as_str().into(),
            code.severity().as_str().into(),
            code.meaning().into(),
            code.advice().into(),
        ]
    };
    csv(&["code", "severity", "meaning", "what_to_do"], ReasonCode::ALL.iter().map(row))
}

/// The tenant's templates and the columns they need.
pub(super) fn templates(tenant: &TenantSettings) -> Vec<u8> {
    let row = |template: &crate::records::TemplateNeeds| {
        vec![
            template.name.clone().into(),
            template.channel.as_str().into(),
            template.lang.clone().into(),
            template.category.map_or("", Category::as_str).into(),
            template.variables.join("|").into(),
        ]
    };
    let header = ["template", "channel", "lang", "category", "variables"];
    csv(&header, tenant.templates.iter().map(row))
}

/// A bound: its name, its value, the code that says it was hit, what it bounds.
type Limit = (&'static str, String, &'static str, &'static str);

/// What is bounded, and which code says that a bound was hit.
pub(super) fn limits(tenant: Portrait<'_>) -> Vec<u8> {
    let limits = sizes(tenant).into_iter().chain(times(tenant)).chain(windows(tenant.intake));
    let row = |(name, value, code, meaning): Limit| {
        vec![name.into(), value.into(), code.into(), meaning.into()]
    };
    csv(&["limit", "value", "code", "meaning"], limits.map(row))
}

fn sizes(tenant: Portrait<'_>) -> Vec<Limit> {
    /// The longest name that a file may have, in bytes, as the doors take it.
    const NAME_MAX_BYTES: u64 = 200;
    let (read, rules) = (&tenant.intake.plain.read.limits, tenant.intake.plain.thresholds);
    let quota = tenant.doors.quota;
    let sized = |size: usize| size.to_string();
    let bound = |most: Option<u64>| most.map_or_else(|| "none".to_owned(), |most| most.to_string());
    vec![
        ("file_bytes", read.file_max_bytes.to_string(), "file.too_large", "a file"),
        (
            "expansion",
            read.expansion_max.to_string(),
            "file.archive_invalid",
            "times its own size to which an archive or a spreadsheet may expand",
        ),
        ("rows", read.rows_max.to_string(), "file.too_many_rows", "data rows of a file"),
        ("columns", sized(read.columns_max), "header.too_many_columns", "columns of a file"),
        ("cell_bytes", sized(read.field_max_bytes), "row.value_too_long", "a cell, as UTF-8"),
        ("record_bytes", sized(read.record_max_bytes), "row.record_too_long", "a row, as UTF-8"),
        ("directives", sized(read.directives_max), "header.directive_invalid", "lines #key=value"),
        ("name_bytes", NAME_MAX_BYTES.to_string(), "file.name_invalid", "the name of a file"),
        (
            "stored_bytes",
            bound(quota.bytes),
            "file.quota_exceeded",
            "all in /inbox, /test/inbox, /media",
        ),
        (
            "stored_files",
            bound(quota.files),
            "file.quota_exceeded",
            "files in /inbox, /test/inbox, /media",
        ),
        (
            "reject_threshold",
            rules.reject_threshold.to_string(),
            "file.too_many_bad_rows",
            "share of bad rows over which a file is refused",
        ),
        (
            "reject_min_rows",
            rules.reject_min_rows.to_string(),
            "file.too_many_bad_rows",
            "rows from which reject_threshold holds",
        ),
    ]
}

fn times(tenant: Portrait<'_>) -> Vec<Limit> {
    let (intake, plain) = (tenant.intake, &tenant.intake.plain);
    let age = &intake.max_age;
    let resume = time(tenant.doors.resume_window);
    vec![
        ("grace", time(plain.grace), "", "a whole file can be seen before it is taken"),
        ("settle", time(plain.settle), "", "an upload that ended may still prove to be cut"),
        ("quiet", time(plain.quiet), "", "a file whose upload was not seen must not change"),
        (
            "pair_timeout",
            time(plain.pair_timeout),
            "file.pair_missing",
            "such a file waits for its other half",
        ),
        ("resume_window", resume, "file.incomplete", "an upload that was cut can be continued"),
        (
            "duplicate_window",
            time(plain.duplicate_window),
            "file.duplicate",
            "records are known again",
        ),
        ("row_id_window", time(intake.row_id_window), "row.id_used", "a row_id is known again"),
        (
            "max_age_authentication",
            time(age.authentication),
            "row.too_late",
            "such a message may be late",
        ),
        ("max_age_email", time(age.email), "row.too_late", "another email may be late"),
        ("max_age_others", time(age.other), "row.too_late", "any other message may be late"),
    ]
}

fn windows(tenant: &TenantSettings) -> Vec<Limit> {
    let limit = |(name, category)| {
        let window = tenant.windows.get(&category);
        let value = window.map_or_else(|| "any time".to_owned(), hours);
        (name, value, "policy.quiet_hours", "when such messages go out, where the recipient is")
    };
    let names = [
        ("window_marketing", Category::Marketing),
        ("window_transactional", Category::Transactional),
        ("window_authentication", Category::Authentication),
        ("window_service", Category::Service),
    ];
    names.into_iter().map(limit).collect()
}

fn hours(window: &Window) -> String {
    let time = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    format!("{}-{}", time(window.from), time(window.until))
}

/// As the configuration writes times.
pub(super) fn time(duration: Duration) -> String {
    const UNITS: [(&str, u128); 4] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let mut rest = duration.as_millis();
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, size) in UNITS.into_iter().chain([("ms", 1)]) {
        if rest >= size {
            text.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_configuration_has_them() {
        for (ms, expected) in [
            (0, "0s"),
            (250, "250ms"),
            (2_000, "2s"),
            (5_400_000, "1h30m"),
            (7 * 86_400_000, "7d"),
            (90_061_001, "1d1h1m1s1ms"),
        ] {
            assert_eq!(time(Duration::from_millis(ms)), expected);
        }
    }

    #[test]
    fn the_table_of_codes_holds_them_all() {
        let table = String::from_utf8(error_codes()).unwrap();
        assert_eq!(table.lines().count(), ReasonCode::ALL.len() + 1);
        assert!(table.contains("file.empty,error,\"the file has no bytes,"));
    }
}

//! `batch`: what the running daemon does and did.

use std::fmt::Write as _;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::args::Global;
use super::outcome::{Failure, print};
use super::status::ask;
use super::table::{columns, pairs, text_of};

pub(super) fn list(
    global: &Global,
    tenant: Option<&str>,
    state: Option<&str>,
    limit: u32,
) -> Result<(), Failure> {
    let mut path = format!("/batches?limit={limit}");
    for (key, value) in [("tenant", tenant), ("state", state)] {
        if let Some(value) = value {
            let value = utf8_percent_encode(value, NON_ALPHANUMERIC);
            write!(path, "&{key}={value}").expect("writing to a string does not fail");
        }
    }
    let answer = ask(global, &path)?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let keys = [
        "batch_id",
        "tenant",
        "file",
        "stage",
        "state",
        "code",
        "rows_total",
        "rows_open",
        "claimed_at",
    ];
    let rows: Vec<Vec<String>> = answer["batches"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|batch| keys.iter().map(|key| text_of(&batch[*key])).collect())
        .collect();
    print(format_args!("{}", columns(&keys, &rows)))
}

pub(super) fn show(global: &Global, batch_id: &str) -> Result<(), Failure> {
    let id = utf8_percent_encode(batch_id, NON_ALPHANUMERIC);
    let answer = ask(global, &format!("/batches/{id}"))?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let rows: Vec<(&str, String)> = answer
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), text_of(value)))
        .collect();
    print(format_args!("{}", pairs(&rows)))
}

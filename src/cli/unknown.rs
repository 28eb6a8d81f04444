//! `unknown`: rows of which nobody knows whether they went out, and saying what became of them.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::args::Global;
use super::batch::user;
use super::outcome::{Failure, print, say};
use super::status::{ask, tell};
use super::table::{columns, text_of};
use crate::admin::SETTLED_AS;

/// Which rows to list.
#[derive(Debug, Clone, Args)]
pub(super) struct Which {
    /// Only this tenant's.
    #[arg(long)]
    tenant: Option<String>,
    /// Only this batch's, by its batch_id.
    #[arg(long, value_name = "BATCH_ID")]
    batch: Option<String>,
    /// Those of which somebody said since what became of them.
    #[arg(long)]
    settled: bool,
    /// At most so many (1 to 1000).
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// What became of one row, or of all.
#[derive(Debug, Clone, Args)]
pub(super) struct Settle {
    /// The batch_id, as the ACK gives it.
    batch_id: String,
    /// The row's number, as the result gives it.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    row: Option<u64>,
    /// All rows of the batch of which nobody said so far.
    #[arg(long)]
    all: bool,
    /// What became of them: sent, delivered or failed.
    #[arg(long = "as", value_name = "STATUS", value_parser = status)]
    settled_as: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

fn status(text: &str) -> Result<String, String> {
    match SETTLED_AS.iter().any(|status| status.as_str() == text) {
        true => Ok(text.to_owned()),
        false => Err("use sent, delivered or failed".to_owned()),
    }
}

pub(super) fn list(global: &Global, which: &Which) -> Result<(), Failure> {
    let limit = which.limit.to_string();
    let given = [
        ("tenant", which.tenant.as_deref()),
        ("batch", which.batch.as_deref()),
        ("settled", which.settled.then_some("yes")),
        ("limit", Some(&limit)),
    ];
    let answer = ask(global, &format!("/unknown?{}", query(&given)))?;
    if let Some(error) = answer["error"].as_str() {
        return Err(anyhow::anyhow!("{error}").into());
    }
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let mut keys = vec![
        "batch_id", "tenant", "file", "row", "row_id", "channel", "to", "provider", "ended_at",
    ];
    if which.settled {
        keys.extend(["settled_as", "settled_at", "by", "reason"]);
    }
    let lines = answer["rows"].as_array().into_iter().flatten();
    let cells = |line: &Value| keys.iter().map(|key| text_of(&line[*key])).collect();
    let rows: Vec<Vec<String>> = lines.map(cells).collect();
    if rows.is_empty() {
        say(format_args!("no row fits"));
    }
    print(format_args!("{}", columns(&keys, &rows)))
}

pub(super) fn settle(global: &Global, settle: &Settle) -> Result<(), Failure> {
    let (row, user) = (settle.row.map(|row| row.to_string()), user());
    let given = [
        ("row", row.as_deref()),
        ("all", settle.all.then_some("yes")),
        ("as", Some(settle.settled_as.as_str())),
        ("reason", settle.reason.as_deref()),
        ("by", Some(&user)),
    ];
    let batch = utf8_percent_encode(&settle.batch_id, NON_ALPHANUMERIC);
    let answer = tell(global, &format!("/unknown/{batch}/settle?{}", query(&given)))?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let (file, status) = (text_of(&answer["file"]), text_of(&answer["as"]));
    match answer["rows"].as_u64() {
        None | Some(0) => print(format_args!("{file}: was so already")),
        Some(1) => print(format_args!("{file}: 1 row settled as {status}")),
        Some(rows) => print(format_args!("{file}: {rows} rows settled as {status}")),
    }
}

fn query(given: &[(&str, Option<&str>)]) -> String {
    let pair = |(key, value): &(&str, Option<&str>)| {
        Some(format!("{key}={}", utf8_percent_encode((*value)?, NON_ALPHANUMERIC)))
    };
    given.iter().filter_map(pair).collect::<Vec<_>>().join("&")
}

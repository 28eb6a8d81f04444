//! `tenant` and `provider`: which there are, stopping one, letting it go on.

use std::fmt::Write as _;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::args::Global;
use super::batch::user;
use super::outcome::{Failure, print};
use super::status::{ask, tell};
use super::table::{columns, text_of};

/// One tenant, and why it is acted on.
#[derive(Debug, Clone, Args)]
pub(super) struct OneTenant {
    /// Its id, as `tenant list` gives it.
    tenant: String,
    /// Why, for the log and the list.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// One provider, and why it is acted on.
#[derive(Debug, Clone, Args)]
pub(super) struct OneProvider {
    /// Its id, as `provider list` gives it.
    provider: String,
    /// Why, for the log and the list.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

pub(super) fn tenants(global: &Global) -> Result<(), Failure> {
    let keys = ["tenant", "state", "channels", "batches_open", "since", "by", "reason"];
    list(global, "tenants", &keys)
}

pub(super) fn providers(global: &Global) -> Result<(), Failure> {
    let keys = ["provider", "kind", "state", "tenants", "since", "by", "reason"];
    list(global, "providers", &keys)
}

fn list(global: &Global, what: &str, keys: &[&str]) -> Result<(), Failure> {
    let answer = ask(global, &format!("/{what}"))?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let cell = |value: &Value| match value {
        Value::Array(words) => words.iter().map(text_of).collect::<Vec<_>>().join(" "),
        other => text_of(other),
    };
    let lines = answer[what].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> =
        lines.map(|line| keys.iter().map(|key| cell(&line[*key])).collect()).collect();
    print(format_args!("{}", columns(keys, &rows)))
}

pub(super) fn tenant(global: &Global, op: &str, one: &OneTenant) -> Result<(), Failure> {
    act(global, ("tenants", "tenant", &one.tenant), op, one.reason.as_deref())
}

pub(super) fn provider(global: &Global, op: &str, one: &OneProvider) -> Result<(), Failure> {
    act(global, ("providers", "provider", &one.provider), op, one.reason.as_deref())
}

fn act(
    global: &Global,
    (all, word, name): (&str, &str, &str),
    op: &str,
    reason: Option<&str>,
) -> Result<(), Failure> {
    let encoded = utf8_percent_encode(name, NON_ALPHANUMERIC);
    let user = user();
    let by = utf8_percent_encode(&user, NON_ALPHANUMERIC);
    let mut path = format!("/{all}/{encoded}/{op}?by={by}");
    if let Some(reason) = reason {
        let reason = utf8_percent_encode(reason, NON_ALPHANUMERIC);
        write!(path, "&reason={reason}").expect("writing to a string does not fail");
    }
    let answer = tell(global, &path)?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let so = if answer["changed"] == true { "done" } else { "was so already" };
    print(format_args!("{op} {word} {}: {so}", text_of(&answer[word])))
}

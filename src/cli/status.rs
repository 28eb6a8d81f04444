//! `status`: what the running daemon says of itself.

use std::path::PathBuf;

use serde_json::Value;

use super::args::Global;
use super::outcome::{Failure, print};
use super::table::{pairs, text_of};
use crate::admin;
use crate::config;

pub(super) fn status(global: &Global) -> Result<(), Failure> {
    let answer = ask(global, "/status")?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let listeners: Vec<String> = answer["listeners"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|l| format!("{} {}", text_of(&l["door"]), text_of(&l["address"])))
        .collect();
    let reasons: Vec<String> =
        answer["not_ready"].as_array().into_iter().flatten().map(text_of).collect();
    let mut rows =
        vec![("ready", if reasons.is_empty() { "yes".to_owned() } else { reasons.join("; ") })];
    let keys = ["version", "pid", "started_at", "uptime_s", "disk_room", "sessions", "uploads"];
    for key in keys.into_iter().chain(["batches_open", "tests_open", "batches_aside"]) {
        rows.push((key, text_of(&answer[key])));
    }
    for key in ["tenants_suspended", "providers_paused"] {
        let names = answer[key].as_array().into_iter().flatten().map(text_of);
        rows.push((key, names.collect::<Vec<_>>().join(", ")));
    }
    let gone = answer["tenants_gone"].as_array().into_iter().flatten().map(gone);
    rows.push(("tenants_gone", gone.collect::<Vec<_>>().join(", ")));
    let closed = answer["providers"].as_array().into_iter().flatten().filter_map(closed);
    rows.push(("providers_closed", closed.collect::<Vec<_>>().join(", ")));
    rows.push(("listening", listeners.join(", ")));
    print(format_args!("{}", pairs(&rows)))
}

/// A tenant that is not configured any more, and what of it is not sent.
fn gone(tenant: &Value) -> String {
    let (name, rows) = (text_of(&tenant["tenant"]), text_of(&tenant["rows_open"]));
    format!("{name} (not configured: {rows} rows in {} files)", text_of(&tenant["batches_open"]))
}

/// A provider that nothing goes to for the moment, and why.
fn closed(provider: &Value) -> Option<String> {
    let seconds = provider["closed_for_s"].as_u64()?;
    let (name, code) = (text_of(&provider["provider"]), text_of(&provider["code"]));
    Some(format!("{name} ({code}, tried again in {seconds} s)"))
}

/// Asks the running daemon over its socket.
pub(super) fn ask(global: &Global, path: &str) -> Result<Value, Failure> {
    Ok(admin::ask(&data_dir(global)?, path).map_err(anyhow::Error::from)?)
}

/// Tells the running daemon to do something.
pub(super) fn tell(global: &Global, path: &str) -> Result<Value, Failure> {
    Ok(admin::tell(&data_dir(global)?, path).map_err(anyhow::Error::from)?)
}

/// Where the daemon of this configuration listens. What the configuration is warned about, `check` and the
/// daemon have said.
fn data_dir(global: &Global) -> Result<PathBuf, Failure> {
    Ok(config::load(&global.config)?.data_dir)
}

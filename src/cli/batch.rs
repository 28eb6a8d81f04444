//! `batch`: what the running daemon does and did, and what it is asked to do.

use std::fmt::Write as _;
use std::time::Duration;

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::args::Global;
use super::outcome::{Failure, print, say};
use super::status::{ask, tell};
use super::table::{columns, pairs, text_of};
use crate::batch::{BatchOp, BatchState};
use crate::model::FileState;

/// How often `watch` looks.
const LOOK: Duration = Duration::from_secs(1);

/// One batch, and why it is acted on.
#[derive(Debug, Clone, Args)]
pub(super) struct Act {
    /// The batch_id, as the ACK gives it.
    batch_id: String,
    /// Why, for the log.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// A word for where batches stand.
pub(super) fn state(text: &str) -> Result<String, String> {
    let stages = BatchState::ALL.iter().map(|state| state.as_str()).chain(["paused"]);
    let verdicts = FileState::ALL.iter().map(|state| state.as_str());
    let words: Vec<&str> = stages.chain(verdicts).collect();
    match words.iter().any(|word| word.eq_ignore_ascii_case(text)) {
        true => Ok(text.to_owned()),
        false => Err(format!("use one of {}", words.join(", "))),
    }
}

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
        "test",
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
    if rows.is_empty() {
        say(format_args!("no batch fits"));
    }
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

/// Asks the running daemon to do something with one batch.
pub(super) fn act(global: &Global, op: BatchOp, act: &Act) -> Result<(), Failure> {
    let id = utf8_percent_encode(&act.batch_id, NON_ALPHANUMERIC);
    let by = user();
    let by = utf8_percent_encode(&by, NON_ALPHANUMERIC);
    let op = op.as_str();
    let mut path = format!("/batches/{id}/{op}?by={by}");
    if let Some(reason) = &act.reason {
        let reason = utf8_percent_encode(reason, NON_ALPHANUMERIC);
        write!(path, "&reason={reason}").expect("writing to a string does not fail");
    }
    let answer = tell(global, &path)?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let (file, batch) = (text_of(&answer["file"]), text_of(&answer["batch_id"]));
    let so = if answer["changed"] == true { "done" } else { "was so already" };
    print(format_args!("{op} {file} (batch {batch}): {so}"))
}

/// Who asks, for the log and what shows who did it: the user behind sudo, else the one who is logged in.
pub(super) fn user() -> String {
    #[allow(clippy::disallowed_methods, reason = "the one place that asks who sits there")]
    let named = |name| std::env::var(name).ok().filter(|user: &String| !user.is_empty());
    ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(named)
        .unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// Prints a line whenever a batch has come on, until nothing of it is left to send.
pub(super) fn watch(global: &Global, batch_id: &str) -> Result<(), Failure> {
    let path = format!("/batches/{}", utf8_percent_encode(batch_id, NON_ALPHANUMERIC));
    let mut last = String::new();
    loop {
        let batch = ask(global, &path)?;
        let line = match global.json {
            true => batch.to_string(),
            false => {
                let keys = ["file", "stage", "state", "rows_total", "rows_open"];
                keys.map(|key| format!("{key} {}", text_of(&batch[key]))).join("  ")
            }
        };
        if line != last {
            print(format_args!("{line}"))?;
            last = line;
        }
        let open = ["claimed", "held", "released", "running", "paused"];
        if !open.iter().any(|stage| batch["stage"] == *stage) {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}

//! `session`: who is at the doors of the running daemon, and asking them to leave.

use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::args::Global;
use super::outcome::{Failure, print};
use super::status::{ask, tell};
use super::table::{columns, text_of};

/// Whose sessions are meant.
#[derive(Debug, Clone, Args)]
pub(super) struct Whose {
    /// Only this account's.
    #[arg(long, value_name = "NAME")]
    pub(super) account: Option<String>,
    /// Only this tenant's.
    #[arg(long)]
    pub(super) tenant: Option<String>,
}

impl Whose {
    fn query(&self, id: Option<&str>) -> String {
        let keys =
            [("id", id), ("account", self.account.as_deref()), ("tenant", self.tenant.as_deref())];
        let given = keys.into_iter().filter_map(|(key, value)| {
            Some(format!("{key}={}", utf8_percent_encode(value?, NON_ALPHANUMERIC)))
        });
        given.collect::<Vec<_>>().join("&")
    }
}

pub(super) fn list(global: &Global, whose: &Whose) -> Result<(), Failure> {
    let answer = ask(global, &format!("/sessions?{}", whose.query(None)))?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let keys = [
        "id",
        "protocol",
        "peer",
        "tenant",
        "account",
        "since",
        "last_activity",
        "bytes_in",
        "bytes_out",
        "doing",
    ];
    let cell = |value: &Value| match value {
        Value::Array(doing) => doing.iter().map(text_of).collect::<Vec<_>>().join(", "),
        other => text_of(other),
    };
    let sessions = answer["sessions"].as_array().into_iter().flatten();
    let rows: Vec<Vec<String>> =
        sessions.map(|session| keys.iter().map(|key| cell(&session[*key])).collect()).collect();
    print(format_args!("{}", columns(&keys, &rows)))
}

pub(super) fn kill(global: &Global, id: Option<&str>, whose: &Whose) -> Result<(), Failure> {
    let path = format!("/sessions/kill?{}", whose.query(id));
    let answer = tell(global, &path)?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    match answer["killed"].as_u64() {
        None | Some(0) => Err(anyhow::anyhow!("no such session is open").into()),
        Some(1) => print(format_args!("ended 1 session")),
        Some(killed) => print(format_args!("ended {killed} sessions")),
    }
}

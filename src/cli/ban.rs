//! `ban`: which sources the running daemon keeps out, and letting them in again.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::args::Global;
use super::outcome::{Failure, print};
use super::status::{ask, tell};
use super::table::{columns, text_of};

pub(super) fn list(global: &Global) -> Result<(), Failure> {
    let answer = ask(global, "/bans")?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    let keys = ["address", "state", "score", "until", "reason", "bans"];
    let rows: Vec<Vec<String>> = answer["bans"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|ban| keys.iter().map(|key| text_of(&ban[*key])).collect())
        .collect();
    print(format_args!("{}", columns(&keys, &rows)))
}

pub(super) fn remove(global: &Global, address: &str) -> Result<(), Failure> {
    let path = format!("/bans/{}/remove", utf8_percent_encode(address, NON_ALPHANUMERIC));
    let answer = tell(global, &path)?;
    if global.json {
        return print(format_args!("{answer:#}"));
    }
    match answer["removed"].as_u64() {
        None | Some(0) if address == "all" => print(format_args!("nobody was banned")),
        None | Some(0) => Err(anyhow::anyhow!("{address} is not banned and has no score").into()),
        Some(1) => print(format_args!("removed 1 source")),
        Some(removed) => print(format_args!("removed {removed} sources")),
    }
}

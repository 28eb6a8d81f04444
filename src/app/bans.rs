//! The guard's bans, for the command line.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::transfer::{Guard, Watched};

/// Most sources that a listing shows.
const SHOWN_MAX: usize = 1000;

pub(super) fn list(guard: &Guard) -> Value {
    let watched = guard.watched();
    let lines: Vec<Value> = watched.iter().take(SHOWN_MAX).map(line).collect();
    json!({ "bans": lines, "banned": guard.bans(), "sources": watched.len() })
}

pub(super) fn remove(guard: &Guard, address: Option<IpAddr>) -> Value {
    let removed = guard.pardon(address);
    tracing::info!(address = address.map(tracing::field::display), removed, "bans removed");
    json!({ "removed": removed })
}

fn line(watched: &Watched) -> Value {
    json!({
        "address": watched.source,
        "state": if watched.banned_until.is_some() { "banned" } else { "scored" },
        "score": watched.score,
        "until": watched.banned_until.map(|until| until.to_string()),
        "reason": watched.reason,
        "bans": watched.bans,
    })
}

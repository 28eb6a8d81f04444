//! The open sessions, for the command line.

use serde_json::{Value, json};

use crate::admin::SessionQuery;
use crate::model::TenantId;
use crate::transfer::{DoorControl, SessionFilter, SessionLine};

pub(super) fn list(doors: &DoorControl, query: SessionQuery) -> Value {
    let lines: Vec<Value> = doors.sessions(&filter(query)).iter().map(line).collect();
    json!({ "sessions": lines })
}

pub(super) fn kill(doors: &DoorControl, query: SessionQuery) -> Value {
    json!({ "killed": doors.kill(&filter(query)) })
}

fn filter(query: SessionQuery) -> SessionFilter {
    let SessionQuery { id, account, tenant } = query;
    SessionFilter { id, account, tenant }
}

fn line(line: &SessionLine) -> Value {
    json!({
        "id": line.id,
        "protocol": line.protocol,
        "peer": line.peer.to_string(),
        "account": line.account,
        "tenant": line.tenant.as_ref().map(TenantId::as_str),
        "since": line.since.to_string(),
        "last_activity": line.last_activity.to_string(),
        "bytes_in": line.bytes_in,
        "bytes_out": line.bytes_out,
        "doing": line.doing,
    })
}

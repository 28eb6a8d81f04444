//! What may be asked, and the answers.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::halting::{self, HaltCommand};
use super::unknown::{self, SettleCommand, UnknownQuery};
use crate::batch::BatchOp;
use crate::worker::blocking;

const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

pub(super) const LIMIT_DEFAULT: usize = 50;
pub(super) const LIMIT_MAX: usize = 1000;
const REASON_MAX_CHARS: usize = 200;
/// What is said of a batch_id that nothing has.
pub(super) const NO_BATCH: &str =
    "there is no batch of this batch_id; the ACK and `batch list` give it";
const USER_MAX_CHARS: usize = 64;

type View<T> = Arc<dyn Fn() -> T + Send + Sync>;
type BatchesView = Arc<dyn Fn(BatchQuery) -> Value + Send + Sync>;
type RemoveView = Arc<dyn Fn(Option<IpAddr>) -> Value + Send + Sync>;
type SessionsView = Arc<dyn Fn(SessionQuery) -> Value + Send + Sync>;
type BatchView = Arc<dyn Fn(&str) -> Option<Value> + Send + Sync>;
type UnknownView = Arc<dyn Fn(&UnknownQuery) -> Value + Send + Sync>;
type SettleView = Arc<dyn Fn(&SettleCommand) -> CommandAnswer + Send + Sync>;
type HaltView = Arc<dyn Fn(&HaltCommand) -> CommandAnswer + Send + Sync>;
type CommandView = Arc<dyn Fn(&BatchCommand) -> CommandAnswer + Send + Sync>;

/// What the rest of the program shows; each view may block, and is called off the async workers.
#[derive(Clone)]
pub struct Views {
    /// Why the program is not ready, a sentence each; empty when it is.
    pub readiness: View<Vec<String>>,
    /// The metrics in OpenMetrics text.
    pub metrics: View<String>,
    /// The state of the whole program.
    pub status: View<Value>,
    /// The batches a query asks for, newest first.
    pub batches: BatchesView,
    /// One batch by its id, where there is one.
    pub batch: BatchView,
    /// Does something with one batch.
    pub command: CommandView,
    /// The tenants, and whether they are suspended.
    pub tenants: View<Value>,
    /// The providers, and whether they are paused.
    pub providers: View<Value>,
    /// Halts a tenant or a provider, or lets it go on.
    pub halt: HaltView,
    /// The rows that ended unknown.
    pub unknown: UnknownView,
    /// Takes somebody's word on such rows.
    pub settle: SettleView,
    /// The sources that are banned or have a score.
    pub bans: View<Value>,
    /// Lifts the ban of an address, or all bans, and says how many.
    pub remove_bans: RemoveView,
    /// The open sessions a query asks for, oldest first.
    pub sessions: SessionsView,
    /// Ends the sessions a query asks for, and says how many.
    pub kill_sessions: SessionsView,
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Views")
    }
}

/// Which batches to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchQuery {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only those in this state.
    pub state: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// What is to be done with one batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchCommand {
    /// Its id, as it was given.
    pub batch: String,
    pub op: BatchOp,
    /// Why, for the log; empty where none is given.
    pub reason: String,
    /// The user of the machine who asks; empty where none is given.
    pub by: String,
}

/// Who asks for something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Asker {
    pub(super) reason: String,
    pub(super) by: String,
}

impl Asker {
    /// Reads `reason=…&by=…`; the error is a sentence for the caller.
    pub(super) fn parse(query: &str) -> Result<Asker, String> {
        let mut asker = Asker::default();
        for (key, value) in pairs(query)? {
            if !asker.take(key, value)? {
                return Err(format!("unknown query key {key:?}"));
            }
        }
        Ok(asker)
    }

    /// Takes a key of a query; false where it is none of these.
    pub(super) fn take(&mut self, key: &str, value: String) -> Result<bool, String> {
        let (word, most) = match key {
            "reason" => (&mut self.reason, REASON_MAX_CHARS),
            "by" => (&mut self.by, USER_MAX_CHARS),
            _ => return Ok(false),
        };
        if value.chars().count() > most {
            return Err(format!("{key} has more than {most} characters"));
        }
        if value.contains(char::is_control) {
            return Err(format!("{key} holds a control character or line end"));
        }
        *word = value;
        Ok(true)
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum CommandAnswer {
    Done(Value),
    /// There is no such batch.
    Unknown,
    /// The batch is in no state for this; a sentence.
    Refused(String),
}

/// Which sessions to list or to end; what is `None` holds for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionQuery {
    /// The one with this id.
    pub id: Option<String>,
    /// Those of this account.
    pub account: Option<String>,
    /// Those of this tenant.
    pub tenant: Option<String>,
}

impl SessionQuery {
    /// Reads `id=…&account=…&tenant=…`; the error is a sentence for the caller.
    fn parse(query: &str) -> Result<SessionQuery, String> {
        let mut parsed = SessionQuery::default();
        for (key, value) in pairs(query)? {
            match key {
                "id" => parsed.id = Some(value),
                "account" => parsed.account = Some(value),
                "tenant" => parsed.tenant = Some(value),
                _ => return Err(format!("unknown query key {key:?}")),
            }
        }
        Ok(parsed)
    }
}

/// The keys and values of a query; the error is a sentence for the caller.
pub(super) fn pairs(query: &str) -> Result<Vec<(&str, String)>, String> {
    let pair = |pair| {
        let (key, value) = str::split_once(pair, '=').unwrap_or((pair, ""));
        let value = percent_decode_str(value).decode_utf8();
        Ok((key, value.map_err(|_| format!("{key} is not valid UTF-8"))?.into_owned()))
    };
    query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect()
}

impl BatchQuery {
    /// Reads `tenant=…&state=…&limit=…`; the error is a sentence for the caller.
    fn parse(query: &str) -> Result<BatchQuery, String> {
        let mut parsed = BatchQuery { tenant: None, state: None, limit: LIMIT_DEFAULT };
        for (key, value) in pairs(query)? {
            match key {
                "tenant" => parsed.tenant = Some(value),
                "state" => parsed.state = Some(value),
                "limit" => match value.parse() {
                    Ok(limit @ 1..=LIMIT_MAX) => parsed.limit = limit,
                    _ => return Err(format!("limit {value:?} is not a number 1 to {LIMIT_MAX}")),
                },
                _ => return Err(format!("unknown query key {key:?}")),
            }
        }
        Ok(parsed)
    }
}

/// Health and metrics, for probes and Prometheus.
pub(super) fn front(views: Views) -> Router {
    Router::new()
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(views)
}

/// The command line's questions.
pub(super) fn control(views: Views) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/batches", get(batches))
        .route("/batches/{id}", get(batch))
        .route("/batches/{id}/{op}", post(command))
        .merge(halting::routes())
        .merge(unknown::routes())
        .route("/bans", get(bans))
        .route("/bans/{address}/remove", post(remove_bans))
        .route("/sessions", get(sessions))
        .route("/sessions/kill", post(kill_sessions))
        .fallback(async || problem(StatusCode::NOT_FOUND, "no such question"))
        .with_state(views)
}

async fn readyz(State(views): State<Views>) -> Response {
    let reasons = blocking(move || (views.readiness)()).await;
    if reasons.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", reasons.join("\n"))).into_response()
}

async fn metrics(State(views): State<Views>) -> Response {
    let text = blocking(move || (views.metrics)()).await;
    ([(CONTENT_TYPE, OPENMETRICS)], text).into_response()
}

async fn status(State(views): State<Views>) -> Response {
    answer(StatusCode::OK, &blocking(move || (views.status)()).await)
}

async fn batches(State(views): State<Views>, RawQuery(query): RawQuery) -> Response {
    match BatchQuery::parse(&query.unwrap_or_default()) {
        Ok(query) => answer(StatusCode::OK, &blocking(move || (views.batches)(query)).await),
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}

async fn batch(State(views): State<Views>, Path(id): Path<String>) -> Response {
    match blocking(move || (views.batch)(&id)).await {
        Some(batch) => answer(StatusCode::OK, &batch),
        None => problem(StatusCode::NOT_FOUND, NO_BATCH),
    }
}

/// `pause`, `resume`, `cancel`, `approve`, `resend`, `resend_report`, `retry`; the query may give a `reason`, and
/// `by` whom.
async fn command(
    State(views): State<Views>,
    Path((batch, op)): Path<(String, String)>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(op) = BatchOp::from_text(&op) else {
        return problem(StatusCode::NOT_FOUND, "no such operation");
    };
    let asked = match Asker::parse(&query.unwrap_or_default()) {
        Ok(Asker { reason, by }) => BatchCommand { batch, op, reason, by },
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    match blocking(move || (views.command)(&asked)).await {
        CommandAnswer::Done(done) => answer(StatusCode::OK, &done),
        CommandAnswer::Unknown => problem(StatusCode::NOT_FOUND, NO_BATCH),
        CommandAnswer::Refused(why) => problem(StatusCode::CONFLICT, &why),
    }
}

async fn bans(State(views): State<Views>) -> Response {
    answer(StatusCode::OK, &blocking(move || (views.bans)()).await)
}

/// `all`, or an address; of an IPv6 network any address.
async fn remove_bans(State(views): State<Views>, Path(address): Path<String>) -> Response {
    let address = match address.as_str() {
        "all" => None,
        text => match text.strip_suffix("/64").unwrap_or(text).parse() {
            Ok(address) => Some(address),
            Err(_) => return problem(StatusCode::BAD_REQUEST, "say an IP address, or all"),
        },
    };
    answer(StatusCode::OK, &blocking(move || (views.remove_bans)(address)).await)
}

async fn sessions(State(views): State<Views>, RawQuery(query): RawQuery) -> Response {
    match SessionQuery::parse(&query.unwrap_or_default()) {
        Ok(query) => answer(StatusCode::OK, &blocking(move || (views.sessions)(query)).await),
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}

async fn kill_sessions(State(views): State<Views>, RawQuery(query): RawQuery) -> Response {
    match SessionQuery::parse(&query.unwrap_or_default()) {
        Ok(query) if query == SessionQuery::default() => {
            problem(StatusCode::BAD_REQUEST, "say which: an id, an account or a tenant")
        }
        Ok(query) => answer(StatusCode::OK, &blocking(move || (views.kill_sessions)(query)).await),
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}

pub(super) fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

/// A refusal, in the form the client side reads.
pub(super) fn problem(status: StatusCode, reason: &str) -> Response {
    answer(status, &json!({ "error": reason }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_query_is_read_or_refused_with_a_sentence() {
        let all = BatchQuery { tenant: None, state: None, limit: LIMIT_DEFAULT };
        assert_eq!(BatchQuery::parse(""), Ok(all));
        assert_eq!(
            BatchQuery::parse("tenant=a%20b&state=open&limit=7"),
            Ok(BatchQuery {
                tenant: Some("a b".to_owned()),
                state: Some("open".to_owned()),
                limit: 7
            })
        );
        for (query, reason) in [
            ("limit=0", "limit \"0\" is not a number 1 to 1000"),
            ("limit=1001", "limit \"1001\" is not a number 1 to 1000"),
            ("tenat=acme", "unknown query key \"tenat\""),
            ("tenant=%ff", "tenant is not valid UTF-8"),
        ] {
            assert_eq!(BatchQuery::parse(query), Err(reason.to_owned()));
        }
    }
}

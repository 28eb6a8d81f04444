//! Questions and commands about tenants and providers as a whole.

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use super::routes::{Asker, CommandAnswer, Views, answer, problem};
use crate::worker::blocking;

/// What is to be halted, or to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HaltTarget {
    /// A tenant, by the id that was given.
    Tenant(String),
    /// A provider, by the id that was given.
    Provider(String),
}

/// A halt of a tenant or a provider, or the end of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HaltCommand {
    pub what: HaltTarget,
    /// False where it is to go on.
    pub halt: bool,
    /// Why, for the log and the listings; empty where none is given.
    pub reason: String,
    /// The user of the machine who asks; empty where none is given.
    pub by: String,
}

impl HaltCommand {
    /// The command's word.
    pub fn op(&self) -> &'static str {
        match (&self.what, self.halt) {
            (HaltTarget::Tenant(_), true) => "suspend",
            (HaltTarget::Provider(_), true) => "pause",
            (_, false) => "resume",
        }
    }
}

pub(super) fn routes() -> Router<Views> {
    Router::new()
        .route("/tenants", get(tenants))
        .route("/tenants/{id}/{op}", post(halt_tenant))
        .route("/providers", get(providers))
        .route("/providers/{id}/{op}", post(halt_provider))
}

async fn tenants(State(views): State<Views>) -> Response {
    answer(StatusCode::OK, &blocking(move || (views.tenants)()).await)
}

async fn providers(State(views): State<Views>) -> Response {
    answer(StatusCode::OK, &blocking(move || (views.providers)()).await)
}

async fn halt_tenant(
    state: State<Views>,
    Path((id, op)): Path<(String, String)>,
    query: RawQuery,
) -> Response {
    halt(state, HaltTarget::Tenant(id), &op, query).await
}

async fn halt_provider(
    state: State<Views>,
    Path((id, op)): Path<(String, String)>,
    query: RawQuery,
) -> Response {
    halt(state, HaltTarget::Provider(id), &op, query).await
}

/// `suspend` and `resume` of a tenant, `pause` and `resume` of a provider; the query may give a `reason`,
/// and `by` whom.
async fn halt(
    State(views): State<Views>,
    what: HaltTarget,
    op: &str,
    RawQuery(query): RawQuery,
) -> Response {
    let halt = match (&what, op) {
        (HaltTarget::Tenant(_), "suspend") | (HaltTarget::Provider(_), "pause") => true,
        (_, "resume") => false,
        _ => return problem(StatusCode::NOT_FOUND, "no such operation"),
    };
    let Asker { reason, by } = match Asker::parse(&query.unwrap_or_default()) {
        Ok(asker) => asker,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    let asked = HaltCommand { what, halt, reason, by };
    match blocking(move || (views.halt)(&asked)).await {
        CommandAnswer::Done(done) => answer(StatusCode::OK, &done),
        CommandAnswer::Unknown => problem(StatusCode::NOT_FOUND, "there is nothing of this name"),
        CommandAnswer::Refused(why) => problem(StatusCode::CONFLICT, &why),
    }
}

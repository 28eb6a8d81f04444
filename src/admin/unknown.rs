//! Questions and commands about rows that ended unknown.

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};

use super::routes::{Asker, CommandAnswer, LIMIT_DEFAULT, LIMIT_MAX, NO_BATCH, Views};
use super::routes::{answer, pairs, problem};
use crate::model::Status;
use crate::worker::blocking;

/// What a row that ended unknown can be settled as.
pub const SETTLED_AS: [Status; 3] = [Status::Sent, Status::Delivered, Status::Failed];

/// Which rows to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownQuery {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only this batch's, by the id that was given.
    pub batch: Option<String>,
    /// Those of which somebody said since what became of them; else those of which nobody did.
    pub settled: bool,
    /// At most so many.
    pub limit: usize,
}

/// What became of rows that ended unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleCommand {
    /// The batch, by the id that was given.
    pub batch: String,
    /// The one row; none for all of which nobody said so far.
    pub row: Option<u64>,
    pub status: Status,
    /// Why, for the record; empty where none is given.
    pub reason: String,
    /// The user of the machine who asks; empty where none is given.
    pub by: String,
}

impl UnknownQuery {
    /// Reads `tenant=…&batch=…&settled=yes&limit=…`; the error is a sentence for the caller.
    fn parse(query: &str) -> Result<UnknownQuery, String> {
        let mut parsed =
            UnknownQuery { tenant: None, batch: None, settled: false, limit: LIMIT_DEFAULT };
        for (key, value) in pairs(query)? {
            match key {
                "tenant" => parsed.tenant = Some(value),
                "batch" => parsed.batch = Some(value),
                "settled" => parsed.settled = value == "yes",
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

impl SettleCommand {
    /// Reads `row=…` or `all=yes`, `as=…`, `reason=…` and `by=…`; the error is a sentence for the caller.
    fn parse(batch: String, query: &str) -> Result<SettleCommand, String> {
        let (mut row, mut all, mut status, mut asker) = (None, false, None, Asker::default());
        for (key, value) in pairs(query)? {
            match key {
                "row" => match value.parse() {
                    Ok(number) => row = Some(number),
                    Err(_) => return Err(format!("row {value:?} is not a number")),
                },
                "all" => all = value == "yes",
                "as" => {
                    let word = Status::from_text(&value).filter(|word| SETTLED_AS.contains(word));
                    let allowed = "a row can be settled as sent, delivered or failed";
                    status = Some(word.ok_or(allowed)?);
                }
                _ if asker.take(key, value)? => {}
                _ => return Err(format!("unknown query key {key:?}")),
            }
        }
        if row.is_some() == all {
            return Err("say which: one row, or all".to_owned());
        }
        let status = status.ok_or("say what became of it: sent, delivered or failed")?;
        Ok(SettleCommand { batch, row, status, reason: asker.reason, by: asker.by })
    }
}

pub(super) fn routes() -> Router<Views> {
    Router::new().route("/unknown", get(unknown)).route("/unknown/{batch}/settle", post(settle))
}

async fn unknown(State(views): State<Views>, RawQuery(query): RawQuery) -> Response {
    match UnknownQuery::parse(&query.unwrap_or_default()) {
        Ok(query) => answer(StatusCode::OK, &blocking(move || (views.unknown)(&query)).await),
        Err(reason) => problem(StatusCode::BAD_REQUEST, &reason),
    }
}

async fn settle(
    State(views): State<Views>,
    Path(batch): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let asked = match SettleCommand::parse(batch, &query.unwrap_or_default()) {
        Ok(asked) => asked,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    match blocking(move || (views.settle)(&asked)).await {
        CommandAnswer::Done(done) => answer(StatusCode::OK, &done),
        CommandAnswer::Unknown => problem(StatusCode::NOT_FOUND, NO_BATCH),
        CommandAnswer::Refused(why) => problem(StatusCode::CONFLICT, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_settlement_names_its_rows_and_what_became_of_them() {
        let parse = |query| SettleCommand::parse("b1".to_owned(), query);
        let one = parse("row=7&as=delivered&by=ann&reason=asked").unwrap();
        assert_eq!((one.row, one.status, one.by.as_str()), (Some(7), Status::Delivered, "ann"));
        assert_eq!(parse("all=yes&as=failed").unwrap().row, None);
        for (query, reason) in [
            ("as=sent", "say which: one row, or all"),
            ("row=1&all=yes&as=sent", "say which: one row, or all"),
            ("row=x&as=sent", "row \"x\" is not a number"),
            ("row=1", "say what became of it: sent, delivered or failed"),
            ("row=1&as=read", "a row can be settled as sent, delivered or failed"),
            ("row=1&as=sent&x=y", "unknown query key \"x\""),
        ] {
            assert_eq!(parse(query), Err(reason.to_owned()), "{query}");
        }
        assert!(UnknownQuery::parse("settled=yes&tenant=acme&limit=3").unwrap().settled);
        assert!(UnknownQuery::parse("limit=0").is_err());
    }
}

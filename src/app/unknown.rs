//! Rows that ended unknown: shown to the operator, and settled by the operator's word.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::{CommandAnswer, SettleCommand, UnknownQuery};
use crate::batch::{BatchState, Decider};
use crate::model::BatchId;
use crate::outbox::{OutboxError, UnknownRow, each_unknown};
use crate::spool::Spool;
use crate::store::{BatchRecord, ChunkRecord, SettledRow, Settlement, Store};
use crate::world::World;

/// Most batches that a listing walks over before it stops looking for more.
const WALKED_MAX: usize = 100_000;
/// Rows settled in one commit.
const SETTLED_AT_ONCE: usize = 200;

/// Everything that listing and settling need.
#[derive(Clone)]
pub(super) struct Unknowns {
    pub(super) store: Store,
    pub(super) spool: Spool,
    pub(super) world: Arc<World>,
}

impl Unknowns {
    /// The rows that a query asks for, of the newest batch first.
    pub(super) fn list(&self, query: &UnknownQuery) -> Value {
        match self.find(query) {
            Ok(rows) => json!({ "rows": rows }),
            Err(error) => json!({ "rows": [], "error": chain_of(&error) }),
        }
    }

    fn find(&self, query: &UnknownQuery) -> Result<Vec<Value>, OutboxError> {
        let mut found = Vec::new();
        if let Some(batch) = &query.batch {
            if let Some(record) = self.batch(batch)? {
                self.add(&record, query, &mut found)?;
            }
            return Ok(found);
        }
        let (mut before, mut walked) = (None, 0);
        while walked < WALKED_MAX {
            let page = self.store.batches_before(before, 256)?;
            let Some(oldest) = page.last() else { break };
            before = Some(oldest.id);
            walked += page.len();
            for record in &page {
                self.add(record, query, &mut found)?;
                if found.len() >= query.limit {
                    return Ok(found);
                }
            }
        }
        Ok(found)
    }

    fn batch(&self, id: &str) -> Result<Option<BatchRecord>, OutboxError> {
        match id.parse::<BatchId>() {
            Ok(id) => Ok(self.store.batch(id)?),
            Err(_) => Ok(None),
        }
    }

    fn add(
        &self,
        record: &BatchRecord,
        query: &UnknownQuery,
        found: &mut Vec<Value>,
    ) -> Result<(), OutboxError> {
        let other = query.tenant.as_ref().is_some_and(|tenant| tenant != record.tenant.as_str());
        let is_sent = matches!(record.state, BatchState::Running | BatchState::Closed);
        if other || !is_sent || !query.settled && !self.may_have_any(record)? {
            return Ok(());
        }
        each_unknown((&self.store, &self.spool), record, &mut |row| {
            if row.settlement.is_some() == query.settled {
                found.push(line(record, &row));
            }
            found.len() < query.limit
        })
    }

    /// False where it is known that no row of the batch ended unknown.
    fn may_have_any(&self, record: &BatchRecord) -> Result<bool, OutboxError> {
        let mut from = 0;
        loop {
            let page = self.store.chunks(record.id, from, 500)?;
            let Some(last) = page.last() else { return Ok(false) };
            from = last.number + 1;
            if page.iter().any(ChunkRecord::may_be_resendable) {
                return Ok(true);
            }
        }
    }

    /// Takes the operator's word on one row, or on all of which nobody said anything yet.
    pub(super) fn settle(&self, asked: &SettleCommand) -> CommandAnswer {
        let settled = self.batch(&asked.batch).and_then(|record| match record {
            Some(record) => self.settle_in(&record, asked),
            None => Ok(CommandAnswer::Unknown),
        });
        settled.unwrap_or_else(|error| CommandAnswer::Refused(chain_of(&error)))
    }

    fn settle_in(
        &self,
        record: &BatchRecord,
        asked: &SettleCommand,
    ) -> Result<CommandAnswer, OutboxError> {
        let name = record.name();
        if record.state != BatchState::Closed {
            let why = "is still being sent: what ended unknown can be settled after the result";
            return Ok(CommandAnswer::Refused(format!("{name} {why}")));
        }
        let mut rows: Vec<UnknownRow> = Vec::new();
        each_unknown((&self.store, &self.spool), record, &mut |row| {
            let is_meant = match asked.row {
                Some(number) => row.row == number,
                None => row.settlement.is_none(),
            };
            if is_meant {
                rows.push(row);
            }
            asked.row.is_none() || rows.is_empty()
        })?;
        if let (Some(row), true) = (asked.row, rows.is_empty()) {
            let why = format!("row {row} of {name} did not end unknown; `unknown list` shows them");
            return Ok(CommandAnswer::Refused(why));
        }
        let as_asked = |row: &UnknownRow| {
            row.settlement.as_ref().is_some_and(|earlier| earlier.status == asked.status)
        };
        rows.retain(|row| !as_asked(row));
        let by = match asked.by.as_str() {
            "" => Decider::Operator,
            user => Decider::OperatorUser(user.to_owned()),
        };
        let (at, by) = (self.world.clock.now(), by.to_string());
        let settled = |row: &UnknownRow| {
            let (status, reason) = (asked.status, asked.reason.clone());
            row.settled(Settlement { status, ended_at: row.ended_at, at, by: by.clone(), reason })
        };
        for of_chunk in rows.chunk_by(|one, next| one.chunk == next.chunk) {
            for some in of_chunk.chunks(SETTLED_AT_ONCE) {
                let some_settled: Vec<SettledRow> = some.iter().map(settled).collect();
                self.store.settle(record.id, some[0].chunk, &some_settled, at)?;
            }
        }
        tracing::info!(tenant = %record.tenant, batch = %record.id, file = name, row = asked.row,
            rows = rows.len(), settled_as = asked.status.as_str(), by, reason = asked.reason,
            "unknown rows settled");
        Ok(CommandAnswer::Done(json!({
            "batch_id": record.id.to_string(),
            "tenant": record.tenant.as_str(),
            "file": name,
            "as": asked.status.as_str(),
            "rows": rows.len(),
            "by": by,
        })))
    }
}

fn line(record: &BatchRecord, row: &UnknownRow) -> Value {
    let said = row.settlement.as_ref();
    json!({
        "batch_id": record.id.to_string(),
        "tenant": record.tenant.as_str(),
        "file": record.name(),
        "row": row.row,
        "row_id": row.row_id,
        "channel": row.channel,
        "to": row.to,
        "provider": row.provider,
        "message_id": row.message_id,
        "attempts": row.attempts,
        "ended_at": row.ended_at.map(|at| at.to_string()),
        "settled_as": said.map(|said| said.status.as_str()),
        "settled_at": said.map(|said| said.at.to_string()),
        "by": said.map(|said| said.by.as_str()),
        "reason": said.map(|said| said.reason.as_str()),
    })
}

fn chain_of(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

//! An order, followed: rows that end without an attempt, or are open again.
//!
//! The outcomes are synced before the commit that says what is left of their chunks and how far the
//! order is. After a crash the last page is done again, which changes nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::chunk::{ended, remaining, untried};
use super::error::DispatchError;
use super::live::LiveBatch;
use crate::codes::ReasonCode;
use crate::model::Status;
use crate::spool::{RowOutcome, RowState};
use crate::store::{BatchRecord, ChunkRecord, OrderAct, OrderRecord, Settlement, Store};
use crate::telemetry::Metrics;
use crate::worker::blocking;
use crate::world::World;

/// Chunks that share a sync and a commit.
const CHUNKS_AT_ONCE: usize = 64;

/// What following an order works with. No task of a chunk runs beside it.
#[derive(Debug, Clone)]
pub(super) struct OrderTask {
    pub(super) live: Arc<LiveBatch>,
    pub(super) order: OrderRecord,
    pub(super) store: Store,
    pub(super) world: Arc<World>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stopping: CancellationToken,
}

impl OrderTask {
    /// Follows the order to its end and strikes it, unless a stop comes first. Returns the batch as it
    /// is now.
    pub(super) async fn run(self) -> Result<Option<Box<BatchRecord>>, DispatchError> {
        let (mut task, mut is_done) = (self, false);
        while !is_done {
            if task.stopping.is_cancelled() {
                return Ok(None);
            }
            (task, is_done) = blocking(move || {
                let is_done = task.page()?;
                Ok::<_, DispatchError>((task, is_done))
            })
            .await?;
        }
        let (batch, order) = (task.live.record.id, task.order);
        let store = task.store;
        let (record, order) =
            blocking(move || store.end_order(batch, &order).map(|record| (record, order))).await?;
        let (act, by) = (order.act.as_str(), &order.by);
        tracing::info!(tenant = %record.tenant, %batch, file = record.name(), act, by,
            rows = order.changed, "order followed");
        Ok(Some(Box::new(record)))
    }

    /// Does the next chunks; true where none is left.
    fn page(&mut self) -> Result<bool, DispatchError> {
        let (batch, order) = (self.live.record.id, &self.order);
        let chunks = match (order.act, order.row) {
            (_, None) => self.store.chunks(batch, order.next_chunk, CHUNKS_AT_ONCE)?,
            (_, Some(_)) if order.next_chunk > 0 => return Ok(true),
            (_, Some(row)) => {
                let found = self.store.chunk_of_row(batch, self.live.record.chunks, row)?;
                found.into_iter().collect()
            }
        };
        let Some(last) = chunks.last() else { return Ok(true) };
        self.order.next_chunk = last.number + 1;
        let mut done = Vec::new();
        for before in chunks {
            let after = self.chunk(&before)?;
            if after != before {
                done.push((before, after));
            }
        }
        self.live.sync()?;
        self.store.advance_order(batch, &self.order, &done)?;
        Ok(false)
    }

    fn chunk(&mut self, before: &ChunkRecord) -> Result<ChunkRecord, DispatchError> {
        let is_concerned = match self.order.act {
            OrderAct::Resend => before.may_be_resendable(),
            _ => before.open > 0,
        };
        if !is_concerned {
            return Ok(before.clone());
        }
        if self.order.act == OrderAct::Look {
            // What its rows wait for is different from now on.
            return Ok(ChunkRecord { due: Some(self.world.clock.now()), ..before.clone() });
        }
        let (chunk, mut latest) = (self.live.chunk(before)?, self.live.latest(before.number)?);
        let (rows, now) = (chunk.rows()?, self.world.clock.now());
        let settled = match self.order.act {
            OrderAct::Resend => self.store.settlements(self.live.record.id)?,
            _ => BTreeMap::new(),
        };
        let mut changed = Vec::new();
        for (index, row) in (0..).zip(&rows) {
            let is_meant = self.order.row.is_none_or(|only| only == row.row);
            let outcome = latest.get(&index);
            let said = settled
                .get(&row.row)
                .filter(|of| outcome.is_some_and(|o| o.ended_at == of.ended_at));
            if let (Some(said), Some(outcome)) = (said.filter(|of| !of.is_resendable()), outcome) {
                // It arrived after all: the new result says so.
                changed.extend(settled_as(outcome, said));
            } else if row.state == RowState::Accepted && is_meant {
                changed.extend(match self.order.act {
                    OrderAct::Resend => reopened(index, outcome, said.is_some(), self.order.at),
                    OrderAct::Retry => hurried(outcome, self.order.at),
                    _ => cancelled(index, outcome, now),
                });
            }
        }
        for row in changed.iter().filter(|row| row.is_settled()) {
            let test = self.live.record.realm().yes_no();
            self.metrics.rows_settled.of([row.status.as_str(), test]).inc();
        }
        latest.extend(changed.iter().map(|row| (row.index, row.clone())));
        // Counted from what stands there now: the same number where a crash made it the second time.
        let is_done = |row: &&RowOutcome| match self.order.act {
            OrderAct::Resend => row.status == Status::Accepted,
            OrderAct::Retry => row.deferred_until == Some(self.order.at),
            _ => row.status == Status::Cancelled,
        };
        self.order.changed += latest.values().filter(is_done).count() as u64;
        if !changed.is_empty() {
            self.live.append(before.number, 0, changed)?;
        }
        Ok(remaining(before, &rows, &latest, &HashMap::new(), now))
    }
}

/// A row that nobody will send any more.
fn cancelled(index: u32, outcome: Option<&RowOutcome>, now: Timestamp) -> Option<RowOutcome> {
    if outcome.is_some_and(RowOutcome::is_settled) {
        return None;
    }
    Some(ended(index, outcome, Status::Cancelled, ReasonCode::PolicyCancelled, now))
}

/// A row that ended unknown, and of which somebody found out what became of it.
fn settled_as(outcome: &RowOutcome, said: &Settlement) -> Option<RowOutcome> {
    let is_unknown = outcome.status == Status::Unknown;
    let row = RowOutcome {
        status: said.status,
        code: None,
        sent_at: Some(said.at).filter(|_| said.status == Status::Sent),
        ended_at: Some(said.at),
        ..outcome.clone()
    };
    is_unknown.then_some(row)
}

/// A row that waits for its next try no longer. What waits for its own time or its window has no outcome
/// that says so, and goes on waiting.
fn hurried(outcome: Option<&RowOutcome>, at: Timestamp) -> Option<RowOutcome> {
    let waits = |row: &&RowOutcome| {
        row.status == Status::Deferred && row.deferred_until.is_some_and(|until| until > at)
    };
    let row = outcome.filter(waits)?;
    Some(RowOutcome { deferred_until: Some(at), ..row.clone() })
}

/// A row that begins anew. One that may have gone out stays in doubt until its next attempt says more.
/// `did_not_arrive`: somebody asked the provider, and there is no doubt any more.
fn reopened(
    index: u32,
    outcome: Option<&RowOutcome>,
    did_not_arrive: bool,
    at: Timestamp,
) -> Option<RowOutcome> {
    let earlier = outcome.filter(|outcome| outcome.is_resendable())?;
    let anew = RowOutcome { deferred_until: Some(at), ..untried(index) };
    Some(match earlier.is_in_doubt() && !did_not_arrive {
        true => RowOutcome { attempts: earlier.attempts, code: earlier.code, ..anew },
        false => anew,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(status: Status, attempts: u32, code: Option<ReasonCode>) -> RowOutcome {
        RowOutcome { status, attempts, code, ..untried(3) }
    }

    #[test]
    fn only_a_row_that_waits_for_its_next_try_is_hurried() {
        let (at, later) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(60).unwrap());
        let waiting = |status, until| RowOutcome { deferred_until: until, ..row(status, 2, None) };
        let hurried = |row: RowOutcome| hurried(Some(&row), at);
        let due = hurried(waiting(Status::Deferred, Some(later))).unwrap();
        assert_eq!((due.deferred_until, due.attempts), (Some(at), 2));
        assert_eq!(hurried(due), None, "done again after a crash it changes nothing");
        assert_eq!(hurried(waiting(Status::Submitted, Some(later))), None);
        assert_eq!(hurried(waiting(Status::Deferred, None)), None);
        assert_eq!(super::hurried(None, at), None);
    }

    #[test]
    fn only_what_is_open_is_cancelled_and_doubt_stays_doubt() {
        let at = Timestamp::UNIX_EPOCH;
        let status = |outcome: Option<&RowOutcome>| cancelled(3, outcome, at).map(|row| row.status);
        assert_eq!(status(None), Some(Status::Cancelled));
        let network = row(Status::Deferred, 1, Some(ReasonCode::DeliveryNetwork));
        assert_eq!(status(Some(&network)), Some(Status::Cancelled));
        let doubt = row(Status::Deferred, 1, Some(ReasonCode::DeliveryOutcomeUnknown));
        assert_eq!(status(Some(&doubt)), Some(Status::Unknown));
        for ended in [Status::Sent, Status::Failed, Status::Unknown, Status::Cancelled] {
            assert_eq!(status(Some(&row(ended, 1, None))), None, "{ended}");
        }
    }

    #[test]
    fn only_what_failed_expired_or_is_unknown_begins_anew() {
        let at = Timestamp::UNIX_EPOCH;
        for status in Status::ALL {
            let anew = reopened(3, Some(&row(*status, 2, None)), false, at);
            let expected = matches!(status, Status::Failed | Status::Expired | Status::Unknown);
            assert_eq!(anew.is_some(), expected, "{status}");
            assert!(anew.is_none_or(|row| row.attempts == 0 && !row.is_settled()));
        }
        assert_eq!(reopened(3, None, false, at), None);
    }

    #[test]
    fn a_row_that_was_found_to_have_arrived_is_not_sent_again() {
        let at = Timestamp::UNIX_EPOCH;
        let unknown = row(Status::Unknown, 2, Some(ReasonCode::DeliveryOutcomeUnknown));
        let (by, reason) = ("operator".to_owned(), String::new());
        let said = Settlement { status: Status::Delivered, ended_at: None, at, by, reason };
        let arrived = settled_as(&unknown, &said).unwrap();
        assert_eq!((arrived.status, arrived.code), (Status::Delivered, None));
        assert!(!arrived.is_resendable() && !arrived.is_in_doubt());
        assert_eq!(
            settled_as(&arrived, &said),
            None,
            "done again after a crash it changes nothing"
        );
    }

    #[test]
    fn what_may_have_gone_out_stays_in_doubt_when_it_begins_anew() {
        let at = Timestamp::UNIX_EPOCH;
        let unknown = row(Status::Unknown, 2, Some(ReasonCode::DeliveryOutcomeUnknown));
        let anew = reopened(3, Some(&unknown), false, at).unwrap();
        assert!(!anew.is_settled());
        let asked = reopened(3, Some(&unknown), true, at).unwrap();
        assert!(!asked.is_in_doubt(), "somebody asked the provider");
        let over = cancelled(3, Some(&anew), at).unwrap();
        assert_eq!((over.status, over.attempts), (Status::Unknown, 2));
        let expired = ended(3, Some(&anew), Status::Expired, ReasonCode::PolicyExpired, at);
        assert_eq!((expired.status, expired.code), (Status::Unknown, unknown.code));
    }
}

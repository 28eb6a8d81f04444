//! An order, followed: rows that end without an attempt, or are open again.
//!
//! The outcomes are synced before the commit that says what is left of their chunks and how far the
//! order is. After a crash the last page is done again, which changes nothing twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::chunk::{ROOM_WAIT, accepted, remaining};
use super::error::DispatchError;
use super::live::LiveBatch;
use super::opening::Opener;
use super::timers::Timers;
use crate::batch::{RowEvent, RowOutcome};
use crate::codes::ReasonCode;
use crate::model::{BatchId, Status};
use crate::spool::RowState;
use crate::store::{BatchRecord, ChunkRecord, OrderAct, OrderRecord, Store};
use crate::telemetry::Metrics;
use crate::worker::blocking;
use crate::world::World;

/// Chunks that share a sync and a commit.
const CHUNKS_AT_ONCE: usize = 64;

/// What following an order works with. Nothing else works on the batch meanwhile.
#[derive(Debug, Clone)]
pub(super) struct OrderTask {
    pub(super) batch: BatchId,
    /// The batch, where its files are open. Else they are opened for this order, if it needs them.
    pub(super) live: Option<Arc<LiveBatch>>,
    pub(super) opener: Opener,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stopping: CancellationToken,
}

/// A batch after an order, as it is now.
pub(super) struct Followed {
    pub(super) record: Box<BatchRecord>,
    pub(super) timers: Timers,
}

/// An order that is being followed.
struct Following {
    batch: BatchId,
    order: OrderRecord,
    /// None where only the store is concerned.
    live: Option<Arc<LiveBatch>>,
    store: Store,
    world: Arc<World>,
    metrics: Arc<Metrics>,
}

impl OrderTask {
    /// Follows the batch's next order to its end and strikes it. None where a stop comes first, or there is
    /// no room to write something down.
    pub(super) async fn run(self) -> Result<Option<Followed>, DispatchError> {
        let stopping = self.stopping.clone();
        match self.follow().await {
            Err(error) if error.is_for_room() => {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = tokio::time::sleep(ROOM_WAIT) => {}
                }
                Ok(None)
            }
            followed => followed,
        }
    }

    async fn follow(self) -> Result<Option<Followed>, DispatchError> {
        let (stopping, store) = (self.stopping.clone(), self.opener.store.clone());
        let (batch, mut next) = (self.batch, blocking(move || self.begin()).await?);
        while let Some(mut following) = next {
            if stopping.is_cancelled() {
                return Ok(None);
            }
            next = blocking(move || {
                let is_done = following.page()?;
                match is_done {
                    true => following.end().map(|()| None),
                    false => Ok::<_, DispatchError>(Some(following)),
                }
            })
            .await?;
        }
        let followed = blocking(move || {
            let Some(record) = store.batch(batch)? else { return Ok(None) };
            let timers = Timers::load(&store, &record)?;
            Ok::<_, DispatchError>(Some(Followed { record: Box::new(record), timers }))
        });
        followed.await
    }

    fn begin(self) -> Result<Option<Following>, DispatchError> {
        let OrderTask { batch, mut live, opener, metrics, .. } = self;
        let Some(order) = opener.store.next_order(batch)? else { return Ok(None) };
        if order.act == OrderAct::Look {
            live = None;
        } else if live.is_none() {
            let Some(opened) = opener.open(batch)? else { return Ok(None) };
            live = Some(opened.live);
        }
        let (store, world) = (opener.store, opener.ground.world);
        Ok(Some(Following { batch, order, live, store, world, metrics }))
    }
}

impl Following {
    /// Does the next chunks; true where none is left.
    fn page(&mut self) -> Result<bool, DispatchError> {
        let (batch, order, live) = (self.batch, &self.order, self.live.clone());
        let chunks = match (&live, order.row) {
            (Some(_), Some(_)) if order.next_chunk > 0 => return Ok(true),
            (Some(live), Some(row)) => {
                let found = self.store.chunk_of_row(batch, live.record.chunks, row)?;
                found.into_iter().collect()
            }
            _ => self.store.chunks(batch, order.next_chunk, CHUNKS_AT_ONCE)?,
        };
        let Some(last) = chunks.last() else { return Ok(true) };
        self.order.next_chunk = last.number + 1;
        let mut done = Vec::new();
        for before in chunks {
            let after = match &live {
                Some(live) => self.chunk(live, &before)?,
                // What its rows wait for is different from now on.
                None if before.open > 0 => {
                    ChunkRecord { due: Some(self.world.clock.now()), ..before.clone() }
                }
                None => continue,
            };
            if after != before {
                done.push((before, after));
            }
        }
        if let Some(live) = live {
            live.sync()?;
        }
        self.store.advance_order(batch, &self.order, &done)?;
        Ok(false)
    }

    /// Strikes the order.
    fn end(self) -> Result<(), DispatchError> {
        let Following { batch, order, store, .. } = self;
        let record = store.end_order(batch, &order)?;
        let (act, by) = (order.act.as_str(), &order.by);
        tracing::info!(tenant = %record.tenant, %batch, file = record.name(), act, by,
            rows = order.changed, "order followed");
        Ok(())
    }

    fn chunk(
        &mut self,
        live: &LiveBatch,
        before: &ChunkRecord,
    ) -> Result<ChunkRecord, DispatchError> {
        let is_concerned = match self.order.act {
            OrderAct::Resend => before.may_be_resendable(),
            _ => before.open > 0,
        };
        if !is_concerned {
            return Ok(before.clone());
        }
        let (chunk, mut latest) = (live.chunk(before)?, live.latest(before.number)?);
        let (rows, now) = (chunk.rows()?, self.world.clock.now());
        let settled = match self.order.act {
            OrderAct::Resend => self.store.settlements(self.batch)?,
            _ => BTreeMap::new(),
        };
        let mut changed = Vec::new();
        for (index, row) in (0..).zip(&rows) {
            if row.state != RowState::Accepted {
                continue;
            }
            let is_meant = self.order.row.is_none_or(|only| only == row.row);
            let outcome = latest.get(&index).cloned();
            let mut standing = outcome.unwrap_or_else(|| RowOutcome::untried(index));
            let chain = row.chain(standing.step);
            let said = settled.get(&row.row).filter(|of| standing.ended_at == of.ended_at);
            if let Some(said) = said.filter(|_| standing.status == Status::Unknown) {
                // Where it arrived after all the new result says so; where it did not there is no doubt
                // any more.
                if said.is_resendable() && !is_meant {
                    continue;
                }
                let event = RowEvent::Declared { status: said.status, at: said.at };
                standing = standing.apply(event, chain)?;
                changed.push(standing.clone());
            }
            if is_meant && let Some(event) = asked(self.order.act, &standing, (self.order.at, now))
            {
                changed.push(standing.apply(event, chain)?);
            }
        }
        for row in changed.iter().filter(|row| row.is_settled()) {
            let test = live.record.realm().yes_no();
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
        let mut outcomes_bytes = before.outcomes_bytes;
        if !changed.is_empty() {
            live.append(before.number, 0, &changed)?;
            outcomes_bytes = live.outcomes_bytes();
        }
        let words = live.last_words(before.number);
        live.leave(before.number);
        Ok(remaining(before, &accepted(&rows), (&words, outcomes_bytes), &HashMap::new(), now))
    }
}

/// What an order means for a row, if anything.
fn asked(
    act: OrderAct,
    standing: &RowOutcome,
    (at, now): (Timestamp, Timestamp),
) -> Option<RowEvent> {
    match act {
        // A row that begins anew.
        OrderAct::Resend => standing.is_resendable().then_some(RowEvent::Reopened { at }),
        // A row that waits for its next try no longer. What waits for its own time or its window has no
        // outcome that says so, and goes on waiting.
        OrderAct::Retry => {
            let waits = standing.status == Status::Deferred
                && standing.deferred_until.is_some_and(|until| until > at);
            waits.then_some(RowEvent::Hurried { at })
        }
        // A row that nobody will send any more.
        _ => {
            let (status, code) = (Status::Cancelled, ReasonCode::PolicyCancelled);
            (!standing.is_settled()).then_some(RowEvent::Ended { status, code, at: now })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::{Chain, RowMark};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn row(status: Status, attempts: u32, code: Option<ReasonCode>) -> RowOutcome {
        RowOutcome { status, attempts, code, ..RowOutcome::untried(3) }
    }

    fn after(act: OrderAct, row: RowOutcome) -> Option<RowOutcome> {
        let event = asked(act, &row, (AT, AT))?;
        Some(row.apply(event, Chain::ONE).unwrap())
    }

    #[test]
    fn only_a_row_that_waits_for_its_next_try_is_hurried() {
        let later = Timestamp::from_second(60).unwrap();
        let waiting = |status, until| RowOutcome { deferred_until: until, ..row(status, 2, None) };
        let hurried = |row| after(OrderAct::Retry, row);
        let due = hurried(waiting(Status::Deferred, Some(later))).unwrap();
        assert_eq!((due.deferred_until, due.attempts), (Some(AT), 2));
        assert_eq!(hurried(due), None, "done again after a crash it changes nothing");
        assert_eq!(hurried(waiting(Status::Submitted, Some(later))), None);
        assert_eq!(hurried(waiting(Status::Deferred, None)), None);
        assert_eq!(hurried(RowOutcome::untried(3)), None);
    }

    #[test]
    fn only_what_is_open_is_cancelled_and_doubt_stays_doubt() {
        let status = |row| after(OrderAct::Cancel, row).map(|row| row.status);
        assert_eq!(status(RowOutcome::untried(3)), Some(Status::Cancelled));
        let network = row(Status::Deferred, 1, Some(ReasonCode::DeliveryNetwork));
        assert_eq!(status(network), Some(Status::Cancelled));
        let doubt = row(Status::Deferred, 1, Some(ReasonCode::DeliveryOutcomeUnknown));
        assert_eq!(status(doubt), Some(Status::Unknown));
        for ended in [Status::Sent, Status::Failed, Status::Unknown, Status::Cancelled] {
            assert_eq!(status(row(ended, 1, None)), None, "{ended}");
        }
        // What waits for a receipt went out: only what would have followed is called off.
        let awaited = RowOutcome { receipt_until: Some(AT), ..row(Status::Submitted, 1, None) };
        assert_eq!(status(awaited), Some(Status::Submitted));
    }

    #[test]
    fn only_what_failed_expired_or_is_unknown_begins_anew() {
        for status in Status::ALL {
            let anew = after(OrderAct::Resend, row(*status, 2, None));
            let expected = matches!(status, Status::Failed | Status::Expired | Status::Unknown);
            assert_eq!(anew.is_some(), expected, "{status}");
            assert!(anew.is_none_or(|row| !row.is_settled()));
        }
        assert_eq!(after(OrderAct::Resend, RowOutcome::untried(3)), None);
    }

    #[test]
    fn what_may_have_gone_out_stays_in_doubt_when_it_begins_anew() {
        let unknown = row(Status::Unknown, 2, Some(ReasonCode::DeliveryOutcomeUnknown));
        let anew = after(OrderAct::Resend, unknown.clone()).unwrap();
        assert!(!anew.is_settled());
        let over = after(OrderAct::Cancel, anew.clone()).unwrap();
        assert_eq!((over.status, over.attempts), (Status::Unknown, 2));
        let (status, code) = (Status::Expired, ReasonCode::PolicyExpired);
        let expired = anew.apply(RowEvent::Ended { status, code, at: AT }, Chain::ONE).unwrap();
        assert_eq!((expired.status, expired.code), (Status::Unknown, unknown.code));
    }

    #[test]
    fn what_is_declared_failed_is_in_no_doubt_when_it_begins_anew_and_both_words_may_be_stored() {
        let unknown = row(Status::Unknown, 2, Some(ReasonCode::DeliveryOutcomeUnknown));
        let found = |status| {
            let event = RowEvent::Declared { status, at: AT };
            unknown.clone().apply(event, Chain::ONE).unwrap()
        };
        assert_eq!(after(OrderAct::Resend, found(Status::Delivered)), None);
        let failed = found(Status::Failed);
        let anew = after(OrderAct::Resend, failed.clone()).unwrap();
        assert!(!anew.is_settled() && !anew.is_in_doubt());
        let [before, said, begun] = [&unknown, &failed, &anew].map(RowMark::of);
        assert!(said.may_follow(before) && begun.may_follow(said));
        assert!(!begun.may_follow(before), "the word between must not be left out");
    }
}

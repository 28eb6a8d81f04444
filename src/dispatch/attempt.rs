//! One row out: turn, connection, start mark, attempt; the next provider where that is safe.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::chunk::ROOM_WAIT;
use super::error::DispatchError;
use super::live::LiveBatch;
use super::provider::{Pass, Provider};
use super::traffic::Traffic;
use crate::batch::{Chain, IllegalRowMove, NextStep, RowEvent, RowOutcome, Tried, after_attempt};
use crate::codes::ReasonCode;
use crate::model::{Attempt, OutgoingMessage, Urgency};
use crate::pacing::{Later, Limit};
use crate::telemetry::Metrics;
use crate::world::World;

/// A row that may be sent now.
#[derive(Debug)]
pub(super) struct Outbound {
    /// Where it stands.
    pub(super) standing: RowOutcome,
    pub(super) chain: Chain,
    pub(super) message: OutgoingMessage,
    pub(super) urgency: Urgency,
    /// What it counts for at limits: the parts of an SMS.
    pub(super) cost: u32,
    pub(super) expires_at: Timestamp,
    /// From then on policy must be asked again: the row expires or its window closes.
    pub(super) allowed_until: Timestamp,
    /// In order of failover.
    pub(super) providers: Vec<Arc<Provider>>,
}

impl Outbound {
    fn apply(&mut self, event: RowEvent) -> Result<(), IllegalRowMove> {
        let index = self.standing.index;
        let standing = std::mem::replace(&mut self.standing, RowOutcome::untried(index));
        self.standing = standing.apply(event, self.chain)?;
        Ok(())
    }
}

/// What attempts of one window share.
#[derive(Debug, Clone)]
pub(super) struct Sending {
    pub(super) live: Arc<LiveBatch>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) chunk: u32,
    pub(super) window: u32,
    pub(super) world: Arc<World>,
    pub(super) metrics: Arc<Metrics>,
    /// Cancelled: no new attempt begins.
    pub(super) stopping: CancellationToken,
    /// Wakes the station where the batch is stuck.
    pub(super) nudge: Arc<Notify>,
}

/// What came of one provider.
enum Reply {
    Answered {
        attempt: Attempt,
        /// The provider was away, and this was to find out whether it is back.
        is_probe: bool,
    },
    /// A limit stands in the way for some time.
    Later(Later),
    /// Nothing was sent: a stop, or the row must be judged anew.
    Stopped,
}

impl Sending {
    /// Tries a row at its providers. `None`: nothing left, because of a stop or because the wait for a
    /// turn was too long; the row is as it was.
    pub(super) async fn send(
        &self,
        mut row: Outbound,
    ) -> Result<Option<RowOutcome>, DispatchError> {
        let (mut is_refused, mut counted) = (false, false);
        let mut rest: Option<(Timestamp, ReasonCode)> = None;
        for provider in std::mem::take(&mut row.providers) {
            if provider.is_paused() {
                continue;
            }
            if is_refused {
                // Whatever ends the process while the row waits for its turn here: it did not go out.
                match self.live.take_back(self.chunk, self.window, &row.standing) {
                    // What cannot be recorded is not begun.
                    Err(error) if error.is_for_room() => break,
                    taken_back => taken_back?,
                }
            }
            let (attempt, is_probe) = match self.attempt(&mut row, &provider).await? {
                Reply::Answered { attempt, is_probe } => (attempt, is_probe),
                Reply::Later(later) => {
                    let until = self.world.clock.now().saturating_add(later.wait);
                    let resting = (until.unwrap_or(row.expires_at), later.why.code());
                    rest = Some(rest.map_or(resting, |earlier| earlier.min(resting)));
                    if later.elsewhere {
                        continue;
                    }
                    break;
                }
                Reply::Stopped => return Ok(is_refused.then_some(row.standing)),
            };
            self.note(&row, &provider, &attempt);
            let is_over = !attempt.outcome.is_certainly_not_accepted();
            let next = self.next_step(&row, &provider, &attempt, is_probe);
            if let NextStep::Retry { counts, .. } = next {
                (is_refused, counted) = (true, counted | counts);
            }
            let is_settled = matches!(next, NextStep::Settle { .. });
            self.tried(&mut row, &provider, attempt, next)?;
            if is_settled {
                return Ok(Some(row.standing));
            }
            if is_over {
                break;
            }
        }
        self.wait(row, is_refused, rest.filter(|_| !counted))
    }

    fn note(&self, row: &Outbound, provider: &Provider, attempt: &Attempt) {
        self.metrics.attempts.of([provider.id(), attempt.outcome.as_str()]).inc();
        tracing::debug!(batch = %self.live.record.id, row = row.message.row, provider = provider.id(),
            outcome = attempt.outcome.as_str(), provider_code = attempt.provider_code,
            detail = attempt.detail, "attempt");
    }

    /// What the attempt leads to. That a probe fails is the provider's fault, and uses up no attempt of the
    /// row.
    fn next_step(
        &self,
        row: &Outbound,
        provider: &Provider,
        attempt: &Attempt,
        is_probe: bool,
    ) -> NextStep {
        let is_free = is_probe && attempt.outcome.is_certainly_not_accepted();
        let used = row.standing.attempts_on_step() + u32::from(!is_free);
        let schedule = provider.settings().retry;
        match after_attempt(attempt, used, schedule.attempts_max, provider.resends_unknown()) {
            NextStep::Retry { code, counts, hint } => {
                NextStep::Retry { code, counts: counts && !is_free, hint }
            }
            settle => settle,
        }
    }

    async fn attempt(
        &self,
        row: &mut Outbound,
        provider: &Arc<Provider>,
    ) -> Result<Reply, DispatchError> {
        if self.traffic.is_stuck() {
            return Ok(Reply::Stopped);
        }
        let ready = async {
            let pass = match provider.pass(self.traffic.comer(row), &row.message.sender).await? {
                Ok(pass) => pass,
                Err(later) => return Ok::<_, DispatchError>(Err(later)),
            };
            let ready = provider.channel.ready().await;
            Ok(Ok((pass, ready)))
        };
        let ready = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Ok(Reply::Stopped),
            ready = ready => ready?,
        };
        let (pass, ready) = match ready {
            Ok((pass, Ok(ready))) => (pass, ready),
            Ok((pass, Err(attempt))) => {
                row.apply(RowEvent::Claimed)?;
                return Ok(self.answered(provider, pass, attempt));
            }
            Err(Later { why: Limit::Turn, .. }) => return Ok(Reply::Stopped),
            Err(later) => return Ok(Reply::Later(later)),
        };
        let is_late = self.world.clock.now() >= row.allowed_until;
        if is_late || provider.is_paused() || self.traffic.is_stuck() {
            ready.release();
            return Ok(Reply::Stopped);
        }
        row.message.attempt = row.standing.attempts_on_step() + 1;
        match self.live.mark_started(self.chunk, self.window, row.standing.index, provider.id()) {
            Err(error) if error.is_for_room() => {
                // What cannot be recorded is not begun. The chunk is due again at once: without a wait it
                // would be claimed and released in a circle.
                ready.release();
                tokio::select! {
                    () = self.stopping.cancelled() => {}
                    () = tokio::time::sleep(ROOM_WAIT) => {}
                }
                return Ok(Reply::Stopped);
            }
            marked => marked?,
        }
        row.apply(RowEvent::Claimed)?;
        // Boxed, since it is large and few rows of a window are this far at the same time.
        let attempt = Box::pin(ready.send(&row.message)).await;
        Ok(self.answered(provider, pass, attempt))
    }

    /// An answer has its consequences for the provider and for the batch before its row's are drawn.
    fn answered(&self, provider: &Provider, pass: Pass, mut attempt: Attempt) -> Reply {
        let is_probe = pass.is_probe();
        provider.settle(pass, &mut attempt);
        if self.traffic.note(&attempt) {
            self.nudge.notify_one();
        }
        Reply::Answered { attempt, is_probe }
    }

    /// What the attempt makes of the row. Where another one follows it is due by the provider's
    /// schedule, at the latest when the row expires.
    fn tried(
        &self,
        row: &mut Outbound,
        provider: &Provider,
        attempt: Attempt,
        next: NextStep,
    ) -> Result<(), DispatchError> {
        let now = self.world.clock.now();
        let mut due = now;
        if let NextStep::Retry { counts, hint, .. } = next {
            let attempts = row.standing.attempts_on_step() + u32::from(counts);
            let schedule = provider.settings().retry;
            let delay = match (hint, provider.rest()) {
                (Some(hint), _) => hint,
                (None, Some(rest)) => rest,
                (None, None) => schedule
                    .delay(attempts.max(1), self.world.dice.fraction())
                    .unwrap_or(schedule.max),
            };
            due = now.saturating_add(delay).unwrap_or(row.expires_at).min(row.expires_at);
        }
        let provider = provider.id().to_owned();
        let channel = row.message.channel;
        row.apply(RowEvent::Tried(Box::new(Tried {
            channel,
            provider,
            attempt,
            next,
            at: now,
            due,
        })))?;
        if row.standing.is_settled() {
            let test = self.live.record.realm().yes_no();
            self.metrics.rows_settled.of([row.standing.status.as_str(), test]).inc();
        }
        Ok(())
    }

    /// The row waits for its next try; where none counted at the latest until a provider wakes that was
    /// not tried.
    fn wait(
        &self,
        mut row: Outbound,
        is_refused: bool,
        rest: Option<(Timestamp, ReasonCode)>,
    ) -> Result<Option<RowOutcome>, DispatchError> {
        let due = row.standing.deferred_until.filter(|_| is_refused);
        match (due, rest) {
            (None, None) => return Ok(None),
            (Some(_), None) => {}
            (Some(due), Some((until, _))) => {
                let code = row.standing.code;
                row.apply(RowEvent::Postponed { until: until.min(due), code })?;
            }
            // Every provider rests: the row is as it was, and due when one of them wakes. Where all are
            // paused it is due at once, and waits as rows of a paused batch do.
            (None, Some((until, code))) => {
                let until = until.min(row.expires_at);
                row.apply(RowEvent::Postponed { until, code: Some(code) })?;
            }
        }
        Ok(Some(row.standing))
    }
}

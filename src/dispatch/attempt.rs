//! One row out: turn, connection, start mark, attempt; the next provider where that is safe.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::error::DispatchError;
use super::live::LiveBatch;
use super::provider::Provider;
use crate::batch::{Chain, IllegalRowMove, NextStep, RowEvent, RowOutcome, Tried, after_attempt};
use crate::codes::ReasonCode;
use crate::model::{Attempt, OutgoingMessage};
use crate::telemetry::Metrics;
use crate::world::World;

/// A row that may be sent now.
#[derive(Debug)]
pub(super) struct Outbound {
    /// Where it stands.
    pub(super) standing: RowOutcome,
    pub(super) chain: Chain,
    pub(super) message: OutgoingMessage,
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
    pub(super) chunk: u32,
    pub(super) window: u32,
    pub(super) world: Arc<World>,
    pub(super) metrics: Arc<Metrics>,
    /// Cancelled: no new attempt begins.
    pub(super) stopping: CancellationToken,
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
            if let Some(resting) = provider.resting(self.world.clock.now()) {
                rest = Some(rest.map_or(resting, |earlier| earlier.min(resting)));
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
            row.apply(RowEvent::Claimed)?;
            let Some(attempt) = self.attempt(&mut row, &provider).await? else {
                let (code, until) = (row.standing.code, row.standing.deferred_until);
                let Some(until) = until.filter(|_| is_refused) else { return Ok(None) };
                row.apply(RowEvent::Postponed { until, code })?;
                return Ok(Some(row.standing));
            };
            self.note(&row, &provider, &attempt);
            let schedule = provider.settings().retry;
            let used = row.standing.attempts_on_step() + 1;
            let resends = provider.resends_unknown();
            let next = after_attempt(&attempt, used, schedule.attempts_max, resends);
            let is_over = !attempt.outcome.is_certainly_not_accepted();
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
        provider.note(attempt);
        self.metrics.attempts.of([provider.id(), attempt.outcome.as_str()]).inc();
        tracing::debug!(batch = %self.live.record.id, row = row.message.row, provider = provider.id(),
            outcome = attempt.outcome.as_str(), provider_code = attempt.provider_code,
            detail = attempt.detail, "attempt");
    }

    async fn attempt(
        &self,
        row: &mut Outbound,
        provider: &Arc<Provider>,
    ) -> Result<Option<Attempt>, DispatchError> {
        let ready = async {
            provider.wait_for_turn().await;
            provider.channel.ready().await
        };
        let ready = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Ok(None),
            ready = ready => ready,
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(attempt) => return Ok(Some(attempt)),
        };
        if self.world.clock.now() >= row.allowed_until || provider.is_paused() {
            ready.release();
            return Ok(None);
        }
        row.message.attempt = row.standing.attempts_on_step() + 1;
        match self.live.mark_started(self.chunk, self.window, row.standing.index, provider.id()) {
            Err(error) if error.is_for_room() => {
                // What cannot be recorded is not begun.
                ready.release();
                return Ok(None);
            }
            marked => marked?,
        }
        // Boxed, since it is large and few rows of a window are this far at the same time.
        Ok(Some(Box::pin(ready.send(&row.message)).await))
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
            let delay = match (hint, provider.resting(now)) {
                (Some(hint), _) => hint,
                (None, Some((until, _))) => self.world.clock.until(until),
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

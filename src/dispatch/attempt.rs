//! One row out: turn, connection, start mark, attempt; the next provider where that is safe.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::error::DispatchError;
use super::live::LiveBatch;
use super::provider::{Pass, Provider};
use super::traffic::Traffic;
use crate::batch::{NextStep, after_attempt};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, OutgoingMessage, Status, Urgency};
use crate::pacing::{Later, Limit};
use crate::spool::RowOutcome;
use crate::telemetry::Metrics;
use crate::world::World;

/// A row that may be sent now.
#[derive(Debug)]
pub(super) struct Outbound {
    /// Position in the chunk.
    pub(super) index: u32,
    pub(super) message: OutgoingMessage,
    pub(super) urgency: Urgency,
    /// What it counts for at limits: the parts of an SMS.
    pub(super) cost: u32,
    /// Attempts that counted so far.
    pub(super) attempts: u32,
    /// It may have gone out before: only an attempt that settles it says more.
    pub(super) in_doubt: bool,
    pub(super) expires_at: Timestamp,
    /// From then on policy must be asked again: the row expires or its window closes.
    pub(super) allowed_until: Timestamp,
    /// In order of failover.
    pub(super) providers: Vec<Arc<Provider>>,
}

impl Outbound {
    /// Why the row waits, as its outcome keeps it: doubt outlives every other reason.
    fn waits_for(&self, code: Option<ReasonCode>) -> Option<ReasonCode> {
        if self.in_doubt { Some(ReasonCode::DeliveryOutcomeUnknown) } else { code }
    }

    /// How the row ends: out of attempts, one that may have gone out is still in doubt.
    fn ends_as(&self, status: Status, code: Option<ReasonCode>) -> (Status, Option<ReasonCode>) {
        if self.in_doubt && status == Status::Expired {
            return (Status::Unknown, Some(ReasonCode::DeliveryOutcomeUnknown));
        }
        (status, code)
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

/// The last thing a provider said, while others are tried.
struct Refusal {
    code: Option<ReasonCode>,
    provider: Arc<Provider>,
    attempt: Attempt,
    hint: Option<Duration>,
}

/// What came of one provider.
enum Tried {
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
        let mut refusal: Option<Refusal> = None;
        let mut counted = false;
        let mut rest: Option<(Timestamp, ReasonCode)> = None;
        for provider in std::mem::take(&mut row.providers) {
            if provider.is_paused() {
                continue;
            }
            let (attempt, is_probe) = match self.attempt(&mut row, &provider).await? {
                Tried::Answered { attempt, is_probe } => (attempt, is_probe),
                Tried::Later(later) => {
                    let until = self.world.clock.now().saturating_add(later.wait);
                    let resting = (until.unwrap_or(row.expires_at), later.why.code());
                    rest = Some(rest.map_or(resting, |earlier| earlier.min(resting)));
                    if later.elsewhere {
                        continue;
                    }
                    break;
                }
                Tried::Stopped => {
                    return Ok(refusal.map(|refusal| self.wait(&row, refusal, counted, rest)));
                }
            };
            self.metrics.attempts.of([provider.id(), attempt.outcome.as_str()]).inc();
            tracing::debug!(batch = %self.live.record.id, row = row.message.row, provider = provider.id(),
                outcome = attempt.outcome.as_str(), provider_code = attempt.provider_code,
                detail = attempt.detail, "attempt");
            let schedule = provider.settings().retry;
            let used = row.attempts + 1;
            // That a probe fails is the provider's fault, and uses up no attempt of the row.
            let is_free = is_probe && attempt.outcome.is_certainly_not_accepted();
            let judged = if is_free { row.attempts } else { used };
            match after_attempt(&attempt, judged, schedule.attempts_max, provider.resends_unknown())
            {
                NextStep::Settle { status, code } => {
                    row.attempts = used;
                    let (status, code) = row.ends_as(status, code);
                    return Ok(Some(self.settled(&row, &provider, attempt, status, code)));
                }
                NextStep::Retry { code, counts, hint } => {
                    let counts = counts && !is_free;
                    counted |= counts;
                    row.attempts += u32::from(counts);
                    let may_have_left = !attempt.outcome.is_certainly_not_accepted();
                    refusal = Some(Refusal { code, provider, attempt, hint });
                    if may_have_left {
                        break;
                    }
                }
            }
        }
        Ok(match refusal {
            Some(refusal) => Some(self.wait(&row, refusal, counted, rest)),
            // Every provider rests: the row is as it was, and due when one of them wakes. Where all are
            // paused it is due at once, and waits as rows of a paused batch do.
            None => rest.map(|(until, code)| {
                let mut outcome = blank(&row, Status::Deferred);
                outcome.code = row.waits_for(Some(code));
                outcome.deferred_until = Some(until.min(row.expires_at));
                outcome
            }),
        })
    }

    async fn attempt(
        &self,
        row: &mut Outbound,
        provider: &Arc<Provider>,
    ) -> Result<Tried, DispatchError> {
        if self.traffic.is_stuck() {
            return Ok(Tried::Stopped);
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
            () = self.stopping.cancelled() => return Ok(Tried::Stopped),
            ready = ready => ready?,
        };
        let (pass, ready) = match ready {
            Ok((pass, Ok(ready))) => (pass, ready),
            Ok((pass, Err(attempt))) => return Ok(self.answered(provider, pass, attempt)),
            Err(Later { why: Limit::Turn, .. }) => return Ok(Tried::Stopped),
            Err(later) => return Ok(Tried::Later(later)),
        };
        let is_late = self.world.clock.now() >= row.allowed_until;
        if is_late || provider.is_paused() || self.traffic.is_stuck() {
            ready.release();
            return Ok(Tried::Stopped);
        }
        row.message.attempt = row.attempts + 1;
        match self.live.mark_started(self.chunk, self.window, row.index, provider.id()) {
            Err(error) if error.is_for_room() => {
                // What cannot be recorded is not begun.
                ready.release();
                return Ok(Tried::Stopped);
            }
            marked => marked?,
        }
        // Boxed, since it is large and few rows of a window are this far at the same time.
        let attempt = Box::pin(ready.send(&row.message)).await;
        Ok(self.answered(provider, pass, attempt))
    }

    /// An answer has its consequences for the provider and for the batch before its row's are drawn.
    fn answered(&self, provider: &Provider, pass: Pass, mut attempt: Attempt) -> Tried {
        let is_probe = pass.is_probe();
        provider.settle(pass, &mut attempt);
        if self.traffic.note(&attempt) {
            self.nudge.notify_one();
        }
        Tried::Answered { attempt, is_probe }
    }

    fn settled(
        &self,
        row: &Outbound,
        provider: &Provider,
        attempt: Attempt,
        status: Status,
        code: Option<ReasonCode>,
    ) -> RowOutcome {
        let now = self.world.clock.now();
        let mut outcome = blank(row, status);
        outcome.code = code;
        outcome.provider = provider.id().to_owned();
        outcome.provider_message_id = attempt.provider_message_id;
        outcome.provider_code = attempt.provider_code;
        let went_out = attempt.outcome == Outcome::Accepted;
        outcome.submitted_at = went_out.then_some(now);
        outcome.sent_at = (status == Status::Sent).then_some(now);
        outcome.ended_at = Some(now);
        let test = self.live.record.realm().yes_no();
        self.metrics.rows_settled.of([status.as_str(), test]).inc();
        outcome
    }

    /// The row waits for its next try, at the latest until it expires.
    fn wait(
        &self,
        row: &Outbound,
        refusal: Refusal,
        counted: bool,
        rest: Option<(Timestamp, ReasonCode)>,
    ) -> RowOutcome {
        let now = self.world.clock.now();
        let schedule = refusal.provider.settings().retry;
        let delay = match (refusal.hint, refusal.provider.rest()) {
            (Some(hint), _) => hint,
            (None, Some(rest)) => rest,
            (None, None) => schedule
                .delay(row.attempts.max(1), self.world.dice.fraction())
                .unwrap_or(schedule.max),
        };
        let mut due = now.saturating_add(delay).unwrap_or(row.expires_at);
        if let Some((until, _)) = rest.filter(|_| !counted) {
            due = due.min(until);
        }
        let mut outcome = blank(row, Status::Deferred);
        outcome.code = row.waits_for(refusal.code);
        outcome.provider = refusal.provider.id().to_owned();
        outcome.provider_code = refusal.attempt.provider_code;
        outcome.deferred_until = Some(due.min(row.expires_at));
        outcome
    }
}

fn blank(row: &Outbound, status: Status) -> RowOutcome {
    RowOutcome {
        index: row.index,
        status,
        code: None,
        attempts: row.attempts,
        provider: String::new(),
        provider_message_id: String::new(),
        provider_code: String::new(),
        channels_tried: row.message.channel.as_str().to_owned(),
        deferred_until: None,
        submitted_at: None,
        sent_at: None,
        ended_at: None,
    }
}

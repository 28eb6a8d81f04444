//! One row out: turn, connection, start mark, attempt; the next provider where that is safe.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::chunk::ROOM_WAIT;
use super::error::DispatchError;
use super::live::LiveBatch;
use super::provider::{Pass, Provider};
use super::queues::Untried;
use super::traffic::Traffic;
use crate::batch::{
    Chain, IllegalRowMove, NextStep, RowEvent, RowOutcome, Tried, after_attempt, full_rounds,
};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, OutgoingMessage, Urgency};
use crate::pacing::{HINT_MAX, Later, Limit};
use crate::store::StoreError;
use crate::world::World;

/// Rows are due on a grid of at most this part of their wait.
const GRID_PART: u32 = 16;

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
    pub(super) tries: Tries,
    pub(super) untried: Untried,
}

/// How often a row may still be tried on its step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tries {
    /// So often it was offered to all providers of the channel.
    rounds: u32,
    /// Attempts that all of them allow together.
    attempts_max: u32,
}

impl Tries {
    pub(super) fn of(standing: &RowOutcome, providers: &[Arc<Provider>]) -> Tries {
        let maxes: Vec<u32> = providers.iter().map(attempts_max).collect();
        Tries {
            rounds: full_rounds(standing.attempts_on_step(), &maxes),
            attempts_max: maxes.iter().fold(0, |all, most| all.saturating_add(*most)),
        }
    }

    /// A row of these never waits longer for its next try, unless the clock was put.
    pub(super) fn longest_wait(providers: &[Arc<Provider>]) -> Duration {
        let longest = providers.iter().map(|provider| provider.settings().retry.max).max();
        // Dice, grid and provider's hint.
        longest.unwrap_or_default().max(HINT_MAX) * 4 / 3
    }

    /// Leaves out who had all its attempts, unless nobody else is left.
    pub(super) fn leave_out_used_up(&self, providers: &mut Vec<Arc<Provider>>) {
        let is_left = |provider: &Arc<Provider>| attempts_max(provider) > self.rounds;
        if providers.iter().any(is_left) {
            providers.retain(is_left);
        }
    }
}

fn attempts_max(provider: &Arc<Provider>) -> u32 {
    provider.settings().retry.attempts_max
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
    /// Cancelled: no new attempt begins.
    pub(super) stopping: CancellationToken,
    /// Cancelled: nobody waits for a turn any more.
    pub(super) patience: CancellationToken,
    /// Wakes the station where the batch is stuck.
    pub(super) nudge: Arc<Notify>,
    /// Outcomes of the chunk find no room: nothing begins.
    pub(super) has_unwritten: Arc<AtomicBool>,
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
        mut row: Box<Outbound>,
    ) -> Result<Option<RowOutcome>, DispatchError> {
        let (mut is_refused, mut counted) = (false, false);
        let mut rest: Option<(Timestamp, ReasonCode)> = None;
        let providers = std::mem::take(&mut row.providers);
        for provider in providers {
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
                row.untried.waits_again();
            }
            let (attempt, is_probe) = match self.attempt(&mut row, &provider).await? {
                Reply::Answered { attempt, is_probe } => (attempt, is_probe),
                Reply::Later(later) => {
                    let until = on_grid(self.world.clock.now(), later.wait, Duration::ZERO);
                    let resting = (until, later.why.code());
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
        tracing::debug!(batch = %self.live.record.id, row = row.message.row, provider = provider.id(),
            outcome = attempt.outcome.as_str(), provider_code = attempt.provider_code,
            detail = &*attempt.detail, "attempt");
    }

    /// What the attempt leads to. That a probe fails is the provider's fault, and uses up no attempt of the
    /// row. Attempts are used up when the row had as many as all its providers allow together; of a row that one of
    /// them may have, when that one had its own.
    fn next_step(
        &self,
        row: &Outbound,
        provider: &Arc<Provider>,
        attempt: &Attempt,
        is_probe: bool,
    ) -> NextStep {
        let is_free = is_probe && attempt.outcome.is_certainly_not_accepted();
        let used = row.standing.attempts_on_step() + u32::from(!is_free);
        let in_doubt = row.standing.is_in_doubt() || attempt.outcome == Outcome::Unknown;
        let most = if in_doubt { attempts_max(provider) } else { row.tries.attempts_max };
        match after_attempt(attempt, used, most, provider.resends_unknown()) {
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
        let pass = tokio::select! {
            biased;
            () = self.patience.cancelled() => return Ok(Reply::Stopped),
            pass = provider.pass(self.traffic.comer(row), &row.message.sender) => pass,
        };
        let pass = match pass {
            // What a sender's ramp cannot record is not begun.
            Err(error) if error.is_for_room() => return Ok(Reply::Stopped),
            pass => pass?,
        };
        let pass = match pass {
            Ok(pass) => pass,
            Err(Later { why: Limit::Turn, .. }) => return Ok(Reply::Stopped),
            Err(later) => return Ok(Reply::Later(later)),
        };
        // However long it takes to connect: that the provider does not answer must be found out.
        let ready = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Ok(Reply::Stopped),
            ready = provider.channel.ready() => ready,
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(attempt) => {
                row.apply(RowEvent::Claimed)?;
                return Ok(self.answered(provider, pass, attempt));
            }
        };
        let is_halted = self.traffic.is_halted().await?;
        // Nothing is waited for from here on until it has begun.
        let is_late = self.world.clock.now() >= row.allowed_until;
        if is_halted || is_late || provider.is_paused() {
            ready.release();
            return Ok(Reply::Stopped);
        }
        if let Some(later) = pass.closed_meanwhile() {
            ready.release();
            return Ok(Reply::Later(later));
        }
        row.message.attempt = row.standing.attempts_on_step() + 1;
        match self.mark_started(row, provider) {
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
        row.untried.begins();
        row.apply(RowEvent::Claimed)?;
        // Boxed, since it is large and few rows of a window are this far at the same time.
        let attempt = Box::pin(ready.send(&row.message)).await;
        Ok(self.answered(provider, pass, attempt))
    }

    /// Outcomes that find no room come first: a mark is so small that it would still find some.
    fn mark_started(&self, row: &Outbound, provider: &Provider) -> Result<(), DispatchError> {
        if self.has_unwritten.load(Ordering::Relaxed) {
            return Err(StoreError::Full.into());
        }
        self.live.mark_started(self.chunk, self.window, row.standing.index, provider.id())
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
            let delay = self.delay(row, provider, counts, hint);
            due = due_within(now, delay, row.expires_at);
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
        Ok(())
    }

    /// How long the row waits for its next try. What the provider asks for lengthens the schedule of attempts
    /// that count, and never shortens it: it would use them all up.
    fn delay(
        &self,
        row: &Outbound,
        provider: &Provider,
        counts: bool,
        hint: Option<Duration>,
    ) -> Duration {
        let asked = hint.or_else(|| provider.rest());
        let rounds = row.tries.rounds + u32::from(counts);
        let schedule = provider.settings().retry;
        let planned = || {
            let delay = schedule.delay(rounds.max(1), self.world.dice.fraction());
            delay.unwrap_or(schedule.max)
        };
        match asked {
            Some(asked) if !counts => asked,
            asked => planned().max(asked.unwrap_or_default()),
        }
    }

    /// The row waits for its next try; where none counted at the latest until a provider wakes that was
    /// not tried.
    fn wait(
        &self,
        mut row: Box<Outbound>,
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

/// When a row is tried again: on the grid, unless that alone would have it run out of time.
fn due_within(now: Timestamp, delay: Duration, expires_at: Timestamp) -> Timestamp {
    let rounded = on_grid(now, delay, delay / GRID_PART);
    if rounded < expires_at {
        return rounded;
    }
    now.saturating_add(delay).unwrap_or(Timestamp::MAX).min(expires_at)
}

/// When a row is due that waits so long: rounded up to a grid that all rows share, of whole seconds and about
/// `grid` wide. Rows of a chunk that wait alike come together, and wake it once.
fn on_grid(now: Timestamp, wait: Duration, grid: Duration) -> Timestamp {
    let due = now.saturating_add(wait).unwrap_or(Timestamp::MAX);
    let whole = due.as_second() + i64::from(due.subsec_nanosecond() > 0);
    // Powers of two: the grids of waits that differ a little are the same, or each other's part.
    let grid = 1_i64 << grid.as_secs().max(1).ilog2();
    let rest = whole.rem_euclid(grid);
    let rounded = if rest == 0 { whole } else { whole + grid - rest };
    Timestamp::from_second(rounded).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_takes_no_row_its_last_try() {
        let at = |seconds: i64| Timestamp::from_second(1_800_000_001 + seconds).unwrap();
        let hour = Duration::from_secs(3600);
        let due = |expires_at| due_within(at(0), hour, at(expires_at));
        assert_eq!(due(86_400), on_grid(at(0), hour, hour / GRID_PART));
        assert!(
            due(86_400) > at(3601),
            "the grid is wide enough for what follows to mean something"
        );
        assert_eq!(due(3601), at(3600), "one second is left for it");
        assert_eq!(due(3600), at(3600));
        assert_eq!(due(1800), at(1800), "there is no time for another one: it is expired then");
    }

    #[test]
    fn rows_that_wait_alike_are_due_together_and_never_early() {
        let at = |millis| Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap();
        let due = |millis: i64, seconds| {
            let wait = Duration::from_secs(seconds);
            on_grid(at(millis), wait, wait / GRID_PART)
        };
        assert_eq!(due(0, 5), at(5_000));
        assert_eq!(due(1, 5), at(6_000));
        assert_eq!(due(1, 0), at(1_000));
        for seconds in [1, 5, 60, 3600, 86_400] {
            let mut moments: Vec<_> = (0..1000).map(|n| due(n, seconds)).collect();
            assert!(moments.iter().zip(0..).all(|(due, n)| *due >= at(n + 1000 * seconds as i64)));
            moments.dedup();
            assert!(moments.len() <= 2, "{moments:?}");
            let most = 1000 * (seconds as i64 / 16 + 1);
            assert!(due(999, seconds) <= at(999 + 1000 * seconds as i64 + most));
        }
        // An hour, a fifth more or less: 1,440 seconds.
        let mut hour: Vec<_> = (2880..4320).map(|seconds| due(0, seconds)).collect();
        hour.sort();
        hour.dedup();
        assert!(hour.len() <= 13, "{}", hour.len());
        assert_eq!(on_grid(Timestamp::MAX, Duration::MAX, Duration::MAX), Timestamp::MAX);
    }
}

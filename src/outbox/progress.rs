//! Progress files: how far each open batch is, rewritten every few seconds.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::OutboxError;
use super::publication::{OpenBatch, ProgressOwner};
use super::settings::Settings;
use crate::batch::BatchState;
use crate::model::BatchId;
use crate::report::{Progress, ProgressState};
use crate::spool::Spool;
use crate::store::{BatchRecord, Store};

/// A progress file is rewritten at most this often.
pub(super) const PROGRESS_EVERY: Duration = Duration::from_secs(5);
/// Younger batches show nothing: a quick file's progress would only flicker.
const YOUNG: SignedDuration = SignedDuration::from_secs(1);
/// Chunks read from the store at a time.
const PAGE: usize = 256;

/// What was shown last of the batches that are open.
#[derive(Debug, Default)]
pub(super) struct ProgressFiles {
    shown: HashMap<BatchId, Shown>,
}

#[derive(Debug, Clone, Copy)]
struct Shown {
    at: Timestamp,
    done: u64,
    /// Of a batch that only waits: how many of its rows, and until when. Its file stays as it is.
    waits: Option<(u64, Option<Timestamp>)>,
}

/// Numbers of a batch's chunks, summed up.
#[derive(Debug, Default, Clone, Copy)]
struct Sums {
    open: u64,
    deferred: u64,
}

impl ProgressFiles {
    /// Writes what is due. A file that cannot be written is left for the next time.
    pub(super) fn tick(
        &mut self,
        store: &Store,
        spool: &Spool,
        settings: &Settings,
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        let open = store.open_batches()?;
        let ids: BTreeSet<BatchId> = open.iter().map(|record| record.id).collect();
        self.shown.retain(|batch, _| ids.contains(batch));
        for record in open {
            self.show(store, spool, settings, record, now)?;
        }
        Ok(())
    }

    fn show(
        &mut self,
        store: &Store,
        spool: &Spool,
        settings: &Settings,
        record: BatchRecord,
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        let before = self.shown.get(&record.id).copied();
        let every = SignedDuration::try_from(PROGRESS_EVERY).expect("a few seconds");
        let is_early = before.is_some_and(|shown| now.duration_since(shown.at) < every);
        if is_early || now.duration_since(record.claimed_at) < YOUNG {
            return Ok(());
        }
        let (id, tenant) = (record.id, record.tenant.clone());
        match OpenBatch::open(store, spool, settings, record).and_then(|b| b.show(before, now)) {
            Ok(Some(shown)) => {
                self.shown.insert(id, shown);
                Ok(())
            }
            Ok(None) => Ok(()),
            Err(error) if error.is_fatal() => Err(error),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(%tenant, batch = %id, error, "progress file not written");
                Ok(())
            }
        }
    }
}

impl OpenBatch {
    /// Writes the progress file, where this batch may have one and it says something new; returns what it says.
    fn show(&self, before: Option<Shown>, now: Timestamp) -> Result<Option<Shown>, OutboxError> {
        let is_running = self.record.state == BatchState::Running;
        // A newer file has the name, or an older one still shows its progress under it.
        if (is_running && !self.owns_name()?) || self.progress_owner()? == ProgressOwner::Other {
            return Ok(None);
        }
        let progress = if is_running { self.running(before, now)? } else { self.validating(now) };
        let is_waiting = matches!(progress.state, ProgressState::Scheduled | ProgressState::Paused);
        let waits = is_waiting.then_some((progress.deferred, progress.next_at));
        let is_old = |before: Shown| before.waits == waits && before.done == progress.done;
        if !is_waiting || !before.is_some_and(is_old) {
            self.publish_progress(&progress)?;
        }
        Ok(Some(Shown { at: now, done: progress.done, waits }))
    }

    fn validating(&self, now: Timestamp) -> Progress<'_> {
        Progress {
            file: self.record.name(),
            batch: self.record.id,
            state: ProgressState::Validating,
            total: 0,
            done: 0,
            deferred: 0,
            next_at: None,
            rate: None,
            eta: None,
            updated_at: now,
        }
    }

    fn running(&self, before: Option<Shown>, now: Timestamp) -> Result<Progress<'_>, OutboxError> {
        let sums = self.sums()?;
        let total = self.record.facts.rows_total;
        let done = total.saturating_sub(sums.open);
        let rate = before.map(|shown| rate(shown, done, now));
        let all_wait = sums.open > 0 && sums.deferred == sums.open;
        let is_paused = self.record.control.paused;
        let state = match (is_paused, all_wait) {
            (true, _) => ProgressState::Paused,
            (false, true) => ProgressState::Scheduled,
            (false, false) => ProgressState::Running,
        };
        let first = self.store.timers(self.record.id, 1)?.first().map(|(due, _)| *due);
        Ok(Progress {
            state,
            total,
            done,
            deferred: sums.deferred,
            // A time that has passed tells nobody anything.
            next_at: first.filter(|due| *due > now && !is_paused),
            rate,
            eta: rate
                .filter(|_| !all_wait && !is_paused)
                .and_then(|rate| eta(sums.open, rate, now)),
            ..self.validating(now)
        })
    }

    fn sums(&self) -> Result<Sums, OutboxError> {
        let (mut sums, mut from) = (Sums::default(), 0);
        loop {
            let page = self.store.chunks(self.record.id, from, PAGE)?;
            let Some(last) = page.last() else { return Ok(sums) };
            from = last.number + 1;
            for chunk in page {
                sums.open += u64::from(chunk.open);
                sums.deferred += u64::from(chunk.deferred);
            }
        }
    }
}

/// Rows per second since the last look.
fn rate(before: Shown, done: u64, now: Timestamp) -> f64 {
    let seconds = now.duration_since(before.at).as_secs_f64();
    if seconds > 0.0 { done.saturating_sub(before.done) as f64 / seconds } else { 0.0 }
}

fn eta(open: u64, rate: f64, now: Timestamp) -> Option<Timestamp> {
    if rate <= 0.0 {
        return None;
    }
    let wait = SignedDuration::try_from_secs_f64(open as f64 / rate).ok()?;
    now.checked_add(wait).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_eta_come_from_two_looks() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let before = Shown { at: at(100), done: 10, waits: None };
        assert_eq!(rate(before, 60, at(105)), 10.0);
        assert_eq!(rate(before, 60, at(100)), 0.0);
        assert_eq!(rate(before, 5, at(105)), 0.0);
        assert_eq!(eta(40, 10.0, at(105)), Some(at(109)));
        assert_eq!(eta(40, 0.0, at(105)), None);
        assert_eq!(eta(u64::MAX, 1e-300, at(105)), None);
    }
}

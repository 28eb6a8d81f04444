//! Batches set aside: their files cannot be read, or this program falls over a row of theirs.
//!
//! Nothing more of such a batch begins, the operator and the tenant are told, and it is opened anew again
//! and again. Everybody else's messages go on. Only what cannot be written, and the store, stop the station.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::error::DispatchError;
use super::station::{Dispatch, Ended};
use crate::batch::BatchState;
use crate::codes::ReasonCode;
use crate::model::{BatchId, Notice};
use crate::store::StoreError;
use crate::worker::blocking;

/// How long a batch that was set aside stays so, before it is tried again.
const ASIDE_WAIT: Duration = Duration::from_secs(60);

/// A panic of a batch's task is a fault of that batch alone.
pub(super) async fn caught<T>(
    task: impl Future<Output = Result<T, DispatchError>>,
) -> Result<T, DispatchError> {
    AssertUnwindSafe(task).catch_unwind().await.unwrap_or(Err(DispatchError::Panicked))
}

impl Dispatch {
    /// Sets the batch of a task aside that ended with an error which is that batch's alone; gives back what
    /// ended otherwise.
    pub(super) async fn spare(&mut self, ended: Ended) -> Result<Option<Ended>, DispatchError> {
        let (batch, error) = match ended {
            Ended::Chunk(batch, chunk, Err(error)) if error.is_of_one_batch() => {
                if let Some(entry) = self.batches.get_mut(&batch) {
                    entry.active.remove(&chunk);
                }
                (batch, error)
            }
            Ended::Order(batch, Err(error)) if error.is_of_one_batch() => {
                if let Some(entry) = self.batches.get_mut(&batch) {
                    entry.ordered = false;
                }
                (batch, error)
            }
            Ended::Opened(batch, Err(error)) if error.is_of_one_batch() => {
                self.opening.ended(batch);
                (batch, error)
            }
            ended => return Ok(Some(ended)),
        };
        if let Some(entry) = self.batches.get(&batch) {
            // What is on the wire ends first.
            entry.halt.cancel();
        }
        let again = self.world.clock.instant() + ASIDE_WAIT;
        self.opening.aside.insert(batch, again);
        self.tell_of_aside(batch, &error).await?;
        Ok(None)
    }

    async fn tell_of_aside(
        &mut self,
        batch: BatchId,
        error: &DispatchError,
    ) -> Result<(), DispatchError> {
        let (store, now) = (self.store.clone(), self.world.clock.now());
        let told = blocking(move || {
            let Some(record) = store.batch(batch)? else { return Ok(None) };
            let code = ReasonCode::FileInternal;
            let message =
                "a fault on our side keeps the rest of the file from being sent: it waits";
            let hint = "do not send it again; tell the operator";
            let notice = Notice {
                realm: record.realm(),
                hint: hint.to_owned(),
                ..Notice::warning(now, code, record.name(), message.to_owned())
            };
            match store.notice_once(&record.tenant, &notice, &format!("aside {batch}"), "") {
                // It is said when it is found again.
                Ok(_) | Err(StoreError::Full) => Ok(Some(record)),
                Err(error) => Err(error),
            }
        });
        if let Some(record) = told.await? {
            tracing::error!(tenant = %record.tenant, %batch, file = record.name(),
                error = error as &dyn std::error::Error,
                "batch set aside; it is tried again every minute");
            self.outbox.notify_one();
        }
        Ok(())
    }

    /// Closes the files of batches that were set aside, once nothing of theirs is under way.
    pub(super) fn leave_aside(&mut self) {
        let is_idle = |batch: &&BatchId| {
            self.batches.get(batch).is_some_and(|e| e.active.is_empty() && !e.ordered)
        };
        let idle: Vec<BatchId> = self.opening.aside.keys().filter(is_idle).copied().collect();
        for batch in idle {
            self.forget(batch);
        }
        self.metrics.batches_aside.set(self.opening.aside.len() as i64);
    }

    /// Opens what was set aside long enough ago.
    pub(super) async fn try_aside(&mut self) -> Result<(), DispatchError> {
        let now = self.world.clock.instant();
        let is_due = |id: &BatchId| !self.batches.contains_key(id);
        let aside = self.opening.aside.iter();
        let due = aside.filter(|(id, at)| **at <= now && is_due(id)).map(|(id, _)| *id);
        for batch in due.collect::<Vec<_>>() {
            let store = self.store.clone();
            let record = blocking(move || store.batch(batch)).await?;
            self.opening.aside.remove(&batch);
            if let Some(record) = record.filter(|record| record.state == BatchState::Running) {
                self.open(record);
            }
        }
        Ok(())
    }
}

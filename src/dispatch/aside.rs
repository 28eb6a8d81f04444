//! Batches set aside: their files cannot be read, or this program falls over a row of theirs.
//!
//! Nothing more of such a batch begins, the operator and the tenant are told, and it is opened anew again
//! and again. Everybody else's messages go on. Only what cannot be written, and the store, stop the station.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;

use super::entry::Order;
use super::error::DispatchError;
use super::station::{Dispatch, Ended};
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
                self.leave_chunk(batch, chunk);
                (batch, error)
            }
            Ended::Order(batch, Err(error)) if error.is_of_one_batch() => {
                self.leave_order(batch, Order::Waits { to_look: false });
                (batch, error)
            }
            Ended::Opened(batch, Err(error)) if error.is_of_one_batch() => {
                self.leave_opening(batch);
                (batch, error)
            }
            ended => return Ok(Some(ended)),
        };
        if let Some(open) = self.open_mut(batch) {
            // What is on the wire ends first; then its files are closed.
            open.halt.cancel();
        }
        let again = self.world.clock.instant() + ASIDE_WAIT;
        self.aside.insert(batch, again);
        self.seat(batch);
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

    /// Lets batches go on that were set aside long enough ago.
    pub(super) async fn try_aside(&mut self) -> Result<(), DispatchError> {
        let now = self.world.clock.instant();
        let is_closed = |id: &BatchId| !self.open.contains(id);
        let aside = self.aside.iter();
        let due = aside.filter(|(id, at)| **at <= now && is_closed(id)).map(|(id, _)| *id);
        for batch in due.collect::<Vec<_>>() {
            let store = self.store.clone();
            let first = blocking(move || store.timers(batch, 1)).await?;
            self.aside.remove(&batch);
            if let Some(entry) = self.batches.get_mut(&batch) {
                entry.due = first.first().map(|(due, _)| *due);
            }
            self.seat(batch);
        }
        self.metrics.batches_aside.set(self.aside.len() as i64);
        Ok(())
    }
}

//! The station heeds orders: before one is followed, the batch's tasks end what is on the wire.

use std::sync::Arc;

use super::aside::caught;
use super::error::DispatchError;
use super::order::OrderTask;
use super::station::{Dispatch, Ended};
use crate::batch::BatchState;
use crate::model::BatchId;
use crate::store::{BatchRecord, OrderAct, OrderRecord};
use crate::worker::blocking;

impl Dispatch {
    /// Takes note of what was ordered; true where something came of it at once.
    pub(super) async fn heed(&mut self) -> Result<bool, DispatchError> {
        let store = self.store.clone();
        let orders = blocking(move || store.next_orders()).await?;
        let mut any = false;
        for (batch, order) in orders {
            any |= self.heed_one(batch, order).await?;
        }
        Ok(any)
    }

    async fn heed_one(
        &mut self,
        batch: BatchId,
        order: OrderRecord,
    ) -> Result<bool, DispatchError> {
        let Some(entry) = self.batches.get_mut(&batch) else {
            return match self.opening.holds(batch) {
                true => Ok(false),
                false => self.open_for(batch, order).await,
            };
        };
        if entry.ordered {
            return Ok(false);
        }
        entry.halt.cancel();
        if !entry.active.is_empty() {
            // The tasks end soon, and wake the station.
            return Ok(false);
        }
        entry.ordered = true;
        if matches!(order.act, OrderAct::Look | OrderAct::Retry) {
            // Somebody mended something, perhaps: the rows that come now find it out.
            self.providers.values().for_each(|provider| provider.look_now());
        }
        let task = OrderTask {
            live: Arc::clone(&entry.live),
            order,
            store: self.store.clone(),
            world: Arc::clone(&self.world),
            metrics: Arc::clone(&self.metrics),
            stopping: self.stopping.clone(),
        };
        self.spawn_order(batch, task);
        Ok(true)
    }

    fn spawn_order(&mut self, batch: BatchId, task: OrderTask) {
        self.tasks.spawn(async move { Ended::Order(batch, caught(task.run()).await) });
    }

    /// A batch that was opened again has no timer yet that would make it known.
    async fn open_for(
        &mut self,
        batch: BatchId,
        order: OrderRecord,
    ) -> Result<bool, DispatchError> {
        let store = self.store.clone();
        let running = blocking(move || match store.batch(batch)? {
            Some(record) if record.state == BatchState::Running => Ok(Some(record)),
            // It is over: there is nothing to do for the order.
            _ => store.end_order(batch, &order).map(|_| None),
        })
        .await?;
        // What is to be opened first wakes the station when it is.
        let is_over = running.is_none();
        running.into_iter().for_each(|record| self.open(record));
        Ok(is_over)
    }

    /// An order was followed: the batch goes on as its record says now.
    pub(super) async fn resume_after_order(
        &mut self,
        batch: BatchId,
        record: Option<Box<BatchRecord>>,
    ) -> Result<(), DispatchError> {
        let halt = self.stopping.child_token();
        if let Some(entry) = self.batches.get_mut(&batch) {
            entry.ordered = false;
            entry.next_due = None;
            if let Some(record) = record {
                entry.halt = halt;
                entry.heed(&record);
            }
        }
        self.close_if_done(batch).await
    }
}

//! The station heeds orders: before one is followed, the batch's tasks end what is on the wire.

use std::sync::Arc;

use super::aside::caught;
use super::entry::{Entry, Files, Order};
use super::error::DispatchError;
use super::order::{Followed, OrderTask};
use super::station::{Dispatch, Ended};
use crate::model::BatchId;
use crate::store::OrderAct;

/// Orders followed at the same time: each may have to open a batch.
const FOLLOWED_MAX: usize = 8;

impl Dispatch {
    /// Something was ordered of a batch: from here on nothing of it begins but that.
    pub(super) fn note_order(&mut self, batch: BatchId, act: OrderAct) {
        let Some(entry) = self.batches.get_mut(&batch) else { return };
        if let Some(open) = entry.open() {
            open.halt.cancel();
        }
        entry.ordered_again |= entry.order == Order::Followed;
        if entry.order != Order::None {
            return;
        }
        entry.order = Order::Waits { to_look: act == OrderAct::Look };
        if matches!(act, OrderAct::Look | OrderAct::Retry) {
            // Somebody mended something, perhaps: the rows that come now find it out.
            self.providers.values().for_each(|provider| provider.look_now());
        }
        self.seat(batch);
    }

    /// Follows orders, as many at a time as there may be; true where one was begun.
    pub(super) fn follow_orders(&mut self) -> bool {
        let mut any = false;
        while self.following < FOLLOWED_MAX
            && let Some(batch) = self.orders.pop_front().or_else(|| self.looks.pop_front())
        {
            let Some(entry) = self.batches.get_mut(&batch) else { continue };
            let is_aside = self.aside.contains_key(&batch);
            if entry.order != Order::InLine || is_aside {
                if is_aside {
                    entry.order = Order::Waits { to_look: false };
                }
                continue;
            }
            entry.order = Order::Followed;
            self.following += 1;
            let task = OrderTask {
                batch,
                live: entry.open().map(|open| Arc::clone(&open.live)),
                opener: self.opener(),
                metrics: Arc::clone(&self.metrics),
                stopping: self.stopping.clone(),
            };
            self.tasks.spawn(async move { Ended::Order(batch, caught(task.run()).await) });
            self.seat(batch);
            any = true;
        }
        any
    }

    /// An order is not followed any more, whatever came of it.
    pub(super) fn leave_order(&mut self, batch: BatchId, order: Order) {
        self.following -= 1;
        if let Some(entry) = self.batches.get_mut(&batch) {
            entry.order = match std::mem::take(&mut entry.ordered_again) {
                true => Order::Waits { to_look: false },
                false => order,
            };
        }
    }

    /// An order was followed: the batch goes on as its record says now. Where it could not be, it is still
    /// in the store.
    pub(super) async fn resume_after_order(
        &mut self,
        batch: BatchId,
        followed: Option<Followed>,
    ) -> Result<(), DispatchError> {
        let Some(Followed { record, timers }) = followed else {
            self.leave_order(batch, Order::Waits { to_look: false });
            self.seat(batch);
            return Ok(());
        };
        self.leave_order(batch, Order::None);
        if let Some(Entry { files, due, .. }) = self.batches.get_mut(&batch) {
            match files {
                Files::Open(open) => {
                    open.heed(&record);
                    open.timers = timers;
                }
                _ => *due = timers.next(),
            }
        }
        self.seat(batch);
        self.close_if_done(batch).await
    }
}

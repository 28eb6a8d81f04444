//! What the rows of one batch share on their way out.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::attempt::Outbound;
use super::settings::Routes;
use crate::batch::EqualRefusals;
use crate::model::{Attempt, BatchId, TenantId};
use crate::pacing::{Comer, Place};
use crate::store::{Store, StoreError};
use crate::worker::blocking;

/// One batch's place among others, and what became of its messages of late.
#[derive(Debug)]
pub(super) struct Traffic {
    /// The batch's lane as a number; see `Lanes`.
    lane: u32,
    /// The tenant's share beside others'.
    weight: AtomicU32,
    batch: BatchId,
    halts: Halts,
    refusals: Mutex<EqualRefusals>,
    /// All its messages are refused for one and the same reason: nothing more of it is sent.
    is_stuck: AtomicBool,
}

/// Where it stands that somebody stopped the batch or its tenant. Asked before each attempt: nothing begins after
/// who asked for it has heard that it is done.
#[derive(Debug)]
pub(super) struct Halts {
    pub(super) tenant: TenantId,
    pub(super) routes: Routes,
    pub(super) store: Store,
    /// Up to there no order is of this batch.
    pub(super) seen: AtomicU64,
}

impl Traffic {
    /// `refusals_max` equal ones in a row stop the batch; 0 never does.
    pub(super) fn new(
        (lane, weight): (u32, u32),
        batch: BatchId,
        halts: Halts,
        refusals_max: u32,
    ) -> Traffic {
        let refusals = Mutex::new(EqualRefusals::new(refusals_max));
        let weight = AtomicU32::new(weight);
        Traffic { lane, weight, batch, halts, refusals, is_stuck: AtomicBool::new(false) }
    }

    /// The configuration was read anew.
    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// A row that comes to a turnstile.
    pub(super) fn comer(&self, row: &Outbound) -> Comer {
        let mut hasher = DefaultHasher::new();
        (&row.message.sender, &row.message.to).hash(&mut hasher);
        let (lane, batch) = (self.lane, self.batch.as_u64());
        let weight = self.weight.load(Ordering::Relaxed);
        let place = Place { urgency: row.urgency, lane, weight, batch, cost: row.cost };
        Comer { place, pair: hasher.finish() }
    }

    /// Nothing more may begin: its messages are refused, its tenant is suspended, or an order waits for it.
    /// What was said when this returns is heeded: it looks again while orders come in.
    pub(super) async fn is_halted(&self) -> Result<bool, StoreError> {
        let Halts { tenant, routes, store, seen } = &self.halts;
        loop {
            let given = store.orders_given();
            if seen.load(Ordering::Relaxed) == given {
                return Ok(self.is_stuck() || routes.is_suspended(tenant));
            }
            let (store, batch) = (store.clone(), self.batch);
            if blocking(move || store.next_order(batch)).await?.is_some() {
                return Ok(true);
            }
            seen.store(given, Ordering::Relaxed);
        }
    }

    /// Takes note of an answer; true where it stops the batch.
    pub(super) fn note(&self, attempt: &Attempt) -> bool {
        let is_stuck = self.lock().note(attempt);
        is_stuck && !self.is_stuck.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::Relaxed)
    }

    /// The reason for which all are refused, as the provider says it, and how often it did.
    pub(super) fn stuck_for(&self) -> Option<(String, u32)> {
        self.is_stuck().then(|| self.lock().last())
    }

    /// Somebody let it go on.
    pub(super) fn go_on(&self) {
        self.lock().forget();
        self.is_stuck.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, EqualRefusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::batch::{BatchEvent, BatchState};
    use crate::model::ControlOp;
    use crate::store::{Acceptance, BatchRecord, Commands, ControlRecord, Facts, SimulatedDisk};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    fn claimed(id: u64) -> BatchRecord {
        BatchRecord {
            id: BatchId::from_u64(id),
            tenant: "acme".parse().unwrap(),
            path: "inbox/a.csv".to_owned(),
            state: BatchState::Claimed,
            account: String::new(),
            proof: None,
            received_at: AT,
            claimed_at: AT,
            validated_at: Some(AT),
            closed_at: None,
            facts: Facts::default(),
            chunks: 1,
            hold: None,
            control: ControlRecord::default(),
        }
    }

    #[tokio::test]
    async fn whoever_was_told_that_a_batch_is_stopped_sees_nothing_of_it_begin() {
        for op in [ControlOp::Pause, ControlOp::Cancel] {
            let store = Store::simulated(&SimulatedDisk::default()).unwrap();
            let batches = [7, 8].map(|id| {
                let (record, accepted) = (claimed(id), BatchEvent::FileAccepted);
                let record = store.open_batch(record).unwrap();
                store.conclude(record, accepted, &Acceptance::default()).unwrap()
            });
            let [stopped, other] = batches.each_ref().map(|record| {
                let halts = Halts {
                    tenant: record.tenant.clone(),
                    routes: Routes::default(),
                    store: store.clone(),
                    seen: AtomicU64::new(u64::MAX),
                };
                Traffic::new((1, 1), record.id, halts, 0)
            });
            assert!(!stopped.is_halted().await.unwrap());
            let mut commands = Commands::new("operator".to_owned(), AT);
            store.command(&mut commands, op, batches[0].id, None).unwrap().unwrap();
            store.carry_out(&commands).unwrap();
            assert!(stopped.is_halted().await.unwrap(), "{op:?}");
            assert!(!other.is_halted().await.unwrap());
            let order = store.next_order(batches[0].id).unwrap().unwrap();
            store.end_order(batches[0].id, &order).unwrap();
            assert!(!stopped.is_halted().await.unwrap(), "it was heeded");
        }
    }
}

//! What the rows of one batch share on their way out.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::attempt::Outbound;
use crate::batch::EqualRefusals;
use crate::model::Attempt;
use crate::pacing::{Comer, Place};

/// One batch's place among others, and what became of its messages of late.
#[derive(Debug)]
pub(super) struct Traffic {
    /// The batch's lane as a number; see `Lanes`.
    lane: u32,
    /// The tenant's share beside others'.
    weight: AtomicU32,
    batch: u64,
    refusals: Mutex<EqualRefusals>,
    /// All its messages are refused for one and the same reason: nothing more of it is sent.
    is_stuck: AtomicBool,
}

impl Traffic {
    /// `refusals_max` equal ones in a row stop the batch; 0 never does.
    pub(super) fn new((lane, weight): (u32, u32), batch: u64, refusals_max: u32) -> Traffic {
        let refusals = Mutex::new(EqualRefusals::new(refusals_max));
        let weight = AtomicU32::new(weight);
        Traffic { lane, weight, batch, refusals, is_stuck: AtomicBool::new(false) }
    }

    /// The configuration was read anew.
    pub(super) fn set_weight(&self, weight: u32) {
        self.weight.store(weight, Ordering::Relaxed);
    }

    /// A row that comes to a turnstile.
    pub(super) fn comer(&self, row: &Outbound) -> Comer {
        let mut hasher = DefaultHasher::new();
        (&row.message.sender, &row.message.to).hash(&mut hasher);
        let (lane, batch) = (self.lane, self.batch);
        let weight = self.weight.load(Ordering::Relaxed);
        let place = Place { urgency: row.urgency, lane, weight, batch, cost: row.cost };
        Comer { place, pair: hasher.finish() }
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

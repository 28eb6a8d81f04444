//! Lanes as numbers, with what their tenants may send.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Instant;

use super::settings::Route;
use super::turnstile::SharedRates;
use crate::model::Lane;

/// The numbers under which turnstiles know lanes; they hold as long as the process lives.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    numbers: BTreeMap<Lane, u32>,
    pub(super) rates: SharedRates,
}

impl Lanes {
    /// The lane's number, its tenant's rate laid under it. What is only tried out has no rate.
    pub(super) fn number(&mut self, lane: &Lane, route: Option<&Route>, now: Instant) -> u32 {
        let next = self.numbers.len() as u32;
        let number = *self.numbers.entry(lane.clone()).or_insert(next);
        let rate = route.and_then(|route| route.rate).filter(|_| !lane.1.is_test());
        self.rates.lock().unwrap_or_else(PoisonError::into_inner).set(number, rate, now);
        number
    }
}

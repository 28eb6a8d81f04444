//! Who may have a chunk under way: the urgent always find room, however full the house is.

use std::collections::BTreeMap;

use crate::model::{Lane, Urgency};

/// Chunks under way at the same time.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    at_once: usize,
    per_tenant: usize,
    per_batch: usize,
}

const BOUNDS: Bounds = Bounds { at_once: 64, per_tenant: 8, per_batch: 3 };

/// What is under way, by class: in the whole house, and of each lane.
#[derive(Debug)]
pub(super) struct Slots {
    bounds: Bounds,
    house: [usize; Urgency::CLASSES],
    lanes: BTreeMap<Lane, [usize; Urgency::CLASSES]>,
}

impl Slots {
    /// For batches that may have so many files open, each so many.
    pub(super) fn within(files_max: usize, each: usize) -> Slots {
        let at_once = (files_max / each).clamp(1, BOUNDS.at_once);
        Slots::new(Bounds { at_once, ..BOUNDS })
    }

    fn new(bounds: Bounds) -> Slots {
        Slots { bounds, house: [0; Urgency::CLASSES], lanes: BTreeMap::new() }
    }

    /// Something of the lane begins.
    pub(super) fn take(&mut self, lane: &Lane, class: usize) {
        self.house[class] += 1;
        self.lanes.entry(lane.clone()).or_default()[class] += 1;
    }

    /// It ended.
    pub(super) fn give_back(&mut self, lane: &Lane, class: usize) {
        self.house[class] -= 1;
        let of_lane = self.lanes.get_mut(lane).expect("what ends has begun");
        of_lane[class] -= 1;
        if of_lane.iter().all(|busy| *busy == 0) {
            self.lanes.remove(lane);
        }
    }

    /// Whether a chunk of a class may begin, of a batch that has so many under way. The first of each class
    /// of a lane needs no slot, so that nobody waits for others to end; beyond that advertising leaves a
    /// quarter to the rest.
    pub(super) fn admit(&self, lane: &Lane, class: usize, of_batch: usize) -> bool {
        let Some(busy) = self.lanes.get(lane).filter(|busy| busy[class] > 0) else { return true };
        let Bounds { at_once, per_tenant, per_batch } = self.bounds;
        let (in_house, in_lane): (usize, usize) = (self.house.iter().sum(), busy.iter().sum());
        if in_house >= at_once || in_lane >= per_tenant || of_batch >= per_batch {
            return false;
        }
        let share = |all: usize| (all - all / 4).max(1);
        class != Urgency::MARKETING
            || (self.house[class] < share(at_once) && busy[class] < share(per_tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Realm;

    const URGENT: usize = 0;

    /// So many of each class of the lane `acme`, and so many of others' in the house.
    fn busy(acme: [usize; 3], others: [usize; 3]) -> Slots {
        let mut slots = Slots::new(BOUNDS);
        for (lane, busy) in [("acme", acme), ("other", others)] {
            for (class, count) in busy.into_iter().enumerate() {
                (0..count).for_each(|_| slots.take(&lane_of(lane), class));
            }
        }
        slots
    }

    fn lane_of(tenant: &str) -> Lane {
        (tenant.parse().unwrap(), Realm::Real)
    }

    #[test]
    fn the_first_chunk_of_a_class_needs_no_slot_and_advertising_leaves_some_free() {
        let acme = lane_of("acme");
        assert!(busy([0; 3], [0; 3]).admit(&acme, Urgency::MARKETING, 0));
        let full = busy([0; 3], [0, 0, 64]);
        assert!(full.admit(&acme, URGENT, 0) && full.admit(&acme, Urgency::MARKETING, 0));
        let second = busy([1, 1, 1], [0, 0, 61]);
        assert!(!second.admit(&acme, URGENT, 0) && !second.admit(&acme, Urgency::MARKETING, 0));
        let marketing = busy([1, 0, 1], [0, 0, 47]);
        assert!(marketing.admit(&acme, URGENT, 1) && !marketing.admit(&acme, Urgency::MARKETING, 1));
        let of_tenant = busy([0, 1, 6], [0; 3]);
        assert!(of_tenant.admit(&acme, 1, 1) && !of_tenant.admit(&acme, Urgency::MARKETING, 1));
        let of_batch = busy([0, 3, 0], [0; 3]);
        assert!(!of_batch.admit(&acme, 1, 3) && of_batch.admit(&acme, URGENT, 3));
    }

    #[test]
    fn what_ended_is_free_again() {
        let (mut slots, acme) = (busy([0, 8, 0], [0; 3]), lane_of("acme"));
        assert!(!slots.admit(&acme, 1, 0));
        slots.give_back(&acme, 1);
        assert!(slots.admit(&acme, 1, 0));
        (0..7).for_each(|_| slots.give_back(&acme, 1));
        assert!(slots.lanes.is_empty() && slots.house == [0; 3]);
    }
}

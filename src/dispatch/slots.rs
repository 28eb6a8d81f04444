//! Who may have a chunk under way: the urgent always find room, however full the house is.

use std::collections::BTreeMap;

use crate::model::{Lane, Urgency};

/// Chunks under way at the same time.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    at_once: usize,
    per_tenant: usize,
    per_batch: usize,
    /// Of each class so many chunks may go beside those that have a slot.
    guests: usize,
}

const BOUNDS: Bounds = Bounds { at_once: 64, per_tenant: 8, per_batch: 3, guests: 32 };

/// Chunks of a batch and class that may have a task, those among them that only wait for the wire and hold no
/// slot any more.
pub(super) const TASKS_MAX: usize = 2 * BOUNDS.per_batch;

/// What is under way, by class: in the whole house, and of each lane.
#[derive(Debug)]
pub(super) struct Slots {
    bounds: Bounds,
    house: [usize; Urgency::CLASSES],
    guests: [usize; Urgency::CLASSES],
    lanes: BTreeMap<Lane, [usize; Urgency::CLASSES]>,
}

/// How a chunk was let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    Slot,
    /// All slots are taken, and nothing of its class and lane is under way: a small part of it may go.
    Guest,
}

impl Slots {
    /// For batches that may have so many files open, each so many.
    pub(super) fn within(files_max: usize, each: usize) -> Slots {
        let at_once = (files_max / each).clamp(1, BOUNDS.at_once);
        let guests = (at_once / 2).clamp(1, BOUNDS.guests);
        Slots::new(Bounds { at_once, guests, ..BOUNDS })
    }

    fn new(bounds: Bounds) -> Slots {
        let none = [0; Urgency::CLASSES];
        Slots { bounds, house: none, guests: none, lanes: BTreeMap::new() }
    }

    /// Something of the lane begins.
    pub(super) fn take(&mut self, lane: &Lane, class: usize, seat: Seat) {
        self.of(seat)[class] += 1;
        self.lanes.entry(lane.clone()).or_default()[class] += 1;
    }

    /// It ended.
    pub(super) fn give_back(&mut self, lane: &Lane, class: usize, seat: Seat) {
        self.of(seat)[class] -= 1;
        let of_lane = self.lanes.get_mut(lane).expect("what ends has begun");
        of_lane[class] -= 1;
        if of_lane.iter().all(|busy| *busy == 0) {
            self.lanes.remove(lane);
        }
    }

    fn of(&mut self, seat: Seat) -> &mut [usize; Urgency::CLASSES] {
        match seat {
            Seat::Slot => &mut self.house,
            Seat::Guest => &mut self.guests,
        }
    }

    /// Whether a chunk of a class may begin, of a batch that has so many under way. The first of each class
    /// of a lane needs no slot, so that nobody waits for others to end; beyond that advertising leaves a
    /// quarter to the rest.
    pub(super) fn admit(&self, lane: &Lane, class: usize, of_batch: usize) -> Option<Seat> {
        let busy = self.lanes.get(lane).copied().unwrap_or_default();
        let Bounds { at_once, per_tenant, per_batch, guests } = self.bounds;
        let (in_house, in_lane): (usize, usize) = (self.house.iter().sum(), busy.iter().sum());
        let share = |all: usize| (all - all / 4).max(1);
        let is_full = in_house >= at_once
            || class == Urgency::MARKETING && self.house[class] >= share(at_once);
        if busy[class] == 0 {
            let guest = (self.guests[class] < guests).then_some(Seat::Guest);
            return if is_full { guest } else { Some(Seat::Slot) };
        }
        let has_enough = in_lane >= per_tenant
            || of_batch >= per_batch
            || class == Urgency::MARKETING && busy[class] >= share(per_tenant);
        (!is_full && !has_enough).then_some(Seat::Slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Realm;

    const URGENT: usize = 0;
    const MARKETING: usize = Urgency::MARKETING;

    /// So many of each class of the lane `acme`, and so many of others' in the house.
    fn busy(acme: [usize; 3], others: [usize; 3]) -> Slots {
        let mut slots = Slots::new(BOUNDS);
        for (lane, busy) in [("acme", acme), ("other", others)] {
            for (class, count) in busy.into_iter().enumerate() {
                (0..count).for_each(|_| slots.take(&lane_of(lane), class, Seat::Slot));
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
        let (slot, guest) = (Some(Seat::Slot), Some(Seat::Guest));
        assert_eq!(busy([0; 3], [0; 3]).admit(&acme, MARKETING, 0), slot);
        let full = busy([0; 3], [0, 0, 64]);
        assert_eq!([URGENT, MARKETING].map(|class| full.admit(&acme, class, 0)), [guest; 2]);
        let second = busy([1, 1, 1], [0, 0, 61]);
        assert_eq!([URGENT, MARKETING].map(|class| second.admit(&acme, class, 0)), [None; 2]);
        let marketing = busy([1, 0, 1], [0, 0, 47]);
        assert_eq!([URGENT, MARKETING].map(|class| marketing.admit(&acme, class, 1)), [slot, None]);
        let of_tenant = busy([0, 1, 6], [0; 3]);
        assert_eq!([1, MARKETING].map(|class| of_tenant.admit(&acme, class, 1)), [slot, None]);
        let of_batch = busy([0, 3, 0], [0; 3]);
        assert_eq!([1, URGENT].map(|class| of_batch.admit(&acme, class, 3)), [None, slot]);
    }

    #[test]
    fn however_many_lanes_there_are_what_is_under_way_is_bounded() {
        // Few files may be open: fewer guests, too.
        for (files_max, slots_max, guests_max) in [(4096, 64, 32), (128, 32, 16), (0, 1, 1)] {
            let mut slots = Slots::within(files_max, 4);
            let mut under_way = 0;
            for lane in (0..300).map(|number| lane_of(&format!("tenant{number}"))) {
                for class in 0..Urgency::CLASSES {
                    let Some(seat) = slots.admit(&lane, class, 0) else { continue };
                    slots.take(&lane, class, seat);
                    under_way += 1;
                }
            }
            assert_eq!(under_way, slots_max + guests_max * Urgency::CLASSES, "{files_max}");
        }
    }

    #[test]
    fn what_ended_is_free_again() {
        let (mut slots, acme) = (busy([0, 8, 0], [0; 3]), lane_of("acme"));
        assert_eq!(slots.admit(&acme, 1, 0), None);
        slots.give_back(&acme, 1, Seat::Slot);
        assert_eq!(slots.admit(&acme, 1, 0), Some(Seat::Slot));
        (0..7).for_each(|_| slots.give_back(&acme, 1, Seat::Slot));
        slots.take(&acme, 0, Seat::Guest);
        slots.give_back(&acme, 0, Seat::Guest);
        assert!(slots.lanes.is_empty() && slots.house == [0; 3] && slots.guests == [0; 3]);
    }
}

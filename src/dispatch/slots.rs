//! Who may have a chunk under way: the urgent always find room, however full the house is.

use crate::model::Urgency;

/// Chunks under way at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slots {
    pub(super) at_once: usize,
    pub(super) per_tenant: usize,
    pub(super) per_batch: usize,
}

pub(super) const SLOTS: Slots = Slots { at_once: 64, per_tenant: 8, per_batch: 3 };

/// What is under way already.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Busy {
    /// In the whole house, by class.
    pub(super) house: [usize; Urgency::CLASSES],
    /// Of the chunk's lane, by class.
    pub(super) lane: [usize; Urgency::CLASSES],
    /// Of its batch.
    pub(super) batch: usize,
}

impl Slots {
    /// Whether a chunk of a class may begin. The first of each class of a lane needs no slot, so that
    /// nobody waits for others to end; beyond that advertising leaves a quarter to the rest.
    pub(super) fn admit(&self, class: usize, busy: &Busy) -> bool {
        if busy.lane[class] == 0 {
            return true;
        }
        let house: usize = busy.house.iter().sum();
        let lane: usize = busy.lane.iter().sum();
        if house >= self.at_once || lane >= self.per_tenant || busy.batch >= self.per_batch {
            return false;
        }
        let share = |all: usize| (all - all / 4).max(1);
        class != Urgency::MARKETING
            || (busy.house[class] < share(self.at_once)
                && busy.lane[class] < share(self.per_tenant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URGENT: usize = 0;

    #[test]
    fn the_first_chunk_of_a_class_needs_no_slot_and_advertising_leaves_some_free() {
        let quiet = Busy::default();
        let admits = |class, busy: Busy| SLOTS.admit(class, &busy);
        assert!(admits(Urgency::MARKETING, quiet));
        let full = Busy { house: [0, 0, 64], ..quiet };
        assert!(admits(URGENT, full) && admits(Urgency::MARKETING, full));
        let second = Busy { lane: [1, 1, 1], ..full };
        assert!(!admits(URGENT, second) && !admits(Urgency::MARKETING, second));
        let marketing = Busy { house: [0, 0, 48], lane: [1, 1, 1], batch: 1 };
        assert!(admits(URGENT, marketing) && !admits(Urgency::MARKETING, marketing));
        let of_tenant = Busy { house: [0, 1, 6], lane: [0, 1, 6], batch: 1 };
        assert!(admits(1, of_tenant) && !admits(Urgency::MARKETING, of_tenant));
        let of_batch = Busy { house: [0, 3, 0], lane: [0, 3, 0], batch: 3 };
        assert!(!admits(1, of_batch) && admits(URGENT, of_batch));
    }
}

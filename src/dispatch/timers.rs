//! The idle chunks of one open batch: which of them is next, and when another one is due.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::model::Urgency;
use crate::store::{BatchRecord, ChunkRecord, Store, StoreError};

/// Chunks read at a time.
const PAGE: usize = 500;

/// Chunks with open rows of which none is under way. What is due stays due, whatever the clock does.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: BTreeSet<(Timestamp, u32, Urgency)>,
    /// By class; by urgency, then in the order in which they became due.
    due: [BTreeSet<(Urgency, Timestamp, u32)>; Urgency::CLASSES],
}

impl Timers {
    /// Those of a batch of which no chunk is under way.
    pub(super) fn load(store: &Store, record: &BatchRecord) -> Result<Timers, StoreError> {
        let (mut timers, mut from) = (Timers::default(), 0);
        loop {
            let page = store.chunks(record.id, from, PAGE)?;
            let Some(last) = page.last() else { return Ok(timers) };
            from = last.number + 1;
            page.iter().for_each(|chunk| timers.put(record, chunk));
        }
    }

    /// A chunk is idle.
    pub(super) fn put(&mut self, record: &BatchRecord, chunk: &ChunkRecord) {
        if let Some(due) = chunk.due {
            let urgency = chunk.urgency.and_then(Urgency::from_u8);
            let urgency = urgency.unwrap_or_else(|| first_urgency(record));
            self.waiting.insert((due, chunk.number, urgency));
        }
    }

    /// The classes of what is due by now.
    pub(super) fn due(&mut self, now: Timestamp) -> [bool; Urgency::CLASSES] {
        while let Some((due, number, urgency)) = self.waiting.first().copied()
            && due <= now
        {
            self.waiting.pop_first();
            self.due[urgency.class()].insert((urgency, due, number));
        }
        std::array::from_fn(|class| !self.due[class].is_empty())
    }

    /// When the next one is due that is not yet.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(due, ..)| *due)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.due.iter().all(BTreeSet::is_empty)
    }

    /// Takes the most urgent chunk of a class that is due: it is under way.
    pub(super) fn take(&mut self, class: usize) -> Option<u32> {
        self.due[class].pop_first().map(|(_, _, number)| number)
    }
}

/// How urgent the most urgent row of a batch is.
pub(super) fn first_urgency(record: &BatchRecord) -> Urgency {
    let first = record.facts.urgencies.and_then(|(first, _)| Urgency::from_u8(first));
    first.unwrap_or(Urgency::USUAL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Category;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn timers(chunks: &[(u32, i64, Category)]) -> Timers {
        let mut timers = Timers::default();
        for (number, due, category) in chunks {
            timers.waiting.insert((at(*due), *number, Urgency::new(*category, 5)));
        }
        timers
    }

    #[test]
    fn of_what_is_due_each_class_has_its_most_urgent_first_however_much_stands_before_it() {
        let many = (0..3000).map(|number| (number, 1, Category::Marketing));
        let others = [(3000, 2, Category::Authentication), (3001, 9, Category::Transactional)];
        let mut timers = timers(&many.chain(others).collect::<Vec<_>>());
        assert_eq!(timers.due(at(0)), [false; 3]);
        assert_eq!((timers.next(), timers.take(2)), (Some(at(1)), None));
        assert_eq!(timers.due(at(2)), [true, false, true]);
        assert_eq!(timers.next(), Some(at(9)));
        assert_eq!((timers.take(0), timers.take(0), timers.take(1)), (Some(3000), None, None));
        assert_eq!((timers.take(2), timers.take(2)), (Some(0), Some(1)));
        // The clock was put back: what is due stays so.
        assert_eq!(timers.due(at(0)), [false, false, true]);
        assert_eq!(timers.due(at(9)), [false, true, true]);
        assert_eq!(timers.next(), None);
        assert!(!timers.is_empty() && Timers::default().is_empty());
    }
}

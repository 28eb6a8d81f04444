//! The line of those that wait: by class, then the tenants' turns, then their batches', then priority.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::turns::Turns;
use crate::model::Urgency;

/// Where a message stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub urgency: Urgency,
    /// The tenant, and whether it only tries out, as a number.
    pub lane: u32,
    /// The tenant's share beside others'.
    pub weight: u32,
    pub batch: u64,
    /// What it counts for: the parts of an SMS.
    pub cost: u32,
}

/// Who waits. A class never stands behind a later one.
#[derive(Debug, Default)]
pub(super) struct Line {
    classes: [Class; Urgency::CLASSES],
    waiting: usize,
}

#[derive(Debug, Default)]
struct Class {
    turns: Turns<u32>,
    lanes: HashMap<u32, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    turns: Turns<u64>,
    /// By priority, then in order of coming.
    batches: HashMap<u64, BTreeSet<(u8, u64)>>,
}

/// Nobody can go now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Blocked {
    /// When the first lane that is in its own way may go; none where nobody waits.
    pub(super) wait: Option<Duration>,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Stands in line under a number that grows with each that comes.
    pub(super) fn push(&mut self, place: &Place, number: u64) {
        let class = &mut self.classes[place.urgency.class()];
        class.turns.join(place.lane, place.weight);
        let lane = class.lanes.entry(place.lane).or_default();
        lane.turns.join(place.batch, 1);
        let rows = lane.batches.entry(place.batch).or_default();
        self.waiting += usize::from(rows.insert((place.urgency.priority(), number)));
    }

    /// Who goes next, where `may_go` says of a lane and a class that it may or how long it must wait.
    pub(super) fn next(
        &self,
        mut may_go: impl FnMut(u32, usize) -> Result<(), Duration>,
    ) -> Result<u64, Blocked> {
        let mut wait: Option<Duration> = None;
        for (number, class) in self.classes.iter().enumerate() {
            for key in class.turns.in_order() {
                let lane = &class.lanes[&key];
                match may_go(key, number) {
                    Ok(()) => return Ok(lane.first()),
                    Err(more) => wait = Some(wait.map_or(more, |least| least.min(more))),
                }
            }
        }
        Err(Blocked { wait })
    }

    /// Steps out of the line: it goes, or does not wait any more.
    pub(super) fn remove(&mut self, place: &Place, number: u64, goes: bool) {
        let class = &mut self.classes[place.urgency.class()];
        let Some(lane) = class.lanes.get_mut(&place.lane) else { return };
        let Some(rows) = lane.batches.get_mut(&place.batch) else { return };
        if !rows.remove(&(place.urgency.priority(), number)) {
            return;
        }
        self.waiting -= 1;
        if goes {
            lane.turns.served(place.batch, place.cost);
            class.turns.served(place.lane, place.cost);
        }
        if rows.is_empty() {
            lane.batches.remove(&place.batch);
            lane.turns.leave(place.batch);
        }
        if lane.turns.is_empty() {
            class.lanes.remove(&place.lane);
            class.turns.leave(place.lane);
        }
    }
}

impl Lane {
    fn first(&self) -> u64 {
        let batch = self.turns.in_order().next().expect("a lane in line has a batch in line");
        let (_, number) = self.batches[&batch].first().expect("a batch in line has a row in line");
        *number
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::model::Category;

    fn place(category: Category, priority: u8, lane: u32, batch: u64) -> Place {
        Place { urgency: Urgency::new(category, priority), lane, weight: 1, batch, cost: 1 }
    }

    /// The order in which all go.
    fn drain(line: &mut Line, places: &BTreeMap<u64, Place>) -> Vec<u64> {
        let mut gone = Vec::new();
        while let Ok(number) = line.next(|_, _| Ok(())) {
            line.remove(&places[&number], number, true);
            gone.push(number);
        }
        gone
    }

    fn stand(places: &[Place]) -> (Line, BTreeMap<u64, Place>) {
        let mut line = Line::default();
        let places: BTreeMap<u64, Place> = (0..).zip(places.iter().copied()).collect();
        places.iter().for_each(|(number, place)| line.push(place, *number));
        (line, places)
    }

    #[test]
    fn classes_then_tenants_then_batches_then_priority_then_coming() {
        use Category::{Authentication, Marketing, Service, Transactional};
        let (mut line, places) = stand(&[
            place(Marketing, 1, 1, 1),
            place(Transactional, 5, 1, 2),
            place(Transactional, 5, 1, 2),
            place(Transactional, 1, 1, 2),
            place(Transactional, 5, 1, 3),
            place(Service, 9, 2, 4),
            place(Authentication, 9, 3, 5),
        ]);
        assert_eq!(drain(&mut line, &places), [6, 3, 5, 4, 1, 2, 0]);
        assert_eq!((line.len(), line.next(|_, _| Ok(()))), (0, Err(Blocked { wait: None })));
    }

    #[test]
    fn a_lane_in_its_own_way_stands_in_nobody_elses() {
        let marketing = |lane| place(Category::Marketing, 5, lane, lane.into());
        let (line, _) = stand(&[marketing(1), marketing(2), marketing(3)]);
        let wait = |seconds| Err(Duration::from_secs(seconds));
        let one_waits = |lane, _| if lane == 1 { wait(9) } else { Ok(()) };
        assert_eq!(line.next(one_waits), Ok(1));
        let all_wait = |lane: u32, _| wait(10 - u64::from(lane));
        assert_eq!(line.next(all_wait), Err(Blocked { wait: Some(Duration::from_secs(7)) }));
    }

    /// Whatever comes and leaves: nobody is lost, nobody goes twice, no class goes before an earlier one.
    #[test]
    fn whoever_comes_goes_once_or_steps_out() {
        for seed in 0..300_u64 {
            let mut dice = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
            let mut roll = |below: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % below
            };
            let (mut line, mut waiting) = (Line::default(), BTreeMap::new());
            for number in 0..200 {
                let category = Category::ALL[roll(4) as usize];
                let place = Place {
                    weight: roll(5) as u32,
                    cost: roll(4) as u32,
                    ..place(category, roll(12) as u8, roll(5) as u32, roll(7))
                };
                line.push(&place, number);
                waiting.insert(number, place);
                match roll(3) {
                    0 => {
                        let next = line.next(|_, _| Ok(())).unwrap();
                        let gone = waiting.remove(&next).expect("it waited");
                        let first = waiting.values().map(|p| p.urgency.class()).min();
                        assert!(first.is_none_or(|class| gone.urgency.class() <= class));
                        line.remove(&gone, next, true);
                    }
                    1 => {
                        let nth = roll(waiting.len() as u64) as usize;
                        let (number, gone) =
                            waiting.iter().nth(nth).map(|(n, p)| (*n, *p)).unwrap();
                        waiting.remove(&number);
                        line.remove(&gone, number, false);
                        line.remove(&gone, number, false);
                    }
                    _ => {}
                }
                assert_eq!(line.len(), waiting.len(), "seed {seed}");
            }
            let gone = drain(&mut line, &waiting);
            assert_eq!(gone.len(), waiting.len(), "seed {seed}");
        }
    }
}

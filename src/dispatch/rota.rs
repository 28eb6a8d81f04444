//! Whose turn it is: batches that have something to do, by lane and class, and alarms for all others.
//!
//! Who waits for its time costs nothing until that comes, however many there are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::Timestamp;

use crate::model::{BatchId, Lane, Urgency};

/// Batches with something to do now, by lane; and when others will have.
#[derive(Debug, Default)]
pub(super) struct Rota {
    /// Lanes of which a batch stands in line, the one served longest ago first.
    lanes: VecDeque<Lane>,
    lines: BTreeMap<Lane, [Line; Urgency::CLASSES]>,
    alarms: BTreeSet<(Timestamp, BatchId)>,
}

/// Batches of a lane with something to do in one class.
#[derive(Debug, Default)]
struct Line {
    /// Those that are new: each has its first turn before the others have another.
    ahead: VecDeque<BatchId>,
    others: VecDeque<BatchId>,
}

/// Where one batch stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Place {
    in_line: [bool; Urgency::CLASSES],
    alarm: Option<Timestamp>,
}

impl Line {
    fn is_empty(&self) -> bool {
        self.ahead.is_empty() && self.others.is_empty()
    }
}

impl Rota {
    /// A batch has something to do in these classes, and will have more at a time. One that stands in line
    /// already stays where it is.
    pub(super) fn seat(
        &mut self,
        (batch, lane): (BatchId, &Lane),
        place: &mut Place,
        due: [bool; Urgency::CLASSES],
        is_ahead: bool,
        alarm: Option<Timestamp>,
    ) {
        for class in (0..Urgency::CLASSES).filter(|class| place.in_line[*class] != due[*class]) {
            match due[class] {
                true => self.line_up(batch, lane, class, is_ahead),
                false => self.step_out(batch, lane, class),
            }
        }
        place.in_line = due;
        if place.alarm != alarm {
            place.alarm.map(|at| self.alarms.remove(&(at, batch)));
            self.alarms.extend(alarm.map(|at| (at, batch)));
            place.alarm = alarm;
        }
    }

    fn line_up(&mut self, batch: BatchId, lane: &Lane, class: usize, is_ahead: bool) {
        let lines = self.lines.entry(lane.clone()).or_insert_with(|| {
            self.lanes.push_back(lane.clone());
            Default::default()
        });
        match is_ahead {
            true => lines[class].ahead.push_back(batch),
            false => lines[class].others.push_back(batch),
        }
    }

    fn step_out(&mut self, batch: BatchId, lane: &Lane, class: usize) {
        let Some(lines) = self.lines.get_mut(lane) else { return };
        let line = &mut lines[class];
        // As a rule it has just had its turn.
        if line.others.pop_back_if(|last| *last == batch).is_none() {
            line.ahead.retain(|of| *of != batch);
            line.others.retain(|of| *of != batch);
        }
        self.leave_if_empty(lane);
    }

    fn leave_if_empty(&mut self, lane: &Lane) {
        if self.lines.get(lane).is_some_and(|lines| lines.iter().all(Line::is_empty)) {
            self.lines.remove(lane);
            self.lanes.retain(|of| of != lane);
        }
    }

    /// Lanes that have something to do.
    pub(super) fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// The lane that was served longest ago; it comes last from now on.
    pub(super) fn next_lane(&mut self) -> Option<Lane> {
        let lane = self.lanes.pop_front()?;
        self.lanes.push_back(lane.clone());
        Some(lane)
    }

    /// How many batches of a lane stand in line.
    pub(super) fn in_line(&self, lane: &Lane, class: usize) -> usize {
        let lines = self.lines.get(lane).map(|lines| &lines[class]);
        lines.map_or(0, |line| line.ahead.len() + line.others.len())
    }

    /// Who is next in a line.
    pub(super) fn first(&self, lane: &Lane, class: usize) -> Option<BatchId> {
        let line = &self.lines.get(lane)?[class];
        line.ahead.front().or_else(|| line.others.front()).copied()
    }

    /// The first of a line has had its turn, and stands last.
    pub(super) fn put_behind(&mut self, lane: &Lane, class: usize) {
        let Some(lines) = self.lines.get_mut(lane) else { return };
        let line = &mut lines[class];
        let first = line.ahead.pop_front().or_else(|| line.others.pop_front());
        line.others.extend(first);
    }

    /// A batch whose time has come.
    pub(super) fn rung(&mut self, now: Timestamp) -> Option<BatchId> {
        let (at, batch) = self.alarms.first().copied()?;
        (at <= now).then_some(batch)
    }

    pub(super) fn next_alarm(&self) -> Option<Timestamp> {
        self.alarms.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Realm;

    const MARKETING: [bool; 3] = [false, false, true];
    const NOTHING: [bool; 3] = [false; 3];

    fn lane(name: &str) -> Lane {
        (name.parse().unwrap(), Realm::Real)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn id(number: u64) -> BatchId {
        BatchId::from_u64(number)
    }

    /// Who has its turn next in a line.
    fn turn(rota: &mut Rota, lane: &Lane, class: usize) -> Option<u64> {
        let first = rota.first(lane, class);
        rota.put_behind(lane, class);
        first.map(BatchId::as_u64)
    }

    #[test]
    fn batches_take_turns_and_new_ones_have_their_first_before_those_that_wait() {
        let (mut rota, acme) = (Rota::default(), lane("acme"));
        let mut places = [Place::default(); 5];
        for (number, place) in (0..).zip(&mut places) {
            rota.seat((id(number), &acme), place, MARKETING, number >= 3, None);
        }
        let turns: Vec<u64> = (0..8).filter_map(|_| turn(&mut rota, &acme, 2)).collect();
        assert_eq!(turns, [3, 4, 0, 1, 2, 3, 4, 0]);
        // Who has nothing more to do steps out; who stands in line stays where it is.
        rota.seat((id(2), &acme), &mut places[2], NOTHING, false, None);
        rota.seat((id(1), &acme), &mut places[1], MARKETING, true, None);
        assert_eq!((rota.in_line(&acme, 2), rota.in_line(&acme, 0)), (4, 0));
        let turns: Vec<u64> = (0..4).filter_map(|_| turn(&mut rota, &acme, 2)).collect();
        assert_eq!(turns, [1, 3, 4, 0]);
    }

    #[test]
    fn lanes_take_turns_and_one_without_anything_to_do_is_none() {
        let mut rota = Rota::default();
        let lanes = ["acme", "beta"].map(lane);
        let mut places = [Place::default(); 2];
        for ((number, place), lane) in (0..).zip(&mut places).zip(&lanes) {
            rota.seat((id(number), lane), place, [true, false, true], false, None);
        }
        let next: Vec<Option<Lane>> = (0..3).map(|_| rota.next_lane()).collect();
        assert_eq!(next, [&lanes[0], &lanes[1], &lanes[0]].map(|lane| Some(lane.clone())));
        rota.seat((id(0), &lanes[0]), &mut places[0], MARKETING, false, None);
        assert_eq!((rota.lanes(), rota.first(&lanes[0], 0)), (2, None));
        rota.seat((id(0), &lanes[0]), &mut places[0], NOTHING, false, Some(at(5)));
        assert_eq!((rota.lanes(), rota.next_lane()), (1, Some(lanes[1].clone())));
    }

    #[test]
    fn an_alarm_rings_until_the_batch_has_another_place() {
        let (mut rota, acme, mut place) = (Rota::default(), lane("acme"), Place::default());
        rota.seat((id(1), &acme), &mut place, NOTHING, false, Some(at(5)));
        rota.seat((id(1), &acme), &mut place, NOTHING, false, Some(at(7)));
        assert_eq!((rota.rung(at(6)), rota.next_alarm()), (None, Some(at(7))));
        assert_eq!(rota.rung(at(7)), Some(id(1)));
        rota.seat((id(1), &acme), &mut place, MARKETING, false, None);
        assert_eq!((rota.rung(at(9)), rota.next_alarm()), (None, None));
    }
}

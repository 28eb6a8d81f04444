//! Weighted turns: who has been served least, for its weight, is next.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::Hash;

/// Members that take turns. Each has a time of its own that advances by what is done for it, slower the
/// more weight it has; the one that is furthest behind is next.
#[derive(Debug, Clone)]
pub(super) struct Turns<K> {
    members: HashMap<K, Member>,
    order: BTreeSet<(u64, K)>,
    /// The time of the last that was served: who joins begins there and makes up for nothing.
    now: u64,
}

#[derive(Debug, Clone, Copy)]
struct Member {
    time: u64,
    weight: u32,
    is_waiting: bool,
}

/// What a turn of cost 1 and weight 1 takes of a member's time.
const STRIDE: u64 = 1 << 20;
/// Members that left are forgotten beyond so many, where that takes nothing from anybody.
const LEFT_MAX: usize = 1024;

impl<K> Default for Turns<K> {
    fn default() -> Turns<K> {
        Turns { members: HashMap::new(), order: BTreeSet::new(), now: 0 }
    }
}

impl<K: Copy + Ord + Hash + Debug> Turns<K> {
    /// Nobody waits.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Takes part from here on. Who left a moment ago still owes the turns it had in advance.
    pub(super) fn join(&mut self, key: K, weight: u32) {
        let now = self.now;
        let fresh = Member { time: now, weight: 1, is_waiting: false };
        let member = self.members.entry(key).or_insert(fresh);
        member.weight = weight.max(1);
        if !member.is_waiting {
            member.is_waiting = true;
            member.time = member.time.max(now);
            self.order.insert((member.time, key));
        }
    }

    /// Has nothing to be done for it any more.
    pub(super) fn leave(&mut self, key: K) {
        if let Some(member) = self.members.get_mut(&key) {
            member.is_waiting = false;
            self.order.remove(&(member.time, key));
        }
        if self.order.is_empty() {
            // Nobody is left to whom anything could be owed.
            self.members.clear();
            self.now = 0;
        } else if self.members.len() - self.order.len() > LEFT_MAX {
            let now = self.now;
            self.members.retain(|_, member| member.is_waiting || member.time > now);
        }
    }

    /// Who waits, the next one first.
    pub(super) fn in_order(&self) -> impl Iterator<Item = K> + '_ {
        self.order.iter().map(|(_, key)| *key)
    }

    /// Something was done for a member.
    pub(super) fn served(&mut self, key: K, cost: u32) {
        let Some(member) = self.members.get_mut(&key) else { return };
        let was_waiting = self.order.remove(&(member.time, key));
        self.now = self.now.max(member.time);
        member.time += STRIDE * u64::from(cost.max(1)) / u64::from(member.weight);
        if was_waiting {
            self.order.insert((member.time, key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serve(turns: &mut Turns<char>, count: usize) -> String {
        let mut served = String::new();
        for _ in 0..count {
            let Some(next) = turns.in_order().next() else { break };
            turns.served(next, 1);
            served.push(next);
        }
        served
    }

    #[test]
    fn turns_go_round_and_by_weight() {
        let mut turns = Turns::default();
        for key in ['a', 'b', 'c'] {
            turns.join(key, 1);
        }
        assert_eq!(serve(&mut turns, 6), "abcabc");
        turns.join('b', 4);
        let served = serve(&mut turns, 600);
        let of = |key| served.chars().filter(|c| *c == key).count();
        assert_eq!((of('a'), of('b'), of('c')), (100, 400, 100));
    }

    #[test]
    fn who_comes_late_makes_up_for_nothing_and_who_comes_again_keeps_its_debt() {
        let mut turns = Turns::default();
        turns.join('a', 1);
        serve(&mut turns, 1000);
        turns.join('b', 1);
        assert_eq!(serve(&mut turns, 4), "baba");
        // It leaves after each turn and comes again, as who has one message at a time.
        let mut served = String::new();
        turns.join('a', 10);
        for _ in 0..110 {
            turns.join('b', 1);
            let next = serve(&mut turns, 1);
            if next == "b" {
                turns.leave('b');
            }
            served += &next;
        }
        let count = served.chars().filter(|c| *c == 'b').count();
        assert!((10..=11).contains(&count), "{served}");
    }

    #[test]
    fn a_dear_turn_counts_for_many() {
        let mut turns = Turns::default();
        turns.join('a', 1);
        turns.join('b', 1);
        turns.served('a', 3);
        assert_eq!(serve(&mut turns, 5), "bbbab");
    }

    #[test]
    fn those_that_left_are_forgotten() {
        let mut turns = Turns::default();
        turns.join(0, 1);
        for key in 1..10_000_u32 {
            turns.join(key, 1);
            turns.served(key, 1);
            turns.leave(key);
            turns.served(0, 1);
            assert!(turns.members.len() <= LEFT_MAX + 3, "{}", turns.members.len());
        }
        turns.leave(0);
        assert!(turns.is_empty() && turns.members.is_empty());
    }
}

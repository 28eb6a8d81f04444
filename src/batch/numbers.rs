//! The sequence numbers of a profile's files: which were used, which is waited for.

/// Runs of used numbers that are remembered. Beyond it the lowest hole is forgotten: its numbers then
/// count as used.
pub const NUMBER_RUNS_MAX: usize = 32;

/// What a profile does with a file whose number leaves a gap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SequenceRule {
    /// Numbers are read and mean nothing.
    #[default]
    Off,
    /// The file waits for the missing ones, or for approval.
    Hold,
    /// The file is refused.
    Reject,
}

/// Where a number stands among those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberPlace {
    /// The one that is waited for, or the first of all.
    Next,
    /// Below the one that is waited for and never used: it comes late.
    Late,
    Used,
    /// At least `missing` is not there yet.
    Gap {
        missing: u64,
    },
}

/// The numbers of one profile so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The lowest number that is waited for; none before the first numbered file.
    pub next: Option<u64>,
    /// The used numbers: first and last of each run, ascending.
    pub used: Vec<(u64, u64)>,
}

impl Numbers {
    pub fn place(&self, number: u64) -> NumberPlace {
        if self.is_used(number) {
            return NumberPlace::Used;
        }
        match self.next {
            Some(missing) if number > missing => NumberPlace::Gap { missing },
            Some(next) if number < next => NumberPlace::Late,
            _ => NumberPlace::Next,
        }
    }

    /// Uses a number up. Past a gap it is the next one that is waited for: whoever lets a file past a
    /// gap gives up waiting, though what was missing may still come.
    pub fn take(&mut self, number: u64) {
        if self.is_used(number) {
            return;
        }
        let at = self.used.partition_point(|(first, _)| *first < number);
        self.used.insert(at, (number, number));
        self.join_runs();
        while self.used.len() > NUMBER_RUNS_MAX {
            let (_, last) = self.used.remove(1);
            self.used[0].1 = last;
        }
        self.next = Some(self.first_unused(self.next.unwrap_or(number).max(number)));
    }

    /// Gives a number back: it is waited for again.
    pub fn give_back(&mut self, number: u64) {
        let Some(at) = self.used.iter().position(|run| (run.0..=run.1).contains(&number)) else {
            return;
        };
        let (first, last) = self.used.remove(at);
        if number < last {
            self.used.insert(at, (number + 1, last));
        }
        if first < number {
            self.used.insert(at, (first, number - 1));
        }
        self.next = Some(self.next.map_or(number, |next| next.min(number)));
    }

    fn is_used(&self, number: u64) -> bool {
        self.used.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    fn first_unused(&self, from: u64) -> u64 {
        let run = self.used.iter().find(|(first, last)| (*first..=*last).contains(&from));
        run.map_or(from, |(_, last)| last.saturating_add(1))
    }

    fn join_runs(&mut self) {
        self.used.dedup_by(|next, run| {
            let touch = run.1.saturating_add(1) >= next.0;
            if touch {
                run.1 = run.1.max(next.1);
            }
            touch
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(numbers: &[u64]) -> Numbers {
        let mut all = Numbers::default();
        numbers.iter().for_each(|number| all.take(*number));
        all
    }

    #[test]
    fn numbers_follow_each_other_from_the_first_one_on() {
        use NumberPlace::{Gap, Late, Next, Used};
        for (before, number, place, next) in [
            (&[][..], 7, Next, 8),
            (&[7], 8, Next, 9),
            (&[7], 7, Used, 8),
            (&[7], 9, Gap { missing: 8 }, 10),
            (&[7], 3, Late, 8),
            (&[7, 9], 8, Late, 10),
            (&[7, 9], 10, Next, 11),
            (&[7, 9], 9, Used, 10),
            (&[7, 8, 9], 8, Used, 10),
        ] {
            let mut numbers = taken(before);
            assert_eq!(numbers.place(number), place, "{number} after {before:?}");
            numbers.take(number);
            assert_eq!(numbers.next, Some(next), "{number} after {before:?}");
            assert_eq!(numbers.place(number), Used);
        }
    }

    #[test]
    fn a_number_given_back_is_waited_for_again() {
        let mut numbers = taken(&[1, 2, 3, 4]);
        numbers.give_back(2);
        assert_eq!((numbers.next, numbers.used.clone()), (Some(2), vec![(1, 1), (3, 4)]));
        assert_eq!(numbers.place(5), NumberPlace::Gap { missing: 2 });
        assert_eq!(numbers.place(3), NumberPlace::Used);
        numbers.give_back(1);
        numbers.give_back(9);
        assert_eq!(numbers.next, Some(1));
        numbers.take(1);
        assert_eq!(numbers.next, Some(2));
        numbers.take(2);
        assert_eq!((numbers.next, numbers.used), (Some(5), vec![(1, 4)]));
        let mut alone = taken(&[5]);
        alone.give_back(5);
        assert_eq!((alone.next, alone.used), (Some(5), Vec::new()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut numbers = Numbers::default();
        (0..200).for_each(|number| numbers.take(number * 2));
        assert_eq!(numbers.used.len(), NUMBER_RUNS_MAX);
        assert_eq!(numbers.next, Some(399));
        assert_eq!(numbers.place(1), NumberPlace::Used, "the lowest holes are forgotten");
        assert_eq!(numbers.place(397), NumberPlace::Late);
        numbers.take(u64::MAX);
        assert_eq!(numbers.next, Some(u64::MAX));
    }
}

//! Which message goes first where several wait.

use super::Category;

/// How urgent a message is: its category's class first, then the row's priority. The smaller goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Urgency {
    class: u8,
    priority: u8,
}

impl Urgency {
    /// One-time passwords; then what somebody waits for; then advertising.
    pub const CLASSES: usize = 3;
    /// The class of advertising, the last.
    pub const MARKETING: usize = 2;
    /// Of rows whose urgency nobody stored.
    pub const USUAL: Urgency = Urgency { class: 1, priority: 5 };

    /// Of a message's category and priority: 1 goes first, 9 last.
    pub fn new(category: Category, priority: u8) -> Urgency {
        let class = match category {
            Category::Authentication => 0,
            Category::Transactional | Category::Service => 1,
            Category::Marketing => 2,
        };
        Urgency { class, priority: priority.clamp(1, 9) }
    }

    /// Below `CLASSES`; a class never stands behind a later one.
    pub fn class(self) -> usize {
        self.class.into()
    }

    pub fn priority(self) -> u8 {
        self.priority
    }

    /// As a number that stored records keep.
    pub fn as_u8(self) -> u8 {
        self.class * 16 + self.priority
    }

    /// None where no such number was ever stored.
    pub fn from_u8(number: u8) -> Option<Urgency> {
        let (class, priority) = (number / 16, number % 16);
        let is_known = class < 3 && (1..=9).contains(&priority);
        is_known.then_some(Urgency { class, priority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_class_goes_before_the_priority_and_the_number_keeps_the_order() {
        let all: Vec<Urgency> = [
            (Category::Authentication, 1),
            (Category::Authentication, 9),
            (Category::Transactional, 1),
            (Category::Service, 5),
            (Category::Marketing, 0),
            (Category::Marketing, 200),
        ]
        .map(|(category, priority)| Urgency::new(category, priority))
        .into();
        assert!(all.is_sorted());
        let numbers: Vec<u8> = all.iter().map(|urgency| urgency.as_u8()).collect();
        assert!(numbers.is_sorted());
        assert!(all.iter().all(|urgency| Urgency::from_u8(urgency.as_u8()) == Some(*urgency)));
        assert_eq!([0, 10, 48, 255].map(Urgency::from_u8), [None; 4]);
    }
}

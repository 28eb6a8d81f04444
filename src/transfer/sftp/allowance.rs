//! Bytes that may be held for clients, shared by many.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A number of bytes that may be taken; a part of a larger allowance takes from that one as well.
#[derive(Debug, Clone)]
pub(in crate::transfer) struct Allowance(Arc<Pot>);

#[derive(Debug)]
struct Pot {
    left: AtomicUsize,
    whole: Option<Allowance>,
}

impl Allowance {
    pub(in crate::transfer) fn new(bytes: usize) -> Allowance {
        Allowance(Arc::new(Pot { left: AtomicUsize::new(bytes), whole: None }))
    }

    /// An allowance within this one.
    pub(in crate::transfer) fn part(&self, bytes: usize) -> Allowance {
        let left = AtomicUsize::new(bytes);
        Allowance(Arc::new(Pot { left, whole: Some(self.clone()) }))
    }

    /// False, and nothing taken, where there is not so much left.
    pub(super) fn take(&self, bytes: usize) -> bool {
        let left = &self.0.left;
        let taken =
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        if taken.is_err() {
            return false;
        }
        if self.0.whole.as_ref().is_some_and(|whole| !whole.take(bytes)) {
            left.fetch_add(bytes, Ordering::Relaxed);
            return false;
        }
        true
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.0.left.fetch_add(bytes, Ordering::Relaxed);
        if let Some(whole) = &self.0.whole {
            whole.give_back(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_bounded_by_themselves_and_by_the_whole() {
        let whole = Allowance::new(100);
        let (a, b) = (whole.part(80), whole.part(80));
        assert!(!a.take(81));
        assert!(a.take(80));
        assert!(!b.take(21));
        assert!(b.take(20));
        assert!(!a.take(1));
        a.give_back(30);
        assert!(b.take(30));
        assert!(!b.take(1));
    }
}

//! How many messages a provider bears at the same time: found out, and never above what is configured.

/// Starts small, doubles while all goes well, and from the first trouble on grows by one a round trip
/// and halves at each further trouble.
#[derive(Debug, Clone)]
pub(super) struct Concurrency {
    most: f64,
    limit: f64,
    is_starting: bool,
    /// Counts the times that the limit was lowered.
    epoch: u32,
}

/// Where a provider is begun with, nothing being known of it.
const FIRST: f64 = 4.0;

impl Concurrency {
    pub(super) fn new(most: usize) -> Concurrency {
        let most = most.max(1) as f64;
        Concurrency { most, limit: FIRST.min(most), is_starting: true, epoch: 0 }
    }

    /// Messages that may be under way now.
    pub(super) fn limit(&self) -> usize {
        self.limit as usize
    }

    /// The mark of a message that begins now: what it says of its provider holds for this epoch.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// A message went well. The limit only grows where it was in the way.
    pub(super) fn went_well(&mut self, was_full: bool) {
        if was_full && self.limit < self.most {
            let more = if self.is_starting { 1.0 } else { 1.0 / self.limit };
            self.limit = (self.limit + more).min(self.most);
        }
    }

    /// A message met with trouble that fewer at once might have avoided. Those that were under way
    /// together are one trouble; true where this is the one that counts.
    pub(super) fn met_trouble(&mut self, epoch: u32) -> bool {
        if epoch != self.epoch {
            return false;
        }
        self.epoch = self.epoch.wrapping_add(1);
        self.is_starting = false;
        self.limit = (self.limit / 2.0).floor().max(1.0);
        true
    }

    /// The provider was away: it is begun with anew.
    pub(super) fn start_anew(&mut self) {
        self.limit = FIRST.min(self.most);
        self.is_starting = true;
        self.epoch = self.epoch.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A round trip in which as many messages as allowed go well.
    fn good_round(concurrency: &mut Concurrency) -> usize {
        for _ in 0..concurrency.limit() {
            concurrency.went_well(true);
        }
        concurrency.limit()
    }

    #[test]
    fn it_doubles_a_round_until_it_is_at_the_configured_number() {
        let mut concurrency = Concurrency::new(50);
        let rounds: Vec<usize> = (0..5).map(|_| good_round(&mut concurrency)).collect();
        assert_eq!(rounds, [8, 16, 32, 50, 50]);
    }

    #[test]
    fn after_trouble_it_halves_once_and_then_grows_by_one_a_round() {
        let mut concurrency = Concurrency::new(64);
        (0..4).for_each(|_| _ = good_round(&mut concurrency));
        let epoch = concurrency.epoch();
        assert!(concurrency.met_trouble(epoch));
        assert!(!concurrency.met_trouble(epoch), "they were under way together");
        assert_eq!(concurrency.limit(), 32);
        let rounds: Vec<usize> = (0..3).map(|_| good_round(&mut concurrency)).collect();
        assert_eq!(rounds, [32, 33, 34]);
    }

    #[test]
    fn it_is_never_below_one_nor_above_the_configured_number() {
        for most in [0, 1, 3, 4, 1000] {
            let mut concurrency = Concurrency::new(most);
            for step in 0..200_u32 {
                if step % 7 < 4 {
                    good_round(&mut concurrency);
                } else {
                    concurrency.met_trouble(concurrency.epoch());
                }
                assert!((1..=most.max(1)).contains(&concurrency.limit()), "{concurrency:?}");
            }
            (0..40).for_each(|_| _ = concurrency.met_trouble(concurrency.epoch()));
            assert_eq!(concurrency.limit(), 1);
        }
    }

    #[test]
    fn it_does_not_grow_where_nobody_needs_it() {
        let mut concurrency = Concurrency::new(64);
        (0..1000).for_each(|_| concurrency.went_well(false));
        assert_eq!(concurrency.limit(), 4);
    }
}

//! Which parts of a file have been written.

/// The parts of a file that were written, as sorted pieces that do not touch.
#[derive(Debug, Default)]
pub(super) struct Pieces(Vec<(u64, u64)>);

impl Pieces {
    pub(super) fn add(&mut self, start: u64, end: u64) {
        if start == end {
            return;
        }
        // Nearly every write continues the last piece.
        if let Some(last) = self.0.last_mut()
            && start == last.1
        {
            last.1 = end;
            return;
        }
        let first = self.0.partition_point(|piece| piece.1 < start);
        let after = self.0.partition_point(|piece| piece.0 <= end);
        let mut merged = (start, end);
        for piece in &self.0[first..after] {
            merged = (merged.0.min(piece.0), merged.1.max(piece.1));
        }
        self.0.splice(first..after, [merged]);
    }

    pub(super) fn cut(&mut self, length: u64) {
        self.0.retain(|piece| piece.0 < length);
        if let Some(last) = self.0.last_mut() {
            last.1 = last.1.min(length);
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, |piece| piece.1)
    }

    /// The bytes from the beginning on without a hole.
    pub(super) fn unbroken(&self) -> u64 {
        self.0.first().filter(|piece| piece.0 == 0).map_or(0, |piece| piece.1)
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.unbroken() == self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_whatever_the_order() {
        let mut pieces = Pieces::default();
        assert!(pieces.is_whole());
        for (start, end) in [(10, 20), (30, 40), (50, 60)] {
            pieces.add(start, end);
        }
        assert_eq!((pieces.count(), pieces.end(), pieces.unbroken()), (3, 60, 0));
        pieces.add(20, 30);
        assert_eq!(pieces.0, [(10, 40), (50, 60)]);
        pieces.add(35, 55);
        assert_eq!(pieces.0, [(10, 60)]);
        assert!(!pieces.is_whole());
        pieces.add(0, 12);
        assert!(pieces.is_whole());
        pieces.add(70, 80);
        pieces.cut(75);
        assert_eq!(pieces.0, [(0, 60), (70, 75)]);
        assert_eq!((pieces.unbroken(), pieces.is_whole()), (60, false));
        pieces.cut(60);
        assert!(pieces.is_whole());
    }
}

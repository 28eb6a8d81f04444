//! What became of rows and is not written down yet: nobody else knows it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::DispatchError;
use crate::batch::RowOutcome;

/// Outcomes in the order in which they are to be written, by the windows their rows stood in.
#[derive(Debug, Default)]
pub(super) struct Unwritten {
    groups: VecDeque<(u32, Vec<RowOutcome>)>,
    is_full: Arc<AtomicBool>,
}

impl Unwritten {
    pub(super) fn put(&mut self, window: u32, rows: Vec<RowOutcome>) {
        if !rows.is_empty() {
            self.groups.push_back((window, rows));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Set while some found no room.
    pub(super) fn is_full(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_full)
    }

    /// Writes them with `append`. What finds no room even alone stays, with all behind it. Another fault may be of one
    /// row, so the others of its window are then written alone; the first fault is told.
    pub(super) fn write(
        &mut self,
        append: impl Fn(u32, &[RowOutcome]) -> Result<(), DispatchError>,
    ) -> Result<(), DispatchError> {
        let mut told = Ok(());
        while let Some((window, rows)) = self.groups.pop_front() {
            match append(window, &rows) {
                Ok(()) => {}
                Err(error) if error.is_for_room() && rows.len() == 1 => {
                    self.groups.push_front((window, rows));
                    break;
                }
                Err(error) => {
                    if !error.is_for_room() {
                        told = told.and(Err(error));
                    }
                    if rows.len() > 1 {
                        let alone = rows.into_iter().rev().map(|row| (window, vec![row]));
                        alone.for_each(|row| self.groups.push_front(row));
                    }
                }
            }
        }
        self.is_full.store(!self.groups.is_empty(), Ordering::Relaxed);
        told
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::store::StoreError;

    #[test]
    fn what_finds_no_room_waits_and_a_fault_of_one_row_loses_no_other() {
        let mut unwritten = Unwritten::default();
        unwritten.put(1, vec![]);
        unwritten.put(1, [0, 1, 2].map(RowOutcome::untried).to_vec());
        unwritten.put(2, vec![RowOutcome::untried(3)]);
        let is_full = unwritten.is_full();
        let full = unwritten.write(|_, _| Err(StoreError::Full.into()));
        assert!(full.is_ok() && !unwritten.is_empty() && is_full.load(Ordering::Relaxed));
        let written = RefCell::new(Vec::new());
        let faulty = |window, rows: &[RowOutcome]| {
            if rows.iter().any(|row| row.index == 1) {
                return Err(DispatchError::Panicked);
            }
            written.borrow_mut().extend(rows.iter().map(|row| (window, row.index)));
            Ok(())
        };
        assert!(matches!(unwritten.write(faulty), Err(DispatchError::Panicked)));
        assert!(unwritten.is_empty() && !is_full.load(Ordering::Relaxed));
        assert_eq!(*written.borrow(), [(1, 0), (1, 2), (2, 3)]);
    }
}

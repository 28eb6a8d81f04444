//! Files that did not come through: which try is the next one, and when it is the last.
//!
//! A panic is caught, so that only its own file notices. What ends the whole process (a stack that is
//! used up, memory that is not there) is known by the next start: from then on each try is written down
//! before it begins, and a file over which one process after the other fell is given up, too.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::Timestamp;

use super::IntakeError;
use super::station::Intake;
use crate::model::BatchId;
use crate::store::BatchRecord;
use crate::worker::blocking;

/// A file is given up after so many strikes: two panics, or a minute in which its bytes could not be
/// read.
const STRIKES_MAX: u32 = 12;
/// A file is given up after so many tries in which the process ended, beside the first one. In the last of
/// them nothing else is read, so that no other file is taken for the one at fault.
const TRIES_MAX: u32 = 2;
/// No claimed file waits longer to be read.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(60);

/// How a file is tried next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Try {
    Plain,
    /// Written down before it begins.
    Counted,
    /// It is answered `file.internal` unread.
    GivenUp,
}

/// What is known of such files.
#[derive(Debug, Default)]
pub(super) struct Retries {
    strikes: HashMap<BatchId, u32>,
    /// Files whose next try is counted.
    suspects: HashSet<BatchId>,
    /// Counted tries under way, and what was counted before.
    under_way: HashMap<BatchId, u32>,
    /// What is being read is read alone.
    alone: bool,
}

impl Intake {
    /// The file that waits longest; one that is read alone comes first, once nothing else is read.
    pub(super) fn next_to_read(&mut self, now: Timestamp) -> Option<BatchRecord> {
        // Files that are only tried out never take all the room.
        let tests = self.busy.iter().filter(|(_, realm)| realm.is_test()).count();
        let full = tests > 0 && tests + 1 >= self.settings.files_at_once;
        let is_free = |(at, record): &(Timestamp, BatchRecord)| {
            let lane = record.inbox_lane();
            // Further ahead than anything waits: the clock was put back since.
            let is_due = *at <= now || *at > now + WAIT_MAX;
            is_due && !self.busy.contains(&lane) && !(full && lane.1.is_test())
        };
        let mut files = self.waiting.iter();
        let alone = files.position(|file| is_free(file) && self.retries.is_read_alone(&file.1));
        if (alone.is_some() || self.retries.alone) && !self.reading.is_empty() {
            return None;
        }
        let at = alone.or_else(|| self.waiting.iter().position(is_free))?;
        self.retries.alone = alone.is_some();
        Some(self.waiting.remove(at)?.1)
    }

    /// At an orderly end: the tries it cuts are not the fault of their files.
    pub(super) async fn take_back_tries(&mut self) -> Result<(), IntakeError> {
        let (desk, cut) = (self.desk.clone(), self.retries.cut());
        blocking(move || {
            for (batch, tries) in cut {
                desk.store.set_tries(batch, tries)?;
            }
            Ok(())
        })
        .await
    }
}

impl Retries {
    /// The process may have ended while it read this file.
    pub(super) fn suspect(&mut self, batch: BatchId) {
        self.suspects.insert(batch);
    }

    /// The next try at a file; it begins now.
    pub(super) fn begin(&mut self, record: &BatchRecord) -> Try {
        let next = self.next(record);
        if next == Try::Counted {
            self.suspects.remove(&record.id);
            self.under_way.insert(record.id, record.facts.tries);
        }
        next
    }

    fn next(&self, record: &BatchRecord) -> Try {
        let is_suspect = self.suspects.contains(&record.id);
        if self.strikes.get(&record.id).is_some_and(|strikes| *strikes >= STRIKES_MAX)
            || (is_suspect && record.facts.tries >= TRIES_MAX)
        {
            return Try::GivenUp;
        }
        if is_suspect { Try::Counted } else { Try::Plain }
    }

    /// True for a file that may be why the process ended more than once.
    pub(super) fn is_read_alone(&self, record: &BatchRecord) -> bool {
        record.facts.tries > 0
            && self.suspects.contains(&record.id)
            && self.next(record) == Try::Counted
    }

    /// A try did not come through; `batch` is what was stored when it began.
    pub(super) fn failed(&mut self, batch: &BatchRecord, error: &IntakeError) {
        self.under_way.remove(&batch.id);
        let strikes = match error {
            // Not the first time that the program falls over it.
            IntakeError::Panicked if batch.facts.tries > 0 => STRIKES_MAX,
            IntakeError::Panicked => {
                self.suspects.insert(batch.id);
                STRIKES_MAX / 2
            }
            IntakeError::Input { .. } => 1,
            _ => 0,
        };
        *self.strikes.entry(batch.id).or_default() += strikes;
    }

    /// The file was answered.
    pub(super) fn done(&mut self, batch: BatchId) {
        self.strikes.remove(&batch);
        self.suspects.remove(&batch);
        self.under_way.remove(&batch);
    }

    /// Counted tries that an orderly end cuts, and what was counted before them: it is not their fault.
    pub(super) fn cut(&mut self) -> HashMap<BatchId, u32> {
        std::mem::take(&mut self.under_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing;

    /// Begins a try and stores what is counted, as reading does.
    fn begin(retries: &mut Retries, record: &mut BatchRecord) -> Try {
        let next = retries.begin(record);
        record.facts.tries += u32::from(next == Try::Counted);
        next
    }

    #[test]
    fn a_file_that_panics_is_tried_once_more() {
        let (mut retries, mut record) = (Retries::default(), testing::claimed());
        assert_eq!(begin(&mut retries, &mut record), Try::Plain);
        retries.failed(&record, &IntakeError::Panicked);
        assert!(!retries.is_read_alone(&record));
        assert_eq!(begin(&mut retries, &mut record), Try::Counted);
        retries.failed(&record, &IntakeError::Panicked);
        assert_eq!(begin(&mut retries, &mut record), Try::GivenUp);
    }

    #[test]
    fn a_retry_counts_whatever_becomes_of_the_process() {
        let mut record = testing::claimed();
        let mut retries = Retries::default();
        begin(&mut retries, &mut record);
        retries.failed(&record, &IntakeError::Panicked);
        begin(&mut retries, &mut record);
        // The process ends in the retry; in the next one the file panics again.
        let mut retries = Retries::default();
        retries.suspect(record.id);
        assert_eq!(begin(&mut retries, &mut record), Try::Counted);
        retries.failed(&record, &IntakeError::Panicked);
        assert_eq!(begin(&mut retries, &mut record), Try::GivenUp);
    }

    #[test]
    fn a_file_over_which_processes_fall_is_given_up_and_last_read_alone() {
        let mut record = testing::claimed();
        let mut seen = Vec::new();
        assert_eq!(begin(&mut Retries::default(), &mut record), Try::Plain);
        for _ in 0..3 {
            let mut retries = Retries::default();
            retries.suspect(record.id);
            let alone = retries.is_read_alone(&record);
            seen.push((begin(&mut retries, &mut record), alone));
        }
        assert_eq!(seen, [(Try::Counted, false), (Try::Counted, true), (Try::GivenUp, false)]);
    }

    #[test]
    fn an_orderly_end_takes_its_count_back_and_other_faults_are_not_counted() {
        let (mut retries, mut record) = (Retries::default(), testing::claimed());
        retries.suspect(record.id);
        begin(&mut retries, &mut record);
        assert_eq!(retries.cut(), HashMap::from([(record.id, 0)]));
        for _ in 0..20 {
            retries.failed(&record, &IntakeError::StillWritten);
            assert_eq!(begin(&mut retries, &mut record), Try::Plain);
        }
        let source = || std::io::Error::other("of the disk");
        for _ in 0..12 {
            assert_eq!(begin(&mut retries, &mut record), Try::Plain);
            retries.failed(&record, &IntakeError::Input { source: source() });
        }
        assert_eq!(begin(&mut retries, &mut record), Try::GivenUp);
    }
}

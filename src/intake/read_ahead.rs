//! Reads records on a thread of its own, a little ahead of the one that checks and stores them.
//!
//! Reading is a third of the work on a row: digests, decoding, finding where cells end. Records come in
//! the file's order and in loads, so that the threads seldom meet; loads go back to be filled again.

use std::fs::File;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use crate::records::{ReadError, Record, RecordReader, Step};

/// Records in a load at most.
const LOAD_ROWS: usize = 512;
/// Bytes of records after which a load is passed on.
const LOAD_BYTES: usize = 256 * 1024;
/// Loads that wait to be taken.
const LOADS_WAITING: usize = 2;
/// Memory of a record that is used again; that of longer ones is given back.
const RECORD_KEPT_BYTES: usize = 8 * 1024;

/// Records with what reading each gave. Those behind the steps are left from an earlier filling.
#[derive(Debug, Default)]
pub(super) struct Load {
    records: Vec<Record>,
    steps: Vec<Step>,
}

/// The end of the pipe at which records come out.
pub(super) struct ReadAhead<'scope> {
    loads: Receiver<Load>,
    empty: SyncSender<Load>,
    reading: ScopedJoinHandle<'scope, Result<(), ReadError>>,
}

impl<'scope> ReadAhead<'scope> {
    /// Begins to read; dropped, it ends the reading.
    pub(super) fn start<'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        reader: &'env mut RecordReader<File>,
    ) -> ReadAhead<'scope> {
        let (full, loads) = sync_channel(LOADS_WAITING);
        // Room for every load there can be: waiting, being filled, being taken.
        let (empty, emptied) = sync_channel(LOADS_WAITING + 2);
        let reading = scope.spawn(move || read(reader, &full, &emptied));
        ReadAhead { loads, empty, reading }
    }

    /// Hands every record to `take`, in order. An error of `take` ends the reading.
    pub(super) fn for_each<E: From<ReadError>>(
        self,
        mut take: impl FnMut(&Record, Step) -> Result<(), E>,
    ) -> Result<(), E> {
        for mut load in &self.loads {
            for (record, step) in load.records.iter().zip(load.steps.drain(..)) {
                take(record, step)?;
            }
            // Nobody wants it back where the reading has ended.
            let _unwanted = self.empty.try_send(load);
        }
        match self.reading.join() {
            Ok(read) => Ok(read?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Fills loads until the file ends or nobody takes them any more.
fn read(
    reader: &mut RecordReader<File>,
    full: &SyncSender<Load>,
    emptied: &Receiver<Load>,
) -> Result<(), ReadError> {
    loop {
        let mut load = emptied.try_recv().unwrap_or_default();
        let result = load.fill(reader);
        let ended = !matches!(result, Ok(true));
        // Rows before an error count, as they do without this thread.
        if full.send(load).is_err() || ended {
            return result.map(|_| ());
        }
    }
}

impl Load {
    /// Reads as many records as fit; false where the file ended.
    fn fill(&mut self, reader: &mut RecordReader<File>) -> Result<bool, ReadError> {
        let mut bytes = 0;
        while self.steps.len() < LOAD_ROWS && bytes < LOAD_BYTES {
            let at = self.steps.len();
            if at == self.records.len() {
                self.records.push(Record::new());
            }
            if self.records[at].bytes() > RECORD_KEPT_BYTES {
                self.records[at] = Record::new();
            }
            let Some(step) = reader.next(&mut self.records[at])? else { return Ok(false) };
            bytes += self.records[at].bytes();
            self.steps.push(step);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::records::ReadSettings;

    const ROWS: u64 = 1000;

    /// Reads a file of many loads, with `tail` behind its rows; what `take` saw and how it ended.
    fn taken(tail: &str, stop_at: u64) -> (Vec<u64>, Result<(), String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("input");
        let rows: String = (0..ROWS).map(|row| format!("a{row}@example.com,hi\n")).collect();
        std::fs::write(&path, format!("email,text\n{rows}{tail}")).unwrap();
        let mut reader = RecordReader::new(File::open(&path).unwrap(), ReadSettings::default());
        reader.open().unwrap();
        let mut seen = Vec::new();
        let result = thread::scope(|scope| {
            ReadAhead::start(scope, &mut reader).for_each(|record, _| {
                if record.row() == stop_at {
                    return Err(Stop("taker".to_owned()));
                }
                seen.push(record.row());
                Ok(())
            })
        });
        (seen, result.map_err(|Stop(why)| why))
    }

    struct Stop(String);

    impl From<ReadError> for Stop {
        fn from(_: ReadError) -> Stop {
            Stop("reader".to_owned())
        }
    }

    #[test]
    fn records_come_in_order_and_once() {
        let (seen, result) = taken("", 0);
        assert_eq!((seen, result), ((1..=ROWS).collect(), Ok(())));
    }

    #[test]
    fn rows_before_a_fault_of_the_file_are_taken() {
        let (seen, result) = taken("\"never closed,hi\n", 0);
        assert_eq!((seen, result), ((1..=ROWS).collect(), Err("reader".to_owned())));
    }

    #[test]
    fn whoever_takes_the_records_can_end_the_reading() {
        let (seen, result) = taken("", 300);
        assert_eq!((seen, result), ((1..300).collect(), Err("taker".to_owned())));
    }
}

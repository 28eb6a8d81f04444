//! `<name>.progress.csv`: one row on how far a file is.

use std::io::{self, Write};

use jiff::Timestamp;

use super::csv;
use crate::model::BatchId;

/// What a file is doing before its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressState {
    /// It is being read.
    Validating,
    /// Every row that is open waits for its time.
    Scheduled,
    /// Rows are being sent.
    Running,
    /// Nothing is sent until it is resumed.
    Paused,
}

impl ProgressState {
    pub const fn as_str(self) -> &'static str {
        match self {
            ProgressState::Validating => "VALIDATING",
            ProgressState::Scheduled => "SCHEDULED",
            ProgressState::Running => "RUNNING",
            ProgressState::Paused => "PAUSED",
        }
    }
}

/// Everything the progress file says.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    pub file: &'a str,
    pub batch: BatchId,
    pub state: ProgressState,
    pub total: u64,
    pub done: u64,
    pub deferred: u64,
    /// When the next row that waits is due.
    pub next_at: Option<Timestamp>,
    /// Rows done per second; none before two looks.
    pub rate: Option<f64>,
    pub eta: Option<Timestamp>,
    pub updated_at: Timestamp,
}

impl Progress<'_> {
    pub const COLUMNS: &'static [&'static str] = &[
        "spec",
        "file",
        "batch_id",
        "state",
        "total",
        "done",
        "deferred",
        "next_at",
        "rate",
        "eta",
        "updated_at",
    ];

    /// Writes the whole file: header and one row.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        csv::header(Progress::COLUMNS, &[""; 0], out)?;
        let mut line = csv::start(self.file, self.batch);
        line.text(self.state.as_str()).plain(self.total).plain(self.done).plain(self.deferred);
        line.time(self.next_at);
        match self.rate {
            Some(rate) => line.plain(format_args!("{rate:.1}")),
            None => line.blank(),
        };
        line.time(self.eta).time(Some(self.updated_at)).end(Progress::COLUMNS.len(), out)
    }

    /// How every progress file of this batch begins, whatever it says further on.
    pub fn beginning(file: &str, batch: BatchId) -> Vec<u8> {
        csv::beginning(Progress::COLUMNS, file, batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_has_the_contracts_columns_and_knows_its_own() {
        assert_eq!(
            Progress::COLUMNS.join(","),
            "spec,file,batch_id,state,total,done,deferred,next_at,rate,eta,updated_at"
        );
        let at = |text: &str| Some(text.parse().unwrap());
        let progress = Progress {
            file: "a,1.csv",
            batch: BatchId::from_u64(1),
            state: ProgressState::Running,
            total: 10,
            done: 4,
            deferred: 1,
            next_at: at("2026-11-22T10:00:00Z"),
            rate: Some(0.25),
            eta: None,
            updated_at: Timestamp::UNIX_EPOCH,
        };
        let mut out = Vec::new();
        progress.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text.lines().nth(1).unwrap(),
            "1,\"a,1.csv\",0000000000001,RUNNING,10,4,1,2026-11-22T10:00:00Z,0.2,,\
             1970-01-01T00:00:00Z"
        );
        let begins = |file, id| {
            text.as_bytes().starts_with(&Progress::beginning(file, BatchId::from_u64(id)))
        };
        assert!(begins("a,1.csv", 1));
        assert!(!begins("a,1.csv", 2));
        assert!(!begins("a.csv", 1));
    }
}

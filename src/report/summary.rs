//! `<name>.summary.csv`: rows by status.

use std::io::{self, Write};

use super::csv::{self, Line, SPEC};
use crate::model::{BatchId, Status};

/// Everything the summary says.
pub struct Summary<'a> {
    pub file: &'a str,
    pub batch: BatchId,
    /// How many rows ended in a status.
    pub rows: &'a dyn Fn(Status) -> u64,
    /// The file was only tried out.
    pub test: bool,
    /// Parts of all rows; 0 where no channel counts parts.
    pub parts: u64,
}

/// The statuses that have a column, in the contract's order: all that a row can end in.
const STATUSES: [Status; 12] = [
    Status::Rejected,
    Status::Duplicate,
    Status::Submitted,
    Status::Sent,
    Status::Delivered,
    Status::Read,
    Status::Failed,
    Status::Bounced,
    Status::Expired,
    Status::Suppressed,
    Status::Cancelled,
    Status::Unknown,
];

impl Summary<'_> {
    pub const COLUMNS: &'static [&'static str] = &[
        "spec",
        "file",
        "batch_id",
        "rows_total",
        "rejected",
        "duplicate",
        "submitted",
        "sent",
        "delivered",
        "read",
        "failed",
        "bounced",
        "expired",
        "suppressed",
        "cancelled",
        "unknown",
        "parts",
        "price",
        "currency",
        "test",
    ];

    /// Writes the whole file: header and one row.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        csv::header(Summary::COLUMNS, &[""; 0], out)?;
        let mut line = Line::default();
        line.plain(SPEC).text(self.file).plain(self.batch);
        line.plain(STATUSES.iter().map(|status| (self.rows)(*status)).sum::<u64>());
        for status in STATUSES {
            line.plain((self.rows)(status));
        }
        // No provider tells a price yet.
        line.known(self.parts).blanks(2).yes_no(self.test).end(Summary::COLUMNS.len(), out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_has_the_contracts_columns_and_adds_up() {
        assert_eq!(
            Summary::COLUMNS.join(","),
            "spec,file,batch_id,rows_total,rejected,duplicate,submitted,sent,delivered,read,failed,\
             bounced,expired,suppressed,cancelled,unknown,parts,price,currency,test"
        );
        let names: Vec<&str> = STATUSES.iter().map(|s| s.as_str()).collect();
        assert_eq!(names, Summary::COLUMNS[4..16]);
        let rows = |status: Status| u64::from(status.index()) + 1;
        let (file, batch) = ("a.csv", BatchId::from_u64(1));
        let mut out = Vec::new();
        Summary { file, batch, rows: &rows, test: true, parts: 9 }.write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let row = text.lines().nth(1).unwrap();
        assert_eq!(row, "1,a.csv,0000000000001,98,1,2,5,6,7,8,9,10,11,12,13,14,9,,,yes");
    }
}

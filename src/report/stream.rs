//! A file of a stream, such as `notices_<yyyymmdd>_<nnnnnn>.csv`: lines that belong to no single file.

use std::io::{self, Write};

use jiff::civil::Date;

use super::csv::{self, Line, SPEC};
use super::result::ResultFile;
use crate::model::Stream;

/// A stream's file being written.
pub struct StreamSheet<'a> {
    out: &'a mut dyn Write,
    line: Line,
    columns: usize,
    x_columns: Vec<String>,
}

impl<'a> StreamSheet<'a> {
    /// The columns of a stream.
    pub fn columns(stream: Stream) -> Vec<&'static str> {
        const NUMBERED: [&str; 2] = ["spec", "seq"];
        match stream {
            Stream::Notices | Stream::TestNotices => {
                [&NUMBERED[..], &["at", "severity", "code", "file", "message", "hint"]].concat()
            }
            // The result's, from `file` on.
            Stream::Receipts | Stream::TestReceipts => {
                [&NUMBERED[..], &["changed_at"], &ResultFile::COLUMNS[1..]].concat()
            }
        }
    }

    /// The name of a stream's file. Numbers beyond six digits take more.
    pub fn name(stream: Stream, date: Date, number: u64) -> String {
        let (year, month, day) = (date.year(), date.month(), date.day());
        let stream = stream.name();
        format!("{stream}_{year:04}{month:02}{day:02}_{number:06}.csv")
    }

    /// `x_columns` are those that some line of the file has.
    pub fn start(
        out: &'a mut dyn Write,
        stream: Stream,
        x_columns: Vec<String>,
    ) -> io::Result<StreamSheet<'a>> {
        let columns = StreamSheet::columns(stream);
        csv::header(&columns, &x_columns, out)?;
        Ok(StreamSheet { out, line: Line::default(), columns: columns.len(), x_columns })
    }

    /// Writes one line, with the `x_*` that it has. `seq` counts the lines of the stream over all its files.
    pub fn write(&mut self, seq: u64, cells: &[String], x: &[(String, String)]) -> io::Result<()> {
        self.line.plain(SPEC).plain(seq);
        for cell in cells {
            self.line.text(cell);
        }
        for column in &self.x_columns {
            let value = x.iter().find(|(name, _)| name == column);
            self.line.text(value.map_or("", |(_, value)| value));
        }
        self.line.end(self.columns + self.x_columns.len(), self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::ReasonCode;
    use crate::model::Notice;

    #[test]
    fn notices_have_the_contracts_columns_and_name() {
        let at = "2026-11-23T09:00:00Z".parse().unwrap();
        let said = "cut, after 5 bytes".to_owned();
        let notice = Notice::warning(at, ReasonCode::FileIncomplete, "a.csv", said);
        let mut out = Vec::new();
        let mut sheet = StreamSheet::start(&mut out, Stream::Notices, Vec::new()).unwrap();
        sheet.write(7, &notice.cells(), &[]).unwrap();
        let hint = ReasonCode::FileIncomplete.advice();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "spec,seq,at,severity,code,file,message,hint\n\
                 1,7,2026-11-23T09:00:00Z,warning,file.incomplete,a.csv,\"cut, after 5 bytes\",{hint}\n"
            )
        );
        let receipts = StreamSheet::columns(Stream::Receipts).join(",");
        assert!(receipts.starts_with("spec,seq,changed_at,file,batch_id,line,row,"), "{receipts}");
        assert!(receipts.ends_with(",opted_out_at,ended_at"), "{receipts}");
        let name = StreamSheet::name(Stream::Notices, jiff::civil::date(2026, 1, 2), 42);
        assert_eq!(name, "notices_20260102_000042.csv");
    }
}

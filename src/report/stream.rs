//! A file of a stream, such as `notices_<yyyymmdd>_<nnnnnn>.csv`: lines that belong to no single file.

use std::io::{self, Write};

use jiff::civil::Date;

use super::csv::{self, Line, SPEC};
use crate::model::Stream;

/// A stream's file being written.
pub struct StreamSheet<'a> {
    out: &'a mut dyn Write,
    line: Line,
    columns: usize,
}

impl<'a> StreamSheet<'a> {
    /// The columns of a stream.
    pub const fn columns(stream: Stream) -> &'static [&'static str] {
        match stream {
            Stream::Notices | Stream::TestNotices => {
                &["spec", "seq", "at", "severity", "code", "file", "message", "hint"]
            }
        }
    }

    /// The name of a stream's file. Numbers beyond six digits take more.
    pub fn name(stream: Stream, date: Date, number: u64) -> String {
        let (year, month, day) = (date.year(), date.month(), date.day());
        let stream = stream.name();
        format!("{stream}_{year:04}{month:02}{day:02}_{number:06}.csv")
    }

    pub fn start(out: &'a mut dyn Write, stream: Stream) -> io::Result<StreamSheet<'a>> {
        let columns = StreamSheet::columns(stream);
        csv::header(columns, &[""; 0], out)?;
        Ok(StreamSheet { out, line: Line::default(), columns: columns.len() })
    }

    /// Writes one line. `seq` counts the lines of the stream over all its files.
    pub fn write(&mut self, seq: u64, cells: &[String]) -> io::Result<()> {
        self.line.plain(SPEC).plain(seq);
        for cell in cells {
            self.line.text(cell);
        }
        self.line.end(self.columns, self.out)
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
        let mut sheet = StreamSheet::start(&mut out, Stream::Notices).unwrap();
        sheet.write(7, &notice.cells()).unwrap();
        let hint = ReasonCode::FileIncomplete.advice();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!(
                "spec,seq,at,severity,code,file,message,hint\n\
                 1,7,2026-11-23T09:00:00Z,warning,file.incomplete,a.csv,\"cut, after 5 bytes\",{hint}\n"
            )
        );
        let name = StreamSheet::name(Stream::Notices, jiff::civil::date(2026, 1, 2), 42);
        assert_eq!(name, "notices_20260102_000042.csv");
    }
}

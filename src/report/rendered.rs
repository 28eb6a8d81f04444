//! `<name>.rendered.csv`: what a file that is only tried out would send.

use std::io::{self, Write};

use super::csv::{self, Line, SPEC};
use crate::model::{BatchId, OutgoingMessage};

/// A rendered file being written.
pub struct RenderedFile<'a> {
    out: &'a mut dyn Write,
    line: Line,
    /// The cells that are the same in every line.
    start: Line,
    x_columns: usize,
}

impl<'a> RenderedFile<'a> {
    /// The columns, before `x_*`.
    pub const COLUMNS: &'static [&'static str] = &[
        "spec",
        "file",
        "batch_id",
        "row",
        "row_id",
        "channel",
        "to",
        "sender",
        "subject",
        "text",
        "html",
        "message_id",
    ];

    pub fn start(
        out: &'a mut dyn Write,
        file: &str,
        batch: BatchId,
        x_columns: &[String],
    ) -> io::Result<RenderedFile<'a>> {
        csv::header(RenderedFile::COLUMNS, x_columns, out)?;
        let mut start = Line::default();
        start.plain(SPEC).text(file).plain(batch);
        Ok(RenderedFile { out, line: Line::default(), start, x_columns: x_columns.len() })
    }

    /// One message; `x` in the order of the file's `x_*` columns, may be fewer.
    pub fn write(&mut self, row_id: &str, message: &OutgoingMessage, x: &[&str]) -> io::Result<()> {
        let line = self.line.start_with(&self.start);
        line.plain(message.row).text(row_id).text(message.channel.as_str());
        line.text(&message.to).text(&message.sender).text(&message.subject);
        line.text(&message.text).text(&message.html).text(&message.message_id);
        line.x(self.x_columns, x);
        line.end(RenderedFile::COLUMNS.len() + self.x_columns, self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rendered_file_has_the_contracts_columns() {
        assert_eq!(
            RenderedFile::COLUMNS.join(","),
            "spec,file,batch_id,row,row_id,channel,to,sender,subject,text,html,message_id"
        );
        let mut out = Vec::new();
        let columns = ["x_a".to_owned()];
        RenderedFile::start(&mut out, "a.csv", BatchId::from_u64(1), &columns).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("html,message_id,x_a\n"));
    }
}

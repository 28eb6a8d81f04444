//! One record after the other from a source, each limit kept.

use std::io::Read;

use crate::codes::ReasonCode;
use crate::model::FileForm;

use super::problem::{FileProblem, ReadError};
use super::scan::{Scan, Scanner};
use super::settings::Limits;
use super::source::Source;

/// A byte that UTF-8 never has.
const NO_DELIMITER: u8 = 0xFF;

/// What stands at the window's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// A record of this many bytes of the window; the scanner holds its fields.
    Record { length: usize, ended: bool },
    /// A record longer than the limit: `skip` passes it.
    TooLong,
    /// The input is at its end.
    End,
}

pub(super) struct Cursor<R> {
    pub(super) source: Source<R>,
    pub(super) scanner: Scanner,
    /// Every record counts as one line, whatever stands in its cells.
    lines_are_records: bool,
    record_max: usize,
    file_max: u64,
}

impl<R: Read> Cursor<R> {
    pub(super) fn new(source: Source<R>, form: FileForm, limits: &Limits) -> Cursor<R> {
        let scanner = Scanner::new(b',', None, 1);
        Cursor {
            source,
            scanner,
            lines_are_records: form == FileForm::Workbook,
            record_max: limits.record_max_bytes,
            file_max: limits.file_max_bytes,
        }
    }

    /// Cuts what follows in this way; the next line is the one of this number.
    pub(super) fn cut_by(&mut self, delimiter: u8, quote: Option<u8>, line: u64) {
        self.scanner = Scanner::new(delimiter, quote, line);
        self.scanner.lines_are_records = self.lines_are_records;
    }

    /// Takes every line that follows as a record of one field.
    pub(super) fn cut_by_lines(&mut self) {
        self.scanner = Scanner::new(NO_DELIMITER, None, self.scanner.line);
    }

    /// Finds the record at the window's start without consuming it.
    pub(super) fn find(&mut self) -> Result<Found, ReadError> {
        loop {
            let window = self.source.window();
            if window.is_empty() && self.source.ended() {
                return Ok(Found::End);
            }
            let view = &window[..window.len().min(self.record_max)];
            let last = self.source.ended() && view.len() == window.len();
            match self.scanner.scan(view, last) {
                Scan::Record { length, ended } => return Ok(Found::Record { length, ended }),
                Scan::QuoteOpen => return Err(self.quote_open("is never closed")),
                Scan::Nul => return Err(self.not_text()),
                Scan::More if view.len() == self.record_max => {
                    return if self.scanner.in_quotes() {
                        Err(self.quote_open("is not closed before a record is at its longest"))
                    } else {
                        Ok(Found::TooLong)
                    };
                }
                Scan::More => self.more()?,
            }
        }
    }

    /// Consumes the record that `find` found.
    pub(super) fn pass(&mut self, length: usize) {
        self.source.consume(length);
        self.scanner.start_record();
    }

    /// Passes a record that is too long, handing its bytes on piece by piece.
    pub(super) fn skip(
        &mut self,
        mut piece: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<(), ReadError> {
        let mut quoted = 0;
        loop {
            let scanned = self.scanner.scanned();
            // A quote must close within a record's length here too, or it swallows the file.
            quoted = if self.scanner.in_quotes() { quoted + scanned } else { 0 };
            if quoted > self.record_max {
                return Err(self.quote_open("is not closed before a record is at its longest"));
            }
            piece(&self.source.window()[..scanned])?;
            let dropped = self.scanner.drop_scanned();
            self.source.consume(dropped);
            if self.source.window().len() <= 1 && !self.source.ended() {
                self.more()?;
            }
            match self.scanner.scan(self.source.window(), self.source.ended()) {
                Scan::More => {}
                Scan::Record { length, .. } => {
                    piece(&self.source.window()[..length])?;
                    self.pass(length);
                    return Ok(());
                }
                Scan::QuoteOpen => return Err(self.quote_open("is never closed")),
                Scan::Nul => return Err(self.not_text()),
            }
        }
    }

    /// Makes the window longer, or says why the file ends here.
    pub(super) fn more(&mut self) -> Result<(), ReadError> {
        let before = self.source.window().len();
        self.source.more()?;
        self.check_size()?;
        match self.source.malformed_at() {
            Some(offset) if self.source.window().len() == before => {
                let name = self.source.encoding().name();
                // A CR that waits for its LF is not counted yet, but the bad byte stands behind it.
                let cr_waits =
                    self.scanner.scanned() < before && self.source.window().last() == Some(&b'\r');
                let line = self.scanner.line + u64::from(cr_waits);
                let message = format!("byte {offset} of the file is not valid {name}");
                Err(FileProblem::new(ReasonCode::FileEncodingInvalid, message).at_line(line).into())
            }
            _ => Ok(()),
        }
    }

    /// Refuses a file that has more bytes than the limit.
    pub(super) fn check_size(&self) -> Result<(), ReadError> {
        if self.source.bytes() <= self.file_max {
            return Ok(());
        }
        let message = format!("the file has more than {} bytes", self.file_max);
        Err(FileProblem::new(ReasonCode::FileTooLarge, message).into())
    }

    /// The next physical line, line end included and not consumed; `None` at the end of the input.
    pub(super) fn line(&mut self) -> Result<Option<usize>, ReadError> {
        loop {
            let window = self.source.window();
            let ended = self.source.ended();
            let view = &window[..window.len().min(self.record_max)];
            let stop = view.iter().position(|b| matches!(b, b'\r' | b'\n' | 0));
            match stop {
                Some(at) if window[at] == 0 => return Err(self.not_text()),
                Some(at) if window[at] == b'\n' => return Ok(Some(at + 1)),
                Some(at) if window.get(at + 1) == Some(&b'\n') => return Ok(Some(at + 2)),
                Some(at) if at + 1 < window.len() || ended => return Ok(Some(at + 1)),
                None if ended && window.is_empty() => return Ok(None),
                None if ended || view.len() == self.record_max => return Ok(Some(view.len())),
                _ => self.more()?,
            }
        }
    }

    /// Consumes a line that `line` found, to its end where it is longer than a record.
    pub(super) fn pass_line(&mut self, length: usize) -> Result<(), ReadError> {
        let mut piece = length;
        loop {
            let is_whole = matches!(self.source.window()[..piece].last(), Some(b'\r' | b'\n'));
            self.source.consume(piece);
            if is_whole || piece < self.record_max {
                break;
            }
            let Some(more) = self.line()? else { break };
            piece = more;
        }
        self.scanner.line += 1;
        Ok(())
    }

    fn quote_open(&self, why: &str) -> ReadError {
        let line = self.scanner.quote_line;
        let message = format!("the quote opened in line {line} {why}");
        FileProblem::new(ReasonCode::FileQuoteUnterminated, message).at_line(line).into()
    }

    fn not_text(&self) -> ReadError {
        let line = self.scanner.line;
        let hint = if self.source.encoding().is_utf16() {
            "save the file as UTF-8: UTF-32 is not read"
        } else if line == 1 {
            "send CSV as text; UTF-16 needs a byte order mark at its start"
        } else {
            "upload the file again: it may have been damaged on its way"
        };
        FileProblem::new(ReasonCode::FileNotText, "the file holds NUL bytes, so it is no text")
            .at_line(line)
            .hint(hint)
            .into()
    }
}

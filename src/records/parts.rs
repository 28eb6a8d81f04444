//! Holds the parts of a workbook against what reading them would take.
//!
//! Whoever reads a workbook keeps its styles, names and shared strings in memory, and one cell at a
//! time. So each of these is bounded here, on the bytes as they are unpacked: a part is passed once
//! before it is read. Parts that are long or kept in memory must be plain, well-nested XML without
//! comments; small ones, such as pictures, may be anything.

use std::io::{self, Write};

use crate::codes::ReasonCode;

use super::archive::UnpackError;
use super::problem::FileProblem;

/// A part up to here may be anything, unless it is kept in memory.
const SMALL_PART_BYTES: u64 = 8 << 20;
/// Bytes of the shared strings at most: about a million cells of different text.
const SHARED_STRINGS_MAX_BYTES: u64 = 64 << 20;
/// Styles, sheets, names and the like in one workbook. Excel makes at most 65 490 styles.
const LISTED_MAX: u64 = 100_000;
/// Bytes of one cell, one shared string, one tag.
const STRETCH_MAX_BYTES: u64 = 1 << 20;
const DEPTH_MAX: usize = 64;
/// Bytes of a tag that are looked at.
const TAG_KEPT_BYTES: usize = 4096;

/// Elements of which all are kept in memory.
const LISTED: [&[u8]; 12] = [
    b"sheet",
    b"definedName",
    b"Relationship",
    b"xf",
    b"numFmt",
    b"font",
    b"fill",
    b"border",
    b"dxf",
    b"cellStyle",
    b"srgbClr",
    b"sysClr",
];
/// Elements that are read as a whole.
const STRETCHES: [&[u8]; 2] = [b"c", b"si"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Text,
    Tag,
    Quote(u8),
}

/// One part, as it is unpacked into this.
pub(super) struct Part<'a> {
    is_strings: bool,
    /// Long or not, it is kept in memory.
    is_kept: bool,
    /// Elements of the whole workbook that are kept in memory.
    listed: &'a mut u64,
    bytes: u64,
    at: At,
    /// Bytes since the last tag began or ended.
    run: u64,
    tag: Vec<u8>,
    tag_last: u8,
    /// Names of the open elements, one after the other.
    open: Vec<u8>,
    open_ends: Vec<usize>,
    /// Depth at which a stretch began, and its bytes so far.
    stretch: Option<(usize, u64)>,
    lists: bool,
    /// The number of strings that the part says it has.
    announced: u64,
    fault: Option<&'static str>,
    refused: Option<UnpackError>,
}

impl Part<'_> {
    pub(super) fn new<'a>(name: &str, listed: &'a mut u64) -> Part<'a> {
        let name = name.to_ascii_lowercase();
        let is_strings = name.contains("sharedstrings");
        Part {
            is_strings,
            is_kept: is_strings || name.contains("styles.xml") || name.ends_with(".rels"),
            listed,
            bytes: 0,
            at: At::Text,
            run: 0,
            tag: Vec::new(),
            tag_last: 0,
            open: Vec::new(),
            open_ends: Vec::new(),
            stretch: None,
            lists: false,
            announced: 0,
            fault: None,
            refused: None,
        }
    }

    /// Whether the whole part may be read.
    pub(super) fn finish(mut self) -> Result<(), UnpackError> {
        self.judge();
        // The reader makes room for as many strings as are announced.
        if self.refused.is_none() && self.announced > self.bytes {
            self.refused = Some(damaged("it announces more strings than it can hold"));
        }
        self.refused.map_or(Ok(()), Err)
    }

    fn judge(&mut self) {
        if self.refused.is_some() {
            return;
        }
        if self.is_strings && self.bytes > SHARED_STRINGS_MAX_BYTES {
            let message = "the spreadsheet holds more different texts than fit into memory";
            let problem = FileProblem::new(ReasonCode::FileTooLarge, message);
            let problem =
                problem.hint("split the file, or send CSV, which may be as long as 2 GiB");
            self.refused = Some(UnpackError::Refused(problem));
        } else if *self.listed > LISTED_MAX {
            self.refused = Some(damaged("it has too many styles, sheets or names"));
        } else if self.is_kept || self.bytes > SMALL_PART_BYTES {
            let listing = "it is too long for what it lists";
            let lists = self.lists && self.bytes > SMALL_PART_BYTES && !self.is_strings;
            self.refused = self.fault.or(lists.then_some(listing)).map(damaged);
        }
    }

    fn feed(&mut self, byte: u8) {
        self.run += 1;
        if let Some((_, length)) = &mut self.stretch {
            *length += 1;
            self.run = self.run.max(*length);
        }
        if self.run > STRETCH_MAX_BYTES {
            self.fault = self.fault.or(Some("it has a cell longer than any row may be"));
        }
        match (self.at, byte) {
            (At::Text, b'<') => {
                self.at = At::Tag;
                self.tag.clear();
                self.run = 0;
            }
            (At::Text, _) => {}
            (At::Tag, b'>') => {
                self.at = At::Text;
                self.run = 0;
                self.tag_ended();
            }
            (_, b'<') => self.fault = self.fault.or(Some("it is no well-formed XML")),
            (At::Tag, _) => {
                if matches!(byte, b'"' | b'\'') {
                    self.at = At::Quote(byte);
                }
                self.keep(byte);
            }
            (At::Quote(quote), _) => {
                if byte == quote {
                    self.at = At::Tag;
                }
                self.keep(byte);
            }
        }
    }

    fn keep(&mut self, byte: u8) {
        self.tag_last = byte;
        if self.tag.len() < TAG_KEPT_BYTES {
            self.tag.push(byte);
        }
    }

    fn tag_ended(&mut self) {
        let tag = std::mem::take(&mut self.tag);
        let fault = match tag.first() {
            None | Some(b'!') => Some("it holds comments or a DOCTYPE"),
            Some(b'?') => (self.tag_last != b'?').then_some("it is no well-formed XML"),
            Some(b'/') => self.close(&tag[1..]),
            Some(_) => self.open(&tag),
        };
        self.fault = self.fault.or(fault);
        self.tag = tag;
    }

    fn open(&mut self, tag: &[u8]) -> Option<&'static str> {
        let ends = |b: &u8| b.is_ascii_whitespace() || *b == b'/';
        let name = tag.split(ends).next().unwrap_or_default();
        let local = name.rsplit(|b| *b == b':').next().unwrap_or_default();
        if LISTED.contains(&local) {
            *self.listed += 1;
            self.lists = true;
        }
        if local == b"sst" {
            self.announced = self.announced.max(announced(tag));
        }
        if self.tag_last == b'/' {
            return None;
        }
        if STRETCHES.contains(&local) && self.stretch.is_none() {
            self.stretch = Some((self.open_ends.len(), 0));
        }
        if self.open_ends.len() == DEPTH_MAX || name.len() >= TAG_KEPT_BYTES / 2 {
            return Some("its elements stand too deep in each other");
        }
        self.open.extend_from_slice(name);
        self.open_ends.push(self.open.len());
        None
    }

    fn close(&mut self, name: &[u8]) -> Option<&'static str> {
        let name = name.trim_ascii_end();
        self.open_ends.pop();
        let start = self.open_ends.last().copied().unwrap_or_default();
        let fits = self.open.get(start..) == Some(name);
        self.open.truncate(start);
        if self.stretch.is_some_and(|(depth, _)| depth >= self.open_ends.len()) {
            self.stretch = None;
        }
        (!fits).then_some("its elements do not end where they should")
    }
}

impl Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes += bytes.len() as u64;
        bytes.iter().for_each(|byte| self.feed(*byte));
        self.judge();
        match self.refused {
            Some(_) => Err(io::Error::other("the part is refused")),
            None => Ok(bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn damaged(what: &'static str) -> UnpackError {
    UnpackError::damaged(format!("a part of the spreadsheet cannot be read: {what}"))
}

/// The number behind `uniqueCount`; too large to be true where the tag is too long to tell.
fn announced(tag: &[u8]) -> u64 {
    const NAME: &[u8] = b"uniqueCount";
    if tag.len() >= TAG_KEPT_BYTES {
        return u64::MAX;
    }
    let found = tag.windows(NAME.len()).enumerate().filter(|(_, part)| *part == NAME);
    let number = |at: usize| {
        let digits = tag[at + NAME.len()..].iter().skip_while(|b| !b.is_ascii_digit());
        digits
            .take_while(|b| b.is_ascii_digit())
            .fold(0_u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')))
    };
    found.map(|(at, _)| number(at)).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(name: &str, pieces: &[&[u8]]) -> Result<(), String> {
        let mut listed = 0;
        let mut part = Part::new(name, &mut listed);
        for piece in pieces {
            if part.write_all(piece).is_err() {
                break;
            }
        }
        part.finish().map_err(|error| match error {
            UnpackError::Refused(problem) => problem.message,
            error => panic!("{error:?}"),
        })
    }

    const SHEET: &str = "xl/worksheets/sheet1.xml";

    #[test]
    fn long_parts_must_be_plain() {
        let cell = b"<row r=\"1\"><c r=\"A1\" t='s'><v>1</v></c><c/></row>".repeat(1 << 18);
        let text = vec![b'x'; (1 << 20) + 1];
        let spaces = vec![b' '; 9 << 20];
        let open = b"<?xml version=\"1.0\"?><worksheet><sheetData>";
        let close = b"</sheetData></worksheet>";
        assert_eq!(judged(SHEET, &[open, &cell, close]), Ok(()));
        let in_pieces = b"<x/>".repeat(1 << 19);
        for (pieces, part) in [
            ([&open[..], &cell, b"<!-- -->"], "comments"),
            ([open, &cell, b"<![CDATA[ ]]>"], "comments"),
            ([open, &cell, &text], "longer than any row"),
            ([open, &cell, b"</row>"], "do not end"),
            ([open, &cell, b"<a b='<'/>"], "well-formed"),
            ([open, &cell, b"<? > ?>"], "well-formed"),
            ([b"<c><is><t>", &in_pieces, &cell], "longer than any row"),
            ([open, &cell, &b"<a>".repeat(100)], "too deep"),
            ([open, &cell, b"<x:sheet name='a'/>"], "too long for what it lists"),
            ([b"\x89PNG", &spaces, b""], "longer than any row"),
        ] {
            let refused = judged(SHEET, &pieces).unwrap_err();
            assert!(refused.contains(part), "{part}: {refused}");
        }
        assert_eq!(judged("xl/media/a.png", &[b"\x89PNG<<<"]), Ok(()));
    }

    #[test]
    fn what_is_kept_in_memory_is_bounded() {
        const STRINGS: &str = "xl/SharedStrings.xml";
        assert_eq!(judged(STRINGS, &[b"<sst uniqueCount=\"1\"><si><t>a</t></si></sst>"]), Ok(()));
        let many = b"<sst count='1' uniqueCount = '99999999999999999999'></sst>";
        assert!(judged(STRINGS, &[many]).unwrap_err().contains("announces"));
        assert!(judged(STRINGS, &[b"<sst><!-- -->"]).unwrap_err().contains("comments"));
        let million = b"<si><t>one of a million</t></si>".repeat(1 << 20);
        let pieces: Vec<&[u8]> = std::iter::once(&b"<sst>"[..]).chain([&million[..]; 3]).collect();
        assert!(judged(STRINGS, &pieces).unwrap_err().contains("different texts"));
        let styles = b"<xf/>".repeat(100_001);
        assert!(judged("xl/styles.xml", &[&styles]).unwrap_err().contains("too many styles"));
        assert!(judged("xl/workbook.xml", &[&b"<sheet/>".repeat(100_001)]).is_err());
    }
}

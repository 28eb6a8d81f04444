//! Finds where one record and its fields end, in whatever pieces the bytes come.
//!
//! RFC 4180 with the usual lenience: a quote inside an unquoted field is text, and so is what follows
//! a closing quote. Everything it looks for is ASCII, so it works on the bytes of UTF-8 text.

/// Where a field stands in its record, quotes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// The bytes are the value.
    Plain,
    /// The value stands between two quotes.
    Quoted,
    /// The value holds doubled quotes, or text after the closing quote.
    Tangled,
}

impl Field {
    /// The value, which may need `scratch` to untangle it.
    pub(super) fn value<'a>(
        &self,
        record: &'a [u8],
        quote: u8,
        scratch: &'a mut Vec<u8>,
    ) -> &'a [u8] {
        let raw = &record[self.start..self.end];
        match self.shape {
            Shape::Plain => raw,
            Shape::Quoted => &raw[1..raw.len() - 1],
            Shape::Tangled => {
                scratch.clear();
                untangle(&raw[1..], quote, scratch);
                scratch
            }
        }
    }
}

/// What follows an opening quote, with doubled quotes halved and the closing quote left out.
fn untangle(mut rest: &[u8], quote: u8, value: &mut Vec<u8>) {
    while let Some(at) = rest.iter().position(|b| *b == quote) {
        value.extend_from_slice(&rest[..at]);
        if rest.get(at + 1) != Some(&quote) {
            rest = &rest[at + 1..];
            break;
        }
        value.push(quote);
        rest = &rest[at + 2..];
    }
    value.extend_from_slice(rest);
}

/// What a scan of the window found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// The window ends inside the record.
    More,
    /// A record of this many bytes, its line end included. `ended` is false where the input stops
    /// without a line end.
    Record { length: usize, ended: bool },
    /// The input ends inside quotes.
    QuoteOpen,
    /// A NUL byte: this is no text.
    Nul,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldStart,
    InField,
    InQuotes,
}

// What a byte means outside quotes.
const PLAIN: u8 = 0;
const DELIMITER: u8 = 1;
const LINE_END: u8 = 2;
const TAB: u8 = 3;
const CONTROL: u8 = 4;
const NUL: u8 = 5;
const QUOTE: u8 = 6;

/// The state of one record's scan; positions count from the record's first byte.
#[derive(Debug)]
pub(super) struct Scanner {
    classes: [u8; 256],
    quote: Option<u8>,
    state: State,
    position: usize,
    field_start: usize,
    shape: Shape,
    pub(super) fields: Vec<Field>,
    /// Field index of the first control character that is no tab or line end.
    pub(super) control_in: Option<usize>,
    /// Field whose closing quote stands some lines below its opening one and has text behind it, and
    /// the line of the opening one: quotes of two mistakes, with whole rows between them.
    pub(super) stray_quote: Option<(usize, u64)>,
    /// The record holds a tab or line end inside a value, or another control character.
    pub(super) has_controls: bool,
    /// Line ends inside quotes are not counted.
    pub(super) lines_are_records: bool,
    /// Physical line of the next byte, 1-based.
    pub(super) line: u64,
    /// Line of the quote that was opened last.
    pub(super) quote_line: u64,
}

impl Scanner {
    pub(super) fn new(delimiter: u8, quote: Option<u8>, line: u64) -> Scanner {
        let mut classes = [PLAIN; 256];
        classes[..0x20].fill(CONTROL);
        classes[0x7F] = CONTROL;
        classes[0] = NUL;
        classes[usize::from(b'\t')] = TAB;
        classes[usize::from(b'\r')] = LINE_END;
        classes[usize::from(b'\n')] = LINE_END;
        if let Some(quote) = quote {
            classes[usize::from(quote)] = QUOTE;
        }
        classes[usize::from(delimiter)] = DELIMITER;
        Scanner {
            classes,
            quote,
            state: State::FieldStart,
            position: 0,
            field_start: 0,
            shape: Shape::Plain,
            fields: Vec::new(),
            control_in: None,
            stray_quote: None,
            has_controls: false,
            lines_are_records: false,
            line,
            quote_line: line,
        }
    }

    /// Forgets the record that was found; the next window begins with the next one.
    pub(super) fn start_record(&mut self) {
        self.state = State::FieldStart;
        self.position = 0;
        self.field_start = 0;
        self.shape = Shape::Plain;
        self.fields.clear();
        self.control_in = None;
        self.stray_quote = None;
        self.has_controls = false;
    }

    /// Forgets what was scanned but not where in the record it is, and says how many bytes the caller
    /// may drop: for records too long to be kept.
    pub(super) fn drop_scanned(&mut self) -> usize {
        self.fields.clear();
        self.field_start = 0;
        std::mem::take(&mut self.position)
    }

    pub(super) fn in_quotes(&self) -> bool {
        self.state == State::InQuotes
    }

    /// Bytes of the record looked at so far.
    pub(super) fn scanned(&self) -> usize {
        self.position
    }

    /// Goes on where the last scan of this record stopped. The window begins with the record; `last`
    /// says that nothing follows it.
    pub(super) fn scan(&mut self, window: &[u8], last: bool) -> Scan {
        loop {
            let found = match self.state {
                State::FieldStart => self.start_field(window, last),
                State::InField => self.in_field(window, last),
                State::InQuotes => self.quoted(window, last),
            };
            if let Some(scan) = found {
                return scan;
            }
        }
    }

    fn start_field(&mut self, window: &[u8], last: bool) -> Option<Scan> {
        self.field_start = self.position;
        self.shape = Shape::Plain;
        match window.get(self.position) {
            None if !last => return Some(Scan::More),
            Some(byte) if self.classes[usize::from(*byte)] == QUOTE => {
                self.state = State::InQuotes;
                self.shape = Shape::Quoted;
                self.quote_line = self.line;
                self.position += 1;
            }
            _ => self.state = State::InField,
        }
        None
    }

    fn in_field(&mut self, window: &[u8], last: bool) -> Option<Scan> {
        loop {
            let rest = &window[self.position..];
            let Some(run) = rest.iter().position(|b| self.classes[usize::from(*b)] != PLAIN) else {
                self.position = window.len();
                if !last {
                    return Some(Scan::More);
                }
                self.end_field();
                return Some(Scan::Record { length: self.position, ended: false });
            };
            self.position += run;
            match self.classes[usize::from(window[self.position])] {
                DELIMITER => {
                    self.end_field();
                    self.position += 1;
                    self.state = State::FieldStart;
                    return None;
                }
                LINE_END => {
                    let Some(length) = self.line_end(window, last) else {
                        return Some(Scan::More);
                    };
                    self.end_field();
                    return Some(Scan::Record { length: self.position + length, ended: true });
                }
                NUL => return Some(Scan::Nul),
                class => self.pass(class),
            }
        }
    }

    fn quoted(&mut self, window: &[u8], last: bool) -> Option<Scan> {
        loop {
            let rest = &window[self.position..];
            let stops = |b: &u8| self.classes[usize::from(*b)] > DELIMITER;
            let Some(run) = rest.iter().position(stops) else {
                self.position = window.len();
                return Some(if last { Scan::QuoteOpen } else { Scan::More });
            };
            self.position += run;
            match self.classes[usize::from(window[self.position])] {
                QUOTE => match window.get(self.position + 1) {
                    None if !last => return Some(Scan::More),
                    next if next.copied() == self.quote => {
                        self.shape = Shape::Tangled;
                        self.position += 2;
                    }
                    next => {
                        let ends = next.is_none_or(|b| {
                            matches!(self.classes[usize::from(*b)], DELIMITER | LINE_END)
                        });
                        if !ends {
                            self.shape = Shape::Tangled;
                            self.note_stray_quote(next.copied());
                        }
                        self.position += 1;
                        self.state = State::InField;
                        return None;
                    }
                },
                LINE_END => {
                    let Some(length) = self.line_end(window, last) else {
                        return Some(Scan::More);
                    };
                    self.has_controls = true;
                    self.position += length;
                }
                NUL => return Some(Scan::Nul),
                class => self.pass(class),
            }
        }
    }

    /// Length of the line end at the position; `None` while a CR may still get its LF.
    fn line_end(&mut self, window: &[u8], last: bool) -> Option<usize> {
        let length = match (window[self.position], window.get(self.position + 1)) {
            (b'\r', Some(b'\n')) => 2,
            (b'\r', None) if !last => return None,
            _ => 1,
        };
        let inside = self.state == State::InQuotes;
        self.line += u64::from(!(inside && self.lines_are_records));
        Some(length)
    }

    fn note_stray_quote(&mut self, next: Option<u8>) {
        if self.line > self.quote_line && next != Some(b' ') {
            self.stray_quote.get_or_insert((self.fields.len(), self.quote_line));
        }
    }

    fn end_field(&mut self) {
        self.fields.push(Field { start: self.field_start, end: self.position, shape: self.shape });
    }

    /// Passes a byte that is part of a value and worth noting.
    fn pass(&mut self, class: u8) {
        if class == CONTROL {
            self.control_in.get_or_insert(self.fields.len());
        }
        self.has_controls |= class == CONTROL || class == TAB;
        self.position += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scans `input` with windows that grow by `step` bytes; values, lengths and lines of all records.
    fn records(input: &[u8], step: usize) -> Vec<(Vec<String>, u64)> {
        let mut found = Vec::new();
        let mut scanner = Scanner::new(b',', Some(b'"'), 1);
        let (mut start, mut end) = (0, 0);
        let mut line = 1;
        while start < input.len() {
            match scanner.scan(&input[start..end], end == input.len()) {
                Scan::More => end = (end + step).min(input.len()),
                Scan::Record { length, .. } => {
                    let record = &input[start..start + length];
                    let mut scratch = Vec::new();
                    let text = |f: &Field| {
                        String::from_utf8(f.value(record, b'"', &mut scratch).to_vec()).unwrap()
                    };
                    let values: Vec<String> = scanner.fields.iter().map(text).collect();
                    found.push((values, line));
                    start += length;
                    scanner.start_record();
                    line = scanner.line;
                }
                other => {
                    found.push((vec![format!("{other:?}")], scanner.quote_line));
                    break;
                }
            }
        }
        found
    }

    #[test]
    fn records_are_the_same_however_the_bytes_come() {
        for (input, expected) in [
            ("a,b\nc,d", vec![(vec!["a", "b"], 1), (vec!["c", "d"], 2)]),
            ("a,\r\n,d\r\n", vec![(vec!["a", ""], 1), (vec!["", "d"], 2)]),
            ("a\rb\r\rc", vec![(vec!["a"], 1), (vec!["b"], 2), (vec![""], 3), (vec!["c"], 4)]),
            ("\"a,\"\"1\"\"\nx\",b\nc", vec![(vec!["a,\"1\"\nx", "b"], 1), (vec!["c"], 3)]),
            ("\"a\"b\"c,5\" pipe\n", vec![(vec!["ab\"c", "5\" pipe"], 1)]),
            ("\"\",\"\"\n", vec![(vec!["", ""], 1)]),
            ("x\na,\"b\nc", vec![(vec!["x"], 1), (vec!["QuoteOpen"], 2)]),
            ("a\0", vec![(vec!["Nul"], 1)]),
        ] {
            for step in [1, 2, 3, 100] {
                let found = records(input.as_bytes(), step);
                let found: Vec<(Vec<&str>, u64)> = found
                    .iter()
                    .map(|(v, l)| (v.iter().map(String::as_str).collect(), *l))
                    .collect();
                assert_eq!(found, expected, "{input:?} by {step}");
            }
        }
    }
}

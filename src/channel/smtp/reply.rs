//! What a server answers: `550-5.1.1 no such user`, over one line or several.

/// An answer: `550` and `5.1.1 <ann@example.com>: no such user`, its lines parted by line feeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    pub(super) code: u16,
    pub(super) text: &'a str,
}

/// One line of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    pub(super) code: u16,
    pub(super) is_last: bool,
    pub(super) text: &'a [u8],
}

impl<'a> Line<'a> {
    /// Reads a line without its line feed; `None` for what is no SMTP.
    pub(super) fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_at_checked(3)?;
        if !(digits.iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&digits[0])) {
            return None;
        }
        let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
        match rest.split_first() {
            None => Some(Line { code, is_last: true, text: rest }),
            Some((b' ', text)) => Some(Line { code, is_last: true, text }),
            Some((b'-', text)) => Some(Line { code, is_last: false, text }),
            Some(_) => None,
        }
    }

    /// What is beyond ASCII is in a character set that nobody named, and controls have no place in a text
    /// that is shown: either becomes a question mark.
    pub(super) fn append_to(&self, text: &mut String) {
        if !text.is_empty() {
            text.push('\n');
        }
        let harmless = |b: &u8| if matches!(b, b' '..=b'~') { char::from(*b) } else { '?' };
        text.extend(self.text.iter().map(harmless));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_servers_write_them() {
        let last = |code, text| Some(Line { code, is_last: true, text });
        let more = |code, text| Some(Line { code, is_last: false, text });
        for (line, want) in [
            (&b"250 ok\r"[..], last(250, &b"ok"[..])),
            (b"250", last(250, b"")),
            (b"250 ", last(250, b"")),
            (b"250-SIZE 1", more(250, b"SIZE 1")),
            (b"250-\r", more(250, b"")),
            (b"550 \xfc", last(550, b"\xfc")),
            (b"", None),
            (b"25", None),
            (b"2500 ok", None),
            (b"150 ok", None),
            (b"650 ok", None),
            (b"2x0 ok", None),
            (b"HTTP/1.1 400 Bad", None),
        ] {
            assert_eq!(Line::parse(line), want, "{line:?}");
        }
    }

    #[test]
    fn text_that_is_kept_is_harmless() {
        let mut text = String::new();
        for line in [&b"250-Gr\xfc\xdfe"[..], b"250 a\x1b[2Jb\tc"] {
            Line::parse(line).unwrap().append_to(&mut text);
        }
        assert_eq!(text, "Gr??e\na?[2Jb?c");
    }
}

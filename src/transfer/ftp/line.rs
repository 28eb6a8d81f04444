//! The bytes of a control connection, cut into lines. Memory is bounded whatever a client sends.

/// Longest line that is read, without its end; a path has at most 4096 bytes and the verb a few.
const LINE_MAX_BYTES: usize = 4096 + 64;
/// Bytes of an overlong line that are skipped before the client is given up.
const SKIP_MAX_BYTES: usize = 64 << 10;
/// Telnet's "interpret as command" (RFC 854): clients send it before ABOR.
const TELNET_COMMAND: u8 = 0xff;
/// From "end of subnegotiation" to "go ahead" without an operand; "interrupt process" is among them.
const TELNET_PLAIN: std::ops::RangeInclusive<u8> = 0xf0..=0xfa;
/// WILL, WONT, DO and DONT carry one more byte.
const TELNET_OPTION: std::ops::RangeInclusive<u8> = 0xfb..=0xfe;

/// What stands between two line ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end, which is CRLF or LF.
    Text(Vec<u8>),
    /// Too long to be a command; its bytes are gone.
    TooLong,
}

/// More bytes without a line end than anybody types.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flood;

/// Takes bytes as they come and gives lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    bytes: Vec<u8>,
    /// The bytes so far of a line that is too long.
    skipped: Option<usize>,
}

impl Lines {
    /// Where the next bytes go, with room for at least `bytes` of them.
    pub(super) fn room(&mut self, bytes: usize) -> &mut Vec<u8> {
        self.bytes.reserve(bytes);
        &mut self.bytes
    }

    /// The next line, once it is whole. To be asked until it gives `None` before more is added.
    pub(super) fn next(&mut self) -> Result<Option<Line>, Flood> {
        let Some(end) = self.bytes.iter().position(|byte| *byte == b'\n') else {
            return self.wait_for_end();
        };
        let rest = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, rest);
        if self.skipped.take().is_some() {
            return Ok(Some(Line::TooLong));
        }
        line.truncate(end);
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        let telnet = telnet_prefix(&line);
        line.drain(..telnet);
        if line.len() > LINE_MAX_BYTES {
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(Line::Text(line)))
    }

    /// Whether bytes are there that have not been asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.skipped.is_none()
    }

    fn wait_for_end(&mut self) -> Result<Option<Line>, Flood> {
        if self.skipped.is_some() || self.bytes.len() > LINE_MAX_BYTES {
            let skipped = self.skipped.unwrap_or(0) + self.bytes.len();
            // Gives the memory back as well: the client may idle for long.
            self.bytes = Vec::new();
            if skipped > SKIP_MAX_BYTES {
                return Err(Flood);
            }
            self.skipped = Some(skipped);
        }
        Ok(None)
    }
}

/// The telnet commands a line begins with. Elsewhere 0xFF is a letter of a name: clients send names
/// as they are, without telnet's doubling.
fn telnet_prefix(line: &[u8]) -> usize {
    let mut at = 0;
    while line.get(at) == Some(&TELNET_COMMAND) {
        match line.get(at + 1) {
            Some(code) if TELNET_PLAIN.contains(code) => at += 2,
            Some(code) if TELNET_OPTION.contains(code) && at + 3 <= line.len() => at += 3,
            _ => break,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pushes: &[&[u8]]) -> Vec<Result<Line, Flood>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for bytes in pushes {
            lines.room(0).extend_from_slice(bytes);
            loop {
                match lines.next() {
                    Ok(Some(line)) => found.push(Ok(line)),
                    Ok(None) => break,
                    Err(flood) => {
                        found.push(Err(flood));
                        return found;
                    }
                }
            }
        }
        found
    }

    fn text(line: &[u8]) -> Result<Line, Flood> {
        Ok(Line::Text(line.to_vec()))
    }

    #[test]
    fn lines_end_in_crlf_or_lf_wherever_the_pieces_end() {
        assert_eq!(lines(&[b"NOOP\r\nPWD\n"]), [text(b"NOOP"), text(b"PWD")]);
        assert_eq!(lines(&[b"NO", b"OP\r", b"\n", b"PW"]), [text(b"NOOP")]);
        assert_eq!(lines(&[b"\r\n\n"]), [text(b""), text(b"")]);
        assert_eq!(lines(&[b"A\rB\r\r\n"]), [text(b"A\rB\r")]);
    }

    #[test]
    fn telnet_commands_are_dropped_at_the_beginning_only() {
        let rows: &[(&[u8], &[u8])] = &[
            (b"\xff\xf4\xff\xf2ABOR\r\n", b"ABOR"),
            (b"\xff\xf4\xffABOR\r\n", b"\xffABOR"),
            (b"\xff\xfb\x01NOOP\r\n", b"NOOP"),
            (b"SIZE \xff\xf4\xff\xff\r\n", b"SIZE \xff\xf4\xff\xff"),
            (b"\xff\r\n", b"\xff"),
            (b"\xff\xfb\r\n", b"\xff\xfb"),
        ];
        for (sent, line) in rows {
            assert_eq!(lines(&[sent]), [text(line)], "{sent:?}");
        }
    }

    #[test]
    fn a_line_too_long_is_told_once_and_its_bytes_are_gone() {
        let long = vec![b'x'; LINE_MAX_BYTES + 2];
        assert_eq!(lines(&[&long, &long, b"tail\r\nNOOP\r\n"]), [Ok(Line::TooLong), text(b"NOOP")]);
        let mut ended = long.clone();
        ended.push(b'\n');
        assert_eq!(lines(&[&ended, b"NOOP\n"]), [Ok(Line::TooLong), text(b"NOOP")]);
        let mut reader = Lines::default();
        for _ in 0..SKIP_MAX_BYTES / long.len() {
            reader.room(0).extend_from_slice(&long);
            assert_eq!(reader.next(), Ok(None));
            assert_eq!(reader.bytes.capacity(), 0);
        }
        reader.room(0).extend_from_slice(&long);
        assert_eq!(reader.next(), Err(Flood));
    }
}

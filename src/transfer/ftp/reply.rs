//! Answers on the control connection.

use crate::files::HomeError;

/// One answer: a code, and one or more lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    code: u16,
    /// Nothing but the last line, in most answers.
    lines: Vec<Vec<u8>>,
}

impl Reply {
    pub(super) fn new(code: u16, text: impl Into<Vec<u8>>) -> Reply {
        Reply { code, lines: vec![text.into()] }
    }

    /// An answer of several lines; the first and the last carry the code.
    pub(super) fn long(code: u16, first: &str, inner: Vec<Vec<u8>>, last: &str) -> Reply {
        let mut lines = vec![first.as_bytes().to_vec()];
        lines.extend(inner);
        lines.push(last.as_bytes().to_vec());
        Reply { code, lines }
    }

    /// The first line, for logs.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.lines[0]).escape_debug().to_string()
    }

    /// The bytes on the wire (RFC 959, 4.2).
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let last = self.lines.len() - 1;
        for (number, line) in self.lines.iter().enumerate() {
            match number {
                _ if number == last => bytes.extend(format!("{} ", self.code).bytes()),
                0 => bytes.extend(format!("{}-", self.code).bytes()),
                // A line within that began with digits could be taken for the last one.
                _ => bytes.push(b' '),
            }
            // A name from the disk may hold what ends a line; it must not begin a new answer.
            bytes.extend(
                line.iter().map(|b| if matches!(b, b'\r' | b'\n' | 0) { b'?' } else { *b }),
            );
            bytes.extend(b"\r\n");
        }
        bytes
    }
}

/// Why a wish was not done, in FTP's codes.
impl From<&HomeError> for Reply {
    fn from(error: &HomeError) -> Reply {
        let code = match error {
            HomeError::NotFound
            | HomeError::AlreadyThere
            | HomeError::Refused(_)
            | HomeError::NotEmpty => 550,
            HomeError::NameRefused(_) => 553,
            HomeError::TooLarge { .. } | HomeError::OverQuota { .. } => 552,
            HomeError::DiskFull => 452,
            HomeError::Incomplete | HomeError::Journal(_) | HomeError::Disk(_) => 451,
        };
        Reply::new(code, sentence(&error.to_string()))
    }
}

/// A fragment as a sentence.
pub(super) fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    match letters.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), letters.as_str()),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_have_their_code_in_the_first_and_the_last_line() {
        assert_eq!(Reply::new(200, "Done.").to_bytes(), b"200 Done.\r\n");
        let long = Reply::long(211, "Features:", vec![b"SIZE".to_vec()], "End.");
        assert_eq!(long.to_bytes(), b"211-Features:\r\n SIZE\r\n211 End.\r\n");
        let forged = Reply::new(257, b"\"a\r\n226 Done\"".to_vec());
        assert_eq!(forged.to_bytes(), b"257 \"a??226 Done\"\r\n");
    }

    #[test]
    fn every_refusal_of_a_home_has_a_code_and_a_sentence() {
        let rows = [
            (HomeError::NotFound, "550 There is no such file or folder.\r\n"),
            (HomeError::NameRefused("a name may not"), "553 A name may not.\r\n"),
            (HomeError::NotEmpty, "550 The folder is not empty.\r\n"),
        ];
        for (error, reply) in rows {
            assert_eq!(Reply::from(&error).to_bytes(), reply.as_bytes());
        }
    }
}

//! Whether a file ends with a trailer, from its last bytes alone.

use super::preamble::trailer;

/// So many last bytes of a file show whether it ends with a trailer.
pub const TAIL_BYTES: u64 = 256;

/// Whether the last line that holds something is `#EOF` or `#EOF rows=<n>`. The NUL bytes of UTF-16 are
/// passed over: the characters of a trailer are ASCII in every encoding that is read.
pub fn ends_with_trailer(tail: &[u8]) -> bool {
    let bytes: Vec<u8> = tail.iter().copied().filter(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || c == '\u{1a}');
    text.rsplit(['\n', '\r']).next().is_some_and(|line| trailer(line).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trailer_is_the_last_line_whatever_the_encoding_and_the_line_ends() {
        let utf16: Vec<u8> =
            "a\r\n#EOF rows=1\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let whole: [&[u8]; 6] = [
            b"a\n#EOF",
            b"a\r#EOF rows=3;;\r",
            b"#EOF\r\n\r\n",
            b"a\n#EOF\n\x1a",
            b"a\n#EOF,,\n",
            &utf16,
        ];
        for tail in whole {
            assert!(ends_with_trailer(tail), "{:?}", tail.escape_ascii().to_string());
        }
        let cut: [&[u8]; 6] = [b"", b"a\n", b"#EOF\na", b"a#EOF\n", b"a\n#EO", b"a\n# EOF"];
        for tail in cut {
            assert!(!ends_with_trailer(tail), "{:?}", tail.escape_ascii().to_string());
        }
    }
}

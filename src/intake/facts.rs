//! What a batch's record keeps of what reading its file gave.

use super::reading::Reading;
use crate::store::Facts;

/// Texts that partners put into a record are cut to this many bytes as they are stored: a record that
/// is too large for the store could never be concluded.
const STORED_TEXT_MAX_BYTES: usize = 256;
const STORED_X_MAX_BYTES: usize = 1024;
/// Brackets, quotes and commas around one `x_*` directive.
const STORED_X_FRAME_BYTES: usize = 8;

/// Takes over what does not depend on the verdict.
pub(super) fn fill(facts: &mut Facts, reading: &Reading) {
    let read = &reading.facts;
    facts.bytes = read.bytes;
    facts.sha256 = hex::encode(read.sha256);
    facts.records_sha256 = hex::encode(read.records_sha256);
    facts.lead_sha256 = hex::encode(read.lead_sha256);
    facts.last_line_open = read.last_line_open;
    facts.encoding = read.encoding.to_owned();
    facts.delimiter = match read.delimiter {
        Some(b'\t') => "TAB".to_owned(),
        Some(byte) => char::from(byte).to_string(),
        None => String::new(),
    };
    let directive = |key: &str| cut(reading.directives.get(key).unwrap_or_default());
    if reading.directives.get("ref").is_some() {
        facts.file_ref = directive("ref");
    }
    facts.campaign = directive("campaign");
    facts.test = reading.is_test;
    let mut room = STORED_X_MAX_BYTES;
    for (key, value) in reading.directives.iter().filter(|(key, _)| key.starts_with("x_")) {
        let (key, value) = (cut(key), cut(value));
        let needed = stored_bytes(&key) + stored_bytes(&value) + STORED_X_FRAME_BYTES;
        if needed <= room {
            room -= needed;
            facts.x.push((key, value));
        }
    }
    facts.warnings = reading.writer.warnings();
}

pub(super) fn cut(text: &str) -> String {
    let mut bytes = 0;
    let fits = |c: &char| {
        bytes += stored_bytes_of(*c);
        bytes <= STORED_TEXT_MAX_BYTES
    };
    text.chars().take_while(fits).collect()
}

fn stored_bytes(text: &str) -> usize {
    text.chars().map(stored_bytes_of).sum()
}

/// Records are stored as JSON, which escapes.
fn stored_bytes_of(c: char) -> usize {
    match c {
        '"' | '\\' => 2,
        '\0'..='\x1f' => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_by_what_they_take_in_the_store() {
        assert_eq!(cut("plain"), "plain");
        assert_eq!(cut(&"\"".repeat(300)).len(), 128);
        assert_eq!(cut(&"\u{1}".repeat(300)).len(), 42);
        assert_eq!(cut(&"ü".repeat(300)).len(), 256);
        for text in ["\"\\/ü\u{7f}€", "a,b"] {
            assert_eq!(stored_bytes(text) + 2, serde_json::to_string(text).unwrap().len());
        }
    }
}

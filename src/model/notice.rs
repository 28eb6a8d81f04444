//! What a tenant is told that belongs to no answer.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use super::Realm;
use crate::codes::{ReasonCode, Severity};

/// Longest text of a cell, in bytes: a line must fit into a stored record.
const CELL_MAX_BYTES: usize = 512;

/// One line of the stream of notices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub at: Timestamp,
    /// Where the file was dropped: the notice stands in the outbox beside.
    pub realm: Realm,
    pub severity: Severity,
    /// Where one of the codes says it.
    pub code: Option<ReasonCode>,
    /// The name of the file it is about, or a pattern of names.
    pub file: String,
    /// What happened, as a sentence.
    pub message: String,
    /// What to do, as a sentence.
    pub hint: String,
}

impl Notice {
    /// A warning with a code and its own advice, about a file that is meant.
    pub fn warning(at: Timestamp, code: ReasonCode, file: &str, message: String) -> Notice {
        let hint = code.advice().to_owned();
        let severity = Severity::Warning;
        let (realm, code, file) = (Realm::Real, Some(code), file.to_owned());
        Notice { at, realm, severity, code, file, message, hint }
    }

    /// The same about a file of the inbox in which `path` lies.
    pub fn in_realm_of(self, path: &str) -> Notice {
        Notice { realm: Realm::of_path(path), ..self }
    }

    /// The cells behind `spec` and `seq`, in the order of the contract.
    pub fn cells(&self) -> Vec<String> {
        const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(0));
        let code = self.code.map_or("", ReasonCode::as_str);
        vec![
            PRINTER.timestamp_to_string(&self.at),
            self.severity.as_str().to_owned(),
            code.to_owned(),
            cut(&self.file),
            cut(&self.message),
            cut(&self.hint),
        ]
    }
}

/// Cut, and without control characters: names that came another road may hold some.
fn cut(text: &str) -> String {
    let shown = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
    let text: String = text.chars().map(shown).collect();
    text[..text.floor_char_boundary(CELL_MAX_BYTES)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_has_a_cell_for_each_column_and_none_is_too_long() {
        let at = "2026-11-23T09:00:00.7Z".parse().unwrap();
        let message = "ü".repeat(600);
        let notice = Notice::warning(at, ReasonCode::FileIncomplete, "a\n.csv", message);
        let cells = notice.cells();
        assert_eq!(
            cells[..4],
            ["2026-11-23T09:00:00Z", "warning", "file.incomplete", "a\u{fffd}.csv"]
        );
        assert_eq!(cells[4].len(), CELL_MAX_BYTES);
        assert!(cells[5].starts_with("upload the whole file again"));
    }
}

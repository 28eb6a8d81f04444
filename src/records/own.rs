//! Columns of the partner's own: template variables and `x_*`, by the cell and by the profile.

use super::record::Record;

/// A template variable or an `x_*` column, and where its value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) name: String,
    position: Option<usize>,
    pub(super) fixed: Option<String>,
    pub(super) default: String,
}

impl Own {
    pub(super) fn new(name: &str, position: Option<usize>) -> Own {
        Own { name: name.to_owned(), position, fixed: None, default: String::new() }
    }

    /// The cell as it came, where the profile says nothing else.
    pub(super) fn unchanged<'a>(&'a self, record: &'a Record) -> &'a str {
        if let Some(fixed) = &self.fixed {
            return fixed;
        }
        let cell = self.position.and_then(|position| record.get(position)).unwrap_or_default();
        if self.default.is_empty() || !cell.trim().is_empty() { cell } else { &self.default }
    }

    pub(super) fn value<'a>(&'a self, record: &'a Record) -> &'a str {
        if let Some(fixed) = &self.fixed {
            return fixed;
        }
        match self.position.and_then(|position| record.get(position)).map(unwrapped) {
            Some("\\N") => "",
            Some("") | None => &self.default,
            Some(value) => value,
        }
    }
}

/// The text inside `="…"`, which spreadsheets write to keep leading zeros: nothing is lost.
pub(super) fn unwrapped(cell: &str) -> &str {
    match cell.strip_prefix("=\"").and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) if !inner.contains('"') => inner,
        _ => cell,
    }
}

//! What an operation acts on, as control files name it.

use std::fmt;

use super::BatchId;

/// A batch, some batches or one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The newest file of this name, wherever it stood; `messages/a.csv` names the folder as well.
    File(String),
    Batch(BatchId),
    /// All batches of this campaign.
    Campaign(String),
    /// The row with this `row_id`.
    Row(String),
}

impl Target {
    /// Reads `file:<name>`, `batch:<id>`, `campaign:<id>`, `row:<row_id>`; the first word in any case.
    pub fn from_text(text: &str) -> Option<Target> {
        let (word, rest) = text.split_once(':')?;
        let rest = rest.trim();
        if rest.is_empty() {
            return None;
        }
        match word.trim().to_ascii_lowercase().as_str() {
            "file" => Some(Target::File(rest.to_owned())),
            "batch" => rest.parse().ok().map(Target::Batch),
            "campaign" => Some(Target::Campaign(rest.to_owned())),
            "row" => Some(Target::Row(rest.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::File(name) => write!(f, "file:{name}"),
            Target::Batch(id) => write!(f, "batch:{id}"),
            Target::Campaign(id) => write!(f, "campaign:{id}"),
            Target::Row(id) => write!(f, "row:{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_read_back_as_they_are_shown() {
        for text in ["file:a:b.csv", "batch:0000000000001", "campaign:may", "row:r-1"] {
            assert_eq!(Target::from_text(text).unwrap().to_string(), text);
        }
        assert_eq!(Target::from_text("File: a.csv"), Some(Target::File("a.csv".to_owned())));
        for text in ["a.csv", "file:", "batch:x", "tenant:acme", ""] {
            assert_eq!(Target::from_text(text), None, "{text}");
        }
    }
}

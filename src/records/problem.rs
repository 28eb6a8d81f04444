//! What can be wrong: with the whole file, with one row, and with reading itself.

use std::io;

use crate::codes::{ReasonCode, Severity};

/// Characters of a bad value that an error repeats.
const VALUE_MAX_CHARS: usize = 80;

/// Something about the whole file: it refuses the file, or, as a warning, is only said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    pub code: ReasonCode,
    /// Physical line, 1-based, where there is one.
    pub line: Option<u64>,
    /// 1-based column of the header, where there is one.
    pub column: Option<usize>,
    /// The column as the file names it; empty where there is none.
    pub column_name: String,
    /// What is wrong, as a sentence.
    pub message: String,
    /// The value at fault, cut to 80 characters.
    pub value: String,
    /// What to do, as a sentence.
    pub hint: String,
}

impl FileProblem {
    /// A problem of no particular place, with the code's own advice.
    pub fn new(code: ReasonCode, message: impl Into<String>) -> FileProblem {
        FileProblem {
            code,
            line: None,
            column: None,
            column_name: String::new(),
            message: message.into(),
            value: String::new(),
            hint: code.advice().to_owned(),
        }
    }

    pub(super) fn at_line(mut self, line: u64) -> FileProblem {
        self.line = Some(line);
        self
    }

    pub(super) fn at_column(mut self, index: usize, name: &str) -> FileProblem {
        self.column = Some(index + 1);
        self.column_name = cut_value(name);
        self
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> FileProblem {
        self.hint = hint.into();
        self
    }

    pub(super) fn value(mut self, value: &str) -> FileProblem {
        self.value = cut_value(value);
        self
    }

    pub fn severity(&self) -> Severity {
        self.code.severity()
    }
}

/// One problem of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    /// Physical line where the record starts, 1-based.
    pub line: u64,
    /// Data record, 1-based; the header is not counted.
    pub row: u64,
    /// The partner's key of the row, where it could be read.
    pub row_id: String,
    /// 1-based; `None` where the value came from no column of the file.
    pub column: Option<usize>,
    /// The column as the file names it.
    pub column_name: String,
    pub code: ReasonCode,
    /// Mostly the code's own; what does not keep a row from being sent is a warning.
    pub severity: Severity,
    /// What is wrong, as a sentence.
    pub message: String,
    /// The value at fault, cut to 80 characters.
    pub value: String,
    /// What to do, as a sentence.
    pub hint: String,
}

/// Why no more records come.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("read the file")]
    Io(#[from] io::Error),
    /// The file is refused; never empty, the first problem gives the ACK its code.
    #[error("the file is refused: {}", .0.first().map_or("", |p| p.code.as_str()))]
    Refused(Vec<FileProblem>),
}

impl From<FileProblem> for ReadError {
    fn from(problem: FileProblem) -> ReadError {
        ReadError::Refused(vec![problem])
    }
}

/// The value as an errors file repeats it.
pub(super) fn cut_value(value: &str) -> String {
    value.chars().take(VALUE_MAX_CHARS).collect()
}

/// A list as a sentence shows it: `a, b or c`.
pub(super) fn either<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

//! How a tenant wants its answers: which of them, under which names, in which dialect.

use std::collections::BTreeMap;
use std::io::Write;

use crate::report::{Answer, AnswerPattern, Dialect, Restyled};

/// The operator's wishes; by default the contract's own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerStyle {
    /// The answers that are written; the ACK always is.
    pub write: Vec<Answer>,
    /// Names that differ from the contract's.
    pub names: BTreeMap<Answer, AnswerPattern>,
    /// The columns that are written, of answers that are to have fewer than all.
    pub columns: BTreeMap<Answer, Vec<String>>,
    pub dialect: Dialect,
}

impl Default for AnswerStyle {
    fn default() -> AnswerStyle {
        AnswerStyle {
            write: Answer::ALL.to_vec(),
            names: BTreeMap::new(),
            columns: BTreeMap::new(),
            dialect: Dialect::default(),
        }
    }
}

impl AnswerStyle {
    pub fn writes(&self, answer: Answer) -> bool {
        self.write.contains(&answer)
    }

    pub fn pattern(&self, answer: Answer) -> AnswerPattern {
        self.names.get(&answer).cloned().unwrap_or_else(|| answer.pattern())
    }

    /// True where an answer of this kind says which batch it is about.
    pub(super) fn tells_batch(&self, answer: Answer) -> bool {
        self.columns.get(&answer).is_none_or(|columns| columns.iter().any(|c| c == "batch_id"))
    }

    /// True where the first row behind the header of `there` begins as that of `beginning` does; both
    /// are in this style.
    pub(super) fn same_row(&self, beginning: &[u8], there: &[u8]) -> bool {
        let decoded = |bytes| self.dialect.encoding.decode(bytes).0.into_owned();
        let (ours, there) = (decoded(beginning), decoded(there));
        let row = |text: &'_ str| text.split_once('\n').map(|(_, row)| row.to_owned());
        match (row(&ours), row(&there)) {
            (Some(ours), Some(there)) => there.starts_with(&ours),
            _ => false,
        }
    }

    /// Lets `fill` write an answer as the contract has it, and hands it on in this style. Rejected
    /// records keep the form in which they came.
    pub(super) fn write<E>(
        &self,
        answer: Answer,
        out: &mut dyn Write,
        fill: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        let columns = self.columns.get(&answer).map(Vec::as_slice);
        let is_plain = self.dialect == Dialect::default() && columns.is_none();
        if answer == Answer::Rejected || is_plain {
            return fill(out);
        }
        fill(&mut Restyled::new(out, self.dialect, columns))
    }
}

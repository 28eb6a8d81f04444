//! How a tenant wants its answers: which of them, under which names, in which dialect.

use std::collections::BTreeMap;
use std::io::Write;

use crate::report::{Answer, Dialect, NamePattern, Restyled};

/// The operator's wishes; by default the contract's own form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerStyle {
    /// The answers that are written; the ACK always is.
    pub write: Vec<Answer>,
    /// Names that differ from the contract's.
    pub names: BTreeMap<Answer, NamePattern>,
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

    pub fn pattern(&self, answer: Answer) -> NamePattern {
        self.names.get(&answer).cloned().unwrap_or_else(|| answer.pattern())
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

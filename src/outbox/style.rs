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

#[cfg(test)]
mod tests {
    use encoding_rs::{UTF_16LE, WINDOWS_1252};

    use super::*;
    use crate::model::BatchId;
    use crate::report::Ack;

    #[test]
    fn an_ack_is_known_again_in_any_style_whatever_its_own_columns_are() {
        let styles = [
            Dialect::default(),
            Dialect { delimiter: b';', newline: "\r\n", bom: true, ..Dialect::default() },
            Dialect { encoding: UTF_16LE, ..Dialect::default() },
            Dialect { encoding: WINDOWS_1252, spreadsheet_safe: true, ..Dialect::default() },
        ];
        let beginning = |batch| Ack::beginning("ä,1.csv", BatchId::from_u64(batch));
        for dialect in styles {
            let style = AnswerStyle { dialect, ..AnswerStyle::default() };
            let styled = |bytes: &[u8]| {
                let mut out = Vec::new();
                style.write(Answer::Ack, &mut out, |out| out.write_all(bytes)).unwrap();
                out
            };
            let mut ack = beginning(1);
            ack.extend_from_slice(b"messages,,\n");
            let text = String::from_utf8(ack).unwrap().replacen('\n', ",x_own\n", 1);
            let there = styled(text.as_bytes());
            assert!(style.same_row(&styled(&beginning(1)), &there), "{dialect:?}");
            assert!(!style.same_row(&styled(&beginning(2)), &there), "{dialect:?}");
        }
        let columns = BTreeMap::from([(Answer::Ack, vec!["state".to_owned()])]);
        assert!(!AnswerStyle { columns, ..AnswerStyle::default() }.tells_batch(Answer::Ack));
    }
}

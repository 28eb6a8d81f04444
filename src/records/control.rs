//! From a record to a checked operation: what makes a row of a `control` file good.

use crate::codes::ReasonCode;
use crate::model::{ControlOp, Target, normalise_name};

use super::layout::{Column, Layout};
use super::nearest::{did_you_mean, nearest};
use super::problem::{RowError, cut_value, either};
use super::record::Record;
use super::settings::ReadSettings;

/// Longest target and reason, in characters.
const TARGET_MAX_CHARS: usize = 256;
const REASON_MAX_CHARS: usize = 200;

/// One operation, as a row of the file asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRow {
    pub row: u64,
    pub line: u64,
    pub op: ControlOp,
    pub target: Target,
    /// Why, in the partner's words; empty where none are given.
    pub reason: String,
}

/// Checks the rows of one control file.
#[derive(Debug)]
pub struct ControlChecker {
    layout: Layout,
    values: Vec<(String, String)>,
    defaults: Vec<(String, String)>,
}

impl ControlChecker {
    pub fn new(layout: Layout, settings: &ReadSettings) -> ControlChecker {
        let (values, defaults) = (settings.values.clone(), settings.defaults.clone());
        ControlChecker { layout, values, defaults }
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The target as the row gives it, also of a row that is not good.
    pub fn target_given<'a>(&'a self, record: &'a Record) -> &'a str {
        self.value(Column::Target, record)
    }

    /// Checks one row. All its problems are added to `errors`; it is good where there are none.
    pub fn check(&self, record: &Record, errors: &mut Vec<RowError>) -> Option<ControlRow> {
        let op = self.op(record, errors);
        let target = self.target(record, errors);
        let reason = self.value(Column::Reason, record);
        if reason.chars().count() > REASON_MAX_CHARS {
            let message = format!("reason has more than {REASON_MAX_CHARS} characters");
            errors.push(self.fault(record, Column::Reason, ReasonCode::RowValueTooLong, message));
        }
        let (op, target) = (op?, target?);
        let of_one_row = matches!(op, ControlOp::Cancel | ControlOp::Resend);
        if matches!(target, Target::Row(_)) && !of_one_row {
            let code = ReasonCode::RowValueNotAllowed;
            let message = format!("{op} acts on files, not on single rows");
            let fault = self.fault(record, Column::Target, code, message);
            let hint = "name the file or the batch; a row can be cancelled or resent".to_owned();
            errors.push(RowError { hint, ..fault });
        }
        let reason = reason.chars().take(REASON_MAX_CHARS).collect();
        Some(ControlRow { row: record.row, line: record.line, op, target, reason })
    }

    fn op(&self, record: &Record, errors: &mut Vec<RowError>) -> Option<ControlOp> {
        let given = self.value(Column::Op, record);
        if given.is_empty() {
            let message = "the row does not say what to do".to_owned();
            errors.push(self.fault(record, Column::Op, ReasonCode::RowValueMissing, message));
            return None;
        }
        let op = ControlOp::from_text(&normalise_name(given));
        if op.is_none() {
            let message = format!("there is no operation {:?}", cut_value(given));
            let fault = self.fault(record, Column::Op, ReasonCode::RowValueNotAllowed, message);
            let words = || ControlOp::ALL.iter().map(|op| op.as_str());
            let hint = match nearest(given, words()) {
                Some(known) => did_you_mean(known),
                None => format!("use {}", either(words())),
            };
            errors.push(RowError { hint, ..fault });
        }
        op
    }

    fn target(&self, record: &Record, errors: &mut Vec<RowError>) -> Option<Target> {
        const HINT: &str = "write file:<name>, batch:<batch_id>, campaign:<id> or row:<row_id>";
        let given = self.value(Column::Target, record);
        let target = Target::from_text(given);
        let (code, message) = if given.is_empty() {
            (ReasonCode::RowValueMissing, "the row does not say what to act on")
        } else if given.chars().count() > TARGET_MAX_CHARS {
            (ReasonCode::RowValueTooLong, "the target has more than 256 characters")
        } else if target.is_none() {
            (ReasonCode::RowValueNotAllowed, "the target names no file, batch, campaign or row")
        } else {
            return target;
        };
        let fault = self.fault(record, Column::Target, code, message.to_owned());
        errors.push(RowError { hint: HINT.to_owned(), ..fault });
        None
    }

    /// The value of a column: fixed by the profile, else the cell, else the profile's default.
    fn value<'a>(&'a self, column: Column, record: &'a Record) -> &'a str {
        let given = |pairs: &'a [(String, String)]| {
            let mut named =
                pairs.iter().filter(|(name, _)| normalise_name(name) == column.as_str());
            named.next().map(|(_, value)| value.as_str())
        };
        let cell = self.layout.position(column).and_then(|at| record.get(at));
        given(&self.values)
            .or_else(|| cell.map(str::trim).filter(|cell| !cell.is_empty()))
            .or_else(|| given(&self.defaults))
            .unwrap_or_default()
    }

    /// A problem of a row's target that only its tenant's batches show.
    pub fn target_fault(
        &self,
        record: &Record,
        code: ReasonCode,
        message: String,
        hint: String,
    ) -> RowError {
        RowError { hint, ..self.fault(record, Column::Target, code, message) }
    }

    fn fault(
        &self,
        record: &Record,
        column: Column,
        code: ReasonCode,
        message: String,
    ) -> RowError {
        let at = self.layout.position(column);
        RowError {
            line: record.line,
            row: record.row,
            row_id: String::new(),
            column: at.map(|at| at + 1),
            column_name: cut_value(at.map_or(column.as_str(), |at| self.layout.name_at(at))),
            code,
            severity: code.severity(),
            message,
            value: cut_value(self.value(column, record)),
            hint: code.advice().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Kind;
    use crate::records::{ReadError, RecordReader};

    fn read(file: &str) -> Result<Vec<Result<ControlRow, Vec<&'static str>>>, ReadError> {
        let settings = ReadSettings { kind: Kind::Control, ..ReadSettings::default() };
        let mut reader = RecordReader::new(file.as_bytes(), settings.clone());
        let checker = ControlChecker::new(reader.open()?.layout, &settings);
        let (mut record, mut rows) = (Record::new(), Vec::new());
        while reader.next(&mut record)?.is_some() {
            let mut errors = Vec::new();
            let row = checker.check(&record, &mut errors);
            let codes = errors.iter().map(|error| error.code.as_str()).collect();
            rows.push(row.filter(|_| errors.is_empty()).ok_or(codes));
        }
        Ok(rows)
    }

    #[test]
    fn rows_say_what_to_do_and_on_what() {
        let file = "op;target;reason\ncancel;file:a.csv;wrong price\nResend-Report;row:1;\n;;\n\
                    stop;file:;\nPAUSE;campaign:may;\n";
        let rows = read(file).unwrap();
        let first = rows[0].clone().unwrap();
        assert_eq!((first.op, first.line, first.row), (ControlOp::Cancel, 2, 1));
        assert_eq!(first.target, Target::File("a.csv".to_owned()));
        assert_eq!(first.reason, "wrong price");
        assert_eq!(rows[1], Err(vec!["row.value_not_allowed"]));
        assert_eq!(rows[2], Err(vec!["row.value_missing", "row.value_missing"]));
        assert_eq!(rows[3], Err(vec!["row.value_not_allowed", "row.value_not_allowed"]));
        assert_eq!(rows[4].clone().unwrap().op, ControlOp::Pause);
    }

    #[test]
    fn a_control_header_needs_op_and_target() {
        for (header, expected) in [
            ("op,reason\n", "header.column_missing"),
            ("email,text\n", "header.column_missing"),
            ("cancel,file:a.csv\n", "header.column_missing"),
        ] {
            match read(header) {
                Err(ReadError::Refused(problems)) => {
                    assert_eq!(problems[0].code.as_str(), expected, "{header}");
                }
                other => panic!("{header}: {other:?}"),
            }
        }
    }
}

//! The errors file: stored problems and duplicates, merged in the order of rows.

use std::io::Write;

use super::OutboxError;
use super::earlier::EarlierRows;
use super::problems::{Problems, code_of, severity_of};
use super::publication::OpenBatch;
use super::rows::BatchRows;
use crate::codes::ReasonCode;
use crate::report::{ErrorLine, ErrorsFile};
use crate::spool::{DuplicateMark, StoredProblem, StoredRow};

impl OpenBatch {
    /// True where the batch has an errors file.
    pub(super) fn has_errors(&self) -> Result<bool, OutboxError> {
        if self.is_duplicate() {
            return Ok(false);
        }
        let first = Problems::open(&self.folder.problems())?.next_up_to(u64::MAX)?;
        Ok(first.is_some() || self.record.facts.rows_duplicate > 0)
    }

    pub(super) fn write_errors(&self, out: &mut dyn Write) -> Result<(), OutboxError> {
        let rows = BatchRows::open(&self.store, self.record.id, &self.folder)?;
        let mut problems = Problems::open(&self.folder.problems())?;
        let mut earlier = EarlierRows::new(&self.store, &self.spool);
        let mut file = ErrorsFile::start(out, self.record.name(), rows.x_columns())?;
        rows.each_record(|record| {
            if record.duplicates.is_none() {
                return Ok(());
            }
            let chunk = rows.read(record)?;
            let chunk_rows = chunk.rows()?;
            for mark in chunk.marks() {
                let row = &chunk_rows[mark.index as usize];
                while let Some(problem) = problems.next_up_to(row.row)? {
                    write_problem(&mut file, &problem)?;
                }
                let hint = if file.is_full() { String::new() } else { hint(mark, &mut earlier)? };
                write_duplicate(&mut file, row, mark.code, &hint)?;
            }
            Ok(())
        })?;
        while let Some(problem) = problems.next_up_to(u64::MAX)? {
            write_problem(&mut file, &problem)?;
        }
        Ok(file.finish(self.record.facts.problems)?)
    }
}

fn write_problem(file: &mut ErrorsFile<'_>, problem: &StoredProblem) -> Result<(), OutboxError> {
    let line = ErrorLine {
        line: problem.line,
        row: problem.row,
        row_id: &problem.row_id,
        column: problem.column,
        column_name: &problem.column_name,
        code: code_of(problem),
        severity: severity_of(problem),
        message: &problem.message,
        value: &problem.value,
        hint: &problem.hint,
    };
    Ok(file.write(&line, &problem.x)?)
}

fn write_duplicate(
    file: &mut ErrorsFile<'_>,
    row: &StoredRow<'_>,
    code: ReasonCode,
    hint: &str,
) -> Result<(), OutboxError> {
    let (column_name, value) = match code {
        ReasonCode::RowIdUsed => ("row_id", row.row_id),
        _ => ("", row.to),
    };
    let line = ErrorLine {
        line: row.line,
        row: row.row,
        row_id: row.row_id,
        column: 0,
        column_name,
        code,
        severity: code.severity(),
        message: "",
        value,
        hint,
    };
    Ok(file.write(&line, &row.x)?)
}

/// Where the first one is.
fn hint(mark: &DuplicateMark, earlier: &mut EarlierRows<'_>) -> Result<String, OutboxError> {
    match (mark.batch, mark.code) {
        (Some(batch), _) => earlier.describe(batch, mark.row),
        (None, ReasonCode::RowIdUsed) => {
            Ok(format!("same row_id as row {} of this file", mark.row))
        }
        (None, _) => Ok(format!("same message as row {} of this file", mark.row)),
    }
}

//! Writes a batch's rows and problems to the spool while the file is read.

use jiff::Timestamp;

use super::IntakeError;
use crate::records::{FileProblem, RowError};
use crate::spool::{
    BatchFolder, ChunkBuilder, DuplicateMark, LogWriter, RowHead, StoredProblem, StoredRow,
    StreamedLog,
};
use crate::store::ChunkRecord;

use super::same_again::Marks;

/// Rows go to chunks, problems to their own file; nothing counts before `finish`.
#[derive(Debug)]
pub(super) struct RowWriter {
    rows: StreamedLog,
    problems: LogWriter,
    builder: ChunkBuilder,
    chunks: Vec<ChunkRecord>,
    /// Of the chunk that is being filled.
    open: u32,
    deferred: u32,
    due: Option<Timestamp>,
    problem_lines: u64,
    warnings: u64,
}

impl RowWriter {
    /// Begins anew: what an unfinished try left in the folder is emptied.
    pub(super) fn create(folder: &BatchFolder) -> Result<RowWriter, IntakeError> {
        Ok(RowWriter {
            rows: StreamedLog::create(&folder.rows())?,
            problems: LogWriter::create(&folder.problems())?,
            builder: ChunkBuilder::default(),
            chunks: Vec::new(),
            open: 0,
            deferred: 0,
            due: None,
            problem_lines: 0,
            warnings: 0,
        })
    }

    pub(super) fn head(&mut self, head: &RowHead) -> Result<(), IntakeError> {
        self.rows.append(RowHead::KIND, &head.to_bytes())?;
        Ok(())
    }

    /// Adds the next row; `due` where it is accepted, with whether it has to wait until then.
    pub(super) fn push(
        &mut self,
        row: &StoredRow<'_>,
        due: Option<(Timestamp, bool)>,
    ) -> Result<(), IntakeError> {
        self.builder.push(row);
        if let Some((at, waits)) = due {
            self.open += 1;
            self.deferred += u32::from(waits);
            self.due = Some(self.due.map_or(at, |due| due.min(at)));
        }
        if self.builder.is_full() { self.end_chunk() } else { Ok(()) }
    }

    /// The chunks that have ended, as far as they are known before the marks.
    pub(super) fn chunks(&self) -> &[ChunkRecord] {
        &self.chunks
    }

    /// Ends the chunk that is being filled; its rows can be read from then on.
    pub(super) fn end_chunk(&mut self) -> Result<(), IntakeError> {
        let Some((body, first_row, rows)) = self.builder.take() else { return Ok(()) };
        let position = self.rows.append(ChunkBuilder::KIND, body)?;
        self.chunks.push(ChunkRecord {
            number: self.chunks.len() as u32,
            offset: position.offset,
            bytes: position.bytes,
            first_row,
            rows,
            duplicates: None,
            open: std::mem::take(&mut self.open),
            deferred: std::mem::take(&mut self.deferred),
            resendable: 0,
            due: self.due.take(),
        });
        Ok(())
    }

    pub(super) fn row_problem(
        &mut self,
        error: &RowError,
        x: Vec<String>,
    ) -> Result<(), IntakeError> {
        self.problem(&StoredProblem {
            line: error.line,
            row: error.row,
            row_id: error.row_id.clone(),
            column: error.column.unwrap_or(0) as u64,
            column_name: error.column_name.clone(),
            code: error.code.as_str().to_owned(),
            message: error.message.clone(),
            value: error.value.clone(),
            hint: error.hint.clone(),
            x,
        })?;
        self.warnings += u64::from(error.severity() == crate::codes::Severity::Warning);
        Ok(())
    }

    pub(super) fn file_problem(&mut self, problem: &FileProblem) -> Result<(), IntakeError> {
        self.problem(&StoredProblem {
            line: problem.line.unwrap_or(0),
            row: 0,
            row_id: String::new(),
            column: problem.column.unwrap_or(0) as u64,
            column_name: problem.column_name.clone(),
            code: problem.code.as_str().to_owned(),
            message: problem.message.clone(),
            value: problem.value.clone(),
            hint: problem.hint.clone(),
            x: Vec::new(),
        })?;
        self.warnings += u64::from(problem.severity() == crate::codes::Severity::Warning);
        Ok(())
    }

    fn problem(&mut self, problem: &StoredProblem) -> Result<(), IntakeError> {
        self.problems.append(StoredProblem::KIND, &problem.to_bytes())?;
        self.problem_lines += 1;
        Ok(())
    }

    pub(super) fn problem_lines(&self) -> u64 {
        self.problem_lines
    }

    pub(super) fn warnings(&self) -> u64 {
        self.warnings
    }

    /// Lays the marks over the chunks, syncs everything and gives the chunks.
    pub(super) fn finish(
        mut self,
        folder: &BatchFolder,
        marks: Option<Marks>,
    ) -> Result<Vec<ChunkRecord>, IntakeError> {
        self.end_chunk()?;
        if let Some(mut marks) = marks {
            let log = LogWriter::create(&folder.duplicates())?;
            for chunk in &mut self.chunks {
                let found = marks.of_chunk(chunk.first_row, chunk.rows)?;
                if found.is_empty() {
                    continue;
                }
                let at = log.append(DuplicateMark::KIND, &DuplicateMark::encode(&found))?;
                chunk.duplicates = Some((at.offset, at.bytes));
                chunk.open -= found.len() as u32;
                chunk.deferred = chunk.deferred.min(chunk.open);
                if chunk.open == 0 {
                    chunk.due = None;
                }
            }
            log.sync()?;
        }
        self.rows.finish()?;
        self.problems.sync()?;
        folder.sync()?;
        Ok(self.chunks)
    }
}

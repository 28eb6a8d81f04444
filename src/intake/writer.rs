//! Writes a batch's rows and problems to the spool while the file is read.

use jiff::Timestamp;

use super::IntakeError;
use super::same_again::Marks;
use crate::model::{Category, Urgency};
use crate::policy::Verdict;
use crate::records::{FileProblem, RowError};
use crate::spool::{
    BatchFolder, Chunk, ChunkBuilder, DuplicateMark, LogReader, LogWriter, Position, RowHead,
    RowState, StoredProblem, StoredRow, StreamedLog,
};
use crate::store::ChunkRecord;

/// What is foreseen of accepted rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Outlook {
    pub(super) accepted: u64,
    pub(super) suppressed: u64,
    pub(super) deferred: u64,
    /// Of the SMS among those that are to be sent.
    pub(super) parts: u64,
    /// Of rows that are to be sent.
    pub(super) first_send_at: Option<Timestamp>,
    /// When dispatch has to look at the first of them, whatever becomes of it.
    due: Option<Timestamp>,
    /// The most urgent of them.
    pub(super) urgency: Option<Urgency>,
}

impl Outlook {
    pub(super) fn add(&mut self, row: &StoredRow<'_>, verdict: Verdict, now: Timestamp) {
        let (due, is_sent) = match verdict {
            Verdict::Send => (now, true),
            Verdict::Wait { until, .. } => (until, true),
            Verdict::Suppress(_) | Verdict::Expire => (now, false),
        };
        let suppressed = matches!(verdict, Verdict::Suppress(_));
        let deferred = matches!(verdict, Verdict::Wait { .. });
        self.join(Outlook {
            accepted: 1,
            suppressed: suppressed.into(),
            deferred: deferred.into(),
            parts: if is_sent { row.parts.into() } else { 0 },
            first_send_at: is_sent.then_some(due),
            due: Some(due),
            urgency: Some(urgency(row)),
        });
    }

    fn join(&mut self, other: Outlook) {
        let first = |one: Option<Timestamp>, other| one.into_iter().chain(other).min();
        self.accepted += other.accepted;
        self.suppressed += other.suppressed;
        self.deferred += other.deferred;
        self.parts += other.parts;
        self.first_send_at = first(self.first_send_at, other.first_send_at);
        self.due = first(self.due, other.due);
        self.urgency = self.urgency.into_iter().chain(other.urgency).min();
    }
}

/// Rows go to chunks, problems to their own file; nothing counts before `finish`.
#[derive(Debug)]
pub(super) struct RowWriter {
    rows: StreamedLog,
    problems: LogWriter,
    builder: ChunkBuilder,
    chunks: Vec<ChunkRecord>,
    /// Of each chunk, and of the one that is being filled.
    outlooks: Vec<Outlook>,
    outlook: Outlook,
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
            outlooks: Vec::new(),
            outlook: Outlook::default(),
            problem_lines: 0,
            warnings: 0,
        })
    }

    pub(super) fn head(&mut self, head: &RowHead) -> Result<(), IntakeError> {
        self.rows.append(RowHead::KIND, &head.to_bytes())?;
        Ok(())
    }

    /// Adds the next row; where it is accepted, with what policy says of it now.
    pub(super) fn push(
        &mut self,
        row: &StoredRow<'_>,
        verdict: Option<(Verdict, Timestamp)>,
    ) -> Result<(), IntakeError> {
        self.builder.push(row);
        if let Some((verdict, now)) = verdict {
            self.outlook.add(row, verdict, now);
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
        let outlook = std::mem::take(&mut self.outlook);
        let chunk = ChunkRecord {
            number: self.chunks.len() as u32,
            offset: position.offset,
            bytes: position.bytes,
            first_row,
            rows,
            duplicates: None,
            open: 0,
            deferred: 0,
            resendable: Some(0),
            due: None,
            urgency: None,
            outcomes_bytes: 0,
        };
        self.chunks.push(foreseen(chunk, outlook));
        self.outlooks.push(outlook);
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
            is_warning: error.severity != error.code.severity(),
            x,
        })?;
        self.warnings += u64::from(error.severity == crate::codes::Severity::Warning);
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
            is_warning: false,
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

    /// What is foreseen of all accepted rows.
    pub(super) fn outlook(&self) -> Outlook {
        let mut all = self.outlook;
        self.outlooks.iter().for_each(|outlook| all.join(*outlook));
        all
    }

    /// How urgent the most and the least urgent of its chunks are.
    pub(super) fn urgencies(&self) -> Option<(u8, u8)> {
        let open = [self.outlook].into_iter().chain(self.outlooks.iter().copied());
        let urgencies: Vec<u8> =
            open.filter_map(|outlook| outlook.urgency.map(Urgency::as_u8)).collect();
        Some((*urgencies.iter().min()?, *urgencies.iter().max()?))
    }

    /// Lays the marks over the chunks: nothing more is foreseen of the rows that are duplicates after
    /// all. `decide` is policy's word on any other.
    pub(super) fn mark(
        &mut self,
        folder: &BatchFolder,
        mut marks: Marks,
        (decide, now): (&dyn Fn(&StoredRow<'_>) -> Verdict, Timestamp),
    ) -> Result<(), IntakeError> {
        self.end_chunk()?;
        let log = LogWriter::create(&folder.duplicates())?;
        let rows = LogReader::open(&folder.rows())?;
        for (record, outlook) in self.chunks.iter_mut().zip(&mut self.outlooks) {
            let found = marks.of_chunk(record.first_row, record.rows)?;
            if found.is_empty() {
                continue;
            }
            let at = log.append(DuplicateMark::KIND, &DuplicateMark::encode(&found))?;
            let nothing_is_left = found.len() as u64 == outlook.accepted;
            *outlook = Outlook::default();
            let position = Position { offset: record.offset, bytes: record.bytes };
            let left = match nothing_is_left {
                true => None,
                false => Some(Chunk::read(&rows, position, None)?),
            };
            let left = left.as_ref().map(Chunk::rows).transpose()?.unwrap_or_default();
            for (index, row) in left.iter().enumerate() {
                let is_marked =
                    found.binary_search_by_key(&index, |mark| mark.index as usize).is_ok();
                if row.state == RowState::Accepted && !is_marked {
                    outlook.add(row, decide(row), now);
                }
            }
            *record = foreseen(record.clone(), *outlook);
            record.duplicates = Some((at.offset, at.bytes));
        }
        Ok(log.sync()?)
    }

    /// Syncs everything and gives the chunks.
    pub(super) fn finish(mut self, folder: &BatchFolder) -> Result<Vec<ChunkRecord>, IntakeError> {
        self.end_chunk()?;
        self.rows.finish()?;
        self.problems.sync()?;
        folder.sync()?;
        Ok(self.chunks)
    }
}

fn foreseen(chunk: ChunkRecord, outlook: Outlook) -> ChunkRecord {
    let Outlook { accepted, deferred, due, urgency, .. } = outlook;
    let (open, deferred) = (accepted as u32, deferred as u32);
    ChunkRecord { open, deferred, due, urgency: urgency.map(Urgency::as_u8), ..chunk }
}

fn urgency(row: &StoredRow<'_>) -> Urgency {
    Urgency::new(row.category.unwrap_or(Category::Marketing), row.priority)
}

//! Files of kind `control`: every row checked and decided, all of them carried out in one commit.

use std::fs::File;
use std::io::Seek;
use std::path::Path;

use super::IntakeError;
use super::commanding::{Asking, Refusal};
use super::concluding::Desk;
use super::reading::{Pass, Reading};
use super::unpack::Original;
use super::vouchers::Vouchers;
use super::writer::RowWriter;
use crate::batch::{BatchEvent, Counts, judge};
use crate::codes::{ReasonCode, Severity};
use crate::model::{FileState, Kind, Realm};
use crate::records::{
    ControlChecker, ControlRow, Directives, FileProblem, ReadError, Record, RecordReader, RowError,
    Step,
};
use crate::spool::{IdSorter, RowHead, RowState, StoredRow};
use crate::store::{Acceptance, BatchRecord, Facts, StoreError};

/// Rows of a control file, and changes that it may order: all of it is one commit.
const ROWS_MAX: u64 = 300;
const CHANGES_MAX: usize = 900;

/// A control file that was read to its end, and what it asks for.
struct Asked<'a> {
    reading: Reading,
    asking: Asking<'a>,
    rows: Vec<(ControlRow, String)>,
}

impl Desk {
    /// Reads, judges and carries out one claimed control file.
    pub(super) fn conclude_control(
        &self,
        pass: Pass<'_>,
        record: BatchRecord,
        original: Option<Original>,
        vouchers: &Vouchers,
        is_unchanged: &dyn Fn() -> Result<bool, IntakeError>,
    ) -> Result<BatchRecord, IntakeError> {
        loop {
            let (record, original) = (record.clone(), original.clone());
            match self.try_control(pass, record, original, vouchers, is_unchanged) {
                // A batch changed meanwhile, and cannot go on doing so: all is decided anew.
                Err(IntakeError::Store(StoreError::Conflict)) => {}
                result => return result,
            }
        }
    }

    fn try_control(
        &self,
        pass: Pass<'_>,
        mut record: BatchRecord,
        original: Option<Original>,
        vouchers: &Vouchers,
        is_unchanged: &dyn Fn() -> Result<bool, IntakeError>,
    ) -> Result<BatchRecord, IntakeError> {
        let dropped = record.clone();
        let Asked { mut reading, asking, rows } =
            self.read_control(pass, &dropped, &pass.folder.text()?)?;
        if !is_unchanged()? {
            return Err(IntakeError::StillWritten);
        }
        self.note_reading(&mut record, &mut reading, original, vouchers)?;
        if !reading.refused.is_empty() {
            return self.refuse(record, &reading.refused, pass.folder, false);
        }
        let verdict = judge(reading.counts, pass.profile.thresholds);
        let problems = reading.writer.problem_lines();
        let chunks = reading.writer.finish(pass.folder)?;
        let code = verdict.code.or(reading.first_error);
        record.facts = Facts {
            state: Some(verdict.state),
            code,
            message: code.map_or("", ReasonCode::meaning).to_owned(),
            rows_total: reading.counts.total,
            rows_accepted: reading.counts.accepted,
            rows_rejected: reading.counts.rejected,
            problems,
            ..record.facts
        };
        record.chunks = chunks.len() as u32;
        self.name_closed(record.id, chunks)?;
        if verdict.state == FileState::Rejected {
            (record.facts.rows_rejected, record.facts.rows_accepted) = (reading.counts.total, 0);
            let nothing = Acceptance::default();
            return Ok(self.store.conclude(record, BatchEvent::FileRefused, &nothing)?);
        }
        asking.end_holds()?;
        record.closed_at = record.validated_at;
        let acceptance = Acceptance { commands: Some(asking.commands), ..Acceptance::default() };
        let record = self.store.conclude(record, BatchEvent::FileCarriedOut, &acceptance)?;
        for (row, what) in &rows {
            tracing::info!(tenant = %record.tenant, batch = %record.id,
                account = record.account, row = row.row, op = row.op.as_str(), target = what, reason = row.reason,
                "control row carried out");
        }
        Ok(record)
    }

    fn read_control<'a>(
        &'a self,
        pass: Pass<'a>,
        dropped: &'a BatchRecord,
        input: &Path,
    ) -> Result<Asked<'a>, IntakeError> {
        let unreadable = |source| IntakeError::Input { source };
        let mut settings = pass.profile.read.clone();
        settings.kind = Kind::Control;
        settings.strong_proof = pass.strong_proof;
        if let Some(manifest) = pass.manifest {
            manifest.announce(&mut settings);
        }
        settings.limits.rows_max = settings.limits.rows_max.min(ROWS_MAX);
        let mut file = File::open(input).map_err(unreadable)?;
        let settings = settings.for_form(pass.form, &file).map_err(unreadable)?;
        file.rewind().map_err(unreadable)?;
        let mut reader = RecordReader::new(file, settings.clone());
        let mut rows = Rows {
            asking: Asking::new(self, pass.tenant, dropped, pass.now),
            writer: RowWriter::create(pass.folder)?,
            counts: Counts::default(),
            first_error: None,
            done: Vec::new(),
        };
        let mut directives = Directives::default();
        let read = match reader.open() {
            Ok(opened) => {
                directives = opened.directives;
                if directives.is_test() {
                    rows.asking.realm = Realm::Test;
                }
                for warning in &opened.warnings {
                    rows.writer.file_problem(warning)?;
                }
                let checker = ControlChecker::new(opened.layout, &settings);
                rows.read(&mut reader, &checker)?
            }
            Err(error) => Err(error),
        };
        let refused = match read {
            Ok(()) => Vec::new(),
            Err(ReadError::Refused(problems)) => problems,
            Err(ReadError::Io(source)) => return Err(unreadable(source)),
        };
        let scratch = pass.folder.scratch();
        let reading = Reading {
            facts: reader.finish().map_err(unreadable)?,
            is_test: directives.is_test(),
            directives,
            redropped: false,
            refused,
            counts: rows.counts,
            first_error: rows.first_error,
            writer: rows.writer,
            row_ids: IdSorter::new(scratch.clone()),
            messages: IdSorter::new(scratch),
            dedupe: None,
        };
        Ok(Asked { reading, asking: rows.asking, rows: rows.done })
    }
}

/// The rows of one control file under way.
struct Rows<'a> {
    asking: Asking<'a>,
    writer: RowWriter,
    counts: Counts,
    first_error: Option<ReasonCode>,
    /// Good rows, each with what it acts on.
    done: Vec<(ControlRow, String)>,
}

impl Rows<'_> {
    fn read(
        &mut self,
        reader: &mut RecordReader<File>,
        checker: &ControlChecker,
    ) -> Result<Result<(), ReadError>, IntakeError> {
        let x_columns = checker.layout().x_columns().map(str::to_owned).collect();
        self.writer.head(&RowHead { x_columns, variables: Vec::new() })?;
        let (mut record, mut errors) = (Record::new(), Vec::new());
        loop {
            let step = match reader.next(&mut record) {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            };
            errors.clear();
            let row = match step {
                Step::Bad(error) => {
                    errors.push(error);
                    None
                }
                Step::Row => checker.check(&record, &mut errors).filter(|_| errors.is_empty()),
            };
            if let Some(row) = row {
                self.ask(row, checker, &record, &mut errors)?;
            }
            self.write(checker, &record, &errors)?;
            if self.asking.commands.len() > CHANGES_MAX {
                let message = "the file acts on too many batches and rows at once";
                let problem = FileProblem::new(ReasonCode::FileTooManyRows, message);
                return Ok(Err(problem.into()));
            }
        }
    }

    fn ask(
        &mut self,
        row: ControlRow,
        checker: &ControlChecker,
        record: &Record,
        errors: &mut Vec<RowError>,
    ) -> Result<(), IntakeError> {
        match self.asking.ask(row.op, &row.target, None)? {
            Ok(what) => self.done.push((row, what)),
            Err(Refusal { code, message, hint }) => {
                errors.push(checker.target_fault(record, code, message, hint));
            }
        }
        Ok(())
    }

    fn write(
        &mut self,
        checker: &ControlChecker,
        record: &Record,
        errors: &[RowError],
    ) -> Result<(), IntakeError> {
        self.counts.total += 1;
        let x: Vec<&str> = checker.layout().x_values(record).collect();
        for error in errors {
            self.writer.row_problem(error, x.iter().map(|x| (*x).to_owned()).collect())?;
        }
        let error = errors.iter().find(|error| error.severity == Severity::Error);
        let state = match error {
            Some(error) => RowState::Rejected(error.code),
            None => RowState::Accepted,
        };
        self.counts.rejected += u64::from(error.is_some());
        self.counts.accepted += u64::from(error.is_none());
        self.first_error = self.first_error.or(error.map(|error| error.code));
        let to_given = checker.target_given(record);
        let row = StoredRow {
            row: record.row(),
            line: record.line(),
            state,
            to_given,
            x,
            ..StoredRow::default()
        };
        self.writer.push(&row, None)
    }
}

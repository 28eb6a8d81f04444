//! The stored problems of a batch, one after the other.

use std::path::Path;

use crate::codes::{ReasonCode, Severity};
use crate::spool::{LogReader, SpoolError, StoredProblem};

use super::OutboxError;

/// Reads problems in ascending order of rows and can look one ahead.
pub(super) struct Problems {
    log: Option<LogReader>,
    body: Vec<u8>,
    ahead: Option<StoredProblem>,
}

impl Problems {
    pub(super) fn open(path: &Path) -> Result<Problems, OutboxError> {
        Ok(Problems { log: LogReader::open_if_there(path)?, body: Vec::new(), ahead: None })
    }

    /// The next problem of a row up to and including this one.
    pub(super) fn next_up_to(&mut self, row: u64) -> Result<Option<StoredProblem>, OutboxError> {
        if self.ahead.is_none() {
            self.ahead = self.read()?;
        }
        Ok(self.ahead.take_if(|problem| problem.row <= row))
    }

    fn read(&mut self) -> Result<Option<StoredProblem>, OutboxError> {
        let Some(log) = &mut self.log else { return Ok(None) };
        if log.next(&mut self.body)?.is_none() {
            return Ok(None);
        }
        Ok(Some(StoredProblem::from_bytes(&self.body).map_err(SpoolError::from)?))
    }
}

/// The problem's code. Codes are never removed, so that one we do not know cannot be ours.
pub(super) fn code_of(problem: &StoredProblem) -> ReasonCode {
    ReasonCode::from_text(&problem.code).unwrap_or(ReasonCode::FileInternal)
}

/// How much a problem matters.
pub(super) fn severity_of(problem: &StoredProblem) -> Severity {
    if problem.is_warning { Severity::Warning } else { code_of(problem).severity() }
}

//! The result, the final and the summary: what became of every row.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::ops::ControlFlow;

use super::OutboxError;
use super::publication::OpenBatch;
use super::rows::BatchRows;
use crate::batch::RowOutcome;
use crate::codes::ReasonCode;
use crate::model::{ChannelKind, Kind, Status, message_id_for};
use crate::report::{RenderedFile, ResultFile, ResultLine, Summary};
use crate::spool::{LogReader, OutcomeLog, RowState, StoredRow};
use crate::store::{BatchRecord, Tally};

impl OpenBatch {
    /// One line per data row, in the file's order.
    pub(super) fn write_result(&self, out: &mut dyn Write) -> Result<(), OutboxError> {
        let rows = BatchRows::open(&self.store, self.record.id, &self.folder)?;
        let (name, batch) = (self.record.name(), self.record.id);
        let mut file = ResultFile::start(out, name, batch, rows.x_columns())?;
        self.each_outcome(&rows, |row, outcome| {
            with_line(&self.record, row, outcome, |line| Ok(file.write(line)?))
        })
    }

    /// One line per message that would be sent.
    pub(super) fn write_rendered(&self, out: &mut dyn Write) -> Result<(), OutboxError> {
        let rows = BatchRows::open(&self.store, self.record.id, &self.folder)?;
        let (name, batch) = (self.record.name(), self.record.id);
        let mut file = RenderedFile::start(out, name, batch, rows.x_columns())?;
        let mut written = Ok(());
        (self.rehearse)(&self.record, &mut |row, message| {
            written = file.write(row.row_id, &message, &row.x);
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .map_err(OutboxError::Rehearsal)?;
        Ok(written?)
    }

    pub(super) fn write_summary(&self, out: &mut dyn Write) -> Result<(), OutboxError> {
        let rows = BatchRows::open(&self.store, self.record.id, &self.folder)?;
        let (mut tally, mut parts) = (Tally::default(), 0);
        self.each_outcome(&rows, |row, outcome| {
            let status = status_of(&self.record, row, outcome).0;
            tally.add(status);
            parts += parts_of(row, status);
            Ok(())
        })?;
        let (file, batch) = (self.record.name(), self.record.id);
        let rows = &|status| tally.of(status);
        Ok(Summary { file, batch, rows, test: self.record.realm().is_test(), parts }.write(out)?)
    }

    fn each_outcome(
        &self,
        rows: &BatchRows<'_>,
        mut each: impl FnMut(&StoredRow<'_>, Option<&RowOutcome>) -> Result<(), OutboxError>,
    ) -> Result<(), OutboxError> {
        let path = self.folder.outcomes();
        let synced = self.store.outcomes_bytes(self.record.id)?;
        let log = OutcomeLog::scan(&path, &HashSet::new(), synced)?;
        let reader = LogReader::open_if_there(&path)?;
        rows.each_record(|record| {
            let latest = match &reader {
                Some(reader) => log.latest(reader, record.number)?,
                None => HashMap::new(),
            };
            let chunk = rows.read(record)?;
            for (index, row) in (0..).zip(chunk.rows()?) {
                let outcome = latest.get(&index);
                // What stands in the result is the step that settled the row.
                match outcome.map_or(0, |outcome| outcome.step) {
                    0 => each(&row, outcome)?,
                    step => each(&row.on_step(step), outcome)?,
                }
            }
            Ok(())
        })
    }
}

/// The row's word in the result, and why.
fn status_of(
    record: &BatchRecord,
    row: &StoredRow<'_>,
    outcome: Option<&RowOutcome>,
) -> (Status, Option<ReasonCode>) {
    match (row.state, outcome) {
        (RowState::Rejected(code), _) => (Status::Rejected, Some(code)),
        (RowState::Duplicate(code), _) => (Status::Duplicate, Some(code)),
        (RowState::Accepted, Some(outcome)) => (outcome.status, outcome.code),
        // What sends nothing has reached its end when it is carried out.
        (RowState::Accepted, None) if record.facts.kind == Some(Kind::Control) => {
            (Status::Delivered, None)
        }
        (RowState::Accepted, None) => (Status::Accepted, None),
    }
}

/// The row's line in the result.
pub(super) fn with_line(
    record: &BatchRecord,
    row: &StoredRow<'_>,
    outcome: Option<&RowOutcome>,
    then: impl FnOnce(&ResultLine<'_>) -> Result<(), OutboxError>,
) -> Result<(), OutboxError> {
    let (status, code) = status_of(record, row, outcome);
    let is_accepted = row.state == RowState::Accepted;
    let step = outcome.map_or(0, |outcome| outcome.step);
    let message_id = match row.channel {
        Some(channel) if is_accepted => {
            message_id_for((record.id, row.row, step), channel, row.sender)
        }
        _ => String::new(),
    };
    // A row that was not accepted has no outcome, whatever the log says.
    let outcome = outcome.filter(|_| is_accepted);
    then(&ResultLine {
        line: row.line,
        row: row.row,
        row_id: row.row_id,
        contact_id: row.contact_id,
        channel: row.channel,
        to: row.to,
        to_given: row.to_given,
        status,
        code,
        provider: outcome.map_or("", |o| &o.provider),
        provider_message_id: outcome.map_or("", |o| &o.provider_message_id),
        provider_code: outcome.map_or("", |o| &o.provider_code),
        message_id: &message_id,
        template: row.template,
        lang: row.lang,
        category: row.category,
        campaign: row.campaign,
        attempts: outcome.map_or(0, |o| o.attempts),
        channels_tried: outcome.map_or("", |o| &o.channels_tried),
        parts: parts_of(row, status),
        accepted_at: record.validated_at.filter(|_| is_accepted),
        deferred_until: outcome.and_then(|o| o.deferred_until),
        submitted_at: outcome.and_then(|o| o.submitted_at),
        sent_at: outcome.and_then(|o| o.sent_at),
        delivered_at: outcome.filter(|o| reached(o)).and_then(|o| o.ended_at),
        read_at: outcome.filter(|o| o.status == Status::Read).and_then(|o| o.ended_at),
        ended_at: outcome.and_then(|o| o.ended_at),
        x: &row.x,
    })
}

/// A receipt came with the provider's answer: the row ended with it.
fn reached(outcome: &RowOutcome) -> bool {
    matches!(outcome.status, Status::Delivered | Status::Read)
}

/// Parts that a provider took, and may charge for; 0 where it took none.
fn parts_of(row: &StoredRow<'_>, status: Status) -> u64 {
    match status {
        _ if row.channel != Some(ChannelKind::Sms) => 0,
        Status::Submitted | Status::Sent | Status::Delivered | Status::Read | Status::Bounced => {
            u64::from(row.parts)
        }
        _ => 0,
    }
}

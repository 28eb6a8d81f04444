//! Rows that ended unknown, for the operator who can ask the provider; and what is said of them then.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::OutboxError;
use super::result::with_line;
use super::rows::BatchRows;
use crate::batch::RowOutcome;
use crate::codes::ReasonCode;
use crate::model::{Status, message_id_for};
use crate::report::ResultFile;
use crate::spool::{LogReader, OutcomeLog, RowState, Spool, StoredRow};
use crate::store::{BatchRecord, SettledRow, Settlement, Store, StreamText};

/// Longest cell of a line that else would not fit into a stored record, in bytes.
const CELL_MAX_BYTES: usize = 64;
/// Largest line that is stored as it is, in bytes of its cells.
const LINE_MAX_BYTES: usize = 3000;

/// A row that ended unknown.
#[derive(Debug, Clone)]
pub struct UnknownRow {
    pub chunk: u32,
    pub row: u64,
    pub row_id: String,
    pub channel: &'static str,
    pub to: String,
    pub provider: String,
    pub message_id: String,
    pub attempts: u32,
    /// When it ended so.
    pub ended_at: Option<Timestamp>,
    /// What somebody said of it since.
    pub settlement: Option<Settlement>,
    /// As the result knows it.
    result: StreamText,
}

impl UnknownRow {
    /// The row as it is from now on, with the line that says so.
    pub fn settled(&self, settlement: Settlement) -> SettledRow {
        let mut receipt = self.result.clone();
        let at = jiff::fmt::temporal::DateTimePrinter::new().precision(Some(0));
        let at = at.timestamp_to_string(&settlement.at);
        let code = Some(ReasonCode::DeliveryRefused).filter(|_| settlement.is_resendable());
        let mut say = |column: &str, text: &str| {
            let at = ResultFile::COLUMNS.iter().position(|name| *name == column);
            // `changed_at` stands where the result has `spec`.
            text.clone_into(&mut receipt.cells[at.expect("it is a column of the result")]);
        };
        say("spec", &at);
        say("status", settlement.status.as_str());
        say("code", code.map_or("", ReasonCode::as_str));
        say("message", code.map_or("", ReasonCode::meaning));
        match settlement.status {
            Status::Delivered => say("delivered_at", &at),
            Status::Sent => say("sent_at", &at),
            _ => {}
        }
        say("ended_at", &at);
        SettledRow { row: self.row, settlement, receipt }
    }
}

/// Hands on every row of a batch that ended unknown, in its order, until `each` has enough.
pub fn each_unknown(
    (store, spool): (&Store, &Spool),
    record: &BatchRecord,
    each: &mut dyn FnMut(UnknownRow) -> bool,
) -> Result<(), OutboxError> {
    let folder = spool.batch(record.id);
    let rows = BatchRows::open(store, record.id, &folder)?;
    let path = folder.outcomes();
    let log = OutcomeLog::scan(&path, &Default::default(), store.outcomes_bytes(record.id)?)?;
    let Some(reader) = LogReader::open_if_there(&path)? else { return Ok(()) };
    let settled = store.settlements(record.id)?;
    let mut go_on = true;
    rows.each_record(|chunk| {
        if !go_on || chunk.resendable == Some(0) && settled.is_empty() {
            return Ok(());
        }
        let latest = log.latest(&reader, chunk.number)?;
        if !latest.values().any(|outcome| outcome.status == Status::Unknown) {
            return Ok(());
        }
        let stored = rows.read(chunk)?;
        for (index, row) in (0..).zip(stored.rows()?) {
            let is_unknown = |o: &&RowOutcome| o.status == Status::Unknown && o.is_settled();
            let outcome = latest.get(&index).filter(is_unknown);
            if let Some(outcome) = outcome.filter(|_| row.state == RowState::Accepted && go_on) {
                let row = row.on_step(outcome.step);
                let mut unknown = unknown(record, chunk.number, &row, outcome, &settled);
                unknown.result = result_text(record, &row, outcome, rows.x_columns())?;
                go_on = each(unknown);
            }
        }
        Ok(())
    })
}

fn unknown(
    record: &BatchRecord,
    chunk: u32,
    row: &StoredRow<'_>,
    outcome: &RowOutcome,
    settled: &BTreeMap<u64, Settlement>,
) -> UnknownRow {
    let message_id = row
        .channel
        .map(|channel| message_id_for((record.id, row.row, outcome.step), channel, row.sender));
    let of_this = |settlement: &&Settlement| settlement.ended_at == outcome.ended_at;
    UnknownRow {
        chunk,
        row: row.row,
        row_id: row.row_id.to_owned(),
        channel: row.channel.map_or("", |channel| channel.as_str()),
        to: row.to.to_owned(),
        provider: outcome.provider.clone(),
        message_id: message_id.unwrap_or_default(),
        attempts: outcome.attempts,
        ended_at: outcome.ended_at,
        settlement: settled.get(&row.row).filter(of_this).cloned(),
        result: StreamText::default(),
    }
}

/// The cells of a row's line in the result, and its `x_*` by name. What a stored record has no room for is
/// cut; `x_*` are left out first.
fn result_text(
    record: &BatchRecord,
    row: &StoredRow<'_>,
    outcome: &RowOutcome,
    x_columns: &[String],
) -> Result<StreamText, OutboxError> {
    let mut csv = Vec::new();
    let mut file = ResultFile::start(&mut csv, record.name(), record.id, x_columns)?;
    with_line(record, row, Some(outcome), |line| Ok(file.write(line)?))?;
    let mut reader = csv::Reader::from_reader(csv.as_slice());
    let line = reader.records().next().expect("one line was written");
    let line = line.map_err(std::io::Error::from)?;
    let mut cells: Vec<String> = line.iter().map(str::to_owned).collect();
    let x = cells.split_off(ResultFile::COLUMNS.len().min(cells.len()));
    let mut text = StreamText { cells, x: x_columns.iter().cloned().zip(x).collect() };
    if text.bytes() > LINE_MAX_BYTES {
        text.x.clear();
    }
    if text.bytes() > LINE_MAX_BYTES {
        for cell in &mut text.cells {
            cell.truncate(cell.floor_char_boundary(CELL_MAX_BYTES));
        }
    }
    Ok(text)
}

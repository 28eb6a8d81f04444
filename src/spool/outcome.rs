//! What happened to rows: start marks, and groups of outcomes, both about one chunk.

use super::bytes::{Bytes, Undecodable, put_text, put_time, put_u64};
use crate::batch::{RowOutcome, StepEnd};
use crate::codes::ReasonCode;
use crate::model::Status;

/// A record of the `outcomes` file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OutcomeRecord {
    /// An attempt is about to put its first byte on the wire. Not synced: it survives a crash of the
    /// process, not of the machine.
    Started { chunk: u32, window: u32, index: u32, provider: String },
    /// What became of some rows of a chunk; synced before the window is released. Rows that policy
    /// settled without an attempt belong to window 0.
    Settled { chunk: u32, window: u32, rows: Vec<RowOutcome> },
    /// Refusals that are certain, of rows whose next provider is about to be tried: they take the start
    /// mark back, and are not the window's last word on the row.
    Refused { chunk: u32, window: u32, rows: Vec<RowOutcome> },
    /// The latest word on every row of a chunk that has one: earlier groups of it need not be read.
    Whole { chunk: u32, rows: Vec<RowOutcome> },
}

/// Set beside a status: the row is on a chain of channels, and what belongs to that follows. Records of
/// the first version never have it.
const CHAINED: u8 = 0x80;
/// Set beside whether an earlier step follows: somebody wants the row sent though it may have gone out.
const RESENT: u8 = 0x02;

fn put_row(row: &RowOutcome, out: &mut Vec<u8>) {
    let is_chained = row.step > 0
        || row.attempts_before > 0
        || row.receipt_until.is_some()
        || row.resent
        || row.earlier.is_some();
    put_u64(out, u64::from(row.index));
    out.push(row.status.index() | if is_chained { CHAINED } else { 0 });
    put_code(out, row.code);
    put_u64(out, u64::from(row.attempts));
    for text in [&row.provider, &row.provider_message_id, &row.provider_code, &row.channels_tried] {
        put_text(out, text);
    }
    for time in [row.deferred_until, row.submitted_at, row.sent_at, row.ended_at] {
        put_time(out, time);
    }
    if is_chained {
        out.push(row.step);
        put_u64(out, u64::from(row.attempts_before));
        put_time(out, row.receipt_until);
        out.push(if row.resent { RESENT } else { 0 } | u8::from(row.earlier.is_some()));
        if let Some(end) = &row.earlier {
            put_end(end, out);
        }
    }
}

fn take_row(bytes: &mut Bytes<'_>) -> Result<RowOutcome, Undecodable> {
    let index = number(bytes)?;
    let status = bytes.u8()?;
    let mut row = RowOutcome {
        status: Status::from_index(status & !CHAINED).ok_or(Undecodable)?,
        code: take_code(bytes)?,
        attempts: number(bytes)?,
        provider: bytes.text()?.to_owned(),
        provider_message_id: bytes.text()?.to_owned(),
        provider_code: bytes.text()?.to_owned(),
        channels_tried: bytes.text()?.to_owned(),
        deferred_until: bytes.time()?,
        submitted_at: bytes.time()?,
        sent_at: bytes.time()?,
        ended_at: bytes.time()?,
        ..RowOutcome::untried(index)
    };
    if status & CHAINED != 0 {
        row.step = bytes.u8()?;
        row.attempts_before = number(bytes)?;
        row.receipt_until = bytes.time()?;
        let flags = bytes.u8()?;
        row.resent = flags & RESENT != 0;
        if flags & !RESENT != 0 {
            row.earlier = Some(Box::new(take_end(bytes)?));
        }
    }
    Ok(row)
}

fn put_end(end: &StepEnd, out: &mut Vec<u8>) {
    out.extend([end.step, end.status.index()]);
    put_code(out, end.code);
    for text in [&end.provider, &end.provider_message_id, &end.provider_code] {
        put_text(out, text);
    }
    put_time(out, end.submitted_at);
    put_time(out, end.sent_at);
}

fn take_end(bytes: &mut Bytes<'_>) -> Result<StepEnd, Undecodable> {
    Ok(StepEnd {
        step: bytes.u8()?,
        status: Status::from_index(bytes.u8()?).ok_or(Undecodable)?,
        code: take_code(bytes)?,
        provider: bytes.text()?.to_owned(),
        provider_message_id: bytes.text()?.to_owned(),
        provider_code: bytes.text()?.to_owned(),
        submitted_at: bytes.time()?,
        sent_at: bytes.time()?,
    })
}

fn put_code(out: &mut Vec<u8>, code: Option<ReasonCode>) {
    put_u64(out, code.map_or(0, |c| u64::from(c.index()) + 1));
}

fn take_code(bytes: &mut Bytes<'_>) -> Result<Option<ReasonCode>, Undecodable> {
    let Some(index) = bytes.u64()?.checked_sub(1) else { return Ok(None) };
    let index = u16::try_from(index).map_err(|_| Undecodable)?;
    Ok(Some(ReasonCode::from_index(index).ok_or(Undecodable)?))
}

fn number(bytes: &mut Bytes<'_>) -> Result<u32, Undecodable> {
    u32::try_from(bytes.u64()?).map_err(|_| Undecodable)
}

impl OutcomeRecord {
    /// The kind byte of a start mark.
    pub const STARTED: u8 = b'S';
    /// The kind byte of a group of outcomes.
    pub const SETTLED: u8 = b'O';
    /// The kind byte of a chunk's consolidated outcomes.
    pub const WHOLE: u8 = b'W';

    /// The kind byte of refusals.
    pub const REFUSED: u8 = b'R';

    /// The record's kind byte and body.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        match self {
            OutcomeRecord::Started { chunk, window, index, provider } => {
                (OutcomeRecord::STARTED, OutcomeRecord::mark(*chunk, *window, *index, provider))
            }
            OutcomeRecord::Settled { chunk, window, rows } => {
                (OutcomeRecord::SETTLED, OutcomeRecord::group(*chunk, *window, rows))
            }
            OutcomeRecord::Refused { chunk, window, rows } => {
                (OutcomeRecord::REFUSED, OutcomeRecord::group(*chunk, *window, rows))
            }
            OutcomeRecord::Whole { chunk, rows } => {
                (OutcomeRecord::WHOLE, OutcomeRecord::group(*chunk, 0, rows))
            }
        }
    }

    /// The body of a start mark.
    pub fn mark(chunk: u32, window: u32, index: u32, provider: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + provider.len());
        for value in [chunk, window, index] {
            put_u64(&mut out, u64::from(value));
        }
        put_text(&mut out, provider);
        out
    }

    /// The body of a record that holds rows.
    pub fn group(chunk: u32, window: u32, rows: &[RowOutcome]) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + rows.len() * ROW_BYTES);
        put_u64(&mut out, u64::from(chunk));
        put_u64(&mut out, u64::from(window));
        rows.iter().for_each(|row| put_row(row, &mut out));
        out
    }

    /// The chunk and the window that a record is about, without reading its rows.
    pub(super) fn about(body: &[u8]) -> Result<(u32, u32), Undecodable> {
        let mut bytes = Bytes(body);
        Ok((number(&mut bytes)?, number(&mut bytes)?))
    }

    pub fn decode(kind: u8, body: &[u8]) -> Result<OutcomeRecord, Undecodable> {
        let mut bytes = Bytes(body);
        let (chunk, window) = (number(&mut bytes)?, number(&mut bytes)?);
        match kind {
            OutcomeRecord::STARTED => Ok(OutcomeRecord::Started {
                chunk,
                window,
                index: number(&mut bytes)?,
                provider: bytes.text()?.to_owned(),
            }),
            OutcomeRecord::SETTLED | OutcomeRecord::REFUSED | OutcomeRecord::WHOLE => {
                let mut rows = Vec::with_capacity(bytes.0.len() / ROW_BYTES + 1);
                while !bytes.0.is_empty() {
                    rows.push(take_row(&mut bytes)?);
                }
                Ok(match kind {
                    OutcomeRecord::WHOLE => OutcomeRecord::Whole { chunk, rows },
                    OutcomeRecord::REFUSED => OutcomeRecord::Refused { chunk, window, rows },
                    _ => OutcomeRecord::Settled { chunk, window, rows },
                })
            }
            _ => Err(Undecodable),
        }
    }
}

/// What a row takes in a group, roughly.
const ROW_BYTES: usize = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_read_back_as_they_were_stored() {
        let row = RowOutcome {
            status: Status::Failed,
            code: Some(ReasonCode::FileEmpty),
            attempts: 3,
            provider: "mailhub".to_owned(),
            provider_code: "550 5.1.1".to_owned(),
            channels_tried: "email".to_owned(),
            ended_at: Some("2026-11-22T10:00:00Z".parse().unwrap()),
            ..RowOutcome::untried(1023)
        };
        let end = StepEnd {
            step: 1,
            status: Status::Unknown,
            code: Some(ReasonCode::DeliveryOutcomeUnknown),
            provider: "wa".to_owned(),
            provider_message_id: "w1".to_owned(),
            provider_code: String::new(),
            submitted_at: row.ended_at,
            sent_at: None,
        };
        let chained = RowOutcome {
            step: 2,
            resent: true,
            attempts_before: 2,
            receipt_until: row.ended_at,
            earlier: Some(Box::new(end)),
            ..row.clone()
        };
        let first = RowOutcome { receipt_until: row.ended_at, ..row.clone() };
        for record in [
            OutcomeRecord::Started {
                chunk: 70_000,
                window: u32::MAX,
                index: 3,
                provider: "mailhub".to_owned(),
            },
            OutcomeRecord::Settled {
                chunk: 0,
                window: 9,
                rows: vec![row.clone(), chained.clone()],
            },
            OutcomeRecord::Refused { chunk: 1, window: 9, rows: vec![chained, row.clone()] },
            OutcomeRecord::Whole { chunk: 3, rows: vec![first, row] },
        ] {
            let (kind, body) = record.encode();
            assert_eq!(OutcomeRecord::decode(kind, &body).unwrap(), record);
        }
    }
}

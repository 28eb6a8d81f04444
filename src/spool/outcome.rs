//! What happened to rows: start marks, and groups of outcomes, both about one chunk.

use super::bytes::{Bytes, Undecodable, put_text, put_time, put_u64};
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
    /// The latest word on every row of a chunk that has one: earlier groups of it need not be read.
    Whole { chunk: u32, rows: Vec<RowOutcome> },
}

/// The latest word on one row. A later record about the same row replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOutcome {
    /// Position in the chunk, 0-based.
    pub index: u32,
    pub status: Status,
    pub code: Option<ReasonCode>,
    /// Attempts made so far, over all providers; throttled ones do not count.
    pub attempts: u32,
    pub provider: String,
    pub provider_message_id: String,
    pub provider_code: String,
    /// Channels tried, in order, joined by `>`.
    pub channels_tried: String,
    /// When the row is due again; only while it is `deferred`.
    pub deferred_until: Option<jiff::Timestamp>,
    pub submitted_at: Option<jiff::Timestamp>,
    pub sent_at: Option<jiff::Timestamp>,
    pub ended_at: Option<jiff::Timestamp>,
}

impl RowOutcome {
    /// True where nothing is left to attempt.
    pub fn is_settled(&self) -> bool {
        !matches!(self.status, Status::Deferred | Status::Accepted)
    }

    /// True where the partner may ask for the row to be sent again.
    pub fn is_resendable(&self) -> bool {
        matches!(self.status, Status::Failed | Status::Expired | Status::Unknown)
    }

    /// True where the row may have gone out and nobody knows: it ended so, or waits to be sent again.
    pub fn is_in_doubt(&self) -> bool {
        self.attempts > 0 && self.code == Some(ReasonCode::DeliveryOutcomeUnknown)
    }

    fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, u64::from(self.index));
        out.push(self.status.index());
        put_u64(out, self.code.map_or(0, |c| u64::from(c.index()) + 1));
        put_u64(out, u64::from(self.attempts));
        for text in
            [&self.provider, &self.provider_message_id, &self.provider_code, &self.channels_tried]
        {
            put_text(out, text);
        }
        for time in [self.deferred_until, self.submitted_at, self.sent_at, self.ended_at] {
            put_time(out, time);
        }
    }

    fn take(bytes: &mut Bytes<'_>) -> Result<RowOutcome, Undecodable> {
        let index = number(bytes)?;
        let status = Status::from_index(bytes.u8()?).ok_or(Undecodable)?;
        let code = match bytes.u64()? {
            0 => None,
            n => {
                let index = u16::try_from(n - 1).map_err(|_| Undecodable)?;
                Some(ReasonCode::from_index(index).ok_or(Undecodable)?)
            }
        };
        Ok(RowOutcome {
            index,
            status,
            code,
            attempts: number(bytes)?,
            provider: bytes.text()?.to_owned(),
            provider_message_id: bytes.text()?.to_owned(),
            provider_code: bytes.text()?.to_owned(),
            channels_tried: bytes.text()?.to_owned(),
            deferred_until: bytes.time()?,
            submitted_at: bytes.time()?,
            sent_at: bytes.time()?,
            ended_at: bytes.time()?,
        })
    }
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

    /// The record's kind byte and body.
    pub fn encode(&self) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        match self {
            OutcomeRecord::Started { chunk, window, index, provider } => {
                for value in [chunk, window, index] {
                    put_u64(&mut out, u64::from(*value));
                }
                put_text(&mut out, provider);
                (OutcomeRecord::STARTED, out)
            }
            OutcomeRecord::Settled { chunk, window, rows } => {
                out.reserve(rows.len() * 96);
                put_u64(&mut out, u64::from(*chunk));
                put_u64(&mut out, u64::from(*window));
                for row in rows {
                    row.put(&mut out);
                }
                (OutcomeRecord::SETTLED, out)
            }
            OutcomeRecord::Whole { chunk, rows } => {
                put_u64(&mut out, u64::from(*chunk));
                put_u64(&mut out, 0);
                for row in rows {
                    row.put(&mut out);
                }
                (OutcomeRecord::WHOLE, out)
            }
        }
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
            OutcomeRecord::SETTLED | OutcomeRecord::WHOLE => {
                let mut rows = Vec::new();
                while !bytes.0.is_empty() {
                    rows.push(RowOutcome::take(&mut bytes)?);
                }
                Ok(match kind {
                    OutcomeRecord::WHOLE => OutcomeRecord::Whole { chunk, rows },
                    _ => OutcomeRecord::Settled { chunk, window, rows },
                })
            }
            _ => Err(Undecodable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_read_back_as_they_were_stored() {
        let row = RowOutcome {
            index: 1023,
            status: Status::Failed,
            code: Some(ReasonCode::FileEmpty),
            attempts: 3,
            provider: "mailhub".to_owned(),
            provider_message_id: String::new(),
            provider_code: "550 5.1.1".to_owned(),
            channels_tried: "email".to_owned(),
            deferred_until: None,
            submitted_at: None,
            sent_at: None,
            ended_at: Some("2026-11-22T10:00:00Z".parse().unwrap()),
        };
        for record in [
            OutcomeRecord::Started {
                chunk: 70_000,
                window: u32::MAX,
                index: 3,
                provider: "mailhub".to_owned(),
            },
            OutcomeRecord::Settled { chunk: 0, window: 9, rows: vec![row.clone(), row.clone()] },
            OutcomeRecord::Whole { chunk: 3, rows: vec![row] },
        ] {
            let (kind, body) = record.encode();
            assert_eq!(OutcomeRecord::decode(kind, &body).unwrap(), record);
        }
    }
}

//! The stored row: everything dispatch needs to send it and the result needs to print it.
//!
//! Every data row of an accepted file is stored, in the file's order, also the rejected and duplicate
//! ones, because each ends in exactly one result line.

use super::bytes::{Bytes, Undecodable, put_text, put_time, put_u64};
use crate::codes::ReasonCode;
use crate::model::{Category, ChannelKind};

/// Names that are the same for all rows of a batch; the first record of the `rows` file, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowHead {
    /// Names of the `x_*` columns, in the file's order.
    pub x_columns: Vec<String>,
    /// Normalised names of the template variables, in the order of `StoredRow::variables`.
    pub variables: Vec<String>,
}

impl RowHead {
    /// The kind byte of the head's record.
    pub const KIND: u8 = b'H';

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names serialise")
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<RowHead, Undecodable> {
        serde_json::from_slice(bytes).map_err(|_| Undecodable)
    }
}

/// What intake made of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowState {
    Accepted,
    Rejected(ReasonCode),
    Duplicate(ReasonCode),
}

/// One data row; texts are borrowed from the chunk's bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRow<'a> {
    /// Data record, 1-based.
    pub row: u64,
    /// Physical line where the record starts, 1-based.
    pub line: u64,
    pub state: RowState,
    pub channel: Option<ChannelKind>,
    pub category: Option<Category>,
    pub row_id: &'a str,
    pub contact_id: &'a str,
    pub to: &'a str,
    pub to_given: &'a str,
    pub sender: &'a str,
    pub reply_to: &'a str,
    pub template: &'a str,
    pub lang: &'a str,
    pub subject: &'a str,
    pub text: &'a str,
    pub html: &'a str,
    pub campaign: &'a str,
    /// IANA name of the row's own zone; empty where the tenant's holds.
    pub tz: &'a str,
    /// Minutes of the day between which sending is allowed.
    pub window: Option<(u16, u16)>,
    pub send_at: Option<jiff::Timestamp>,
    pub expires_at: Option<jiff::Timestamp>,
    /// The file said `expires_at`: it holds for a resend, too. False in rows of the first version.
    pub expiry_given: bool,
    /// Parts the provider will count; 0 where that means nothing.
    pub parts: u16,
    /// In the order of `RowHead::x_columns`; fewer where the row was too short to have them.
    pub x: Vec<&'a str>,
    /// In the order of `RowHead::variables`.
    pub variables: Vec<&'a str>,
}

impl Default for StoredRow<'_> {
    fn default() -> Self {
        StoredRow {
            row: 0,
            line: 0,
            state: RowState::Accepted,
            channel: None,
            category: None,
            row_id: "",
            contact_id: "",
            to: "",
            to_given: "",
            sender: "",
            reply_to: "",
            template: "",
            lang: "",
            subject: "",
            text: "",
            html: "",
            campaign: "",
            tz: "",
            window: None,
            send_at: None,
            expires_at: None,
            expiry_given: false,
            parts: 0,
            x: Vec::new(),
            variables: Vec::new(),
        }
    }
}

const NONE: u8 = 0xff;
/// Stands above the number of parts, where rows of the first version have nothing.
const EXPIRY_GIVEN: u64 = 1 << 16;

impl<'a> StoredRow<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        put_u64(out, self.line);
        let (state, code) = match self.state {
            RowState::Accepted => (0, 0),
            RowState::Rejected(code) => (1, code.index()),
            RowState::Duplicate(code) => (2, code.index()),
        };
        out.push(state);
        put_u64(out, u64::from(code));
        out.push(self.channel.map_or(NONE, ChannelKind::index));
        out.push(self.category.map_or(NONE, Category::index));
        for text in self.texts() {
            put_text(out, text);
        }
        let (from, to) = self.window.map_or((0, 0), |(from, to)| (from + 1, to + 1));
        put_u64(out, u64::from(from));
        put_u64(out, u64::from(to));
        put_time(out, self.send_at);
        put_time(out, self.expires_at);
        let given = if self.expiry_given { EXPIRY_GIVEN } else { 0 };
        put_u64(out, u64::from(self.parts) | given);
        for list in [&self.x, &self.variables] {
            put_u64(out, list.len() as u64);
            for text in list {
                put_text(out, text);
            }
        }
    }

    fn texts(&self) -> [&'a str; 13] {
        [
            self.row_id,
            self.contact_id,
            self.to,
            self.to_given,
            self.sender,
            self.reply_to,
            self.template,
            self.lang,
            self.subject,
            self.text,
            self.html,
            self.campaign,
            self.tz,
        ]
    }

    fn take(bytes: &mut Bytes<'a>, row: u64) -> Result<StoredRow<'a>, Undecodable> {
        let line = bytes.u64()?;
        let state = bytes.u8()?;
        let code = u16::try_from(bytes.u64()?).map_err(|_| Undecodable)?;
        let code = ReasonCode::from_index(code).ok_or(Undecodable)?;
        let state = match state {
            0 => RowState::Accepted,
            1 => RowState::Rejected(code),
            2 => RowState::Duplicate(code),
            _ => return Err(Undecodable),
        };
        let channel = ChannelKind::from_index(bytes.u8()?);
        let category = Category::from_index(bytes.u8()?);
        let mut texts = [""; 13];
        for text in &mut texts {
            *text = bytes.text()?;
        }
        let [
            row_id,
            contact_id,
            to,
            to_given,
            sender,
            reply_to,
            template,
            lang,
            subject,
            text,
            html,
            campaign,
            tz,
        ] = texts;
        let (from, until) = (bytes.u64()? as u16, bytes.u64()? as u16);
        let window = if from == 0 { None } else { Some((from - 1, until.saturating_sub(1))) };
        let (send_at, expires_at) = (bytes.time()?, bytes.time()?);
        let parts_and_flags = bytes.u64()?;
        Ok(StoredRow {
            row,
            line,
            state,
            channel,
            category,
            row_id,
            contact_id,
            to,
            to_given,
            sender,
            reply_to,
            template,
            lang,
            subject,
            text,
            html,
            campaign,
            tz,
            window,
            send_at,
            expires_at,
            expiry_given: parts_and_flags & EXPIRY_GIVEN != 0,
            parts: parts_and_flags as u16,
            x: texts_of(bytes)?,
            variables: texts_of(bytes)?,
        })
    }
}

fn texts_of<'a>(bytes: &mut Bytes<'a>) -> Result<Vec<&'a str>, Undecodable> {
    let count = bytes.u64()? as usize;
    if count > bytes.0.len() {
        return Err(Undecodable);
    }
    (0..count).map(|_| bytes.text()).collect()
}

/// Collects rows until they make a chunk, the unit of scheduling.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    bytes: Vec<u8>,
    first_row: u64,
    rows: u32,
}

impl ChunkBuilder {
    /// The kind byte of a chunk's record.
    pub const KIND: u8 = b'C';
    /// Rows in a chunk at most.
    pub const ROWS_MAX: u32 = 1024;
    const FULL_BYTES: usize = 256 * 1024;

    /// Adds the next row; rows come without gaps.
    pub fn push(&mut self, row: &StoredRow<'_>) {
        if self.rows == 0 {
            self.first_row = row.row;
            self.bytes.clear();
            put_u64(&mut self.bytes, row.row);
        }
        assert_eq!(row.row, self.first_row + u64::from(self.rows), "rows come without gaps");
        row.put(&mut self.bytes);
        self.rows += 1;
    }

    pub fn is_full(&self) -> bool {
        self.rows >= ChunkBuilder::ROWS_MAX || self.bytes.len() >= ChunkBuilder::FULL_BYTES
    }

    /// The chunk's body, its first row and its number of rows; the builder is empty afterwards.
    pub fn take(&mut self) -> Option<(&[u8], u64, u32)> {
        if self.rows == 0 {
            return None;
        }
        let rows = std::mem::take(&mut self.rows);
        Some((&self.bytes, self.first_row, rows))
    }
}

/// The rows of a chunk, in order.
pub(super) fn chunk_rows(body: &[u8]) -> Result<Vec<StoredRow<'_>>, Undecodable> {
    let mut bytes = Bytes(body);
    let mut row = bytes.u64()?;
    let mut rows = Vec::new();
    while !bytes.0.is_empty() {
        rows.push(StoredRow::take(&mut bytes, row)?);
        row += 1;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_as_they_were_stored() {
        let full = StoredRow {
            row: 7,
            line: 9,
            channel: Some(ChannelKind::Sms),
            category: Some(Category::Service),
            row_id: "r-1",
            to: "+4915112345678",
            text: "Grüße\n\"x\"",
            tz: "Europe/Berlin",
            window: Some((0, 1440)),
            send_at: Some("2026-11-22T10:00:00.5Z".parse().unwrap()),
            expires_at: Some("2026-11-22T12:00:00Z".parse().unwrap()),
            expiry_given: true,
            parts: 2,
            x: vec!["a", ""],
            variables: vec!["Jane"],
            ..StoredRow::default()
        };
        let rejected = StoredRow {
            row: 8,
            line: 12,
            state: RowState::Rejected(ReasonCode::RowPhoneInvalid),
            ..StoredRow::default()
        };
        let mut builder = ChunkBuilder::default();
        builder.push(&full);
        builder.push(&rejected);
        let (body, first, count) = builder.take().unwrap();
        assert_eq!((first, count), (7, 2));
        assert_eq!(chunk_rows(body).unwrap(), [full, rejected]);
        for cut in 1..body.len() {
            // A cut can only ever be an error or fewer rows, never a panic.
            assert!(chunk_rows(&body[..cut]).map_or(true, |rows| rows.len() < 2));
        }
        assert!(builder.take().is_none());
    }
}

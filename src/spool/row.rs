//! The stored row: everything dispatch needs to send it and the result needs to print it.
//!
//! Every data row of an accepted file is stored, in the file's order, also the rejected and duplicate
//! ones, because each ends in exactly one result line.

use std::ops::Range;

use super::bytes::{Bytes, Undecodable, put_time, put_u64};
use crate::batch::Chain;
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
    /// Where its recipient is: the IANA name of a zone, or a country's place; empty where the tenant is.
    pub tz: &'a str,
    /// Minutes of the day between which sending is allowed.
    pub window: Option<(u16, u16)>,
    pub send_at: Option<jiff::Timestamp>,
    pub expires_at: Option<jiff::Timestamp>,
    /// The file said `expires_at`: it holds for a resend, too. False in rows of the first version.
    pub expiry_given: bool,
    /// From 1, the first to go out, to 9. Rows of the first version have the usual one.
    pub priority: u8,
    /// Seconds within which a receipt must come, else the next step of `fallback` begins; 0 where the
    /// row is done with once a provider took it.
    pub receipt_within_s: u32,
    /// What is tried after the row's own channel, in this order.
    pub fallback: Vec<StoredStep<'a>>,
    /// The tenant could not use its sender when the file was taken, on one of its channels. False in rows of
    /// earlier versions.
    pub sender_refused: bool,
    /// Parts the provider will count; 0 where that means nothing.
    pub parts: u16,
    /// In the order of `RowHead::x_columns`; fewer where the row was too short to have them.
    pub x: Vec<&'a str>,
    /// In the order of `RowHead::variables`.
    pub variables: Vec<&'a str>,
}

/// Another channel that a row goes out on where those before it did not reach the recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredStep<'a> {
    pub channel: ChannelKind,
    pub category: Category,
    /// As in the row.
    pub receipt_within_s: u32,
    pub to: &'a str,
    pub to_given: &'a str,
    pub sender: &'a str,
    pub lang: &'a str,
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
            priority: PRIORITY_USUAL,
            receipt_within_s: 0,
            fallback: Vec::new(),
            sender_refused: false,
            parts: 0,
            x: Vec::new(),
            variables: Vec::new(),
        }
    }
}

const NONE: u8 = 0xff;
/// Stands above the number of parts, where rows of the first version have nothing.
const EXPIRY_GIVEN: u64 = 1 << 16;
/// Bits above, in which the priority stands; 0 is the usual one.
const PRIORITY_SHIFT: u32 = 17;
/// A fallback chain stands behind the variables.
const HAS_FALLBACK: u64 = 1 << 21;
/// Above that, too: its sender was refused.
const SENDER_REFUSED: u64 = 1 << 22;
/// The priority of a row that says none.
const PRIORITY_USUAL: u8 = 5;
/// No row takes less: its texts' marks and what stands around them.
const ROW_BYTES_MIN: usize = 25;
/// Texts that every row has.
const TEXTS: usize = 13;
/// Texts that every further step has.
const STEP_TEXTS: usize = 4;

/// Where the texts of a row stand in the bytes of its chunk, for the row behind it.
#[derive(Debug, Default)]
struct Places {
    texts: Vec<Range<usize>>,
    x: Vec<Range<usize>>,
    variables: Vec<Range<usize>>,
    steps: Vec<Range<usize>>,
}

impl Places {
    /// Writes texts; of those that the row before has too, in the same place, only a mark. Most rows
    /// of a file share sender, template and language, and what is sent to is what was given.
    fn put(places: &mut Vec<Range<usize>>, out: &mut Vec<u8>, texts: &[&str]) {
        places.resize(texts.len(), 0..0);
        let mut front = 0..0;
        for (place, text) in places.iter_mut().zip(texts) {
            if is_same(&out[place.clone()], text.as_bytes()) {
                put_u64(out, AS_BEFORE);
            } else if is_same(&out[front.clone()], text.as_bytes()) {
                put_u64(out, AS_IN_FRONT);
                *place = front;
            } else {
                put_u64(out, text.len() as u64 + OWN);
                *place = out.len()..out.len() + text.len();
                out.extend_from_slice(text.as_bytes());
            }
            front = place.clone();
        }
    }
}

/// Compares word by word. The usual comparison waits for bytes that were written a moment ago, on some
/// machines far longer than all else that is done with the row.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (mut one, mut other) = (one.chunks_exact(8), other.chunks_exact(8));
    one.by_ref().zip(other.by_ref()).all(|(one, other)| one == other)
        && one.remainder().iter().eq(other.remainder())
}

/// The text is that of the row before, in the same place; nothing in a chunk's first row.
const AS_BEFORE: u64 = 0;
/// The text is the one in front of it in its row.
const AS_IN_FRONT: u64 = 1;
/// Added to the length of a text that follows.
const OWN: u64 = 2;

/// Reads texts that `Places::put` wrote; `before` are those of the row before.
fn take_texts<'a>(
    bytes: &mut Bytes<'a>,
    before: &[&'a str],
    texts: &mut [&'a str],
) -> Result<(), Undecodable> {
    let mut front = "";
    for (at, text) in texts.iter_mut().enumerate() {
        *text = match bytes.u64()? {
            AS_BEFORE => before.get(at).copied().unwrap_or_default(),
            AS_IN_FRONT => front,
            length => bytes.text_of((length - OWN) as usize)?,
        };
        front = text;
    }
    Ok(())
}

impl<'a> StoredRow<'a> {
    fn put(&self, out: &mut Vec<u8>, before: &mut Places) {
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
        Places::put(&mut before.texts, out, &self.texts());
        let (from, to) = self.window.map_or((0, 0), |(from, to)| (from + 1, to + 1));
        put_u64(out, u64::from(from));
        put_u64(out, u64::from(to));
        put_time(out, self.send_at);
        put_time(out, self.expires_at);
        put_u64(out, u64::from(self.parts) | self.flags());
        for (list, before) in [(&self.x, &mut before.x), (&self.variables, &mut before.variables)] {
            put_u64(out, list.len() as u64);
            Places::put(before, out, list);
        }
        if !self.fallback.is_empty() {
            put_u64(out, u64::from(self.receipt_within_s));
            put_u64(out, self.fallback.len() as u64);
            for step in &self.fallback {
                out.extend([step.channel.index(), step.category.index()]);
                put_u64(out, u64::from(step.receipt_within_s));
            }
            Places::put(&mut before.steps, out, &self.step_texts());
        } else {
            before.steps.clear();
        }
    }

    fn flags(&self) -> u64 {
        let priority = if self.priority == PRIORITY_USUAL { 0 } else { u64::from(self.priority) };
        let given = if self.expiry_given { EXPIRY_GIVEN } else { 0 };
        let fallback = if self.fallback.is_empty() { 0 } else { HAS_FALLBACK };
        let refused = if self.sender_refused { SENDER_REFUSED } else { 0 };
        (priority << PRIORITY_SHIFT) | given | fallback | refused
    }

    /// The row as it goes out on a step of its chain; on the first one it is itself.
    pub fn on_step(&self, step: u8) -> StoredRow<'a> {
        let mut row = self.clone();
        let further = usize::from(step).checked_sub(1).and_then(|at| self.fallback.get(at));
        if let Some(step) = further {
            row.channel = Some(step.channel);
            row.category = Some(step.category);
            row.receipt_within_s = step.receipt_within_s;
            (row.to, row.to_given) = (step.to, step.to_given);
            (row.sender, row.lang) = (step.sender, step.lang);
        }
        row
    }

    /// The row's chain, as somebody sees it who stands on a step.
    pub fn chain(&self, step: u8) -> Chain {
        let further = usize::from(step).checked_sub(1).and_then(|at| self.fallback.get(at));
        Chain {
            steps: 1 + self.fallback.len() as u8,
            receipt_within_s: further.map_or(self.receipt_within_s, |step| step.receipt_within_s),
        }
    }

    fn step_texts(&self) -> Vec<&'a str> {
        let texts = |step: &StoredStep<'a>| [step.to, step.to_given, step.sender, step.lang];
        self.fallback.iter().flat_map(texts).collect()
    }

    fn texts(&self) -> [&'a str; TEXTS] {
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

    fn take(
        bytes: &mut Bytes<'a>,
        row: u64,
        before: Option<&StoredRow<'a>>,
        form: Form,
    ) -> Result<StoredRow<'a>, Undecodable> {
        let line = bytes.u64()?;
        let state = state_of(bytes)?;
        let channel = ChannelKind::from_index(bytes.u8()?);
        let category = Category::from_index(bytes.u8()?);
        let mut texts = [""; TEXTS];
        match form {
            Form::Marked => take_texts(bytes, &before.map_or(texts, StoredRow::texts), &mut texts)?,
            Form::Plain => {
                for text in &mut texts {
                    *text = bytes.text()?;
                }
            }
        }
        #[rustfmt::skip]
        let [
            row_id, contact_id, to, to_given, sender, reply_to, template, lang, subject, text, html,
            campaign, tz,
        ] = texts;
        let (from, until) = (bytes.u64()? as u16, bytes.u64()? as u16);
        let window = if from == 0 { None } else { Some((from - 1, until.saturating_sub(1))) };
        let (send_at, expires_at) = (bytes.time()?, bytes.time()?);
        let parts_and_flags = bytes.u64()?;
        let x = list_of(bytes, before.map(|row| &row.x), form)?;
        let variables = list_of(bytes, before.map(|row| &row.variables), form)?;
        let (receipt_within_s, fallback) = match parts_and_flags & HAS_FALLBACK {
            0 => (0, Vec::new()),
            _ => fallback_of(bytes, before)?,
        };
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
            priority: match (parts_and_flags >> PRIORITY_SHIFT) as u8 & 0xf {
                0 => PRIORITY_USUAL,
                priority => priority,
            },
            receipt_within_s,
            fallback,
            sender_refused: parts_and_flags & SENDER_REFUSED != 0,
            parts: parts_and_flags as u16,
            x,
            variables,
        })
    }
}

fn fallback_of<'a>(
    bytes: &mut Bytes<'a>,
    before: Option<&StoredRow<'a>>,
) -> Result<(u32, Vec<StoredStep<'a>>), Undecodable> {
    let seconds = |bytes: &mut Bytes<'a>| u32::try_from(bytes.u64()?).map_err(|_| Undecodable);
    let first = seconds(bytes)?;
    let count = usize::try_from(bytes.u64()?).map_err(|_| Undecodable)?;
    if count > bytes.0.len() {
        return Err(Undecodable);
    }
    let mut steps = Vec::with_capacity(count);
    for _ in 0..count {
        steps.push(StoredStep {
            channel: ChannelKind::from_index(bytes.u8()?).ok_or(Undecodable)?,
            category: Category::from_index(bytes.u8()?).ok_or(Undecodable)?,
            receipt_within_s: seconds(bytes)?,
            to: "",
            to_given: "",
            sender: "",
            lang: "",
        });
    }
    let mut texts = vec![""; count * STEP_TEXTS];
    take_texts(bytes, &before.map_or_else(Vec::new, StoredRow::step_texts), &mut texts)?;
    for (step, texts) in steps.iter_mut().zip(texts.chunks_exact(STEP_TEXTS)) {
        (step.to, step.to_given) = (texts[0], texts[1]);
        (step.sender, step.lang) = (texts[2], texts[3]);
    }
    Ok((first, steps))
}

fn state_of(bytes: &mut Bytes<'_>) -> Result<RowState, Undecodable> {
    let state = bytes.u8()?;
    let code = u16::try_from(bytes.u64()?).map_err(|_| Undecodable)?;
    let code = ReasonCode::from_index(code).ok_or(Undecodable)?;
    match state {
        0 => Ok(RowState::Accepted),
        1 => Ok(RowState::Rejected(code)),
        2 => Ok(RowState::Duplicate(code)),
        _ => Err(Undecodable),
    }
}

fn list_of<'a>(
    bytes: &mut Bytes<'a>,
    before: Option<&Vec<&'a str>>,
    form: Form,
) -> Result<Vec<&'a str>, Undecodable> {
    let count = bytes.u64()? as usize;
    if count > bytes.0.len() {
        return Err(Undecodable);
    }
    if form == Form::Plain {
        return (0..count).map(|_| bytes.text()).collect();
    }
    let mut texts = vec![""; count];
    take_texts(bytes, before.map_or(&[], Vec::as_slice), &mut texts)?;
    Ok(texts)
}

/// How the texts of a chunk's rows stand in its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Each with its length in front: chunks of the first version. They begin with their first row.
    Plain,
    /// With marks for what stands there already. These begin with a zero, then their first row.
    Marked,
}

/// Collects rows until they make a chunk, the unit of scheduling.
#[derive(Debug, Default)]
pub struct ChunkBuilder {
    bytes: Vec<u8>,
    /// Of the last row.
    places: Places,
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
            self.places = Places::default();
            self.bytes.clear();
            put_u64(&mut self.bytes, 0);
            put_u64(&mut self.bytes, row.row);
        }
        assert_eq!(row.row, self.first_row + u64::from(self.rows), "rows come without gaps");
        row.put(&mut self.bytes, &mut self.places);
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
    let (mut row, mut form) = (bytes.u64()?, Form::Plain);
    if row == 0 {
        (row, form) = (bytes.u64()?, Form::Marked);
    }
    // Room for all of them at once: a list that grows leaves as much garbage as it holds in the end.
    let rows_max = (bytes.0.len() / ROW_BYTES_MIN).min(ChunkBuilder::ROWS_MAX as usize);
    let mut rows = Vec::with_capacity(rows_max);
    while !bytes.0.is_empty() {
        let next = StoredRow::take(&mut bytes, row, rows.last(), form)?;
        rows.push(next);
        row += 1;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(to: &'static str, lang: &'static str) -> StoredStep<'static> {
        let (channel, category) = (ChannelKind::Email, Category::Authentication);
        StoredStep { channel, category, receipt_within_s: 90, to, to_given: to, sender: "A", lang }
    }

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
            priority: 9,
            receipt_within_s: 600,
            fallback: vec![step("+4915112345678", ""), step("a@example.com", "en")],
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

    #[test]
    fn what_stands_in_the_row_before_is_stored_once() {
        let text = "Your order is on its way to you".repeat(9);
        let row = |row: u64, to_given: &'static str, x: &[&'static str]| StoredRow {
            row,
            to: "a@example.com",
            to_given,
            sender: "Acme <news@acme.example>",
            x: x.to_vec(),
            ..StoredRow::default()
        };
        let rows = [
            StoredRow { text: &text, ..row(1, "a@example.com", &["one", "one", ""]) },
            StoredRow { text: &text, ..row(2, "A@example.com", &["one"]) },
            StoredRow { text: &text, ..row(3, "A@example.com", &["two", "two", "one"]) },
            row(4, "", &[]),
            StoredRow { text: &text, ..row(5, "a@example.com", &["", "two"]) },
        ];
        let mut builder = ChunkBuilder::default();
        for again in 0..2 {
            rows.iter().for_each(|row| builder.push(row));
            let (body, ..) = builder.take().unwrap();
            assert_eq!(chunk_rows(body).unwrap(), rows, "chunk {again}");
            assert!(body.len() < 3 * text.len(), "{} bytes", body.len());
        }
    }

    #[test]
    fn chains_are_stored_beside_rows_that_have_none_or_others() {
        let row = |row, fallback: &[StoredStep<'static>]| StoredRow {
            row,
            to: "+491701",
            priority: 1 + row as u8,
            fallback: fallback.to_vec(),
            ..StoredRow::default()
        };
        let (one, other) = (step("a@example.com", "en"), step("b@example.com", "en"));
        let rows = [
            row(1, &[one]),
            row(2, &[one, other]),
            row(3, &[]),
            row(4, &[one]),
            row(5, &[other]),
            row(6, &[]),
        ];
        let mut builder = ChunkBuilder::default();
        rows.iter().for_each(|row| builder.push(row));
        let (body, ..) = builder.take().unwrap();
        assert_eq!(chunk_rows(body).unwrap(), rows);
        let on = |at: u8| (rows[1].on_step(at).to, rows[1].on_step(at).receipt_within_s);
        assert_eq!(on(0), ("+491701", 0));
        assert_eq!((on(1), on(2)), (("a@example.com", 90), ("b@example.com", 90)));
    }

    /// As the first version wrote them: every text with its length, and no zero in front.
    #[test]
    fn chunks_of_the_first_version_are_read() {
        let mut body = vec![9];
        for row in 0..2 {
            body.extend_from_slice(&[20 + row, 0, 0, NONE, NONE]);
            body.extend_from_slice(&[
                2, b'i', b'd', 0, 1, b'a', 1, b'A', 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ]);
            body.extend_from_slice(&[0, 0, 0, 0, 0, 1, 1, b'x', 0]);
        }
        let row = |row| StoredRow {
            row,
            line: row + 11,
            row_id: "id",
            to: "a",
            to_given: "A",
            x: vec!["x"],
            ..StoredRow::default()
        };
        assert_eq!(chunk_rows(&body).unwrap(), [row(9), row(10)]);
    }
}

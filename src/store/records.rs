//! Stored records: one version byte, then JSON whose fields only grow.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::engine::{StoreError, VALUE_MAX_BYTES};
use super::orders::OrderAct;
use crate::batch::{BatchState, Counts};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileForm, FileState, Kind, Lane, Proof, Realm, Status, TenantId};

/// Bytes that a batch's record may grow by after its verdict: who ended its hold, what is asked of it.
const LATER_BYTES: usize = 384;

/// The version byte in front of every value.
pub(super) const RECORD_VERSION: u8 = 1;

pub(super) fn encode<T: Serialize>(record: &T) -> Vec<u8> {
    let mut bytes = vec![RECORD_VERSION];
    serde_json::to_writer(&mut bytes, record).expect("stored records serialise");
    bytes
}

pub(super) fn decode<T: DeserializeOwned>(
    space: &'static str,
    bytes: &[u8],
) -> Result<T, StoreError> {
    match bytes.split_first() {
        Some((&RECORD_VERSION, json)) => {
            serde_json::from_slice(json).map_err(|_| StoreError::Damaged { space })
        }
        Some((found, _)) if *found > RECORD_VERSION => {
            Err(StoreError::Version { found: *found, known: RECORD_VERSION })
        }
        _ => Err(StoreError::Damaged { space }),
    }
}

/// Words and ids are stored as the text that partners see.
macro_rules! stored_as_text {
    ($($module:ident: $type:ty, $show:expr, $read:expr;)+) => {
        $(pub(super) mod $module {
            use serde::{Deserialize, Deserializer, Serializer, de::Error};

            use super::*;

            pub(in crate::store) fn serialize<S: Serializer>(
                value: &$type,
                out: S,
            ) -> Result<S::Ok, S::Error> {
                let show: fn(&$type) -> String = $show;
                out.serialize_str(&show(value))
            }

            pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(
                input: D,
            ) -> Result<$type, D::Error> {
                let text = String::deserialize(input)?;
                let read: fn(&str) -> Option<$type> = $read;
                read(&text).ok_or_else(|| D::Error::custom("unknown word"))
            }
        })+
    };
}

stored_as_text! {
    tenant_text: TenantId, |v| v.to_string(), |t| t.parse().ok();
    batch_text: BatchId, |v| v.to_string(), |t| t.parse().ok();
    code_text: ReasonCode, |v| v.to_string(), ReasonCode::from_text;
    act_text: OrderAct, |v| v.as_str().to_owned(),
        |t| OrderAct::ALL.into_iter().find(|a| a.as_str() == t);
    status_text: Status, |v| v.to_string(), Status::from_text;
    proof_text: Proof, |v| v.to_string(), Proof::from_text;
    state_text: BatchState, |v| v.as_str().to_owned(),
        |t| BatchState::ALL.into_iter().find(|s| s.as_str() == t);
    optional_batch: Option<BatchId>, |v| v.map_or(String::new(), |b| b.to_string()),
        |t| if t.is_empty() { Some(None) } else { t.parse().ok().map(Some) };
    form_text: FileForm, |v| v.to_string(), FileForm::from_text;
    optional_kind: Option<Kind>, |v| v.map_or(String::new(), |k| k.to_string()),
        |t| if t.is_empty() { Some(None) } else { Kind::from_text(t).map(Some) };
    optional_proof: Option<Proof>, |v| v.map_or(String::new(), |p| p.to_string()),
        |t| if t.is_empty() { Some(None) } else { Proof::from_text(t).map(Some) };
    optional_file_state: Option<FileState>, |v| v.map_or(String::new(), |s| s.to_string()),
        |t| if t.is_empty() { Some(None) } else { FileState::from_text(t).map(Some) };
    optional_code: Option<ReasonCode>, |v| v.map_or(String::new(), |c| c.to_string()),
        |t| if t.is_empty() { Some(None) } else { ReasonCode::from_text(t).map(Some) };
}

/// One claimed file and all work from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BatchRecord {
    #[serde(with = "batch_text")]
    pub id: BatchId,
    #[serde(with = "tenant_text")]
    pub tenant: TenantId,
    /// Where the file stood, relative to the tenant's root.
    pub path: String,
    #[serde(with = "state_text")]
    pub state: BatchState,
    /// The account that uploaded it; empty for files that came another road.
    #[serde(default)]
    pub account: String,
    #[serde(with = "optional_proof")]
    pub proof: Option<Proof>,
    /// When the last byte, or the rename, came.
    pub received_at: Timestamp,
    pub claimed_at: Timestamp,
    /// When the file was judged; empty while it is claimed.
    pub validated_at: Option<Timestamp>,
    /// When the last row became final.
    pub closed_at: Option<Timestamp>,
    /// What reading the file gave.
    #[serde(default)]
    pub facts: Facts,
    /// How many chunks the rows fill.
    #[serde(default)]
    pub chunks: u32,
    /// Why and until when the file waits or waited; none where it never did.
    #[serde(default)]
    pub hold: Option<HoldRecord>,
    /// What was asked of the batch since it was judged.
    #[serde(default)]
    pub control: ControlRecord,
}

/// What somebody asked of one batch, by control file, marker or command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRecord {
    /// Nothing is sent until it is resumed.
    pub paused: bool,
    /// All rows that were open were cancelled.
    pub cancelled: bool,
    /// No accepted row was attempted before: the file does not count as sent.
    pub wholly_cancelled: bool,
    /// When rows that had ended were opened again, the last time that the batch was closed before.
    pub reopened_at: Option<Timestamp>,
    /// The answers were asked for again: where a newer file has the name, they bear the batch's id.
    pub reported: bool,
    /// The number of the last order.
    pub orders: u32,
    /// How often rows were asked to be sent again, and how many that opened.
    #[serde(default)]
    pub resends: u32,
    #[serde(default)]
    pub resent_rows: u64,
    /// Why this program itself paused it; none where somebody did.
    #[serde(default, with = "optional_code", skip_serializing_if = "Option::is_none")]
    pub paused_for: Option<ReasonCode>,
}

/// The wait of one file for somebody's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldRecord {
    /// What the file waits for; the provisional ACK's code.
    #[serde(with = "code_text")]
    pub code: ReasonCode,
    pub since: Timestamp,
    /// When it is refused if nobody says anything.
    pub until: Timestamp,
    /// The file's number is taken while it waits, and free again if it is refused.
    pub took_number: bool,
    /// Who ended the wait, such as `account acme-erp` or `operator`; empty while it lasts.
    pub ended_by: String,
    pub ended_at: Option<Timestamp>,
}

impl BatchRecord {
    /// The file's own name.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Lets go of what the store has no room for: the last `x_*` directives first, then the end of the
    /// message. A record that is too large could not be concluded at any start.
    pub(super) fn shrink_to_fit(&mut self) {
        while encode(self).len() > VALUE_MAX_BYTES - LATER_BYTES {
            if self.facts.x.pop().is_some() {
                continue;
            }
            let message = &mut self.facts.message;
            let kept = message.chars().count() / 2;
            *message = message.chars().take(kept).collect();
            if kept == 0 {
                return;
            }
        }
    }

    /// Whether the file is meant or only tried out: by its folder, or because it says so itself.
    pub fn realm(&self) -> Realm {
        if self.facts.test { Realm::Test } else { Realm::of_path(&self.path) }
    }

    /// True where the messages are shown as they would be sent.
    pub fn is_rehearsed(&self) -> bool {
        let is_sent = matches!(self.state, BatchState::Running | BatchState::Closed);
        is_sent && self.realm().is_test() && self.facts.kind != Some(Kind::Control)
    }

    /// The batches among which it has its turn to be sent.
    pub fn lane(&self) -> Lane {
        (self.tenant.clone(), self.realm())
    }

    /// The files among which it has its turn to be read: what it says itself is not known before.
    pub fn inbox_lane(&self) -> Lane {
        (self.tenant.clone(), Realm::of_path(&self.path))
    }

    /// The folder of the answers: the inbox's sub-folder, mirrored.
    pub fn answer_folder(&self) -> String {
        let root = Realm::of_path(&self.path).root();
        let path = Realm::within(&self.path);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        match folder.split_once('/') {
            Some((_, below)) => format!("{root}outbox/{below}"),
            None => format!("{root}outbox"),
        }
    }
}

/// What the ACK says beside names and times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    #[serde(with = "optional_kind")]
    pub kind: Option<Kind>,
    #[serde(default)]
    pub profile: String,
    #[serde(default)]
    pub file_ref: String,
    #[serde(default)]
    pub campaign: String,
    #[serde(with = "optional_file_state")]
    pub state: Option<FileState>,
    #[serde(with = "optional_code")]
    pub code: Option<ReasonCode>,
    #[serde(default)]
    pub message: String,
    pub bytes: u64,
    #[serde(default)]
    pub sha256: String,
    #[serde(default)]
    pub records_sha256: String,
    #[serde(default)]
    pub encoding: String,
    #[serde(default)]
    pub delimiter: String,
    pub rows_total: u64,
    pub rows_accepted: u64,
    pub rows_rejected: u64,
    pub rows_duplicate: u64,
    pub rows_suppressed: u64,
    pub rows_deferred: u64,
    pub warnings: u64,
    /// Parts of all accepted rows; 0 where no channel counts parts.
    pub parts_estimated: u64,
    pub first_send_at: Option<Timestamp>,
    #[serde(with = "optional_batch")]
    pub duplicate_of: Option<BatchId>,
    /// Lines in the errors file.
    pub problems: u64,
    /// The earlier file of the name whose answers this one replaces.
    #[serde(default, with = "optional_batch")]
    pub replaces: Option<BatchId>,
    /// The earlier file of the name whose ACK this one's replaces: it may have been a DUPLICATE.
    #[serde(default, with = "optional_batch")]
    pub replaces_ack: Option<BatchId>,
    /// Digest of header, directives and all records but the last: what a longer version begins with.
    #[serde(default)]
    pub lead_sha256: String,
    /// The last record had no line end: the file may have been cut in its middle.
    #[serde(default)]
    pub last_line_open: bool,
    /// The file's sequence number, where it has one.
    #[serde(default)]
    pub seq: Option<u64>,
    /// The number that is waited for next, where the profile counts its files.
    #[serde(default)]
    pub next_seq: Option<u64>,
    /// How the records are written; the text of a packed file or a workbook is laid beside it.
    #[serde(with = "form_text", default)]
    pub form: FileForm,
    /// How urgent the most and the least urgent of its chunks are; see `Urgency`. None where an earlier
    /// version judged the file, or nothing of it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgencies: Option<(u8, u8)>,
    /// The file says `#test=yes`.
    #[serde(default)]
    pub test: bool,
    /// The file's `#x_*` directives, in order.
    #[serde(default)]
    pub x: Vec<(String, String)>,
    /// How often reading the file was begun anew because the program fell over while it read it. A file
    /// that was read to its end has none.
    #[serde(default)]
    pub tries: u32,
}

impl Facts {
    pub fn counts(&self) -> Counts {
        Counts {
            total: self.rows_total,
            accepted: self.rows_accepted,
            rejected: self.rows_rejected,
            duplicate: self.rows_duplicate,
        }
    }
}

impl ChunkRecord {
    /// False where it is known that `resend` finds nothing here.
    pub fn may_be_resendable(&self) -> bool {
        self.resendable != Some(0)
    }
}

/// Rows by status; the summary's numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally([u64; Status::ALL.len()]);

impl Tally {
    pub fn add(&mut self, status: Status) {
        self.0[status.index() as usize] += 1;
    }

    pub fn of(&self, status: Status) -> u64 {
        self.0[status.index() as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

/// One chunk of a batch's rows and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkRecord {
    #[serde(skip)]
    pub number: u32,
    /// Where the chunk's record stands in the rows file.
    pub offset: u64,
    pub bytes: u32,
    /// First data row, 1-based.
    pub first_row: u64,
    pub rows: u32,
    /// Where the record stands that says which of its rows are duplicates after all; with its length.
    #[serde(default)]
    pub duplicates: Option<(u64, u32)>,
    /// Rows that are not final.
    pub open: u32,
    /// Of these, rows that wait for a time, a window or a retry.
    #[serde(default)]
    pub deferred: u32,
    /// Rows that ended failed, expired or unknown: `resend` opens them again. None where the first
    /// version wrote the chunk: nobody counted them yet.
    #[serde(default)]
    pub resendable: Option<u32>,
    /// When the next open row is due; none when no row is open.
    pub due: Option<Timestamp>,
    /// How urgent its most urgent row is; see `Urgency`. None where an earlier version wrote the chunk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<u8>,
    /// How long the outcomes file was, synced, when this was stored: what is shorter now is damaged.
    #[serde(default)]
    pub outcomes_bytes: u64,
}

/// Rows claimed for sending: durable before the first byte of any of them leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowRecord {
    #[serde(skip)]
    pub number: u32,
    pub chunk: u32,
    /// Positions in the chunk, as first and last of each run.
    pub rows: Vec<(u32, u32)>,
    /// The boot under which it was claimed: start marks of this boot are complete.
    pub boot_id: String,
}

impl WindowRecord {
    /// Packs sorted positions into runs.
    pub fn runs_of(positions: &[u32]) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for position in positions {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *position => *last = *position,
                _ => runs.push((*position, *position)),
            }
        }
        runs
    }

    pub fn positions(&self) -> impl Iterator<Item = u32> + '_ {
        self.rows.iter().flat_map(|(first, last)| *first..=*last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_records_stay_below_the_value_limit() {
        let scattered: Vec<u32> = (0..512).map(|n| n * 2).collect();
        let window = WindowRecord {
            number: 0,
            chunk: u32::MAX,
            rows: WindowRecord::runs_of(&scattered[..256]),
            boot_id: "b".repeat(36),
        };
        assert!(encode(&window).len() <= VALUE_MAX_BYTES);
        assert!(window.positions().eq(scattered[..256].iter().copied()));
        assert_eq!(WindowRecord::runs_of(&[1, 2, 3, 7]), [(1, 3), (7, 7)]);
    }

    #[test]
    fn answers_mirror_the_inbox_folders() {
        let mut record = BatchRecord {
            id: BatchId::from_u64(1),
            tenant: "acme".parse().unwrap(),
            path: "inbox/contacts/A.csv".to_owned(),
            state: BatchState::Claimed,
            account: String::new(),
            proof: Some(Proof::Close),
            received_at: Timestamp::UNIX_EPOCH,
            claimed_at: Timestamp::UNIX_EPOCH,
            validated_at: None,
            closed_at: None,
            facts: Facts::default(),
            chunks: 0,
            hold: None,
            control: ControlRecord::default(),
        };
        assert_eq!((record.name(), &*record.answer_folder()), ("A.csv", "outbox/contacts"));
        record.path = "inbox/B.csv".to_owned();
        assert_eq!((record.name(), &*record.answer_folder()), ("B.csv", "outbox"));
        assert_eq!(record.realm(), Realm::Real);
        record.facts.test = true;
        assert_eq!((record.realm(), &*record.answer_folder()), (Realm::Test, "outbox"));
        let back: BatchRecord = decode("batches", &encode(&record)).unwrap();
        assert_eq!(back, record);
        record.facts.test = false;
        for (path, folder) in [
            ("test/inbox/C.csv", "test/outbox"),
            ("test/inbox/contacts/C.csv", "test/outbox/contacts"),
        ] {
            record.path = path.to_owned();
            assert_eq!((record.realm(), &*record.answer_folder()), (Realm::Test, folder));
        }
    }
}

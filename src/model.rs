//! The words of the domain: ids, kinds, states, statuses, attempts and their outcomes.
//!
//! Owns values and their textual form as `interface.md` prints them. Never does I/O, never knows the
//! format of the store or of the wire: stored, wire and configuration types live in their own rooms
//! and convert to these. Start reading at `words.rs`, then `attempt.rs`.

mod age;
mod attempt;
mod ids;
mod message;
mod name;
mod notice;
mod place;
mod realm;
mod target;
mod upload;
mod urgency;
mod words;

pub use age::MaxAge;
pub use attempt::{Attempt, Outcome, Receipt, UntilHint};
pub use ids::{BatchId, InvalidId, TenantId};
pub use message::{OutgoingMessage, message_id_for};
pub use name::{is_invisible, normalise_name};
pub use notice::Notice;
pub use place::{country_in, place_in, zones_of};
pub use realm::{Lane, Realm};
pub use target::Target;
pub use upload::{CutUpload, FileVersion, UploadEvidence};
pub use urgency::Urgency;
pub use words::{
    Category, ChannelKind, ControlOp, FileForm, FileState, Kind, Proof, Status, Stream,
};

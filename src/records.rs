//! Bytes to checked message rows: dialect, header, directives, cell rules, row errors with positions.
//!
//! Reads from a `std::io::Read` that the caller gives, one record at a time: memory never grows with
//! the file. Never opens a file, looks at a clock, logs or sends. Broken input is data with a
//! position ([`RowError`], [`FileProblem`]); only a failing read is an error of the world. Start
//! reading at `reader.rs` (what a caller pulls), then `cursor.rs` and `scan.rs` (how records are
//! found), then `checker.rs` (what makes a row good).

mod settings;

mod problem;

mod code_pages;

mod encoding;

mod source;

mod scan;

mod cursor;

mod directives;

mod own;

mod layout;

mod preamble;

mod record;

mod objects;

mod form;

mod archive;

mod parts;

mod workbook;

mod odd_row;

mod first_line;

mod reader;

mod address;

mod e164;

mod moment;

mod template;

mod message;

mod whereabouts;

mod times;

mod checker;

mod recipient;

mod chain;

mod content;

mod control;

mod rejects;

mod given;

mod manifest;

mod digest_note;

mod tail;

mod nearest;

mod learn;

#[cfg(feature = "fuzzing")]
pub mod fuzzing;

#[cfg(test)]
mod zoo;

#[cfg(test)]
mod hostile;

#[cfg(test)]
mod checker_tests;

#[cfg(test)]
mod speed;

pub use archive::{UnpackError, unpack};
pub use checker::MessageChecker;
pub use control::{ControlChecker, ControlRow};
pub use digest_note::{DIGEST_NOTE_MAX_BYTES, noted_digest};
pub use directives::{Dedupe, Directives};
pub use encoding::TextEncoding;
pub use form::{Packing, form_of_name};
pub use given::{Misgiven, check_column, check_given};
pub use layout::{Column, Layout};
pub use learn::{NoProposal, Proposal, learn};
pub use manifest::{MANIFEST_MAX_BYTES, Manifest};
pub use message::{FurtherStep, MessageRow, TenantContext};
pub use nearest::nearest;
pub use preamble::own_directive;
pub use problem::{FileProblem, ReadError, RowError};
pub use reader::{Facts, Opened, RecordReader, Step};
pub use record::Record;
pub use rejects::{RejectedRow, write_rejects};
pub use settings::{HeaderMode, Limits, ReadAs, ReadSettings};
pub use tail::{TAIL_BYTES, ends_with_trailer};
pub use template::TemplateNeeds;
pub use whereabouts::country_of;
pub use workbook::{check_workbook, write_first_sheet};

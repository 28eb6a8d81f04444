//! The way back: answers into the tenant's outbox, originals and old answers into the archive.
//!
//! Owns the doing of publications that the store has ordered, in their order, the progress files and
//! the files of streams.
//! Each step can be done twice: after a crash it is done again and gives the same bytes. Never
//! decides what must be published, never changes a batch. Start reading at `publisher.rs`, then
//! `publication.rs`.

mod earlier;
mod error;
mod errors;
mod problems;
mod progress;
mod publication;
mod publisher;
mod rejected;
mod result;
mod rows;
mod settings;
mod streams;
mod style;
#[cfg(test)]
mod tests;
mod unknown;

pub use error::OutboxError;
pub use publisher::Publisher;
pub use settings::{EachMessage, Rehearse, Settings, TenantAnswers, TenantLookup};
pub use style::AnswerStyle;
pub use unknown::{UnknownRow, each_unknown};

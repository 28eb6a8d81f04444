//! From "a file appeared" to "a batch exists" or "a file was refused".
//!
//! Owns the claim (one atomic rename out of the tenant's sight), the reading and the verdict. Order of
//! writes: spool first, store second; what a crash left is finished by the same code. Never sends,
//! never writes into an outbox, never takes a file whose sender may still be writing.
//! Start reading at `station.rs`, then `concluding.rs` and `judging.rs`.

mod body;
mod claim;
mod concluding;
mod error;
mod expected;
mod facts;
mod identify;
mod inbox;
mod judging;
mod late;
mod pairs;
mod prepare;
mod read_ahead;
mod reading;
mod ready;
mod same_again;
mod settings;
mod station;
#[cfg(test)]
mod testing;
mod trial;
mod unpack;
mod vouchers;
mod watch;
mod writer;

pub use error::IntakeError;
pub use identify::known_as;
pub use ready::Doorbell;
pub use settings::{
    Expected, MinProof, ProfileSettings, RowIdScope, SentinelPattern, Settings, TenantSettings,
    Tenants,
};
pub use station::{Intake, Nudges};
pub use trial::{Trial, try_out};

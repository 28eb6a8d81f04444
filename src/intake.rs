//! From "a file appeared" to "a batch exists" or "a file was refused".
//!
//! Owns the claim (one atomic rename out of the tenant's sight), the reading and the verdict. Order of
//! writes: spool first, store second; what a crash left is finished by the same code. Never sends,
//! never writes into an outbox, never takes a file whose sender may still be writing.
//! Start reading at `station.rs`, then `concluding.rs` and `judging.rs`.

mod attempt;
mod body;
mod claim;
mod commanding;
mod concluding;
mod control;
mod doorbell;
mod earlier;
mod error;
mod expected;
mod facts;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod half;
mod holding;
mod identify;
mod inbox;
mod judging;
mod late;
mod longer;
mod marker;
mod name_pattern;
mod numbering;
mod pairs;
mod prepare;
mod read_ahead;
mod reading;
mod ready;
mod recovery;
mod retries;
mod row_memory;
mod same_again;
mod settings;
mod station;
#[cfg(any(test, feature = "fuzzing"))]
mod testing;
mod trial;
mod unpack;
mod vouchers;
mod watch;
mod writer;

pub use doorbell::Doorbell;
pub use error::IntakeError;
pub use identify::known_as;
pub use name_pattern::NamePattern;
pub use settings::{
    ControlRights, Expected, MinProof, ProfileSettings, RowIdScope, SentinelPattern, Settings,
    SmsTexts, TenantSettings, Tenants,
};
pub use station::{Intake, Nudges};
pub use trial::{Trial, try_out};

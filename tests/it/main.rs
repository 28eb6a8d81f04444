//! Everything that needs more than one room: journeys, crashes, real protocols, the built binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]
#![allow(clippy::disallowed_methods, reason = "tests lay files and tasks out as they need them")]

mod crashes;
mod doors;
mod journeys;
mod old_stores;
mod service;
mod stage;

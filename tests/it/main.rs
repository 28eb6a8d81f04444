//! Everything that needs more than one room: journeys, crashes, real protocols, the built binary.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod crashes;
mod doors;
mod journeys;
mod service;
mod stage;

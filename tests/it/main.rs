//! Everything that needs more than one room: journeys, real protocols, the built binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod service;

//! Everything that needs more than one room: journeys, crashes, real protocols, the built binary.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails there, and what it drives runs in real time"
)]

mod clock;
mod codes;
mod crashes;
mod demo;
mod doors;
mod doubt;
mod flow;
mod halts;
mod holds;
mod hostile;
mod intake_corpus;
mod journeys;
mod learn;
mod mishaps;
mod notices;
mod old_stores;
mod preview;
mod redrop;
mod sandbox;
mod service;
mod sidecars;
mod sim;
mod spec;
mod stage;
mod steering;

//! Wiring, supervision and shutdown: the one room that knows all others.
//!
//! Builds everything and binds every port before anything starts; a station that ends before shutdown
//! is a bug that ends the process; stops in order (what begins something, then answers, then the store). Holds no
//! rule of its own. Start reading at `start.rs`, then `run.rs`; `wiring.rs` turns the configuration
//! into each room's settings.

mod bans;
mod commands;
mod disk;
mod drive;
mod error;
mod gone;
mod halts;
mod preview;
mod run;
mod sessions;
mod start;
mod unknown;
mod views;
mod wiring;

pub use error::AppError;
pub use preview::{Preview, PreviewRequest, preview};
pub use start::{App, Options};

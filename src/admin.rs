//! The operator's window: health and metrics over HTTP, the state of batches over a local socket.
//!
//! Owns two listeners: `[admin] listen` for `/healthz`, `/readyz` and `/metrics`, and the control socket
//! in the data directory for the command line. Never reads the store or any room itself: what it shows
//! comes through [`Views`], which `app` fills. What changes something is a POST, and only the
//! socket takes one. Never shows a secret. Start reading at `routes.rs`, then `listen.rs`.

mod client;
mod connection;
mod halting;
mod listen;
mod routes;
mod unknown;

pub use client::{ClientError, ask, tell};
pub use halting::{HaltCommand, HaltTarget};
pub use listen::{Admin, AdminError, Settings};
pub use routes::{BatchCommand, BatchQuery, CommandAnswer, SessionQuery, Views};
pub use unknown::{SETTLED_AS, SettleCommand, UnknownQuery};

#[cfg(test)]
mod tests;

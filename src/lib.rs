//! Dropchute: files dropped over SFTP, FTPS or FTP become sent messages and answers in the outbox.
//!
//! The `mod` lines below are the floor plan: read downward, they say what happens to a file. A room
//! imports only from rooms below its own floor (ARCHITECTURE.md; `tests/tidy.rs` holds it).

// roof: the command line, and the one room that knows all others
pub mod cli;

pub mod app;

// front: what the operator sees and sets, and partners read
pub mod admin;
pub mod config;
pub mod spec;

// stations: the file's journey
pub mod transfer;

pub mod intake;

pub mod dispatch;

pub mod outbox;

// shore: one outside thing per room
pub mod channel;
pub mod files;
pub mod spool;
pub mod store;

// rules: pure
pub mod records;

pub mod batch;
pub mod pacing;
pub mod policy;
pub mod render;
pub mod report;

// ground: contracts, time, words
pub mod codes;
pub mod disk;
pub mod faults;
pub mod model;
pub mod telemetry;
pub mod worker;
pub mod world;

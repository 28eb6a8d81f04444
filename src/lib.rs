//! Dropchute: files dropped over SFTP, FTPS or FTP become sent messages and answers in the outbox.
//!
//! The `mod` lines below are the floor plan: read downward, they say what happens to a file. A room
//! imports only from rooms below its own floor (ARCHITECTURE.md; `tests/tidy.rs` holds it).

// ground: contracts, time, words
pub mod codes;
pub mod model;
pub mod worker;
pub mod world;

// station: the journey of a file, step by step
pub mod outbox;

// shore: one outside thing per room
pub mod files;
pub mod spool;
pub mod store;

// rules: pure
pub mod batch;
pub mod policy;
pub mod records;
pub mod report;

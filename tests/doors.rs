//! The doors, seen by real clients.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "doors/ftp.rs"]
mod ftp;
#[path = "doors/house.rs"]
mod house;
#[path = "doors/sftp.rs"]
mod sftp;

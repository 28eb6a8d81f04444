//! Bad input: what an attacker, a broken client or a bad line can send, against the built binary.
//!
//! Each test keeps three things in sight while it attacks (`watch.rs`): the daemon's memory stays
//! below a bound, a good client from another address goes on working, and the daemon neither
//! panics nor logs an error. The clients here speak the protocols from the bytes up, blocking, with a
//! deadline on every read and write, so that a hang is a failure.
//!
//! The great sizes (1 GiB of one line, thousands of connections) are cut down for everyday;
//! `DROPCHUTE_HOSTILE=full cargo test --test it hostile` runs them whole.

#![allow(clippy::print_stdout, reason = "figures, for those who run it")]

mod canaries;
#[path = "../../fixtures/paths.rs"]
#[allow(unreachable_pub, reason = "read by tests of other kinds as well")]
mod corpus;
mod daemon;
mod floods;
mod ftp;
mod ftp_cuts;
mod ftp_data;
mod ftp_lines;
mod ftp_login;
mod ftp_paths;
mod sftp;
mod sftp_cuts;
mod sftp_paths;
mod sftp_requests;
mod ssh;
mod ssh_before_login;
mod ssh_packets;
mod tls;
mod watch;

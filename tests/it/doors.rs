//! The doors, seen by real clients.

mod ftp;
mod ftp_talk;
mod house;
mod sftp;

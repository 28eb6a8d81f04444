//! The doors, seen by real clients.

mod ftp;
mod house;
mod sftp;

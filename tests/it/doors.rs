//! The doors, seen by real clients.

mod ftp;
mod guard;
mod house;
mod sftp;

//! The doors, seen by real clients.

mod dialogues;
mod ftp;
mod house;
mod sftp;

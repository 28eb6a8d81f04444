//! The doors, seen by real clients.

mod dialogues;
mod ftp;
mod guard;
mod house;
mod proxy;
mod sessions;
mod sftp;

//! The doors, seen by real clients.

mod dialogues;
mod ftp;
mod ftp_talk;
mod guard;
mod house;
mod proxy;
mod sessions;
mod sftp;
mod sftp_limits;
mod ssh_logins;

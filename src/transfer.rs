//! The doors: SFTP, FTP and explicit FTPS, the accounts behind them, and finished uploads.
//!
//! Owns listeners, logins, bans and the protocols' engines. Never touches a tenant's disk except through
//! `files::Home`, never says "success" before the evidence of an upload is recorded, and lets nobody
//! learn which accounts exist. Start reading at `doors.rs`, then `accounts.rs`, `ssh.rs`, `ftp.rs`.

mod accounts;
mod counters;
mod desk;
mod doors;
mod ftp;
mod guard;
mod host_key;
mod house;
mod network;
mod password;
mod policy;
mod settings;
mod sftp;
mod ssh;
mod tls;
mod visit;

pub use accounts::{Account, Accounts, Protocols, Rights, Tenant};
pub use counters::{Counters, CountersSnapshot};
pub use doors::{Doors, TransferError};
pub use guard::{Guard, GuardSettings, Points, Watched};
pub use network::{InvalidNetwork, Network};
pub use settings::{AlgorithmPolicy, FtpSettings, Limits, Settings, SftpSettings, TlsMode};

//! The doors: SFTP, FTP and FTPS, the accounts behind them, and finished uploads.
//!
//! Owns listeners, logins, bans and the protocols' engines. Never touches a tenant's disk except through
//! `files::Home`, never says "success" before the evidence of an upload is recorded, and lets nobody
//! learn which accounts exist. Start reading at `doors.rs`, then `accounts.rs`, `ssh.rs`, `ftp.rs`.

mod accounts;
mod certificate;
mod counters;
mod desk;
mod doors;
mod factors;
mod ftp;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod guard;
mod host_key;
mod house;
mod network;
mod pace;
mod password;
mod policy;
mod sessions;
mod settings;
mod sftp;
mod ssh;
mod tls;
mod totp;
mod visit;

pub use accounts::{Account, Accounts, Protocols, Rights, Tenant};
pub use counters::{Counters, CountersSnapshot, TallySnapshot};
pub use doors::{DoorControl, Doors, TransferError};
pub use factors::{Factors, InvalidFactors};
pub use guard::{Guard, GuardSettings, Points, Watched};
pub use network::{InvalidNetwork, Network};
pub use policy::PolicyOffer;
pub use sessions::SessionFilter;
pub use settings::{
    AlgorithmPolicy, FtpSettings, HostKeyType, Limits, SessionReuse, Settings, SftpSettings,
    TlsMode,
};
pub use totp::{InvalidTotpSecret, TotpSecret};
pub use visit::SessionLine;

//! FTP and FTPS, explicit and implicit, by an engine of our own.
//!
//! Owns the two connections of FTP and what is said on them (RFC 959, 1123, 2228, 2389, 2428, 3659,
//! 4217, the drafts on MFMT and HASH). Never decides about logins, which the desk in `house.rs` does,
//! nor touches the disk except through `files::Home`; never publishes an upload whose end was not seen.
//! Start reading at `session.rs`; `command.rs` and `listing.rs` are pure.

mod command;
mod control;
mod data;
mod digest;
mod guest;
mod line;
mod listing;
mod lists;
mod login;
mod manners;
mod names;
mod pattern;
mod reply;
mod session;
mod settling;
mod transfer;
mod transfers;
mod ways;
mod wire;

use std::sync::Arc;

use tokio::net::TcpStream;

use self::control::Control;
use self::session::Session;
use super::FtpSettings;
use super::house::House;
use super::tls::FtpTls;
use super::visit::Visit;

/// What every FTP connection needs.
pub(super) struct FtpDoor {
    pub(super) settings: FtpSettings,
    /// `None` where TLS is off.
    pub(super) tls: Option<FtpTls>,
}

impl FtpDoor {
    /// Reads certificate and key again: they are replaced under their names, long before the program
    /// is. Blocks.
    pub(super) fn renew_certificate(&self) {
        match self.tls.as_ref().map(|tls| tls.certificates.reload()) {
            Some(Err(error)) => {
                tracing::error!(%error, "read the FTP certificate again; the old one stays");
            }
            Some(Ok(true)) => tracing::info!("FTP shows a new certificate"),
            Some(Ok(false)) | None => {}
        }
    }
}

/// Serves one connection until it ends; with `implicit`, TLS begins with the first byte.
pub(super) async fn serve(
    house: Arc<House>,
    visit: Visit,
    door: Arc<FtpDoor>,
    stream: TcpStream,
    implicit: bool,
) {
    let peer = visit.peer;
    let local = match stream.local_addr() {
        Ok(address) => address.ip().to_canonical(),
        Err(error) => return tracing::debug!(%peer, %error, "ftp connection gone at once"),
    };
    let control = Control::new(stream, house.limits().stall_timeout);
    let mut session = Session::new(house, visit, door, control, local);
    if implicit && let Err(error) = session.begin_under_tls().await {
        return tracing::debug!(%peer, %error, "tls on ftp connection");
    }
    session.converse().await;
}

/// The commands in bytes that come in pieces of this size, for the fuzz target; `None` at a flood.
#[cfg(feature = "fuzzing")]
pub(super) fn read_commands(bytes: &[u8], piece: usize) -> Option<Vec<String>> {
    let (mut lines, mut commands) = (line::Lines::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        lines.room(piece.len()).extend_from_slice(piece);
        while let Some(line) = lines.next().ok()? {
            commands.push(match line {
                line::Line::Text(text) => format!("{:?}", command::parse(&text)),
                line::Line::TooLong => "too long".to_owned(),
            });
        }
    }
    Some(commands)
}

/// Whether a pattern of NLST fits a name, for the fuzz target.
#[cfg(feature = "fuzzing")]
pub(super) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    pattern::fits(pattern, name)
}

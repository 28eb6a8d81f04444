//! FTP and explicit FTPS: libunftp speaks the protocol, one server object per connection of ours.

mod clear;
mod gate;
mod storage;

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use libunftp::ServerBuilder;
use libunftp::options::{FtpsRequired, PassiveHost};
use rustls::ServerConfig;
use tokio::net::TcpStream;

use self::clear::Clear;
use self::gate::Gate;
use self::storage::Disk;
use super::house::House;
use super::visit::Visit;
use super::{FtpSettings, TlsMode};

/// What every FTP connection needs.
pub(super) struct FtpDoor {
    pub(super) settings: FtpSettings,
    /// `None` where TLS is off.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// Serves one connection until it ends.
pub(super) async fn serve(house: Arc<House>, visit: Visit, door: Arc<FtpDoor>, stream: TcpStream) {
    let peer = visit.peer;
    if let Err(error) = converse(&house, visit, &door, stream).await {
        tracing::debug!(%peer, %error, "ftp connection ended");
    }
}

async fn converse(
    house: &Arc<House>,
    visit: Visit,
    door: &FtpDoor,
    stream: TcpStream,
) -> io::Result<()> {
    let stream = stream.into_std()?;
    let clear = Clear::new(stream.try_clone()?);
    let stream = TcpStream::from_std(stream)?;
    let tls = door.tls.as_ref().map(|config| clear.watching(config));
    let clear_allowed = door.settings.tls != TlsMode::Required;
    let disk = Disk::new(house, &visit);
    let gate = Arc::new(Gate::new(house.clone(), visit, clear, clear_allowed));
    let mut builder =
        ServerBuilder::with_user_detail_provider(Box::new(move || disk.clone()), gate.clone())
            .authenticator(gate)
            .greeting("Dropchute ready")
            .idle_session_timeout(house.limits().idle_timeout.as_secs())
            .passive_ports(door.settings.passive_ports.clone());
    if let Some(IpAddr::V4(address)) = door.settings.public_address {
        builder = builder.passive_host(PassiveHost::Ip(address));
    }
    if let Some(tls) = tls {
        // The type parameter is an oversight of the library: nothing of that type is taken.
        builder = builder.ftps_manual::<std::path::PathBuf>(tls);
        if !clear_allowed {
            // The gate sees to the control channel: the library's own refusal has another code.
            builder = builder.ftps_required(FtpsRequired::None, FtpsRequired::All);
        }
    }
    let server = builder.build().map_err(io::Error::other)?;
    server.service(stream).await.map_err(io::Error::other)
}

//! FTP and explicit FTPS: libunftp speaks the protocol, one server object per connection of ours.

mod gate;
mod storage;

use std::net::IpAddr;
use std::sync::Arc;

use libunftp::ServerBuilder;
use libunftp::options::{FtpsRequired, PassiveHost};
use rustls::ServerConfig;
use tokio::net::TcpStream;

use self::gate::Gate;
use self::storage::Disk;
use super::visit::{House, Visit};
use super::{FtpSettings, TlsMode};

/// What every FTP connection needs.
pub(super) struct FtpDoor {
    pub(super) settings: FtpSettings,
    /// `None` where TLS is off.
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// Serves one connection until it ends.
pub(super) async fn serve(house: Arc<House>, visit: Visit, door: Arc<FtpDoor>, stream: TcpStream) {
    let gate = Arc::new(Gate::new(house.clone(), visit.clone()));
    let disk = Disk::new(&house, &visit);
    let mut builder =
        ServerBuilder::with_user_detail_provider(Box::new(move || disk.clone()), gate.clone())
            .authenticator(gate)
            .greeting("Dropchute ready")
            .idle_session_timeout(house.limits.idle_timeout.as_secs())
            .passive_ports(door.settings.passive_ports.clone());
    if let Some(IpAddr::V4(address)) = door.settings.public_address {
        builder = builder.passive_host(PassiveHost::Ip(address));
    }
    if let Some(tls) = &door.tls {
        // The type parameter is an oversight of the library: nothing of that type is taken.
        builder = builder.ftps_manual::<std::path::PathBuf>(tls.clone());
        if door.settings.tls == TlsMode::Required {
            builder = builder.ftps_required(FtpsRequired::All, FtpsRequired::All);
        }
    }
    let peer = visit.peer;
    let ended = match builder.build() {
        Ok(server) => server.service(stream).await.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "ftp connection ended");
    }
}

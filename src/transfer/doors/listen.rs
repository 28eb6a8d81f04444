//! Binding: one listener for each address of each door.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;

use super::{Door, Kind, TransferError};
use crate::transfer::ftp::FtpDoor;
use crate::transfer::house::House;
use crate::transfer::ssh::SshDoor;
use crate::transfer::tls::FtpTls;
use crate::transfer::{FtpSettings, SftpSettings, TlsMode};

/// Connections the kernel holds until we accept them.
const BACKLOG: i32 = 1024;

/// A bound socket and the door it leads to.
pub(super) struct Listener {
    pub(super) door: Arc<Door>,
    pub(super) socket: TcpListener,
}

/// The listeners of the SFTP door.
pub(super) fn sftp(settings: &SftpSettings, house: &House) -> Result<Vec<Listener>, TransferError> {
    let door = SshDoor::open(settings, house)
        .map_err(|(path, source)| TransferError::HostKey { path, source })?;
    let door = Door::new(Kind::Sftp(Arc::new(door)), &settings.from_proxy);
    settings.listen.iter().map(|address| listen(&door, *address)).collect()
}

/// The listeners of the FTP doors: with TLS on demand, and with TLS from the first byte.
pub(super) fn ftp(settings: &FtpSettings, house: &House) -> Result<Vec<Listener>, TransferError> {
    let tls = match settings.tls {
        TlsMode::Off => None,
        TlsMode::Required | TlsMode::Optional => Some(
            FtpTls::new(settings, &house.data_dir)
                .map_err(|source| TransferError::Certificate { source })?,
        ),
    };
    let ftp = Arc::new(FtpDoor { settings: settings.clone(), tls });
    let explicit = Door::new(Kind::Ftp(ftp.clone()), &settings.from_proxy);
    let implicit = Door::new(Kind::ImplicitFtps(ftp), &settings.from_proxy);
    let explicit = settings.listen.iter().map(|address| (&explicit, address));
    let implicit = settings.implicit_listen.iter().map(|address| (&implicit, address));
    explicit.chain(implicit).map(|(door, address)| listen(door, *address)).collect()
}

/// A listener; one on `[::]` takes IPv4 as well, and is one on `0.0.0.0` where the machine has no IPv6.
fn listen(door: &Arc<Door>, address: SocketAddr) -> Result<Listener, TransferError> {
    let everywhere = address.is_ipv6() && address.ip().is_unspecified();
    let socket = match bind(address) {
        Err(error) if everywhere && has_no_ipv6(&error) => {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        other => other,
    };
    match socket {
        Ok(socket) => Ok(Listener { door: door.clone(), socket }),
        Err(source) => Err(TransferError::Listen { door: door.name(), address, source }),
    }
}

/// What a machine without IPv6 answers: EAFNOSUPPORT, or EADDRNOTAVAIL where it is switched off.
fn has_no_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let codes = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL];
    codes.iter().any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

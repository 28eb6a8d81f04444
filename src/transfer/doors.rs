//! The listeners: one accept loop each, limits for all, and a calm end.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::counters::count;
use super::ftp::{self, FtpDoor};
use super::guard::Turns;
use super::house::House;
use super::visit::Visit;
use super::{
    Accounts, AlgorithmPolicy, Counters, FtpSettings, Guard, Settings, SftpSettings, TlsMode,
    host_key, ssh, tls,
};
use crate::files::{Journal, TreeSettings};
use crate::world::World;

/// Connections the kernel holds until we accept them.
const BACKLOG: i32 = 1024;
/// The pause after an error of accepting, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The time the last answers have to leave before a connection is cut.
const LINGER: Duration = Duration::from_millis(250);
/// The time an engine has to notice that its connection was cut.
const CUT_PATIENCE: Duration = Duration::from_secs(5);

/// Why the doors cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("listen on {address} for {door}")]
    Listen { door: &'static str, address: SocketAddr, source: io::Error },
    #[error("read or make the SSH host key {path:?}")]
    HostKey { path: std::path::PathBuf, source: io::Error },
    #[error("read or make the FTP certificate")]
    Certificate { source: io::Error },
    #[error("open the folders of tenant {tenant}")]
    Folders { tenant: crate::model::TenantId, source: io::Error },
}

/// All doors, bound and not yet open.
pub struct Doors {
    house: Arc<House>,
    places: Arc<Places>,
    listeners: Vec<Listener>,
}

struct Listener {
    door: Door,
    socket: TcpListener,
}

/// What is spoken behind a listener.
#[derive(Clone)]
enum Door {
    Sftp { config: Arc<russh::server::Config>, policy: AlgorithmPolicy },
    Ftp(Arc<FtpDoor>),
}

impl Door {
    fn name(&self) -> &'static str {
        match self {
            Door::Sftp { .. } => "sftp",
            Door::Ftp(_) => "ftp",
        }
    }
}

impl Doors {
    /// Binds every port and opens the tenants' folders; nobody is let in before `serve`. Blocks for a
    /// moment.
    pub fn bind(
        settings: Settings,
        accounts: Accounts,
        guard: Guard,
        journal: Journal,
        world: Arc<World>,
    ) -> Result<Doors, TransferError> {
        let house = Arc::new(House {
            accounts,
            guard,
            turns: Turns::new(settings.limits.password_queue_max),
            counters: Arc::new(Counters::default()),
            world,
            journal,
            data_dir: settings.data_dir.clone(),
            tree_settings: TreeSettings {
                upload_max_bytes: settings.limits.upload_max_bytes,
                disk_reserve: settings.disk_reserve,
            },
            trees: Mutex::new(HashMap::new()),
            limits: settings.limits.clone(),
        });
        for tenant in house.accounts.tenants() {
            if let Err(source) = house.tree(&tenant) {
                return Err(TransferError::Folders { tenant, source });
            }
        }
        let mut listeners = Vec::new();
        if let Some(sftp) = &settings.sftp {
            listeners.extend(bind_sftp(sftp, &house)?);
        }
        if let Some(ftp) = &settings.ftp {
            listeners.extend(bind_ftp(ftp, &house)?);
        }
        let limits = &settings.limits;
        let places = Places::new(limits.connections_max, limits.connections_per_address);
        Ok(Doors { house, places: Arc::new(places), listeners })
    }

    /// Where clients can come in.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let address =
            |listener: &Listener| Some((listener.door.name(), listener.socket.local_addr().ok()?));
        self.listeners.iter().filter_map(address).collect()
    }

    pub fn counters(&self) -> Arc<Counters> {
        self.house.counters.clone()
    }

    /// Lets clients in until the token is cancelled, then lets running transfers finish for at most
    /// `Limits::drain_grace`.
    pub async fn serve(self, token: CancellationToken) {
        let visits = TaskTracker::new();
        let loops = TaskTracker::new();
        for listener in self.listeners {
            let (house, places) = (self.house.clone(), self.places.clone());
            loops.spawn(accept(listener, house, places, visits.clone(), token.clone()));
        }
        loops.close();
        let over = CancellationToken::new();
        let ended = async {
            loops.wait().await;
            visits.close();
            visits.wait().await;
            over.cancel();
        };
        tokio::join!(ended, self.house.guard.keep(over.clone()));
    }
}

fn bind_sftp(settings: &SftpSettings, house: &House) -> Result<Vec<Listener>, TransferError> {
    let path = &settings.host_key_file;
    let key = host_key::load_or_create(path, &house.world.dice)
        .map_err(|source| TransferError::HostKey { path: path.clone(), source })?;
    let config = ssh::config(key, settings.policy, &house.limits);
    let door = Door::Sftp { config, policy: settings.policy };
    settings.listen.iter().map(|address| listen(&door, *address, false)).collect()
}

fn bind_ftp(settings: &FtpSettings, house: &House) -> Result<Vec<Listener>, TransferError> {
    let tls = match settings.tls {
        TlsMode::Off => None,
        TlsMode::Required | TlsMode::Optional => Some(
            tls::server_config(settings, &house.data_dir)
                .map_err(|source| TransferError::Certificate { source })?,
        ),
    };
    let door = Door::Ftp(Arc::new(FtpDoor { settings: settings.clone(), tls }));
    let mut listeners = Vec::new();
    for address in &settings.listen {
        // PASV tells an IPv4 address, which a connection over a dual-stack socket does not have: two
        // sockets of one family each in place of one for both.
        let everywhere = address.is_ipv6() && address.ip().is_unspecified();
        let listener = listen(&door, *address, everywhere)?;
        let bound = listener.socket.local_addr().unwrap_or(*address);
        listeners.push(listener);
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, bound.port()));
        if everywhere && bound.is_ipv6() && !settings.listen.contains(&v4) {
            listeners.push(listen(&door, v4, false)?);
        }
    }
    Ok(listeners)
}

/// A listener; one on `[::]` takes IPv4 as well unless `only_v6`, and is one on `0.0.0.0` where the
/// machine has no IPv6.
fn listen(door: &Door, address: SocketAddr, only_v6: bool) -> Result<Listener, TransferError> {
    let everywhere = address.is_ipv6() && address.ip().is_unspecified();
    let socket = match bind(address, only_v6) {
        Err(error) if everywhere && has_no_ipv6(&error) => {
            bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())), false)
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

fn bind(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

async fn accept(
    listener: Listener,
    house: Arc<House>,
    places: Arc<Places>,
    visits: TaskTracker,
    token: CancellationToken,
) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = token.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                count(&house.counters.accept_errors);
                tracing::warn!(door = listener.door.name(), %error, "accept connection");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let peer = peer.ip().to_canonical();
        if house.guard.is_banned(peer) {
            count(&house.counters.refused_banned);
            tracing::debug!(%peer, "connection refused: banned");
            continue;
        }
        let Some(place) = places.enter(peer) else {
            count(&house.counters.refused_connections);
            tracing::info!(%peer, "connection refused: too many");
            continue;
        };
        let (house, door, token) = (house.clone(), listener.door.clone(), token.clone());
        visits.spawn(async move {
            count(&house.counters.connections);
            if let Err(error) = attend(&house, door, stream, peer, token).await {
                tracing::debug!(%peer, %error, "connection set-up");
            }
            house.counters.connections.fetch_sub(1, Ordering::Relaxed);
            drop(place);
        });
    }
}

/// Serves one connection. It is cut when nobody logs in within the grace, and when the program stops
/// and no transfer runs any more.
async fn attend(
    house: &Arc<House>,
    door: Door,
    stream: TcpStream,
    peer: IpAddr,
    token: CancellationToken,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    // The engines give no way to end a connection from outside; closing the socket does.
    let cut = stream.try_clone()?;
    let stream = TcpStream::from_std(stream)?;
    let visit = Visit::new(peer);
    let session = async {
        match door {
            Door::Sftp { config, policy } => {
                ssh::serve(house.clone(), visit.clone(), config, policy, stream).await;
            }
            Door::Ftp(door) => ftp::serve(house.clone(), visit.clone(), door, stream).await,
        }
    };
    tokio::pin!(session);
    let login_expired = async {
        sleep(house.limits.login_grace).await;
        if visit.is_logged_in() {
            std::future::pending::<()>().await;
        }
    };
    let stopped = async {
        tokio::select! {
            () = token.cancelled() => {}
            () = visit.ending() => {}
        }
        visit.end();
        let cut = async {
            sleep(house.limits.drain_grace).await;
            visit.cut();
        };
        tokio::select! {
            () = visit.at_rest() => {}
            () = visit.being_cut() => {}
            () = cut => tracing::warn!(%peer, "connection cut in the middle of a transfer"),
        }
        sleep(LINGER).await;
    };
    let too_late = tokio::select! {
        () = &mut session => {
            house.left(&visit, false);
            return Ok(());
        }
        () = login_expired => true,
        () = stopped => false,
    };
    house.left(&visit, too_late);
    // The client may have closed at this moment; then there is nothing left to cut.
    cut.shutdown(Shutdown::Both).ok();
    // An engine that does not notice is left behind rather than waited for.
    timeout(CUT_PATIENCE, session).await.ok();
    Ok(())
}

/// Counts who is inside.
struct Places {
    inside: Mutex<HashMap<IpAddr, usize>>,
    all_max: usize,
    per_address_max: usize,
}

impl Places {
    fn new(all_max: usize, per_address_max: usize) -> Places {
        Places { inside: Mutex::new(HashMap::new()), all_max, per_address_max }
    }

    /// A place inside, given back when dropped; `None` where all are taken.
    fn enter(self: &Arc<Places>, peer: IpAddr) -> Option<Place> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = inside.values().sum();
        let here = inside.get(&peer).copied().unwrap_or(0);
        if all >= self.all_max || here >= self.per_address_max {
            return None;
        }
        inside.insert(peer, here + 1);
        Some(Place { places: self.clone(), peer })
    }
}

struct Place {
    places: Arc<Places>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut inside = self.places.inside.lock().unwrap_or_else(PoisonError::into_inner);
        match inside.get_mut(&self.peer) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                inside.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_per_address_and_in_all() {
        let places = Arc::new(Places::new(3, 2));
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = places.enter(a).unwrap();
        let _second = places.enter(a).unwrap();
        assert!(places.enter(a).is_none());
        let _third = places.enter(b).unwrap();
        assert!(places.enter(b).is_none());
        drop(first);
        assert!(places.enter(b).is_some());
    }
}

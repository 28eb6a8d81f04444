//! The doors: listeners, one accept loop each, and what an operator may do while they are open.

mod accept;
mod attend;
mod listen;
mod proxy;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::listen::Listener;
use super::ftp::FtpDoor;
use super::guard::Turns;
use super::house::House;
use super::sessions::Sessions;
use super::ssh::SshDoor;
use super::visit::Farewell;
use super::{Accounts, Counters, Guard, Network, SessionFilter, SessionLine, Settings};
use crate::files::{Journal, TreeSettings};
use crate::worker::{QuickWork, blocking};
use crate::world::World;

/// The pause between two looks at what wakes nobody by itself.
const LOOK_PAUSE: Duration = Duration::from_secs(10);
/// Work on names, or a sync, that takes longer has waited for the disk.
const SLOW_NAME: Duration = Duration::from_micros(300);

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
    listeners: Vec<Listener>,
}

/// One or more listeners behind which the same is spoken.
struct Door {
    kind: Kind,
    /// Networks whose connections begin with a PROXY header; replaced at reload.
    from_proxy: RwLock<Vec<Network>>,
}

/// What is spoken behind a door.
enum Kind {
    Sftp(Arc<SshDoor>),
    Ftp(Arc<FtpDoor>),
    /// TLS from the first byte.
    ImplicitFtps(Arc<FtpDoor>),
}

impl Door {
    fn new(kind: Kind, from_proxy: &[Network]) -> Arc<Door> {
        Arc::new(Door { kind, from_proxy: RwLock::new(from_proxy.to_vec()) })
    }

    fn name(&self) -> &'static str {
        match self.kind {
            Kind::Sftp(_) => "sftp",
            Kind::Ftp(_) => "ftp",
            Kind::ImplicitFtps(_) => "ftps",
        }
    }

    fn is_proxy(&self, address: SocketAddr) -> bool {
        let networks = self.from_proxy.read().unwrap_or_else(PoisonError::into_inner);
        networks.iter().any(|network| network.contains(address.ip()))
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
        let counters = Arc::new(Counters::default());
        let sessions = Sessions::new(&settings.limits, counters.clone(), world.clone());
        let house = Arc::new(House {
            accounts,
            guard,
            turns: Turns::new(settings.limits.password_queue_max),
            sessions: Arc::new(sessions),
            counters,
            world,
            disk: Arc::new(QuickWork::new(SLOW_NAME)),
            journal,
            data_dir: settings.data_dir.clone(),
            tree_settings: TreeSettings {
                upload_max_bytes: settings.limits.upload_max_bytes,
                disk_reserve: settings.disk_reserve,
                ..TreeSettings::default()
            },
            trees: Mutex::new(HashMap::new()),
            limits: RwLock::new(Arc::new(settings.limits.clone())),
        });
        for tenant in house.accounts.tenants() {
            if let Err(source) = house.tree(&tenant) {
                return Err(TransferError::Folders { tenant, source });
            }
        }
        let mut listeners = Vec::new();
        if let Some(sftp) = &settings.sftp {
            listeners.extend(listen::sftp(sftp, &house)?);
        }
        if let Some(ftp) = &settings.ftp {
            listeners.extend(listen::ftp(ftp, &house)?);
        }
        Ok(Doors { house, listeners })
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

    #[cfg(test)]
    pub(super) fn house(&self) -> Arc<House> {
        self.house.clone()
    }

    /// What may be asked and changed while the doors are open.
    pub fn control(&self) -> DoorControl {
        let doors = self.listeners.iter().map(|listener| listener.door.clone()).collect();
        DoorControl { house: self.house.clone(), doors }
    }

    /// Lets clients in until the token is cancelled, then lets running transfers finish for at most
    /// `Limits::drain_grace`.
    pub async fn serve(self, token: CancellationToken) {
        let visits = TaskTracker::new();
        let loops = TaskTracker::new();
        for listener in self.listeners {
            loops.spawn(accept::accept(
                listener,
                self.house.clone(),
                visits.clone(),
                token.clone(),
            ));
        }
        loops.spawn(look_after(self.house.clone(), token));
        loops.close();
        let over = CancellationToken::new();
        let ended = async {
            loops.wait().await;
            visits.close();
            visits.wait().await;
            over.cancel();
        };
        tokio::join!(ended, self.house.guard.keep(over.clone()));
        let house = self.house;
        blocking(move || house.sweep()).await;
    }
}

/// Looks after the uploads that were cut, and ends sessions whose accounts have expired.
async fn look_after(house: Arc<House>, token: CancellationToken) {
    while timeout(LOOK_PAUSE, token.cancelled()).await.is_err() {
        house.sessions.review(&house.accounts);
        let house = house.clone();
        blocking(move || house.sweep()).await;
    }
}

/// The open doors as the rest of the program sees them; cheap to clone.
#[derive(Clone)]
pub struct DoorControl {
    house: Arc<House>,
    doors: Vec<Arc<Door>>,
}

impl DoorControl {
    /// The connections a filter means, oldest first.
    pub fn sessions(&self, filter: &SessionFilter) -> Vec<SessionLine> {
        self.house.sessions.list(filter)
    }

    /// How many connections each protocol has now.
    pub fn sessions_by_protocol(&self) -> HashMap<&'static str, usize> {
        self.house.sessions.open_by_protocol()
    }

    /// Ends the sessions a filter means, with a clear answer. Returns how many.
    pub fn kill(&self, filter: &SessionFilter) -> usize {
        self.house.sessions.cut(filter, Farewell::Killed)
    }

    /// Brings into force what can change without a restart, after the accounts were replaced: limits,
    /// networks of proxies, and what certificate and key files now hold. Sessions whose accounts may no longer come in end; all others go on.
    pub fn lay(&self, settings: &Settings) {
        let limits = Arc::new(settings.limits.clone());
        *self.house.limits.write().unwrap_or_else(PoisonError::into_inner) = limits.clone();
        for door in &self.doors {
            let networks = match door.kind {
                Kind::Sftp(_) => settings.sftp.as_ref().map(|sftp| &sftp.from_proxy),
                Kind::Ftp(_) | Kind::ImplicitFtps(_) => {
                    settings.ftp.as_ref().map(|ftp| &ftp.from_proxy)
                }
            };
            if let Kind::Ftp(ftp) | Kind::ImplicitFtps(ftp) = &door.kind {
                ftp.renew_certificate();
            }
            if let Some(networks) = networks {
                let mut from_proxy =
                    door.from_proxy.write().unwrap_or_else(PoisonError::into_inner);
                from_proxy.clone_from(networks);
            }
        }
        self.house.sessions.lay(&limits, &self.house.accounts);
        self.house.sessions.review(&self.house.accounts);
    }
}

impl std::fmt::Debug for DoorControl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DoorControl")
    }
}

/// Reads a PROXY header, for the fuzz target; whether it was one.
#[cfg(feature = "fuzzing")]
pub(super) fn reads_proxy_header(bytes: &mut &[u8]) -> bool {
    use futures_util::FutureExt;
    proxy::read(bytes).now_or_never().is_some_and(|read| read.is_ok())
}

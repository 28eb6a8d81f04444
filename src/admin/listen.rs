//! Binding the two listeners, and accepting until told to stop.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use rustix::fs::{Mode, fchmod};
use tokio::net::{TcpListener, UnixListener, UnixSocket, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::serve_connection;
use super::routes::{self, Views};

/// The control socket's name in the data directory.
pub(super) const CONTROL_SOCKET: &str = "control.sock";

/// Connections served at once, on each listener; more wait in the backlog.
const CONNECTIONS_MAX: usize = 64;
const BACKLOG: u32 = 64;
/// How long answers under way may take at the end.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Where the admin front listens.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Address of health and metrics; `None` where the operator switched them off.
    pub listen: Option<SocketAddr>,
    /// The folder that holds the control socket.
    pub data_dir: PathBuf,
}

/// Why the admin front could not start.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("make control socket {path:?}")]
    ControlSocket {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another daemon answers on {path:?}")]
    AlreadyRunning { path: PathBuf },
    #[error("{path:?} is in the way and is not a socket")]
    NotASocket { path: PathBuf },
}

/// The bound listeners, not yet serving.
#[derive(Debug)]
pub struct Admin {
    front: Option<TcpListener>,
    control: UnixListener,
    control_path: PathBuf,
}

impl Admin {
    /// Binds both listeners; takes over a control socket that a crash left behind.
    pub async fn bind(settings: &Settings) -> Result<Admin, AdminError> {
        let front = match settings.listen {
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|source| AdminError::Listen { address, source })?,
            ),
            None => None,
        };
        let control_path = settings.data_dir.join(CONTROL_SOCKET);
        clear_stale_socket(&control_path).await?;
        let control = bind_private(&control_path)
            .map_err(|source| AdminError::ControlSocket { path: control_path.clone(), source })?;
        Ok(Admin { front, control, control_path })
    }

    /// The address that health and metrics really have, which matters with port 0.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.front.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Answers until the token is cancelled, then removes the control socket.
    pub async fn serve(self, views: Views, token: CancellationToken) {
        let Admin { front, control, control_path } = self;
        let control_router = routes::control(views.clone());
        let front_router = routes::front(views);
        let crowd = TaskTracker::new();
        let serve_front = async {
            if let Some(front) = front {
                accept(front, front_router, &crowd).await;
            }
        };
        let serve_control = accept(control, control_router, &crowd);
        let both = async { tokio::join!(serve_front, serve_control) };
        token.run_until_cancelled(both).await;
        crowd.close();
        if tokio::time::timeout(DRAIN_MAX, crowd.wait()).await.is_err() {
            tracing::debug!("admin answers outlasted the stop");
        }
        if let Err(error) = std::fs::remove_file(&control_path) {
            tracing::warn!(%error, "control socket not removed");
        }
    }
}

/// Accepts for ever, at most [`CONNECTIONS_MAX`] at a time; a failed accept is logged and paused after
/// by the listener itself.
async fn accept<L: Listener>(mut listener: L, router: Router, crowd: &TaskTracker) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, _) = listener.accept().await;
        let connection = serve_connection(stream, router.clone());
        crowd.spawn(async move {
            connection.await;
            drop(place);
        });
    }
}

/// Removes a socket that nobody answers on; anything else in its place is an error.
async fn clear_stale_socket(path: &Path) -> Result<(), AdminError> {
    let failed = |source| AdminError::ControlSocket { path: path.to_owned(), source };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(AdminError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
        Ok(_) => Err(AdminError::AlreadyRunning { path: path.to_owned() }),
    }
}

/// Binds a socket that only its owner can connect to, from the first moment on: on Linux the file
/// takes its mode from the socket that is bound, so there is no gap between `bind` and a `chmod`.
fn bind_private(path: &Path) -> io::Result<UnixListener> {
    let socket = UnixSocket::new_stream()?;
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(path)?;
    socket.listen(BACKLOG)
}

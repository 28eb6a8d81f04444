//! Data connections: where they come from, who may open them, and their TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, sleep_until, timeout};

use super::reply::Reply;
use super::wire::Wire;
use crate::transfer::SessionReuse;
use crate::transfer::visit::Visit;
use crate::world::Dice;

/// Data connections the kernel holds for one listener: strangers who knock are let in and sent away.
const BACKLOG: u32 = 16;
/// Time a refused data connection has to take its end.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Ports tried before the range counts as used up.
const PORT_TRIES: u32 = 1024;

/// How the next data connection comes about.
pub(super) enum Way {
    /// The client has not said yet.
    Unknown,
    /// The client connects, until the moment given.
    Passive(TcpListener, Instant),
    /// We connect.
    Active(SocketAddr),
}

/// A listener on a port of the range, at random: a port that can be guessed can be stolen.
pub(super) fn listen(
    local: IpAddr,
    ports: &RangeInclusive<u16>,
    dice: &Dice,
) -> io::Result<TcpListener> {
    let (first, count) = (u32::from(*ports.start()), u32::from(ports.end() - ports.start()) + 1);
    let start = (dice.next_u64() % u64::from(count)) as u32;
    let mut problem = io::Error::from(io::ErrorKind::AddrInUse);
    for step in 0..count.min(PORT_TRIES) {
        let port = (first + (start + step) % count) as u16;
        match listen_on(SocketAddr::new(local, port)) {
            Ok(listener) => return Ok(listener),
            Err(error) => problem = error,
        }
    }
    Err(problem)
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Ports of connections that have just ended are free again.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// All that is needed to make the data connection, away from the session.
pub(super) struct Meeting {
    pub(super) way: Way,
    /// Whose data connection it is to be.
    pub(super) visit: Visit,
    /// Our own address on the control connection.
    pub(super) local: IpAddr,
    /// `None` in clear.
    pub(super) tls: Option<(Arc<ServerConfig>, SessionReuse)>,
    pub(super) patience: Duration,
}

impl Meeting {
    /// The data connection, or why there is none.
    pub(super) async fn meet(self) -> Result<Wire, Reply> {
        let stream = match self.way {
            Way::Unknown => return Err(Reply::new(425, "Send PASV or EPSV first.")),
            Way::Passive(listener, until) => accept(&listener, &self.visit, until).await?,
            Way::Active(address) => connect(self.local, address, self.patience).await?,
        };
        let Some((config, reuse)) = self.tls else { return Ok(Wire::Clear(stream)) };
        let handshake = Wire::secure_data(stream, config);
        let mut wire = match timeout(self.patience, handshake).await {
            Ok(Ok(wire)) => wire,
            Ok(Err(error)) => {
                tracing::debug!(peer = %self.visit.peer, %error, "tls on data connection");
                return Err(Reply::new(522, "TLS failed on the data connection; try again."));
            }
            Err(_) => return Err(Reply::new(522, "TLS on the data connection took too long.")),
        };
        if reuse == SessionReuse::Required && !wire.is_resumed() {
            tracing::info!(peer = %self.visit.peer, "data connection refused: tls session not resumed");
            // With TLS's own end, so that the client looks for the reason where it is told.
            timeout(REFUSAL_TIMEOUT, wire.shutdown()).await.map(|done| done.ok()).ok();
            let why = "The data connection must resume the control connection's TLS session; \
                       switch session reuse on in the client.";
            return Err(Reply::new(522, why));
        }
        Ok(wire)
    }
}

/// Takes the first connection of the right address; others are closed and change nothing.
async fn accept(listener: &TcpListener, visit: &Visit, until: Instant) -> Result<TcpStream, Reply> {
    let peer = visit.peer;
    let late = sleep_until(until);
    tokio::pin!(late);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut late => return Err(Reply::new(425, "No data connection came in time.")),
        };
        match accepted {
            Ok((stream, from)) if visit.may_bring_data(from.ip()) => return Ok(stream),
            Ok((_, from)) => {
                let stranger = from.ip();
                tracing::info!(%peer, %stranger, "data connection of another address refused");
            }
            Err(error) => {
                tracing::warn!(%peer, %error, "accept data connection");
                return Err(Reply::new(425, "The data connection could not be taken; try again."));
            }
        }
    }
}

async fn connect(local: IpAddr, to: SocketAddr, patience: Duration) -> Result<TcpStream, Reply> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let connecting = async {
        let socket = socket?;
        // Firewalls of partners know the address they talk to.
        socket.bind(SocketAddr::new(local, 0))?;
        socket.connect(to).await
    };
    match timeout(patience, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => {
            tracing::debug!(%to, %error, "open data connection");
            Err(Reply::new(425, "The data connection could not be opened; try PASV or EPSV."))
        }
        Err(_) => Err(Reply::new(425, "The data connection was not taken in time.")),
    }
}

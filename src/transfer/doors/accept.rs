//! The accept loop: from a connection at the door to a visit inside, or to nothing at all.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listen::Listener;
use super::proxy::{self, Spoken};
use super::{Door, attend};
use crate::transfer::counters::{TurnedAway, count};
use crate::transfer::house::House;
use crate::transfer::sessions::Entry;
use crate::transfer::visit::Arrival;

/// The pause after an error of accepting, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Errors of accepting come ten times a second: the log hears of them once in this time.
const ERROR_TOLD_AGAIN: Duration = Duration::from_secs(60);
/// The time a proxy has to say for whom it comes.
const PROXY_HEADER_MAX: Duration = Duration::from_secs(5);
/// Connections of proxies that have not said so yet; more wait in the kernel.
const PROXY_HEADERS_MAX: usize = 256;

/// Lets connections in until the token is cancelled. No error of accepting ends it.
pub(super) async fn accept(
    listener: Listener,
    house: Arc<House>,
    visits: TaskTracker,
    token: CancellationToken,
) {
    let proxies = Arc::new(Semaphore::new(PROXY_HEADERS_MAX));
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = token.cancelled() => return,
            accepted = listener.socket.accept() => accepted,
        };
        let (mut stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                count(&house.counters.accept_errors);
                let now = house.world.clock.instant();
                if told.is_none_or(|then| now.duration_since(then) >= ERROR_TOLD_AGAIN) {
                    tracing::warn!(door = listener.door.name(), %error, "accept connection");
                    told = Some(now);
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(local) = stream.local_addr() else { continue };
        let arrival = Arrival {
            door: listener.door.name(),
            peer: canonical(peer),
            local: canonical(local),
            proxy: None,
        };
        let (house, door, token) = (house.clone(), listener.door.clone(), token.clone());
        if !door.is_proxy(peer) {
            // In this task, before another is made: a flood costs no more than this.
            if let Some(entry) = admit(&house, arrival) {
                visits.spawn(attend::attend(house, door, entry, stream, token));
            }
            continue;
        }
        let place = tokio::select! {
            biased;
            () = token.cancelled() => return,
            place = proxies.clone().acquire_owned() => place.expect("the semaphore is never closed"),
        };
        visits.spawn(async move {
            let arrival = introduced(&house, &door, arrival, &mut stream).await;
            drop(place);
            if let Some(entry) = arrival.and_then(|arrival| admit(&house, arrival)) {
                attend::attend(house, door, entry, stream, token).await;
            }
        });
    }
}

/// A place inside, where nothing speaks against it. Nothing is said to who is refused.
fn admit(house: &House, arrival: Arrival) -> Option<Entry> {
    if house.guard.is_banned(arrival.peer.ip()) {
        refuse(house, arrival.peer, TurnedAway::Banned);
        return None;
    }
    match house.sessions.open(arrival) {
        Ok(entry) => {
            count(&house.counters.of(arrival.door).connections);
            Some(entry)
        }
        Err(why) => {
            refuse(house, arrival.peer, why);
            None
        }
    }
}

fn refuse(house: &House, peer: SocketAddr, why: TurnedAway) {
    house.counters.refused(why);
    // Whoever floods us fills no log: the counter tells how often.
    tracing::debug!(%peer, reason = why.as_str(), "connection refused");
}

/// The client that a proxy comes for; `None` where it is the proxy's own health check, or no header.
async fn introduced(
    house: &House,
    door: &Door,
    arrival: Arrival,
    stream: &mut TcpStream,
) -> Option<Arrival> {
    let proxy = arrival.peer;
    match timeout(PROXY_HEADER_MAX, proxy::read(stream)).await {
        Ok(Ok(Spoken::For { peer, local })) => {
            let (peer, local) = (canonical(peer), canonical(local));
            Some(Arrival { peer, local, proxy: Some(proxy.ip()), ..arrival })
        }
        Ok(Ok(Spoken::Own)) => None,
        Ok(Err(error)) => {
            tracing::debug!(%proxy, door = door.name(), %error, "connection of a proxy");
            refuse(house, proxy, TurnedAway::Proxy);
            None
        }
        Err(_) => {
            refuse(house, proxy, TurnedAway::Proxy);
            None
        }
    }
}

/// An IPv4 address that came over an IPv6 socket is an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

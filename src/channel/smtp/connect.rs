//! A TCP connection to whichever address of a host answers first (RFC 8305).

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::sleep;

/// How long an address is tried alone before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Takes as long as the network does: the caller sets the limit.
pub(super) async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let stream = first_of(lookup_host((host, port)).await?.take(ADDRESSES_MAX)).await?;
    // With Nagle's algorithm every message costs a delayed acknowledgement, 40 ms.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// An address that says nothing holds the others up by the head start only.
async fn first_of(mut addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut trying = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        let next = addresses.next();
        let head_start =
            async { if next.is_some() { sleep(HEAD_START).await } else { pending().await } };
        trying.extend(next.map(TcpStream::connect));
        tokio::select! {
            biased;
            tried = trying.next() => match tried {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => failed = error,
                None => return Err(failed),
            },
            () = head_start => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::tests::black_hole::black_hole;
    use super::*;

    #[tokio::test]
    async fn one_dead_address_of_a_name_does_not_make_the_server_unreachable() {
        let hole = black_hole();
        let dead = hole.address;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = listener.local_addr().unwrap();
        for addresses in [vec![dead, dead, live], vec![live, dead]] {
            let limit = Duration::from_secs(20);
            let connected = tokio::time::timeout(limit, first_of(addresses.into_iter())).await;
            let stream = connected.expect("the live address answers").unwrap();
            assert_eq!(stream.peer_addr().unwrap(), live);
        }
        let alone = first_of([dead].into_iter());
        assert!(tokio::time::timeout(HEAD_START, alone).await.is_err(), "it is a black hole");
    }

    #[tokio::test]
    async fn a_refused_address_is_followed_by_the_next_at_once_and_the_last_error_is_told() {
        let refusing = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let live = listener.local_addr().unwrap();
        let stream = first_of([refusing(), refusing(), live].into_iter()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), live);
        let error = first_of([refusing(), refusing()].into_iter()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(first_of(std::iter::empty()).await.is_err());
    }
}

//! Connections of proxies: the header tells for whom they are.

use std::time::Duration;

use dropchute::transfer::{Account, Limits, SessionFilter};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::house::{ALL, House, PATIENCE, account, tenant};
use super::sessions::Ftp;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn from(address: &str) -> Vec<u8> {
    format!("PROXY TCP4 {address} 192.0.2.1 51234 21\r\n").into_bytes()
}

/// What is said to who sends this and says no more.
async fn heard(house: &House, first: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(house.sftp).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    // Closed with bytes unread is a reset, and an end all the same.
    timeout(PATIENCE, stream.read_to_end(&mut heard)).await.expect("it ends").ok();
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_behind_the_proxy_is_the_one_that_counts() {
    let limits = Limits { connections_per_address: 1, ..Limits::default() };
    let house = House::behind("127.0.0.0/8", limits);
    let near =
        Account { allow_from: vec!["203.0.113.0/24".parse().unwrap()], ..account("near", ALL) };
    house.accounts.replace(vec![near], vec![tenant()]);
    let mut first = Ftp::connect(house.ftp, &from("203.0.113.7")).await.unwrap();
    assert!(first.login("near").await.starts_with("230 "));
    let address = [[203, 0, 113, 8], [192, 0, 2, 1], [0xc8, 0x22, 0, 21]].concat();
    let header = [V2, &[0x21, 0x11, 0, 12], &address].concat();
    let mut second = Ftp::connect(house.ftp, &header).await.unwrap();
    assert!(second.login("near").await.starts_with("230 "));
    // Data comes the same way: from the proxy's address.
    let answer = second.put("/media/a.bin", b"whole").await;
    assert!(answer.starts_with("226 "), "{answer}");
    let sessions = house.control.sessions(&SessionFilter::default());
    let peers: Vec<String> = sessions.iter().map(|line| line.peer.to_string()).collect();
    assert_eq!(peers, ["203.0.113.7:51234", "203.0.113.8:51234"]);

    // One more from the same address is one too many; from elsewhere the account is not open.
    assert!(Ftp::connect(house.ftp, &from("203.0.113.7")).await.is_none());
    let mut far = Ftp::connect(house.ftp, &from("198.51.100.9")).await.unwrap();
    assert!(!far.login("near").await.starts_with("230 "));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_header_nothing_is_said_and_health_checks_are_no_noise() {
    let house = House::behind("127.0.0.1", Limits::default());
    let local = [V2, &[0x20, 0x00, 0, 0]].concat();
    for health_check in [local.as_slice(), b"PROXY UNKNOWN\r\n", b""] {
        assert_eq!(heard(&house, health_check).await, b"");
    }
    let refused = || {
        let counters = house.counters.snapshot();
        counters.refused().find(|(reason, _)| *reason == "from_proxy").unwrap().1
    };
    assert_eq!(refused(), 0);
    let huge = [V2, &[0x21, 0x11, 0xff, 0xff], &[0; 600]].concat();
    for broken in [b"SSH-2.0-OpenSSH_9.2\r\n".as_slice(), b"PROXY TCP4 x y 1 2\r\n", &huge] {
        assert_eq!(heard(&house, broken).await, b"");
    }
    assert_eq!(refused(), 3);
    assert_eq!(house.control.sessions(&SessionFilter::default()), []);
    let tally = house.counters.snapshot().total(|tally| tally.connections);
    assert_eq!(tally, 0);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_named_networks_may_say_for_whom_they_come() {
    let house = House::behind("192.0.2.0/24", Limits::default());
    let mut stream = TcpStream::connect(house.sftp).await.unwrap();
    let mut greeting = [0; 8];
    timeout(PATIENCE, stream.read_exact(&mut greeting)).await.expect("a greeting").unwrap();
    assert_eq!(greeting, *b"SSH-2.0-");
    let peer = house.control.sessions(&SessionFilter::default())[0].peer;
    assert_eq!(peer, stream.local_addr().unwrap());
    // A reload that names the network makes headers a must for those who come after it.
    let mut settings = house.settings.clone();
    settings.sftp.as_mut().unwrap().from_proxy = vec!["127.0.0.1".parse().unwrap()];
    house.control.lay(&settings);
    let mut stream = TcpStream::connect(house.sftp).await.unwrap();
    let silence = timeout(Duration::from_millis(200), stream.read_exact(&mut greeting)).await;
    assert!(silence.is_err(), "nothing is said before the header");
    stream.write_all(&from("203.0.113.7")).await.unwrap();
    timeout(PATIENCE, stream.read_exact(&mut greeting)).await.expect("a greeting").unwrap();
    house.close().await;
}

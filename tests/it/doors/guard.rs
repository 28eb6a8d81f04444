//! The guard: guesses from several loopback addresses, over FTP and SFTP together.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dropchute::store::SimulatedDisk;
use dropchute::transfer::{GuardSettings, Limits, TlsMode};
use russh::client;
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::house::{House, PASSWORD, PATIENCE, key};

const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));
const PARTNER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 3));

struct AnyServer;

impl client::Handler for AnyServer {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

fn open(disk: &SimulatedDisk, safe: &[&str]) -> House {
    let guard = GuardSettings {
        // Ten guesses are to take no minute.
        delay: Duration::from_millis(1),
        delay_max: Duration::from_millis(20),
        safe: safe.iter().map(|network| network.parse().unwrap()).collect(),
        ..GuardSettings::default()
    };
    let local = "127.0.0.1:0".parse().unwrap();
    House::guarded(local, TlsMode::Optional, Limits::default(), guard, disk)
}

async fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    timeout(PATIENCE, socket.connect(to)).await.expect("the door is open").unwrap()
}

/// What the door says before a word is said to it; empty where it closes at once.
async fn greeting(from: IpAddr, to: SocketAddr) -> String {
    let mut lines = BufReader::new(connect(from, to).await);
    let mut line = Vec::new();
    let read = timeout(PATIENCE, lines.read_until(b'\n', &mut line)).await;
    match read.expect("a greeting, or the end") {
        Ok(_) => String::from_utf8(line).unwrap(),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => String::new(),
        Err(error) => panic!("{error}"),
    }
}

/// The answer to a password over FTP in clear; `None` where the door does not even greet.
async fn ftp(house: &House, from: IpAddr, account: &str, password: &str) -> Option<String> {
    let mut lines = BufReader::new(connect(from, house.ftp).await);
    let mut answer = String::new();
    for said in ["", &format!("USER {account}\r\n"), &format!("PASS {password}\r\n")] {
        lines.write_all(said.as_bytes()).await.ok()?;
        answer.clear();
        let read = timeout(PATIENCE, lines.read_line(&mut answer)).await.expect("an answer");
        if !matches!(read, Ok(1..)) {
            return None;
        }
    }
    Some(answer)
}

/// Whether a password opens the SFTP door; `None` where the door does not even greet.
async fn sftp(house: &House, from: IpAddr, account: &str, password: &str) -> Option<bool> {
    let stream = connect(from, house.sftp).await;
    let config = Arc::new(client::Config::default());
    let mut ssh = client::connect_stream(config, stream, AnyServer).await.ok()?;
    Some(ssh.authenticate_password(account, password).await.ok()?.success())
}

/// Guesses until the source is banned; what was verified on the way.
async fn guess_until_banned(house: &House) -> u64 {
    for n in 0..30 {
        let password = format!("guess {n}");
        if n % 4 == 3 {
            sftp(house, STRANGER, ["erp", "nobody"][n % 2], &password).await;
        } else {
            ftp(house, STRANGER, "old", &password).await;
        }
        if house.guard.bans() > 0 {
            break;
        }
    }
    house.counters.snapshot().password_checks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guesses_over_ftp_and_sftp_add_up_to_a_ban_at_both_doors() {
    let house = open(&SimulatedDisk::default(), &[]);
    assert_eq!(guess_until_banned(&house).await, 10);
    // Nothing is said to who is banned: no greeting, no key exchange.
    for door in [house.sftp, house.ftp] {
        assert_eq!(greeting(STRANGER, door).await, "");
    }
    assert_eq!(ftp(&house, STRANGER, "old", PASSWORD).await, None);
    assert_eq!(sftp(&house, STRANGER, "erp", PASSWORD).await, None);
    assert_eq!(house.counters.snapshot().password_checks, 10);

    assert!(ftp(&house, PARTNER, "old", PASSWORD).await.unwrap().starts_with("230 "));
    assert_eq!(sftp(&house, PARTNER, "erp", PASSWORD).await, Some(true));
    let watched = house.guard.watched();
    assert_eq!(watched.len(), 1, "{watched:?}");
    assert_eq!((watched[0].source.as_str(), watched[0].score), ("127.0.0.2", 100));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ban_outlives_a_restart_and_can_be_lifted() {
    let disk = SimulatedDisk::default();
    let house = open(&disk, &[]);
    guess_until_banned(&house).await;
    assert!(ftp(&house, PARTNER, "old", "wrong").await.unwrap().starts_with("530 "));
    let before = house.guard.watched();
    house.close().await;

    let house = open(&disk, &[]);
    assert_eq!(house.guard.watched(), before, "bans and scores are as they were");
    assert_eq!(greeting(STRANGER, house.sftp).await, "");
    assert_eq!(house.guard.pardon(Some(STRANGER)), 1);
    assert!(greeting(STRANGER, house.sftp).await.starts_with("SSH-2.0-"));
    assert!(ftp(&house, STRANGER, "old", PASSWORD).await.unwrap().starts_with("230 "));
    house.close().await;

    let house = open(&disk, &[]);
    assert_eq!(house.guard.bans(), 0, "and so does the pardon");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_connections_at_once_get_no_more_guesses_than_one() {
    let house = Arc::new(open(&SimulatedDisk::default(), &[]));
    let guesses: Vec<_> = (0..40)
        .map(|n| {
            let house = house.clone();
            let guess = async move { ftp(&house, STRANGER, "old", &format!("guess {n}")).await };
            tokio::spawn(guess)
        })
        .collect();
    for guess in guesses {
        guess.await.unwrap();
    }
    assert_eq!(house.counters.snapshot().password_checks, 10);
    assert_eq!(house.guard.bans(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_safe_network_is_never_banned_and_probes_count_for_nothing() {
    let house = open(&SimulatedDisk::default(), &["127.0.0.0/8"]);
    for _ in 0..20 {
        for door in [house.sftp, house.ftp] {
            drop(connect(STRANGER, door).await);
        }
    }
    assert_eq!(house.guard.watched(), []);
    for n in 0..12 {
        let answer = ftp(&house, STRANGER, "old", &format!("guess {n}")).await.unwrap();
        assert!(answer.starts_with("530 "), "{answer}");
    }
    assert!(house.guard.watched()[0].score > 100);
    assert!(ftp(&house, STRANGER, "old", PASSWORD).await.unwrap().starts_with("230 "));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_full_of_keys_is_one_failure_and_none_if_one_of_them_fits() {
    let house = open(&SimulatedDisk::default(), &[]);
    for (from, last, score) in [(PARTNER, 7, 0), (STRANGER, 4, 10)] {
        let stream = connect(from, house.sftp).await;
        let config = Arc::new(client::Config::default());
        let mut ssh = client::connect_stream(config, stream, AnyServer).await.unwrap();
        for number in [1, 2, 3, last] {
            let key = PrivateKeyWithHashAlg::new(Arc::new(key(number)), None);
            let done = ssh.authenticate_publickey("erp", key).await.unwrap();
            assert_eq!(done.success(), number == 7);
        }
        drop(ssh);
        let scored = || house.guard.watched().iter().map(|w| w.score).sum::<u32>();
        let told = async {
            while scored() != score {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, told).await.unwrap_or_else(|_| panic!("{:?}", house.guard.watched()));
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_ssh_at_all_costs_a_little() {
    let house = open(&SimulatedDisk::default(), &[]);
    let mut stream = connect(STRANGER, house.sftp).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    // The connection may be reset rather than closed: the request was never read to its end.
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.expect("the end").ok();
    house.guard.watched().iter().for_each(|w| assert_eq!((w.score, w.reason), (5, "garbage")));
    assert_eq!(house.guard.watched().len(), 1);
    house.close().await;
}

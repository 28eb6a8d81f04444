//! Too many, too slow: connections that do nothing, key exchanges by the thousand, clients that take
//! or give a byte now and then.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use super::daemon::{Daemon, PATIENCE, connect, connect_from, sized};
use super::sftp::{self, Sftp};
use super::ssh::{self, Ssh, string};
use super::watch::{LITTLE_MEMORY, MIB, beside_a_good_client, beside_a_patient_client};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 9, 9, 9);
/// Short enough to wait for.
const GRACE: Duration = Duration::from_secs(2);

fn with_short_grace() -> Daemon {
    Daemon::with("limits.login_grace = \"2s\"")
}

/// Waits until the other side ends every connection; how long that took.
fn time_to_end(streams: Vec<TcpStream>) -> Duration {
    let begin = Instant::now();
    for mut stream in streams {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = [0; 1024];
        while stream.read(&mut heard).is_ok_and(|count| count > 0) {
            assert!(begin.elapsed() < PATIENCE, "the connections do not end");
        }
    }
    begin.elapsed()
}

#[test]
fn half_open_connections_of_one_address_are_few_and_end_with_the_grace() {
    let daemon = with_short_grace();
    for door in [daemon.sftp, daemon.ftp] {
        beside_a_good_client(&daemon, LITTLE_MEMORY, || {
            // Those beyond the cap may be refused at once.
            let flood = sized(300, 5_000);
            let streams: Vec<_> =
                (0..flood).filter_map(|_| connect_from(ATTACKER, door).ok()).collect();
            let took = time_to_end(streams);
            assert!(took < GRACE * 3, "{took:?}");
        });
    }
}

/// Each connection that is ended to make room is replaced, at a rate that leaves a login some time.
#[test]
fn half_open_connections_of_many_addresses_do_not_keep_the_good_client_out() {
    let daemon = with_short_grace();
    beside_a_patient_client(&daemon, 2 * LITTLE_MEMORY, || {
        let begin = Instant::now();
        let held = sized(700, 5_000) / 4;
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| hold(daemon.sftp, held, || begin.elapsed() < GRACE * 2));
            }
        });
    });
}

/// Keeps so many connections open that say nothing.
fn hold(door: SocketAddr, count: usize, go_on: impl Fn() -> bool) {
    /// Connections that one attacker opens before he takes a breath.
    const AT_ONCE: usize = 10;
    let mut held: Vec<TcpStream> = Vec::new();
    while go_on() {
        held.retain(|stream| is_open(stream));
        let missing = count.saturating_sub(held.len()).min(AT_ONCE);
        held.extend((0..missing).map(|_| connect(door)));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether the server has not ended the connection yet; what it said is thrown away.
fn is_open(mut stream: &TcpStream) -> bool {
    let mut heard = [0; 64];
    stream.set_nonblocking(true).unwrap();
    loop {
        match stream.read(&mut heard) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

/// A trickle is no word: who has not logged in within the grace is cut, whatever he sends.
#[test]
fn slow_writers_are_cut_with_the_grace() {
    let daemon = with_short_grace();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let drip = |mut stream: TcpStream, bytes: &'static [u8]| {
            let begin = Instant::now();
            for byte in bytes.iter().cycle() {
                let gone = stream.write_all(&[*byte]).is_err();
                if gone || begin.elapsed() > PATIENCE {
                    break;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            assert!(begin.elapsed() < GRACE * 3, "{bytes:?} went on for {:?}", begin.elapsed());
        };
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| drip(connect(daemon.sftp), b"SSH-2.0-slow"));
                scope.spawn(|| drip(Ssh::exchange(daemon.sftp).stream, b"\0\0\0\x0c\x0a\x02"));
                scope.spawn(|| drip(connect(daemon.ftp), b"USER e"));
                scope.spawn(|| drip(connect(daemon.ftp), b"NOOP\r\n"));
            }
        });
    });
}

/// The dear half of a key exchange is the server's (CVE-2002-20001): the client makes nothing up.
#[test]
fn floods_of_key_exchanges_leave_time_for_the_good_client() {
    let daemon = Daemon::start();
    let length = Duration::from_secs(sized(4, 60));
    beside_a_good_client(&daemon, 128 * MIB, || {
        let begin = Instant::now();
        let exchanges: usize = std::thread::scope(|scope| {
            let attackers: Vec<_> = (1..=4)
                .map(|number| {
                    let (sftp, from) = (daemon.sftp, Ipv4Addr::new(127, 9, 9, number));
                    scope.spawn(move || {
                        let mut exchanges = 0;
                        while begin.elapsed() < length {
                            exchanges += usize::from(exchange_at_no_cost(from, sftp).is_some());
                        }
                        exchanges
                    })
                })
                .collect();
            attackers.into_iter().map(|attacker| attacker.join().unwrap()).sum()
        });
        println!("{exchanges} key exchanges in {length:?}");
        assert!(exchanges > 0);
    });
}

/// Has the server compute in the largest group it offers.
fn exchange_at_no_cost(from: Ipv4Addr, to: SocketAddr) -> Option<()> {
    let mut ssh = Ssh::over(connect_from(from, to).ok()?).ok()?;
    ssh.send(&Ssh::kexinit("diffie-hellman-group18-sha512,diffie-hellman-group16-sha512")).ok()?;
    let theirs = ssh.await_kind(ssh::KEXINIT).ok()?;
    let eighteen = theirs.windows(27).any(|name| name == b"diffie-hellman-group18-sha5");
    let mut init = vec![30];
    string(&mut init, &vec![0x55; if eighteen { 1000 } else { 500 }]);
    ssh.send(&init).ok()?;
    ssh.await_kind(31).ok().map(|_| ())
}

/// Keys are exchanged again and again on one connection.
#[test]
fn a_client_that_exchanges_keys_without_end_costs_little() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ssh = Ssh::login(daemon.sftp, "erp");
        for _ in 0..sized(300, 10_000) {
            // To be cut at some point is fine, too.
            if ssh.exchange_keys().is_err() {
                break;
            }
        }
        // Half an exchange, and everything else meanwhile.
        let mut ssh = Ssh::login(daemon.sftp, "erp");
        ssh.send(&Ssh::kexinit("curve25519-sha256")).unwrap();
        let flood = ssh::channel_open(b"session", 1, 1 << 20);
        for _ in 0..sized(20_000, 1_000_000) {
            if ssh.send(&flood).is_err() {
                break;
            }
        }
    });
}

/// What waits for one client that does not read: a few answers, in the session and on their way.
const PER_READER: u64 = 8 * MIB;

/// A download that nobody takes: what waits for the client is bounded, and ends with the idle time.
#[test]
fn slow_readers_cost_little() {
    let daemon = Daemon::start();
    std::fs::write(daemon.path("acme", "media/big.bin"), vec![7; 32 << 20]).unwrap();
    let readers = sized(20, 60);
    beside_a_good_client(&daemon, readers * PER_READER, || {
        let readers: Vec<_> = (0..readers)
            .map(|_| {
                let mut sftp = Sftp::on(Ssh::login(daemon.sftp, "erp"), u32::MAX).unwrap();
                let handle = sftp.open(b"/media/big.bin", sftp::READ).unwrap();
                for part in 0..128 {
                    let body = sftp::read_body(&handle, part * (255 << 10), 255 << 10);
                    sftp.request(5, &body).unwrap();
                }
                sftp
            })
            .collect();
        // Each takes a few answers, slowly, and they are right.
        for mut reader in readers {
            let answer = reader.answer().unwrap();
            assert!(answer[0] == sftp::DATA && answer[9..].iter().all(|byte| *byte == 7));
        }
    });
}

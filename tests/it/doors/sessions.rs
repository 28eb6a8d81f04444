//! Who may be inside, who is, and how they are asked to leave.

use std::net::SocketAddr;
use std::time::Duration;

use dropchute::transfer::{Account, Limits, SessionFilter, Tenant, TlsMode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::house::{ALL, House, PASSWORD, PATIENCE, account, tenant};

/// A session of FTP in clear, as simple as a client can be.
pub(super) struct Ftp(BufReader<TcpStream>);

impl Ftp {
    /// Connects and sends something first; `None` where no greeting comes.
    pub(super) async fn connect(address: SocketAddr, first: &[u8]) -> Option<Ftp> {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(first).await.unwrap();
        let mut ftp = Ftp(BufReader::new(stream));
        ftp.answer().await.map(|_| ftp)
    }

    /// The last line of the next answer; `None` at the end of the connection.
    async fn answer(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            let read = timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("no answer");
            match read {
                Ok(0) | Err(_) => return None,
                Ok(_) if line.as_bytes().get(3) == Some(&b' ') => return Some(line),
                Ok(_) => {}
            }
        }
    }

    pub(super) async fn say(&mut self, command: &str) -> String {
        // A connection that has ended takes the command, or does not; the answer tells.
        let _ = self.0.write_all(format!("{command}\r\n").as_bytes()).await.is_ok();
        self.answer().await.unwrap_or_default()
    }

    /// The answer to a login.
    pub(super) async fn login(&mut self, name: &str) -> String {
        self.say(&format!("USER {name}")).await;
        self.say(&format!("PASS {PASSWORD}")).await
    }

    /// A data connection, on which a command has begun.
    pub(super) async fn data(&mut self, command: &str) -> TcpStream {
        let passive = self.say("EPSV").await;
        let port = passive.split('|').nth(3).unwrap_or_else(|| panic!("{passive}"));
        let stream = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).await.unwrap();
        let begun = self.say(command).await;
        assert!(begun.starts_with("150 "), "{begun}");
        stream
    }

    /// The answer to an upload.
    pub(super) async fn put(&mut self, path: &str, bytes: &[u8]) -> String {
        let mut data = self.data(&format!("STOR {path}")).await;
        data.write_all(bytes).await.unwrap();
        data.shutdown().await.unwrap();
        self.answer().await.unwrap_or_default()
    }

    /// What is still said until the connection ends.
    async fn last_words(&mut self) -> String {
        let mut words = Vec::new();
        // A reset is an end as well.
        let read = timeout(PATIENCE, self.0.read_to_end(&mut words)).await.expect("no end");
        let _ = read.is_ok();
        String::from_utf8(words).unwrap()
    }
}

async fn logged_in(house: &House, name: &str) -> Ftp {
    let mut ftp = Ftp::connect(house.ftp, b"").await.unwrap();
    let answer = ftp.login(name).await;
    assert!(answer.starts_with("230 "), "{answer}");
    ftp
}

fn of_account(name: &str) -> SessionFilter {
    SessionFilter { account: Some(name.to_owned()), ..SessionFilter::default() }
}

async fn wait_for(house: &House, sessions: usize) {
    let all = SessionFilter::default();
    let waiting = async {
        while house.control.sessions(&all).len() != sessions {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(PATIENCE, waiting).await;
    assert!(waited.is_ok(), "{:#?}", house.control.sessions(&all));
}

fn refused(house: &House, limit: &str) -> u64 {
    let counters = house.counters.snapshot();
    counters.refused().find(|(name, _)| *name == limit).unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_listed_and_only_those_meant_are_killed() {
    let house = House::with(TlsMode::Optional, Limits::default());
    let mut ftp = logged_in(&house, "old").await;
    let silent = TcpStream::connect(house.sftp).await.unwrap();
    wait_for(&house, 2).await;
    let lines = house.control.sessions(&SessionFilter::default());
    let (first, second) = (&lines[0], &lines[1]);
    assert_eq!((first.protocol, first.account.as_deref()), ("ftp", Some("old")));
    assert_eq!(first.tenant.as_ref().unwrap().as_str(), "acme");
    assert_eq!((second.protocol, second.account.as_deref()), ("sftp", None));
    assert_eq!(second.peer, silent.local_addr().unwrap());

    assert_eq!(house.control.kill(&of_account("erp")), 0);
    let by_id = SessionFilter { id: Some(first.id.clone()), ..SessionFilter::default() };
    assert_eq!(house.control.kill(&by_id), 1);
    ftp.last_words().await;
    wait_for(&house, 1).await;
    assert_eq!(house.control.sessions(&SessionFilter::default())[0].id, second.id);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_and_a_tenant_have_no_more_sessions_than_they_may() {
    let house = House::with(TlsMode::Optional, Limits::default());
    let one = Account { sessions_max: Some(1), ..account("one", ALL) };
    let accounts = vec![one, account("two", ALL)];
    let limited = Tenant { sessions_max: Some(2), ..tenant() };
    house.accounts.replace(accounts, vec![limited]);
    let mut first = logged_in(&house, "one").await;
    let mut again = Ftp::connect(house.ftp, b"").await.unwrap();
    assert!(!again.login("one").await.starts_with("230 "));
    let mut second = logged_in(&house, "two").await;
    let mut third = Ftp::connect(house.ftp, b"").await.unwrap();
    assert!(!third.login("two").await.starts_with("230 "));
    for open in [&mut first, &mut second] {
        assert!(open.say("NOOP").await.starts_with("200 "));
    }
    drop((again, third, first));
    wait_for(&house, 1).await;
    logged_in(&house, "one").await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_ends_the_sessions_of_removed_accounts_and_no_others() {
    let house = House::with(TlsMode::Optional, Limits::default());
    house.accounts.replace(vec![account("stays", ALL), account("goes", ALL)], vec![tenant()]);
    let (mut stays, mut goes) = (logged_in(&house, "stays").await, logged_in(&house, "goes").await);
    house.accounts.replace(vec![account("stays", ALL)], vec![tenant()]);
    let mut settings = house.settings.clone();
    settings.limits.connections_per_address = 1;
    house.control.lay(&settings);
    goes.last_words().await;
    assert!(stays.say("NOOP").await.starts_with("200 "));
    wait_for(&house, 1).await;
    // The new limit holds for those who come now.
    assert!(Ftp::connect(house.ftp, b"").await.is_none());
    assert_eq!(refused(&house, "connections_per_address"), 1);
    assert!(stays.say("NOOP").await.starts_with("200 "));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_never_log_in_keep_nobody_out() {
    let limits = Limits {
        logins_pending_max: 4,
        connections_max: 40,
        connections_per_address: 40,
        ..Limits::default()
    };
    let house = House::with(TlsMode::Optional, limits);
    let mut before = logged_in(&house, "old").await;
    let mut silent = Vec::new();
    for _ in 0..30 {
        silent.push(TcpStream::connect(house.sftp).await.unwrap());
    }
    let crowded = async {
        while refused(&house, "logins_pending_max") < 26 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, crowded).await.expect("all but four make room");
    wait_for(&house, 5).await;
    // The oldest had to go.
    let mut oldest = Vec::new();
    timeout(PATIENCE, silent[0].read_to_end(&mut oldest)).await.expect("it ends").ok();
    let mut after = logged_in(&house, "old").await;
    for open in [&mut before, &mut after] {
        assert!(open.say("NOOP").await.starts_with("200 "));
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::disallowed_methods, reason = "what is tested is the time it takes")]
async fn a_session_is_no_faster_than_its_bandwidth() {
    let limits = Limits { session_bandwidth: Some(400_000), ..Limits::default() };
    let house = House::with(TlsMode::Optional, limits);
    let mut ftp = logged_in(&house, "old").await;
    let start = std::time::Instant::now();
    let answer = ftp.put("/media/a.bin", &[7; 400_000]).await;
    assert!(answer.starts_with("226 "), "{answer}");
    // A tenth of a second's worth goes at once.
    assert!(start.elapsed() >= Duration::from_millis(850), "{:?}", start.elapsed());
    let start = std::time::Instant::now();
    let mut got = Vec::new();
    ftp.data("RETR /media/a.bin").await.read_to_end(&mut got).await.unwrap();
    assert_eq!(got.len(), 400_000);
    assert!(start.elapsed() >= Duration::from_millis(850), "{:?}", start.elapsed());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_in_the_middle_of_an_upload_hears_why() {
    let house = House::with(TlsMode::Optional, Limits::default());
    let mut ftp = logged_in(&house, "old").await;
    let mut data = ftp.data("STOR /inbox/a.csv").await;
    data.write_all(b"half").await.unwrap();
    let doing = async {
        while !house.control.sessions(&of_account("old"))[0]
            .doing
            .iter()
            .any(|d| d.contains("4 bytes"))
        {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, doing).await.expect("the upload is listed");
    assert_eq!(house.control.kill(&of_account("old")), 1);
    let words = ftp.last_words().await;
    assert!(words.contains("the operator ended this session"), "{words}");
    wait_for(&house, 0).await;
    assert!(!house.path("inbox/a.csv").exists());
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_what_runs_and_then_cuts_it_with_a_clear_answer() {
    let limits = Limits { drain_grace: Duration::from_millis(500), ..Limits::default() };
    let house = House::with(TlsMode::Optional, limits);
    let (mut ends, mut hangs) = (logged_in(&house, "old").await, logged_in(&house, "old").await);
    let mut ending = ends.data("STOR /media/ends.bin").await;
    let mut hanging = hangs.data("STOR /media/hangs.bin").await;
    hanging.write_all(b"half").await.unwrap();
    house.token.cancel();
    ending.write_all(b"whole").await.unwrap();
    ending.shutdown().await.unwrap();
    let answer = ends.answer().await.unwrap();
    assert!(answer.starts_with("226 "), "{answer}");
    let words = hangs.last_words().await.to_lowercase();
    assert!(words.contains("stopping"), "{words}");
    let folder = house.close().await;
    let media = folder.path().join("tenants/acme/media");
    assert_eq!(std::fs::read(media.join("ends.bin")).unwrap(), b"whole");
    assert!(!media.join("hangs.bin").exists());
}

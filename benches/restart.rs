//! The daemon with a million rows to send: memory while the provider is down, and, after each kill, how soon
//! it listens again, sends again, and how soon another tenant's few rows are out.
//!
//! `cargo bench --bench restart`
//!   DROPCHUTE_BENCH_ROWS=N    rows of the large file, a million unless said
//!   DROPCHUTE_BENCH_DOWN=S    seconds for which the provider is down, 60 unless said
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, dead_code, reason = "the benches share a module")]

#[path = "support/house.rs"]
mod house;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const KILLS: usize = 5;
/// Longer than anything takes here.
const WAIT_MAX: Duration = Duration::from_secs(1800);

fn main() {
    house::print_machine();
    let number = |name: &str, otherwise: u64| {
        std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    };
    let rows = number("DROPCHUTE_BENCH_ROWS", 1_000_000);
    let folder = house::scratch();
    let config = folder.path().join("dropchute.toml");
    // The port is the sink's later; until then nobody answers on it.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(&config, configuration(free.port())).unwrap();

    let daemon = Daemon::start(&config);
    daemon.wait_for("spec", || folder.path().join("data/tenants/large/inbox").exists());
    drop_file(folder.path(), "large", "messages_large.csv", rows);
    daemon.wait_until_said("file judged");
    while_down(&daemon, rows, number("DROPCHUTE_BENCH_DOWN", 60));
    daemon.kill();

    let sink = Sink::on(free);
    for kill in 1..=KILLS {
        let before = sink.requests.load(Ordering::Relaxed);
        drop_file(folder.path(), "small", &format!("messages_small{kill}.csv"), 10);
        sink.arm();
        let daemon = Daemon::start(&config);
        let first = sink.wait_for_first();
        let small = sink.wait_for_small();
        daemon.wait_for("a second of dispatch", || {
            sink.requests.load(Ordering::Relaxed) > before + rows / 20
        });
        let pid = daemon.child.id().to_string();
        println!(
            "after kill {kill}: listening after {:.0} ms, first message after {:.0} ms, another tenant's ten rows after \
             {:.0} ms; peak RSS {:.1} MB; {} messages so far",
            milliseconds(daemon.listening - daemon.began),
            milliseconds(first - daemon.began),
            milliseconds(small - daemon.began),
            house::memory_mb(&pid, "VmHWM"),
            sink.requests.load(Ordering::Relaxed),
        );
        daemon.kill();
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// What rows that nobody takes cost in memory.
fn while_down(daemon: &Daemon, rows: u64, seconds: u64) {
    let pid = daemon.child.id().to_string();
    // What reading the file took is no part of it.
    std::thread::sleep(Duration::from_secs(5));
    let rss = || house::memory_mb(&pid, "VmRSS");
    let (before, cpu) = (rss(), house::cpu_seconds(&pid));
    let mut most = before;
    for _ in 0..seconds {
        std::thread::sleep(Duration::from_secs(1));
        most = most.max(rss());
    }
    println!(
        "provider down for {seconds} s with {rows} rows queued: RSS {before:.1} MB at first, {most:.1} MB at most, \
         {:.1} MB in the end; {:.1} % of a processor",
        rss(),
        (house::cpu_seconds(&pid) - cpu) / seconds as f64 * 100.0,
    );
}

fn drop_file(folder: &Path, tenant: &str, name: &str, rows: u64) {
    let inbox = folder.join(format!("data/tenants/{tenant}/inbox"));
    let part = inbox.join(format!(".{name}.part"));
    let mut file = std::io::BufWriter::new(std::fs::File::create(&part).unwrap());
    writeln!(file, "row_id,channel,phone,text").unwrap();
    for row in 0..rows {
        writeln!(file, "{name}-{row},sms,+49151{:08},{tenant} row {row}", row % 100_000_000)
            .unwrap();
    }
    file.into_inner().unwrap().sync_all().unwrap();
    std::fs::rename(part, inbox.join(name)).unwrap();
}

/// The built daemon and what it says.
struct Daemon {
    child: Child,
    began: Instant,
    listening: Instant,
    said: Mutex<Receiver<String>>,
}

impl Daemon {
    /// Starts it, and returns when it said of its last door that it listens.
    fn start(config: &Path) -> Daemon {
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_dropchute"))
            .arg("--config")
            .arg(config)
            .arg("serve")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let listens = |line: &String| line.contains("listening") && line.contains("admin");
        let said = lines.by_ref().find(listens);
        assert!(said.is_some(), "the daemon ended before it listened");
        let listening = Instant::now();
        let (say, said) = channel();
        // The log must be read to its end, or the daemon stands still.
        std::thread::spawn(move || lines.for_each(|line| drop(say.send(line))));
        Daemon { child, began, listening, said: Mutex::new(said) }
    }

    fn wait_until_said(&self, words: &str) {
        let said = self.said.lock().unwrap();
        while !said.recv_timeout(WAIT_MAX).unwrap().contains(words) {}
    }

    fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + WAIT_MAX;
        while !is_so() {
            assert!(Instant::now() < deadline, "waiting for {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A provider over HTTP that takes everything and remembers when.
struct Sink {
    requests: Arc<AtomicU64>,
    arrivals: Arc<Mutex<Arrivals>>,
}

/// When messages came first since the last start.
#[derive(Default)]
struct Arrivals {
    first: Option<Instant>,
    of_small: Vec<Instant>,
}

impl Sink {
    fn on(address: std::net::SocketAddr) -> Sink {
        let listener = TcpListener::bind(address).unwrap();
        let sink = Sink { requests: Arc::default(), arrivals: Arc::default() };
        let (requests, arrivals) = (Arc::clone(&sink.requests), Arc::clone(&sink.arrivals));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (requests, arrivals) = (Arc::clone(&requests), Arc::clone(&arrivals));
                std::thread::spawn(move || serve(stream, &requests, &arrivals));
            }
        });
        sink
    }

    fn arm(&self) {
        *self.arrivals.lock().unwrap() = Arrivals::default();
    }

    fn wait_for_first(&self) -> Instant {
        self.wait_for(|arrivals| arrivals.first)
    }

    fn wait_for_small(&self) -> Instant {
        self.wait_for(|arrivals| arrivals.of_small.get(9).copied())
    }

    fn wait_for(&self, ask: impl Fn(&Arrivals) -> Option<Instant>) -> Instant {
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            if let Some(at) = ask(&self.arrivals.lock().unwrap()) {
                return at;
            }
            assert!(Instant::now() < deadline, "no message came");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

fn serve(stream: TcpStream, requests: &AtomicU64, arrivals: &Mutex<Arrivals>) {
    stream.set_nodelay(true).unwrap();
    let mut answers = stream.try_clone().unwrap();
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let now = Instant::now();
        requests.fetch_add(1, Ordering::Relaxed);
        let mut arrivals = arrivals.lock().unwrap();
        arrivals.first.get_or_insert(now);
        if body.windows(9).any(|window| window == b"small row") {
            arrivals.of_small.push(now);
        }
        drop(arrivals);
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        if answers.write_all(answer).is_err() {
            return;
        }
    }
}

fn configuration(port: u16) -> String {
    let tenant = |name: &str| {
        format!(
            r#"
[tenant.{name}]
default_category = "transactional"
default_country = "DE"
dedupe = "none"
grace = "0s"
settle = "50ms"
quiet = "200ms"
[tenant.{name}.sender]
sms = ["ACME"]
[tenant.{name}.channel]
sms = ["api"]
"#
        )
    };
    format!(
        r#"format = 1
data_dir = "data"
disk_reserve = "0%"

[sftp]
listen = ["127.0.0.1:0"]

[ftp]
listen = ["127.0.0.1:0"]

[admin]
listen = "127.0.0.1:0"

[provider.api]
kind = "http"
url = "http://127.0.0.1:{port}/send"
body = '{{"to": {{{{ to | tojson }}}}, "text": {{{{ text | tojson }}}}}}'
concurrency = 32
{}{}"#,
        tenant("large"),
        tenant("small"),
    )
}

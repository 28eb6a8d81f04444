//! Many small files of many tenants: how soon each is answered, and how many a second can be.
//!
//! `cargo bench --bench small_files` offers 100 files a second over 50 tenants for 20 s, then as many as
//! it takes. The whole program runs, with its watcher; each file of ten rows gets its name by a rename.
//! When a file came and when its ACK stood there is read from the two files themselves.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, dead_code, reason = "the benches share a module")]

#[path = "support/house.rs"]
mod house;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use dropchute::app::{App, Options};
use dropchute::config;
use dropchute::world::World;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TENANTS: usize = 50;
const ROWS: usize = 10;
const OFFERED: usize = 2000;
const OFFERED_EVERY: Duration = Duration::from_millis(10);
const FLAT_OUT: usize = 3000;
const GRACE: Duration = Duration::from_secs(2);
/// A file is answered this soon after its grace, 99 times of 100.
const P99_GOAL_MS: f64 = 500.0;
/// Files a second that come all at once.
const FLAT_OUT_GOAL: f64 = 300.0;
/// For all files to be answered.
const PATIENCE: Duration = Duration::from_secs(120);

fn configuration(grace: Duration) -> String {
    let mut text = format!(
        r#"format = 1
data_dir = "data"
disk_reserve = "0%"
sftp.listen = []
ftp.listen = []
admin.listen = "off"

[provider.dry]
kind = "simulator"

[defaults]
default_country = "DE"
default_category = "transactional"
grace = "{}ms"
channel.email = ["dry"]
sender.email = ["Acme <news@acme.example>"]
"#,
        grace.as_millis()
    );
    for tenant in 0..TENANTS {
        writeln!(text, "[tenant.t{tenant}]").unwrap();
    }
    text
}

struct Inboxes(PathBuf);

impl Inboxes {
    fn tenant(&self, file: usize) -> PathBuf {
        self.0.join(format!("data/tenants/t{}", file % TENANTS))
    }

    fn name(file: usize) -> String {
        format!("messages_{file}.csv")
    }

    fn put(&self, file: usize) {
        let mut text = "row_id,email,text\n".to_owned();
        for row in 0..ROWS {
            writeln!(text, "{file}-{row},{file}.{row}@example.com,Hello").unwrap();
        }
        let (inbox, name) = (self.tenant(file).join("inbox"), Inboxes::name(file));
        let hidden = inbox.join(format!(".{name}"));
        std::fs::write(&hidden, text).unwrap();
        std::fs::rename(hidden, inbox.join(name)).unwrap();
    }

    /// When the ACK of a file was written, once it is there.
    fn acknowledged(&self, file: usize) -> Option<SystemTime> {
        let ack = self.tenant(file).join(format!("outbox/{}.ack.csv", Inboxes::name(file)));
        std::fs::metadata(ack).ok()?.modified().ok()
    }
}

fn main() {
    house::print_machine();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    run(&runtime, GRACE, offered);
    run(&runtime, Duration::ZERO, flat_out);
}

fn run(runtime: &tokio::runtime::Runtime, grace: Duration, play: fn(&Inboxes)) {
    let folder = house::scratch();
    let path = folder.path().join("dropchute.toml");
    std::fs::write(&path, configuration(grace)).unwrap();
    let config = config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
    let start = App::start(config, Arc::new(World::real()), Options::default());
    let app = runtime.block_on(start).unwrap();
    play(&Inboxes(folder.path().to_owned()));
    runtime.block_on(app.stop()).unwrap();
}

/// A steady stream: how long after its last byte a file is answered.
fn offered(inboxes: &Inboxes) {
    let start = Instant::now();
    let mut put = Vec::new();
    for file in 0..OFFERED {
        std::thread::sleep((OFFERED_EVERY * file as u32).saturating_sub(start.elapsed()));
        put.push(SystemTime::now());
        inboxes.put(file);
    }
    let seconds = start.elapsed().as_secs_f64();
    let answered = wait(inboxes, OFFERED);
    let mut delays: Vec<f64> = answered
        .iter()
        .zip(&put)
        .map(|(at, put)| at.duration_since(*put).unwrap_or_default().as_secs_f64() * 1e3)
        .collect();
    delays.sort_by(f64::total_cmp);
    let at = |share: f64| {
        delays[((delays.len() - 1) as f64 * share) as usize] - GRACE.as_secs_f64() * 1e3
    };
    println!(
        "{OFFERED} files offered at {:.0}/s over {TENANTS} tenants, all answered; behind grace: \
         p50 {:.0} ms, p99 {:.0} ms ({}), at most {:.0} ms",
        OFFERED as f64 / seconds,
        at(0.5),
        at(0.99),
        goal(at(0.99) < P99_GOAL_MS, &format!("below {P99_GOAL_MS:.0} ms")),
        at(1.0),
    );
}

/// All at once: how many are answered in a second.
fn flat_out(inboxes: &Inboxes) {
    let (start, used) = (SystemTime::now(), house::cpu_seconds("self"));
    for file in 0..FLAT_OUT {
        inboxes.put(file);
    }
    let answered = wait(inboxes, FLAT_OUT);
    let cpu = house::cpu_seconds("self") - used;
    let last = answered.iter().max().unwrap().duration_since(start).unwrap().as_secs_f64();
    println!(
        "{FLAT_OUT} files at once over {TENANTS} tenants, all answered in {last:.1} s: {:.0} files/s ({}); \
         {:.2} ms CPU a file, with the sending of its rows and all answers; RSS {:.0} MB at most",
        FLAT_OUT as f64 / last,
        goal(FLAT_OUT as f64 / last >= FLAT_OUT_GOAL, &format!("at least {FLAT_OUT_GOAL:.0}")),
        cpu * 1e3 / FLAT_OUT as f64,
        house::memory_mb("self", "VmHWM"),
    );
}

fn goal(met: bool, goal: &str) -> String {
    format!("goal {goal}: {}", if met { "ok" } else { "MISSED" })
}

/// When each file was answered.
fn wait(inboxes: &Inboxes, files: usize) -> Vec<SystemTime> {
    let start = Instant::now();
    let mut answered = Vec::new();
    while answered.len() < files {
        match inboxes.acknowledged(answered.len()) {
            Some(at) => answered.push(at),
            None if start.elapsed() > PATIENCE => {
                panic!("file {} of {files} is not answered", answered.len());
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    answered
}

//! Many sessions: logins, syncs, memory, crowds. The client is a small one of our own.

use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use super::Bench;
use super::process::Sync;
use super::servers::{Ground, Server};
use super::session::{Account, Session, crowd};
use super::table::{self, Goal, Run, Runs, median};

const LOGINS: usize = 100;
const SYNC_SESSIONS: usize = 16;
const SYNC_FILES: usize = 16;
const MEMORY_SESSIONS: usize = 200;
const TRANSFERRING: usize = 200;
const GOOD_CLIENT_TIME: Duration = Duration::from_secs(20);
const MIB: usize = 1 << 20;

/// Connecting and logging in with a key, one after the other.
pub fn logins(bench: &Bench, ground: &Ground) {
    let runtime = Runtime::new().unwrap();
    let mut servers = vec![ground.dropchute()];
    servers.extend(ground.before());
    servers.extend(ground.openssh());
    let mut runs = Runs::default();
    for _ in 0..bench.reps {
        for server in &servers {
            let account = Account::of(server, &ground.key);
            let before = server.process.cpu();
            let seconds = runtime.block_on(async {
                let mut times = Vec::new();
                for _ in 0..LOGINS {
                    let start = Instant::now();
                    let ssh = account.log_in().await;
                    times.push(start.elapsed().as_secs_f64());
                    ssh.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap();
                }
                median(times.into_iter()) * LOGINS as f64
            });
            server.process.settle();
            runs.add(server.name, Run { seconds, cpu: server.process.cpu() - before });
        }
    }
    let goal = |_: &str| Goal::Least(4.0, 8.0);
    runs.print("connect + log in with a key", LOGINS as f64, "logins", &goal, Goal::None);
}

/// Uploads of 16 sessions on a real disk, beside the same daemon on the same disk whose syncs are
/// skipped by the kernel.
pub fn syncs(bench: &Bench, folder: &str) {
    let disk = std::env::var("DISK").map_or_else(|_| std::env::temp_dir(), Into::into);
    let ground = Ground::lay(&disk);
    let runtime = Runtime::new().unwrap();
    let program = env!("CARGO_BIN_EXE_dropchute");
    let mut servers = [
        ground.dropchute_as("synced", program, Sync::Real),
        ground.dropchute_as("unsynced", program, Sync::Skipped),
    ];
    for server in &mut servers {
        server.sftp_folder = format!("/{folder}");
    }
    let mut ratios = Vec::new();
    let mut times = [Vec::new(), Vec::new()];
    for repetition in 0..bench.reps {
        for (server, times) in servers.iter().zip(&mut times) {
            let account = Account::of(server, &ground.key);
            times.push(runtime.block_on(upload_together(&account, repetition)));
            server.process.settle();
        }
        ratios.push(times[0][repetition] / times[1][repetition]);
    }
    let [with, without] = times.map(|times| median(times.into_iter()));
    table::beside(
        &format!("{SYNC_SESSIONS} x {SYNC_FILES} x 1 MiB on disk, /{folder}"),
        &format!("{with:.2} s"),
        &format!("without sync {without:.2} s"),
        median(ratios.into_iter()),
        Goal::Most(2.0, 1.3),
    );
}

async fn upload_together(account: &Account, repetition: usize) -> f64 {
    let sessions = crowd(account, SYNC_SESSIONS).await;
    let bytes = vec![b'x'; MIB];
    let start = Instant::now();
    let mut uploading = JoinSet::new();
    for (number, mut session) in sessions.into_iter().enumerate() {
        let bytes = bytes.clone();
        uploading.spawn(async move {
            for file in 0..SYNC_FILES {
                let name = format!("messages_{repetition}_{number}_{file}.csv");
                session.put(&name, &bytes, 1).await;
            }
        });
    }
    uploading.join_all().await;
    start.elapsed().as_secs_f64()
}

/// Memory of sessions that do nothing, that have an upload under way and rest in it, and that all
/// write as fast as they can.
pub fn memory(ground: &Ground) {
    let runtime = Runtime::new().unwrap();
    let mut servers = vec![ground.dropchute()];
    servers.extend(ground.openssh());
    let mut figures = Vec::new();
    for server in &servers {
        figures.push(runtime.block_on(memory_of(server, ground)));
    }
    let goals = [Goal::Most(100.0, 50.0), Goal::Most(400.0, 150.0), Goal::Most(400.0, 150.0)];
    let words = ["idle", "active, 1 MiB into an upload", "active, all writing at once"];
    for ((at, word), goal) in words.iter().enumerate().zip(goals) {
        table::alone(&format!("memory a session, {word}"), figures[0][at], "KiB", goal);
        if let Some(peer) = figures.get(1) {
            table::alone("    openssh", peer[at], "KiB", Goal::None);
        }
    }
}

async fn memory_of(server: &Server, ground: &Ground) -> [f64; 3] {
    let account = Account::of(server, &ground.key);
    // What the first session of all takes is not of each.
    account.session().await.end().await;
    server.process.settle();
    let empty = server.process.memory_kib();
    let per_session = |now: f64| (now - empty) / MEMORY_SESSIONS as f64;
    let sessions = crowd(&account, MEMORY_SESSIONS).await;
    server.process.settle();
    let idle = per_session(server.process.memory_kib());
    let bytes = vec![b'x'; MIB];
    let mut active = Vec::new();
    for (number, mut session) in sessions.into_iter().enumerate() {
        let handle = session.create(&format!("active_{number}")).await;
        session.write(&handle, &bytes, 1).await;
        active.push((session, handle));
    }
    server.process.settle();
    let resting = per_session(server.process.memory_kib());
    let mut writing = JoinSet::new();
    for (mut session, handle) in active {
        let bytes = bytes.clone();
        writing.spawn(async move {
            session.write(&handle, &bytes, 20).await;
            session.close(&handle).await;
            session
        });
    }
    let mut samples = Vec::new();
    while samples.len() < 8 {
        tokio::time::sleep(Duration::from_millis(250)).await;
        samples.push(per_session(server.process.memory_kib()));
    }
    writing.join_all().await;
    [idle, resting, median(samples.into_iter())]
}

/// Idle sessions and transferring ones, and how a good client fares beside them.
pub fn beside_a_crowd(ground: &Ground, idle: usize) {
    let idle = idle.min(sessions_possible().saturating_sub(TRANSFERRING));
    let server = ground.dropchute();
    let account = Account::of(&server, &ground.key);
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let start = Instant::now();
        let sessions = crowd(&account, idle).await;
        let opened = start.elapsed().as_secs_f64();
        let transferring = transfer_on_and_on(crowd(&account, TRANSFERRING).await);
        // On a thread of its own: the crowd's own work must not stand in its way.
        let good = tokio::task::spawn_blocking({
            let account = account.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(good_client(&account))
            }
        });
        let mut times = good.await.unwrap();
        let memory = server.process.memory_kib() / 1024.0;
        transferring.abort_all_and_wait().await;
        times.sort_by(f64::total_cmp);
        let of = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let case = format!("{idle} idle + {TRANSFERRING} transferring: p99");
        table::alone(&case, of(0.99) * 1e3, "ms", Goal::Most(2000.0, 2000.0));
        println!(
            "    {} operations: median {:.0} ms, longest {:.0} ms; {:.0} sessions/s at the opening; \
             server {memory:.0} MiB",
            times.len(),
            of(0.5) * 1e3,
            of(1.0) * 1e3,
            idle as f64 / opened,
        );
        // The idle ones were served all the time.
        for mut session in sessions {
            session.stat("").await;
        }
    });
}

/// A server takes two descriptors for a session, and a client one.
fn sessions_possible() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.map_or(usize::MAX, |limit| (limit as usize).saturating_sub(600) / 2)
}

struct Transferring(JoinSet<()>);

impl Transferring {
    async fn abort_all_and_wait(mut self) {
        self.0.shutdown().await;
    }
}

fn transfer_on_and_on(sessions: Vec<Session>) -> Transferring {
    let mut running = JoinSet::new();
    for (number, mut session) in sessions.into_iter().enumerate() {
        running.spawn(async move {
            let bytes = vec![b'x'; MIB];
            loop {
                session.put(&format!("crowd_{number}"), &bytes, 4).await;
            }
        });
    }
    Transferring(running)
}

/// The seconds of each operation: log in, upload, look, download, in a loop.
async fn good_client(account: &Account) -> Vec<f64> {
    let until = Instant::now() + GOOD_CLIENT_TIME;
    let bytes = vec![b'g'; 4096];
    let mut times = Vec::new();
    let mut at = Instant::now();
    let mut lap = || {
        times.push(at.elapsed().as_secs_f64());
        at = Instant::now();
    };
    while Instant::now() < until {
        let mut session = account.session().await;
        lap();
        for number in 0..5 {
            let name = format!("good_{number}");
            session.put(&name, &bytes, 1).await;
            lap();
            session.stat(&name).await;
            lap();
            assert!(session.get(&name).await.ends_with(&bytes));
            lap();
        }
        session.end().await;
    }
    times
}

//! Dispatch of a million messages: messages a second and CPU of a message, beside a bare loop over the same
//! client code; how long commits take, memory, and whether ten times the rows cost ten times as much.
//!
//! `cargo bench --bench dispatch` runs everything; `cargo bench --bench dispatch -- smtp` what begins so:
//! `simulator`, `smtp`, `http`, `tenfold`, `postfix`, `kannel`. `MESSAGES=N` takes another number, `ROUNDS=N`
//! repeats each loop so often, in turn, and the best counts.
//!
//! Sinks are processes of their own: Postfix's `smtp-sink` where it is installed or `SMTP_SINK` names it, else
//! one of our own. The bare loop calls `Channel::ready` and `send` from as many tasks as the channel takes at
//! once. The station does the same for the rows of an accepted file, with everything durable around it. The
//! simulator answers without any input or output: what it costs is the bookkeeping alone.
//!
//! `postfix` and `kannel` compare the whole way, from a file in the inbox until the sink has every message,
//! with a relay of that name that was handed the same number of messages, where it is installed.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, dead_code, reason = "the benches share a module")]

#[path = "support/house.rs"]
mod house;
#[path = "support/relays.rs"]
mod relays;
#[path = "support/sinks.rs"]
mod sinks;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use dropchute::channel::Channel;
use dropchute::dispatch::{Dispatch, Routes, Settings};
use dropchute::model::{Category, ChannelKind, Outcome, OutgoingMessage};
use dropchute::worker::{Progress, Worker};
use house::{House, Recipients};
use sinks::Sink;
use tokio::sync::Notify;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections of the mail server, and requests under way at the HTTP provider.
const SMTP_CONNECTIONS: usize = 8;
const HTTP_REQUESTS: usize = 64;
/// Messages that a relay is handed.
const RELAYED: u64 = 10_000;
const CASES: [&str; 6] = ["simulator", "smtp", "http", "tenfold", "postfix", "kannel"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind] = &arguments[..]
        && flag == "--sink"
    {
        return sinks::serve(kind);
    }
    let wanted = arguments.iter().find(|a| !a.starts_with("--")).map_or("", String::as_str);
    let (messages, rounds) = (number("MESSAGES", 1_000_000), number("ROUNDS", 2));
    house::print_machine();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for name in CASES.into_iter().filter(|name| name.starts_with(wanted)) {
        match name {
            "tenfold" => runtime.block_on(tenfold(messages, rounds)),
            "postfix" | "kannel" => runtime.block_on(beside_relay(name)),
            _ => runtime.block_on(compare(name, messages, rounds)),
        }
    }
}

/// A number from the environment.
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

async fn compare(name: &str, messages: u64, rounds: u64) {
    let (sink, providers, tasks) = match name {
        "smtp" => {
            let sink = Sink::smtp();
            let providers = smtp_provider(sink.port);
            (Some(sink), providers, SMTP_CONNECTIONS * 2)
        }
        "http" => {
            let sink = Sink::http();
            let providers = http_provider(sink.port);
            (Some(sink), providers, HTTP_REQUESTS)
        }
        _ => (None, house::SIMULATOR.to_owned(), 8),
    };
    let to = sink.as_ref().map_or("nobody", |sink| &sink.name);
    let (mut best_bare, mut best_station) = (Run::SLOWEST, Run::SLOWEST);
    for _ in 0..rounds {
        best_bare = best_bare.min(bare(&House::new(&providers), messages, tasks).await);
        best_station = best_station.min(station(&House::new(&providers), messages).await);
    }
    println!(
        "{name} (to {to}, {messages} messages): bare loop {best_bare}; dispatch {best_station}; ratio {:.2}, \
         {:.1} us CPU beside the channel's own",
        best_bare.seconds / best_station.seconds,
        best_station.cpu_us() - best_bare.cpu_us(),
    );
}

/// Ten times the rows: bookkeeping alone.
async fn tenfold(messages: u64, rounds: u64) {
    let (mut one, mut ten) = (Run::SLOWEST, Run::SLOWEST);
    for _ in 0..rounds {
        one = one.min(station(&House::with_simulator(), messages).await);
        ten = ten.min(station(&House::with_simulator(), 10 * messages).await);
    }
    println!(
        "tenfold: {messages} rows {one}; {} rows {ten}; {:.2} times the time, {:.2} times the CPU",
        10 * messages,
        ten.seconds / one.seconds,
        ten.cpu_seconds / one.cpu_seconds,
    );
}

/// From a file in the inbox until the sink has all, and the same through a relay.
async fn beside_relay(name: &str) {
    let sink = if name == "postfix" { Sink::smtp() } else { Sink::http() };
    let relayed = match name {
        "postfix" => relays::postfix(&sink, RELAYED, SMTP_CONNECTIONS),
        _ => relays::kannel(&sink, RELAYED, HTTP_REQUESTS).await,
    };
    let providers = match name {
        "postfix" => smtp_provider(sink.port),
        _ => http_provider(sink.port),
    };
    let house = House::new(&providers);
    house::write_messages(&house.inbox("messages_1.csv"), RELAYED, Recipients::Email);
    let (taken, _) = house.take_in("messages_1.csv").await;
    let run = dispatch(&house, RELAYED).await;
    let ours = RELAYED as f64 / (taken + run.seconds);
    match relayed {
        Some(seconds) => {
            let theirs = RELAYED as f64 / seconds;
            println!(
                "whole way of {RELAYED} messages to {}: {name} {theirs:.0}/s, ours {ours:.0}/s, {:.1} times",
                sink.name,
                ours / theirs
            );
        }
        None => println!("{name} is not installed; ours alone {ours:.0}/s"),
    }
}

fn smtp_provider(port: u16) -> String {
    format!(
        r#"
[provider.mailhub]
kind = "smtp"
host = "127.0.0.1"
port = {port}
tls = "none"
connections = {SMTP_CONNECTIONS}

[tenant.acme.channel]
email = ["mailhub"]
"#
    )
}

fn http_provider(port: u16) -> String {
    format!(
        r#"
[provider.api]
kind = "http"
url = "http://127.0.0.1:{port}/messages"
body = '{{"to": {{{{ to | tojson }}}}, "text": {{{{ text | tojson }}}}, "ref": {{{{ message_id | tojson }}}}}}'
success = {{ pointer = "/status", equals = "ok" }}
id_pointer = "/id"
concurrency = {HTTP_REQUESTS}

[tenant.acme.channel]
email = ["api"]
"#
    )
}

/// What sending all messages took.
#[derive(Clone, Copy)]
struct Run {
    messages: u64,
    seconds: f64,
    cpu_seconds: f64,
    /// Where there were commits: how long 99 of 100 took at most.
    commit_p99_ms: Option<f64>,
    peak_mb: f64,
}

impl Run {
    const SLOWEST: Run =
        Run { messages: 0, seconds: f64::MAX, cpu_seconds: 0.0, commit_p99_ms: None, peak_mb: 0.0 };

    fn cpu_us(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.messages as f64
    }

    fn min(self, other: Run) -> Run {
        if other.seconds < self.seconds { other } else { self }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.messages as f64 / self.seconds;
        write!(f, "{rate:.0} messages/s, {:.1} us CPU each", self.cpu_us())?;
        if let Some(p99) = self.commit_p99_ms {
            write!(f, ", commits p99 {p99:.1} ms, peak RSS {:.0} MB", self.peak_mb)?;
        }
        Ok(())
    }
}

/// The client code alone.
async fn bare(house: &House, messages: u64, tasks: usize) -> Run {
    let provider = house.config.providers[0].clone();
    let channel = Arc::new(Channel::new(provider, Arc::clone(&house.world)).unwrap());
    let next = Arc::new(AtomicU64::new(0));
    let (start, cpu) = (Instant::now(), house::cpu_seconds("self"));
    let mut senders = Vec::new();
    for _ in 0..tasks {
        let (channel, next) = (Arc::clone(&channel), Arc::clone(&next));
        let date = house.world.clock.now();
        senders.push(tokio::spawn(async move {
            loop {
                let row = next.fetch_add(1, Ordering::Relaxed);
                if row >= messages {
                    return;
                }
                let message = message(row, date);
                let attempt = channel.ready().await.unwrap().send(&message).await;
                assert_eq!(attempt.outcome, Outcome::Accepted, "{attempt:?}");
            }
        }));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let (seconds, cpu_seconds) = (start.elapsed().as_secs_f64(), house::cpu_seconds("self") - cpu);
    Run { messages, seconds, cpu_seconds, commit_p99_ms: None, peak_mb: 0.0 }
}

/// The message that the station makes of a row.
fn message(row: u64, date: jiff::Timestamp) -> OutgoingMessage {
    OutgoingMessage {
        message_id: format!("01k0000000000-{row}-email@acme.example"),
        tenant: "acme".into(),
        batch: "01k0000000000".into(),
        row,
        channel: ChannelKind::Email,
        category: Category::Transactional,
        to: format!("{row:08}.lastname@example-company.com"),
        sender: "Acme <news@acme.example>".into(),
        reply_to: "".into(),
        subject: "Your invoice, Maximilian".to_owned(),
        text: format!(
            "Dear Maximilian Mustermann,\nInvoice number {row:08} for your recent order of goods\n\
             Kind regards\nAcme"
        ),
        html: String::new(),
        template: "invoice".into(),
        lang: "en".into(),
        campaign: "".into(),
        variables: [("first_name", "Maximilian"), ("last_name", "Mustermann"), ("text", "Invoice")]
            .map(|(name, value)| (name.into(), value.to_owned()))
            .into_iter()
            .collect(),
        date,
        attempt: 1,
    }
}

/// The station over an accepted file of so many rows.
async fn station(house: &House, messages: u64) -> Run {
    house::write_messages(&house.inbox("messages_1.csv"), messages, Recipients::Email);
    let (_, batch) = house.take_in("messages_1.csv").await;
    assert_eq!(batch.facts.rows_accepted, messages);
    dispatch(house, messages).await
}

/// The station over what was accepted.
async fn dispatch(house: &House, messages: u64) -> Run {
    let commits = Arc::new(std::sync::Mutex::new(Vec::new()));
    let store = house.store.clone().observed(Arc::clone(&house.world), {
        let commits = Arc::clone(&commits);
        move |seconds| commits.lock().unwrap().push(seconds)
    });
    house::forget_peak_memory();
    let (nudge, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut dispatch = Dispatch::new(
        Settings::new(Routes::new(house.config.for_dispatch()), "bench".to_owned()),
        house.config.providers.clone(),
        (store, house.spool.clone()),
        (Arc::clone(&house.world), Arc::clone(&house.metrics)),
        nudge,
        Arc::clone(&done),
    )
    .unwrap();
    let (start, cpu) = (Instant::now(), house::cpu_seconds("self"));
    loop {
        if dispatch.work().await.unwrap() == Progress::Idle {
            tokio::select! {
                // The station wakes the outbox when the batch is closed.
                () = done.notified() => break,
                () = dispatch.wait_for_work() => {}
            }
        }
    }
    let (seconds, cpu_seconds) = (start.elapsed().as_secs_f64(), house::cpu_seconds("self") - cpu);
    let settled = house.metrics.rows_settled.of(["sent", "no"]).get()
        + house.metrics.rows_settled.of(["submitted", "no"]).get();
    assert_eq!(settled, messages);
    let mut commits = std::mem::take(&mut *commits.lock().unwrap());
    commits.sort_unstable_by(f64::total_cmp);
    let commit_p99_ms = commits.get(commits.len() * 99 / 100).map(|seconds| seconds * 1e3);
    Run {
        messages,
        seconds,
        cpu_seconds,
        commit_p99_ms,
        peak_mb: house::memory_mb("self", "VmHWM"),
    }
}

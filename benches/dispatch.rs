//! Dispatch of 100 000 messages: messages a second and CPU of a message, beside a bare loop over the same
//! client code.
//!
//! `cargo bench --bench dispatch` runs everything; `cargo bench --bench dispatch -- smtp` what begins so.
//! `SMTP_SINK=/usr/sbin/smtp-sink` names Postfix's test server; without it a sink of our own takes the
//! messages. Sinks are processes of their own.
//!
//! The bare loop calls `Channel::ready` and `send` from as many tasks as the channel takes at once. The
//! station does the same for the rows of an accepted file, with everything durable around it. The
//! simulator answers without any input or output: what it costs is the bookkeeping alone.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, dead_code, reason = "the benches share a module")]

#[path = "support/house.rs"]
mod house;
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

const MESSAGES: u64 = 100_000;
/// Connections of the mail server, and requests under way at the HTTP provider.
const SMTP_CONNECTIONS: usize = 8;
const HTTP_REQUESTS: usize = 32;
/// Each loop is run so often, in turn; the best counts.
const ROUNDS: usize = 3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, kind] = &arguments[..]
        && flag == "--sink"
    {
        return sinks::serve(kind);
    }
    let wanted = arguments.iter().find(|a| !a.starts_with("--")).map_or("", String::as_str);
    house::print_machine();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for name in ["simulator", "smtp", "http"].into_iter().filter(|name| name.starts_with(wanted)) {
        runtime.block_on(compare(name));
    }
}

async fn compare(name: &str) {
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
    for _ in 0..ROUNDS {
        best_bare = best_bare.min(bare(&House::new(&providers), tasks).await);
        best_station = best_station.min(station(&House::new(&providers)).await);
    }
    println!(
        "{name} (to {to}): bare loop {best_bare}; dispatch {best_station}; ratio {:.2}",
        best_bare.seconds / best_station.seconds
    );
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
    seconds: f64,
    cpu_seconds: f64,
}

impl Run {
    const SLOWEST: Run = Run { seconds: f64::MAX, cpu_seconds: 0.0 };

    fn min(self, other: Run) -> Run {
        if other.seconds < self.seconds { other } else { self }
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (rate, cpu) = (MESSAGES as f64 / self.seconds, self.cpu_seconds * 1e6);
        write!(f, "{rate:.0} messages/s, {:.1} us CPU each", cpu / MESSAGES as f64)
    }
}

/// The client code alone.
async fn bare(house: &House, tasks: usize) -> Run {
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
                if row >= MESSAGES {
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
    Run { seconds: start.elapsed().as_secs_f64(), cpu_seconds: house::cpu_seconds("self") - cpu }
}

/// The message that the station makes of a row.
fn message(row: u64, date: jiff::Timestamp) -> OutgoingMessage {
    OutgoingMessage {
        message_id: format!("01k0000000000-{row}-email@acme.example"),
        tenant: "acme".to_owned(),
        batch: "01k0000000000".to_owned(),
        row,
        channel: ChannelKind::Email,
        category: Category::Transactional,
        to: format!("{row:08}.lastname@example-company.com"),
        sender: "Acme <news@acme.example>".to_owned(),
        reply_to: String::new(),
        subject: "Your invoice, Maximilian".to_owned(),
        text: format!(
            "Dear Maximilian Mustermann,\nInvoice number {row:08} for your recent order of goods\n\
             Kind regards\nAcme"
        ),
        html: String::new(),
        template: "invoice".to_owned(),
        lang: "en".to_owned(),
        campaign: String::new(),
        variables: [("first_name", "Maximilian"), ("last_name", "Mustermann"), ("text", "Invoice")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
        date,
        attempt: 1,
    }
}

/// The station over an accepted file.
async fn station(house: &House) -> Run {
    house::write_messages(&house.inbox("messages_1.csv"), MESSAGES, Recipients::Email);
    let (_, batch) = house.take_in("messages_1.csv").await;
    assert_eq!(batch.facts.rows_accepted, MESSAGES);
    let (nudge, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut dispatch = Dispatch::new(
        Settings::new(Routes::new(house.config.for_dispatch()), "bench".to_owned()),
        house.config.providers.clone(),
        (house.store.clone(), house.spool.clone()),
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
    let run = Run {
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: house::cpu_seconds("self") - cpu,
    };
    let settled = house.metrics.rows_settled.of(["sent", "no"]).get()
        + house.metrics.rows_settled.of(["submitted", "no"]).get();
    assert_eq!(settled, MESSAGES);
    run
}

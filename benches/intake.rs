//! Intake of large files: rows a second beside a bare parse of the same file, and peak memory.
//!
//! `cargo bench --bench intake` runs everything (the 10 M file needs about 6 GB in /dev/shm);
//! `cargo bench --bench intake -- email-1M` runs what begins so.
//!
//! Each case is a process of its own, so that its peak memory is its own. It puts a generated file into
//! a tenant's inbox and drives the real station over a real store, from the claim to the conclusion.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, dead_code, reason = "the benches share a module")]

#[path = "support/house.rs"]
mod house;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use house::{House, Recipients};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MILLION: u64 = 1_000_000;

const CASES: [(&str, u64, Recipients); 3] = [
    ("email-1M", MILLION, Recipients::Email),
    ("phone-1M", MILLION, Recipients::Phone),
    ("email-10M", 10 * MILLION, Recipients::Email),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, case] = &arguments[..]
        && flag == "--case"
    {
        return run(case);
    }
    let wanted = arguments.iter().find(|a| !a.starts_with("--")).map_or("", String::as_str);
    house::print_machine();
    let myself = std::env::current_exe().unwrap();
    for (name, ..) in CASES.iter().filter(|(name, ..)| name.starts_with(wanted)) {
        let mut case = Command::new(&myself);
        let status = case.args(["--case", name]).stdin(Stdio::null()).status().unwrap();
        assert!(status.success(), "{name} failed");
    }
}

fn run(name: &str) {
    let (_, rows, recipients) = *CASES.iter().find(|(case, ..)| *case == name).unwrap();
    let before = house::memory_mb("self", "VmHWM");
    let (mut bare, mut intake, mut cpu, mut bytes) = (f64::MAX, f64::MAX, f64::MAX, 0);
    // Other work on the machine disturbs short runs: the best of some counts, for both.
    for _ in 0..if rows > MILLION { 1 } else { 3 } {
        let house = House::with_simulator();
        let file = house.inbox("messages_large.csv");
        house::write_messages(&file, rows, recipients);
        bytes = std::fs::metadata(&file).unwrap().len();
        bare = bare.min(bare_parse(&file, rows));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let used = house::cpu_seconds("self");
        let (seconds, batch) = runtime.block_on(house.take_in("messages_large.csv"));
        cpu = cpu.min(house::cpu_seconds("self") - used);
        intake = intake.min(seconds);
        assert_eq!((batch.facts.rows_accepted, batch.facts.rows_rejected), (rows, 0), "{batch:?}");
    }
    let peak = house::memory_mb("self", "VmHWM");
    let thousands = |seconds: f64| rows as f64 / seconds / 1e3;
    println!(
        "{name}: {} bytes a row; bare csv {:.0} k rows/s, intake {:.0} k rows/s, ratio {:.3}; \
         {:.2} us CPU a row; peak RSS {peak:.0} MB ({before:.0} MB before)",
        bytes / rows,
        thousands(bare),
        thousands(intake),
        bare / intake,
        cpu * 1e6 / rows as f64,
    );
}

/// Seconds of the `csv` crate for every record of the file, and nothing else.
fn bare_parse(path: &Path, rows: u64) -> f64 {
    let start = Instant::now();
    let mut reader = csv::Reader::from_path(path).unwrap();
    let mut record = csv::ByteRecord::new();
    let mut found = 0;
    while reader.read_byte_record(&mut record).unwrap() {
        found += 1;
    }
    assert_eq!(found, rows);
    start.elapsed().as_secs_f64()
}

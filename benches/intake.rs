//! Intake of large files: rows a second beside a bare parse of the same rows, and peak memory.
//!
//! `cargo bench --bench intake` runs everything (the files of 10 M rows need about 8 GB in /dev/shm);
//! `cargo bench --bench intake -- email-csv-1M` runs what begins so. `DROPCHUTE_BENCH_DIR=<folder>` puts
//! the data on a disk: what counts then is the share of the raw write of the same bytes.
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

use house::{Form, House, Recipients};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MILLION: u64 = 1_000_000;

struct Case {
    recipients: Recipients,
    form: Form,
    rows: u64,
}

impl Case {
    fn all() -> Vec<Case> {
        let forms = [Form::Csv, Form::GzipCsv, Form::Latin, Form::Utf16];
        let of = |recipients| {
            forms.map(|form| {
                [1, 10].map(|millions| Case { recipients, form, rows: millions * MILLION })
            })
        };
        [of(Recipients::Email), of(Recipients::Phone)].into_iter().flatten().flatten().collect()
    }

    fn name(&self) -> String {
        let recipients = match self.recipients {
            Recipients::Email => "email",
            Recipients::Phone => "phone",
        };
        let form = match self.form {
            Form::Csv => "csv",
            Form::GzipCsv => "gzip",
            Form::Latin => "windows-1252",
            Form::Utf16 => "utf-16",
        };
        format!("{recipients}-{form}-{}M", self.rows / MILLION)
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name] = &arguments[..]
        && flag == "--case"
    {
        return run(&Case::all().into_iter().find(|case| case.name() == *name).unwrap());
    }
    let wanted = arguments.iter().find(|a| !a.starts_with("--")).map_or("", String::as_str);
    house::print_machine();
    println!("{HEAD}");
    let myself = std::env::current_exe().unwrap();
    let mut of_a_million: Option<f64> = None;
    for case in Case::all().iter().filter(|case| case.name().starts_with(wanted)) {
        let mut child = Command::new(&myself);
        child.args(["--case", &case.name()]).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = child.output().unwrap();
        assert!(output.status.success(), "{} failed", case.name());
        let line = String::from_utf8(output.stdout).unwrap();
        let cpu = line.split('|').nth(3).and_then(|cell| cell.trim().parse::<f64>().ok());
        print!("{}", line.trim_end());
        match (case.rows / MILLION, of_a_million.take(), cpu) {
            (1, _, cpu) => of_a_million = cpu,
            (millions, Some(one), Some(all)) => {
                let times = all / one * millions as f64;
                print!(" {times:.1} x CPU of 1 M, {}", verdict(times <= 1.1 * millions as f64));
            }
            _ => {}
        }
        println!();
    }
}

const HEAD: &str = "case                   | k rows/s | goal      | us CPU a row | share of bare csv | \
                    share of raw write | peak RSS MB";
/// What is asked for with the data in memory, in thousands of rows a second.
const EMAIL_GOAL: f64 = 1000.0;
const PHONE_GOAL: f64 = 500.0;
/// With the data on a disk: the share of the rate at which it takes the same bytes.
const DISK_GOAL: f64 = 0.7;
const RSS_GOAL_MB: f64 = 200.0;

fn verdict(met: bool) -> &'static str {
    if met { "ok" } else { "MISSED" }
}

/// The best of some tries: other work on the machine disturbs short runs.
struct Best {
    bare: f64,
    raw: f64,
    intake: f64,
    cpu: f64,
}

fn run(case: &Case) {
    let rows = case.rows;
    let mut best = Best { bare: f64::MAX, raw: f64::MAX, intake: f64::MAX, cpu: f64::MAX };
    for _ in 0..if rows > MILLION { 1 } else { 3 } {
        let house = House::with_simulator();
        let plain = house.folder.path().join("plain.csv");
        house::write_messages(&plain, rows, case.recipients);
        let file = house.inbox(case.form.file_name());
        case.form.write(&plain, &file);
        best.bare = best.bare.min(bare_parse(&plain, rows));
        // What is packed has to be written as text, too.
        let text = if case.form == Form::GzipCsv { &plain } else { &file };
        best.raw = best.raw.min(raw_write(text, &house.folder.path().join("raw")));
        std::fs::remove_file(plain).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let used = house::cpu_seconds("self");
        let (seconds, batch) = runtime.block_on(house.take_in(case.form.file_name()));
        best.cpu = best.cpu.min(house::cpu_seconds("self") - used);
        best.intake = best.intake.min(seconds);
        assert_eq!((batch.facts.rows_accepted, batch.facts.rows_rejected), (rows, 0), "{batch:?}");
    }
    print_line(case, &best, house::memory_mb("self", "VmHWM"));
}

fn print_line(case: &Case, best: &Best, peak: f64) {
    let thousands = case.rows as f64 / best.intake / 1e3;
    let goal = match case.recipients {
        Recipients::Email => EMAIL_GOAL,
        Recipients::Phone => PHONE_GOAL,
    };
    let on_disk = std::env::var("DROPCHUTE_BENCH_DIR").is_ok();
    let raw = best.raw / best.intake;
    let in_memory = if on_disk { "-" } else { verdict(thousands >= goal) };
    println!(
        "{:<22} | {thousands:>8.0} | {goal:>4.0} {in_memory:<4} | {:>12.2} | {:>17.3} | \
         {:>11.2} of {:.0} k rows/s {} | {peak:.0} {}",
        case.name(),
        best.cpu * 1e6 / case.rows as f64,
        best.bare / best.intake,
        raw,
        case.rows as f64 / best.raw / 1e3,
        if on_disk { verdict(raw >= DISK_GOAL) } else { "" },
        verdict(peak <= RSS_GOAL_MB),
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

/// Seconds for writing a file's bytes once more, synced.
fn raw_write(file: &Path, to: &Path) -> f64 {
    use std::io::{Read, Write};
    let mut input = std::fs::File::open(file).unwrap();
    let (mut piece, mut seconds) = (vec![0; 1 << 20], 0.0);
    let mut out = std::fs::File::create(to).unwrap();
    loop {
        let length = input.read(&mut piece).unwrap();
        let start = Instant::now();
        if length == 0 {
            out.sync_all().unwrap();
            std::fs::remove_file(to).unwrap();
            return seconds + start.elapsed().as_secs_f64();
        }
        out.write_all(&piece[..length]).unwrap();
        seconds += start.elapsed().as_secs_f64();
    }
}

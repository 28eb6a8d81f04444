//! Intake of large files: rows a second beside a bare parse of the same rows, and peak memory.
//!
//! `cargo bench --bench intake` runs everything (the files of 10 M rows need about 8 GB in /dev/shm);
//! `cargo bench --bench intake -- email-csv-1M` runs what begins so. `DROPCHUTE_BENCH_DIR` puts the data on
//! a disk: then beside the raw write of the same bytes.
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
    let myself = std::env::current_exe().unwrap();
    let mut of_a_million: Option<f64> = None;
    for case in Case::all().iter().filter(|case| case.name().starts_with(wanted)) {
        let mut child = Command::new(&myself);
        child.args(["--case", &case.name()]).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = child.output().unwrap();
        assert!(output.status.success(), "{} failed", case.name());
        let text = String::from_utf8(output.stdout).unwrap();
        print!("{text}");
        let cpu =
            text.split(" us CPU").next().and_then(|text| text.rsplit(' ').next()?.parse().ok());
        match (case.rows / MILLION, of_a_million.take(), cpu) {
            (1, _, cpu) => of_a_million = cpu,
            (millions, Some(one), Some(all)) => {
                println!("  {millions} M rows take {:.1} times the CPU of 1 M", all / one * 10.0);
            }
            _ => {}
        }
    }
}

fn run(case: &Case) {
    let (name, rows) = (case.name(), case.rows);
    let before = house::memory_mb("self", "VmHWM");
    let (mut bare, mut intake, mut cpu, mut raw, mut bytes) =
        (f64::MAX, f64::MAX, f64::MAX, f64::MAX, 0);
    // Other work on the machine disturbs short runs: the best of some counts, for all.
    for _ in 0..if rows > MILLION { 1 } else { 3 } {
        let house = House::with_simulator();
        let plain = house.folder.path().join("plain.csv");
        house::write_messages(&plain, rows, case.recipients);
        let file = house.inbox(case.form.file_name());
        case.form.write(&plain, &file);
        bytes = std::fs::metadata(&file).unwrap().len();
        bare = bare.min(bare_parse(&plain, rows));
        raw = raw.min(raw_write(&file, &plain));
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let used = house::cpu_seconds("self");
        let (seconds, batch) = runtime.block_on(house.take_in(case.form.file_name()));
        cpu = cpu.min(house::cpu_seconds("self") - used);
        intake = intake.min(seconds);
        if batch.facts.code.is_some() && case.form == Form::GzipCsv {
            println!("{name}: not taken in this version, {}", batch.facts.message);
            return;
        }
        assert_eq!((batch.facts.rows_accepted, batch.facts.rows_rejected), (rows, 0), "{batch:?}");
    }
    let peak = house::memory_mb("self", "VmHWM");
    let thousands = |seconds: f64| rows as f64 / seconds / 1e3;
    println!(
        "{name}: {} bytes a row; bare csv {:.0} k rows/s, intake {:.0} k rows/s, ratio {:.3}; \
         {:.2} us CPU a row; raw write {:.0} k rows/s; peak RSS {peak:.0} MB ({before:.0} MB before)",
        bytes / rows,
        thousands(bare),
        thousands(intake),
        bare / intake,
        cpu * 1e6 / rows as f64,
        thousands(raw),
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

/// Seconds for writing the file's bytes once more, synced; over a file that is not needed any more.
fn raw_write(file: &Path, over: &Path) -> f64 {
    use std::io::{Read, Write};
    let mut input = std::fs::File::open(file).unwrap();
    let (mut piece, mut seconds) = (vec![0; 1 << 20], 0.0);
    let mut out = std::fs::File::create(over).unwrap();
    loop {
        let length = input.read(&mut piece).unwrap();
        let start = Instant::now();
        if length == 0 {
            out.sync_all().unwrap();
            std::fs::remove_file(over).unwrap();
            return seconds + start.elapsed().as_secs_f64();
        }
        out.write_all(&piece[..length]).unwrap();
        seconds += start.elapsed().as_secs_f64();
    }
}

//! The doors beside the best servers: OpenSSH, vsftpd and pure-ftpd of Debian, on loopback.
//!
//! `DROPCHUTE_INSTALL=1 cargo bench --bench transfer` runs everything, as root (the peers need it); the
//! peers are fetched by apt-get, unpacked below `~/.cache/dropchute/debs` and never installed. Needs
//! openssh-client, curl, lftp and openssl, and 4 GiB free in /dev/shm.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `SIZE` | MiB of the large file | 1024 |
//! | `FILES` | how many small files | 5000 |
//! | `REPS` | repetitions | 5 |
//! | `CASES` | cases to run, by the beginnings of their names, with commas between | all |
//! | `BIN` | the daemon to measure | the one of this build |
//! | `BEFORE` | another build of the daemon, as one more peer: did a change help? | none |
//! | `DISK` | a folder on a real disk, for the case of syncs | the folder for temporary files |
//!
//! What is uploaded lies in memory, since the peers do not sync; the case of syncs is on disk and
//! compares the daemon with itself, its syncs skipped by the kernel. Servers take turns, in the other
//! order each time. A figure is the median, a ratio the median of the repetitions' ratios, CPU is that
//! of all the server's processes; on a busy machine, trust ratios and CPU.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, reason = "the modules of a program")]

mod clients;
mod process;
mod servers;
mod session;
mod sessions;
mod table;
mod throughput;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::process::{Resource, getrlimit, setrlimit};

use clients::Tls;
use servers::Ground;

pub const MIB: f64 = 1048576.0;

/// How much is done.
pub struct Bench {
    /// Bytes of the large file.
    pub size: usize,
    /// Small files.
    pub files: usize,
    pub reps: usize,
}

impl Bench {
    /// A file of noise, made at its first use.
    pub fn large_file(&self, ground: &Ground) -> PathBuf {
        let path = ground.path("large");
        if !path.exists() {
            let mut random = std::fs::File::open("/dev/urandom").unwrap();
            let mut noise = vec![0; 1 << 20];
            std::io::Read::read_exact(&mut random, &mut noise).unwrap();
            let mut file = std::fs::File::create(&path).unwrap();
            for number in 0..self.size >> 20 {
                noise[..8].copy_from_slice(&number.to_be_bytes());
                file.write_all(&noise).unwrap();
            }
        }
        path
    }
}

type Case = (&'static str, fn(&Bench, &Ground));

const CASES: &[Case] = &[
    ("sftp-gcm", |b, g| throughput::large_sftp(b, g, Some(throughput::AES_128_GCM))),
    ("sftp-default", |b, g| throughput::large_sftp(b, g, None)),
    ("ftp", |b, g| throughput::large_ftp(b, g, Tls::Off)),
    ("ftps", |b, g| throughput::large_ftp(b, g, Tls::On)),
    ("small-sftp", throughput::small_sftp),
    ("small-ftp", |b, g| throughput::small_ftp(b, g, Tls::Off)),
    ("small-ftps", |b, g| throughput::small_ftp(b, g, Tls::On)),
    ("syncs-media", |b, _| sessions::syncs(b, "media")),
    ("syncs-inbox", |b, _| sessions::syncs(b, "inbox")),
    ("logins", sessions::logins),
    ("memory", |_, g| sessions::memory(g)),
    ("crowd-2000", |_, g| sessions::beside_a_crowd(g, 2000)),
    ("crowd-10000", |_, g| sessions::beside_a_crowd(g, 10_000)),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = process::run_as_reaper(&arguments) {
        return code;
    }
    raise_open_files();
    let bench = Bench {
        size: number("SIZE", 1024) << 20,
        files: number("FILES", 5000),
        reps: number("REPS", 5),
    };
    let wanted = std::env::var("CASES").unwrap_or_default();
    let is_wanted = |name: &str| wanted.split(',').any(|beginning| name.starts_with(beginning));
    let memory = Path::new("/dev/shm");
    let elsewhere = std::env::temp_dir();
    let ground = Ground::lay(if memory.is_dir() { memory } else { &elsewhere });
    print_machine(&bench);
    table::print_head();
    for (name, case) in CASES.iter().filter(|(name, _)| is_wanted(name)) {
        println!("-- {name}, load {}", load());
        case(&bench, &ground);
    }
    println!("-- end, load {}", load());
    ExitCode::SUCCESS
}

fn print_machine(bench: &Bench) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    println!("{cores} cores; {} MiB, {} repetitions", bench.size >> 20, bench.reps);
}

/// What else the machine was doing, for the reader of the figures.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn number(variable: &str, default: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        Err(_) => default,
    }
}

/// Crowds take a descriptor for each session, in the servers too.
fn raise_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
}

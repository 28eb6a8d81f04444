//! What the benches share: a data folder in memory, a configuration, the stations, and the machine's
//! own figures.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use dropchute::batch::BatchState;
use dropchute::config::{self, Config};
use dropchute::files::{RelPath, Root, TenantTree};
use dropchute::intake::{self, Doorbell, Intake, Nudges, Tenants};
use dropchute::model::{Proof, TenantId, UploadEvidence};
use dropchute::spool::Spool;
use dropchute::store::{BatchRecord, Store};
use dropchute::telemetry::Metrics;
use dropchute::worker::{Progress, Worker};
use dropchute::world::World;
use tempfile::TempDir;

/// A throw-away folder: in memory where the machine has such a place, so that the program is measured
/// and not the disk; elsewhere where `DROPCHUTE_BENCH_DIR` says so.
pub fn scratch() -> TempDir {
    let wanted = std::env::var("DROPCHUTE_BENCH_DIR").unwrap_or("/dev/shm".to_owned());
    let memory = Path::new(&wanted);
    let made = tempfile::Builder::new().prefix("dropchute-bench-").tempdir_in(memory);
    made.unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// One tenant `acme` and what its files pass through.
pub struct House {
    pub folder: TempDir,
    pub config: Config,
    pub store: Store,
    pub spool: Spool,
    pub world: Arc<World>,
    pub metrics: Arc<Metrics>,
}

impl House {
    /// `providers` is TOML with the providers, and with `[tenant.acme.channel]` at its end.
    pub fn new(providers: &str) -> House {
        let folder = scratch();
        let path = folder.path().join("dropchute.toml");
        let text = format!(
            r#"format = 1
data_dir = "data"

[sftp]
listen = []

[ftp]
listen = []

[admin]
listen = "off"

[limits]
file_max_bytes = "8GiB"

[tenant.acme]
default_country = "DE"
default_category = "transactional"
grace = "0s"

[tenant.acme.profile.latin]
match = "LATIN_*.csv"
kind = "messages"
encoding = "windows-1252"
delimiter = ";"

[tenant.acme.sender]
email = ["Acme <news@acme.example>"]

[tenant.acme.template.invoice]
channel = "email"
lang = "en"
subject = "Your invoice, {{{{ first_name }}}}"
text = "Dear {{{{ first_name }}}} {{{{ last_name }}}},\n{{{{ text }}}}\nKind regards\nAcme"

[tenant.acme.template.notice]
channel = "sms"
lang = "en"
text = "Dear {{{{ first_name }}}}, {{{{ text }}}}"

{providers}
"#
        );
        std::fs::write(&path, text).unwrap();
        let config = config::load(&path).unwrap_or_else(|error| panic!("{error}"));
        std::fs::create_dir_all(&config.data_dir).unwrap();
        TenantTree::prepare(&config.data_dir, &tenant()).unwrap();
        House {
            store: Store::open(&config.data_dir.join("store")).unwrap(),
            spool: Spool::open(&config.data_dir).unwrap(),
            world: Arc::new(World::real()),
            metrics: Arc::new(Metrics::new("bench")),
            folder,
            config,
        }
    }

    /// A house whose one provider sends nothing.
    pub fn with_simulator() -> House {
        House::new(SIMULATOR)
    }

    /// Where a file of this name is to be put.
    pub fn inbox(&self, name: &str) -> PathBuf {
        self.config.data_dir.join("tenants/acme/inbox").join(name)
    }

    /// Takes a file from the inbox through intake; gives the seconds from claim to conclusion.
    pub async fn take_in(&self, name: &str) -> (f64, BatchRecord) {
        let tree = Root::open(&self.config.data_dir.join("tenants/acme")).unwrap();
        let path = format!("inbox/{name}");
        let evidence = UploadEvidence {
            tenant: tenant(),
            version: tree.stat(&RelPath::of(&path)).unwrap().version,
            path,
            account: String::new(),
            protocol: "sftp",
            proof: Proof::Rename,
            weak: false,
            at: self.world.clock.now(),
        };
        self.store.record_upload(&evidence).unwrap();
        let tenants = Tenants::default();
        tenants.replace(self.config.for_intake());
        let settings = intake::Settings {
            data_dir: self.config.data_dir.clone(),
            tenants,
            rescan: std::time::Duration::from_secs(60),
            files_at_once: 2,
            disk: dropchute::disk::Disk::boundless(),
        };
        let mut intake = Intake::new(
            settings,
            (self.store.clone(), self.spool.clone()),
            (Arc::clone(&self.world), Arc::clone(&self.metrics)),
            Arc::new(Doorbell::default()),
            Nudges::default(),
            false,
        );
        let start = Instant::now();
        loop {
            let progress = intake.work().await.unwrap();
            let newest = self.store.newest_batch().unwrap();
            if let Some(record) = newest.filter(|batch| batch.state != BatchState::Claimed) {
                return (start.elapsed().as_secs_f64(), record);
            }
            if progress == Progress::Idle {
                intake.wait_for_work().await;
            }
        }
    }
}

pub const SIMULATOR: &str = r#"
[provider.dry]
kind = "simulator"

[tenant.acme.channel]
email = ["dry"]
sms = ["dry"]
"#;

pub fn tenant() -> TenantId {
    "acme".parse().unwrap()
}

/// Which addresses the rows of a generated file have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipients {
    Email,
    Phone,
}

/// How a generated file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Csv,
    GzipCsv,
    /// Windows-1252 with semicolons.
    Latin,
    /// With its byte order mark.
    Utf16,
}

impl Form {
    /// A name that intake takes for such a file.
    pub fn file_name(self) -> &'static str {
        match self {
            Form::Csv | Form::Utf16 => "messages_large.csv",
            Form::GzipCsv => "messages_large.csv.gz",
            Form::Latin => "LATIN_large.csv",
        }
    }

    /// Writes the same rows as the UTF-8 file `plain` has, in this form.
    pub fn write(self, plain: &Path, to: &Path) {
        use std::io::{BufRead, BufReader, BufWriter, Write};
        let read = std::fs::File::open(plain).unwrap();
        if self == Form::GzipCsv {
            let out = std::fs::File::create(to).unwrap();
            let mut gzip = std::process::Command::new("gzip");
            let status = gzip.args(["-1", "-c"]).stdin(read).stdout(out).status().unwrap();
            assert!(status.success(), "gzip failed");
            return;
        }
        let mut out = BufWriter::new(std::fs::File::create(to).unwrap());
        if self == Form::Utf16 {
            out.write_all(&[0xFF, 0xFE]).unwrap();
        }
        let (mut read, mut line) = (BufReader::new(read), String::new());
        while read.read_line(&mut line).unwrap() > 0 {
            match self {
                Form::Utf16 => {
                    let units = line.encode_utf16().flat_map(u16::to_le_bytes);
                    out.write_all(&units.collect::<Vec<u8>>()).unwrap();
                }
                // Every letter of the rows stands in Latin-1 at its own number.
                Form::Latin => {
                    let bytes = line.chars().map(|c| if c == ',' { b';' } else { c as u8 });
                    out.write_all(&bytes.collect::<Vec<u8>>()).unwrap();
                }
                _ => out.write_all(line.as_bytes()).unwrap(),
            }
            line.clear();
        }
        out.flush().unwrap();
    }
}

/// Writes a UTF-8 file of message rows, 150 bytes each.
pub fn write_messages(path: &Path, rows: u64, recipients: Recipients) {
    use std::io::Write;
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let address = if recipients == Recipients::Email { "email" } else { "phone" };
    writeln!(out, "row_id,{address},template,var_first_name,var_last_name,var_text,x_kdnr")
        .unwrap();
    for row in 0..rows {
        match recipients {
            Recipients::Email => writeln!(
                out,
                "row-{row:08},{row:08}.lastname@example-company.com,invoice,Jürgen,Mustermann,\
                 Invoice number {row:08} for your recent order of goods,K{row:08}"
            ),
            Recipients::Phone => writeln!(
                out,
                "row-{row:08},+49151{row:08},notice,Jürgen,Mustermann,\
                 Invoice number {row:08} for your recent order of goods is ready to be collected,\
                 K{row:08}"
            ),
        }
        .unwrap();
    }
    out.flush().unwrap();
}

/// CPU seconds that a process has used, all threads, user and system.
pub fn cpu_seconds(process: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in parentheses may hold anything; fields are counted behind it.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |at: usize| fields[at].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) / 100.0
}

/// A line of `/proc/<process>/status` in MB: `VmRSS` now, `VmHWM` at its highest.
pub fn memory_mb(process: &str, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(line)).unwrap();
    let kib: f64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).trim().parse().unwrap();
    kib * 1024.0 / 1e6
}

/// From now on the highest memory of this process is counted anew.
pub fn forget_peak_memory() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// What else the machine was doing, for the reader of the figures.
pub fn print_machine() {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let place = scratch();
    let place = place.path().parent().unwrap().display();
    println!("{cores} cores, load before {load}, data in {place}");
}

//! Fairness: how long a file of ten rows takes, from its claim to its result, while another tenant's batch
//! of a million rows is being sent; beside the time that it takes alone.
//!
//! `cargo bench --bench fairness` runs both cases; `-- bookkeeping` or `-- provider` one of them. `ROWS=20000`
//! makes the large batch smaller. Ends with 1 where the small file takes more than twice its lone time, or
//! 200 ms where that is more.
//!
//! `bookkeeping`: the simulator answers at once, and the machine is what is scarce. `provider`: it takes
//! its time, and its 64 places are what is scarce. The whole program runs, on a store and a disk in memory.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, dead_code, reason = "the benches share a module")]

#[path = "support/house.rs"]
mod house;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dropchute::app::{App, Options};
use dropchute::batch::BatchState;
use dropchute::config;
use dropchute::files::{RelPath, Root};
use dropchute::model::{BatchId, Proof, UploadEvidence};
use dropchute::store::Store;
use dropchute::world::World;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SMALL_ROWS: usize = 10;
/// Small files of each measurement.
const ROUNDS: usize = 9;
/// What the small file may take at most: so many times its lone time, or so long where that is more.
const FACTOR: u32 = 2;
const FLOOR: Duration = Duration::from_millis(200);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted = arguments.iter().find(|a| !a.starts_with("--")).map_or("", String::as_str);
    let rows = std::env::var("ROWS").map_or(1_000_000, |rows| rows.parse().unwrap());
    house::print_machine();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut is_fair = true;
    for (name, delay) in [("bookkeeping", "0s"), ("provider", "20ms")] {
        if name.starts_with(wanted) {
            is_fair &= runtime.block_on(measure(name, delay, rows));
        }
    }
    std::process::exit(i32::from(!is_fair));
}

async fn measure(name: &str, delay: &str, rows: usize) -> bool {
    let folder = house::scratch();
    let path = folder.path().join("dropchute.toml");
    std::fs::write(&path, configuration(delay)).unwrap();
    let config = config::load(&path).unwrap_or_else(|error| panic!("{error}"));
    let data_dir = config.data_dir.clone();
    std::fs::create_dir_all(&data_dir).unwrap();
    let store = Store::open(&data_dir.join("store")).unwrap();
    let world = Arc::new(World::real());
    let options = Options { rescan: Duration::from_millis(250), ..Options::default() };
    let app = App::start_on(store.clone(), config, Arc::clone(&world), options).await.unwrap();
    let place = Place { data_dir, store, world };

    let alone = place.small_files("alone").await;
    let started = Instant::now();
    place.drop_file("big", "big.csv", rows);
    let big = place.batch("big.csv").await;
    while place.state(big) != BatchState::Running {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let beside = place.small_files("beside").await;
    let was_running = place.state(big) == BatchState::Running;
    app.stop().await.unwrap();

    let most = beside.iter().max().copied().unwrap_or_default();
    let (alone, beside) = (median(alone), median(beside));
    let limit = (alone * FACTOR).max(FLOOR);
    println!(
        "{name}: {SMALL_ROWS} rows alone {alone:.1?}; beside a batch of {rows} rows {beside:.1?} \
         (slowest {most:.1?}); at most {limit:.1?}{}",
        if was_running { "" } else { "; THE LARGE BATCH ENDED BEFORE" }
    );
    println!("{name}: measured within {:.1?} of the drop of the large file", started.elapsed());
    was_running && most <= limit
}

fn configuration(delay: &str) -> String {
    let mut text = format!(
        r#"format = 1
data_dir = "data"
sftp.listen = []
ftp.listen = []
admin.listen = "off"

[provider.sim]
kind = "simulator"
delay = "{delay}"

[defaults]
default_country = "DE"
default_category = "transactional"
grace = "0s"
settle = "0s"
"#
    );
    for tenant in ["big", "small"] {
        write!(
            text,
            r#"
[tenant.{tenant}.sender]
email = ["Acme <news@acme.example>"]
[tenant.{tenant}.channel]
email = ["sim"]
"#
        )
        .unwrap();
    }
    text
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

struct Place {
    data_dir: PathBuf,
    store: Store,
    world: Arc<World>,
}

impl Place {
    /// The times of small files from claim to result, dropped one after the other.
    async fn small_files(&self, name: &str) -> Vec<Duration> {
        let mut times = Vec::new();
        for round in 0..ROUNDS {
            let file = format!("{name}_{round}.csv");
            self.drop_file("small", &file, SMALL_ROWS);
            let result =
                self.data_dir.join(format!("tenants/small/outbox/messages/{file}.result.csv"));
            let patience = Instant::now() + Duration::from_secs(60);
            while !result.exists() {
                assert!(Instant::now() < patience, "{file} has no result after a minute");
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let now = self.world.clock.now();
            let batch = self.batch(&file).await;
            let claimed_at = self.store.batch(batch).unwrap().unwrap().claimed_at;
            times.push(now.duration_since(claimed_at).unsigned_abs());
        }
        times
    }

    /// Puts a whole file into a tenant's inbox, as a door does.
    fn drop_file(&self, tenant: &str, name: &str, rows: usize) {
        let mut text = String::from("email,subject,text\n");
        for row in 0..rows {
            writeln!(text, "{row:08}.{name}@example.com,Your invoice,Dear customer {row}").unwrap();
        }
        let folder = self.data_dir.join("tenants").join(tenant);
        let path = format!("inbox/messages/{name}");
        let hidden = folder.join(format!("inbox/messages/.{name}"));
        std::fs::write(&hidden, text).unwrap();
        std::fs::rename(hidden, folder.join(&path)).unwrap();
        // Whoever looks through the folder may have found and taken it already.
        let Ok(entry) = Root::open(&folder).unwrap().stat(&RelPath::of(&path)) else { return };
        let evidence = UploadEvidence {
            tenant: tenant.parse().unwrap(),
            path,
            account: String::new(),
            protocol: "sftp",
            proof: Proof::Rename,
            weak: false,
            at: self.world.clock.now(),
            version: entry.version,
        };
        self.store.record_upload(&evidence).unwrap();
    }

    /// The batch of a file, once it was claimed.
    async fn batch(&self, name: &str) -> BatchId {
        loop {
            let newest = self.store.batches_before(None, 50).unwrap();
            if let Some(batch) = newest.iter().find(|batch| batch.name() == name) {
                return batch.id;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn state(&self, batch: BatchId) -> BatchState {
        self.store.batch(batch).unwrap().unwrap().state
    }
}

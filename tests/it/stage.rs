//! A whole program on paused time: what journeys and crash tests are played on.
//!
//! A stage is what outlives a process: the disk of the store, the folders, the log. A life is one
//! process on it: a runtime of its own, which is dropped when the process "dies".

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dropchute::app::{App, Options};
use dropchute::batch::{BatchState, Decider};
use dropchute::codes::ReasonCode;
use dropchute::config::{self, Config};
use dropchute::files::is_temporary_name;
use dropchute::model::{FileVersion, Proof, UploadEvidence};
use dropchute::store::{SimulatedDisk, Store};
use dropchute::world::World;
use jiff::Timestamp;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What every journey starts from; a journey's `config.toml` is laid over it.
const BASE: &str = r#"
data_dir = "data"
disk_reserve = "0%"
sftp.listen = []
ftp.listen = []
admin.listen = "off"

[provider.sim]
kind = "simulator"

[tenant.acme]
timezone = "Europe/Berlin"
default_country = "DE"
default_category = "transactional"

[tenant.acme.account.erp]
ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti erp"]
rights = ["drop", "collect", "control", "approve"]
kinds = ["messages", "contacts", "consents", "suppressions", "events", "segments", "campaigns",
    "templates", "workflows", "privacy_requests", "control"]

[tenant.acme.sender]
email = ["Acme <news@acme.example>"]
sms = ["ACME"]

[tenant.acme.channel]
email = ["sim"]
sms = ["sim"]
"#;

/// How often a life is asked whether it is at rest, in its own time.
const LOOK: Duration = Duration::from_secs(5);

pub(crate) struct Stage {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) disk: SimulatedDisk,
    pub(crate) log: Log,
    /// What goes wrong in every life in the middle of work on a file, which it is told.
    pub(crate) mishap: Option<Mishap>,
    /// Of the machine: another number where it went down.
    pub(crate) boot: u32,
    /// How often inboxes are looked through.
    pub(crate) rescan: Duration,
}

pub(crate) type Mishap = Arc<dyn Fn(&str) + Send + Sync>;

/// How a life went.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    /// Everything is answered, nothing is left to do.
    Rest,
    /// The store failed: the process ends.
    Crash,
    /// Not at rest in time; what was left.
    Late(String),
}

impl Stage {
    /// `differences` is laid over the base configuration.
    pub(crate) fn new(differences: &str) -> Stage {
        Stage::on(tempfile::tempdir().unwrap(), differences)
    }

    /// The same in a given folder.
    pub(crate) fn on(folder: tempfile::TempDir, differences: &str) -> Stage {
        let stage = Stage {
            folder,
            disk: SimulatedDisk::default(),
            log: Log::default(),
            mishap: None,
            boot: 1,
            rescan: Duration::from_secs(15),
        };
        stage.configure(differences);
        stage
    }

    /// Writes the configuration anew; `differences` is laid over the base.
    pub(crate) fn configure(&self, differences: &str) {
        let mut table: toml::Table = BASE.parse().unwrap();
        overlay(&mut table, differences.parse().unwrap());
        let text = format!("format = 1\n{table}");
        std::fs::write(self.folder.path().join("dropchute.toml"), text).unwrap();
    }

    pub(crate) fn config(&self) -> Config {
        let path = self.folder.path().join("dropchute.toml");
        config::load(&path).unwrap_or_else(|problems| panic!("{problems}"))
    }

    /// A folder of the tenant.
    pub(crate) fn tenant(&self, path: &str) -> PathBuf {
        self.folder.path().join("data/tenants/acme").join(path)
    }

    /// Lays down what an earlier process kept of an upload that was cut.
    pub(crate) fn lay_cut_upload(&self, path: &str, bytes: &[u8], since: &str) {
        let uploads = self.folder.path().join("data/uploads/acme");
        std::fs::create_dir_all(&uploads).unwrap();
        std::fs::write(uploads.join("0cut"), bytes).unwrap();
        let label = format!("1 {} {since} {} erp\n{path}", bytes.len(), path.len());
        std::fs::write(uploads.join("0cut.label"), label).unwrap();
    }

    /// Runs one process that starts at `now`. Its time is paused: it jumps to whatever comes next.
    pub(crate) fn live<T>(&self, now: Timestamp, play: impl AsyncFnOnce(Life<'_>) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let config = self.config();
        runtime.block_on(async {
            let world = Arc::new(World::seeded(now, now.as_second() as u64));
            if let Some(mishap) = self.mishap.clone() {
                world.mishaps.arrange(move |file| mishap(file));
            }
            let recorder = Recorder { log: self.log.clone(), world: Arc::clone(&world) };
            let subscriber = tracing_subscriber::registry().with(recorder);
            let _guard = tracing::subscriber::set_default(subscriber);
            let store = Store::simulated(&self.disk).unwrap();
            let options = Options {
                watch: false,
                rescan: self.rescan,
                boot_id: Some(format!("boot {}", self.boot)),
                ..Options::default()
            };
            // A store that fails this early is a crash, too; the life then finds it dead.
            let app = App::start_on(store.clone(), config, Arc::clone(&world), options).await;
            play(Life { stage: self, store, world, proof: Proof::Close, app: app.unwrap() }).await
        })
    }
}

fn overlay(below: &mut toml::Table, above: toml::Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            // An empty text takes a key away.
            (Some(_), toml::Value::String(text)) if text.is_empty() => {
                below.remove(&key);
            }
            (Some(toml::Value::Table(below)), toml::Value::Table(above)) => overlay(below, above),
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
}

/// One process.
pub(crate) struct Life<'s> {
    stage: &'s Stage,
    pub(crate) store: Store,
    pub(crate) world: Arc<World>,
    /// What the door sees of an upload's end.
    pub(crate) proof: Proof,
    pub(crate) app: App,
}

impl Life<'_> {
    /// Drops files as a partner does whose upload the door saw end; `seen` false: as a local writer,
    /// whose close nobody saw.
    pub(crate) fn drop_files(&self, files: &BTreeMap<String, Vec<u8>>, seen: bool) {
        self.drop_files_as("erp", files, seen);
    }

    pub(crate) fn drop_files_as(
        &self,
        account: &str,
        files: &BTreeMap<String, Vec<u8>>,
        seen: bool,
    ) {
        self.drop_files_into("inbox", account, files, seen);
    }

    /// The same into another inbox: `test/inbox`.
    pub(crate) fn drop_files_into(
        &self,
        inbox: &str,
        account: &str,
        files: &BTreeMap<String, Vec<u8>>,
        seen: bool,
    ) {
        for (name, bytes) in files {
            let below = format!("{inbox}/{name}");
            std::fs::write(self.stage.tenant(&below), bytes).unwrap();
            if seen {
                self.see_upload_end(account, below);
            }
        }
    }

    /// The door sees the upload of a file end that stands below an inbox.
    pub(crate) fn see_upload_end(&self, account: &str, below: String) {
        let path = self.stage.tenant(&below);
        // Where the store fails the client hears no success, and the file waits to be quiet.
        let _failed = self.store.record_upload(&self.evidence("acme", account, below, &path));
    }

    /// The same in another tenant's tree, over a way that proves more or less.
    pub(crate) fn see_upload_of(&self, tenant: &str, below: String, proof: Proof) {
        let path = self.stage.tenant(&format!("../{tenant}/{below}"));
        let evidence = self.evidence(tenant, "erp", below, &path);
        let _failed = self.store.record_upload(&UploadEvidence { proof, ..evidence });
    }

    fn evidence(&self, tenant: &str, account: &str, below: String, path: &Path) -> UploadEvidence {
        let facts = std::fs::metadata(path).unwrap();
        UploadEvidence {
            tenant: tenant.parse().unwrap(),
            path: below,
            account: account.to_owned(),
            protocol: "sftp",
            proof: self.proof,
            weak: false,
            version: FileVersion {
                device: facts.dev(),
                inode: facts.ino(),
                bytes: facts.len(),
                modified_ns: i128::from(facts.mtime()) * 1_000_000_000
                    + i128::from(facts.mtime_nsec()),
            },
            at: self.world.clock.now(),
        }
    }

    /// Waits until every file is answered and nothing is left to do; what is paused is at rest.
    pub(crate) async fn rest(&self, patience: Duration) -> End {
        self.until_nothing_left(patience, false).await
    }

    /// Waits until every file is answered, whatever is sent later.
    pub(crate) async fn answered(&self, patience: Duration) -> End {
        self.until_nothing_left(patience, true).await
    }

    async fn until_nothing_left(&self, patience: Duration, only_unanswered: bool) -> End {
        let deadline = self.world.clock.instant() + patience;
        loop {
            tokio::time::sleep(LOOK).await;
            if self.store.health().failed {
                return End::Crash;
            }
            let left = self.left(only_unanswered);
            if left.is_empty() {
                return End::Rest;
            }
            if self.world.clock.instant() >= deadline {
                return End::Late(left);
            }
        }
    }

    /// What is still to be done, or only what keeps a file from being answered; empty at rest.
    pub(crate) fn left(&self, only_unanswered: bool) -> String {
        let mut left = String::new();
        let tenants = std::fs::read_dir(self.stage.tenant("..")).into_iter().flatten();
        let inboxes = tenants.flat_map(|tenant| {
            let tenant = tenant.unwrap().file_name().into_string().unwrap();
            ["inbox", "test/inbox"].map(|inbox| format!("../{tenant}/{inbox}"))
        });
        for inbox in inboxes {
            for name in files_below(&self.stage.tenant(&inbox)).keys() {
                let last = name.rsplit('/').next().unwrap_or_default();
                if !is_temporary_name(last.as_bytes()) {
                    writeln!(left, "in {inbox}: {name}").unwrap();
                }
            }
        }
        for batch in self.store.open_batches().unwrap() {
            if only_unanswered && batch.state == BatchState::Running {
                continue;
            }
            let is_waiting =
                batch.control.paused && self.store.next_order(batch.id).unwrap().is_none();
            if is_waiting {
                continue;
            }
            writeln!(left, "{}: {} {:?}", batch.id, batch.name(), batch.state).unwrap();
            for (due, chunk) in self.store.timers(batch.id, 10).unwrap() {
                writeln!(left, "  chunk {chunk} is due at {due}").unwrap();
            }
        }
        let uploads = self.stage.folder.path().join("data/uploads/acme");
        for name in files_below(&uploads).keys() {
            writeln!(left, "among the uploads: {name}").unwrap();
        }
        for (tenant, stream, record) in self.store.streams().unwrap() {
            if record.last_line > record.filed_line {
                writeln!(left, "{tenant}: {stream} up to line {}", record.last_line).unwrap();
            }
        }
        for (batch, publication) in self.store.publications(100).unwrap() {
            writeln!(left, "{batch}: {} is not published", publication.as_str()).unwrap();
        }
        left
    }

    /// The operator decides about every held file.
    pub(crate) fn decide_holds(&self, release: bool) {
        let now = self.world.clock.now();
        for batch in self.store.holds().unwrap() {
            let code = ReasonCode::FileApprovalNeeded;
            let decided = match release {
                true => self.store.release(batch.id, &Decider::Operator, now),
                false => self.store.refuse_held(batch.id, &Decider::Operator, code, now),
            };
            // A store that fails is a crash; the life then finds it dead.
            let _failed = decided;
        }
    }

    /// Waits until no file is held any more, and for rest.
    pub(crate) async fn rest_without_holds(&self, patience: Duration) -> End {
        let deadline = self.world.clock.instant() + patience;
        while !self.store.health().failed && !self.store.holds().unwrap().is_empty() {
            if self.world.clock.instant() >= deadline {
                return End::Late("files are still held".to_owned());
            }
            tokio::time::sleep(LOOK).await;
        }
        self.rest(patience).await
    }

    /// An orderly end.
    pub(crate) async fn stop(self) {
        self.app.stop().await.unwrap();
    }
}

/// Every file below a folder, by its path in it.
pub(crate) fn files_below(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// What the program logged, over all its lives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Line>>>);

/// One line of the log.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) at: Timestamp,
    pub(crate) level: tracing::Level,
    room: String,
    pub(crate) message: String,
    fields: Vec<(&'static str, String)>,
}

impl Log {
    pub(crate) fn lines(&self) -> Vec<Line> {
        self.0.lock().unwrap().clone()
    }

    /// What the simulated provider was given.
    pub(crate) fn sent(&self) -> Vec<Line> {
        self.lines().into_iter().filter(|line| line.message == "simulated").collect()
    }
}

impl Line {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.at, self.level, self.room, self.message)?;
        for (name, value) in self.fields.iter().filter(|(_, value)| !value.is_empty()) {
            let quoted = value.contains(|c: char| c.is_whitespace() || c == '"' || c == '\\');
            if quoted { write!(f, " {name}={value:?}")? } else { write!(f, " {name}={value}")? }
        }
        Ok(())
    }
}

/// Writes the program's log with the time of its world.
struct Recorder {
    log: Log,
    world: Arc<World>,
}

impl<S: tracing::Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let Some(path) = event.metadata().target().strip_prefix("dropchute::") else { return };
        let mut line = Line {
            at: self.world.clock.now(),
            level: *event.metadata().level(),
            room: path.split("::").next().unwrap_or_default().to_owned(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        self.log.0.lock().unwrap().push(line);
    }
}

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn Debug) {
        self.note(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.note(field.name(), value.to_owned());
    }

    fn record_error(
        &mut self,
        field: &tracing::field::Field,
        value: &(dyn std::error::Error + 'static),
    ) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            write!(text, ": {cause}").unwrap();
            source = cause.source();
        }
        self.note(field.name(), text);
    }
}

impl Line {
    fn note(&mut self, name: &'static str, value: String) {
        if name == "message" { self.message = value } else { self.fields.push((name, value)) }
    }
}

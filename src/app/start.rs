//! Build everything, bind every port, then start.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commands::Controls;
use super::disk::DiskKeeper;
use super::drive::drive;
use super::error::AppError;
use super::gone::tenants_gone;
use super::halts::Halting;
use super::unknown::Unknowns;
use super::views::Sights;
use super::wiring;
use crate::admin::{self, Admin};
use crate::config::{Config, restart_needed};
use crate::disk::Disk;
use crate::dispatch::{self, Dispatch, PausedProviders, ProviderViews, Rehearsal, Routes};
use crate::files::{Journal, JournalEntry, TenantTree};
use crate::intake::{self, Doorbell, Intake, Nudges, Tenants};
use crate::model::TenantId;
use crate::outbox::{self, Publisher, TenantAnswers};
use crate::spool::Spool;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::transfer::{Accounts, DoorControl, Doors, Guard};
use crate::worker::{Worker, blocking, in_place};
use crate::world::World;

/// How the program is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Watch inboxes for files that come another road than the doors.
    pub watch: bool,
    /// How often inboxes are looked through all the same.
    pub rescan: Duration,
    /// Tells this boot of the machine from any other; none where the machine is to be asked.
    pub boot_id: Option<String>,
    /// So many files the process may have open.
    pub files_max: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { watch: true, rescan: Duration::from_secs(15), boot_id: None, files_max: 65_536 }
    }
}

/// One part in so many of the files that may be open is dispatch's: half of all are the doors'.
const DISPATCH_SHARE: usize = 4;

/// How a task ended.
pub(super) type TaskResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;
type AnswerTable = Arc<RwLock<Arc<HashMap<TenantId, TenantAnswers>>>>;

/// The parts that a new configuration is laid into.
#[derive(Clone)]
pub(super) struct Replaceable {
    accounts: Accounts,
    guard: Guard,
    tenants: Tenants,
    routes: Routes,
    answers: AnswerTable,
    doorbell: Arc<Doorbell>,
}

/// The running program.
pub struct App {
    config: Config,
    /// What cannot change without a restart is as it was then, however often it is read anew.
    started_with: Config,
    addresses: Vec<(&'static str, SocketAddr)>,
    admin_address: Option<SocketAddr>,
    replaceable: Replaceable,
    halting: Arc<Halting>,
    doors: DoorControl,
    pub(super) store: Store,
    pub(super) tasks: JoinSet<TaskResult>,
    /// The tasks that have not ended, by name.
    pub(super) running: HashMap<tokio::task::Id, &'static str>,
    /// In the order in which they are stopped, each with the names of its tasks.
    pub(super) stages: [(&'static [&'static str], CancellationToken); 2],
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// What everything stands on.
struct Ground {
    disk: Disk,
    store: Store,
    spool: Spool,
    world: Arc<World>,
    metrics: Arc<Metrics>,
}

impl Ground {
    async fn lay(config: &Config, store: Store, world: Arc<World>) -> Result<Ground, AppError> {
        prepare_folders(config)?;
        let disk = disk_of(config);
        let data_dir = config.data_dir.clone();
        let spool = blocking(move || Spool::open(&data_dir)).await?;
        let spool = spool.with_reserve(config.disk_reserve);
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let store = store.on_disk(disk.clone()).observed(Arc::clone(&world), {
            let metrics = Arc::clone(&metrics);
            move |seconds| metrics.commit_seconds.observe(seconds)
        });
        Ok(Ground { disk, store, spool, world, metrics })
    }
}

/// A station and the stage in which it stops.
type Station = (usize, Box<dyn Worker>);

/// The stages of stopping, and the tasks in each: first everything that begins something, together, so
/// that no attempt begins while sessions drain; then what says how it ended.
const BEGINNERS: usize = 0;
const ANSWERS: usize = 1;
const STAGES: [&[&str]; 2] = [&["doors", "intake", "dispatch"], &["outbox", "admin", "disk"]];

impl App {
    /// Builds everything and binds every port, then starts. On return all ports are open.
    pub async fn start(
        config: Config,
        world: Arc<World>,
        options: Options,
    ) -> Result<App, AppError> {
        make_data_dir(&config)?;
        let store = open_store(&config).await?;
        App::start_on(store, config, world, options).await
    }

    /// The same on a store that is open already: journeys run on a simulated one.
    pub async fn start_on(
        store: Store,
        config: Config,
        world: Arc<World>,
        options: Options,
    ) -> Result<App, AppError> {
        let ground = Ground::lay(&config, store, world).await?;
        for (tenant, left) in in_place(|| tenants_gone(&config, &ground.store))? {
            tracing::warn!(%tenant, batches = left.batches, rows = left.rows,
                "the tenant is not configured, and batches of it are open: their rows are not sent, and expire; \
                 configure it again, suspended if need be");
        }
        let guard = open_guard(&config, &ground)?;
        let (replaceable, nudges) = (Replaceable::of(&config, guard), Nudges::default());
        let paused = PausedProviders::default();
        let halting = in_place(|| {
            let (config, about) =
                (config.clone(), (ground.store.clone(), Arc::clone(&ground.world)));
            let dispatch = Arc::clone(&nudges.dispatch);
            Halting::open(config, about, replaceable.clone(), paused.clone(), dispatch)
        })?;
        let doors = Doors::bind(
            config.transfer.clone(),
            replaceable.accounts.clone(),
            replaceable.guard.clone(),
            journal(&ground.store, &replaceable.doorbell),
            Arc::clone(&ground.world),
        )?;
        let admin = Admin::bind(&admin::Settings {
            listen: config.admin_listen,
            data_dir: config.data_dir.clone(),
        })
        .await?;
        let mut app = App {
            addresses: doors.addresses(),
            admin_address: admin.local_addr(),
            started_with: config.clone(),
            config,
            replaceable,
            halting: Arc::new(halting),
            doors: doors.control(),
            store: ground.store.clone(),
            tasks: JoinSet::new(),
            running: HashMap::new(),
            stages: STAGES.map(|names| (names, CancellationToken::new())),
        };
        let (stations, providers) = app.stations(&ground, &nudges, paused, &options)?;
        let admin_address = app.admin_address.map(|address| ("admin", address));
        for (door, address) in app.addresses.iter().copied().chain(admin_address) {
            tracing::info!(door, %address, "listening");
        }
        let views = app.sights(&ground, nudges, &doors, providers).views();
        ground.metrics.start_time_seconds.set(ground.world.clock.now().as_second());
        let token = app.stages[BEGINNERS].1.clone();
        app.spawn("doors", async move {
            doors.serve(token).await;
            Ok(())
        });
        let token = app.stages[ANSWERS].1.clone();
        app.spawn("admin", async move {
            admin.serve(views, token).await;
            Ok(())
        });
        let grace = app.config.shutdown_grace;
        for (stage, station) in stations {
            let (token, world) = (app.stages[stage].1.clone(), Arc::clone(&ground.world));
            app.spawn(station.name(), drive(station, token, grace, world));
        }
        Ok(app)
    }

    fn sights(
        &self,
        ground: &Ground,
        nudges: Nudges,
        doors: &Doors,
        providers: ProviderViews,
    ) -> Sights {
        let controls = Controls {
            store: ground.store.clone(),
            world: Arc::clone(&ground.world),
            nudges,
            doorbell: Arc::clone(&self.replaceable.doorbell),
        };
        Sights {
            store: ground.store.clone(),
            world: Arc::clone(&ground.world),
            metrics: Arc::clone(&ground.metrics),
            counters: doors.counters(),
            doors: doors.control(),
            guard: self.replaceable.guard.clone(),
            data_dir: self.config.data_dir.clone(),
            disk: ground.disk.clone(),
            addresses: self.addresses.clone(),
            started_at: ground.world.clock.now(),
            controls: Arc::new(controls),
            halting: Arc::clone(&self.halting),
            providers,
            unknowns: Unknowns {
                store: ground.store.clone(),
                spool: ground.spool.clone(),
                world: Arc::clone(&ground.world),
            },
            shown: Mutex::new(None),
        }
    }

    /// Builds the stations, with the stage in which each stops.
    fn stations(
        &self,
        ground: &Ground,
        nudges: &Nudges,
        paused: PausedProviders,
        options: &Options,
    ) -> Result<([Station; 4], ProviderViews), AppError> {
        let Ground { disk, store, spool, world, metrics } = ground;
        let both = || (store.clone(), spool.clone());
        let intake = Intake::new(
            intake::Settings {
                data_dir: self.config.data_dir.clone(),
                tenants: self.replaceable.tenants.clone(),
                rescan: options.rescan,
                files_at_once: 2,
                disk: disk.clone(),
            },
            both(),
            (Arc::clone(world), Arc::clone(metrics)),
            Arc::clone(&self.replaceable.doorbell),
            nudges.clone(),
            options.watch,
        );
        let routes = self.replaceable.routes.clone();
        let dispatch = Dispatch::new(
            dispatch::Settings {
                disk: disk.clone(),
                paused,
                files_max: options.files_max / DISPATCH_SHARE,
                ..dispatch::Settings::new(routes, wiring::boot_id(&self.config, options, world))
            },
            self.config.providers.clone(),
            both(),
            (Arc::clone(world), Arc::clone(metrics)),
            Arc::clone(&nudges.dispatch),
            Arc::clone(&nudges.outbox),
        )?;
        let answers = Arc::clone(&self.replaceable.answers);
        let rehearsal =
            Rehearsal::new(store.clone(), spool.clone(), self.replaceable.routes.clone());
        let publisher = Publisher::new(
            store.clone(),
            spool.clone(),
            outbox::Settings {
                data_dir: self.config.data_dir.clone(),
                tenant: Arc::new(move |tenant| {
                    answers.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
                }),
                rehearse: Arc::new(move |batch, each| Ok(rehearsal.each_message(batch, each)?)),
            },
            (Arc::clone(world), Arc::clone(metrics)),
            Arc::clone(&nudges.outbox) as Arc<Notify>,
        );
        let doorbell = Arc::clone(&self.replaceable.doorbell);
        let keeper = DiskKeeper::new(
            disk.clone(),
            (Arc::clone(world), Arc::clone(metrics)),
            nudges.clone(),
            doorbell,
        );
        let providers = dispatch.provider_views();
        let stations: [Station; 4] = [
            (BEGINNERS, Box::new(intake)),
            (BEGINNERS, Box::new(dispatch)),
            (ANSWERS, Box::new(publisher)),
            (ANSWERS, Box::new(keeper)),
        ];
        Ok((stations, providers))
    }

    #[allow(clippy::disallowed_methods, reason = "long-lived tasks belong to the app")]
    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = TaskResult> + Send + 'static,
    ) {
        let task = self.tasks.spawn(task);
        self.running.insert(task.id(), name);
    }

    /// Where the doors listen: `sftp` or `ftp`, and the address.
    pub fn addresses(&self) -> &[(&'static str, SocketAddr)] {
        &self.addresses
    }

    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// Lays a new configuration over the running program, as far as that goes without a restart.
    /// Returns the changed keys that need one.
    pub fn reload(&mut self, mut config: Config) -> Result<Vec<String>, AppError> {
        self.refuse_unfit(&config)?;
        let needing_restart = restart_needed(&self.started_with, &config);
        config.data_dir.clone_from(&self.config.data_dir);
        in_place(|| prepare_folders(&config))?;
        in_place(|| self.halting.take(config.clone()))?;
        self.doors.lay(&config.transfer);
        self.config = config;
        Ok(needing_restart)
    }

    /// Rows of a tenant that is gone would only expire; of a channel whose providers are not set up they
    /// would only wait until they expire.
    fn refuse_unfit(&self, config: &Config) -> Result<(), AppError> {
        let known: BTreeSet<&str> =
            self.started_with.providers.iter().map(|provider| provider.id.as_str()).collect();
        for tenant in &config.tenants {
            for (channel, providers) in &tenant.settings.channels {
                if let Some(new) = providers.iter().find(|id| !known.contains(id.as_str())) {
                    let (tenant, provider) = (tenant.id.clone(), new.clone());
                    return Err(AppError::NewProvider {
                        tenant,
                        channel: channel.as_str(),
                        provider,
                    });
                }
            }
        }
        match in_place(|| tenants_gone(config, &self.store))?.pop_first() {
            Some((tenant, left)) => Err(AppError::TenantInUse { tenant, batches: left.batches }),
            None => Ok(()),
        }
    }
}

impl Replaceable {
    fn of(config: &Config, guard: Guard) -> Replaceable {
        Replaceable {
            accounts: Accounts::new(config.transfer.limits.password_checks_max),
            guard,
            tenants: Tenants::default(),
            routes: Routes::default(),
            answers: AnswerTable::default(),
            doorbell: Arc::default(),
        }
    }

    pub(super) fn lay(&self, config: &Config) {
        // From the end of a file's journey to its beginning: what comes in by new words finds a way
        // out that knows them.
        *self.answers.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(wiring::answers(config));
        self.routes.replace(config.for_dispatch());
        self.tenants.replace(config.for_intake());
        self.guard.replace(config.transfer.guard.clone());
        self.accounts.replace(config.accounts.clone(), config.for_doors());
        for tenant in &config.tenants {
            self.doorbell.ring(&tenant.id);
        }
        // The profile of a released file may be back.
        self.doorbell.ring_for_released();
    }
}

fn open_guard(config: &Config, ground: &Ground) -> Result<Guard, AppError> {
    let (store, world) = (ground.store.clone(), Arc::clone(&ground.world));
    Ok(Guard::open(config.transfer.guard.clone(), store, world)?)
}

fn disk_of(config: &Config) -> Disk {
    Disk::below(&config.data_dir, config.disk_reserve, config.ballast)
}

/// The store does not open on a full disk: there the ballast goes first.
async fn open_store(config: &Config) -> Result<Store, AppError> {
    let (folder, disk) = (config.data_dir.join("store"), disk_of(config));
    let store = blocking(move || {
        disk.has_room_for_commit();
        match Store::open(&folder) {
            Err(_) if disk.let_ballast_go() => Store::open(&folder),
            result => result,
        }
    });
    Ok(store.await?)
}

fn make_data_dir(config: &Config) -> Result<(), AppError> {
    let path = &config.data_dir;
    std::fs::create_dir_all(path).map_err(|source| AppError::Folder { path: path.clone(), source })
}

fn prepare_folders(config: &Config) -> Result<(), AppError> {
    make_data_dir(config)?;
    let path = &config.data_dir;
    for tenant in &config.tenants {
        TenantTree::prepare(path, &tenant.id)
            .map_err(|source| AppError::Folder { path: path.clone(), source })?;
    }
    Ok(())
}

/// Evidence goes to the store before the client hears "success"; then intake is woken.
fn journal(store: &Store, doorbell: &Arc<Doorbell>) -> Journal {
    let (store, doorbell) = (store.clone(), Arc::clone(doorbell));
    Arc::new(move |entry| {
        match &entry {
            JournalEntry::Whole(evidence) => {
                store.record_upload(evidence)?;
                doorbell.ring_at(&evidence.tenant, &evidence.path);
            }
            JournalEntry::Withdrawn(evidence) => store.forget_upload(evidence)?,
            JournalEntry::Cut(cut) => {
                store.notice_cut_upload(cut)?;
            }
            JournalEntry::Expired(cut) => {
                store.record_cut_upload(cut)?;
                doorbell.ring_at(&cut.tenant, &cut.path);
            }
        }
        Ok(())
    })
}

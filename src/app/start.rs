//! Build, start, watch, stop.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::drive::drive;
use super::error::AppError;
use super::views::Sights;
use super::wiring;
use crate::admin::{self, Admin};
use crate::config::{Config, restart_needed};
use crate::dispatch::{self, Dispatch, Routes};
use crate::files::TenantTree;
use crate::intake::{self, Doorbell, Intake, Nudges, Tenants};
use crate::model::TenantId;
use crate::outbox::{self, Publisher, TenantAnswers};
use crate::spool::Spool;
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::transfer::{Accounts, Doors};
use crate::worker::{Worker, blocking};
use crate::world::World;

/// How the program is run.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Watch inboxes for files that come another road than the doors.
    pub watch: bool,
    /// How often inboxes are looked through all the same.
    pub rescan: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options { watch: true, rescan: Duration::from_secs(15) }
    }
}

type TaskResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;
type Ended = (&'static str, TaskResult);
type AnswerTable = Arc<RwLock<Arc<HashMap<TenantId, TenantAnswers>>>>;

/// The parts that a new configuration is laid into.
#[derive(Clone)]
struct Replaceable {
    accounts: Accounts,
    tenants: Tenants,
    routes: Routes,
    answers: AnswerTable,
    doorbell: Arc<Doorbell>,
}

/// The running program.
pub struct App {
    config: Config,
    addresses: Vec<(&'static str, SocketAddr)>,
    admin_address: Option<SocketAddr>,
    replaceable: Replaceable,
    store: Store,
    tasks: JoinSet<Ended>,
    /// In the order in which they are stopped.
    stages: [(&'static str, CancellationToken); 4],
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

/// A station and the stage in which it stops.
type Station = (usize, Box<dyn Worker>);

/// The stages of stopping, each with the tasks in it.
const DOORS: usize = 0;
const INTAKE: usize = 1;
const DISPATCH: usize = 2;
const ANSWERS: usize = 3;

impl App {
    /// Builds everything and binds every port, then starts. On return all ports are open.
    pub async fn start(
        config: Config,
        world: Arc<World>,
        options: Options,
    ) -> Result<App, AppError> {
        prepare_folders(&config)?;
        let data_dir = config.data_dir.clone();
        let (store, spool) = blocking({
            let data_dir = data_dir.clone();
            move || -> Result<_, AppError> {
                Ok((Store::open(&data_dir.join("store"))?, Spool::open(&data_dir)?))
            }
        })
        .await?;
        let metrics = Arc::new(Metrics::new(env!("CARGO_PKG_VERSION")));
        let store = store.observed(Arc::clone(&world), {
            let metrics = Arc::clone(&metrics);
            move |seconds| metrics.commit_seconds.observe(seconds)
        });
        let replaceable = Replaceable::of(&config);
        let doors = Doors::bind(
            config.transfer.clone(),
            replaceable.accounts.clone(),
            journal(&store, &replaceable.doorbell),
            Arc::clone(&world),
        )?;
        let settings = admin::Settings { listen: config.admin_listen, data_dir: data_dir.clone() };
        let admin = Admin::bind(&settings).await?;
        let stages = ["doors", "intake", "dispatch", "answers"]
            .map(|stage| (stage, CancellationToken::new()));
        let mut app = App {
            addresses: doors.addresses(),
            admin_address: admin.local_addr(),
            config,
            replaceable,
            store: store.clone(),
            tasks: JoinSet::new(),
            stages,
        };
        let stations = app.stations(&store, &spool, &world, &metrics, options)?;
        let admin_address = app.admin_address.map(|address| ("admin", address));
        for (door, address) in app.addresses.iter().copied().chain(admin_address) {
            tracing::info!(door, %address, "listening");
        }
        let views = Sights {
            store,
            world: Arc::clone(&world),
            metrics: Arc::clone(&metrics),
            counters: doors.counters(),
            data_dir,
            disk_reserve: app.config.disk_reserve,
            addresses: app.addresses.clone(),
            started_at: world.clock.now(),
            shown: Mutex::new(None),
        };
        metrics.start_time_seconds.set(world.clock.now().as_second());
        let token = app.stages[DOORS].1.clone();
        app.spawn("doors", async move {
            doors.serve(token).await;
            Ok(())
        });
        let (token, views) = (app.stages[ANSWERS].1.clone(), views.views());
        app.spawn("admin", async move {
            admin.serve(views, token).await;
            Ok(())
        });
        let grace = app.config.shutdown_grace;
        for (stage, station) in stations {
            let (token, world) = (app.stages[stage].1.clone(), Arc::clone(&world));
            app.spawn(station.name(), drive(station, token, grace, world));
        }
        Ok(app)
    }

    /// Builds the stations, with the stage in which each stops.
    fn stations(
        &self,
        store: &Store,
        spool: &Spool,
        world: &Arc<World>,
        metrics: &Arc<Metrics>,
        options: Options,
    ) -> Result<[Station; 3], AppError> {
        let nudges = Nudges::default();
        let both = || (store.clone(), spool.clone());
        let intake = Intake::new(
            intake::Settings {
                data_dir: self.config.data_dir.clone(),
                tenants: self.replaceable.tenants.clone(),
                rescan: options.rescan,
                files_at_once: 2,
            },
            both(),
            (Arc::clone(world), Arc::clone(metrics)),
            Arc::clone(&self.replaceable.doorbell),
            nudges.clone(),
            options.watch,
        );
        let dispatch = Dispatch::new(
            dispatch::Settings::new(self.replaceable.routes.clone(), wiring::boot_id()),
            self.config.providers.clone(),
            both(),
            (Arc::clone(world), Arc::clone(metrics)),
            Arc::clone(&nudges.dispatch),
            Arc::clone(&nudges.outbox),
        )?;
        let answers = Arc::clone(&self.replaceable.answers);
        let publisher = Publisher::new(
            store.clone(),
            spool.clone(),
            outbox::Settings {
                data_dir: self.config.data_dir.clone(),
                tenant: Arc::new(move |tenant| {
                    answers.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
                }),
            },
            (Arc::clone(world), Arc::clone(metrics)),
            Arc::clone(&nudges.outbox) as Arc<Notify>,
        );
        Ok([
            (INTAKE, Box::new(intake)),
            (DISPATCH, Box::new(dispatch)),
            (ANSWERS, Box::new(publisher)),
        ])
    }

    #[allow(clippy::disallowed_methods, reason = "long-lived tasks belong to the app")]
    fn spawn(
        &mut self,
        name: &'static str,
        task: impl Future<Output = TaskResult> + Send + 'static,
    ) {
        self.tasks.spawn(async move { (name, task.await) });
    }

    /// Tells systemd that every port is bound.
    pub fn tell_ready(&self) {
        notify_systemd(&[sd_notify::NotifyState::Ready]);
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
        let needing_restart = restart_needed(&self.config, &config);
        config.data_dir.clone_from(&self.config.data_dir);
        prepare_folders(&config)?;
        self.replaceable.lay(&config);
        self.config = config;
        Ok(needing_restart)
    }

    /// Runs until a signal or the token asks to stop, or a station fails. SIGHUP calls `reread` for a
    /// new configuration; a bad one leaves the old one in force.
    pub async fn run(
        mut self,
        token: CancellationToken,
        mut reread: impl FnMut() -> Option<Config>,
    ) -> Result<(), AppError> {
        let mut hangup = signal(SignalKind::hangup()).map_err(AppError::Signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
        let mut alive = tokio::time::interval(Duration::from_secs(5));
        let failure = loop {
            tokio::select! {
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                () = token.cancelled() => break None,
                Some(ended) = self.tasks.join_next() => break Some(failure_of(ended)),
                _ = alive.tick() => self.prove_alive().await,
                _ = hangup.recv() => self.take_new(reread()),
            }
        };
        tracing::info!("stopping");
        notify_systemd(&[sd_notify::NotifyState::Stopping]);
        let stopping = async {
            let stopped = self.stop().await;
            match failure {
                Some(error) => Err(error),
                None => stopped,
            }
        };
        tokio::select! {
            result = stopping => result,
            // A second signal ends the grace at once: a crash is an ordinary way to stop.
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    }

    fn take_new(&mut self, config: Option<Config>) {
        let Some(config) = config else { return };
        match self.reload(config) {
            Ok(keys) if keys.is_empty() => tracing::info!("configuration read anew"),
            Ok(keys) => tracing::warn!(
                keys = keys.join(", "),
                "configuration read anew; these keys take effect at the next start"
            ),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "new configuration cannot be taken; the old one stays in force"
            ),
        }
    }

    /// Feeds systemd's watchdog, but only while the store answers.
    async fn prove_alive(&self) {
        let store = self.store.clone();
        if blocking(move || !store.health().failed && store.batches(None, 1).is_ok()).await {
            notify_systemd(&[sd_notify::NotifyState::Watchdog]);
        }
    }

    /// Stops in order: no new sessions, no new files, no new attempts, the answers to what is settled.
    pub async fn stop(mut self) -> Result<(), AppError> {
        let mut first_failure = None;
        for (stage, token) in self.stages.clone() {
            token.cancel();
            let names: &[&str] = match stage {
                "doors" => &["doors"],
                "intake" => &["intake"],
                "dispatch" => &["dispatch"],
                _ => &["outbox", "admin"],
            };
            let mut left = names.len();
            while left > 0 {
                let Some(ended) = self.tasks.join_next().await else { break };
                if let Ok((name, Ok(()))) = &ended {
                    left -= usize::from(names.contains(name));
                    continue;
                }
                let failure = failure_of(ended);
                tracing::error!(error = &failure as &dyn std::error::Error, "station failed");
                first_failure.get_or_insert(failure);
                left = 0;
            }
        }
        tracing::info!("stopped");
        first_failure.map_or(Ok(()), Err)
    }
}

impl Replaceable {
    fn of(config: &Config) -> Replaceable {
        let replaceable = Replaceable {
            accounts: Accounts::new(config.transfer.limits.password_checks_max),
            tenants: Tenants::default(),
            routes: Routes::default(),
            answers: AnswerTable::default(),
            doorbell: Arc::default(),
        };
        replaceable.lay(config);
        replaceable
    }

    fn lay(&self, config: &Config) {
        self.accounts.replace(config.accounts.clone(), config.for_doors());
        self.tenants.replace(config.for_intake());
        self.routes.replace(config.for_dispatch());
        *self.answers.write().unwrap_or_else(PoisonError::into_inner) =
            Arc::new(wiring::answers(config));
        for tenant in &config.tenants {
            self.doorbell.ring(&tenant.id);
        }
    }
}

fn failure_of(ended: Result<Ended, tokio::task::JoinError>) -> AppError {
    match ended {
        Ok((station, Ok(()))) => AppError::Ended { station },
        Ok((station, Err(source))) => AppError::Station { station, source },
        Err(error) => AppError::Station { station: "a task", source: Box::new(error) },
    }
}

fn prepare_folders(config: &Config) -> Result<(), AppError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| AppError::Folder { path, source }
    };
    std::fs::create_dir_all(&config.data_dir).map_err(failed(&config.data_dir))?;
    for tenant in &config.tenants {
        TenantTree::prepare(&config.data_dir, &tenant.id).map_err(failed(&config.data_dir))?;
    }
    Ok(())
}

/// Evidence goes to the store before the client hears "success"; then intake is woken.
fn journal(store: &Store, doorbell: &Arc<Doorbell>) -> crate::files::Journal {
    let (store, doorbell) = (store.clone(), Arc::clone(doorbell));
    Arc::new(move |evidence| {
        store.record_upload(&evidence)?;
        doorbell.ring(&evidence.tenant);
        Ok(())
    })
}

/// Tells systemd, where it started us.
fn notify_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

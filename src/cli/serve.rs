//! `serve`: the daemon in the foreground.

use std::io::IsTerminal;
use std::sync::Arc;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio_util::sync::CancellationToken;

use super::args::Global;
use super::check::load;
use super::outcome::{Failure, say};
use crate::app::{App, Options};
use crate::config::{self, Config, Log};
use crate::telemetry;
use crate::world::World;

/// Threads for disk and store. Each keeps memory of its own, and more of them do not make a disk
/// faster.
const BLOCKING_THREADS_MAX: usize = 16;

pub(super) fn serve(global: &Global) -> Result<(), Failure> {
    let config = load(global)?;
    keep_private();
    start_log(&config.log)?;
    let mut options = Options::default();
    if let Some(files_max) = raise_file_limit(config.transfer.limits.connections_max) {
        options.files_max = files_max;
    }
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let app = App::start(config, Arc::new(World::real()), options).await.context("start")?;
        app.run(CancellationToken::new(), || reread(global)).await.context("run")
    });
    // A file that is still being read is read anew at the next start; nobody waits for it.
    runtime.shutdown_background();
    Ok(result?)
}

/// The threads that the daemon runs on.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .context("start runtime")
}

/// What is made from now on, nobody but the daemon's user and group may look into.
pub(super) fn keep_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o027));
}

/// Lets the daemon open as many files as the system allows it: the soft limit is usually 1024, for the
/// sake of programs of another kind. Returns how many it may open from now on.
fn raise_file_limit(connections_max: usize) -> Option<usize> {
    /// Control, its double for cutting it, data, file.
    const FILES_PER_CONNECTION: usize = 4;
    let (soft, hard) = file_limit()?;
    let mut now = hard;
    let all = Rlimit { current: Some(hard), maximum: Some(hard) };
    if soft < hard
        && let Err(error) = setrlimit(Resource::Nofile, all)
    {
        tracing::warn!(%error, soft, hard, "limit of open files cannot be raised");
        now = soft;
    }
    if hard < (connections_max * FILES_PER_CONNECTION) as u64 {
        tracing::warn!(hard, connections_max, "limit of open files is too low for all connections");
    }
    usize::try_from(now).ok()
}

/// The soft and the hard limit of open files. Read as text: the system call that asks is the one that
/// sets, which systemd's filter refuses.
fn file_limit() -> Option<(u64, u64)> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut words = line.split_whitespace();
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// A bad new configuration leaves the old one running and says so.
fn reread(global: &Global) -> Option<Config> {
    match config::load(&global.config) {
        Ok(config) => Some(config),
        Err(error) => {
            tracing::error!(problems = %error, "new configuration is refused; the old one stays in force");
            None
        }
    }
}

pub(super) fn start_log(log: &Log) -> Result<(), Failure> {
    #[allow(clippy::disallowed_methods, reason = "systemd says there that it keeps the log")]
    let journal = std::env::var("JOURNAL_STREAM").is_ok() && !std::io::stderr().is_terminal();
    let filter = format!("{},notify=warn,sled=warn,russh=warn", log.filter);
    telemetry::init(log.format, &filter, journal).context("start log")?;
    if journal {
        say(format_args!("dropchute {} starting", env!("CARGO_PKG_VERSION")));
    }
    Ok(())
}

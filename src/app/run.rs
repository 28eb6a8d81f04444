//! Watch and stop: signals, a station that fails, systemd's watchdog, the order of the end.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{Id, JoinError};
use tokio_util::sync::CancellationToken;

use super::error::AppError;
use super::start::{App, TaskResult};
use crate::config::Config;
use crate::worker::blocking;

impl App {
    /// Tells systemd that all is ready, then runs until a signal or the token asks to stop, or a
    /// station fails. SIGHUP calls `reread` for a new configuration; a bad one leaves the old one in
    /// force.
    pub async fn run(
        mut self,
        token: CancellationToken,
        mut reread: impl FnMut() -> Option<Config>,
    ) -> Result<(), AppError> {
        let mut hangup = signal(SignalKind::hangup()).map_err(AppError::Signals)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(AppError::Signals)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(AppError::Signals)?;
        // Every port is bound, and from here on a signal finds its handler: before, SIGHUP would kill.
        notify_systemd(&[sd_notify::NotifyState::Ready]);
        let mut alive = tokio::time::interval(Duration::from_secs(5));
        let failure = loop {
            tokio::select! {
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                () = token.cancelled() => break None,
                failure = self.ended() => break Some(failure),
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

    /// Waits until a task ends that nobody asked to: a fault, which ends the process. Cancel-safe.
    pub async fn ended(&mut self) -> AppError {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.failure(ended),
            None => std::future::pending().await,
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
        for (names, token) in self.stages.clone() {
            token.cancel();
            // A task that failed before is not waited for.
            while self.running.values().any(|name| names.contains(name)) {
                let Some(ended) = self.tasks.join_next_with_id().await else { break };
                if let Ok((id, Ok(()))) = &ended
                    && self.running.get(id).is_some_and(|name| names.contains(name))
                {
                    self.running.remove(id);
                    continue;
                }
                let failure = self.failure(ended);
                tracing::error!(error = &failure as &dyn std::error::Error, "station failed");
                first_failure.get_or_insert(failure);
            }
        }
        tracing::info!("stopped");
        first_failure.map_or(Ok(()), Err)
    }

    /// What it means that a task ended which nobody had asked to.
    fn failure(&mut self, ended: Result<(Id, TaskResult), JoinError>) -> AppError {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        let station = self.running.remove(&id).unwrap_or("a task");
        match ended {
            Ok((_, Ok(()))) => AppError::Ended { station },
            Ok((_, Err(source))) => AppError::Station { station, source },
            Err(error) => AppError::Station { station, source: Box::new(error) },
        }
    }
}

/// Tells systemd, where it started us.
fn notify_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::Timestamp;

    use super::*;
    use crate::app::Options;
    use crate::batch::{BatchEvent, BatchState};
    use crate::model::BatchId;
    use crate::store::{Acceptance, BatchRecord, ChunkRecord, ControlRecord, Facts, Store};
    use crate::world::World;

    const CONFIG: &str = r#"
format = 1
data_dir = "data"
disk_reserve = "0%"
[sftp]
listen = ["127.0.0.1:0"]
[ftp]
listen = []
[admin]
listen = "127.0.0.1:0"
[tenant.acme]
"#;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_station_that_fails_ends_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dropchute.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let config = crate::config::load(&path).unwrap();
        std::fs::create_dir(&config.data_dir).unwrap();
        let world = Arc::new(World::real());
        let mut app = App::start(config, world, Options::default()).await.unwrap();
        let failing = app.tasks.spawn(async { Err("the disk failed".into()) });
        app.running.insert(failing.id(), "dispatch");
        let run = app.run(CancellationToken::new(), || None);
        let ended = tokio::time::timeout(Duration::from_secs(60), run).await;
        let error = ended.expect("the other stations are stopped").unwrap_err();
        assert_eq!(error.to_string(), "dispatch stopped");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_that_cannot_be_read_is_set_aside_and_its_tenant_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dropchute.toml");
        std::fs::write(&path, CONFIG).unwrap();
        let config = crate::config::load(&path).unwrap();
        std::fs::create_dir(&config.data_dir).unwrap();
        // A running batch without its rows.
        let store = Store::open(&config.data_dir.join("store")).unwrap();
        lay_running(&store);
        drop(store);
        let world = Arc::new(World::real());
        let mut app = App::start(config, world, Options::default()).await.unwrap();
        let (store, batch) = (app.store.clone(), batch());
        let what = format!("aside {}", batch.id);
        let aside = tokio::time::timeout(Duration::from_secs(30), async {
            while !store.is_noted(&batch.tenant, &what, "").unwrap() {
                tokio::task::yield_now().await;
            }
        });
        tokio::select! {
            aside = aside => aside.expect("the tenant is told"),
            error = app.ended() => panic!("{error:?}"),
        }
        app.stop().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_reload_that_would_leave_rows_without_an_end_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dropchute.toml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            crate::config::load(&path).unwrap()
        };
        let config = read(CONFIG);
        std::fs::create_dir(&config.data_dir).unwrap();
        let store = Store::open(&config.data_dir.join("store")).unwrap();
        lay_running(&store);
        drop(store);
        let world = Arc::new(World::real());
        let mut app = App::start(config, world, Options::default()).await.unwrap();
        let without = read(&CONFIG.replace("tenant.acme", "tenant.other"));
        let refused = app.reload(without).unwrap_err().to_string();
        assert_eq!(
            refused,
            "tenant acme is gone, and 1 batches of it are open; suspend it instead"
        );
        let channel =
            "[tenant.acme.channel]\nsms = [\"new\"]\n[provider.new]\nkind = \"simulator\"\n";
        let refused = app.reload(read(&format!("{CONFIG}{channel}"))).unwrap_err().to_string();
        assert!(refused.starts_with("channel sms of tenant acme names provider new"), "{refused}");
        assert_eq!(app.reload(read(CONFIG)).unwrap(), Vec::<String>::new());
        app.stop().await.unwrap();
    }

    /// A running batch with a row that is due.
    fn lay_running(store: &Store) {
        let record = store.open_batch(batch()).unwrap();
        let chunk = ChunkRecord {
            number: 0,
            offset: 0,
            bytes: 1,
            first_row: 1,
            rows: 1,
            duplicates: None,
            open: 1,
            deferred: 0,
            resendable: Some(0),
            due: Some(Timestamp::UNIX_EPOCH),
            urgency: None,
            outcomes_bytes: 0,
        };
        store.put_chunks(record.id, &[chunk]).unwrap();
        store.conclude(record, BatchEvent::FileAccepted, &Acceptance::default()).unwrap();
    }

    fn batch() -> BatchRecord {
        BatchRecord {
            id: BatchId::from_u64(1),
            tenant: "acme".parse().unwrap(),
            path: "inbox/messages/a.csv".to_owned(),
            state: BatchState::Claimed,
            account: String::new(),
            proof: None,
            received_at: Timestamp::UNIX_EPOCH,
            claimed_at: Timestamp::UNIX_EPOCH,
            validated_at: None,
            closed_at: None,
            facts: Facts::default(),
            chunks: 0,
            hold: None,
            control: ControlRecord::default(),
        }
    }
}

//! Watch and stop: signals, a station that fails, systemd's watchdog, the order of the end.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::error::AppError;
use super::start::{App, Ended};
use crate::config::Config;
use crate::worker::blocking;

impl App {
    /// Tells systemd that every port is bound.
    pub fn tell_ready(&self) {
        notify_systemd(&[sd_notify::NotifyState::Ready]);
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

fn failure_of(ended: Result<Ended, tokio::task::JoinError>) -> AppError {
    match ended {
        Ok((station, Ok(()))) => AppError::Ended { station },
        Ok((station, Err(source))) => AppError::Station { station, source },
        Err(error) => AppError::Station { station: "a task", source: Box::new(error) },
    }
}

/// Tells systemd, where it started us.
fn notify_systemd(states: &[sd_notify::NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd cannot be told");
    }
}

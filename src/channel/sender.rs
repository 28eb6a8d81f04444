//! A provider ready to take messages: permits and connections first, then one message each.
//!
//! Sending has two steps because dispatch writes its start mark between them: after `ready` nothing of
//! the message has left; once `send` was called something may have.

use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::directory::Directory;
use super::http::Http;
use super::settings::{ProviderKind, ProviderSettings, SimulatorSettings};
use super::simulator::Simulator;
use super::smtp::{Connection, Smtp};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, OutgoingMessage};
use crate::world::World;

/// A provider's settings that cannot work.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    #[error("{key}: {problem}")]
    Setting { key: &'static str, problem: String },
    #[error("{key}: reading {path}")]
    File {
        key: &'static str,
        path: String,
        #[source]
        cause: std::io::Error,
    },
}

/// One provider.
#[derive(Debug)]
pub struct Channel {
    settings: ProviderSettings,
    capacity: usize,
    permits: Semaphore,
    driver: Driver,
}

#[derive(Debug)]
enum Driver {
    Smtp(Box<Smtp>),
    Http(Box<Http>),
    Simulator(Simulator),
    Directory(Directory),
}

/// What `ready` prepared for one message.
enum Link {
    Smtp(Box<Connection>),
    Http { token: String },
    Nothing,
}

impl Channel {
    /// Checks settings and templates and builds clients; touches no network.
    pub fn new(settings: ProviderSettings, world: Arc<World>) -> Result<Channel, ChannelError> {
        let mut permits = settings.concurrency.max(1);
        let driver = match &settings.kind {
            ProviderKind::Smtp(smtp) => {
                permits = permits.min(smtp.connections.max(1));
                Driver::Smtp(Box::new(Smtp::new((**smtp).clone(), world)?))
            }
            ProviderKind::Http(http) => {
                Driver::Http(Box::new(Http::new(http, settings.concurrency, world)?))
            }
            ProviderKind::Simulator(simulator) => {
                Driver::Simulator(Simulator::new(&settings.id, simulator.clone()))
            }
            ProviderKind::Directory(directory) => {
                Driver::Directory(Directory::new(directory.clone(), world))
            }
        };
        Ok(Channel { settings, capacity: permits, permits: Semaphore::new(permits), driver })
    }

    /// The simulator that takes what is only tried out, with receipts.
    pub fn simulator() -> Channel {
        let simulator = SimulatorSettings { receipts: true, ..SimulatorSettings::default() };
        let kind = ProviderKind::Simulator(simulator.clone());
        // Endings are the file's own choice: they say nothing of the simulator.
        let failures_max = u32::MAX;
        let settings =
            ProviderSettings { failures_max, ..ProviderSettings::new("simulator", kind) };
        let capacity = settings.concurrency;
        let permits = Semaphore::new(capacity);
        Channel {
            settings,
            capacity,
            permits,
            driver: Driver::Simulator(Simulator::new("simulator", simulator)),
        }
    }

    pub fn settings(&self) -> &ProviderSettings {
        &self.settings
    }

    /// Messages that it takes at the same time at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Waits for a permit and prepares whatever a message needs: a connection, a token.
    ///
    /// Cancel-safe: dropped, it gives the permit back and closes what it was opening.
    pub async fn ready(&self) -> Result<Ready<'_>, Attempt> {
        let permit = self.permits.acquire().await.map_err(|_| {
            Attempt::new(
                Outcome::Transient(crate::model::UntilHint(None)),
                Some(ReasonCode::DeliveryNetwork),
                "the channel is closed",
            )
        })?;
        let link = match &self.driver {
            // Boxed: many wait for a permit, and only those that have one need this much room.
            Driver::Smtp(smtp) => Link::Smtp(Box::new(Box::pin(smtp.checkout()).await?)),
            Driver::Http(http) => Link::Http { token: Box::pin(http.token()).await? },
            Driver::Simulator(_) | Driver::Directory(_) => Link::Nothing,
        };
        Ok(Ready { driver: &self.driver, _permit: permit, link })
    }
}

/// Permission, and everything needed, to send one message.
pub struct Ready<'a> {
    driver: &'a Driver,
    _permit: SemaphorePermit<'a>,
    link: Link,
}

impl std::fmt::Debug for Ready<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ready")
    }
}

impl Ready<'_> {
    /// Hands the message over. NOT cancel-safe: dropped, the outcome is unknown.
    pub async fn send(self, message: &OutgoingMessage) -> Attempt {
        match (self.driver, self.link) {
            (Driver::Smtp(smtp), Link::Smtp(connection)) => smtp.send(*connection, message).await,
            (Driver::Http(http), Link::Http { token }) => http.send(&token, message).await,
            (Driver::Simulator(simulator), _) => simulator.send(message).await,
            (Driver::Directory(directory), _) => directory.send(message).await,
            (Driver::Smtp(_) | Driver::Http(_), _) => {
                unreachable!("ready gives each driver its own kind of link")
            }
        }
    }

    /// Gives everything back, for a message that must not go after all.
    pub fn release(self) {
        if let (Driver::Smtp(smtp), Link::Smtp(connection)) = (self.driver, self.link) {
            smtp.check_in(*connection);
        }
    }
}

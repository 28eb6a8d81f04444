//! SMTP: a small pool of connections, one message at a time on each.
//!
//! Start reading at `exchange.rs`, the talk about one message. An outcome never waits for what a
//! connection needs afterwards: that is done when the next message takes it.

mod classify;
mod connect;
mod connection;
mod exchange;
mod login;
mod offers;
mod reply;
mod tls;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};

use super::mail::compose;
use super::sender::ChannelError;
use super::settings::SmtpSettings;
use crate::model::{Attempt, OutgoingMessage};
use crate::world::World;

pub(super) use connection::Connection;

#[derive(Debug)]
pub(super) struct Smtp {
    settings: SmtpSettings,
    tls: Option<tls::Tls>,
    world: Arc<World>,
    /// Last in, first out: under little load the others age out. The channel's permits bound it.
    idle: Mutex<Vec<Connection>>,
}

impl Smtp {
    pub(super) fn new(settings: SmtpSettings, world: Arc<World>) -> Result<Smtp, ChannelError> {
        if settings.host.is_empty() {
            return Err(ChannelError::Setting { key: "host", problem: "must be given".to_owned() });
        }
        let hello = &settings.hello_name;
        if hello.is_empty() || !hello.bytes().all(|b| b.is_ascii_graphic()) {
            let problem = "must be a host name".to_owned();
            return Err(ChannelError::Setting { key: "hello_name", problem });
        }
        let tls = tls::Tls::new(&settings)?;
        Ok(Smtp { settings, tls, world, idle: Mutex::new(Vec::new()) })
    }

    /// A connection that was alive a moment ago: an idle one, or a new one. Cancel-safe.
    pub(super) async fn checkout(&self) -> Result<Connection, Attempt> {
        let now = self.world.clock.instant();
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = idle else { break };
            if !connection.is_fresh(&self.settings, now) {
                connection.dismiss();
            } else if connection.tidy(&self.settings).await {
                return Ok(connection);
            }
        }
        Connection::open(&self.settings, self.tls.as_ref(), now).await
    }

    pub(super) fn check_in(&self, mut connection: Connection) {
        if connection.rest(&self.settings, self.world.clock.instant()) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        } else {
            connection.dismiss();
        }
    }

    /// Waits for nothing but the outcome. NOT cancel-safe.
    pub(super) async fn send(
        &self,
        mut connection: Connection,
        message: &OutgoingMessage,
    ) -> Attempt {
        let attempt = match compose(message) {
            Ok(email) => connection.deliver(&email, &self.settings).await,
            Err(refused) => refused,
        };
        self.check_in(connection);
        attempt
    }
}

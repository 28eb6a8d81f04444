//! Any HTTP API, described in the configuration: one request per message, one outcome from its answer.

mod auth;
mod classify;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::answer::{lost, unknown};
use super::sender::ChannelError;
use super::settings::HttpSettings;
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, OutgoingMessage};
use crate::world::World;
use classify::{Answer, Rules};

/// Longest part of an answer that is read, in bytes.
const RESPONSE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    requests: request::Requests,
    auth: auth::Auth,
    rules: Rules,
    world: Arc<World>,
}

impl Http {
    pub(super) fn new(
        settings: &HttpSettings,
        concurrency: usize,
        world: Arc<World>,
    ) -> Result<Http, ChannelError> {
        // The exchange's time counts from the connection on: a host that is not there must run into the
        // time-out of the connection, after which nothing can have been taken.
        let connecting = settings.connect_timeout.min(settings.timeout);
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .pool_max_idle_per_host(concurrency.max(1))
            .pool_idle_timeout(settings.idle_max)
            .connect_timeout(connecting)
            .timeout(connecting.saturating_add(settings.timeout))
            .user_agent(concat!("dropchute/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| setting("kind", &error))?;
        let rules = Rules {
            success: settings.success.clone(),
            id_pointer: settings.id_pointer.clone(),
            code_pointer: settings.code_pointer.clone(),
            outcomes: outcomes(&settings.outcomes)?,
        };
        for (key, pointer) in [
            ("id_pointer", rules.id_pointer.as_str()),
            ("code_pointer", rules.code_pointer.as_str()),
            (
                "success.pointer",
                rules.success.as_ref().map_or("", |success| success.pointer.as_str()),
            ),
        ] {
            if !pointer.is_empty() && !pointer.starts_with('/') {
                let problem = "a JSON pointer begins with /".to_owned();
                return Err(ChannelError::Setting { key, problem });
            }
        }
        let auth = auth::Auth::new(settings.auth.clone(), client.clone(), world.clone())?;
        Ok(Http { requests: request::Requests::new(settings)?, client, auth, rules, world })
    }

    /// Cancel-safe: what the request needs before it, which for OAuth 2 may be a new token.
    pub(super) async fn token(&self) -> Result<String, Attempt> {
        self.auth.token().await
    }

    pub(super) async fn send(&self, token: &str, message: &OutgoingMessage) -> Attempt {
        let request = self
            .requests
            .build(&self.client, message)
            .and_then(|request| self.auth.apply(request, token));
        let request = match request {
            Ok(request) => request,
            Err(problem) => {
                let code = Some(ReasonCode::DeliveryOther);
                return Attempt::new(Outcome::PermanentMessage, code, problem);
            }
        };
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            // Neither TCP nor TLS stood: nothing can have been taken.
            Err(error) if error.is_connect() => return lost("not connected"),
            Err(error) if error.is_timeout() => {
                return unknown("the provider took too long to answer");
            }
            // How much of the request left cannot be told.
            Err(_) => return unknown("the connection was lost before the answer"),
        };
        let status = response.status().as_u16();
        if status == 401 {
            self.auth.forget(token).await;
        }
        let retry_after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| classify::retry_after(text, self.world.clock.now()));
        let (body, whole) = read(&mut response).await;
        self.rules.attempt(&Answer { status, body: &body, whole, retry_after })
    }
}

/// The body up to the cap, and whether that is all of it.
async fn read(response: &mut reqwest::Response) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > RESPONSE_BYTES_MAX => {
                return (body, false);
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, true),
            Err(_) => return (body, false),
        }
    }
}

fn outcomes(given: &BTreeMap<String, Outcome>) -> Result<BTreeMap<String, Outcome>, ChannelError> {
    for key in given.keys() {
        let status = key.strip_prefix("http:");
        if status
            .is_some_and(|status| !status.parse().is_ok_and(|code: u16| (100..600).contains(&code)))
        {
            let problem = format!("{key:?} must be http: and a status from 100 to 599");
            return Err(ChannelError::Setting { key: "outcomes", problem });
        }
    }
    Ok(given.clone())
}

fn setting(key: &'static str, error: &dyn std::error::Error) -> ChannelError {
    ChannelError::Setting { key, problem: error.to_string() }
}

//! How a request says who we are.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use sha2::Sha256;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::answer::lost;
use super::super::sender::ChannelError;
use super::super::settings::{HmacEncoding, HttpAuth, Secret};
use super::{read, setting};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome};
use crate::world::World;

/// A token is asked for anew this long before it ends.
const TOKEN_MARGIN: Duration = Duration::from_secs(30);
/// What a token without `expires_in` lives.
const TOKEN_SECONDS: u64 = 300;

pub(super) struct Auth {
    kind: HttpAuth,
    client: reqwest::Client,
    world: Arc<World>,
    /// OAuth 2: the token and when to ask for another.
    token: Mutex<Option<(String, Instant)>>,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kind.fmt(f)
    }
}

impl Auth {
    pub(super) fn new(
        kind: HttpAuth,
        client: reqwest::Client,
        world: Arc<World>,
    ) -> Result<Auth, ChannelError> {
        if let HttpAuth::Header { name, .. } | HttpAuth::Hmac { header: name, .. } = &kind {
            HeaderName::from_bytes(name.as_bytes())
                .map_err(|error| setting("auth.name", &error))?;
        }
        if let HttpAuth::OAuth2 { token_url, .. } = &kind {
            reqwest::Url::parse(token_url).map_err(|_| ChannelError::Setting {
                key: "auth.token_url",
                problem: "is no URL".to_owned(),
            })?;
        }
        Ok(Auth { kind, client, world, token: Mutex::new(None) })
    }

    /// The token of this moment; empty where the kind needs none. One caller asks, the others wait.
    pub(super) async fn token(&self) -> Result<String, Attempt> {
        let HttpAuth::OAuth2 { token_url, client_id, client_secret, scope } = &self.kind else {
            return Ok(String::new());
        };
        let mut kept = self.token.lock().await;
        let now = self.world.clock.instant();
        if let Some((token, until)) = kept.as_ref()
            && now < *until
        {
            return Ok(token.clone());
        }
        let (token, lives) = self.fetch(token_url, client_id, client_secret, scope).await?;
        *kept = Some((token.clone(), now + lives.saturating_sub(TOKEN_MARGIN)));
        Ok(token)
    }

    /// The provider refused this token: the next message asks for another.
    pub(super) async fn forget(&self, refused: &str) {
        let mut kept = self.token.lock().await;
        if kept.as_ref().is_some_and(|(token, _)| token == refused) {
            *kept = None;
        }
    }

    async fn fetch(
        &self,
        url: &str,
        id: &str,
        secret: &Secret,
        scope: &str,
    ) -> Result<(String, Duration), Attempt> {
        let escape = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let mut body = "grant_type=client_credentials".to_owned();
        if !scope.is_empty() {
            body.push_str(&format!("&scope={}", escape(scope)));
        }
        // RFC 6749, 2.3.1: both are form-encoded before they go into Basic.
        let request = self
            .client
            .post(url)
            .basic_auth(escape(id), Some(escape(secret.reveal())))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(body);
        let mut response = request.send().await.map_err(|_| lost("no token: not connected"))?;
        let status = response.status().as_u16();
        let (body, _whole) = read(&mut response).await;
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
        let token = answer.pointer("/access_token").and_then(|token| token.as_str());
        match (status, token) {
            (200, Some(token)) => {
                let lives = answer.pointer("/expires_in").and_then(|seconds| seconds.as_u64());
                Ok((token.to_owned(), Duration::from_secs(lives.unwrap_or(TOKEN_SECONDS))))
            }
            (429 | 500..=599, _) => Err(lost(format!("no token: the answer was {status}"))),
            _ => {
                let code = Some(ReasonCode::DeliveryProviderCredentials);
                let detail = format!("no token: the answer was {status}");
                Err(Attempt::new(Outcome::Account, code, detail))
            }
        }
    }

    pub(super) fn apply(
        &self,
        mut request: reqwest::Request,
        token: &str,
    ) -> Result<reqwest::Request, String> {
        match &self.kind {
            HttpAuth::None => {}
            HttpAuth::Bearer { token } => {
                set(&mut request, AUTHORIZATION.as_str(), &format!("Bearer {}", token.reveal()))?;
            }
            HttpAuth::OAuth2 { .. } => {
                set(&mut request, AUTHORIZATION.as_str(), &format!("Bearer {token}"))?;
            }
            HttpAuth::Basic { username, password } => {
                let pair = STANDARD.encode(format!("{username}:{}", password.reveal()));
                set(&mut request, AUTHORIZATION.as_str(), &format!("Basic {pair}"))?;
            }
            HttpAuth::Header { name, value } => set(&mut request, name, value.reveal())?,
            HttpAuth::Query { name, value } => {
                request.url_mut().query_pairs_mut().append_pair(name, value.reveal());
            }
            HttpAuth::Hmac { header, secret, encoding } => {
                let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
                let signature = sign(secret, body, *encoding);
                set(&mut request, header, &signature)?;
            }
        }
        Ok(request)
    }
}

fn set(request: &mut reqwest::Request, name: &str, value: &str) -> Result<(), String> {
    let problem = || "the secret does not fit in a header".to_owned();
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| problem())?;
    let mut value = HeaderValue::from_str(value).map_err(|_| problem())?;
    value.set_sensitive(true);
    request.headers_mut().insert(name, value);
    Ok(())
}

fn sign(secret: &Secret, body: &[u8], encoding: HmacEncoding) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.reveal().as_bytes())
        .expect("HMAC takes a key of any length");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    match encoding {
        HmacEncoding::Hex => hex::encode(digest),
        HmacEncoding::Base64 => STANDARD.encode(digest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_hmac_sha256_as_rfc_4231_has_it() {
        let secret = Secret::new("Jefe");
        let hex = sign(&secret, b"what do ya want for nothing?", HmacEncoding::Hex);
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}

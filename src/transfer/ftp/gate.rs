//! Logins over FTP.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use unftp_core::auth::{
    AuthenticationError, Authenticator, ChannelEncryptionState, Credentials, Principal, UserDetail,
    UserDetailError, UserDetailProvider,
};

use super::clear::Clear;
use crate::files::Home;
use crate::transfer::counters::count;
use crate::transfer::house::House;
use crate::transfer::visit::Visit;
use crate::worker::blocking;

/// Checks the passwords of one connection, and turns a login into a guest with a home.
pub(super) struct Gate {
    house: Arc<House>,
    visit: Visit,
    clear: Clear,
    /// Whether anybody at all may log in without TLS.
    clear_allowed: bool,
    attempts: AtomicUsize,
    /// The home of who has just logged in; the library passes on nothing but a name.
    admitted: Mutex<Option<Home>>,
}

/// One who has logged in.
#[derive(Debug)]
pub(super) struct Guest {
    account: String,
    pub(super) home: Home,
}

impl Gate {
    pub(super) fn new(house: Arc<House>, visit: Visit, clear: Clear, clear_allowed: bool) -> Gate {
        let (attempts, admitted) = (AtomicUsize::new(0), Mutex::new(None));
        Gate { house, visit, clear, clear_allowed, attempts, admitted }
    }

    async fn admit(&self, name: &str, credentials: &Credentials) -> Option<Home> {
        let protocol = match credentials.command_channel_security {
            ChannelEncryptionState::Tls => "ftps",
            ChannelEncryptionState::Plaintext if !self.clear_allowed => return None,
            ChannelEncryptionState::Plaintext => "ftp",
        };
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        if attempt >= self.house.limits().auth_attempts_max {
            return None;
        }
        let password = credentials.password.as_deref().unwrap_or_default();
        let login = self.house.check_password(&self.visit, name, password, protocol).await?;
        self.house.admit(&self.visit, &login, protocol).ok()?;
        let house = self.house.clone();
        match blocking(move || house.home(&login, protocol)).await {
            Ok(home) => Some(home),
            Err(error) => {
                tracing::error!(%error, "open the tenant's folders");
                None
            }
        }
    }
}

#[async_trait]
impl Authenticator for Gate {
    async fn authenticate(
        &self,
        username: &str,
        creds: &Credentials,
    ) -> Result<Principal, AuthenticationError> {
        let Some(home) = self.admit(username, creds).await else {
            self.house.refuse(&self.visit, username, "ftp").await;
            return Err(AuthenticationError::BadPassword);
        };
        *self.admitted.lock().unwrap_or_else(PoisonError::into_inner) = Some(home);
        Ok(Principal { username: username.to_owned() })
    }

    /// Asked at USER. No certificate is ever enough; this is the moment to refuse in clear.
    async fn cert_auth_sufficient(&self, username: &str) -> bool {
        let (accounts, peer) = (&self.house.accounts, self.visit.peer);
        self.visit.notes.spoke();
        let allowed = self.clear_allowed && accounts.may_enter(username, "ftp", peer);
        if self.clear.is_in_clear() && !allowed {
            count(self.house.counters.logins("ftp", false));
            tracing::info!(%peer, "ftp login refused: not without TLS");
            // Who has gone away in the meantime was not asked for a password either.
            self.clear.refuse().ok();
        }
        false
    }
}

#[async_trait]
impl UserDetailProvider for Gate {
    type User = Guest;

    async fn provide_user_detail(&self, principal: &Principal) -> Result<Guest, UserDetailError> {
        let account = principal.username.clone();
        match self.admitted.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(home) => Ok(Guest { account, home }),
            None => Err(UserDetailError::UserNotFound { username: account }),
        }
    }
}

impl UserDetail for Guest {}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.account)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("peer", &self.visit.peer).finish_non_exhaustive()
    }
}

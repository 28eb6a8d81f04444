//! What every connection needs of the house, and the desk where each login is decided.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::PublicKey;
use russh::keys::ssh_key::Certificate;

use super::accounts::Login;
use super::counters::count;
use super::visit::Visit;
use super::{Accounts, Counters, Limits};
use crate::files::{Home, Journal, TenantTree, TreeSettings, Visitor};
use crate::model::TenantId;
use crate::world::World;

/// Shared by all connections of all doors.
pub(super) struct House {
    pub(super) accounts: Accounts,
    pub(super) limits: Limits,
    pub(super) counters: Arc<Counters>,
    pub(super) world: Arc<World>,
    pub(super) journal: Journal,
    pub(super) data_dir: PathBuf,
    pub(super) tree_settings: TreeSettings,
    pub(super) trees: Mutex<HashMap<TenantId, Arc<TenantTree>>>,
}

/// Why somebody with the right credentials does not come in all the same; the text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denied {
    #[error("{0}")]
    TooMany(&'static str),
}

impl House {
    /// The tenant's tree, opened at its first use in this process. Blocks.
    pub(super) fn tree(&self, tenant: &TenantId) -> io::Result<Arc<TenantTree>> {
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(tenant) {
            return Ok(tree.clone());
        }
        let tree = Arc::new(TenantTree::open(
            &self.data_dir,
            tenant,
            self.tree_settings,
            self.journal.clone(),
            self.world.clone(),
        )?);
        trees.insert(tenant.clone(), tree.clone());
        Ok(tree)
    }

    /// The home of a login. Blocks.
    pub(super) fn home(&self, login: &Login, protocol: &'static str) -> io::Result<Home> {
        let account = &login.account;
        let visitor = Visitor {
            account: account.name.clone(),
            protocol,
            may_drop: account.rights.drop,
            may_collect: account.rights.collect,
        };
        Ok(Home::new(self.tree(&account.tenant)?, visitor, login.aliases.clone()))
    }

    /// The account this password opens; takes as long for strangers as for wrong passwords.
    pub(super) async fn check_password(
        &self,
        visit: &Visit,
        name: &str,
        given: &str,
        protocol: &'static str,
    ) -> Option<Login> {
        self.accounts.authenticate_password(name, given, protocol, visit.peer).await
    }

    /// The account this key opens. The caller has seen, or will see, the proof of possession.
    pub(super) fn check_key(
        &self,
        visit: &Visit,
        name: &str,
        key: &PublicKey,
        protocol: &'static str,
    ) -> Option<Login> {
        self.accounts.authenticate_key(name, key, protocol, visit.peer)
    }

    /// The account this certificate opens, as with a key.
    pub(super) fn check_certificate(
        &self,
        visit: &Visit,
        name: &str,
        certificate: &Certificate,
        protocol: &'static str,
    ) -> Option<Login> {
        let now = self.world.clock.now();
        self.accounts.authenticate_certificate(name, certificate, now, protocol, visit.peer)
    }

    /// Whether the one-time code is right; it counts once.
    pub(super) fn check_code(&self, login: &Login, code: &str) -> bool {
        self.accounts.spend_code(login, code, self.world.clock.now())
    }

    /// Lets somebody in who has proved all that is asked.
    pub(super) fn admit(
        &self,
        visit: &Visit,
        login: &Login,
        protocol: &'static str,
    ) -> Result<(), Denied> {
        count(&self.counters.logins_ok);
        let account = &login.account;
        tracing::info!(
            account = account.name,
            tenant = %account.tenant,
            peer = %visit.peer,
            protocol,
            "login"
        );
        visit.login_succeeded();
        Ok(())
    }

    /// Takes note of wrong credentials and returns when the client may hear so.
    pub(super) async fn refuse(&self, visit: &Visit, name: &str, protocol: &'static str) {
        // The name is not logged: people type passwords there.
        let _ = name;
        count(&self.counters.logins_failed);
        tracing::info!(peer = %visit.peer, protocol, "login refused");
    }
}

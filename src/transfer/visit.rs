//! What both protocols share: the tenants' trees, and what is going on in one connection.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::accounts::Login;
use super::{Accounts, Counters, Limits};
use crate::files::{Home, Journal, TenantTree, TreeSettings, Visitor};
use crate::model::TenantId;
use crate::world::World;

/// What every connection needs of the house.
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
}

/// One connection: where it comes from, whether someone has logged in, and how many transfers run.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) peer: IpAddr,
    logged_in: Arc<watch::Sender<bool>>,
    transfers: Arc<watch::Sender<usize>>,
}

impl Visit {
    pub(super) fn new(peer: IpAddr) -> Visit {
        Visit {
            peer,
            logged_in: Arc::new(watch::Sender::new(false)),
            transfers: Arc::new(watch::Sender::new(0)),
        }
    }

    pub(super) fn login_succeeded(&self) {
        self.logged_in.send_replace(true);
    }

    pub(super) fn is_logged_in(&self) -> bool {
        *self.logged_in.borrow()
    }

    /// A transfer runs until the guard is dropped.
    pub(super) fn transfer(&self) -> Transfer {
        self.transfers.send_modify(|count| *count += 1);
        Transfer(self.transfers.clone())
    }

    /// Returns when no transfer runs.
    pub(super) async fn at_rest(&self) {
        let mut transfers = self.transfers.subscribe();
        // The sender lives in `self`: it cannot be gone.
        let _ = transfers.wait_for(|count| *count == 0).await.is_ok();
    }
}

/// See `Visit::transfer`.
#[derive(Debug)]
pub(super) struct Transfer(Arc<watch::Sender<usize>>);

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

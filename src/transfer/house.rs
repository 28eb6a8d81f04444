//! What every connection needs of the house: accounts, guard, limits, the tenants' trees.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::accounts::Login;
use super::guard::{Guard, Turns};
use super::{Accounts, Counters, Limits};
use crate::files::{Home, Journal, TenantTree, TreeSettings, Visitor};
use crate::model::TenantId;
use crate::world::World;

/// Shared by all connections of all doors.
pub(super) struct House {
    pub(super) accounts: Accounts,
    pub(super) guard: Guard,
    pub(super) turns: Turns,
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
            may_drop: account.rights.drop && !login.suspended,
            may_collect: account.rights.collect,
        };
        Ok(Home::new(self.tree(&account.tenant)?, visitor, login.aliases.clone()))
    }
}

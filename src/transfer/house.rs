//! What every connection needs of the house: accounts, guard, limits, the tenants' trees.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use super::accounts::Login;
use super::counters::add;
use super::guard::{Guard, Turns};
use super::sessions::Sessions;
use super::{Accounts, Counters, Limits, Tenant};
use crate::files::{Home, Journal, TenantTree, TreeSettings, Visitor};
use crate::model::TenantId;
use crate::worker::QuickWork;
use crate::world::World;

/// An upload of so many bytes is synced where it stands, if the disk is quick.
pub(super) const QUICK_SYNC_BYTES: u64 = 1 << 20;

/// Shared by all connections of all doors.
pub(super) struct House {
    pub(super) accounts: Accounts,
    pub(super) guard: Guard,
    pub(super) turns: Turns,
    /// Replaced at reload; read anew for each connection.
    pub(super) limits: RwLock<Arc<Limits>>,
    pub(super) sessions: Arc<Sessions>,
    pub(super) counters: Arc<Counters>,
    pub(super) world: Arc<World>,
    /// How quick the disk is at names and syncs.
    pub(super) disk: Arc<QuickWork>,
    pub(super) journal: Journal,
    pub(super) data_dir: PathBuf,
    pub(super) tree_settings: TreeSettings,
    pub(super) trees: Mutex<HashMap<TenantId, Arc<TenantTree>>>,
}

impl House {
    /// Does a short piece of work on names, or a sync, which is quick on most disks.
    pub(super) fn on_disk<T>(&self, work: impl FnOnce() -> T) -> T {
        self.disk.run(|| self.world.clock.instant(), work)
    }

    /// The limits in force.
    pub(super) fn limits(&self) -> Arc<Limits> {
        self.limits.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The tenant's tree, opened at its first use in this process. Blocks.
    pub(super) fn tree(&self, tenant: &TenantId) -> io::Result<Arc<TenantTree>> {
        let settings = self.settings_of(tenant);
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = trees.get(tenant) {
            tree.apply(settings);
            return Ok(tree.clone());
        }
        let tree = Arc::new(TenantTree::open(
            &self.data_dir,
            tenant,
            settings,
            self.journal.clone(),
            self.world.clone(),
        )?);
        trees.insert(tenant.clone(), tree.clone());
        Ok(tree)
    }

    /// Opens the trees in which an earlier process left uploads that were cut, so that they end in time
    /// though nobody logs in. Blocks.
    pub(super) fn take_up_cut_uploads(&self) {
        for tenant in self.accounts.tenants() {
            let opened = match TenantTree::has_cut_uploads(&self.data_dir, &tenant) {
                Ok(true) => self.tree(&tenant).map(|_| ()),
                result => result.map(|_| ()),
            };
            if let Err(error) = opened {
                tracing::warn!(%tenant, %error, "uploads that were cut cannot be taken up");
            }
        }
    }

    /// Keeps cut uploads over a restart, drops those nobody continued in time, and lets what the
    /// configuration says of each tenant hold for those who are logged in. Every few seconds, and
    /// before the end. Blocks.
    pub(super) fn sweep(&self) {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut incomplete = 0;
        for (tenant, tree) in trees {
            tree.apply(self.settings_of(&tenant));
            add(&self.counters.uploads_expired, tree.sweep() as u64);
            incomplete += tree.incomplete() as u64;
        }
        self.counters.uploads_incomplete.store(incomplete, Ordering::Relaxed);
    }

    fn settings_of(&self, tenant: &TenantId) -> TreeSettings {
        let Some(tenant) = self.accounts.tenant(tenant) else { return self.tree_settings };
        let Tenant { quota, resume_window, suspended, .. } = *tenant;
        TreeSettings { quota, resume_window, suspended, ..self.tree_settings }
    }

    /// The home of a login. Blocks.
    pub(super) fn home(&self, login: &Login, protocol: &'static str) -> io::Result<Home> {
        let account = &login.account;
        let visitor = Visitor {
            account: account.name.clone(),
            protocol,
            may_drop: account.rights.drop,
            may_collect: account.rights.collect,
            may_control: account.rights.control,
            may_approve: account.rights.approve,
        };
        Ok(Home::new(self.tree(&account.tenant)?, visitor, Arc::new(login.tenant.aliases.clone())))
    }
}

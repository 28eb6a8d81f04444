//! What dispatch needs to know of tenants; the configuration makes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use jiff::tz::TimeZone;

use crate::disk::Disk;
use crate::model::{ChannelKind, TenantId};
use crate::pacing::Rate;
use crate::policy::Consent;
use crate::render::Template;

/// Settings of the station.
#[derive(Debug, Clone)]
pub struct Settings {
    pub routes: Routes,
    pub paused: PausedProviders,
    /// Rows recorded as claimed at once.
    pub window_rows: usize,
    /// Tells this boot of the machine from any other.
    pub boot_id: String,
    /// While it is below its floor no row is claimed.
    pub disk: Disk,
    /// Files of batches that may be open: half of them for what is under way, half for what is idle.
    pub files_max: usize,
}

impl Settings {
    pub fn new(routes: Routes, boot_id: String) -> Settings {
        Settings {
            routes,
            paused: PausedProviders::default(),
            window_rows: 256,
            boot_id,
            disk: Disk::boundless(),
            files_max: 16_384,
        }
    }
}

/// The providers that the operator has paused: nothing new is handed to them. What is on the wire ends.
#[derive(Debug, Clone, Default)]
pub struct PausedProviders(Arc<RwLock<BTreeSet<String>>>);

impl PausedProviders {
    /// From this call on no attempt begins at any of these; the others go on.
    pub fn replace(&self, ids: BTreeSet<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = ids;
    }

    pub(super) fn holds(&self, id: &str) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

/// The ways out of every tenant, replaced as a whole when the configuration is read again.
#[derive(Debug, Clone, Default)]
pub struct Routes(Arc<RwLock<Arc<Table>>>);

type Table = BTreeMap<TenantId, Arc<Route>>;

impl Routes {
    pub fn new(routes: impl IntoIterator<Item = (TenantId, Route)>) -> Routes {
        let all = Routes::default();
        all.replace(routes);
        all
    }

    pub fn replace(&self, routes: impl IntoIterator<Item = (TenantId, Route)>) {
        let map = routes.into_iter().map(|(id, route)| (id, Arc::new(route))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    pub(super) fn of(&self, tenant: &TenantId) -> Option<Arc<Route>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned()
    }
}

/// One tenant's ways out.
#[derive(Debug)]
pub struct Route {
    pub timezone: TimeZone,
    pub consent: Consent,
    /// A suspended tenant's rows stay queued, and run out of time meanwhile.
    pub suspended: bool,
    /// Its share beside other tenants' at a provider that is at its limit.
    pub weight: u32,
    /// Messages per time over all providers; none where only theirs hold.
    pub rate: Option<Rate>,
    /// So many messages of a file refused in a row for one reason pause it; 0 never does.
    pub pause_after_equal_refusals: u32,
    /// Provider ids by channel, in order of failover.
    pub channels: BTreeMap<ChannelKind, Vec<String>>,
    /// Senders the tenant may use, by channel.
    pub senders: BTreeMap<ChannelKind, Vec<String>>,
    pub templates: Vec<RouteTemplate>,
}

/// A template as it is sent.
#[derive(Debug)]
pub struct RouteTemplate {
    pub channel: ChannelKind,
    pub lang: String,
    pub template: Template,
}

impl Route {
    /// Of a tenant that is not configured any more: nothing of its goes out.
    pub(super) fn nowhere() -> Route {
        Route {
            timezone: TimeZone::UTC,
            consent: Consent::Required,
            suspended: true,
            weight: 1,
            rate: None,
            pause_after_equal_refusals: 0,
            channels: BTreeMap::new(),
            senders: BTreeMap::new(),
            templates: Vec::new(),
        }
    }

    /// The template of this name for a channel: in the row's language, else in none, else any.
    pub(super) fn template(
        &self,
        name: &str,
        channel: ChannelKind,
        lang: &str,
    ) -> Option<&Template> {
        let fitting = || {
            self.templates.iter().filter(move |t| t.channel == channel && t.template.name() == name)
        };
        fitting()
            .find(|t| t.lang == lang)
            .or_else(|| fitting().find(|t| t.lang.is_empty()))
            .or_else(|| fitting().next())
            .map(|t| &t.template)
    }

    /// True where the tenant may send as `sender` on this channel. Channels other than email may go out
    /// with the provider's own sender.
    pub(super) fn may_send_as(&self, channel: ChannelKind, sender: &str) -> bool {
        if sender.is_empty() {
            return channel != ChannelKind::Email;
        }
        self.senders.get(&channel).is_some_and(|all| all.iter().any(|s| s == sender))
    }
}

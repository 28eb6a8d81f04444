//! Where the messages of a batch can go: settled once, when the batch is opened.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::provider::{Ground, Provider};
use super::settings::{PausedProviders, Route};
use crate::channel::Channel;
use crate::model::{ChannelKind, Realm};
use crate::store::BatchRecord;

/// The providers of the configuration, by id.
pub(super) type Providers = Arc<BTreeMap<String, Arc<Provider>>>;

/// The ways out of one batch. What is only tried out holds a simulator of its own and nothing else:
/// whatever its tenant's routes say, nothing that sends for it can reach a provider.
#[derive(Debug, Clone)]
pub(super) enum Exits {
    Providers(Providers),
    Simulator(Arc<Provider>),
}

impl Exits {
    pub(super) fn of(record: &BatchRecord, providers: &Providers, ground: &Ground) -> Exits {
        match record.realm() {
            Realm::Real => Exits::Providers(Arc::clone(providers)),
            Realm::Test => {
                // The operator's halts are of providers, and this is none of them.
                let (simulator, paused) = (Channel::simulator(), PausedProviders::default());
                let simulator = Provider::new(simulator, paused, ground).of_one_batch();
                Exits::Simulator(Arc::new(simulator))
            }
        }
    }

    /// A channel's providers, in order of failover.
    pub(super) fn on(&self, channel: ChannelKind, route: &Route) -> Vec<Arc<Provider>> {
        match self {
            Exits::Simulator(simulator) => vec![Arc::clone(simulator)],
            Exits::Providers(providers) => {
                let names = route.channels.get(&channel).into_iter().flatten();
                names.filter_map(|id| providers.get(id).cloned()).collect()
            }
        }
    }

    /// True where a message to this provider is not sent again that may have left. Of one that is not there
    /// nobody knows.
    pub(super) fn holds_unknown(&self, provider: &str) -> bool {
        match self {
            Exits::Simulator(simulator) => !simulator.resends_unknown(),
            Exits::Providers(all) => all.get(provider).is_some_and(|it| !it.resends_unknown()),
        }
    }

    /// True where a message to this provider is sent again that may have left, and was tried so often.
    pub(super) fn resends_unknown(&self, provider: &str, attempts: u32) -> bool {
        let provider = match self {
            Exits::Simulator(simulator) => Some(simulator),
            Exits::Providers(all) => all.get(provider),
        };
        provider.is_some_and(|provider| {
            provider.resends_unknown() && attempts < provider.settings().retry.attempts_max
        })
    }
}

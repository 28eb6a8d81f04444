//! What the operator stops and lets go on: tenants and providers, at once and over restarts.
//!
//! The store knows what is halted. It is laid over the configuration wherever that is laid, so that doors,
//! intake and dispatch see a suspended tenant as one whose configuration says so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::gone::{Left, tenants_gone};
use super::start::Replaceable;
use super::wiring::publish_specs;
use crate::admin::{CommandAnswer, HaltCommand, HaltTarget};
use crate::batch::Decider;
use crate::channel::ProviderKind;
use crate::codes::{ReasonCode, Severity};
use crate::config::{Config, Tenant};
use crate::dispatch::PausedProviders;
use crate::model::{ChannelKind, Notice, Realm, TenantId};
use crate::store::{HaltRecord, Halted, Store, StoreError};
use crate::world::World;

/// Who halts a tenant whose configuration says `suspended = true`.
const CONFIGURATION: &str = "configuration";

/// Why a tenant is halted that it says nothing of.
const NOT_CONFIGURED: &str = "not configured";

/// Everything that a halt touches.
pub(super) struct Halting {
    store: Store,
    world: Arc<World>,
    /// As it was written, without halts.
    current: Mutex<Config>,
    replaceable: Replaceable,
    paused: PausedProviders,
    dispatch: Arc<Notify>,
}

/// The halts that hold.
type Halts = Vec<(Halted, HaltRecord)>;

impl Halting {
    /// Lays the configuration with what was halted before, and ends what was ending when the process died.
    pub(super) fn open(
        config: Config,
        (store, world): (Store, Arc<World>),
        replaceable: Replaceable,
        paused: PausedProviders,
        dispatch: Arc<Notify>,
    ) -> Result<Halting, StoreError> {
        let current = Mutex::new(config);
        let halting = Halting { store, world, current, replaceable, paused, dispatch };
        halting.lay_all(&halting.current())?;
        Ok(halting)
    }

    /// Takes a new configuration into force.
    pub(super) fn take(&self, config: Config) -> Result<(), StoreError> {
        let mut current = self.current();
        *current = config;
        self.lay_all(&current)
    }

    fn current(&self) -> MutexGuard<'_, Config> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings what the configuration suspends to the store, lays everything, and says what changed.
    fn lay_all(&self, config: &Config) -> Result<(), StoreError> {
        let now = self.world.clock.now();
        let suspended = config.tenants.iter().filter(|tenant| tenant.settings.suspended);
        let suspended = suspended.map(|tenant| (tenant.id.clone(), ""));
        // When such a tenant is configured again, that is the end of a halt: its batches look again.
        let gone = tenants_gone(config, &self.store)?.into_keys().map(|id| (id, NOT_CONFIGURED));
        let halted: BTreeMap<TenantId, &str> = suspended.chain(gone).collect();
        for (id, reason) in &halted {
            let (by, reason) = (CONFIGURATION.to_owned(), (*reason).to_owned());
            let record = HaltRecord { at: now, by, reason, ended: false };
            self.store.halt(&Halted::Tenant(id.clone()), &record)?;
        }
        for (what, record) in self.store.halts()? {
            let Halted::Tenant(id) = &what else { continue };
            if record.by == CONFIGURATION && !halted.contains_key(id) {
                self.store.end_halt(&what)?;
            }
        }
        let holding = self.lay(config)?;
        for (what, record) in &holding {
            self.say(config, &holding, what, record)?;
        }
        self.end(config, CONFIGURATION)
    }

    /// Lays the configuration with the halts that hold over doors, intake and dispatch; from here on they
    /// act by it.
    fn lay(&self, config: &Config) -> Result<Halts, StoreError> {
        let mut holding = self.store.halts()?;
        holding.retain(|(_, record)| !record.ended);
        let mut effective = config.clone();
        for tenant in &mut effective.tenants {
            let is_it = |what: &Halted| *what == Halted::Tenant(tenant.id.clone());
            tenant.settings.suspended |= holding.iter().any(|(what, _)| is_it(what));
        }
        let provider = |(what, _): &(Halted, HaltRecord)| match what {
            Halted::Provider(id) => Some(id.clone()),
            Halted::Tenant(_) => None,
        };
        self.paused.replace(holding.iter().filter_map(provider).collect());
        self.replaceable.lay(&effective);
        publish_specs(&effective);
        self.dispatch.notify_one();
        Ok(holding)
    }

    /// Tells all who waited for the end of a halt that it has come.
    fn end(&self, config: &Config, by: &str) -> Result<(), StoreError> {
        let halts = self.store.halts()?;
        let (ended, holding): (Halts, Halts) =
            halts.into_iter().partition(|(_, record)| record.ended);
        for (what, record) in &ended {
            self.say(config, &holding, what, record)?;
            self.store.tell_end_of_halt(what, by, self.world.clock.now())?;
        }
        self.dispatch.notify_one();
        Ok(())
    }

    /// Carries out a command; what it says is done is done when it returns.
    pub(super) fn command(&self, asked: &HaltCommand) -> CommandAnswer {
        let by = match asked.by.as_str() {
            "" => Decider::Operator,
            user => Decider::OperatorUser(user.to_owned()),
        };
        let config = self.current();
        let what = match find(&config, &asked.what) {
            Ok(what) => what,
            Err(why) => return CommandAnswer::Refused(why),
        };
        if let (Halted::Tenant(id), false) = (&what, asked.halt)
            && is_suspended(&config, id)
        {
            let why = "its configuration says suspended = true: change that and reload";
            return CommandAnswer::Refused(format!("tenant {id} stays suspended: {why}"));
        }
        match self.change(&config, &what, asked, &by.to_string()) {
            Ok(changed) => CommandAnswer::Done(json!({
                (word_of(&what)): name_of(&what),
                "op": asked.op(),
                "changed": changed,
                "by": by.to_string(),
            })),
            Err(error) => CommandAnswer::Refused(error.to_string()),
        }
    }

    fn change(
        &self,
        config: &Config,
        what: &Halted,
        asked: &HaltCommand,
        by: &str,
    ) -> Result<bool, StoreError> {
        let (at, reason) = (self.world.clock.now(), asked.reason.clone());
        let record = HaltRecord { at, by: by.to_owned(), reason, ended: false };
        let changed = match asked.halt {
            true => self.store.halt(what, &record)?,
            false => self.store.end_halt(what)?,
        };
        let holding = self.lay(config)?;
        if changed && asked.halt {
            self.say(config, &holding, what, &record)?;
        }
        self.end(config, by)?;
        tracing::info!(
            what = word_of(what),
            name = name_of(what),
            op = asked.op(),
            by,
            reason = asked.reason,
            changed,
            "command carried out"
        );
        Ok(changed)
    }

    /// Tells the tenants that a halt concerns of its beginning or end, once each, whatever crashes.
    fn say(
        &self,
        config: &Config,
        holding: &Halts,
        what: &Halted,
        record: &HaltRecord,
    ) -> Result<(), StoreError> {
        let about = format!("{} {}", if record.ended { "ended" } else { "halted" }, record.at);
        let key = format!("halt of {} {}", word_of(what), name_of(what));
        let at = if record.ended { self.world.clock.now() } else { record.at };
        let tell = |tenant: &TenantId, notice: Notice| {
            self.store.notice_once(tenant, &notice, &key, &about).map(|_| ())
        };
        match what {
            Halted::Tenant(id) if config.tenants.iter().any(|tenant| tenant.id == *id) => {
                tell(id, notice_of_tenant(record, at))
            }
            Halted::Tenant(_) => Ok(()),
            Halted::Provider(provider) => {
                let paused: BTreeSet<&str> = holding
                    .iter()
                    .filter(|(what, _)| matches!(what, Halted::Provider(_)))
                    .map(|(what, _)| name_of(what))
                    .collect();
                for tenant in &config.tenants {
                    let channels = waiting_channels(tenant, provider, &paused);
                    if !channels.is_empty() {
                        tell(&tenant.id, notice_of_provider(record, at, &channels))?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The tenants of the configuration, and whether they are suspended.
    pub(super) fn tenants(&self, open: impl Fn(&TenantId) -> usize) -> Value {
        let config = self.current();
        let halts = self.store.halts().unwrap_or_default();
        let line = |tenant: &Tenant| {
            let halt = held(&halts, &Halted::Tenant(tenant.id.clone()));
            let channels = tenant.settings.channels.keys().map(|channel| channel.as_str());
            let mut line = json!({
                "tenant": tenant.id.as_str(),
                "state": if halt.is_some() { "suspended" } else { "active" },
                "channels": channels.collect::<Vec<_>>(),
                "batches_open": open(&tenant.id),
            });
            describe(&mut line, halt);
            line
        };
        json!({ "tenants": config.tenants.iter().map(line).collect::<Vec<_>>() })
    }

    /// The providers of the configuration, and whether they are paused.
    pub(super) fn providers(&self) -> Value {
        let config = self.current();
        let halts = self.store.halts().unwrap_or_default();
        let lines = config.providers.iter().map(|provider| {
            let halt = held(&halts, &Halted::Provider(provider.id.clone()));
            let uses = |tenant: &&Tenant| {
                tenant.settings.channels.values().flatten().any(|id| *id == provider.id)
            };
            let mut line = json!({
                "provider": provider.id,
                "kind": kind_of(&provider.kind),
                "state": if halt.is_some() { "paused" } else { "active" },
                "tenants": config.tenants.iter().filter(uses).count(),
            });
            describe(&mut line, halt);
            line
        });
        json!({ "providers": lines.collect::<Vec<_>>() })
    }

    /// Tenants that are not configured, and what is left of them.
    pub(super) fn gone(&self) -> BTreeMap<TenantId, Left> {
        tenants_gone(&self.current(), &self.store).unwrap_or_default()
    }

    /// Suspended tenants and paused providers, for the state of the whole.
    pub(super) fn holding(&self) -> (Vec<String>, Vec<String>) {
        let halts = self.store.halts().unwrap_or_default();
        let names = |tenants: bool| {
            let of = halts.iter().filter(|(_, record)| !record.ended);
            let of = of.filter(|(what, _)| matches!(what, Halted::Tenant(_)) == tenants);
            of.map(|(what, _)| name_of(what).to_owned()).collect()
        };
        (names(true), names(false))
    }
}

fn is_suspended(config: &Config, id: &TenantId) -> bool {
    config.tenants.iter().any(|tenant| tenant.id == *id && tenant.settings.suspended)
}

/// What is meant, where the configuration has it.
fn find(config: &Config, what: &HaltTarget) -> Result<Halted, String> {
    match what {
        HaltTarget::Tenant(name) => {
            let found = config.tenants.iter().find(|tenant| tenant.id.as_str() == name);
            let found = found.map(|tenant| Halted::Tenant(tenant.id.clone()));
            found.ok_or_else(|| format!("there is no tenant {name:?}; `tenant list` shows them"))
        }
        HaltTarget::Provider(name) => {
            let found = config.providers.iter().find(|provider| provider.id == *name);
            let found = found.map(|provider| Halted::Provider(provider.id.clone()));
            found
                .ok_or_else(|| format!("there is no provider {name:?}; `provider list` shows them"))
        }
    }
}

/// The channels of a tenant that have this provider, and no other that is not paused.
fn waiting_channels(tenant: &Tenant, provider: &str, paused: &BTreeSet<&str>) -> Vec<&'static str> {
    let waits = |ids: &Vec<String>| {
        let others = |id: &String| id == provider || paused.contains(id.as_str());
        ids.iter().any(|id| id == provider) && ids.iter().all(others)
    };
    let channels = tenant.settings.channels.iter().filter(|(_, ids)| waits(ids));
    channels.map(|(channel, _): (&ChannelKind, _)| channel.as_str()).collect()
}

fn notice_of_tenant(record: &HaltRecord, at: Timestamp) -> Notice {
    let code = ReasonCode::FileTenantSuspended;
    if record.ended {
        let message = "the tenant is no longer suspended: files are taken and messages sent again";
        return end_of(at, message.to_owned());
    }
    let message = "the operator suspended the tenant: new files are refused, and messages that were \
        accepted wait, until they run out of time";
    Notice::warning(at, code, "", message.to_owned())
}

fn notice_of_provider(record: &HaltRecord, at: Timestamp, channels: &[&str]) -> Notice {
    let channels = channels.join(" and ");
    if record.ended {
        return end_of(at, format!("messages by {channels} are sent again"));
    }
    let message = format!("the operator paused the way out: messages by {channels} wait");
    Notice::warning(at, ReasonCode::PolicyPaused, "", message)
}

fn end_of(at: Timestamp, message: String) -> Notice {
    let (severity, hint) = (Severity::Info, String::new());
    Notice { at, realm: Realm::Real, severity, code: None, file: String::new(), message, hint }
}

fn held<'h>(halts: &'h Halts, what: &Halted) -> Option<&'h HaltRecord> {
    halts.iter().find(|(of, record)| of == what && !record.ended).map(|(_, record)| record)
}

fn describe(line: &mut Value, halt: Option<&HaltRecord>) {
    line["since"] = halt.map(|halt| halt.at.to_string()).into();
    line["by"] = halt.map(|halt| halt.by.clone()).into();
    line["reason"] = halt.map(|halt| halt.reason.clone()).into();
}

fn word_of(what: &Halted) -> &'static str {
    match what {
        Halted::Tenant(_) => "tenant",
        Halted::Provider(_) => "provider",
    }
}

fn name_of(what: &Halted) -> &str {
    match what {
        Halted::Tenant(id) => id.as_str(),
        Halted::Provider(id) => id,
    }
}

fn kind_of(kind: &ProviderKind) -> &'static str {
    match kind {
        ProviderKind::Smtp(_) => "smtp",
        ProviderKind::Http(_) => "http",
        ProviderKind::Simulator(_) => "simulator",
        ProviderKind::Directory(_) => "directory",
    }
}

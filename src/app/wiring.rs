//! What the configuration does not hand over as it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::start::Options;
use crate::config::{self, Config, Tenant};
use crate::files::publish_spec;
use crate::intake::TenantSettings;
use crate::model::TenantId;
use crate::outbox::{AnswerStyle, TenantAnswers};
use crate::records::ReadSettings;
use crate::spec::{self, Portrait};
use crate::world::World;

/// What the outbox needs of every tenant.
pub(super) fn answers(config: &Config) -> HashMap<TenantId, TenantAnswers> {
    let answers = |(tenant, configured): (TenantSettings, &Tenant)| {
        let plain = tenant.plain.read;
        let read: BTreeMap<String, ReadSettings> =
            tenant.profiles.into_iter().map(|p| (p.name, p.read)).collect();
        TenantAnswers {
            timezone: tenant.timezone,
            read_settings: Arc::new(move |name| read.get(name).unwrap_or(&plain).clone()),
            styles: styles(&configured.settings),
        }
    };
    let tenants = config.for_intake().into_iter().zip(&config.tenants);
    tenants.map(|tenant| (tenant.0.id.clone(), answers(tenant))).collect()
}

fn styles(settings: &config::TenantSettings) -> BTreeMap<String, AnswerStyle> {
    let profiles = settings.profiles.iter();
    let own = profiles.map(|profile| (profile.name.clone(), profile.rules.answers.clone()));
    own.chain([(String::new(), settings.rules.answers.clone())]).collect()
}

/// Brings every tenant's `/spec` to what the configuration says. Without it files are taken all the
/// same, so that a failure is no reason to stop.
pub(super) fn publish_specs(config: &Config) {
    let doors = config.for_doors();
    for ((tenant, intake), doors) in config.tenants.iter().zip(config.for_intake()).zip(&doors) {
        let answers = &tenant.settings.rules.answers;
        let pages = spec::pages(Portrait { intake: &intake, doors, answers });
        if let Err(error) = publish_spec(&config.data_dir, &tenant.id, &pages) {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(tenant = %tenant.id, error, "the pages of /spec cannot be written");
        }
    }
}

/// Tells this boot of the machine from any other: marks that were not synced do not survive one. Where nobody
/// says which boot this is, every process counts as one: what it was doing when it died is in doubt.
pub(super) fn boot_id(config: &Config, options: &Options, world: &World) -> String {
    let of_kernel = || std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
    let said = options.boot_id.clone().or_else(|| config.boot_id.clone()).or_else(of_kernel);
    match said.as_deref().map(str::trim) {
        Some(id) if !id.is_empty() => id.to_owned(),
        _ => {
            tracing::warn!(
                "no boot id: after a crash every row of a claimed window will count as unknown; \
                 set DROPCHUTE_BOOT_ID as the unit that is shipped does"
            );
            world.dice.token(16)
        }
    }
}

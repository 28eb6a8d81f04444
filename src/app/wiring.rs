//! What the configuration does not hand over as it is.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::config::Config;
use crate::intake::TenantSettings;
use crate::model::TenantId;
use crate::outbox::TenantAnswers;
use crate::records::ReadSettings;

/// What the outbox needs of every tenant.
pub(super) fn answers(config: &Config) -> HashMap<TenantId, TenantAnswers> {
    let answers = |tenant: TenantSettings| {
        let plain = tenant.plain.read;
        let read: BTreeMap<String, ReadSettings> =
            tenant.profiles.into_iter().map(|p| (p.name, p.read)).collect();
        TenantAnswers {
            timezone: tenant.timezone,
            read_settings: Arc::new(move |name| read.get(name).unwrap_or(&plain).clone()),
        }
    };
    config.for_intake().into_iter().map(|tenant| (tenant.id.clone(), answers(tenant))).collect()
}

/// Tells this boot of the machine from any other: marks that were not synced do not survive one.
pub(super) fn boot_id() -> String {
    let id = std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"));
    id.map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

//! From the configuration to each room's settings.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::batch::Thresholds;
use crate::config::{Completeness, Config, FinalNewline, ProofLevel, Rules, Tenant};
use crate::dispatch::{Route, RouteTemplate};
use crate::intake::{MinProof, ProfileSettings, RowIdScope, TenantSettings};
use crate::model::{Kind, Proof, TenantId};
use crate::outbox::TenantAnswers;
use crate::records::{ReadSettings, TemplateNeeds};
use crate::render::Template;
use crate::transfer;

/// What intake needs of every tenant.
pub(super) fn intake_tenants(config: &Config) -> Vec<TenantSettings> {
    config.tenants.iter().map(|tenant| intake_tenant(config, tenant)).collect()
}

fn intake_tenant(config: &Config, tenant: &Tenant) -> TenantSettings {
    let settings = &tenant.settings;
    let accounts = config.accounts.iter().filter(|a| a.tenant == tenant.id);
    let templates = settings.templates.iter().map(|configured| {
        let compiled = Template::compile(configured.source.clone());
        TemplateNeeds {
            name: configured.name.clone(),
            channel: configured.channel,
            lang: configured.lang.clone(),
            // The configuration was refused where a template does not compile.
            variables: compiled.map_or(Vec::new(), |t| t.variables().to_vec()),
            category: configured.category,
        }
    });
    let plain = ReadSettings { limits: config.limits.clone(), ..ReadSettings::default() };
    TenantSettings {
        id: tenant.id.clone(),
        suspended: settings.suspended,
        timezone: settings.timezone.clone(),
        default_country: settings.default_country.clone(),
        consent: settings.consent,
        max_age: settings.max_age,
        windows: settings.windows.clone(),
        row_id_window: settings.row_id_window,
        temporary: settings.temporary_names.iter().map(|p| p.matcher.clone()).collect(),
        channels: settings
            .channels
            .iter()
            .filter(|(_, providers)| !providers.is_empty())
            .map(|(channel, _)| *channel)
            .collect(),
        senders: settings.senders.clone(),
        templates: templates.collect(),
        account_kinds: accounts.map(|a| (a.name.clone(), a.kinds.clone())).collect(),
        plain: profile_settings("", None, None, plain, &settings.rules, settings),
        profiles: settings
            .profiles
            .iter()
            .map(|p| {
                let matcher = Some(p.pattern.matcher.clone());
                profile_settings(&p.name, matcher, p.kind, p.read.clone(), &p.rules, settings)
            })
            .collect(),
    }
}

fn profile_settings(
    name: &str,
    matcher: Option<globset::GlobMatcher>,
    kind: Option<Kind>,
    mut read: ReadSettings,
    rules: &Rules,
    settings: &crate::config::TenantSettings,
) -> ProfileSettings {
    read.final_newline_optional = rules.final_newline == FinalNewline::Optional;
    ProfileSettings {
        name: name.to_owned(),
        matcher,
        kind,
        read,
        grace: rules.grace,
        settle: rules.settle,
        quiet: rules.quiet,
        min_proof: match rules.min_proof {
            ProofLevel::Weak => MinProof::Weak,
            ProofLevel::Medium => MinProof::Medium,
            ProofLevel::Strong => MinProof::Strong,
        },
        only_proof: match rules.completeness {
            Completeness::Auto => None,
            Completeness::Rename => Some(Proof::Rename),
            Completeness::Close => Some(Proof::Close),
            Completeness::Quiet => Some(Proof::Quiet),
        },
        thresholds: Thresholds {
            reject_threshold: rules.reject_threshold,
            reject_min_rows: rules.reject_min_rows,
        },
        duplicate_window: rules.duplicate_window,
        dedupe: rules.dedupe,
        row_id_scope: match rules.row_id_scope {
            crate::config::RowIdScope::Tenant => RowIdScope::Tenant,
            crate::config::RowIdScope::Profile => RowIdScope::Profile,
            crate::config::RowIdScope::File => RowIdScope::File,
        },
        default_category: settings.default_category,
    }
}

/// What dispatch needs of every tenant.
pub(super) fn routes(config: &Config) -> Vec<(TenantId, Route)> {
    let route = |tenant: &Tenant| {
        let settings = &tenant.settings;
        let templates = settings.templates.iter().filter_map(|configured| {
            Some(RouteTemplate {
                channel: configured.channel,
                lang: configured.lang.clone(),
                template: Template::compile(configured.source.clone()).ok()?,
            })
        });
        Route {
            timezone: settings.timezone.clone(),
            consent: settings.consent,
            suspended: settings.suspended,
            channels: settings.channels.clone(),
            senders: settings.senders.clone(),
            templates: templates.collect(),
        }
    };
    config.tenants.iter().map(|tenant| (tenant.id.clone(), route(tenant))).collect()
}

/// What the outbox needs of every tenant.
pub(super) fn answers(config: &Config) -> HashMap<TenantId, TenantAnswers> {
    let answers = |tenant: TenantSettings| {
        let timezone = tenant.timezone.clone();
        let mut read: BTreeMap<String, ReadSettings> =
            tenant.profiles.into_iter().map(|p| (p.name, p.read)).collect();
        let plain = tenant.plain.read;
        read.insert(String::new(), plain.clone());
        TenantAnswers {
            timezone,
            read_settings: Arc::new(move |name| read.get(name).unwrap_or(&plain).clone()),
        }
    };
    intake_tenants(config).into_iter().map(|tenant| (tenant.id.clone(), answers(tenant))).collect()
}

/// What the doors need of every tenant.
pub(super) fn door_tenants(config: &Config) -> Vec<transfer::Tenant> {
    let tenants = config.tenants.iter();
    tenants
        .map(|t| transfer::Tenant { id: t.id.clone(), aliases: t.settings.aliases.clone() })
        .collect()
}

/// Tells this boot of the machine from any other: marks that were not synced do not survive one.
pub(super) fn boot_id() -> String {
    let id = std::fs::read_to_string(Path::new("/proc/sys/kernel/random/boot_id"));
    id.map_or_else(|_| String::new(), |text| text.trim().to_owned())
}

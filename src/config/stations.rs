//! What each station needs of the configuration, in the station's own settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::load::Config;
use super::profile::Profile;
use super::rules::{Completeness, FinalNewline, Rules};
use super::template::ConfiguredTemplate;
use super::tenant::{Tenant, TenantSettings};
use crate::batch::Guards;
use crate::dispatch::{Route, RouteTemplate};
use crate::intake::{self, SmsTexts};
use crate::model::{ChannelKind, Kind, TenantId};
use crate::records::{Limits, ReadSettings, TemplateNeeds};
use crate::render::Template;
use crate::report::{Answer, AnswerPattern};
use crate::transfer;

impl Config {
    /// The tenants as the doors see them.
    pub fn for_doors(&self) -> Vec<transfer::Tenant> {
        let tenant = |tenant: &Tenant| transfer::Tenant {
            id: tenant.id.clone(),
            aliases: tenant.settings.aliases.clone(),
            settle: tenant.settings.rules.settle,
            quota: tenant.settings.quota,
            resume_window: tenant.settings.resume_window,
            sessions_max: tenant.settings.sessions_max,
            bandwidth: tenant.settings.bandwidth,
            suspended: tenant.settings.suspended,
        };
        self.tenants.iter().map(tenant).collect()
    }

    /// The tenants as intake sees them.
    pub fn for_intake(&self) -> Vec<intake::TenantSettings> {
        self.tenants.iter().map(|tenant| self.intake_tenant(tenant)).collect()
    }

    /// The tenants' ways out.
    pub fn for_dispatch(&self) -> Vec<(TenantId, Route)> {
        let route = |tenant: &Tenant| (tenant.id.clone(), route(&tenant.settings));
        self.tenants.iter().map(route).collect()
    }

    fn intake_tenant(&self, tenant: &Tenant) -> intake::TenantSettings {
        let settings = &tenant.settings;
        let account_kinds: BTreeMap<String, Vec<Kind>> = self
            .accounts
            .iter()
            .filter(|account| account.tenant == tenant.id)
            .map(|account| (account.name.clone(), account.kinds.clone()))
            .collect();
        let rights = |account: &transfer::Account| {
            let transfer::Rights { control, approve, .. } = account.rights;
            (account.name.clone(), intake::ControlRights { control, approve })
        };
        let of_tenant = self.accounts.iter().filter(|account| account.tenant == tenant.id);
        let account_rights = of_tenant.map(rights).collect();
        let served = settings.channels.iter().filter(|(_, providers)| !providers.is_empty());
        intake::TenantSettings {
            id: tenant.id.clone(),
            suspended: settings.suspended,
            timezone: settings.timezone.clone(),
            default_country: settings.default_country.clone(),
            consent: settings.consent,
            max_age: settings.max_age,
            windows: settings.windows.clone(),
            row_id_window: settings.row_id_window,
            hold_timeout: settings.hold_timeout,
            temporary: settings.temporary_names.iter().map(|p| p.matcher.clone()).collect(),
            channels: served.map(|(channel, _)| *channel).collect(),
            senders: settings.senders.clone(),
            templates: settings.templates.iter().map(needs).collect(),
            sms: SmsTexts {
                rules: settings.sms.clone(),
                templates: settings.templates.iter().map(sms_template).collect(),
            },
            account_kinds,
            account_rights,
            four_eyes: settings.four_eyes,
            rejected_names: rejected_names(settings),
            plain: plain(settings, &self.limits),
            profiles: settings.profiles.iter().map(|profile| declared(profile, settings)).collect(),
        }
    }
}

/// The contract's own name always counts: answers from before a change of configuration come back.
fn rejected_names(settings: &TenantSettings) -> Vec<AnswerPattern> {
    let profiles = settings.profiles.iter().map(|profile| &profile.rules);
    let mut names = vec![Answer::Rejected.pattern()];
    for rules in profiles.chain([&settings.rules]) {
        let name = rules.answers.pattern(Answer::Rejected);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// How a file is taken that no profile matches.
fn plain(settings: &TenantSettings, limits: &Limits) -> intake::ProfileSettings {
    let rules = &settings.rules;
    let read = ReadSettings {
        final_newline_optional: rules.final_newline == FinalNewline::Optional,
        limits: limits.clone(),
        ..ReadSettings::default()
    };
    let guards = Guards { spike_guard: rules.spike_guard.unwrap_or(0), ..rules.guards };
    intake::ProfileSettings { guards, ..ruled(rules, read, settings) }
}

fn declared(profile: &Profile, settings: &TenantSettings) -> intake::ProfileSettings {
    let (rules, guards) = (&profile.rules, profile.rules.guards);
    let spike_guard = rules.spike_guard.unwrap_or(guards.spike_guard);
    intake::ProfileSettings {
        name: profile.name.clone(),
        matcher: Some(profile.pattern.clone()),
        kind: profile.kind,
        expected: profile.expected.clone(),
        guards: Guards { spike_guard, ..guards },
        ..ruled(rules, profile.read.clone(), settings)
    }
}

fn ruled(rules: &Rules, read: ReadSettings, settings: &TenantSettings) -> intake::ProfileSettings {
    intake::ProfileSettings {
        name: String::new(),
        matcher: None,
        kind: None,
        read,
        grace: rules.grace,
        settle: rules.settle,
        quiet: rules.quiet,
        min_proof: rules.min_proof,
        only_proof: match rules.completeness {
            Completeness::Auto => None,
            Completeness::Only(proof) => Some(proof),
        },
        sentinel: rules.sentinel.clone(),
        pair_timeout: rules.pair_timeout,
        expected: None,
        thresholds: rules.thresholds,
        guards: rules.guards,
        sequence: rules.sequence,
        duplicate_window: rules.duplicate_window,
        dedupe: rules.dedupe,
        row_id_scope: rules.row_id_scope,
        reuse_names: rules.reuse_names,
        default_category: settings.default_category,
    }
}

fn route(settings: &TenantSettings) -> Route {
    Route {
        timezone: settings.timezone.clone(),
        consent: settings.consent,
        suspended: settings.suspended,
        weight: settings.weight,
        rate: settings.rate,
        pause_after_equal_refusals: settings.pause_after_equal_refusals,
        channels: settings.channels.clone(),
        senders: settings.senders.clone(),
        templates: settings.templates.iter().map(route_template).collect(),
        sms: settings.sms.clone(),
    }
}

fn needs(template: &ConfiguredTemplate) -> TemplateNeeds {
    TemplateNeeds {
        name: template.name.clone(),
        channel: template.channel,
        lang: template.lang.clone(),
        variables: compiled(template).variables().to_vec(),
        category: template.category,
    }
}

fn route_template(template: &ConfiguredTemplate) -> RouteTemplate {
    RouteTemplate {
        channel: template.channel,
        lang: template.lang.clone(),
        template: compiled(template),
    }
}

fn sms_template(template: &ConfiguredTemplate) -> Option<Arc<Template>> {
    (template.channel == ChannelKind::Sms).then(|| Arc::new(compiled(template)))
}

fn compiled(template: &ConfiguredTemplate) -> Template {
    Template::compile(template.source.clone()).expect("each part compiled when it was read")
}

//! A tenant for tests.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::settings::{MinProof, ProfileSettings, RowIdScope, TenantSettings};
use crate::batch::Thresholds;
use crate::model::{Category, ChannelKind};
use crate::policy::{Consent, MARKETING_WINDOW, MaxAge};
use crate::records::ReadSettings;
use crate::report::Answer;

/// A tenant with the built-in defaults, email and sms, and no template.
pub(super) fn tenant(id: &str) -> TenantSettings {
    let email = vec!["Acme <news@acme.example>".to_owned()];
    TenantSettings {
        id: id.parse().unwrap(),
        suspended: false,
        timezone: TimeZone::UTC,
        default_country: Some("DE".to_owned()),
        consent: Consent::Required,
        max_age: MaxAge::default(),
        windows: BTreeMap::from([(Category::Marketing, MARKETING_WINDOW)]),
        row_id_window: Duration::from_secs(90 * 86_400),
        temporary: Vec::new(),
        channels: vec![ChannelKind::Email, ChannelKind::Sms],
        senders: BTreeMap::from([(ChannelKind::Email, email)]),
        templates: Vec::new(),
        account_kinds: BTreeMap::new(),
        rejected_names: vec![Answer::Rejected.pattern()],
        plain: ProfileSettings {
            name: String::new(),
            matcher: None,
            kind: None,
            read: ReadSettings::default(),
            grace: Duration::from_secs(2),
            settle: Duration::from_secs(2),
            quiet: Duration::from_secs(60),
            min_proof: MinProof::Weak,
            only_proof: None,
            sentinel: None,
            pair_timeout: Duration::from_secs(7200),
            expected: None,
            thresholds: Thresholds { reject_threshold: 0.2, reject_min_rows: 100 },
            duplicate_window: Duration::from_secs(7 * 86_400),
            dedupe: None,
            row_id_scope: RowIdScope::Tenant,
            default_category: None,
        },
        profiles: Vec::new(),
    }
}

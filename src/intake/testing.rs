//! A tenant and a batch for tests.

#![allow(clippy::unwrap_used, reason = "what a test cannot make it cannot test")]

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(test)]
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::settings::{MinProof, ProfileSettings, RowIdScope, SmsTexts, TenantSettings};
#[cfg(test)]
use crate::batch::BatchState;
use crate::batch::{Guards, SequenceRule, Thresholds};
#[cfg(test)]
use crate::model::BatchId;
use crate::model::{Category, ChannelKind, MaxAge};
use crate::policy::{Consent, MARKETING_WINDOW};
use crate::records::ReadSettings;
use crate::report::Answer;
#[cfg(test)]
use crate::store::{BatchRecord, ControlRecord, Facts};

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
        hold_timeout: Duration::from_secs(7 * 86_400),
        temporary: Vec::new(),
        channels: vec![ChannelKind::Email, ChannelKind::Sms],
        senders: BTreeMap::from([(ChannelKind::Email, email)]),
        templates: Vec::new(),
        sms: SmsTexts::default(),
        account_kinds: BTreeMap::new(),
        account_rights: BTreeMap::new(),
        four_eyes: false,
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
            guards: Guards::default(),
            sequence: SequenceRule::Off,
            duplicate_window: Duration::from_secs(7 * 86_400),
            dedupe: None,
            row_id_scope: RowIdScope::Tenant,
            reuse_names: true,
            default_category: None,
        },
        profiles: Vec::new(),
    }
}

/// A batch whose file is about to be claimed.
#[cfg(test)]
pub(super) fn claimed() -> BatchRecord {
    BatchRecord {
        id: BatchId::from_u64(1),
        tenant: "acme".parse().unwrap(),
        path: "inbox/a.csv".to_owned(),
        state: BatchState::Claimed,
        account: String::new(),
        proof: None,
        received_at: Timestamp::UNIX_EPOCH,
        claimed_at: Timestamp::UNIX_EPOCH,
        validated_at: None,
        closed_at: None,
        facts: Facts::default(),
        chunks: 0,
        hold: None,
        control: ControlRecord::default(),
    }
}

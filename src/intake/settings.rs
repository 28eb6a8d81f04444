//! What intake needs to know of a tenant; the configuration makes it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use globset::GlobMatcher;
use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;

use super::name_pattern::NamePattern;
use crate::batch::{Guards, SequenceRule, Thresholds};
use crate::disk::Disk;
use crate::model::{Category, ChannelKind, Kind, MaxAge, Proof, TenantId};
use crate::policy::{Consent, Window};
use crate::records::{Dedupe, ReadSettings, TemplateNeeds, TenantContext};
use crate::render::{SmsRules, Template};
use crate::report::AnswerPattern;

/// Settings of the station.
#[derive(Debug, Clone)]
pub struct Settings {
    pub data_dir: PathBuf,
    pub tenants: Tenants,
    /// How often every inbox is looked through, to find what events missed.
    pub rescan: Duration,
    /// Files of different tenants that are read at the same time.
    pub files_at_once: usize,
    /// No file is taken while it is below its reserve.
    pub disk: Disk,
}

/// All tenants, replaced as a whole when the configuration is read again.
#[derive(Debug, Clone, Default)]
pub struct Tenants(Arc<RwLock<Arc<Table>>>);

type Table = BTreeMap<TenantId, Arc<TenantSettings>>;

impl Tenants {
    pub fn new(tenants: impl IntoIterator<Item = TenantSettings>) -> Tenants {
        let all = Tenants::default();
        all.replace(tenants);
        all
    }

    pub fn replace(&self, tenants: impl IntoIterator<Item = TenantSettings>) {
        let map = tenants.into_iter().map(|t| (t.id.clone(), Arc::new(t))).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(map);
    }

    pub(super) fn all(&self) -> Arc<Table> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn of(&self, tenant: &TenantId) -> Option<Arc<TenantSettings>> {
        self.all().get(tenant).cloned()
    }
}

/// One tenant, as intake sees it.
#[derive(Debug, Clone)]
pub struct TenantSettings {
    pub id: TenantId,
    pub suspended: bool,
    pub timezone: TimeZone,
    pub default_country: Option<String>,
    pub consent: Consent,
    pub max_age: MaxAge,
    /// When messages of a category may be sent, where the row does not say.
    pub windows: BTreeMap<Category, Window>,
    pub row_id_window: Duration,
    /// How long a held file waits before it is refused.
    pub hold_timeout: Duration,
    /// Names that are never taken, beside the well-known temporary ones.
    pub temporary: Vec<GlobMatcher>,
    /// Channels with at least one provider.
    pub channels: Vec<ChannelKind>,
    /// Senders by channel, the default first.
    pub senders: BTreeMap<ChannelKind, Vec<String>>,
    pub templates: Vec<TemplateNeeds>,
    pub sms: SmsTexts,
    /// Kinds each account may drop.
    pub account_kinds: BTreeMap<String, Vec<Kind>>,
    /// What each account may ask for.
    pub account_rights: BTreeMap<String, ControlRights>,
    /// The account that approves a file must not be the one that dropped it.
    pub four_eyes: bool,
    /// What files of rejected rows are called; corrected ones inherit from the file in the name.
    pub rejected_names: Vec<AnswerPattern>,
    /// How a file is treated that no profile matches.
    pub plain: ProfileSettings,
    pub profiles: Vec<ProfileSettings>,
}

impl TenantSettings {
    /// What an account may ask for. A file that no account dropped is the operator's, and may all; an
    /// account that left the configuration may nothing.
    pub(super) fn may(&self, account: &str) -> ControlRights {
        let is_operator = account.is_empty();
        let unknown = ControlRights { control: is_operator, approve: is_operator };
        self.account_rights.get(account).copied().unwrap_or(unknown)
    }

    /// Whether an account may drop files of a kind. What an account dropped before it left the
    /// configuration is taken, if any account may drop it.
    pub(super) fn may_drop(&self, account: &str, kind: Kind) -> bool {
        let is_usual = !matches!(kind, Kind::PrivacyRequests | Kind::Control);
        match self.account_kinds.get(account) {
            Some(kinds) => kinds.contains(&kind),
            None => is_usual || account.is_empty(),
        }
    }

    pub fn profile(&self, name: &str) -> Option<&ProfileSettings> {
        self.profiles.iter().find(|p| p.name == name)
    }

    /// What the tenant brings to the check of a row of such a file.
    pub fn context(&self, profile: &ProfileSettings, now: Timestamp) -> TenantContext {
        TenantContext {
            default_country: self.default_country.clone(),
            timezone: self.timezone.clone(),
            channels: self.channels.clone(),
            default_category: profile.default_category,
            templates: self.templates.clone(),
            max_age: self.max_age,
            now,
        }
    }
}

/// What the texts of SMS are made of.
#[derive(Debug, Clone, Default)]
pub struct SmsTexts {
    pub rules: SmsRules,
    /// Beside each of the tenant's templates; none where it is for another channel.
    pub templates: Vec<Option<Arc<Template>>>,
}

/// What an account may ask for beside dropping files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ControlRights {
    /// To cancel, pause, resume and resend.
    pub control: bool,
    /// To approve what is held.
    pub approve: bool,
}

/// How files of one pattern are taken; every value is resolved from profile, tenant and defaults.
#[derive(Debug, Clone)]
pub struct ProfileSettings {
    /// Empty for the plain one.
    pub name: String,
    pub matcher: Option<NamePattern>,
    pub kind: Option<Kind>,
    pub read: ReadSettings,
    /// A complete file stays visible this long before it is claimed.
    pub grace: Duration,
    /// After a proper end of the upload, this long without a sign of trouble.
    pub settle: Duration,
    /// Size and time unchanged this long, for files whose close was not seen.
    pub quiet: Duration,
    pub min_proof: MinProof,
    /// The only proof that makes a file ready; `None` takes any (`completeness = "auto"`).
    pub only_proof: Option<Proof>,
    /// The names of its own sentinels, beside the well-known ones.
    pub sentinel: Option<SentinelPattern>,
    /// How long a sidecar waits for its file, and a file for the proof that is asked for.
    pub pair_timeout: Duration,
    /// When files of the profile are due, and how large they usually are.
    pub expected: Option<Expected>,
    pub thresholds: Thresholds,
    /// What is asked about before a file is sent.
    pub guards: Guards,
    /// What a gap in the sequence numbers means.
    pub sequence: SequenceRule,
    pub duplicate_window: Duration,
    pub dedupe: Option<Dedupe>,
    pub row_id_scope: RowIdScope,
    /// False refuses a file whose name an accepted file had before.
    pub reuse_names: bool,
    /// `None` where the operator gave none: then a message without a category is marketing.
    pub default_category: Option<Category>,
}

impl ProfileSettings {
    /// True where the files are counted.
    pub(super) fn is_numbered(&self) -> bool {
        self.sequence != SequenceRule::Off
    }
}

/// The weakest proof that makes a file ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MinProof {
    Weak,
    Medium,
    Strong,
}

/// The name of a sentinel, with a `*` for the name of its file, or for that without its extension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentinelPattern {
    pub before: String,
    pub after: String,
}

/// What is usual of the files of a profile. What is not so becomes a notice, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// A file is due on these days, before this time of the tenant's day.
    pub due: Option<(Time, Vec<Weekday>)>,
    /// Fewer data rows are odd.
    pub rows_min: Option<u64>,
    /// More data rows are odd.
    pub rows_max: Option<u64>,
    /// The pattern of the names, as the operator wrote it.
    pub pattern: String,
}

/// Within what a `row_id` names one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowIdScope {
    Tenant,
    Profile,
    File,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing;

    #[test]
    fn an_account_that_left_the_configuration_may_ask_for_nothing() {
        let tenant = testing::tenant("acme");
        let may = |account: &str| {
            let ControlRights { control, approve } = tenant.may(account);
            let drops = |kind| tenant.may_drop(account, kind);
            (control, approve, drops(Kind::Messages), drops(Kind::Control))
        };
        assert_eq!(may("gone"), (false, false, true, false));
        // Who writes into the folders on this machine is the operator.
        assert_eq!(may(""), (true, true, true, true));
    }
}

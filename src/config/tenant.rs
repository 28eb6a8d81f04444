//! A tenant: `[defaults]`, then `[tenant.<id>]` or `tenants.d/<id>.toml` over it.

use std::collections::BTreeMap;
use std::time::Duration;

use globset::{GlobBuilder, GlobMatcher};
use jiff::tz::TimeZone;

use super::problem::{Complaint, Findings};
use super::profile::Profile;
use super::rules::Rules;
use super::section::{Item, Section};
use super::template::{self, ConfiguredTemplate};
use super::value;
use crate::files::{Aliases, Quota, RelPath};
use crate::model::{Category, ChannelKind, MaxAge, TenantId};
use crate::pacing::Rate;
use crate::policy::{Consent, MARKETING_WINDOW, Window};
use crate::records::Limits;
use crate::render::{SmsLanguage, SmsRules};

/// One partner organisation.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: TenantId,
    pub settings: TenantSettings,
}

/// What `[defaults]` and a tenant may say.
#[derive(Debug, Clone)]
pub struct TenantSettings {
    /// A suspended tenant's files are refused and nothing of it is sent.
    pub suspended: bool,
    /// The account that approves a file must not be the one that dropped it.
    pub four_eyes: bool,
    /// Sessions of all its accounts together; unset, as many as the doors take.
    pub sessions_max: Option<usize>,
    /// Its share beside other tenants' at a provider that is at its limit.
    pub weight: u32,
    /// Messages per time over all providers; unset, only theirs hold.
    pub rate: Option<Rate>,
    /// So many messages of a file refused in a row for one reason pause it; 0 never does.
    pub pause_after_equal_refusals: u32,
    /// Bytes a second of all its sessions together, in each direction; unset, unlimited.
    pub bandwidth: Option<u64>,
    /// The zone of local times in files and of dates in names.
    pub timezone: TimeZone,
    /// The country of numbers without one, as ISO 3166 writes it.
    pub default_country: Option<String>,
    /// The category of messages that give none; unset, they are marketing.
    pub default_category: Option<Category>,
    /// What marketing needs.
    pub consent: Consent,
    /// How files are taken and judged where no profile says otherwise.
    pub rules: Rules,
    /// How long a used row id is known again.
    pub row_id_window: Duration,
    /// How long a held file waits for approval before it is refused.
    pub hold_timeout: Duration,
    /// How long a message may be late.
    pub max_age: MaxAge,
    /// When messages of a category may be sent; none: at any time.
    pub windows: BTreeMap<Category, Window>,
    /// Names that are never taken, beside the built-in ones.
    pub temporary_names: Vec<Pattern>,
    /// Most that the partner may have stored in `/inbox` and `/media`.
    pub quota: Quota,
    /// How long an upload that was cut can be continued.
    pub resume_window: Duration,
    /// Other names for folders: name and the folder it stands for.
    pub aliases: Aliases,
    /// Allowed senders; the first is the default.
    pub senders: BTreeMap<ChannelKind, Vec<String>>,
    /// Providers in order of failover.
    pub channels: BTreeMap<ChannelKind, Vec<String>>,
    pub templates: Vec<ConfiguredTemplate>,
    pub sms: SmsRules,
    /// In the order of the file, the tenant's own before those of `[defaults]`: the first match holds.
    pub profiles: Vec<Profile>,
}

/// A glob with its text.
#[derive(Debug, Clone)]
pub struct Pattern {
    pub text: String,
    pub matcher: GlobMatcher,
}

impl Default for TenantSettings {
    fn default() -> TenantSettings {
        const HOUR: Duration = Duration::from_secs(3600);
        TenantSettings {
            suspended: false,
            four_eyes: false,
            sessions_max: None,
            bandwidth: None,
            weight: 1,
            rate: None,
            pause_after_equal_refusals: 100,
            timezone: TimeZone::UTC,
            default_country: None,
            default_category: None,
            consent: Consent::Required,
            rules: Rules::default(),
            row_id_window: 90 * 24 * HOUR,
            hold_timeout: 7 * 24 * HOUR,
            max_age: MaxAge::default(),
            windows: BTreeMap::from([(Category::Marketing, MARKETING_WINDOW)]),
            temporary_names: Vec::new(),
            quota: Quota::default(),
            resume_window: HOUR,
            aliases: Aliases::new(),
            senders: BTreeMap::new(),
            channels: BTreeMap::new(),
            templates: Vec::new(),
            sms: SmsRules::default(),
            profiles: Vec::new(),
        }
    }
}

impl TenantSettings {
    /// Reads a tenant's keys; what they do not say is as in `outer`. Accounts are read apart: they
    /// belong to the doors.
    pub(super) fn read(
        section: &Section<'_>,
        outer: &TenantSettings,
        known: &Known<'_>,
    ) -> TenantSettings {
        let rules = Rules::read(section, &outer.rules);
        let consent = [("required", Consent::Required), ("asserted", Consent::Asserted)];
        not_yet(section);
        TenantSettings {
            suspended: section.value("suspended", outer.suspended, value::switch),
            four_eyes: section.value("four_eyes", outer.four_eyes, value::switch),
            sessions_max: section.optional(
                "sessions_max",
                outer.sessions_max,
                value::number(1, 1_000_000),
            ),
            bandwidth: section.optional("bandwidth", outer.bandwidth, value::bandwidth),
            weight: section.value("weight", outer.weight, value::number(1, 1_000)),
            rate: section.optional("rate", outer.rate, value::rate),
            pause_after_equal_refusals: section.value(
                "pause_after_equal_refusals",
                outer.pause_after_equal_refusals,
                value::number(0, 1_000_000),
            ),
            timezone: section.value("timezone", outer.timezone.clone(), timezone),
            default_country: section.optional(
                "default_country",
                outer.default_country.clone(),
                country,
            ),
            default_category: section.optional(
                "default_category",
                outer.default_category,
                category,
            ),
            consent: section.value("consent", outer.consent, value::one_of(&consent)),
            row_id_window: section.value("row_id_window", outer.row_id_window, value::duration),
            hold_timeout: section.value("hold_timeout", outer.hold_timeout, value::duration),
            max_age: max_age(&section.section("max_age"), outer.max_age),
            windows: windows(&section.section("window"), &outer.windows),
            temporary_names: section.value(
                "temporary_names",
                outer.temporary_names.clone(),
                value::list(pattern),
            ),
            quota: quota(section, outer.quota),
            resume_window: section.value(
                "resume_window",
                outer.resume_window,
                value::duration_or_zero,
            ),
            aliases: merged(section.named_values("aliases", alias), &outer.aliases),
            senders: per_channel(&section.section("sender"), &outer.senders, |channel, item| {
                senders(channel, item)
            }),
            channels: per_channel(&section.section("channel"), &outer.channels, |_, item| {
                known_providers(item, known.providers)
            }),
            templates: template::read_all(section, &outer.templates),
            sms: sms(section, &outer.sms),
            profiles: Profile::read_all(section, &rules, known.limits),
            rules,
        }
    }
}

/// What the sections before the tenants have brought.
pub(super) struct Known<'k> {
    /// The providers' names.
    pub(super) providers: &'k [String],
    pub(super) limits: &'k Limits,
}

impl Tenant {
    /// The contract wants one-click unsubscribe in marketing mail, and the web front it needs.
    pub(super) fn warn_of_marketing(&self, section: &Section<'_>) {
        let settings = &self.settings;
        let sends_mail = settings.channels.get(&ChannelKind::Email).is_some_and(|p| !p.is_empty());
        if sends_mail && settings.default_category.is_none_or(|c| c == Category::Marketing) {
            let why =
                "sends marketing mail, and one-click unsubscribe is not available in this version";
            let complaint = Complaint::new(why);
            section.warn("", complaint.hint("set default_category where the mail is no marketing"));
        }
    }

    /// Puts the profiles of `[defaults]` behind the tenant's own, with the tenant's rules around them.
    /// A profile of the same name is the tenant's own alone.
    pub(super) fn inherit_profiles(&mut self, defaults: &Section<'_>, limits: &Limits) {
        let unheard = Findings::default();
        let defaults = defaults.again(&unheard);
        let settings = &mut self.settings;
        for profile in Profile::read_all(&defaults, &settings.rules, limits) {
            if settings.profiles.iter().all(|own| own.name != profile.name) {
                settings.profiles.push(profile);
            }
        }
    }
}

/// Keys the contract gives a tenant that this version does not act on.
fn not_yet(section: &Section<'_>) {
    section.not_yet("pgp", None);
    section.not_yet("day_end", Some("00:00"));
    section.not_yet("out_sentinel", Some("none"));
    section.not_yet("phone_check", Some("valid"));
    section.not_yet("receipt_window", Some("72h"));
}

fn quota(section: &Section<'_>, outer: Quota) -> Quota {
    Quota {
        bytes: section.optional("quota_bytes", outer.bytes, value::size),
        files: section.optional("quota_files", outer.files, value::number(1, u64::MAX)),
    }
}

fn sms(section: &Section<'_>, outer: &SmsRules) -> SmsRules {
    SmsRules {
        plain: section.value("sms_plain", outer.plain, value::switch),
        languages: section.value("sms_languages", outer.languages.clone(), value::list(language)),
        parts_max: section.value("sms_parts_max", outer.parts_max, value::number(1, 255)),
    }
}

fn language(item: &Item<'_>) -> Result<SmsLanguage, Complaint> {
    let known: Vec<_> = SmsLanguage::codes().collect();
    let allowed = format!("two letters of {}", known.join(", "));
    let code = value::str_of(item, &allowed)?;
    SmsLanguage::parse(code)
        .ok_or_else(|| Complaint::new("has no SMS alphabet of its own").allowed(allowed))
}

fn max_age(section: &Section<'_>, outer: MaxAge) -> MaxAge {
    MaxAge {
        authentication: section.value("authentication", outer.authentication, value::duration),
        email: section.value("email", outer.email, value::duration),
        other: section.value("others", outer.other, value::duration),
    }
}

fn windows(
    section: &Section<'_>,
    outer: &BTreeMap<Category, Window>,
) -> BTreeMap<Category, Window> {
    let read = |category: &Category| {
        let outer = outer.get(category).copied();
        let window = section.value(category.as_str(), outer, window);
        window.map(|window| (*category, window))
    };
    Category::ALL.iter().filter_map(read).collect()
}

/// `08:00-20:00`, or `none`.
fn window(item: &Item<'_>) -> Result<Option<Window>, Complaint> {
    let allowed = "two different times of day such as \"08:00-20:00\", or \"none\"";
    match value::str_of(item, allowed)? {
        "none" => Ok(None),
        text => match Window::parse(text) {
            Ok(window) => Ok(Some(window)),
            Err(_) => Err(Complaint::new("is no window").allowed(allowed)),
        },
    }
}

fn per_channel<T: Clone + std::fmt::Debug>(
    section: &Section<'_>,
    outer: &BTreeMap<ChannelKind, T>,
    read: impl Fn(ChannelKind, &Item<'_>) -> Result<T, Complaint>,
) -> BTreeMap<ChannelKind, T> {
    let value = |channel: &ChannelKind| {
        let outer = outer.get(channel).cloned();
        let value = section.optional(channel.as_str(), outer, |item| read(*channel, item));
        value.map(|value| (*channel, value))
    };
    ChannelKind::ALL.iter().filter_map(value).collect()
}

fn senders(channel: ChannelKind, item: &Item<'_>) -> Result<Vec<String>, Complaint> {
    value::list(|item| {
        let sender = value::word(item)?;
        if sender.chars().any(char::is_control) {
            return Err(Complaint::new("holds a control character"));
        }
        let address = sender.rsplit_once('<').map_or(sender.as_str(), |(_, address)| address);
        let address = address.strip_suffix('>').unwrap_or(address);
        if channel == ChannelKind::Email && !email_address::EmailAddress::is_valid(address) {
            return Err(Complaint::new("is no email address").allowed(
                "an address such as \"news@acme.example\" or \"Acme <news@acme.example>\"",
            ));
        }
        Ok(sender)
    })(item)
}

fn known_providers(item: &Item<'_>, providers: &[String]) -> Result<Vec<String>, Complaint> {
    let names = value::list(|item| {
        let name = value::word(item)?;
        if providers.contains(&name) {
            return Ok(name);
        }
        let known: Vec<String> = providers.iter().map(|known| format!("\"{known}\"")).collect();
        let complaint =
            Complaint::new("is no provider").hint(format!("add a section [provider.{name}]"));
        Err(match known.is_empty() {
            true => complaint,
            false => complaint.allowed(format!("one of {}", known.join(", "))),
        })
    })(item)?;
    let twice = (1..names.len()).find(|index| names[..*index].contains(&names[*index]));
    twice.map_or(Ok(names), |index| Err(Complaint::new("stands there twice").at(index)))
}

fn merged(own: Vec<(String, RelPath)>, outer: &Aliases) -> Aliases {
    let mut all = outer.clone();
    all.extend(own);
    all
}

/// A folder's other name: one name on top of the tenant's tree, for a folder that is there.
fn alias(name: &str, item: &Item<'_>) -> Result<RelPath, Complaint> {
    const FOLDERS: &[&str] = &["inbox", "outbox", "archive", "media", "test", "spec"];
    let allowed = "a folder of the tenant such as \"/inbox\" or \"/outbox/messages\"";
    let folder = value::str_of(item, allowed)?.trim_matches('/');
    let top = folder.split('/').next().unwrap_or_default();
    let odd = |name: &str| name.is_empty() || name == "." || name == "..";
    if !FOLDERS.contains(&top) || folder.split('/').any(odd) {
        return Err(Complaint::new("is no folder of a tenant").allowed(allowed));
    }
    if odd(name) || name.contains('/') || name.chars().any(char::is_control) {
        return Err(Complaint::new(format!("has the name {name:?}, which no folder can have"))
            .hint("an alias is one name, without \"/\""));
    }
    if FOLDERS.contains(&name) {
        return Err(Complaint::new(format!("would hide the folder /{name}")));
    }
    RelPath::root().resolve(folder.as_bytes()).map_err(|error| Complaint::new(error.to_string()))
}

fn timezone(item: &Item<'_>) -> Result<TimeZone, Complaint> {
    let allowed = "the name of a time zone such as \"Europe/Berlin\" or \"UTC\"";
    let name = value::str_of(item, allowed)?;
    TimeZone::get(name).map_err(|_| Complaint::new("is no known time zone").allowed(allowed))
}

/// Two capital letters; the numbering rules know which of them are countries.
fn country(item: &Item<'_>) -> Result<String, Complaint> {
    let allowed = "the two letters of a country such as \"DE\"";
    let text = value::str_of(item, allowed)?;
    if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
        return Ok(text.to_owned());
    }
    let complaint = Complaint::new("is no country").allowed(allowed);
    let upper = text.to_ascii_uppercase();
    let is_case = text.len() == 2 && upper.bytes().all(|b| b.is_ascii_uppercase());
    Err(if is_case { complaint.hint(format!("did you mean \"{upper}\"?")) } else { complaint })
}

/// One of the categories; `utility` is another name of `transactional`.
pub(super) fn category(item: &Item<'_>) -> Result<Category, Complaint> {
    value::one_of(&[
        ("marketing", Category::Marketing),
        ("transactional", Category::Transactional),
        ("utility", Category::Transactional),
        ("authentication", Category::Authentication),
        ("service", Category::Service),
    ])(item)
}

/// A glob over whole names; `*` and `?` match what a shell's would.
pub(super) fn pattern(item: &Item<'_>) -> Result<Pattern, Complaint> {
    let text = value::word(item)?;
    if text.contains("{seq}") {
        return Err(Complaint::new("holds {seq}, which only a profile's match may"));
    }
    let glob = GlobBuilder::new(&text).literal_separator(true).backslash_escape(true).build();
    match glob {
        Ok(glob) => Ok(Pattern { matcher: glob.compile_matcher(), text }),
        Err(error) => Err(Complaint::new(format!("is no pattern: {}", error.kind()))
            .allowed("a file name in which \"*\", \"?\" and \"[a-z]\" stand for others")),
    }
}

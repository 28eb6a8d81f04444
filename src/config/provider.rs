//! Providers: `[provider.<id>]`, by kind.

use std::sync::Arc;

use jiff::Timestamp;

use super::problem::Complaint;
use super::provider_http;
use super::secret::Places;
use super::section::{Item, Section};
use super::value;
use crate::channel::{
    Channel, ChannelError, DirectorySettings, OnUnknown, ProviderKind, ProviderSettings, Secret,
    SimulatorSettings, SmtpSettings, SmtpTls,
};
use crate::pacing::{PerDay, RetrySchedule, WarmUp};
use crate::world::World;

/// The kinds of this version, by their words.
#[derive(Debug, Clone, Copy)]
enum KindWord {
    Smtp,
    Http,
    Simulator,
    Directory,
}

/// The providers, and the names of all of them: a provider with a problem still has a name.
pub(super) fn read_all(top: &Section<'_>, places: &Places) -> (Vec<ProviderSettings>, Vec<String>) {
    let mut names = Vec::new();
    let mut providers = Vec::new();
    for (name, section) in top.named_sections("provider") {
        let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        if name.is_empty() || name.len() > 64 || !name.bytes().all(fits) {
            let complaint = Complaint::new(format!("names a provider {name:?}"))
                .allowed("1 to 64 of a-z, 0-9, \"-\" and \"_\"");
            section.complain("", complaint);
        }
        let reported = section.problems();
        let provider = read(&name, &section, places);
        if let Some(provider) = provider.filter(|_| section.problems() == reported) {
            check_channel(&section, &provider);
            providers.push(provider);
        }
        names.push(name);
    }
    (providers, names)
}

/// Builds the channel as start-up would, which compiles its templates; nothing is sent and no time
/// passes, so the clock may stand anywhere.
fn check_channel(section: &Section<'_>, provider: &ProviderSettings) {
    let world = Arc::new(World::seeded(Timestamp::UNIX_EPOCH, 0));
    match Channel::new(provider.clone(), world) {
        Ok(_) => {}
        Err(ChannelError::Setting { key, problem }) => {
            section.complain(key, Complaint::new(problem));
        }
        Err(ChannelError::File { key, path, cause }) => {
            section.complain(key, Complaint::new(format!("cannot be read: {cause} ({path})")));
        }
    }
}

fn read(id: &str, section: &Section<'_>, places: &Places) -> Option<ProviderSettings> {
    let Some(kind) = section.required("kind", KINDS, kind) else {
        section.set_aside();
        return None;
    };
    // What the kind lacks is told together with what all kinds share.
    let kind = match kind {
        KindWord::Smtp => Some(ProviderKind::Smtp(Box::new(smtp(section, places)))),
        KindWord::Http => Some(ProviderKind::Http(Box::new(provider_http::read(section, places)))),
        KindWord::Simulator => {
            let built_in = SimulatorSettings::default();
            let delay = section.value("delay", built_in.delay, value::duration_or_zero);
            let receipts = false;
            Some(ProviderKind::Simulator(SimulatorSettings { delay, receipts }))
        }
        KindWord::Directory => {
            let path = section.required("path", "a folder", |item| places.path(item));
            path.map(|path| ProviderKind::Directory(DirectorySettings { path }))
        }
    };
    let on_unknown = [("hold", OnUnknown::Hold), ("resend", OnUnknown::Resend)];
    let retry = retry(section);
    let rate = section.optional("rate", None, value::rate);
    let pair_rate = section.optional("pair_rate", None, value::rate);
    let failures_max =
        section.value("failures_max", ProviderSettings::FAILURES_MAX, value::number(1, 10_000));
    let warm_up = warm_up(&section.section("warm_up"));
    let concurrency =
        section.value("concurrency", ProviderSettings::CONCURRENCY, value::number(1, 10_000));
    let on_unknown = section.value("on_unknown", OnUnknown::Hold, value::one_of(&on_unknown));
    Some(ProviderSettings {
        id: id.to_owned(),
        kind: kind?,
        rate,
        concurrency,
        pair_rate,
        failures_max,
        warm_up,
        retry,
        on_unknown,
    })
}

const KINDS: &str = "one of \"smtp\", \"http\", \"simulator\", \"directory\"";

fn kind(item: &Item<'_>) -> Result<KindWord, Complaint> {
    let words = [
        ("smtp", Some(KindWord::Smtp)),
        ("http", Some(KindWord::Http)),
        ("simulator", Some(KindWord::Simulator)),
        ("directory", Some(KindWord::Directory)),
        ("whatsapp_cloud", None),
        ("twilio", None),
        ("telegram", None),
    ];
    value::one_of(&words)(item)?.ok_or_else(|| {
        Complaint::not_yet().allowed(KINDS).hint("kind = \"http\" can describe most APIs")
    })
}

fn retry(section: &Section<'_>) -> RetrySchedule {
    let built_in = RetrySchedule::default();
    let retry = RetrySchedule {
        first: section.value("retry_first", built_in.first, value::duration),
        factor: section.value("retry_factor", built_in.factor, value::decimal(1.0, 100.0)),
        max: section.value("retry_max", built_in.max, value::duration),
        attempts_max: section.value("attempts_max", built_in.attempts_max, value::number(1, 1_000)),
    };
    if retry.first > retry.max {
        let key = if section.has("retry_first") { "retry_first" } else { "retry_max" };
        section.complain(key, Complaint::new("makes the first wait longer than the longest"));
    }
    retry
}

/// The ramp of new senders, where one is given.
fn warm_up(section: &Section<'_>) -> Option<WarmUp> {
    if !section.is_given() {
        return None;
    }
    let first = section.required("first", PER_DAY, per_day);
    let factor = section.value("factor", 2.0, value::decimal(1.0, 10.0));
    let until = section.required("until", PER_DAY, per_day);
    let ramp = WarmUp { first: first?, factor, until: until? };
    if ramp.until <= ramp.first {
        section.complain("until", Complaint::new("is no more than first: there is no ramp"));
    } else if factor <= 1.0 {
        section
            .complain("factor", Complaint::new("lets the ramp never end").allowed("more than 1"));
    }
    Some(ramp)
}

const PER_DAY: &str = "messages a day such as \"50/day\"";

fn per_day(item: &Item<'_>) -> Result<PerDay, Complaint> {
    let text = value::str_of(item, PER_DAY)?;
    PerDay::parse(text).ok_or_else(|| Complaint::new("is no number a day").allowed(PER_DAY))
}

fn smtp(section: &Section<'_>, places: &Places) -> SmtpSettings {
    let built_in = SmtpSettings::default();
    let modes =
        [("starttls", SmtpTls::StartTls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];
    let tls = section.value("tls", built_in.tls, value::one_of(&modes));
    let password = section.optional("password_file", None, |item| places.secret(item));
    for (given, other) in [("username", "password_file"), ("password_file", "username")] {
        if section.has(given) && !section.has(other) {
            section.complain(given, Complaint::new(format!("needs {other} beside it")));
        }
    }
    if tls == SmtpTls::None && password.is_some() {
        section.warn("tls", Complaint::new("sends the password in clear"));
    }
    let time = |key, built_in| section.value(key, built_in, value::duration);
    SmtpSettings {
        host: section.required("host", "the name of a mail server", host).unwrap_or_default(),
        port: section.value("port", built_in.port, value::number(1, 65_535)),
        tls,
        username: section.value("username", built_in.username, value::word),
        password: password.unwrap_or_else(|| Secret::new("")),
        connections: section.value("connections", built_in.connections, value::number(1, 1_000)),
        hello_name: section.value("hello_name", built_in.hello_name, host),
        ca_file: section
            .optional("ca_file", None, |item| super::server::certificate(places.path(item)?)),
        connect_timeout: time("connect_timeout", built_in.connect_timeout),
        command_timeout: time("command_timeout", built_in.command_timeout),
        data_timeout: time("data_timeout", built_in.data_timeout),
        dot_timeout: time("dot_timeout", built_in.dot_timeout),
        idle_max: time("idle_max", built_in.idle_max),
        age_max: time("age_max", built_in.age_max),
        messages_max: section.value(
            "messages_max",
            built_in.messages_max,
            value::number(1, 1_000_000),
        ),
    }
}

fn host(item: &Item<'_>) -> Result<String, Complaint> {
    let name = value::word(item)?;
    let fits =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if name.chars().all(fits) && !name.contains("://") {
        return Ok(name);
    }
    Err(Complaint::new("is no host name")
        .allowed("a name or an address, such as \"mail.example.net\""))
}

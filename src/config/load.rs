//! From a path to a checked `Config`: the main file, then `tenants.d` beside it, then every section.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::account;
use super::guard;
use super::problem::{Complaint, ConfigError, Findings, Problem};
use super::provider;
use super::secret::Places;
use super::section::{Section, Source};
use super::server::{self, Log, Web};
use super::tenant::{Known, Tenant, TenantSettings};
use crate::channel::ProviderSettings;
use crate::model::TenantId;
use crate::records;
use crate::transfer::{self, Account};

/// Everything the program is told, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where everything lives: the tenants' trees, the store, the spool, keys made by the program.
    pub data_dir: PathBuf,
    /// The share of the disk that must stay free.
    pub disk_reserve: f64,
    /// The most that the ballast holds: part of the disk that is given back when it is full.
    pub ballast: u64,
    pub transfer: transfer::Settings,
    /// The accounts of all tenants; their names are unique.
    pub accounts: Vec<Account>,
    /// Where health and metrics are served; `None` where they are not.
    pub admin_listen: Option<SocketAddr>,
    pub web: Web,
    /// How long attempts in flight may take when the program stops.
    pub shutdown_grace: Duration,
    pub log: Log,
    /// Limits of what is read from a file.
    pub limits: records::Limits,
    pub providers: Vec<ProviderSettings>,
    pub tenants: Vec<Tenant>,
    /// What the environment says is the id of this boot of the machine.
    pub boot_id: Option<String>,
    /// What is odd but lets the program start.
    pub warnings: Vec<Problem>,
    /// Every key outside tenants with the value in force, to tell what a reload cannot change.
    server_keys: BTreeMap<String, String>,
}

/// The folder of tenants' own files, beside the main file.
const TENANT_FOLDER: &str = "tenants.d";
/// Largest configuration file that is read, in bytes.
const FILE_MAX_BYTES: u64 = 16 << 20;
/// What a reload brings in: tenants with all they hold, accounts too, what they have in common, and what
/// the doors look up anew for each connection.
const RELOADED: [&str; 13] = [
    "tenant.",
    "defaults.",
    "guard.",
    "sftp.from_proxy",
    "ftp.from_proxy",
    "limits.connections_max",
    "limits.connections_per_address",
    "limits.logins_pending_max",
    "limits.session_bandwidth",
    "limits.login_grace",
    "limits.stall_timeout",
    "limits.data_timeout",
    "limits.handles_max",
];
/// The environment says here which boot of the machine this is: the unit, since its box hides the kernel's
/// own word, and tests of power cuts, which play a reboot.
const BOOT_ID: &str = "DROPCHUTE_BOOT_ID";
/// The format this version reads.
const FORMAT: u64 = 1;

/// Reads and checks the configuration, without touching anything else.
///
/// # Errors
/// All problems of all files together.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    #[allow(clippy::disallowed_methods, reason = "systemd names the credentials' folder there")]
    let credentials = std::env::var("CREDENTIALS_DIRECTORY").ok().map(PathBuf::from);
    load_with(path, credentials)
}

pub(super) fn load_with(path: &Path, credentials: Option<PathBuf>) -> Result<Config, ConfigError> {
    let findings = Findings::default();
    let base = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let sources = sources(path, &base, &findings);
    let tables: Vec<_> = sources.iter().map(|source| parse(source, &findings)).collect();
    // Half a main file has no more to tell; a tenant's broken file hides nobody else's problems.
    if findings.problems.borrow().iter().any(|problem| problem.file == sources[0].name) {
        stop_on_problems(&findings, &sources)?;
    }
    let places = Places { base, credentials };
    let config = read(&sources, &tables, &places, &findings);
    stop_on_problems(&findings, &sources)?;
    let mut config = config.expect("what could not be read was reported");
    #[allow(clippy::disallowed_methods, reason = "the service manager says it there")]
    let boot_id = std::env::var(BOOT_ID).ok();
    config.boot_id = boot_id;
    config.warnings = in_order(findings.warnings.take(), &sources);
    let keys = findings.keys.into_inner().into_iter();
    config.server_keys = keys
        .filter(|(path, _)| !RELOADED.iter().any(|section| path.starts_with(section)))
        .map(|(path, key)| (path, key.in_force))
        .collect();
    Ok(config)
}

/// Every key the program asks the main file for, to hold the example to the code.
#[cfg(test)]
pub(super) fn known_keys(path: &Path) -> BTreeMap<String, super::problem::Key> {
    let findings = Findings::default();
    let base = path.parent().map_or_else(PathBuf::new, Path::to_owned);
    let sources = sources(path, &base, &findings);
    let tables: Vec<_> = sources.iter().map(|source| parse(source, &findings)).collect();
    read(&sources, &tables, &Places { base, credentials: None }, &findings);
    findings.keys.take()
}

/// The keys whose change a reload cannot bring into force.
///
/// A reload brings in what `RELOADED` lists; listeners, other limits, providers, log and `data_dir` are
/// made once, at start.
pub fn restart_needed(old: &Config, new: &Config) -> Vec<String> {
    let keys = old.server_keys.keys().chain(new.server_keys.keys());
    let changed = keys.filter(|key| old.server_keys.get(*key) != new.server_keys.get(*key));
    let mut changed: Vec<String> = changed.cloned().collect();
    changed.sort_unstable();
    changed.dedup();
    changed
}

/// All problems, where there are any.
fn stop_on_problems(findings: &Findings, sources: &[Source]) -> Result<(), ConfigError> {
    let problems = in_order(findings.problems.take(), sources);
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}

/// In the order of files and lines.
fn in_order(mut problems: Vec<Problem>, sources: &[Source]) -> Vec<Problem> {
    let file = |problem: &Problem| sources.iter().position(|source| source.name == problem.file);
    problems.sort_by_key(|problem| (file(problem), problem.line));
    problems
}

/// The main file, then those of `tenants.d` by name.
fn sources(path: &Path, base: &Path, findings: &Findings) -> Vec<Source> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut sources = vec![source(path, name, None, findings)];
    let folder = base.join(TENANT_FOLDER);
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return sources,
        Err(error) => {
            let why = format!("cannot be read: {error}");
            findings.problem(Source::named(TENANT_FOLDER).problem(None, why));
            return sources;
        }
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    for path in paths {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // Editors leave their own files behind.
        if !stem.starts_with('.') {
            let name = format!("{TENANT_FOLDER}/{stem}.toml");
            sources.push(source(&path, name, Some(stem), findings));
        }
    }
    sources
}

fn source(path: &Path, name: String, tenant: Option<String>, findings: &Findings) -> Source {
    let mut source = Source { tenant, ..Source::named(&name) };
    let read = || {
        if std::fs::metadata(path)?.len() > FILE_MAX_BYTES {
            return Err(std::io::Error::other(format!("it is larger than {FILE_MAX_BYTES} bytes")));
        }
        std::fs::read(path)
    };
    match read().map(String::from_utf8) {
        Ok(Ok(text)) => source.text = text,
        Ok(Err(error)) => {
            let valid = error.utf8_error().valid_up_to();
            let before = error.as_bytes()[..valid].iter().filter(|b| **b == b'\n').count();
            findings.problem(source.problem(Some(before + 1), "is not UTF-8 text"));
        }
        Err(error) => findings.problem(source.problem(None, format!("cannot be read: {error}"))),
    }
    source
}

/// The file's top table; every error of syntax is reported.
fn parse<'a>(source: &'a Source, findings: &Findings) -> DeTable<'a> {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    for error in errors {
        let line = error.span().map(|span| source.line(span.start));
        findings.problem(source.problem(line, format!("is not TOML: {}", error.message())));
    }
    table.into_inner()
}

fn read<'a>(
    sources: &'a [Source],
    tables: &'a [DeTable<'a>],
    places: &Places,
    findings: &'a Findings,
) -> Option<Config> {
    let top = Section::top(&sources[0], findings, &tables[0]);
    format_is_known(&top, &tables[0])?;
    let shutdown_grace = server::shutdown_grace(&top.section("shutdown"));
    let (door_limits, limits) = server::limits(&top.section("limits"), shutdown_grace);
    let guard = guard::read(&top.section("guard"));
    let transfer = transfer::Settings { limits: door_limits, guard, ..server::doors(&top, places) };
    let (providers, names) = provider::read_all(&top, places);
    let known = Known { providers: &names, limits: &limits };

    let defaults_section = top.section("defaults");
    let defaults = TenantSettings::read(&defaults_section, &TenantSettings::default(), &known);
    let mut accounts = Vec::new();
    let mut tenants: Vec<Tenant> = Vec::new();
    for (name, section) in tenant_sections(&top, sources, tables, findings) {
        let Some(id) = tenant_id(&name, &section, &tenants) else { continue };
        let settings = TenantSettings::read(&section, &defaults, &known);
        account::read_all(&section, &id, places, &settings.timezone, &mut accounts);
        let mut tenant = Tenant { id, settings };
        tenant.warn_of_marketing(&section);
        tenant.inherit_profiles(&defaults_section, &limits);
        tenants.push(tenant);
    }
    Some(Config {
        data_dir: transfer.data_dir.clone(),
        disk_reserve: transfer.disk_reserve,
        ballast: server::ballast(&top),
        transfer,
        accounts,
        admin_listen: server::admin_listen(&top.section("admin")),
        web: Web::read(&top.section("web")),
        shutdown_grace,
        log: Log::read(&top.section("log")),
        limits,
        providers,
        tenants,
        boot_id: None,
        warnings: Vec::new(),
        server_keys: BTreeMap::new(),
    })
}

/// Another format has other keys: there is no sense in reading on.
fn format_is_known(top: &Section<'_>, table: &DeTable<'_>) -> Option<()> {
    let first = table.keys().min_by_key(|name| name.span().start);
    if top.has("format") && first.is_some_and(|first| first.get_ref() != "format") {
        let complaint =
            Complaint::new("is not the first key").hint("move it to the top of the file");
        top.complain("format", complaint);
    }
    let format = top.required("format", "1, as the first key", |item| {
        let complaint =
            || Complaint::new("is no format this version reads").allowed(format!("{FORMAT}"));
        super::value::number(FORMAT, FORMAT)(item).map_err(|_| complaint())
    });
    if top.has("format") && format.is_none() {
        top.set_aside();
    }
    format.map(|_: u64| ()).or_else(|| (!top.has("format")).then_some(()))
}

/// Every tenant of the main file, then those with their own files.
fn tenant_sections<'a>(
    top: &Section<'a>,
    sources: &'a [Source],
    tables: &'a [DeTable<'a>],
    findings: &'a Findings,
) -> Vec<(String, Section<'a>)> {
    let mut sections = top.named_sections("tenant");
    for (source, table) in sources.iter().zip(tables) {
        if let Some(tenant) = &source.tenant {
            sections.push((tenant.clone(), Section::top(source, findings, table)));
        }
    }
    sections
}

fn tenant_id(name: &str, section: &Section<'_>, others: &[Tenant]) -> Option<TenantId> {
    let id: TenantId = match name.parse() {
        Ok(id) => id,
        Err(error) => {
            let error: crate::model::InvalidId = error;
            let why = format!("names a tenant {:?} that {}", error.found, error.allowed);
            section.complain("", Complaint::new(why));
            section.set_aside();
            return None;
        }
    };
    if others.iter().any(|other| other.id == id) {
        let complaint = Complaint::new(format!("holds the tenant {id} a second time"))
            .hint(format!("keep [tenant.{id}] or {TENANT_FOLDER}/{id}.toml, not both"));
        section.complain("", complaint);
        section.set_aside();
        return None;
    }
    Some(id)
}

//! Accounts: the logins below a tenant.

use argon2::password_hash::phc::PasswordHash;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use russh::keys::ssh_key::authorized_keys::Entry;
use toml::de::DeValue;

use super::problem::Complaint;
use super::secret::Places;
use super::section::{Item, Section};
use super::value;
use crate::model::{Kind, TenantId};
use crate::transfer::{Account, Factors, Protocols, Rights, TotpSecret};

/// Longest name of an account, in bytes.
const NAME_MAX_BYTES: usize = 128;

/// A right, by its word.
#[derive(Clone, Copy)]
enum Right {
    Drop,
    Collect,
    Control,
    Approve,
}

/// A protocol, by its word.
#[derive(Clone, Copy)]
enum Protocol {
    Sftp,
    Ftps,
    Ftp,
}

/// Adds a tenant's accounts to those of the others; their names must differ from all of them.
pub(super) fn read_all(
    tenant: &Section<'_>,
    id: &TenantId,
    places: &Places,
    timezone: &TimeZone,
    accounts: &mut Vec<Account>,
) {
    for (name, section) in tenant.named_sections("account") {
        if let Err(complaint) = check_name(&name, accounts) {
            section.complain("", complaint);
        }
        let account = read(name, id.clone(), &section, places, timezone);
        check_login(&account, &section);
        accounts.push(account);
    }
}

fn check_name(name: &str, others: &[Account]) -> Result<(), Complaint> {
    let fits = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b'\\' | b':' | b'"');
    if name.is_empty() || name.len() > NAME_MAX_BYTES || !name.bytes().all(fits) {
        let why = format!("names an account {name:?} that no client can send");
        return Err(Complaint::new(why).hint("use letters, digits and \"-_.@\""));
    }
    match others.iter().find(|other| other.name == name) {
        Some(other) => {
            Err(Complaint::new(format!("is an account of the tenant {} too", other.tenant))
                .hint("the names of accounts are unique over all tenants"))
        }
        None => Ok(()),
    }
}

fn read(
    name: String,
    tenant: TenantId,
    section: &Section<'_>,
    places: &Places,
    timezone: &TimeZone,
) -> Account {
    let every_kind = Kind::ALL.iter().copied();
    let usual = every_kind.filter(|kind| !matches!(kind, Kind::PrivacyRequests | Kind::Control));
    let kinds: Vec<_> = Kind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    let anywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|network| network.parse().ok());
    let rights_usual = Rights { drop: true, collect: true, ..Rights::default() };
    let protocols_usual = Protocols { sftp: true, ftps: true, ftp: false };
    let mut account = Account {
        name,
        tenant,
        password_hash: section
            .optional("password_hash", None, password_hash)
            .map(|Hash(hash)| hash),
        ssh_keys: section.value("ssh_keys", Vec::new(), value::list(ssh_key)),
        ssh_authorities: section.value("ssh_authorities", Vec::new(), value::list(ssh_key)),
        totp_secret: section
            .optional("totp_secret_file", None, |item| totp_secret(&places.secret_text(item)?)),
        login: Vec::new(),
        rights: section.value("rights", rights_usual, rights),
        kinds: section.value("kinds", usual.collect(), value::list(value::one_of(&kinds))),
        protocols: section.value("protocols", protocols_usual, protocols),
        allow_from: section.value("allow_from", anywhere.collect(), value::list(value::network)),
        expires: section.optional("expires", None, |item| moment(item, timezone)),
        sessions_max: section.optional("sessions_max", None, value::number(1, 1_000_000)),
    };
    let usual = Factors::usual(has(&account));
    account.login = section.value("login", usual, value::list(factors));
    account
}

/// The end of a day in the tenant's zone, or an exact time.
fn moment(item: &Item<'_>, timezone: &TimeZone) -> Result<Timestamp, Complaint> {
    let allowed =
        "the last day, such as \"2026-12-31\", or a time such as \"2026-12-31T18:00:00Z\"";
    let text = value::plain_text(item).or_else(|_| date_of(item, allowed))?;
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let day: Option<Date> = text.parse().ok().filter(|_| !text.contains([':', 'T']));
    let next = day.and_then(|day| day.checked_add(1.day()).ok());
    let end = next.and_then(|next| timezone.to_zoned(next.at(0, 0, 0, 0)).ok());
    end.map(|end| end.timestamp())
        .ok_or_else(|| Complaint::new("is no date or time").allowed(allowed))
}

/// TOML has dates of its own, which nobody should have to put into quotes.
fn date_of(item: &Item<'_>, allowed: &str) -> Result<String, Complaint> {
    match item.get_ref() {
        DeValue::Datetime(date) => Ok(date.to_string()),
        _ => Err(Complaint::must_be(allowed)),
    }
}

/// What the account could prove.
fn has(account: &Account) -> Factors {
    let mut has = Factors::NONE;
    if !account.ssh_keys.is_empty() || !account.ssh_authorities.is_empty() {
        has = has.and(Factors::KEY);
    }
    if account.password_hash.is_some() {
        has = has.and(Factors::PASSWORD);
    }
    if account.totp_secret.is_some() {
        has = has.and(Factors::TOTP);
    }
    has
}

/// Nobody is to find out at the door that a login cannot succeed.
fn check_login(account: &Account, section: &Section<'_>) {
    let has = has(account);
    let can_prove = |all: &Factors| has.include(*all);
    if !has.include(Factors::KEY) && !has.include(Factors::PASSWORD) {
        let why = "has none of password_hash, ssh_keys and ssh_authorities: nobody can log in";
        section.warn("", Complaint::new(why));
    } else if !account.login.iter().all(can_prove) {
        let complaint = Complaint::new("asks for what the account does not have").hint(
            "key needs ssh_keys or ssh_authorities, password password_hash, totp totp_secret_file",
        );
        section.complain("login", complaint);
    }
    let asks_code = account.login.iter().any(|all| all.include(Factors::TOTP));
    if account.totp_secret.is_some() && !asks_code {
        section
            .warn("totp_secret_file", Complaint::new("has no effect: login does not ask for it"));
    }
    let over_ftp = account.protocols.ftps || account.protocols.ftp;
    if section.has("protocols") && over_ftp && !account.login.contains(&Factors::PASSWORD) {
        let why = "allows FTP, where nothing but a password can be proved, and login does not accept it alone";
        section.warn("protocols", Complaint::new(why));
    }
}

fn factors(item: &Item<'_>) -> Result<Factors, Complaint> {
    let allowed = "\"key\", \"password\", \"key+password\", \"key+totp\" or \"password+totp\"";
    let text = value::str_of(item, allowed)?;
    text.parse().map_err(|_| Complaint::new("is no way to log in").allowed(allowed))
}

fn totp_secret(text: &str) -> Result<TotpSecret, Complaint> {
    text.parse().map_err(|_| {
        Complaint::new("holds no secret of a code generator")
            .allowed("at least 16 characters of base32, as the generator shows them")
            .secret()
    })
}

/// A hash does not belong into messages either.
struct Hash(String);

impl std::fmt::Debug for Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hash)")
    }
}

fn password_hash(item: &Item<'_>) -> Result<Hash, Complaint> {
    let complaint = || {
        Complaint::new("holds no argon2id hash")
            .allowed("the text that `dropchute hash-password` prints, beginning \"$argon2id$\"")
            .secret()
    };
    let text = item.get_ref().as_str().ok_or_else(complaint)?;
    let hash = PasswordHash::new(text).map_err(|_| complaint())?;
    let has_all = hash.salt.is_some() && hash.hash.is_some();
    let params = argon2::Params::try_from(&hash);
    if hash.algorithm.as_str() != "argon2id" || !has_all || params.is_err() {
        return Err(complaint());
    }
    Ok(Hash(text.to_owned()))
}

fn ssh_key(item: &Item<'_>) -> Result<String, Complaint> {
    let allowed = "a line of a public key file, such as \"ssh-ed25519 AAAA...\"";
    let line = value::str_of(item, allowed)?;
    if line.contains("PRIVATE KEY") {
        return Err(Complaint::new("is a private key").allowed(allowed).secret());
    }
    let is_type =
        |word: &str| ["ssh-", "ecdsa-", "sk-"].iter().any(|start| word.starts_with(start));
    if line.split_whitespace().skip(1).any(is_type) {
        return Err(Complaint::new("has options before the key")
            .hint("leave the options out; allow_from, rights and protocols take their place"));
    }
    match line.parse::<Entry>() {
        Ok(entry) if entry.config_opts().is_empty() => Ok(line.to_owned()),
        _ => Err(Complaint::new("is no public key").allowed(allowed)),
    }
}

fn rights(item: &Item<'_>) -> Result<Rights, Complaint> {
    let words = [
        ("drop", Right::Drop),
        ("collect", Right::Collect),
        ("control", Right::Control),
        ("approve", Right::Approve),
    ];
    let mut rights = Rights::default();
    for right in value::list(value::one_of(&words))(item)? {
        match right {
            Right::Drop => rights.drop = true,
            Right::Collect => rights.collect = true,
            Right::Control => rights.control = true,
            Right::Approve => rights.approve = true,
        }
    }
    Ok(rights)
}

fn protocols(item: &Item<'_>) -> Result<Protocols, Complaint> {
    let words = [("sftp", Protocol::Sftp), ("ftps", Protocol::Ftps), ("ftp", Protocol::Ftp)];
    let mut protocols = Protocols::default();
    for protocol in value::list(value::one_of(&words))(item)? {
        match protocol {
            Protocol::Sftp => protocols.sftp = true,
            Protocol::Ftps => protocols.ftps = true,
            Protocol::Ftp => protocols.ftp = true,
        }
    }
    Ok(protocols)
}

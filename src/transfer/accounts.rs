//! The logins: who may come in, by which door, from where, with what.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use russh::keys::PublicKey;
use russh::keys::ssh_key::authorized_keys::Entry;
use russh::keys::ssh_key::{Certificate, Fingerprint, HashAlg};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::totp::UsedCodes;
use super::{Factors, Network, TotpSecret, certificate, password};
use crate::files::{Aliases, Quota, TreeSettings};
use crate::model::{Kind, TenantId};

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// Put files into `/inbox` and `/media`.
    pub drop: bool,
    /// List, read and delete answers.
    pub collect: bool,
    /// Send control files.
    pub control: bool,
    /// Approve held files.
    pub approve: bool,
}

/// The doors an account may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols {
    pub sftp: bool,
    pub ftps: bool,
    /// FTP without TLS.
    pub ftp: bool,
}

impl Protocols {
    fn allow(self, protocol: &str) -> bool {
        match protocol {
            "sftp" => self.sftp,
            "ftps" => self.ftps,
            "ftp" => self.ftp,
            _ => false,
        }
    }
}

/// One login of a tenant.
#[derive(Clone)]
pub struct Account {
    pub name: String,
    pub tenant: TenantId,
    /// PHC string of argon2id; without one there is no login by password.
    pub password_hash: Option<String>,
    /// Lines as in `authorized_keys`, without options.
    pub ssh_keys: Vec<String>,
    /// Keys, written likewise, of authorities whose certificates for this account count as its keys.
    pub ssh_authorities: Vec<String>,
    pub totp_secret: Option<TotpSecret>,
    /// What must be proved to log in: one of these combinations, whole.
    pub login: Vec<Factors>,
    pub rights: Rights,
    /// The kinds of files this account may send; intake holds it.
    pub kinds: Vec<Kind>,
    pub protocols: Protocols,
    pub allow_from: Vec<Network>,
    /// When the account ends; from then on it lets nobody in.
    pub expires: Option<Timestamp>,
    /// Sessions of this account at the same time.
    pub sessions_max: Option<usize>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .field("tenant", &self.tenant)
            .field("rights", &self.rights)
            .field("protocols", &self.protocols)
            .finish_non_exhaustive()
    }
}

impl Account {
    /// Whether some combination holds this.
    fn asks(&self, factor: Factors) -> bool {
        self.login.iter().any(|all| all.include(factor))
    }

    /// Over FTP nothing but a password can be proved.
    fn asks_password(&self, protocol: &str) -> bool {
        match protocol {
            "sftp" => self.asks(Factors::PASSWORD),
            _ => self.login.contains(&Factors::PASSWORD),
        }
    }
}

/// What the doors need to know of a tenant.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: TenantId,
    pub aliases: Aliases,
    /// How long an ended upload may still prove to be cut.
    pub settle: Duration,
    /// Most that may be stored.
    pub quota: Quota,
    /// How long an upload that was cut can be continued.
    pub resume_window: Duration,
    /// Nothing is taken; answers can be collected.
    pub suspended: bool,
    /// Sessions of all its accounts together.
    pub sessions_max: Option<usize>,
    /// Bytes a second of all its sessions together, in each direction.
    pub bandwidth: Option<u64>,
}

impl Tenant {
    /// A tenant without anything of its own.
    pub fn new(id: TenantId) -> Tenant {
        let TreeSettings { quota, resume_window, suspended, .. } = TreeSettings::default();
        Tenant {
            id,
            aliases: Aliases::new(),
            settle: Duration::from_secs(2),
            quota,
            resume_window,
            suspended,
            sessions_max: None,
            bandwidth: None,
        }
    }
}

/// All logins; cheap to clone, replaced as a whole at reload.
#[derive(Clone)]
pub struct Accounts {
    table: Arc<RwLock<Arc<Table>>>,
    password_checks: Arc<Semaphore>,
    used_codes: Arc<UsedCodes>,
}

struct Table {
    accounts: HashMap<String, Known>,
    tenants: HashMap<TenantId, Arc<Tenant>>,
    /// Some account takes certificates.
    certificates: bool,
    /// Verified where there is nothing else to verify.
    dummy_hash: Arc<str>,
}

struct Known {
    login: Login,
    keys: Vec<PublicKey>,
    authorities: Vec<Fingerprint>,
}

/// A login that was allowed.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) account: Arc<Account>,
    pub(super) tenant: Arc<Tenant>,
}

/// Why a login is not even to be proved; the client never hears which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Barred {
    Unknown,
    WrongDoor,
    WrongNetwork,
    NoPassword,
}

impl Accounts {
    /// Nobody may log in until `replace`. At most `password_checks_max` passwords are checked at once.
    pub fn new(password_checks_max: usize) -> Accounts {
        Accounts {
            table: Arc::default(),
            password_checks: Arc::new(Semaphore::new(password_checks_max.max(1))),
            used_codes: Arc::default(),
        }
    }

    /// Puts new accounts in the place of all earlier ones; sessions that are open go on.
    pub fn replace(&self, accounts: Vec<Account>, tenants: Vec<Tenant>) {
        let tenants: HashMap<TenantId, Arc<Tenant>> =
            tenants.into_iter().map(|tenant| (tenant.id.clone(), Arc::new(tenant))).collect();
        let hashes = accounts.iter().filter_map(|account| account.password_hash.as_deref());
        let dummy_hash = password::dummy(hashes).into();
        let mut known = HashMap::new();
        let mut certificates = false;
        for account in accounts {
            let keys =
                account.ssh_keys.iter().filter_map(|line| read_key(&account, line)).collect();
            let authorities =
                account.ssh_authorities.iter().filter_map(|line| read_key(&account, line));
            let authorities: Vec<_> =
                authorities.map(|key| key.fingerprint(HashAlg::Sha256)).collect();
            certificates |= !authorities.is_empty();
            let bare = || Arc::new(Tenant::new(account.tenant.clone()));
            let tenant = tenants.get(&account.tenant).cloned().unwrap_or_else(bare);
            let name = account.name.clone();
            let login = Login { account: Arc::new(account), tenant };
            known.insert(name, Known { login, keys, authorities });
        }
        let table = Arc::new(Table { accounts: known, tenants, certificates, dummy_hash });
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    pub(super) fn tenants(&self) -> Vec<TenantId> {
        self.table().tenants.keys().cloned().collect()
    }

    pub(super) fn tenant(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.table().tenants.get(id).cloned()
    }

    /// Who this would be, and the hash to verify a password against: for whom no password opens
    /// anything, one that costs as much and fits none.
    pub(super) fn for_password(
        &self,
        name: &str,
        protocol: &str,
        peer: IpAddr,
    ) -> (Result<Login, Barred>, Arc<str>) {
        let table = self.table();
        let found = table.find(name, protocol, peer).and_then(|known| {
            let account = &known.login.account;
            let hash = account.password_hash.as_deref().ok_or(Barred::NoPassword)?;
            if !account.asks_password(protocol) {
                return Err(Barred::NoPassword);
            }
            Ok((known.login.clone(), Arc::from(hash)))
        });
        match found {
            Ok((login, hash)) => (Ok(login), hash),
            Err(barred) => (Err(barred), table.dummy_hash.clone()),
        }
    }

    /// A place for checking a password, once there is one. Keep it until the check is done.
    pub(super) async fn password_check(&self) -> OwnedSemaphorePermit {
        let place = Arc::clone(&self.password_checks).acquire_owned().await;
        place.expect("the semaphore is never closed")
    }

    /// The login for this name and key. The caller has seen, or will see, the proof of possession.
    pub(super) fn authenticate_key(
        &self,
        name: &str,
        key: &PublicKey,
        protocol: &str,
        peer: IpAddr,
    ) -> Option<Login> {
        let table = self.table();
        let known = table.find(name, protocol, peer).ok()?;
        let fits = known.keys.iter().any(|known| known.key_data() == key.key_data());
        let fits = fits && known.login.account.asks(Factors::KEY);
        fits.then(|| known.login.clone())
    }

    /// The account of this name, wherever it may come from.
    pub(super) fn named(&self, name: &str) -> Option<Arc<Account>> {
        self.table().accounts.get(name).map(|known| known.login.account.clone())
    }

    /// Whether a session of this login may go on: its account is still there, belongs to the same
    /// tenant and has not expired.
    pub(super) fn is_current(&self, login: &Login, now: Timestamp) -> bool {
        let same = |account: &Arc<Account>| account.tenant == login.account.tenant;
        self.named(&login.account.name).filter(same).is_some_and(|a| !a.has_expired(now))
    }

    /// The login for this name and certificate, as with a key.
    pub(super) fn authenticate_certificate(
        &self,
        name: &str,
        given: &Certificate,
        now: Timestamp,
        protocol: &str,
        peer: IpAddr,
    ) -> Option<Login> {
        let table = self.table();
        let known = table.find(name, protocol, peer).ok()?;
        if let Err(error) = certificate::check(given, &known.authorities, name, peer, now) {
            tracing::info!(account = name, %peer, %error, "certificate not taken");
            return None;
        }
        known.login.account.asks(Factors::KEY).then(|| known.login.clone())
    }

    /// Whether the code is the account's of now. A right one is used up.
    pub(super) fn spend_code(&self, login: &Login, code: &str, now: Timestamp) -> bool {
        let secret = login.account.totp_secret.as_ref();
        secret.is_some_and(|secret| self.used_codes.spend(&login.account.name, secret, code, now))
    }

    /// Whether any account takes certificates.
    pub(super) fn take_certificates(&self) -> bool {
        self.table().certificates
    }

    /// Whether there is such an account, and it may come from there by this protocol.
    pub(super) fn may_enter(&self, name: &str, protocol: &str, peer: IpAddr) -> bool {
        self.table().find(name, protocol, peer).is_ok()
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("count", &self.table().accounts.len()).finish()
    }
}

impl Default for Table {
    fn default() -> Table {
        let dummy_hash = password::dummy(std::iter::empty()).into();
        Table { accounts: HashMap::new(), tenants: HashMap::new(), certificates: false, dummy_hash }
    }
}

impl Table {
    /// The account, where it may come from there by this protocol.
    fn find(&self, name: &str, protocol: &str, peer: IpAddr) -> Result<&Known, Barred> {
        let known = self.accounts.get(name).ok_or(Barred::Unknown)?;
        let account = &known.login.account;
        if !account.protocols.allow(protocol) {
            return Err(Barred::WrongDoor);
        }
        if !account.allow_from.iter().any(|network| network.contains(peer)) {
            return Err(Barred::WrongNetwork);
        }
        Ok(known)
    }
}

impl Account {
    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }
}

/// A key that cannot be read, or carries options that would narrow what it allows, lets nobody in.
fn read_key(account: &Account, line: &str) -> Option<PublicKey> {
    match line.parse::<Entry>() {
        Ok(entry) if entry.config_opts().is_empty() => Some(entry.public_key().clone()),
        Ok(_) => {
            tracing::warn!(account = account.name, "ssh key with options is not used");
            None
        }
        Err(error) => {
            tracing::warn!(account = account.name, %error, "ssh key cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use argon2::Argon2;
    use argon2::password_hash::PasswordHasher;

    use super::*;

    fn account(name: &str) -> Account {
        Account {
            name: name.to_owned(),
            tenant: "acme".parse().unwrap(),
            password_hash: Some(Argon2::default().hash_password(b"secret").unwrap().to_string()),
            ssh_keys: vec![
                "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILM+rvN+ot98qgEN796jTiQfZfG1KaT0PtFDJ/XFSqti x"
                    .to_owned(),
                "no key".to_owned(),
            ],
            ssh_authorities: Vec::new(),
            totp_secret: None,
            login: vec![Factors::KEY, Factors::PASSWORD],
            rights: Rights::default(),
            kinds: Vec::new(),
            protocols: Protocols { sftp: true, ..Protocols::default() },
            allow_from: vec!["192.0.2.0/24".parse().unwrap()],
            expires: None,
            sessions_max: None,
        }
    }

    #[test]
    fn protocol_and_network_must_fit_before_a_password_is_looked_at() {
        let accounts = Accounts::new(2);
        accounts.replace(vec![account("erp"), account("keys")], Vec::new());
        let without = Account { password_hash: None, ..account("keys") };
        accounts.replace(vec![account("erp"), without], Vec::new());
        let rows = [
            ("erp", "sftp", "192.0.2.7", None),
            ("erp", "ftps", "192.0.2.7", Some(Barred::WrongDoor)),
            ("erp", "sftp", "198.51.100.1", Some(Barred::WrongNetwork)),
            ("other", "sftp", "192.0.2.7", Some(Barred::Unknown)),
            ("keys", "sftp", "192.0.2.7", Some(Barred::NoPassword)),
        ];
        for (name, protocol, peer, barred) in rows {
            let (found, hash) = accounts.for_password(name, protocol, peer.parse().unwrap());
            assert_eq!(found.err(), barred, "{name} {protocol} {peer}");
            assert_eq!(password::verify("secret", &hash), barred.is_none(), "{name}");
        }
        accounts.replace(Vec::new(), Vec::new());
        let (found, _) = accounts.for_password("erp", "sftp", "192.0.2.7".parse().unwrap());
        assert!(found.is_err());
    }

    #[test]
    fn a_login_is_current_while_its_account_is() {
        let accounts = Accounts::new(2);
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let (erp, peer) = (account("erp"), "192.0.2.7".parse().unwrap());
        accounts.replace(vec![erp.clone()], Vec::new());
        let login = accounts.for_password("erp", "sftp", peer).0.unwrap();
        let ending = Account { expires: Some(now), ..erp.clone() };
        let moved = Account { tenant: "other".parse().unwrap(), ..erp.clone() };
        let rows =
            [(vec![erp], true), (vec![ending], false), (vec![moved], false), (vec![], false)];
        for (table, current) in rows {
            accounts.replace(table, Vec::new());
            assert_eq!(accounts.is_current(&login, now), current);
        }
    }

    #[test]
    fn a_factor_that_no_combination_holds_opens_nothing() {
        let accounts = Accounts::new(2);
        let both = Protocols { sftp: true, ftps: true, ftp: false };
        let erp = |login| Account { protocols: both, login, ..account("erp") };
        let peer = "192.0.2.7".parse().unwrap();
        let both = Factors::KEY.and(Factors::PASSWORD);
        for (login, protocol, password, key) in [
            (vec![Factors::KEY], "sftp", false, true),
            (vec![Factors::PASSWORD], "sftp", true, false),
            (vec![both], "sftp", true, true),
            (vec![both], "ftps", false, true),
            (vec![both, Factors::PASSWORD], "ftps", true, true),
        ] {
            let erp = erp(login);
            let public = PublicKey::from_openssh(&erp.ssh_keys[0]).unwrap();
            accounts.replace(vec![erp], Vec::new());
            let (found, _) = accounts.for_password("erp", protocol, peer);
            assert_eq!(found.is_ok(), password, "{protocol}");
            let found = accounts.authenticate_key("erp", &public, protocol, peer);
            assert_eq!(found.is_some(), key, "{protocol}");
        }
    }

    #[test]
    fn keys_are_known_by_their_data_and_never_shown() {
        let accounts = Accounts::new(2);
        let erp = account("erp");
        let key = PublicKey::from_openssh(&erp.ssh_keys[0]).unwrap();
        accounts.replace(vec![erp.clone()], Vec::new());
        let peer = "192.0.2.7".parse().unwrap();
        assert!(accounts.authenticate_key("erp", &key, "sftp", peer).is_some());
        assert!(accounts.authenticate_key("other", &key, "sftp", peer).is_none());
        assert!(!format!("{erp:?}").contains("argon2"));
    }
}

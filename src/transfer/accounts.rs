//! The logins: who may come in, by which door, from where, with what.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use jiff::Timestamp;
use russh::keys::PublicKey;
use russh::keys::ssh_key::authorized_keys::Entry;
use russh::keys::ssh_key::{Certificate, Fingerprint, HashAlg};
use tokio::sync::Semaphore;

use super::totp::UsedCodes;
use super::{Factors, Network, TotpSecret, certificate, password};
use crate::files::Aliases;
use crate::model::{Kind, TenantId};
use crate::worker::blocking;

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
}

/// What the doors need to know of a tenant.
#[derive(Debug, Clone)]
pub struct Tenant {
    pub id: TenantId,
    pub aliases: Aliases,
}

/// All logins; cheap to clone, replaced as a whole at reload.
#[derive(Clone)]
pub struct Accounts {
    table: Arc<RwLock<Arc<Table>>>,
    password_checks: Arc<Semaphore>,
    used_codes: Arc<UsedCodes>,
}

#[derive(Default)]
struct Table {
    accounts: HashMap<String, Known>,
    tenants: Vec<TenantId>,
    /// Some account takes certificates.
    certificates: bool,
}

struct Known {
    account: Arc<Account>,
    keys: Vec<PublicKey>,
    authorities: Vec<Fingerprint>,
    aliases: Arc<Aliases>,
}

/// A login that was allowed.
#[derive(Debug, Clone)]
pub(super) struct Login {
    pub(super) account: Arc<Account>,
    pub(super) aliases: Arc<Aliases>,
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
        let ids = tenants.iter().map(|tenant| tenant.id.clone()).collect();
        let aliases: HashMap<TenantId, Arc<Aliases>> =
            tenants.into_iter().map(|tenant| (tenant.id, Arc::new(tenant.aliases))).collect();
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
            let aliases = aliases.get(&account.tenant).cloned().unwrap_or_default();
            let name = account.name.clone();
            known.insert(name, Known { account: Arc::new(account), keys, authorities, aliases });
        }
        let table = Arc::new(Table { accounts: known, tenants: ids, certificates });
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = table;
    }

    pub(super) fn tenants(&self) -> Vec<TenantId> {
        self.table().tenants.clone()
    }

    /// The login for this name and password; an unknown account takes as long as a wrong password.
    pub(super) async fn authenticate_password(
        &self,
        name: &str,
        given: &str,
        protocol: &str,
        peer: IpAddr,
    ) -> Option<Login> {
        // argon2 hashes any length; a password of a megabyte is an attack on the processor.
        const PASSWORD_MAX_BYTES: usize = 1024;
        let table = self.table();
        let known = table.accounts.get(name);
        let hash = known.and_then(|known| known.account.password_hash.clone());
        let (given, hash) = match given.len() {
            0..=PASSWORD_MAX_BYTES => (given.to_owned(), hash),
            _ => (String::new(), None),
        };
        let permit = self.password_checks.acquire().await.ok()?;
        let fits = blocking(move || password::verify(&given, hash.as_deref())).await;
        drop(permit);
        known
            .filter(|known| {
                fits && known.may_enter(protocol, peer) && known.asks_password(protocol)
            })
            .map(Known::login)
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
        let known = table.accounts.get(name)?;
        let fits = known.keys.iter().any(|known| known.key_data() == key.key_data());
        let fits = fits && known.account.asks(Factors::KEY);
        (fits && known.may_enter(protocol, peer)).then(|| known.login())
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
        let known = table.accounts.get(name)?;
        if let Err(error) = certificate::check(given, &known.authorities, name, peer, now) {
            tracing::info!(account = name, %peer, %error, "certificate not taken");
            return None;
        }
        let fits = known.account.asks(Factors::KEY) && known.may_enter(protocol, peer);
        fits.then(|| known.login())
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
        self.table().accounts.get(name).is_some_and(|known| known.may_enter(protocol, peer))
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

impl Known {
    fn may_enter(&self, protocol: &str, peer: IpAddr) -> bool {
        self.account.protocols.allow(protocol)
            && self.account.allow_from.iter().any(|network| network.contains(peer))
    }

    /// Over FTP nothing but a password can be proved.
    fn asks_password(&self, protocol: &str) -> bool {
        match protocol {
            "sftp" => self.account.asks(Factors::PASSWORD),
            _ => self.account.login.contains(&Factors::PASSWORD),
        }
    }

    fn login(&self) -> Login {
        Login { account: self.account.clone(), aliases: self.aliases.clone() }
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
        }
    }

    #[tokio::test]
    async fn password_protocol_and_network_must_all_fit() {
        let accounts = Accounts::new(2);
        accounts.replace(vec![account("erp")], Vec::new());
        let rows = [
            ("erp", "secret", "sftp", "192.0.2.7", true),
            ("erp", "wrong", "sftp", "192.0.2.7", false),
            ("erp", "secret", "ftps", "192.0.2.7", false),
            ("erp", "secret", "sftp", "198.51.100.1", false),
            ("other", "secret", "sftp", "192.0.2.7", false),
        ];
        for (name, password, protocol, peer, expected) in rows {
            let peer = peer.parse().unwrap();
            let login = accounts.authenticate_password(name, password, protocol, peer).await;
            assert_eq!(login.is_some(), expected, "{name} {password} {protocol} {peer}");
        }
        accounts.replace(Vec::new(), Vec::new());
        let peer = "192.0.2.7".parse().unwrap();
        assert!(accounts.authenticate_password("erp", "secret", "sftp", peer).await.is_none());
    }

    #[tokio::test]
    async fn a_factor_that_no_combination_holds_opens_nothing() {
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
            let found = accounts.authenticate_password("erp", "secret", protocol, peer).await;
            assert_eq!(found.is_some(), password, "{protocol}");
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

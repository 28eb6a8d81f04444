//! Doors on port 0 with a tenant behind them, for tests.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;
use dropchute::files::{Aliases, JournalEntry, RelPath};
use dropchute::model::UploadEvidence;
use dropchute::store::{SimulatedDisk, Store};
use dropchute::transfer::{
    Account, Accounts, Counters, DoorControl, Doors, Factors, FtpSettings, Guard, GuardSettings,
    Limits, Protocols, Rights, Settings, SftpSettings, Tenant, TlsMode,
};
use dropchute::world::World;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::private::Ed25519Keypair;
use tokio_util::sync::CancellationToken;

pub(crate) const PASSWORD: &str = "correct horse";
/// Nothing here takes long; what takes longer hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct House {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) recorded: Arc<Mutex<Vec<UploadEvidence>>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) guard: Guard,
    pub(crate) accounts: Accounts,
    pub(crate) control: DoorControl,
    pub(crate) settings: Settings,
    pub(crate) sftp: SocketAddr,
    pub(crate) ftp: SocketAddr,
    pub(crate) token: CancellationToken,
    pub(crate) served: tokio::task::JoinHandle<()>,
}

/// The key of every account; another number is another key.
pub(crate) fn key(number: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[number; 32]))
}

pub(crate) const SECURE: Protocols = Protocols { sftp: true, ftps: true, ftp: false };
pub(crate) const ALL: Protocols = Protocols { ftp: true, ..SECURE };

pub(crate) fn tenant() -> Tenant {
    let aliases = Aliases::from([("IN".to_owned(), RelPath::of("inbox"))]);
    Tenant { aliases, ..Tenant::new("acme".parse().unwrap()) }
}

pub(crate) fn account(name: &str, protocols: Protocols) -> Account {
    let hash = Argon2::default().hash_password(PASSWORD.as_bytes()).unwrap();
    Account {
        name: name.to_owned(),
        tenant: "acme".parse().unwrap(),
        password_hash: Some(hash.to_string()),
        ssh_keys: vec![key(7).public_key().to_openssh().unwrap()],
        ssh_authorities: Vec::new(),
        totp_secret: None,
        login: vec![Factors::KEY, Factors::PASSWORD],
        rights: Rights { drop: true, collect: true, ..Rights::default() },
        kinds: Vec::new(),
        protocols,
        allow_from: vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()],
        expires: None,
        sessions_max: None,
    }
}

/// Clients of all tests come from one address: it is never banned here.
fn safe_guard() -> GuardSettings {
    GuardSettings {
        safe: vec!["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()],
        delay_max: Duration::from_secs(1),
        ..GuardSettings::default()
    }
}

impl House {
    pub(crate) fn open() -> House {
        House::with(TlsMode::Required, Limits::default())
    }

    /// A house whose account `erp` may use SFTP and FTPS, and `old` FTP in clear as well.
    pub(crate) fn with(tls: TlsMode, limits: Limits) -> House {
        House::at("127.0.0.1:0".parse().unwrap(), tls, limits)
    }

    pub(crate) fn at(local: SocketAddr, tls: TlsMode, limits: Limits) -> House {
        let ftp = FtpSettings { listen: vec![local], tls, ..FtpSettings::default() };
        House::furnished(local, ftp, limits, safe_guard(), &SimulatedDisk::default())
    }

    /// A house with FTP of a kind; where it has only implicit TLS, that is its FTP door.
    pub(crate) fn speaking(ftp: FtpSettings, limits: Limits) -> House {
        let local = "127.0.0.1:0".parse().unwrap();
        House::furnished(local, ftp, limits, safe_guard(), &SimulatedDisk::default())
    }

    /// A house at whose doors proxies come for their clients.
    pub(crate) fn behind(proxies: &str, limits: Limits) -> House {
        let local = "127.0.0.1:0".parse().unwrap();
        let (tls, from_proxy) = (TlsMode::Optional, vec![proxies.parse().unwrap()]);
        let ftp = FtpSettings { listen: vec![local], tls, from_proxy, ..FtpSettings::default() };
        House::furnished(local, ftp, limits, safe_guard(), &SimulatedDisk::default())
    }

    /// A house with a guard of its own, which remembers on this disk.
    pub(crate) fn guarded(
        local: SocketAddr,
        tls: TlsMode,
        limits: Limits,
        guard: GuardSettings,
        disk: &SimulatedDisk,
    ) -> House {
        let ftp = FtpSettings { listen: vec![local], tls, ..FtpSettings::default() };
        House::furnished(local, ftp, limits, guard, disk)
    }

    fn furnished(
        local: SocketAddr,
        ftp: FtpSettings,
        limits: Limits,
        guard: GuardSettings,
        disk: &SimulatedDisk,
    ) -> House {
        let folder = tempfile::tempdir().unwrap();
        let settings = Settings {
            data_dir: folder.path().to_owned(),
            sftp: Some(SftpSettings {
                listen: vec![local],
                host_key_file: Some(folder.path().join("host_key")),
                from_proxy: ftp.from_proxy.clone(),
                ..SftpSettings::default()
            }),
            ftp: Some(ftp),
            limits,
            guard,
            disk_reserve: 0.0,
        };
        let accounts = Accounts::new(2);
        accounts.replace(vec![account("erp", SECURE), account("old", ALL)], vec![tenant()]);
        let recorded = Arc::new(Mutex::new(Vec::new()));
        let journal = recorded.clone();
        let journal = move |entry| {
            if let JournalEntry::Whole(evidence) = entry {
                journal.lock().unwrap().push(evidence);
            }
            Ok(())
        };
        let world = Arc::new(World::real());
        let store = Store::simulated(disk).unwrap();
        let guard = Guard::open(settings.guard.clone(), store, world.clone()).unwrap();
        let doors = Doors::bind(
            settings.clone(),
            accounts.clone(),
            guard.clone(),
            Arc::new(journal),
            world,
        )
        .unwrap();
        let address = |door: &str| {
            doors.addresses().iter().find(|(name, _)| name.starts_with(door)).unwrap().1
        };
        let (sftp, ftp, counters) = (address("sftp"), address("ftp"), doors.counters());
        let control = doors.control();
        let token = CancellationToken::new();
        let served = tokio::spawn(doors.serve(token.clone()));
        House {
            folder,
            recorded,
            counters,
            guard,
            accounts,
            control,
            settings,
            sftp,
            ftp,
            token,
            served,
        }
    }

    /// A path on the operator's side of the tenant's tree.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("tenants/acme").join(path)
    }

    pub(crate) fn last(&self) -> UploadEvidence {
        self.recorded.lock().unwrap().last().cloned().expect("evidence was recorded")
    }

    /// Closes the doors and waits: whatever was to happen has happened then.
    pub(crate) async fn close(self) -> tempfile::TempDir {
        self.token.cancel();
        tokio::time::timeout(PATIENCE, self.served).await.expect("the doors close").unwrap();
        self.folder
    }
}

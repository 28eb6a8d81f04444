//! A way into the doors' parsers for the fuzz targets in `fuzz/`; not part of any build but theirs.

#![allow(missing_docs, reason = "not for people")]
#![allow(clippy::expect_used, reason = "what is not there cannot be fuzzed")]

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::accounts::Login;
use super::counters::Counters;
use super::sftp::{Book, Session};
use super::visit::{Arrival, Visit, VisitId};
use super::{Account, Protocols, Rights, Tenant};
use crate::files::{Aliases, Home, RelPath, TenantTree, TreeSettings, Visitor};
use crate::world::World;

/// One tenant's tree in a temporary folder, and SFTP sessions on it, one an input.
pub struct SftpServer {
    folder: PathBuf,
    home: Home,
    world: Arc<World>,
    served: u64,
}

/// So many inputs leave their files for the next to find.
const INPUTS_BETWEEN_SWEEPS: u64 = 500;

impl SftpServer {
    #[allow(clippy::new_without_default, reason = "made once")]
    pub fn new() -> SftpServer {
        let folder = std::env::temp_dir().join(format!("dropchute-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let world = Arc::new(World::real());
        let settings = TreeSettings {
            upload_max_bytes: 1 << 20,
            disk_reserve: 0.0,
            ..TreeSettings::default()
        };
        let tenant = "acme".parse().expect("a tenant's name");
        let journal = Arc::new(|_| Ok(()));
        let tree = TenantTree::open(&folder, &tenant, settings, journal, world.clone());
        let visitor = Visitor {
            account: "erp".to_owned(),
            protocol: "sftp",
            may_drop: true,
            may_collect: true,
            may_control: false,
            may_approve: false,
        };
        let aliases = Aliases::from([("IN".to_owned(), RelPath::of("inbox"))]);
        let home = Home::new(Arc::new(tree.expect("a tree")), visitor, Arc::new(aliases));
        SftpServer { folder, home, world, served: 0 }
    }

    /// Serves what a client sent from its first to its last packet.
    ///
    /// # Panics
    /// Where an answer is not a whole packet, answers grow without bound, or a file appears outside of
    /// the tree.
    pub fn serve(&mut self, input: &[u8]) {
        self.served += 1;
        if self.served.is_multiple_of(INPUTS_BETWEEN_SWEEPS) {
            self.sweep();
        }
        let mut session = Session::new(self.home.clone(), self.book(), 16);
        // Nonsense ends a session; that is no failure.
        session.serve_all(input, check).ok();
    }

    fn book(&self) -> Book {
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 22));
        let arrival = Arrival { door: "sftp", peer: here, local: here, proxy: None };
        let counters = Arc::new(Counters::default());
        let tenant = Tenant::new("acme".parse().expect("a tenant's name"));
        let account = Account {
            name: "erp".to_owned(),
            tenant: tenant.id.clone(),
            password_hash: None,
            ssh_keys: Vec::new(),
            ssh_authorities: Vec::new(),
            totp_secret: None,
            login: Vec::new(),
            rights: Rights::default(),
            kinds: Vec::new(),
            protocols: Protocols::default(),
            allow_from: Vec::new(),
            expires: None,
            sessions_max: None,
        };
        Book {
            login: Login { account: Arc::new(account), tenant: Arc::new(tenant) },
            visit: Visit::new(VisitId(1), arrival, counters, self.world.clone()),
            world: self.world.clone(),
            fresh: Arc::default(),
            channel: 0,
        }
    }

    fn sweep(&self) {
        let names: Vec<_> = std::fs::read_dir(&self.folder)
            .expect("the folder")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert!(names.iter().all(|name| name == "tenants" || name == "uploads"), "{names:?}");
        for part in ["inbox", "media"] {
            let folder = self.folder.join("tenants/acme").join(part);
            for entry in std::fs::read_dir(folder).expect("part of the tree").flatten() {
                let path = entry.path();
                // The folders of the kinds stay; those of clients go with all they hold.
                let gone = if !path.is_dir() {
                    std::fs::remove_file(&path)
                } else if part == "media" {
                    std::fs::remove_dir_all(&path)
                } else {
                    Ok(())
                };
                gone.expect("what a client made can be removed");
            }
        }
    }
}

/// Answers are whole packets of a known kind, and no more than a batch and one more.
fn check(mut answers: &[u8]) {
    assert!(answers.len() <= 2 << 20, "{} bytes of answers", answers.len());
    while let Some((length, rest)) = answers.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!(matches!(rest.first(), Some(2 | 101..=105 | 201)), "{rest:?}");
        answers = rest.get(length..).expect("a whole packet");
    }
}

/// Lines of an FTP client, before and after its login.
pub fn ftp_line(input: &[u8]) {
    let _ = super::ftp::understand(input);
}

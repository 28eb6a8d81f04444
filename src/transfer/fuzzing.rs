//! A way into the doors' parsers for the fuzz targets in `fuzz/`; not part of any build but theirs.

#![allow(clippy::expect_used, reason = "what is not there cannot be fuzzed")]
#![allow(unreachable_pub, reason = "what is public here is public to the fuzz targets")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::accounts::Login;
use super::counters::Counters;
use super::doors::reads_proxy_header;
use super::sftp::{Book, Session, serve_bytes};
use super::ssh::Fresh;
use super::visit::{Arrival, Visit, VisitId};
use super::{Account, Factors, Protocols, Rights, Tenant, ftp};
use crate::files::{Aliases, Home, RelPath, TenantTree, TreeSettings, Visitor};
use crate::worker::QuickWork;
use crate::world::World;

/// Reads what a client says on an FTP control connection, and matches each line as a pattern.
///
/// # Panics
/// Where the commands depend on how the bytes are cut into pieces.
pub fn ftp_lines(input: &[u8]) {
    let at_once = ftp::read_commands(input, input.len().max(1));
    for piece in [1, 7] {
        let cut = ftp::read_commands(input, piece);
        // What is a flood, and what only a long line, depends on how much comes at once.
        if input.len() < FTP_LINE_BYTES {
            assert_eq!(at_once, cut, "in pieces of {piece}");
        }
    }
    // A pattern and a name; what is searched for is a match that takes for ever.
    let mut lines = input.split(|byte| *byte == b'\n');
    if let (Some(pattern), Some(name)) = (lines.next(), lines.next()) {
        ftp::fits(pattern, name);
    }
}

/// No input so short has a line that is too long.
const FTP_LINE_BYTES: usize = 4096;

/// Reads a PROXY header as a listener does.
///
/// # Panics
/// Where it reads on behind a whole header: those bytes are the client's.
pub fn proxy_header(input: &[u8]) {
    let mut rest = input;
    if reads_proxy_header(&mut rest) && !input.is_empty() {
        let mut header = &input[..input.len() - rest.len()];
        assert!(reads_proxy_header(&mut header) && header.is_empty(), "{input:?}");
    }
}

/// One tenant's tree in a temporary folder, and SFTP sessions on it, one an input.
pub struct SftpServer {
    folder: PathBuf,
    home: Home,
    login: Login,
    world: Arc<World>,
    served: u64,
}

/// So many inputs leave their files for the next to find.
const INPUTS_BETWEEN_SWEEPS: u64 = 500;
/// Largest file; small, so that its limit is met.
const UPLOAD_MAX_BYTES: u64 = 1 << 20;

impl SftpServer {
    #[allow(clippy::new_without_default, reason = "made once")]
    pub fn new() -> SftpServer {
        let folder = std::env::temp_dir().join(format!("dropchute-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let world = Arc::new(World::real());
        let settings = TreeSettings {
            upload_max_bytes: UPLOAD_MAX_BYTES,
            disk_reserve: 0.0,
            ..TreeSettings::default()
        };
        let login = login();
        let tenant = login.tenant.id.clone();
        let journal = Arc::new(|_| Ok(()));
        let tree = TenantTree::open(&folder, &tenant, settings, journal, world.clone());
        let visitor = Visitor {
            account: login.account.name.clone(),
            protocol: "sftp",
            may_drop: true,
            may_collect: true,
            may_control: true,
            may_approve: true,
        };
        let aliases = Arc::new(login.tenant.aliases.clone());
        let home = Home::new(Arc::new(tree.expect("a tree")), visitor, aliases);
        SftpServer { folder, home, login, world, served: 0 }
    }

    /// Serves what a client sent from its first to its last packet.
    ///
    /// # Panics
    /// Where an answer is not a whole packet, or a file appears outside of the tree.
    pub fn serve(&mut self, input: &[u8]) {
        self.served += 1;
        if self.served.is_multiple_of(INPUTS_BETWEEN_SWEEPS) {
            self.sweep();
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 22));
        let arrival = Arrival { door: "sftp", peer: nowhere, local: nowhere, proxy: None };
        let counters = Arc::new(Counters::default());
        let visit = Visit::new(VisitId(1), arrival, counters, self.world.clone());
        let book = Book {
            login: self.login.clone(),
            visit,
            world: self.world.clone(),
            disk: Arc::new(QuickWork::new(Duration::from_millis(1))),
            fresh: Arc::new(Fresh::default()),
            channel: 0,
        };
        let mut answers = Vec::new();
        serve_bytes(&mut Session::new(self.home.clone(), book, 16), input, |message| {
            answers.extend_from_slice(&message);
        });
        check(&answers);
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
                let gone = match (path.is_dir(), part) {
                    (false, _) => std::fs::remove_file(&path),
                    (true, "media") => std::fs::remove_dir_all(&path),
                    (true, _) => Ok(()),
                };
                gone.expect("what a client made can be removed");
            }
        }
    }
}

fn login() -> Login {
    let tenant = Tenant {
        id: "acme".parse().expect("a tenant's name"),
        aliases: Aliases::from([("IN".to_owned(), RelPath::of("inbox"))]),
        quota: TreeSettings::default().quota,
        resume_window: TreeSettings::default().resume_window,
        settle: std::time::Duration::ZERO,
        suspended: false,
        sessions_max: None,
        bandwidth: None,
    };
    let account = Account {
        name: "erp".to_owned(),
        tenant: tenant.id.clone(),
        password_hash: None,
        ssh_keys: Vec::new(),
        ssh_authorities: Vec::new(),
        totp_secret: None,
        login: vec![Factors::KEY],
        rights: Rights { drop: true, collect: true, control: true, approve: true },
        kinds: Vec::new(),
        protocols: Protocols { sftp: true, ftps: false, ftp: false },
        allow_from: Vec::new(),
        expires: None,
        sessions_max: None,
    };
    Login { account: Arc::new(account), tenant: Arc::new(tenant) }
}

/// Answers are whole packets of a known kind.
fn check(mut answers: &[u8]) {
    while let Some((length, rest)) = answers.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!(matches!(rest.first(), Some(2 | 101..=105 | 201)), "{rest:?}");
        answers = rest.get(length..).expect("a whole packet");
    }
    assert!(answers.is_empty(), "{answers:?}");
}

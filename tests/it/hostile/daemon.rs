//! The built binary as a child process, with two tenants whose names begin alike.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher;
use argon2::{Argon2, Params};
use socket2::{Domain, Protocol, Socket, Type};

use super::ssh;

/// Nothing here takes long; what takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// The password of every account.
pub(super) const PASSWORD: &str = "correct horse";

pub(super) struct Daemon {
    child: Child,
    pub(super) folder: tempfile::TempDir,
    pub(super) sftp: SocketAddr,
    pub(super) ftp: SocketAddr,
}

/// True where the sizes of the real thing are asked for.
pub(super) fn full_size() -> bool {
    std::env::var_os("DROPCHUTE_HOSTILE").is_some_and(|word| word == "full")
}

/// `short`, or `full` where the real thing is asked for.
pub(super) fn sized<T>(short: T, full: T) -> T {
    if full_size() { full } else { short }
}

/// The accounts: `erp` and `erp2` of the tenants `acme` and `acme2` may use everything, `good` of
/// `globex` is the good client beside each attack.
fn config(more: &str) -> String {
    // As cheap as can be: what hashing costs is not the question here.
    let argon2 = Argon2::from(Params::new(Params::MIN_M_COST, 1, 1, None).unwrap());
    let hash = argon2.hash_password(PASSWORD.as_bytes()).unwrap();
    let mut text = format!(
        "format = 1\ndata_dir = \"data\"\ndisk_reserve = \"0%\"\nadmin.listen = \"off\"\n\
         sftp.listen = [\"127.0.0.1:0\"]\nftp.listen = [\"127.0.0.1:0\"]\n\
         {more}\n\
         # What is planted there stays there.\n\
         [tenant.acme2]\ncompleteness = \"rename\"\n"
    );
    for (tenant, account) in [("acme", "erp"), ("acme2", "erp2"), ("globex", "good")] {
        text.push_str(&format!(
            "[tenant.{tenant}.account.{account}]\npassword_hash = \"{hash}\"\n\
             ssh_keys = [\"{}\"]\nrights = [\"drop\", \"collect\"]\n\
             protocols = [\"sftp\", \"ftps\", \"ftp\"]\n",
            ssh::public_key_line(),
        ));
    }
    text
}

impl Daemon {
    pub(super) fn start() -> Daemon {
        Daemon::with("")
    }

    /// A daemon with more keys in its configuration.
    pub(super) fn with(more: &str) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("dropchute.toml"), config(more)).unwrap();
        let socket = folder.path().join("notify.sock");
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dropchute"))
            .arg("--config")
            .arg(folder.path().join("dropchute.toml"))
            .arg("serve")
            .env("NOTIFY_SOCKET", &socket)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut daemon = Daemon {
            child,
            folder,
            sftp: SocketAddr::from(([0; 4], 0)),
            ftp: SocketAddr::from(([0; 4], 0)),
        };
        let mut message = [0; 1024];
        loop {
            let Ok(length) = notify.recv(&mut message) else { panic!("{}", daemon.log()) };
            if String::from_utf8_lossy(&message[..length]).contains("READY=1") {
                break;
            }
        }
        (daemon.sftp, daemon.ftp) = daemon.addresses();
        daemon
    }

    fn addresses(&self) -> (SocketAddr, SocketAddr) {
        let output = Command::new(env!("CARGO_BIN_EXE_dropchute"))
            .arg("--config")
            .arg(self.folder.path().join("dropchute.toml"))
            .args(["status", "--json"])
            .output()
            .unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let listeners = status["listeners"].as_array().unwrap();
        let address = |door: &str| {
            let listener =
                listeners.iter().find(|l| l.to_string().contains(&format!("\"{door}\"")));
            listener.unwrap()["address"].as_str().unwrap().parse().unwrap()
        };
        (address("sftp"), address("ftp"))
    }

    /// A path on the operator's side of a tenant's tree.
    pub(super) fn path(&self, tenant: &str, path: &str) -> PathBuf {
        self.folder.path().join("data/tenants").join(tenant).join(path)
    }

    /// Everything the daemon has logged.
    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A figure of `/proc/PID/status`, in KiB: `VmRSS` or `VmHWM`.
    pub(super) fn memory_kib(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let figure = line.expect("the daemon runs").trim().trim_end_matches(" kB");
        figure.parse().unwrap()
    }

    /// Lets `VmHWM` begin anew at what is in use now.
    pub(super) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Descriptors the daemon has open.
    pub(super) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    pub(super) fn is_alive(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Connects from a loopback address nobody used before, so that what is held against one attacker is
/// not held against the next, nor against the good client.
pub(super) fn connect(to: SocketAddr) -> TcpStream {
    static NEXT: AtomicU32 = AtomicU32::new(u32::from_be_bytes([127, 16, 0, 1]));
    connect_from(Ipv4Addr::from(NEXT.fetch_add(1, Ordering::Relaxed)), to).unwrap()
}

/// Connects from one of the addresses of 127.0.0.0/8.
pub(super) fn connect_from(from: impl Into<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::new(from.into(), 0).into())?;
    socket.connect_timeout(&to.into(), PATIENCE)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Ends a connection as a crash or a cut line does: by a reset.
pub(super) fn reset(stream: TcpStream) {
    let socket = Socket::from(stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// Whether the other side ended the connection; what it said before is thrown away. Panics where it
/// neither ends nor says anything.
pub(super) fn assert_ends(mut stream: TcpStream, what: &str) {
    let begin = Instant::now();
    let mut heard = [0; 4096];
    loop {
        match stream.read(&mut heard) {
            Ok(0) => return,
            Ok(_) => assert!(begin.elapsed() < PATIENCE, "{what}: talks on and on"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
            Err(error) => panic!("{what}: the connection is still open: {error}"),
        }
    }
}

/// Writes `part` over and over until the other side ends the connection. Panics where it takes more
/// than `total` bytes for longer than anybody should wait.
pub(super) fn pour(stream: &mut impl Write, part: &[u8], total: u64, what: &str) {
    let (begin, mut sent) = (Instant::now(), 0);
    while let Ok(count) = stream.write(part) {
        sent += count as u64;
        let on = sent < total || begin.elapsed() < PATIENCE;
        assert!(on, "{what}: {sent} bytes were taken, and no end");
    }
}

/// Waits for a level, not for an event, with a deadline.
pub(super) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Every file, folder and link below a folder with what a change to it would change.
pub(super) fn inventory(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let facts = std::fs::symlink_metadata(&path).unwrap();
            if facts.is_dir() {
                folders.push(path.clone());
            }
            let (mode, bytes, changed) = (facts.mode(), facts.len(), facts.mtime_nsec());
            found.push(format!("{path:?} {mode:o} {bytes} {} {changed}", facts.mtime()));
        }
    }
    found.sort();
    found
}

//! The servers that are compared: Dropchute, and its peers from Debian, unpacked and not installed.

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process::{Process, Sync};

pub const DROPCHUTE: &str = "dropchute";
pub const BEFORE: &str = "before";
pub const OPENSSH: &str = "openssh";
pub const VSFTPD: &str = "vsftpd";
pub const PURE_FTPD: &str = "pure-ftpd";

pub const PASSWORD: &str = "a password";
/// Ports of data connections that each FTP server has.
const PASSIVE_PORTS: u16 = 1000;

/// A server that listens.
#[derive(Debug)]
pub struct Server {
    pub name: &'static str,
    pub process: Process,
    /// 0 where it does not speak SSH, or FTP.
    pub ssh_port: u16,
    pub ftp_port: u16,
    pub user: &'static str,
    /// The folder for uploads: as clients of SFTP and of FTP name it, and on disk.
    pub sftp_folder: String,
    pub ftp_folder: &'static str,
    pub folder: PathBuf,
}

/// Keys, certificates and folders that servers and clients share.
#[derive(Debug)]
pub struct Ground {
    pub folder: TempDir,
    /// The private key of the account.
    pub key: PathBuf,
}

impl Ground {
    /// Lays everything below `place`.
    pub fn lay(place: &Path) -> Ground {
        let folder = tempfile::Builder::new().prefix("dropchute-bench-").tempdir_in(place).unwrap();
        // Servers that give up being root must still reach their folders.
        allow(folder.path(), 0o755);
        let at = |name: &str| folder.path().join(name);
        for name in ["id", "host"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(name));
            assert!(keygen.status().unwrap().success(), "ssh-keygen");
        }
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let both = format!("{}{}", made.signing_key.serialize_pem(), made.cert.pem());
        std::fs::write(at("both.pem"), both).unwrap();
        Ground { key: at("id"), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A new empty folder.
    pub fn fresh(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Our daemon, of this build.
    pub fn dropchute(&self) -> Server {
        let program = std::env::var("BIN").unwrap_or(env!("CARGO_BIN_EXE_dropchute").to_owned());
        self.dropchute_as(DROPCHUTE, &program, Sync::Real)
    }

    pub fn dropchute_as(&self, name: &'static str, program: &str, sync: Sync) -> Server {
        let house = self.fresh(name);
        let (ssh_port, ftp_port) = (free_port(), free_port());
        let config = house.join("dropchute.toml");
        let key = std::fs::read_to_string(self.path("id.pub")).unwrap();
        let text = configuration(program, &key, ssh_port, ftp_port);
        std::fs::write(&config, text).unwrap();
        let command = [program, "--config", config.to_str().unwrap(), "serve"].map(str::to_owned);
        let server = Server {
            name,
            process: Process::start(&command, "", sync, &house.join("log")),
            ssh_port,
            ftp_port,
            user: "erp",
            sftp_folder: "/media".to_owned(),
            ftp_folder: "media/",
            folder: house.join("data/tenants/acme/media"),
        };
        server.wait_until_it_listens(&house.join("log"));
        server
    }

    /// The binary named by `BEFORE`, to compare with.
    pub fn before(&self) -> Option<Server> {
        let program = std::env::var("BEFORE").ok()?;
        Some(self.dropchute_as(BEFORE, &program, Sync::Real))
    }

    /// OpenSSH's `sshd` with `internal-sftp`, with its usual separation of privileges.
    pub fn openssh(&self) -> Option<Server> {
        let program = unpacked("openssh-server", "usr/sbin/sshd")?;
        let (house, folder) = (self.fresh(OPENSSH), self.fresh("openssh/up"));
        let port = free_port();
        let settings = [
            format!("Port {port}\nListenAddress 127.0.0.1"),
            format!("HostKey {}", self.text("host")),
            format!("AuthorizedKeysFile {}", self.text("id.pub")),
            "PidFile none\nUsePAM no\nUseDNS no\nStrictModes no\nPermitRootLogin yes".to_owned(),
            "MaxStartups 10000\nMaxSessions 100\nSubsystem sftp internal-sftp\n".to_owned(),
        ];
        let config = house.join("sshd_config");
        std::fs::write(&config, settings.join("\n")).unwrap();
        // Its separation of privileges needs a user and a folder, which it gets in a view of its own.
        let serve = format!(
            "mount -t tmpfs none /run && mkdir /run/sshd && exec {program} -D -e -f {}",
            config.display()
        );
        let server = Server {
            name: OPENSSH,
            process: self.with_users(&serve, &house),
            ssh_port: port,
            ftp_port: 0,
            user: "root",
            sftp_folder: folder.display().to_string(),
            ftp_folder: "",
            folder,
        };
        server.wait_until_it_listens(&house.join("log"));
        Some(server)
    }

    pub fn vsftpd(&self) -> Option<Server> {
        let program = unpacked("vsftpd", "usr/sbin/vsftpd")?;
        let (house, folder) = (self.fresh(VSFTPD), self.fresh("vsftpd/root/up"));
        self.fresh("vsftpd/empty");
        allow(&folder, 0o777);
        let (port, passive) = (free_port(), passive_ports());
        let settings = [
            format!("background=NO\nlisten=YES\nlisten_address=127.0.0.1\nlisten_port={port}"),
            "anonymous_enable=YES\nno_anon_password=YES\nlocal_enable=NO".to_owned(),
            "write_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES".to_owned(),
            "anon_other_write_enable=YES\nanon_umask=022".to_owned(),
            format!("anon_root={}", self.text("vsftpd/root")),
            format!("secure_chroot_dir={}", self.text("vsftpd/empty")),
            "ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=NO".to_owned(),
            format!("force_anon_data_ssl=NO\nrsa_cert_file={}", self.text("both.pem")),
            format!("vsftpd_log_file={}", self.text("vsftpd/transfers")),
            "xferlog_enable=YES".to_owned(),
            format!("pasv_min_port={passive}\npasv_max_port={}\n", passive + PASSIVE_PORTS - 1),
        ];
        let config = house.join("vsftpd.conf");
        std::fs::write(&config, settings.join("\n")).unwrap();
        let serve = format!("exec {program} {}", config.display());
        Some(self.ftp_peer(VSFTPD, port, "anonymous", "up/", folder, &serve))
    }

    pub fn pure_ftpd(&self) -> Option<Server> {
        let program = unpacked("pure-ftpd", "usr/sbin/pure-ftpd")?;
        let pure_pw = unpacked("pure-ftpd", "usr/bin/pure-pw")?;
        let (house, folder) = (self.fresh(PURE_FTPD), self.fresh("pure-ftpd/up"));
        allow(&folder, 0o777);
        let (port, passive) = (free_port(), passive_ports());
        let mut hash = Command::new("openssl");
        let hash = hash.args(["passwd", "-1", PASSWORD]).output().unwrap();
        let hash = String::from_utf8(hash.stdout).unwrap();
        let account =
            format!("erp:{}:65532:65534::{}/./::::::::::::\n", hash.trim(), folder.display());
        std::fs::write(house.join("accounts"), account).unwrap();
        let mut mkdb = Command::new(pure_pw);
        mkdb.arg("mkdb").arg(house.join("db")).arg("-f").arg(house.join("accounts"));
        assert!(mkdb.status().unwrap().success(), "pure-pw mkdb");
        let serve = format!(
            "exec {program} -S 127.0.0.1,{port} -l puredb:{db} -u 1 -E -A -H -Y 1 -2 {pem} \
             -p {passive}:{last} -g {pid} -C 20000 -c 20000",
            db = house.join("db").display(),
            pem = self.text("both.pem"),
            last = passive + PASSIVE_PORTS - 1,
            pid = house.join("pid").display(),
        );
        Some(self.ftp_peer(PURE_FTPD, port, "erp", "", folder, &serve))
    }

    fn ftp_peer(
        &self,
        name: &'static str,
        ftp_port: u16,
        user: &'static str,
        ftp_folder: &'static str,
        folder: PathBuf,
        serve: &str,
    ) -> Server {
        let house = self.path(name);
        let process = self.with_users(serve, &house);
        let sftp_folder = String::new();
        let server =
            Server { name, process, ssh_port: 0, ftp_port, user, sftp_folder, ftp_folder, folder };
        server.wait_until_it_listens(&house.join("log"));
        server
    }

    /// Starts a peer where the users it wants to change to are there, without making them on the machine.
    fn with_users(&self, serve: &str, house: &Path) -> Process {
        let users = std::fs::read_to_string("/etc/passwd").unwrap();
        let known = users.lines().filter(|l| !l.starts_with("sshd:") && !l.starts_with("ftp:"));
        let mut users: Vec<String> = known.map(str::to_owned).collect();
        users.push("sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin".to_owned());
        users.push(format!("ftp:x:65532:65534::{}:/usr/sbin/nologin\n", house.display()));
        let passwd = house.join("passwd");
        std::fs::write(&passwd, users.join("\n")).unwrap();
        let script = format!("mount --bind {} /etc/passwd && {serve}", passwd.display());
        let command = ["unshare", "--mount", "sh", "-c", &script].map(str::to_owned);
        let libraries = packages().join("libwrap0/usr/lib/x86_64-linux-gnu");
        Process::start(&command, libraries.to_str().unwrap(), Sync::Real, &house.join("log"))
    }
}

impl Server {
    fn wait_until_it_listens(&self, log: &Path) {
        let deadline = Instant::now() + Duration::from_secs(20);
        for port in [self.ssh_port, self.ftp_port].into_iter().filter(|port| *port > 0) {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                if Instant::now() > deadline {
                    let log = std::fs::read_to_string(log).unwrap_or_default();
                    panic!("{} does not listen:\n{log}", self.name);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        self.process.settle();
    }

    pub fn is_ours(&self) -> bool {
        self.name == DROPCHUTE
    }
}

fn configuration(program: &str, key: &str, ssh_port: u16, ftp_port: u16) -> String {
    let key = key.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let (hash, passive) = (password_hash(program), passive_ports());
    format!(
        r#"format = 1
data_dir = "data"
disk_reserve = "0%"

[sftp]
listen = ["127.0.0.1:{ssh_port}"]

[ftp]
listen = ["127.0.0.1:{ftp_port}"]
tls = "optional"
passive_ports = "{passive}-{last}"

[admin]
listen = "off"

[limits]
file_max_bytes = "16GiB"
connections_max = 20000
connections_per_address = 20000
idle_timeout = "1h"
{limits}

# Nothing of what is uploaded is taken in while the bench runs.
[defaults]
grace = "7d"
default_category = "transactional"

[provider.dry]
kind = "simulator"

[tenant.acme.account.erp]
password_hash = "{hash}"
ssh_keys = ["{key}"]
protocols = ["sftp", "ftps", "ftp"]

[tenant.acme.channel]
email = ["dry"]

[tenant.acme.sender]
email = ["Acme <news@acme.example>"]
"#,
        last = passive + PASSIVE_PORTS - 1,
        limits = std::env::var("LIMITS").unwrap_or_default(),
    )
}

fn password_hash(program: &str) -> String {
    use std::io::Write;
    let mut hasher = Command::new(program);
    hasher.arg("hash-password").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut hasher = hasher.spawn().unwrap();
    hasher.stdin.take().unwrap().write_all(PASSWORD.as_bytes()).unwrap();
    let hash = hasher.wait_with_output().unwrap();
    String::from_utf8(hash.stdout).unwrap().trim().to_owned()
}

fn packages() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    cache.unwrap_or_else(std::env::temp_dir).join("dropchute/debs")
}

/// A program of a Debian package, fetched and unpacked where it is not there yet. `None`, with a word
/// about it, where that cannot be.
fn unpacked(package: &str, program: &str) -> Option<String> {
    if !rustix::process::getuid().is_root() {
        println!("{package} left out: it is started as root only");
        return None;
    }
    for package in ["libwrap0", package] {
        let folder = packages().join(package);
        if folder.exists() {
            continue;
        }
        if std::env::var("DROPCHUTE_INSTALL").as_deref() != Ok("1") {
            println!("{package} left out: DROPCHUTE_INSTALL=1 fetches it with apt-get");
            return None;
        }
        std::fs::create_dir_all(packages()).unwrap();
        let fresh = tempfile::tempdir_in(packages()).unwrap();
        let fetch = format!("apt-get download -q {package} && dpkg -x ./*.deb . && chmod a+rx .");
        let fetched = Command::new("sh").args(["-c", &fetch]).current_dir(fresh.path()).output();
        let fetched = fetched.unwrap();
        if !fetched.status.success() {
            println!("{package} left out: {}", String::from_utf8_lossy(&fetched.stderr));
            return None;
        }
        std::fs::rename(fresh.keep(), &folder).unwrap();
    }
    Some(packages().join(package).join(program).display().to_string())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The first of a range of ports below those that the kernel gives to clients.
fn passive_ports() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let number = TAKEN.fetch_add(1, Ordering::Relaxed) + std::process::id() as u16 % 20;
    11_000 + number % 20 * PASSIVE_PORTS
}

fn allow(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

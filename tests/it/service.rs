//! The built binary as systemd runs it: readiness, reload, watchdog, the end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use argon2::Argon2;
use argon2::password_hash::PasswordHasher;

/// Longest wait for anything the daemon is asked to do.
const DEADLINE: Duration = Duration::from_secs(30);

struct Daemon {
    child: Child,
    notify: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn start(config: &str) -> Daemon {
        Daemon::start_in(tempfile::tempdir().unwrap(), config)
    }

    fn start_in(folder: tempfile::TempDir, config: &str) -> Daemon {
        std::fs::write(folder.path().join("dropchute.toml"), config).unwrap();
        let socket = folder.path().join("notify.sock");
        std::fs::remove_file(&socket).ok();
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(DEADLINE)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_dropchute"))
            .arg("--config")
            .arg(folder.path().join("dropchute.toml"))
            .arg("serve")
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "20000000")
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Daemon { child, notify, folder }
    }

    /// Waits until systemd would hear this word.
    fn hears(&self, word: &str) {
        let mut message = [0; 1024];
        loop {
            let len = self.notify.recv(&mut message).unwrap_or_else(|e| panic!("no {word}: {e}"));
            if String::from_utf8_lossy(&message[..len]).lines().any(|line| line == word) {
                return;
            }
        }
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_dropchute"))
            .arg("--config")
            .arg(self.folder.path().join("dropchute.toml"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Where a door listens.
    fn address(&self, door: &str) -> SocketAddr {
        let status: serde_json::Value =
            serde_json::from_str(&self.ask(&["status", "--json"])).unwrap();
        let listeners = status["listeners"].as_array().unwrap();
        let listener = listeners.iter().find(|listener| listener["door"] == door).unwrap();
        listener["address"].as_str().unwrap().parse().unwrap()
    }

    /// The exit code and the log.
    fn end(self) -> (Option<i32>, String) {
        let (_, code, log) = self.end_in();
        (code, log)
    }

    /// The same, and the folder for another process to go on in.
    fn end_in(mut self) -> (tempfile::TempDir, Option<i32>, String) {
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.folder, self.child.wait().unwrap().code(), log)
    }

    fn tenant_tree(&self, tenant: &str) -> bool {
        Path::new(self.folder.path()).join("data/tenants").join(tenant).join("inbox").is_dir()
    }
}

const CONFIG: &str = r#"
format = 1
data_dir = "data"
disk_reserve = "0%"
[sftp]
listen = ["127.0.0.1:0"]
[ftp]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[tenant.acme]
"#;

#[test]
fn systemd_hears_when_every_port_is_bound_and_when_the_end_begins() {
    let daemon = Daemon::start(CONFIG);
    daemon.hears("READY=1");
    daemon.hears("WATCHDOG=1");
    let status: serde_json::Value =
        serde_json::from_str(&daemon.ask(&["status", "--json"])).unwrap();
    assert_eq!(status["not_ready"], serde_json::json!([]));
    let listeners = status["listeners"].as_array().unwrap();
    assert_eq!(listeners.len(), 2, "{status}");
    for listener in listeners {
        let address: SocketAddr = listener["address"].as_str().unwrap().parse().unwrap();
        TcpStream::connect(address).unwrap();
    }
    assert!(daemon.ask(&["batch", "list"]).starts_with("BATCH_ID"));

    let spec = daemon.folder.path().join("data/tenants/acme/spec/limits.csv");
    let tells = |words: &str| std::fs::read_to_string(&spec).unwrap().contains(words);
    assert!(tells("\ngrace,2s,"));
    let more = format!("{CONFIG}grace = \"9s\"\n[tenant.globex]\n");
    std::fs::write(daemon.folder.path().join("dropchute.toml"), more).unwrap();
    daemon.signal(rustix::process::Signal::HUP);
    wait_until("the new tenant has a tree", || daemon.tenant_tree("globex"));
    wait_until("/spec says the new words", || tells("\ngrace,9s,"));

    std::fs::write(daemon.folder.path().join("dropchute.toml"), "format = 1\nnonsense = 1\n")
        .unwrap();
    daemon.signal(rustix::process::Signal::HUP);
    daemon.signal(rustix::process::Signal::TERM);
    daemon.hears("STOPPING=1");
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
}

/// A tenant whose first file of a profile waits.
const HELD: &str = r#"
[provider.sim]
kind = "simulator"
[tenant.acme]
default_category = "transactional"
quiet = "100ms"
grace = "100ms"
channel.email = ["sim"]
sender.email = ["Acme <news@acme.example>"]
[tenant.acme.profile.billing]
match = "INV_*.csv"
kind = "messages"
first_file_held = true
"#;

#[test]
fn a_batch_is_steered_at_the_command_line_and_every_refusal_says_why() {
    let config = CONFIG.replace("[tenant.acme]", HELD);
    let daemon = Daemon::start(&config);
    daemon.hears("READY=1");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_dropchute"))
            .arg("--config")
            .arg(daemon.folder.path().join("dropchute.toml"))
            .args(arguments)
            .env("SUDO_USER", "alice")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let path = daemon.folder.path().join("data/tenants/acme/inbox/INV_1.csv");
    std::fs::write(path, "email,text\nann@example.org,Hello\n").unwrap();
    let batch = || -> Option<serde_json::Value> {
        let (_, listed, _) = run(&["batch", "list", "--state", "held", "--json"]);
        let listed: serde_json::Value = serde_json::from_str(&listed).ok()?;
        listed["batches"].get(0).cloned()
    };
    wait_until("the file is held", || batch().is_some());
    let id = batch().unwrap()["batch_id"].as_str().unwrap().to_owned();
    let long = "x".repeat(201);
    for (arguments, code, said) in [
        (vec!["batch", "pause", &id], 1, "error: INV_1.csv is held: nothing of it is sent before"),
        (vec!["batch", "resend", &id], 1, "error: INV_1.csv has no row that ended failed"),
        (vec!["batch", "approve", "nope"], 1, "error: there is no batch of this batch_id"),
        (vec!["batch", "show", "0391hwja19ky6"], 1, "error: there is no batch of this batch_id"),
        (vec!["batch", "watch", "nope"], 1, "error: there is no batch of this batch_id"),
        (vec!["batch", "approve", &id, "--reason", &long], 1, "error: reason has more than 200"),
        (vec!["batch", "approve", &id, "--reason", "a\nb"], 1, "error: reason holds a control"),
        (vec!["batch", "approve"], 2, "error: the following required arguments"),
        (vec!["batch", "list", "--state", "open"], 2, "error: invalid value 'open'"),
        (vec!["batch", "list", "--limit", "0"], 2, "error: invalid value '0'"),
        (vec!["batch", "list", "--tenant", "nobody"], 0, "no batch fits"),
    ] {
        let (ended, _, error) = run(&arguments);
        assert_eq!(ended, Some(code), "{arguments:?}: {error}");
        assert!(error.starts_with(said), "{arguments:?}: {error}");
    }
    let approved = run(&["batch", "approve", &id, "--reason", "checked"]);
    assert_eq!(approved.0, Some(0), "{}", approved.2);
    assert_eq!(approved.1, format!("approve INV_1.csv (batch {id}): done"));
    let (ended, watched, _) = run(&["batch", "watch", &id]);
    assert_eq!(ended, Some(0));
    assert!(watched.contains("stage closed"), "{watched}");
    let (_, again, _) = run(&["batch", "approve", &id]);
    assert!(again.ends_with(": was so already"), "{again}");
    let (_, shown, _) = run(&["batch", "show", &id]);
    assert!(shown.contains("operator:alice"), "{shown}");
    daemon.signal(rustix::process::Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("operator:alice") && log.contains("checked"), "{log}");
}

/// A password over FTP in clear; the door's last line, empty where it does not even greet.
fn guess(ftp: SocketAddr) -> String {
    let mut lines = BufReader::new(TcpStream::connect(ftp).unwrap());
    lines.get_ref().set_read_timeout(Some(DEADLINE)).unwrap();
    let mut line = String::new();
    for said in ["", "USER old\r\n", "PASS wrong\r\n"] {
        line.clear();
        // Who is banned is cut at any moment.
        if lines.get_mut().write_all(said.as_bytes()).is_err()
            || lines.read_line(&mut line).is_err()
        {
            return String::new();
        }
    }
    line
}

#[test]
fn a_ban_is_listed_outlives_the_process_and_is_removed() {
    let config = CONFIG.replace(
        "[ftp]",
        "[guard]\ndelay = \"1ms\"\ndelay_max = \"1ms\"\n[ftp]\ntls = \"optional\"",
    ) + "[tenant.acme.account.old]\nprotocols = [\"ftp\"]\npassword_hash = \"$argon2id$v=19$m=64,t=1,p=1$\
           c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"\n";
    let bans = |daemon: &Daemon| -> serde_json::Value {
        let mut listed: serde_json::Value =
            serde_json::from_str(&daemon.ask(&["ban", "list", "--json"])).unwrap();
        listed["bans"].take()
    };
    let daemon = Daemon::start(&config);
    daemon.hears("READY=1");
    assert_eq!(bans(&daemon), serde_json::json!([]));
    for _ in 0..10 {
        assert!(guess(daemon.address("ftp")).starts_with("530 "));
    }
    assert_eq!(guess(daemon.address("ftp")), "");
    let listed = bans(&daemon);
    assert_eq!(listed[0]["address"], "127.0.0.1");
    assert_eq!(listed[0]["score"], 100);
    assert_eq!(listed[0]["reason"], "wrong_credentials");
    assert!(daemon.ask(&["ban", "list"]).contains("127.0.0.1"));
    daemon.signal(rustix::process::Signal::TERM);
    let (folder, code, log) = daemon.end_in();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("source banned") && log.contains("login refused"), "{log}");

    let daemon = Daemon::start_in(folder, &config);
    daemon.hears("READY=1");
    assert_eq!(bans(&daemon), listed);
    assert_eq!(guess(daemon.address("ftp")), "");
    assert_eq!(daemon.ask(&["ban", "remove", "127.0.0.1"]).trim(), "removed 1 source");
    assert!(guess(daemon.address("ftp")).starts_with("530 "));
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn a_bad_configuration_ends_with_78_so_that_systemd_does_not_try_again() {
    let daemon = Daemon::start("format = 1\nnonsense = 1\n[sftp]\nlisten = 3\n");
    let (code, log) = daemon.end();
    assert_eq!(code, Some(78));
    assert!(log.contains("nonsense") && log.contains("sftp.listen"), "all problems at once: {log}");
}

#[test]
fn a_second_daemon_on_the_same_data_dir_is_refused() {
    let daemon = Daemon::start(CONFIG);
    daemon.hears("READY=1");
    let second = Command::new(env!("CARGO_BIN_EXE_dropchute"))
        .arg("--config")
        .arg(daemon.folder.path().join("dropchute.toml"))
        .arg("serve")
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1));
    let log = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(log.contains("open store"), "{log}");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn a_reload_or_stop_right_after_readiness_finds_its_handler() {
    for _ in 0..3 {
        let daemon = Daemon::start(CONFIG);
        daemon.hears("READY=1");
        daemon.signal(rustix::process::Signal::HUP);
        daemon.signal(rustix::process::Signal::TERM);
        assert_eq!(daemon.end().0, Some(0));
    }
}

#[test]
fn nothing_the_daemon_makes_is_open_to_every_user_of_the_machine() {
    use std::os::unix::fs::PermissionsExt;
    let daemon = Daemon::start(CONFIG);
    daemon.hears("READY=1");
    let mut folders = vec![daemon.folder.path().join("data")];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        for path in entries.chain([folder.clone()]) {
            let metadata = std::fs::symlink_metadata(&path).unwrap();
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode & 0o007, 0, "{} {mode:o}", path.display());
            seen += 1;
            if metadata.is_dir() && path != folder {
                folders.push(path);
            }
        }
    }
    assert!(seen > 20, "{seen}");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn an_outbox_that_is_gone_shows_in_readiness() {
    let daemon = Daemon::start(CONFIG);
    daemon.hears("READY=1");
    let tree = daemon.folder.path().join("data/tenants/acme");
    std::fs::rename(tree.join("outbox"), tree.join("outbox_")).unwrap();
    let status = daemon.ask(&["status", "--json"]);
    assert!(status.contains("1 outboxes cannot be written"), "{status}");
    std::fs::rename(tree.join("outbox_"), tree.join("outbox")).unwrap();
    let status = daemon.ask(&["status", "--json"]);
    assert!(!status.contains("cannot be written"), "{status}");
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.end().0, Some(0));
}

/// Waits for a level, not for an event, with a deadline.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !holds() {
        assert!(begin.elapsed() < DEADLINE, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn an_operator_lists_sessions_and_ends_them() {
    let daemon = Daemon::start(CONFIG);
    daemon.hears("READY=1");
    let mut client = TcpStream::connect(daemon.address("sftp")).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.read_exact(&mut [0; 8]).unwrap();
    let list: serde_json::Value =
        serde_json::from_str(&daemon.ask(&["session", "list", "--json"])).unwrap();
    let session = &list["sessions"][0];
    assert_eq!(session["protocol"], "sftp", "{list}");
    assert_eq!(session["peer"], client.local_addr().unwrap().to_string());
    let table = daemon.ask(&["session", "list", "--tenant", "acme"]);
    assert_eq!(table.lines().count(), 1, "{table}");
    let id = session["id"].as_str().unwrap();
    assert_eq!(daemon.ask(&["session", "kill", id]), "ended 1 session\n");
    client.read_to_end(&mut Vec::new()).unwrap();
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.end().0, Some(0));
}

#[test]
fn without_a_free_descriptor_connections_wait_and_are_taken_later() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let daemon = Daemon::start(CONFIG);
    daemon.hears("READY=1");
    let sftp = daemon.address("sftp");
    let pid = Pid::from_child(&daemon.child);
    let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap().count() as u64;
    let limit = Rlimit { current: Some(open + 10), maximum: Some(open + 10) };
    prlimit(Some(pid), Resource::Nofile, limit).unwrap();
    let flood: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(sftp).unwrap()).collect();
    let mut last = flood.last().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    last.read_exact(&mut [0; 8]).unwrap_err();
    drop(flood);
    let mut client = TcpStream::connect(sftp).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.read_exact(&mut [0; 8]).unwrap();
    daemon.signal(rustix::process::Signal::TERM);
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(log.matches("accept connection").count(), 1, "{log}");
}

/// What lies in a folder of the account, once a file of this name is there.
fn fetch(ftp: &mut suppaftp::FtpStream, path: &str) -> String {
    let mut found = None;
    wait_until(path, || {
        found = ftp.retr_as_buffer(path).ok();
        found.is_some()
    });
    String::from_utf8(found.unwrap().into_inner()).unwrap()
}

#[test]
fn a_file_is_tried_out_through_a_door_and_nothing_leaves_the_house() {
    let sink = TcpListener::bind("127.0.0.1:0").unwrap();
    sink.set_nonblocking(true).unwrap();
    let hash = Argon2::default().hash_password(b"correct horse").unwrap();
    let config = CONFIG.replace("[ftp]", "[ftp]\ntls = \"optional\"")
        + &format!(
            "grace = \"100ms\"\nsettle = \"100ms\"\ndefault_category = \"transactional\"\n\
             channel.email = [\"mail\"]\nsender.email = [\"Acme <news@acme.example>\"]\n\
             [tenant.acme.account.erp]\nprotocols = [\"ftp\"]\npassword_hash = \"{hash}\"\n\
             [provider.mail]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\ntls = \"none\"\nport = {}\n",
            sink.local_addr().unwrap().port()
        );
    let daemon = Daemon::start(&config);
    daemon.hears("READY=1");
    let mut ftp = suppaftp::FtpStream::connect(daemon.address("ftp")).unwrap();
    ftp.login("erp", "correct horse").unwrap();
    let top = ftp.nlst(Some("/")).unwrap();
    assert!(top.iter().any(|name| name.trim_matches('/') == "test"), "{top:?}");
    let rows = "row_id,email,subject,text\nr1,ann@example.com,Hello,It works\n";
    ftp.put_file("/test/inbox/messages_a.csv", &mut rows.as_bytes()).unwrap();
    let summary = fetch(&mut ftp, "/test/outbox/messages_a.csv.summary.csv");
    assert!(summary.trim_end().ends_with(",yes"), "{summary}");
    let result = fetch(&mut ftp, "/test/outbox/messages_a.csv.result.csv");
    assert!(result.contains(",delivered,yes,,,simulator,"), "{result}");
    let rendered = fetch(&mut ftp, "/test/outbox/messages_a.csv.rendered.csv");
    assert!(rendered.contains("Acme <news@acme.example>,Hello,It works,"), "{rendered}");
    let listed: serde_json::Value =
        serde_json::from_str(&daemon.ask(&["batch", "list", "--json"])).unwrap();
    assert_eq!(listed["batches"][0]["test"], "yes", "{listed}");
    let is_reached = || sink.accept().is_ok();
    assert!(!is_reached(), "a provider was called");
    // The same file, meant.
    ftp.put_file("/inbox/messages_a.csv", &mut rows.as_bytes()).unwrap();
    let ack = fetch(&mut ftp, "/outbox/messages_a.csv.ack.csv");
    assert!(ack.contains(",ACCEPTED,") && ack.trim_end().ends_with(",no"), "{ack}");
    wait_until("the provider is called", is_reached);
    drop(ftp);
    daemon.signal(rustix::process::Signal::TERM);
    assert_eq!(daemon.end().0, Some(0));
}

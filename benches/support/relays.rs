//! Programs of others that take messages over and hand them on, for comparison: each handed the same number
//! of messages, until the sink has them all. `None` where one is not installed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::house;
use super::sinks::Sink;

/// How often a relay is asked whether it has handed on everything, and for how long.
const LOOK: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(300);

fn installed(program: &str) -> Option<&str> {
    Some(program).filter(|path| Path::new(path).exists())
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn wait_for_port(port: u16) {
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < PATIENCE, "nothing listens at port {port}");
        std::thread::sleep(LOOK);
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdin(Stdio::null()).status().unwrap();
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Postfix with an empty queue of its own, fed by its `smtp-source`; seconds until the queue is empty
/// again. Needs root.
pub fn postfix(sink: &Sink, messages: u64, connections: usize) -> Option<f64> {
    let postfix = installed("/usr/sbin/postfix")?;
    let source = installed("/usr/sbin/smtp-source")?;
    let folder = house::scratch();
    let (etc, port) = (folder.path().join("etc"), free_port());
    // Its own users must be able to pass.
    set_mode(folder.path(), 0o755);
    std::fs::create_dir(&etc).unwrap();
    for below in ["queue", "data"] {
        std::fs::create_dir(folder.path().join(below)).unwrap();
    }
    let at = folder.path().display();
    run("/bin/chown", &["postfix", &format!("{at}/data")]);
    let main = format!(
        "compatibility_level = 3.6\nqueue_directory = {at}/queue\ndata_directory = {at}/data\n\
         mail_owner = postfix\nsetgid_group = postdrop\nmyhostname = bench.example\nmydestination =\n\
         relayhost = [127.0.0.1]:{}\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n\
         mynetworks = 127.0.0.0/8\nalias_maps =\nsmtp_destination_concurrency_limit = {connections}\n\
         initial_destination_concurrency = {connections}\nmaillog_file = {at}/data/log\n\
         maillog_file_prefixes = {at}\nsmtp_host_lookup = native\ndisable_dns_lookups = yes\n",
        sink.port
    );
    std::fs::write(etc.join("main.cf"), main).unwrap();
    let master = std::fs::read_to_string("/usr/share/postfix/master.cf.dist").ok()?;
    let line = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
    let services = master.lines().map(|service| match service {
        _ if service.starts_with("smtp      inet") => line.clone(),
        _ => format!("{}\n", not_chrooted(service)),
    });
    let services = services.collect::<String>() + "postlog unix-dgram n - n - 1 postlogd\n";
    std::fs::write(etc.join("master.cf"), services).unwrap();
    let config = etc.to_str().unwrap();
    run(postfix, &["-c", config, "start"]);
    wait_for_port(port);
    let (to, count) = (format!("127.0.0.1:{port}"), messages.to_string());
    let start = Instant::now();
    let sessions = connections.to_string();
    run(
        source,
        &[
            "-s",
            &sessions,
            "-m",
            &count,
            "-l",
            "2048",
            "-f",
            "a@bench.example",
            "-t",
            "b@sink.example",
            &to,
        ],
    );
    let queue = folder.path().join("queue");
    let waiting =
        || ["incoming", "active", "deferred"].iter().any(|name| has_file(&queue.join(name)));
    while waiting() {
        assert!(start.elapsed() < PATIENCE, "mail is left in the queue");
        std::thread::sleep(LOOK);
    }
    let seconds = start.elapsed().as_secs_f64();
    run(postfix, &["-c", config, "stop"]);
    Some(seconds)
}

/// A line of `master.cf` with its service outside of any jail.
fn not_chrooted(service: &str) -> String {
    let mut words: Vec<&str> = service.split_whitespace().collect();
    if service.starts_with(['#', ' ', '\t']) || words.len() < 8 {
        return service.to_owned();
    }
    words[4] = "n";
    words.join(" ")
}

fn has_file(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => has_file(&entry.path()),
        _ => true,
    })
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A process that ends with its owner.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}

/// Kannel: its bearerbox keeps messages in a file until an HTTP provider took them; its smsbox is asked over
/// HTTP for each. Seconds until the sink counted them all.
pub async fn kannel(sink: &Sink, messages: u64, requests: usize) -> Option<f64> {
    let bearerbox = installed("/usr/sbin/bearerbox")?;
    let smsbox = installed("/usr/sbin/smsbox")?;
    let folder = house::scratch();
    let (admin, inner, door) = (free_port(), free_port(), free_port());
    let at = folder.path().display();
    let text = format!(
        "group = core\nadmin-port = {admin}\nadmin-password = bench\nsmsbox-port = {inner}\n\
         box-allow-ip = 127.0.0.1\nstore-type = spool\nstore-location = {at}/spool\nlog-level = 4\n\
         log-file = {at}/bearerbox.log\n\n\
         group = smsc\nsmsc = http\nsmsc-id = sink\nsystem-type = generic\nport = {}\n\
         send-url = \"http://127.0.0.1:{}/?to=%P&text=%b\"\nstatus-success-regex = \"ok\"\n\
         connect-allow-ip = 127.0.0.1\nmax-pending-submits = {requests}\n\n\
         group = smsbox\nbearerbox-host = 127.0.0.1\nsendsms-port = {door}\nlog-level = 4\n\
         log-file = {at}/smsbox.log\n\n\
         group = sendsms-user\nusername = bench\npassword = bench\nconcatenation = true\nmax-messages = 1\n\n\
         group = sms-service\nkeyword = default\ntext = \"none\"\nmax-messages = 0\n",
        free_port(),
        sink.port
    );
    let config = folder.path().join("kannel.conf");
    std::fs::create_dir(folder.path().join("spool")).unwrap();
    std::fs::write(&config, text).unwrap();
    let start = |program: &str| {
        let quiet = Command::new(program)
            .args(["-v", "4"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Running(quiet.unwrap())
    };
    let _bearerbox = start(bearerbox);
    wait_for_port(inner);
    let _smsbox = start(smsbox);
    wait_for_port(door);
    let before = counted(sink).await;
    let (begin, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let client = reqwest::Client::new();
    let mut askers = Vec::new();
    for _ in 0..requests {
        let (client, next) = (client.clone(), Arc::clone(&next));
        askers.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    return;
                }
                let url = format!(
                    "http://127.0.0.1:{door}/cgi-bin/sendsms?username=bench&password=bench&from=ACME&\
                     to=49151{number:08}&text=Invoice+number+{number:08}+for+your+recent+order+of+goods"
                );
                let answer = client.get(url).send().await.unwrap();
                assert!(answer.status().is_success(), "{answer:?}");
            }
        }));
    }
    for asker in askers {
        asker.await.unwrap();
    }
    while counted(sink).await < before + messages {
        assert!(begin.elapsed() < PATIENCE, "the sink has {} messages", counted(sink).await);
        tokio::time::sleep(LOOK).await;
    }
    Some(begin.elapsed().as_secs_f64())
}

async fn counted(sink: &Sink) -> u64 {
    let url = format!("http://127.0.0.1:{}/count", sink.port);
    reqwest::get(url).await.unwrap().text().await.unwrap().parse().unwrap()
}

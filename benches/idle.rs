//! The daemon with 100 tenants and nothing to do: start-up until every port listens, and memory.
//!
//! `cargo bench --bench idle`
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]
#![allow(clippy::unwrap_used, reason = "a bench that cannot run should stop")]
#![allow(unreachable_pub, dead_code, reason = "the benches share a module")]

#[path = "support/house.rs"]
mod house;

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const TENANTS: usize = 100;
const STARTS: usize = 5;

fn main() {
    house::print_machine();
    let folder = house::scratch();
    let config = folder.path().join("dropchute.toml");
    std::fs::write(&config, configuration()).unwrap();
    for start in 0..STARTS {
        let (seconds, mut daemon) = start_daemon(&config);
        let cpu = house::cpu_seconds(&daemon.id().to_string());
        // Long enough for the first look into every inbox to be over.
        std::thread::sleep(Duration::from_secs(3));
        let pid = daemon.id().to_string();
        let (now, peak) = (house::memory_mb(&pid, "VmRSS"), house::memory_mb(&pid, "VmHWM"));
        println!(
            "{TENANTS} tenants, {} start: listening after {:.0} ms ({:.0} ms of CPU); idle RSS {now:.1} MB, \
             peak {peak:.1} MB",
            if start == 0 { "first" } else { "later" },
            seconds * 1e3,
            cpu * 1e3,
        );
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
}

/// Starts the daemon; the time until it said of its last door that it listens.
fn start_daemon(config: &Path) -> (f64, Child) {
    let start = Instant::now();
    let mut daemon = Command::new(env!("CARGO_BIN_EXE_dropchute"))
        .arg("--config")
        .arg(config)
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let listening = |line: &String| line.contains("listening") && line.contains("admin");
    let said = lines.by_ref().map_while(Result::ok).find(listening);
    let seconds = start.elapsed().as_secs_f64();
    assert!(said.is_some(), "the daemon ended before it listened");
    // The rest of the log must go somewhere, or the daemon stands still.
    std::thread::spawn(move || lines.for_each(drop));
    (seconds, daemon)
}

fn configuration() -> String {
    let mut text = String::from(
        r#"format = 1
data_dir = "data"

[sftp]
listen = ["127.0.0.1:0"]

[ftp]
listen = ["127.0.0.1:0"]

[admin]
listen = "127.0.0.1:0"

[provider.dry]
kind = "simulator"
"#,
    );
    for number in 0..TENANTS {
        write!(
            text,
            r#"
[tenant.t{number:03}]
default_category = "transactional"

[tenant.t{number:03}.sender]
email = ["Tenant <t{number:03}@tenant.example>"]

[tenant.t{number:03}.account.t{number:03}-erp]
ssh_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPhKbBCkwPZlQWCrrEFTBAAgGbTtOmAZ1QKh1VYmRh2F"]

[tenant.t{number:03}.channel]
email = ["dry"]

[tenant.t{number:03}.template.invoice]
channel = "email"
lang = "en"
subject = "Your invoice {{{{ number }}}}"
text = "Dear {{{{ first_name }}}}, here is your invoice."
"#
        )
        .unwrap();
    }
    text
}

//! Other people's clients, as processes: OpenSSH's sftp, curl and lftp.

use std::path::Path;
use std::process::{Command, Stdio};

use super::servers::{PASSWORD, Server};

/// No transfer takes longer, or it hangs.
const PATIENCE_SECONDS: &str = "900";

/// How FTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    Off,
    On,
}

/// Runs one command of OpenSSH's sftp; the seconds it took, without connecting and logging in.
pub fn sftp(server: &Server, key: &Path, cipher: Option<&str>, command: &str) -> f64 {
    let mut sftp = patient("sftp");
    sftp.args(["-q", "-F", "none", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]);
    sftp.args(["-oLogLevel=ERROR", "-oIdentitiesOnly=yes", "-oBatchMode=yes", "-i"]).arg(key);
    sftp.args(cipher.map(|cipher| format!("-oCiphers={cipher}")));
    sftp.args(["-P", &server.ssh_port.to_string(), "-b", "-"]);
    sftp.arg(format!("{}@127.0.0.1", server.user));
    between_dates(sftp, &format!("!date +%s.%N\n{command}\n!date +%s.%N\n"))
}

/// Uploads a file with curl; the seconds it took, without connecting and logging in.
pub fn curl_put(server: &Server, tls: Tls, file: &Path, name: &str) -> f64 {
    let mut curl = curl(server, tls, name);
    curl.arg("-T").arg(file);
    transfer_time(curl)
}

/// Downloads a file with curl to nowhere; seconds as above.
pub fn curl_get(server: &Server, tls: Tls, name: &str) -> f64 {
    let mut curl = curl(server, tls, name);
    curl.args(["-o", "/dev/null"]);
    transfer_time(curl)
}

/// Runs one command of lftp, in the folder for uploads and in a local one; the seconds it took.
pub fn lftp(server: &Server, tls: Tls, local: &Path, folder: &str, command: &str) -> f64 {
    let script = format!(
        "set cmd:fail-exit true; set net:max-retries 1; set ssl:verify-certificate no\n\
         set ftp:ssl-allow {secure}; set ftp:ssl-force {secure}; set ftp:ssl-protect-data {secure}\n\
         open -u {user},'{PASSWORD}' -p {port} 127.0.0.1\n\
         lcd {local}; cd {remote}{folder}\n!date +%s.%N\n{command}\n!date +%s.%N\nbye\n",
        secure = tls == Tls::On,
        user = server.user,
        port = server.ftp_port,
        local = local.display(),
        remote = server.ftp_folder,
    );
    let mut lftp = patient("lftp");
    lftp.arg("--norc");
    between_dates(lftp, &script)
}

fn curl(server: &Server, tls: Tls, name: &str) -> Command {
    let mut curl = patient("curl");
    curl.args(["-q", "-sS", "-f", "-k", "-w", "%{time_pretransfer} %{time_total}\n"]);
    curl.args(["-u", &format!("{}:{PASSWORD}", server.user)]);
    curl.args((tls == Tls::On).then_some("--ssl-reqd"));
    curl.arg(format!("ftp://127.0.0.1:{}/{}{name}", server.ftp_port, server.ftp_folder));
    curl
}

fn transfer_time(mut curl: Command) -> f64 {
    let done = curl.stderr(Stdio::inherit()).output().unwrap();
    assert!(done.status.success(), "{curl:?}");
    let text = String::from_utf8(done.stdout).unwrap();
    let times: Vec<f64> = text.split_whitespace().map(|time| time.parse().unwrap()).collect();
    times[1] - times[0]
}

fn patient(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args([PATIENCE_SECONDS, program]);
    command
}

/// Gives a client its commands; the seconds between the two times that it printed by them.
fn between_dates(mut client: Command, script: &str) -> f64 {
    use std::io::Write;
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = client.spawn().unwrap();
    running.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let done = running.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let dates: Vec<f64> = said.lines().filter_map(|line| line.trim().parse().ok()).collect();
    match dates[..] {
        [from, to] if done.status.success() => to - from,
        _ => {
            panic!("{client:?}: {}\n{said}\n{}", done.status, String::from_utf8_lossy(&done.stderr))
        }
    }
}

//! SFTP at its limits: rekeying, resets, sizes that cannot be, clients that only ask.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use dropchute::model::Proof;
use dropchute::transfer::{Limits, TlsMode};
use russh::client;
use russh::keys::PrivateKeyWithHashAlg;
use russh::keys::ssh_key::LineEnding;
use russh_sftp::protocol::{FileAttributes, OpenFlags, StatusCode};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::house::{House, PATIENCE, key};
use super::sftp::{AnyServer, channel, client, login, over, refusal};

fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

/// A way to the door that can be broken; the sender ends it with a reset.
async fn breakable(to: SocketAddr) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (broken, breaking) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut far = TcpStream::connect(to).await.unwrap();
        far.set_nodelay(true).unwrap();
        tokio::select! {
            copied = tokio::io::copy_bidirectional(&mut near, &mut far) => drop(copied),
            _ = breaking => socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap(),
        }
    });
    (address, broken)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_after_an_upload_lowers_its_proof_and_a_close_does_not() {
    let house = House::open();
    for (orderly, weak) in [(true, false), (false, true)] {
        let (address, broken) = breakable(house.sftp).await;
        let config = Arc::new(client::Config { nodelay: true, ..client::Config::default() });
        let mut ssh = client::connect(config, address, AnyServer).await.unwrap();
        let key = PrivateKeyWithHashAlg::new(Arc::new(key(7)), None);
        assert!(ssh.authenticate_publickey("erp", key).await.unwrap().success());
        let client = over(ssh).await;
        client.put("/inbox/a.csv", b"x").await.unwrap();
        assert_eq!((house.last().proof, house.last().weak), (Proof::Close, false));
        if orderly {
            client.ssh.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap();
            while !client.ssh.is_closed() {
                tokio::task::yield_now().await;
            }
        }
        broken.send(()).ok();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while weak && !house.last().weak {
            assert!(tokio::time::Instant::now() < deadline, "the proof was not lowered");
            tokio::task::yield_now().await;
        }
        drop(client);
    }
    let recorded = house.recorded.clone();
    house.close().await;
    let weak: Vec<bool> = recorded.lock().unwrap().iter().map(|evidence| evidence.weak).collect();
    assert_eq!(weak, [false, false, true]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_change_where_it_means_something() {
    let house = House::open();
    let client = client(&house).await;
    let size = |bytes| FileAttributes { size: Some(bytes), ..FileAttributes::empty() };
    let handle = client.create("/media/a").await.unwrap();
    client.sftp.fsetstat(&handle, size(0)).await.unwrap();
    client.sftp.write(&handle, 0, b"0123456789".to_vec()).await.unwrap();
    assert!(client.sftp.fsetstat(&handle, size(1 << 62)).await.is_err());
    assert!(client.sftp.write(&handle, 1 << 62, vec![1]).await.is_err());
    // What was refused spoils the upload: the client meant another file.
    assert!(client.sftp.close(handle).await.is_err());

    client.put("/media/a", b"0123456789").await.unwrap();
    client.sftp.setstat("/media/a", size(10)).await.unwrap();
    client.sftp.setstat("/media/a", size(4)).await.unwrap();
    assert_eq!(std::fs::read(house.path("media/a")).unwrap(), b"0123");
    let longer = client.sftp.setstat("/media/a", size(1 << 62)).await;
    assert_eq!(refusal(longer).0, StatusCode::PermissionDenied);
    let handle = client.open("/media/a").await.unwrap();
    assert_eq!(refusal(client.sftp.read(&handle, 1 << 63, 9).await).0, StatusCode::Eof);
    assert!(client.sftp.write(&handle, 0, vec![1]).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_may_come_in_any_order_and_be_read_back() {
    let house = House::open();
    let client = client(&house).await;
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE;
    let handle = client.sftp.open("/media/a", flags, FileAttributes::empty()).await.unwrap().handle;
    let all = bytes(300_000);
    let mut parts: Vec<_> = all.chunks(30_000).enumerate().collect();
    parts.reverse();
    parts.swap(2, 7);
    for (index, part) in parts {
        client.sftp.write(&handle, index as u64 * 30_000, part.to_vec()).await.unwrap();
    }
    let read = client.sftp.read(&handle, 31_000, 1000).await.unwrap().data;
    assert!(read == all[31_000..32_000]);
    client.sftp.close(handle).await.unwrap();
    assert!(std::fs::read(house.path("media/a")).unwrap() == all);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_on_and_takes_no_answers_is_cut_and_others_are_not() {
    let limits = Limits { asked_per_session_max_bytes: 1 << 20, ..Limits::default() };
    let house = House::with(TlsMode::Required, limits);
    std::fs::write(house.path("outbox/big"), bytes(4 << 20)).unwrap();
    let good = client(&house).await;
    // OpenSSH grants room for answers only as they are taken, and goes on to send.
    let Some(mut ssh) = ssh_subsystem(&house) else { return };
    let mut requests = b"\0\0\0\x05\x01\0\0\0\x03".to_vec();
    requests.extend(b"\0\0\0\x1c\x03\0\0\0\x01\0\0\0\x0b/outbox/big\0\0\0\x01\0\0\0\0");
    let read = b"\0\0\0\x16\x05\0\0\0\x02\0\0\0\x010\0\0\0\0\0\0\0\0\0\x04\0\0";
    let mut stdin = ssh.stdin.take().unwrap();
    let asking = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        stdin.write_all(&requests).unwrap();
        while stdin.write_all(&read.repeat(1000)).is_ok() {}
    });
    // Answers are never read: the window closes, and then the server's patience ends.
    tokio::time::timeout(PATIENCE, asking).await.expect("the connection is cut").unwrap();
    ssh.wait().unwrap();
    good.put("/inbox/a.csv", b"x").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handles_and_channels_are_bounded() {
    let limits = Limits { handles_max: 4, ..Limits::default() };
    let house = House::with(TlsMode::Required, limits);
    let client = client(&house).await;
    let mut handles = Vec::new();
    for _ in 0..4 {
        handles.push(client.sftp.opendir("/").await.unwrap().handle);
    }
    assert!(refusal(client.sftp.opendir("/").await).1.contains("too many"));
    client.sftp.close(handles.pop().unwrap()).await.unwrap();
    client.sftp.opendir("/").await.unwrap();
    let mut channels = Vec::new();
    while let Ok(channel) = client.ssh.channel_open_session().await {
        channels.push(channel);
    }
    assert_eq!(channels.len(), 7);
    // One that was closed, by either side, makes room again.
    let mut bad = channels.pop().unwrap();
    bad.request_subsystem(true, "sftp").await.unwrap();
    bad.data(&b"\xff\xff\xff\xff"[..]).await.unwrap();
    while bad.wait().await.is_some() {}
    client.ssh.channel_open_session().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_says_goodbye_in_words() {
    let house = House::open();
    let ssh = login(&house).await;
    let mut channel = channel(&ssh).await;
    house.token.cancel();
    while tokio::time::timeout(PATIENCE, channel.wait()).await.expect("an end").is_some() {}
    assert!(ssh.is_closed());
    house.close().await;
}

/// A command of OpenSSH's that logs in with its own key.
fn openssh(program: &str, port_option: &str, house: &House) -> Command {
    let identity = house.folder.path().join("identity");
    std::fs::write(&identity, key(7).to_openssh(LineEnding::LF).unwrap().as_bytes()).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&identity, private).unwrap();
    let mut command = Command::new(program);
    command.args(["-q", "-F", "none", port_option, &house.sftp.port().to_string()]);
    for option in ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes"]
    {
        command.args(["-o", option]);
    }
    command.arg("-i").arg(&identity).stderr(Stdio::null());
    command
}

#[allow(clippy::print_stderr, reason = "a test that does nothing says so")]
fn skipped() {
    eprintln!("skipped: there is no OpenSSH on this machine");
}

/// The SFTP subsystem behind pipes, where the machine has OpenSSH.
fn ssh_subsystem(house: &House) -> Option<Child> {
    let mut command = openssh("ssh", "-p", house);
    command.args(["-s", "erp@127.0.0.1", "sftp"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map_err(|_| skipped()).ok()
}

/// Runs a batch of `sftp`; `None` where the machine has none.
async fn sftp(house: &House, options: &[&str], batch: &str) -> Option<bool> {
    let script = house.folder.path().join("batch");
    std::fs::write(&script, batch).unwrap();
    let mut command = openssh("sftp", "-P", house);
    command.args(options).arg("-b").arg(&script).arg("erp@127.0.0.1");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = tokio::task::spawn_blocking(move || command.status()).await.unwrap();
    status.ok().map(|status| status.success())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_crosses_many_new_keys_in_both_directions() {
    let limits = Limits { rekey_bytes: 1 << 20, ..Limits::default() };
    let house = House::with(TlsMode::Required, limits);
    let file = house.folder.path().join("file");
    let all = bytes(24 << 20);
    std::fs::write(&file, &all).unwrap();
    for cipher in ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"] {
        let back = house.folder.path().join("back");
        let batch = format!(
            "put {0} /media/file\nget /media/file {1}\nput -p {0} /inbox/a.csv\nls -l /inbox\n",
            file.display(),
            back.display()
        );
        let Some(done) = sftp(&house, &["-c", cipher], &batch).await else {
            return skipped();
        };
        assert!(done, "{cipher}");
        assert!(std::fs::read(&back).unwrap() == all, "{cipher}");
        assert!(std::fs::read(house.path("inbox/a.csv")).unwrap() == all, "{cipher}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_keys_by_the_clock_do_not_disturb_a_session() {
    let limits = Limits { rekey_time: Duration::from_millis(20), ..Limits::default() };
    let house = House::with(TlsMode::Required, limits);
    let client = client(&house).await;
    let all = bytes(4 << 20);
    for _ in 0..4 {
        client.put("/media/a", &all).await.unwrap();
    }
    let handle = client.open("/media/a").await.unwrap();
    let mut got = Vec::new();
    while let Ok(part) = client.sftp.read(&handle, got.len() as u64, 255 << 10).await {
        got.extend_from_slice(&part.data);
    }
    assert!(got == all);
    let mut raw = TcpStream::connect(house.sftp).await.unwrap();
    let mut greeting = [0; 8];
    raw.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"SSH-2.0-");
}

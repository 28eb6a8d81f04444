//! SFTP, with russh as the client.

use std::sync::Arc;
use std::time::Duration;

use dropchute::model::Proof;
use dropchute::transfer::{Limits, TlsMode};
use russh::ChannelMsg;
use russh::client::{self, AuthResult};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh_sftp::client::RawSftpSession;
use russh_sftp::client::error::Error as SftpError;
use russh_sftp::protocol::{FileAttributes, OpenFlags, Packet, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::house::{House, PASSWORD, PATIENCE, key};

pub(super) struct AnyServer;

impl client::Handler for AnyServer {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

pub(super) type Ssh = client::Handle<AnyServer>;

pub(super) struct Client {
    pub(super) sftp: RawSftpSession,
    pub(super) ssh: Ssh,
}

pub(super) async fn connect(house: &House) -> Ssh {
    let config = client::Config { nodelay: true, ..client::Config::default() };
    client::connect(Arc::new(config), house.sftp, AnyServer).await.unwrap()
}

pub(super) async fn login(house: &House) -> Ssh {
    let mut ssh = connect(house).await;
    let key = PrivateKeyWithHashAlg::new(Arc::new(key(7)), None);
    assert!(ssh.authenticate_publickey("erp", key).await.unwrap().success());
    ssh
}

pub(super) async fn channel(ssh: &Ssh) -> russh::Channel<client::Msg> {
    let channel = ssh.channel_open_session().await.unwrap();
    channel.request_subsystem(true, "sftp").await.unwrap();
    channel
}

pub(super) async fn client(house: &House) -> Client {
    over(login(house).await).await
}

/// SFTP over a connection that has logged in.
pub(super) async fn over(ssh: Ssh) -> Client {
    let sftp = RawSftpSession::new(channel(&ssh).await.into_stream());
    sftp.init().await.unwrap();
    Client { sftp, ssh }
}

impl Client {
    pub(super) async fn open(&self, path: &str) -> Result<String, SftpError> {
        Ok(self.sftp.open(path, OpenFlags::READ, FileAttributes::empty()).await?.handle)
    }

    pub(super) async fn create(&self, path: &str) -> Result<String, SftpError> {
        let flags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE;
        Ok(self.sftp.open(path, flags, FileAttributes::empty()).await?.handle)
    }

    pub(super) async fn put(&self, path: &str, bytes: &[u8]) -> Result<(), SftpError> {
        const PART_BYTES: usize = 32 << 10;
        let handle = self.create(path).await?;
        for (index, part) in bytes.chunks(PART_BYTES).enumerate() {
            self.sftp.write(&handle, (index * PART_BYTES) as u64, part.to_vec()).await?;
        }
        self.sftp.close(handle).await.map(|_| ())
    }

    async fn names(&self, path: &str) -> Vec<String> {
        let handle = self.sftp.opendir(path).await.unwrap().handle;
        let mut names = Vec::new();
        while let Ok(batch) = self.sftp.readdir(&handle).await {
            names.extend(batch.files.into_iter().map(|file| file.filename));
        }
        self.sftp.close(handle).await.unwrap();
        names
    }
}

/// The code and sentence of a refusal.
pub(super) fn refusal<T: std::fmt::Debug>(result: Result<T, SftpError>) -> (StatusCode, String) {
    match result.unwrap_err() {
        SftpError::Status(status) => (status.status_code, status.error_message),
        other => panic!("no status: {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_in_and_an_answer_comes_out() {
    let house = House::open();
    let client = client(&house).await;
    let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    client.put("/IN/messages_1.csv", &bytes).await.unwrap();
    assert!(std::fs::read(house.path("inbox/messages_1.csv")).unwrap() == bytes);
    let evidence = house.last();
    assert_eq!(evidence.path, "inbox/messages_1.csv");
    assert_eq!((evidence.account.as_str(), evidence.protocol), ("erp", "sftp"));
    assert_eq!((evidence.proof, evidence.version.bytes), (Proof::Close, 3_000_000));
    assert!(client.names("/inbox").await.contains(&"messages_1.csv".to_owned()));

    std::fs::write(house.path("outbox/a.ack.csv"), "spec\n").unwrap();
    assert!(client.names("/outbox").await.contains(&"a.ack.csv".to_owned()));
    let handle = client.open("/outbox/a.ack.csv").await.unwrap();
    assert_eq!(client.sftp.read(&handle, 0, 100).await.unwrap().data, b"spec\n");
    assert_eq!(refusal(client.sftp.read(&handle, 5, 100).await).0, StatusCode::Eof);
    client.sftp.close(handle).await.unwrap();
    client.sftp.remove("/outbox/a.ack.csv").await.unwrap();
    assert!(!house.path("outbox/a.ack.csv").exists());
    let counters = house.counters.snapshot();
    let totals = (counters.total(|t| t.uploads), counters.total(|t| t.downloads));
    assert_eq!((totals, counters.logins_ok()), ((1, 1), 1));
    house.close().await;
}

/// What paramiko does: ask for the whole file at once, then read the answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_file_asked_for_at_once_does_not_stop_the_download() {
    let house = House::open();
    let bytes: Vec<u8> = (0..8u32 << 20).map(|n| (n % 253) as u8).collect();
    std::fs::write(house.path("outbox/big.csv"), &bytes).unwrap();
    let client = client(&house).await;
    let handle = client.open("/outbox/big.csv").await.unwrap();
    for length in [255u32 << 10, 32 << 10, 4 << 10] {
        let count = (8u64 << 20).div_ceil(u64::from(length));
        let reads =
            (0..count).map(|index| client.sftp.read(&handle, index * u64::from(length), length));
        let reads = futures_util::future::join_all(reads);
        let parts = tokio::time::timeout(PATIENCE, reads).await.expect("no deadlock");
        let got: Vec<u8> = parts.into_iter().flat_map(|part| part.unwrap().data).collect();
        assert!(got == bytes, "{length}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rename_to_the_final_name_is_strong_proof() {
    let house = House::open();
    let client = client(&house).await;
    client.put("/inbox/a.csv.filepart", b"x").await.unwrap();
    client.sftp.rename("/inbox/a.csv.filepart", "/inbox/a.csv").await.unwrap();
    let evidence = house.last();
    assert_eq!((evidence.path.as_str(), evidence.proof), ("inbox/a.csv", Proof::Rename));

    // The rename of version 3 never replaces, OpenSSH's does.
    client.put("/inbox/.a.csv", b"newer").await.unwrap();
    let (code, _) = refusal(client.sftp.rename("/inbox/.a.csv", "/inbox/a.csv").await);
    assert_eq!(code, StatusCode::Failure);
    let mut names = Vec::new();
    for name in ["/inbox/.a.csv", "/inbox/a.csv"] {
        names.extend_from_slice(&(name.len() as u32).to_be_bytes());
        names.extend_from_slice(name.as_bytes());
    }
    let answer = client.sftp.extended("posix-rename@openssh.com", names).await.unwrap();
    assert!(matches!(answer, Packet::Status(status) if status.status_code == StatusCode::Ok));
    assert_eq!(std::fs::read(house.path("inbox/a.csv")).unwrap(), b"newer");
    assert_eq!(house.last().proof, Proof::Rename);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_upload_is_kept_to_be_continued_and_never_seen_as_a_file() {
    let house = House::open();
    let client = client(&house).await;
    let handle = client.create("/inbox/cut.csv").await.unwrap();
    client.sftp.write(&handle, 0, b"half".to_vec()).await.unwrap();
    // While it grows it is shown with its size, to clients only.
    assert_eq!(client.sftp.stat("/inbox/cut.csv").await.unwrap().attrs.size, Some(4));
    assert!(!house.path("inbox/cut.csv").exists());
    client.ssh.disconnect(russh::Disconnect::ByApplication, "", "").await.unwrap();
    drop(client);
    let recorded = house.recorded.clone();
    let folder = house.close().await;
    let uploads = std::fs::read_dir(folder.path().join("uploads/acme")).unwrap();
    let kept: Vec<_> = uploads.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    // Its bytes, and the label that a restart needs.
    assert!(kept.len() == 2 && kept.contains(&b"half".to_vec()), "{kept:?}");
    assert!(!folder.path().join("tenants/acme/inbox/cut.csv").exists());
    assert_eq!(*recorded.lock().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_shells_and_forwardings_are_refused_at_once() {
    let house = House::open();
    let ssh = login(&house).await;
    for request in ["exec", "shell", "subsystem"] {
        let mut channel = ssh.channel_open_session().await.unwrap();
        match request {
            "exec" => channel.exec(true, "scp -t /inbox").await.unwrap(),
            "shell" => channel.request_shell(true).await.unwrap(),
            _ => channel.request_subsystem(true, "netconf").await.unwrap(),
        }
        let answer = async {
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Failure) => break,
                    Some(ChannelMsg::Success) | None => panic!("{request} was not refused"),
                    Some(_) => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, answer).await.expect("an answer");
    }
    assert!(ssh.channel_open_direct_tcpip("localhost", 22, "localhost", 22).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_accounts_and_wrong_passwords_get_the_same_answer() {
    let house = House::open();
    let mut answers = Vec::new();
    for (name, password) in [("erp", "wrong"), ("nobody", PASSWORD), ("", "")] {
        let mut ssh = connect(&house).await;
        match ssh.authenticate_password(name, password).await.unwrap() {
            AuthResult::Failure { remaining_methods, partial_success } => {
                answers.push((format!("{remaining_methods:?}"), partial_success));
            }
            AuthResult::Success => panic!("{name} was let in"),
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    let mut ssh = connect(&house).await;
    assert!(ssh.authenticate_password("erp", PASSWORD).await.unwrap().success());
    let mut ssh = connect(&house).await;
    let other = PrivateKeyWithHashAlg::new(Arc::new(key(8)), None);
    assert!(!ssh.authenticate_publickey("erp", other).await.unwrap().success());
    let counters = house.counters.snapshot();
    assert_eq!((counters.logins_ok(), counters.logins_failed()), (1, 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_outside_the_tenants_tree_can_be_reached() {
    let house = House::open();
    let client = client(&house).await;
    let outside = house.folder.path().join("secret");
    std::fs::write(&outside, "x").unwrap();
    std::os::unix::fs::symlink(&outside, house.path("media/file")).unwrap();
    std::os::unix::fs::symlink(house.folder.path(), house.path("media/all")).unwrap();
    for path in [
        "/../../secret",
        "/../secret",
        "../../../../etc/passwd",
        "/inbox/../../../secret",
        "/media/file",
        "/media/all/secret",
        "/media/all",
        "/etc/passwd",
    ] {
        assert_eq!(refusal(client.open(path).await).0, StatusCode::NoSuchFile, "{path}");
    }
    for path in ["/../secret", "/media/all/secret", "/media/all/new", "/etc/new"] {
        assert!(client.put(path, b"y").await.is_err(), "{path}");
    }
    assert!(client.names("/media").await.is_empty());
    // An upload replaces a link, never what it points to.
    client.put("/media/file", b"y").await.unwrap();
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "x");
    assert_eq!(client.sftp.realpath("../..").await.unwrap().files[0].filename, "/");
    assert!(client.sftp.symlink("/media/x", "/etc").await.is_err());
}

/// Raw bytes, because Rust clients cannot name such files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_are_refused_in_the_inbox_with_a_sentence_and_kept_in_media() {
    let house = House::open();
    let ssh = login(&house).await;
    let mut stream = channel(&ssh).await.into_stream();
    stream.write_all(b"\0\0\0\x05\x01\0\0\0\x03").await.unwrap();
    assert_eq!(read_packet(&mut stream).await[..5], *b"\x02\0\0\0\x03");
    stream.write_all(&open_packet(b"/inbox/M\xfcller.csv", 0x1a)).await.unwrap();
    let answer = read_packet(&mut stream).await;
    assert_eq!(answer[..9], *b"\x65\0\0\0\x01\0\0\0\x04");
    assert!(String::from_utf8_lossy(&answer).contains("the file name is not valid UTF-8"));
    stream.write_all(&open_packet(b"/media/M\xfcller.jpg", 0x1a)).await.unwrap();
    assert_eq!(read_packet(&mut stream).await[0], 102);
    stream.write_all(b"\0\0\0\x0a\x04\0\0\0\x02\0\0\0\x010").await.unwrap();
    assert_eq!(read_packet(&mut stream).await[..9], *b"\x65\0\0\0\x02\0\0\0\0");
    let entry = std::fs::read_dir(house.path("media")).unwrap().next().unwrap().unwrap();
    assert_eq!(entry.file_name().into_encoded_bytes(), b"M\xfcller.jpg");
    // What is no SFTP ends the channel.
    stream.write_all(b"\xff\xff\xff\xff").await.unwrap();
    let end = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    assert_eq!(end.expect("the channel ends").unwrap(), 0);

    let client = client(&house).await;
    let (code, sentence) = refusal(client.create(&format!("/inbox/{}", "a".repeat(201))).await);
    assert_eq!(code, StatusCode::Failure);
    assert_eq!(sentence, "the file name is longer than 200 bytes: rename it, shorter");
    assert!(refusal(client.create("/inbox/a\nb").await).1.contains("control character"));
}

fn open_packet(path: &[u8], flags: u8) -> Vec<u8> {
    let mut body = b"\x03\0\0\0\x01".to_vec();
    body.extend_from_slice(&(path.len() as u32).to_be_bytes());
    body.extend_from_slice(path);
    body.extend_from_slice(&[0, 0, 0, flags, 0, 0, 0, 0]);
    let mut packet = (body.len() as u32).to_be_bytes().to_vec();
    packet.append(&mut body);
    packet
}

async fn read_packet(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let read = async {
        let length = stream.read_u32().await.unwrap();
        let mut body = vec![0; length as usize];
        stream.read_exact(&mut body).await.unwrap();
        body
    };
    tokio::time::timeout(PATIENCE, read).await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn huge_offsets_and_holes_are_refused() {
    let house = House::open();
    let client = client(&house).await;
    for offset in [1 << 30, 1 << 40, u64::MAX] {
        let handle = client.create("/inbox/a.csv").await.unwrap();
        assert!(client.sftp.write(&handle, offset, vec![1]).await.is_err());
        assert!(client.sftp.close(handle).await.is_err());
    }
    let handle = client.create("/inbox/a.csv").await.unwrap();
    client.sftp.write(&handle, 100, vec![1]).await.unwrap();
    assert!(refusal(client.sftp.close(handle).await).1.contains("never arrived"));
    assert_eq!(*house.recorded.lock().unwrap(), []);
    assert!(!house.path("inbox/a.csv").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_log_in_is_cut() {
    let limits = Limits { login_grace: Duration::from_millis(300), ..Limits::default() };
    let house = House::with(TlsMode::Required, limits);
    for address in [house.sftp, house.ftp] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        // The greeting, then nothing until the connection is cut.
        let mut greeting = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut greeting)).await;
        read.expect("the connection is cut").unwrap();
        assert!(!greeting.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_is_refused() {
    let limits = Limits { connections_per_address: 1, ..Limits::default() };
    let house = House::with(TlsMode::Required, limits);
    let _inside = login(&house).await;
    let mut stream = tokio::net::TcpStream::connect(house.ftp).await.unwrap();
    let mut greeting = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut greeting)).await;
    assert_eq!(read.expect("the connection is closed").unwrap_or(0), 0);
    let refused = house.counters.snapshot().refused().map(|(_, count)| count).sum::<u64>();
    assert_eq!(refused, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_waits_for_the_upload_under_way() {
    let house = House::open();
    let client = client(&house).await;
    let handle = client.create("/inbox/last.csv").await.unwrap();
    client.sftp.write(&handle, 0, b"last".to_vec()).await.unwrap();
    house.token.cancel();
    client.sftp.write(&handle, 4, b" words".to_vec()).await.unwrap();
    client.sftp.close(handle).await.unwrap();
    let folder = house.close().await;
    let path = folder.path().join("tenants/acme/inbox/last.csv");
    assert_eq!(std::fs::read(path).unwrap(), b"last words");
}

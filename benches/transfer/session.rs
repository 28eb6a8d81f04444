//! A small SFTP client, for many sessions in one process.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{self, Msg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{ChannelStream, Disconnect, Preferred, cipher, kex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::servers::Server;

/// A server that does not answer in this time hangs.
const PATIENCE: Duration = Duration::from_secs(300);
/// WRITE requests under way, and the bytes in each: those of most clients.
const WRITES_AHEAD: usize = 64;
const WRITE_BYTES: usize = 32 << 10;
/// More than can ever wait: russh's client stands still when this queue is full while it writes.
const ANSWERS_QUEUED_MAX: usize = 10_000;

/// Who logs in where.
#[derive(Clone)]
pub struct Account {
    address: (&'static str, u16),
    user: &'static str,
    key: PrivateKeyWithHashAlg,
    config: Arc<client::Config>,
    folder: String,
}

pub struct AnyServer;

impl client::Handler for AnyServer {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

impl Account {
    pub fn of(server: &Server, key: &Path) -> Account {
        let key = russh::keys::load_secret_key(key, None).unwrap();
        // The same algorithms with every server.
        let preferred = Preferred {
            kex: vec![kex::CURVE25519, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT].into(),
            cipher: vec![cipher::AES_128_GCM].into(),
            ..Preferred::DEFAULT
        };
        Account {
            address: ("127.0.0.1", server.ssh_port),
            user: server.user,
            key: PrivateKeyWithHashAlg::new(Arc::new(key), None),
            config: Arc::new(client::Config {
                preferred,
                nodelay: true,
                channel_buffer_size: ANSWERS_QUEUED_MAX,
                ..Default::default()
            }),
            folder: server.sftp_folder.clone(),
        }
    }

    /// Connects and logs in.
    pub async fn log_in(&self) -> client::Handle<AnyServer> {
        let logged_in = async {
            let mut ssh = client::connect(self.config.clone(), self.address, AnyServer).await?;
            assert!(ssh.authenticate_publickey(self.user, self.key.clone()).await?.success());
            Ok::<_, russh::Error>(ssh)
        };
        timeout(PATIENCE, logged_in).await.unwrap().unwrap()
    }

    /// Connects, logs in and begins SFTP.
    pub async fn session(&self) -> Session {
        let ssh = self.log_in().await;
        let channel = ssh.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        let (stream, folder) = (channel.into_stream(), self.folder.clone());
        let mut session = Session { stream, ssh, folder, id: 0 };
        let answer = session.ask(&[1, 0, 0, 0, 3]).await;
        assert_eq!(answer[0], 2, "no SFTP version");
        session
    }
}

/// One SFTP session.
pub struct Session {
    stream: ChannelStream<Msg>,
    ssh: client::Handle<AnyServer>,
    folder: String,
    id: u32,
}

impl Session {
    /// Uploads `parts` times the same bytes into one file.
    pub async fn put(&mut self, name: &str, part: &[u8], parts: usize) {
        let handle = self.create(name).await;
        self.write(&handle, part, parts).await;
        self.close(&handle).await;
    }

    pub async fn create(&mut self, name: &str) -> Vec<u8> {
        const WRITE_CREATE_TRUNCATE: u32 = 0x1a;
        self.open(name, WRITE_CREATE_TRUNCATE).await
    }

    pub async fn write(&mut self, handle: &[u8], part: &[u8], parts: usize) {
        let mut waiting = 0;
        let mut offset = 0u64;
        for piece in (0..parts).flat_map(|_| part.chunks(WRITE_BYTES)) {
            if waiting == WRITES_AHEAD {
                self.expect_ok().await;
                waiting -= 1;
            }
            let body = [&string(handle)[..], &offset.to_be_bytes(), &string(piece)].concat();
            self.send(6, &body).await;
            offset += piece.len() as u64;
            waiting += 1;
        }
        for _ in 0..waiting {
            self.expect_ok().await;
        }
    }

    pub async fn close(&mut self, handle: &[u8]) {
        self.send(4, &string(handle)).await;
        self.expect_ok().await;
    }

    /// Downloads a small file.
    pub async fn get(&mut self, name: &str) -> Vec<u8> {
        let handle = self.open(name, 1).await;
        let from_start = [&string(&handle)[..], &0u64.to_be_bytes(), &65_536u32.to_be_bytes()];
        self.send(5, &from_start.concat()).await;
        let answer = self.answer().await;
        assert_eq!(answer[0], 103, "no data");
        self.close(&handle).await;
        answer[9..].to_vec()
    }

    pub async fn stat(&mut self, name: &str) {
        let path = format!("{}/{name}", self.folder);
        self.send(17, &string(path.as_bytes())).await;
        assert_eq!(self.answer().await[0], 105, "no attributes");
    }

    pub async fn end(self) {
        self.ssh.disconnect(Disconnect::ByApplication, "", "").await.unwrap();
    }

    async fn open(&mut self, name: &str, flags: u32) -> Vec<u8> {
        let path = format!("{}/{name}", self.folder);
        let no_attributes = 0u32.to_be_bytes();
        let body = [&string(path.as_bytes())[..], &flags.to_be_bytes(), &no_attributes].concat();
        self.send(3, &body).await;
        let answer = self.answer().await;
        assert_eq!(answer[0], 102, "not opened: {}", String::from_utf8_lossy(&answer));
        answer[9..].to_vec()
    }

    async fn expect_ok(&mut self) {
        let answer = self.answer().await;
        assert_eq!((answer[0], &answer[5..9]), (101, &[0; 4][..]), "{answer:?}");
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        self.id += 1;
        self.write_packet(&[&[kind], &self.id.to_be_bytes()[..], body].concat()).await;
    }

    async fn write_packet(&mut self, packet: &[u8]) {
        timeout(PATIENCE, self.stream.write_all(&string(packet))).await.unwrap().unwrap();
    }

    async fn ask(&mut self, packet: &[u8]) -> Vec<u8> {
        self.write_packet(packet).await;
        self.answer().await
    }

    async fn answer(&mut self) -> Vec<u8> {
        let read = async {
            let length = self.stream.read_u32().await?;
            let mut packet = vec![0; length as usize];
            self.stream.read_exact(&mut packet).await?;
            Ok::<_, std::io::Error>(packet)
        };
        timeout(PATIENCE, read).await.expect("an answer in time").unwrap()
    }
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// Many sessions, opened a few at a time.
pub async fn crowd(account: &Account, count: usize) -> Vec<Session> {
    const AT_ONCE: usize = 32;
    let mut sessions = Vec::with_capacity(count);
    let mut opening = VecDeque::new();
    for _ in 0..count {
        if opening.len() == AT_ONCE {
            let opened: tokio::task::JoinHandle<Session> = opening.pop_front().unwrap();
            sessions.push(opened.await.unwrap());
        }
        let account = account.clone();
        opening.push_back(tokio::spawn(async move { account.session().await }));
    }
    for opened in opening {
        sessions.push(opened.await.unwrap());
    }
    sessions
}

//! The partner: an SFTP client like any other.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use russh::client;
use russh::keys::{PrivateKey, PublicKey, PublicKeyOrCertificate};
use russh_sftp::client::SftpSession;
use tokio::io::AsyncWriteExt;

use super::house::{ACCOUNT, DoorAddresses, House};

/// A session of the demo's account.
pub(super) struct Partner {
    sftp: SftpSession,
    /// The connection lives as long as this.
    _ssh: client::Handle<KnownHost>,
}

/// Trusts the key that the daemon keeps in its `data_dir`, and no other.
struct KnownHost(PublicKey);

impl client::Handler for KnownHost {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        Ok(matches!(key, PublicKeyOrCertificate::PublicKey { key, .. } if *key == self.0))
    }
}

impl Partner {
    pub(super) async fn connect(house: &House, doors: &DoorAddresses) -> anyhow::Result<Partner> {
        let known = KnownHost(host_key(&house.data_dir().join("ssh_host_ed25519_key"))?);
        let config = client::Config { nodelay: true, ..client::Config::default() };
        let ssh = client::connect(Arc::new(config), doors.sftp, known);
        let mut ssh = ssh.await.context("connect over SSH")?;
        let login = ssh.authenticate_password(ACCOUNT, &house.password);
        if !login.await.context("log in")?.success() {
            bail!("the password is refused");
        }
        let channel = ssh.channel_open_session().await.context("open a channel")?;
        channel.request_subsystem(true, "sftp").await.context("ask for SFTP")?;
        let sftp = SftpSession::new(channel.into_stream()).await.context("begin SFTP")?;
        Ok(Partner { sftp, _ssh: ssh })
    }

    pub(super) async fn put(&self, path: &str, bytes: &[u8]) -> anyhow::Result<()> {
        let upload = async {
            let mut file = self.sftp.create(path).await?;
            file.write_all(bytes).await?;
            file.close().await?;
            anyhow::Ok(())
        };
        upload.await.with_context(|| format!("upload {path}"))
    }

    pub(super) async fn list(&self, folder: &str) -> anyhow::Result<BTreeSet<String>> {
        let entries = self.sftp.read_dir(folder).await;
        let entries = entries.with_context(|| format!("list {folder}"))?;
        Ok(entries.map(|entry| entry.file_name()).collect())
    }

    /// The rows of an answer.
    pub(super) async fn answer(&self, path: &str) -> anyhow::Result<Vec<Row>> {
        let bytes = self.sftp.read(path).await.with_context(|| format!("read {path}"))?;
        rows(&bytes).with_context(|| format!("parse {path}"))
    }
}

/// A row of an answer, by column name.
pub(super) type Row = std::collections::HashMap<String, String>;

fn rows(bytes: &[u8]) -> anyhow::Result<Vec<Row>> {
    csv::Reader::from_reader(bytes).deserialize().map(|row| Ok(row?)).collect()
}

fn host_key(file: &Path) -> anyhow::Result<PublicKey> {
    let text = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Ok(PrivateKey::from_openssh(text).context("parse the host key")?.public_key().clone())
}

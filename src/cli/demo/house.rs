//! The temporary folder with its configuration, and the ways in.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;

use super::super::password;
use crate::app::App;
use crate::world::World;

pub(super) const ACCOUNT: &str = "demo";

const CONFIG: &str = include_str!("../../../fixtures/demo/dropchute.toml");

/// Everything that goes when the demo ends.
pub(super) struct House {
    folder: tempfile::TempDir,
    pub(super) password: String,
}

/// Where the daemon listens.
#[derive(Debug, Clone, Copy)]
pub(super) struct DoorAddresses {
    pub(super) sftp: SocketAddr,
    pub(super) ftp: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl House {
    /// Makes the folder, dices a password and writes the configuration.
    pub(super) fn build(world: &World, smtp: SocketAddr) -> anyhow::Result<House> {
        let folder = tempfile::Builder::new().prefix("dropchute-demo-").tempdir();
        let house = House {
            folder: folder.context("make a temporary folder")?,
            password: world.dice.token(6),
        };
        let hash = password::hash(house.password.as_bytes(), world)?;
        let config = CONFIG
            .replace("= SMTP_PORT", &format!("= {}", smtp.port()))
            .replace("\"PASSWORD_HASH\"", &format!("\"{hash}\""));
        std::fs::write(house.config_file(), config).context("write the configuration")?;
        Ok(house)
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.folder.path().join("dropchute.toml")
    }

    pub(super) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// What the partner sees as `/`, from the operator's side.
    pub(super) fn tenant_folder(&self) -> PathBuf {
        self.data_dir().join("tenants/demo")
    }

    pub(super) fn doors(&self, app: &App) -> anyhow::Result<DoorAddresses> {
        let of = |door| app.addresses().iter().find(|(name, _)| *name == door).map(|found| found.1);
        Ok(DoorAddresses {
            sftp: of("sftp").context("no SFTP door")?,
            ftp: of("ftp").context("no FTP door")?,
            admin: app.admin_address().context("no admin port")?,
        })
    }

    /// Commands that work as they are printed, and where to look.
    pub(super) fn things_to_try(&self, doors: &DoorAddresses) -> String {
        let (password, sftp) = (&self.password, doors.sftp.port());
        let (ftp, admin) = (doors.ftp, doors.admin);
        let program = std::env::current_exe().unwrap_or_else(|_| "dropchute".into());
        let program = program.display();
        let (config, folder) = (self.config_file(), self.tenant_folder());
        let (config, folder) = (config.display(), folder.display());
        format!(
            "\
The daemon stays up: now you are the partner. Account {ACCOUNT}, password {password}

Send a message of your own, over FTPS (the second time it is a DUPLICATE):
  printf 'email,subject,text\\nyou@example.com,Hello,It works.\\n' | curl -sS --ssl-reqd --insecure \
-u {ACCOUNT}:{password} -T - ftp://{ftp}/inbox/messages_hello.csv

Collect the answers, over FTPS:
  lftp -c 'set ssl:verify-certificate no; set ftp:ssl-force yes; open -u {ACCOUNT},{password} \
ftp://{ftp}; cls -1 outbox; cat outbox/messages_demo.csv.result.csv'

Look around, over SFTP (give the password; then ls, get, put):
  sftp -P {sftp} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
-o PubkeyAuthentication=no {ACCOUNT}@127.0.0.1

As the operator:
  {program} --config {config} batch list
  curl -sS http://{admin}/metrics
  ls -R {folder}

Everything is removed on Ctrl-C. Mail that arrives is shown here:"
        )
    }
}

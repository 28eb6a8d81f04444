//! Secrets: read from files or systemd credentials, never from the configuration itself.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::problem::Complaint;
use super::section::Item;
use super::value;
use crate::channel::Secret;

/// Longest secret file that is read, in bytes.
const SECRET_MAX_BYTES: u64 = 64 * 1024;
/// Before the name of a systemd credential.
const CREDENTIAL: &str = "credential:";

/// Where relative paths and credentials are found.
#[derive(Debug, Clone)]
pub(super) struct Places {
    /// The folder of the main configuration file.
    pub(super) base: PathBuf,
    /// systemd's `$CREDENTIALS_DIRECTORY`, where the service has one.
    pub(super) credentials: Option<PathBuf>,
}

impl Places {
    /// A path as configured, relative to the configuration file.
    pub(super) fn path(&self, item: &Item<'_>) -> Result<PathBuf, Complaint> {
        Ok(self.base.join(value::word(item)?))
    }

    /// The text of a secret, without its last line end.
    pub(super) fn secret(&self, item: &Item<'_>) -> Result<Secret, Complaint> {
        self.secret_text(item).map(Secret::new)
    }

    /// The same where it is more than a text that is sent on.
    pub(super) fn secret_text(&self, item: &Item<'_>) -> Result<String, Complaint> {
        let name = value::word(item)?;
        let path = match name.strip_prefix(CREDENTIAL) {
            // systemd keeps credentials in a folder that only the service can enter.
            Some(credential) => self.credential(credential)?,
            None => {
                let path = self.base.join(&name);
                check_private(&path)?;
                path
            }
        };
        let bytes = read_bounded(&path)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Complaint::new("holds bytes that are not UTF-8 text"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(
                Complaint::new("names an empty file").allowed("a file that holds the secret")
            );
        }
        Ok(text.to_owned())
    }

    fn credential(&self, name: &str) -> Result<PathBuf, Complaint> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Complaint::new("names no credential")
                .allowed("\"credential:<name>\", the name without \"/\""));
        }
        let folder = self.credentials.as_ref().ok_or_else(|| {
            Complaint::new("needs systemd credentials, and $CREDENTIALS_DIRECTORY is not set")
                .hint(format!("add `LoadCredential={name}:<file>` to the unit, or name a file"))
        })?;
        Ok(folder.join(name))
    }
}

/// Refuses a secret file that is no file, or that every user of the machine may read.
pub(super) fn check_private(path: &Path) -> Result<(), Complaint> {
    let file = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !file.is_file() {
        return Err(Complaint::new("is not a file").allowed("a file that holds the secret"));
    }
    if file.permissions().mode() & 0o006 != 0 {
        return Err(Complaint::new("is open to every user of the machine")
            .hint(format!("chmod 0640 {}", path.display())));
    }
    Ok(())
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, Complaint> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SECRET_MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > SECRET_MAX_BYTES {
        return Err(Complaint::new(format!("is larger than {SECRET_MAX_BYTES} bytes")));
    }
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Complaint {
    Complaint::new(format!("cannot be read: {error} ({})", path.display()))
}

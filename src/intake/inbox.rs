//! One look through a tenant's inbox.

use std::io;
use std::os::unix::fs::FileExt;

use super::IntakeError;
use super::identify::identify;
use super::pairs::InboxFile;
use super::settings::{MinProof, ProfileSettings, TenantSettings};
use crate::files::{Entry, EntryKind, RelPath, Root, is_temporary_name};
use crate::model::{FileVersion, Kind, Proof};
use crate::records::{TAIL_BYTES, ends_with_trailer};
use crate::store::Store;

/// Longest name that can be answered, in bytes.
const NAME_MAX_BYTES: usize = 200;

/// What lies in an inbox and its kind folders.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pub(super) files: Vec<InboxFile>,
    /// Names that cannot be answered: not UTF-8, too long, or with control characters.
    pub(super) unanswerable: Vec<(String, FileVersion)>,
}

impl Inbox {
    pub(super) fn look(
        tree: &Root,
        store: &Store,
        tenant: &TenantSettings,
    ) -> Result<Inbox, IntakeError> {
        let failed = |source| IntakeError::Inbox { tenant: tenant.id.to_string(), source };
        let mut folders = vec!["inbox".to_owned()];
        folders.extend(Kind::ALL.iter().map(|kind| format!("inbox/{kind}")));
        let mut inbox = Inbox::default();
        for folder in folders {
            let entries = match tree.entries(&RelPath::of(&folder)) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            for entry in entries {
                if entry.kind != EntryKind::File || is_temporary_name(&entry.name) {
                    continue;
                }
                let Some(name) = answerable(&entry) else {
                    let name = String::from_utf8_lossy(&entry.name);
                    inbox.unanswerable.push((format!("{folder}/{name}"), entry.version));
                    continue;
                };
                if tenant.temporary.iter().any(|pattern| pattern.is_match(name)) {
                    continue;
                }
                let path = format!("{folder}/{name}");
                let evidence = store.upload(&tenant.id, &path)?;
                let trailer = asks_for_trailer(profile_of(tenant, &path))
                    && has_trailer(tree, &path, entry.version.bytes).map_err(failed)?;
                inbox.files.push(InboxFile { path, version: entry.version, evidence, trailer });
            }
        }
        Ok(inbox)
    }
}

/// How a file at this path is taken.
pub(super) fn profile_of<'a>(tenant: &'a TenantSettings, path: &str) -> &'a ProfileSettings {
    identify(tenant, path).map_or(&tenant.plain, |identity| identity.profile)
}

fn answerable(entry: &Entry) -> Option<&str> {
    let name = std::str::from_utf8(&entry.name).ok()?;
    (name.len() <= NAME_MAX_BYTES && !name.chars().any(char::is_control)).then_some(name)
}

/// Whether a file may have to wait for its trailer; else it is found when the file is read.
fn asks_for_trailer(profile: &ProfileSettings) -> bool {
    match profile.only_proof {
        Some(only) => only == Proof::Trailer,
        None => profile.min_proof > MinProof::Weak,
    }
}

fn has_trailer(tree: &Root, path: &str, bytes: u64) -> io::Result<bool> {
    let file = match tree.read_file(&RelPath::of(path)) {
        // Gone, or replaced by something else: the next look tells.
        Err(_) => return Ok(false),
        Ok(file) => file,
    };
    let tail_bytes = bytes.min(TAIL_BYTES);
    let mut tail = vec![0; tail_bytes as usize];
    match file.read_exact_at(&mut tail, bytes - tail_bytes) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        result => result.map(|()| ends_with_trailer(&tail)),
    }
}

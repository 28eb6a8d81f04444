//! One look through a tenant's inbox.

use std::io;
use std::os::unix::fs::FileExt;

use jiff::Timestamp;

use super::IntakeError;
use super::concluding::Desk;
use super::identify::identify;
use super::pairs::InboxFile;
use super::ready::Trailers;
use super::settings::{MinProof, ProfileSettings, TenantSettings};
use crate::codes::ReasonCode;
use crate::files::{Entry, EntryKind, RelPath, Root, is_temporary_name};
use crate::model::{FileVersion, Kind, Notice, Proof, Realm, TenantId};
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
    /// What was looked for at the ends of files.
    pub(super) trailers: Trailers,
}

impl Inbox {
    /// `known` is what the look before found at the ends of files.
    pub(super) fn look(
        tree: &Root,
        store: &Store,
        tenant: &TenantSettings,
        realm: Realm,
        known: &Trailers,
    ) -> Result<Inbox, IntakeError> {
        let failed = |source| IntakeError::Inbox { tenant: tenant.id.to_string(), source };
        let top = format!("{}inbox", realm.root());
        let mut folders = vec![top.clone()];
        folders.extend(Kind::ALL.iter().map(|kind| format!("{top}/{kind}")));
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
                let mut file = InboxFile { path, version: entry.version, evidence, trailer: false };
                if asks_for_trailer(profile_of(tenant, &file.path)) {
                    file.trailer = match known.get(&file.path) {
                        Some((version, found)) if *version == file.version => *found,
                        _ => has_trailer(tree, &file.path, file.version.bytes).map_err(failed)?,
                    };
                    inbox.trailers.insert(file.path.clone(), (file.version, file.trailer));
                }
                inbox.files.push(file);
            }
        }
        Ok(inbox)
    }
}

impl Desk {
    /// Says of a file that came another road that it cannot be answered and is never taken.
    pub(super) fn note_unanswerable(
        &self,
        tenant: &TenantId,
        path: &str,
        version: FileVersion,
        now: Timestamp,
    ) -> Result<(), IntakeError> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let message = "the file is never taken, since its name cannot be answered".to_owned();
        let notice =
            Notice::warning(now, ReasonCode::FileNameInvalid, name, message).in_realm_of(path);
        let about = format!("{} {}", version.inode, version.modified_ns);
        // Names too long to be remembered whole are told apart by their beginnings.
        let what = format!("name {}", path.get(..path.floor_char_boundary(300)).unwrap_or(path));
        if self.store.notice_once(tenant, &notice, &what, &about)? {
            tracing::warn!(%tenant, path = ?path,
                "file in an inbox has a name that cannot be answered; it is never taken");
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing;
    use crate::store::SimulatedDisk;

    #[test]
    fn the_end_of_a_file_is_read_once_a_version() {
        let data = tempfile::tempdir().unwrap();
        std::fs::create_dir(data.path().join("inbox")).unwrap();
        std::fs::write(data.path().join("inbox/a.csv"), "phone\n#EOF\n").unwrap();
        let tree = Root::open(data.path()).unwrap();
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let mut tenant = testing::tenant("acme");
        tenant.plain.min_proof = MinProof::Strong;
        let look =
            |known: &Trailers| Inbox::look(&tree, &store, &tenant, Realm::Real, known).unwrap();
        let first = look(&Trailers::default());
        let version = first.files[0].version;
        assert!(first.files[0].trailer);
        assert_eq!(first.trailers["inbox/a.csv"], (version, true));
        // What is known of this version is believed, of another one it is not.
        let known = |version| Trailers::from([("inbox/a.csv".to_owned(), (version, false))]);
        assert!(!look(&known(version)).files[0].trailer);
        assert!(look(&known(FileVersion { bytes: 3, ..version })).files[0].trailer);
    }
}

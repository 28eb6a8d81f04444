//! The pages of `/spec`: written by the program, read by partners.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::{EntryKind, RelPath, Root};
use crate::faults::{self, FileAct};
use crate::model::TenantId;

/// Nobody writes into a page but who replaces it.
const PAGE_MODE: u32 = 0o440;
const FOLDER: &str = "spec";
const SAMPLES: &str = "spec/samples";

/// Brings a tenant's `/spec` to these pages: each appears whole, and what is no page any more goes.
///
/// Nothing is synced: every start writes what differs, and a partner who reads meanwhile sees a page as
/// it was or as it is.
pub fn publish_spec(
    data_dir: &Path,
    tenant: &TenantId,
    pages: &BTreeMap<String, Vec<u8>>,
) -> io::Result<()> {
    let root = Root::open(&data_dir.join("tenants").join(tenant.as_str()))?;
    root.make_folders(&RelPath::of(SAMPLES))?;
    for (name, bytes) in pages {
        let path = RelPath::of(&format!("{FOLDER}/{name}"));
        if !holds(&root, &path, bytes)? {
            write(&root, &path, bytes)?;
        }
    }
    for folder in [FOLDER, SAMPLES] {
        for entry in root.entries(&RelPath::of(folder))? {
            let path = RelPath::of(folder).join(&entry.name);
            let name = String::from_utf8_lossy(&path.to_bytes()[FOLDER.len() + 1..]).into_owned();
            if entry.kind == EntryKind::File && !pages.contains_key(&name) {
                root.remove_file(&path)?;
            }
        }
    }
    Ok(())
}

fn holds(root: &Root, path: &RelPath, bytes: &[u8]) -> io::Result<bool> {
    let file = match root.read_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        result => result?,
    };
    let mut there = Vec::with_capacity(bytes.len());
    file.take(bytes.len() as u64 + 1).read_to_end(&mut there)?;
    Ok(there == bytes)
}

fn write(root: &Root, path: &RelPath, bytes: &[u8]) -> io::Result<()> {
    let name = path.name().unwrap_or_default();
    let hidden = path.parent().join(&[b".", name].concat());
    // What a crash left may be read-only.
    match root.remove_file(&hidden) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut file = root.open_file(&hidden, flags, 0o640)?;
    faults::before(FileAct::Write(file.as_fd()))?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(PAGE_MODE))?;
    root.rename(&hidden, root, path, true)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn spec_holds_its_pages_read_only_and_nothing_else() {
        let data = tempfile::tempdir().unwrap();
        let spec = data.path().join("tenants/acme/spec");
        fs::create_dir_all(&spec).unwrap();
        fs::write(spec.join("old.csv"), "of another version").unwrap();
        fs::write(spec.join(".README.txt"), "left by a crash").unwrap();
        let tenant = "acme".parse().unwrap();
        let mut pages = BTreeMap::from([
            ("README.txt".to_owned(), b"one".to_vec()),
            ("samples/a.csv".to_owned(), b"a".to_vec()),
            ("samples/b.csv".to_owned(), b"b".to_vec()),
        ]);
        publish_spec(data.path(), &tenant, &pages).unwrap();
        assert_eq!(files(&spec), ["README.txt", "samples"]);
        assert_eq!(files(&spec.join("samples")), ["a.csv", "b.csv"]);
        let mode = fs::metadata(spec.join("README.txt")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o440);

        let before = fs::metadata(spec.join("samples/a.csv")).unwrap().modified().unwrap();
        pages.remove("samples/b.csv");
        pages.insert("README.txt".to_owned(), b"two".to_vec());
        publish_spec(data.path(), &tenant, &pages).unwrap();
        assert_eq!(fs::read(spec.join("README.txt")).unwrap(), b"two");
        assert_eq!(files(&spec.join("samples")), ["a.csv"]);
        let after = fs::metadata(spec.join("samples/a.csv")).unwrap().modified().unwrap();
        assert_eq!(after, before, "a page that says the same is not written again");
    }
}

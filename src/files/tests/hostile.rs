//! Every path that clients have sent, given to everything that takes a path: nothing outside the
//! tenant's tree is read, listed, examined or changed, and nobody learns what is there.

#[path = "../../../fixtures/paths.rs"]
#[allow(unreachable_pub, reason = "shared with the tests over the wire")]
mod paths;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const CANARY: &str = "CANARY of the neighbour";

/// A disk with links planted in the tenant's tree; with or without a neighbour.
fn planted(neighbour: bool) -> Disk {
    let disk = Disk::new();
    let tenants = disk.folder.path().join("tenants");
    let acme2 = tenants.join("acme2");
    if neighbour {
        for file in ["inbox/canary.csv", "media/canary.bin", "outbox/canary.ack.csv"] {
            fs::create_dir_all(acme2.join(file).parent().unwrap()).unwrap();
            fs::write(acme2.join(file), CANARY).unwrap();
        }
        for file in ["store/db", "ssh_host_ed25519_key", "uploads/acme2/canary"] {
            let path = disk.folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, CANARY).unwrap();
        }
    }
    fs::create_dir_all(disk.real("media/dir")).unwrap();
    for (to, link) in [
        ("../../acme2/inbox", "inbox/link"),
        ("../../acme2/inbox/canary.csv", "inbox/link.csv"),
        ("../../acme2/media", "media/link"),
        ("../../../acme2/media", "media/dir/link"),
        ("..", "media/up"),
        ("../..", "media/upper"),
        ("loop", "media/loop"),
        (".", "media/self"),
        ("../../acme2/outbox/canary.ack.csv", "outbox/link.csv"),
        ("../../acme2/outbox", "outbox/link"),
        ("../../acme2/inbox", "archive/link"),
        ("../../../acme2/inbox", "archive/accepted/link"),
        ("../../acme2/inbox/canary.csv", "spec/link"),
        ("/proc", "media/proc"),
        ("/", "media/abs"),
    ] {
        symlink(to, disk.real(link)).unwrap();
    }
    fs::write(disk.real("inbox/a.csv"), "own").unwrap();
    disk
}

/// All that lies outside the tenant's own folders, with its content.
fn outside(disk: &Disk) -> BTreeMap<PathBuf, (u64, (i64, i64), Vec<u8>)> {
    let own = [disk.real(""), disk.folder.path().join("uploads/acme")];
    let mut found = BTreeMap::new();
    let mut folders = vec![disk.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            if about.is_dir() && !own.iter().any(|own| path.starts_with(own)) {
                folders.push(path.clone());
            }
            let content = if about.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let times = (about.mtime(), about.mtime_nsec());
            found
                .insert(path, (about.ino(), if about.is_file() { times } else { (0, 0) }, content));
        }
    }
    found
}

/// Does everything there is to do with a path; what came of it, in words.
fn try_everything(home: &Home, path: &RelPath) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |act: &str, result: Result<String, HomeError>| {
        let said = match result {
            Ok(text) => text,
            Err(error) => error.to_string(),
        };
        assert!(!said.contains(CANARY) && !said.contains("canary"), "{act} {path:?}: {said}");
        words.push(format!("{act}: {said}"));
    };
    let names = |entries: Vec<Entry>| {
        let shown =
            entries.iter().map(|e| format!("{:?} {:?}", RelPath::root().join(&e.name), e.kind));
        shown.collect::<Vec<_>>().join(", ")
    };
    let content = |mut file: fs::File| {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let put = |path: &RelPath, start| {
        let mut upload = home.begin_upload(path, start)?;
        upload.write_at(upload.length(), b"mine")?;
        upload.finish().map(|_| "put".to_owned())
    };
    let to = RelPath::of("media/away");
    say("stat", home.stat(path).map(|entry| format!("{:?}", entry.kind)));
    say("list", home.list(path).map(names));
    say("open", home.open(path).and_then(content));
    say("attributes", home.set_attributes(path).map(|()| String::new()));
    say("time", home.set_modified(path, jiff::Timestamp::UNIX_EPOCH).map(|()| String::new()));
    say("move away", home.rename(path, &to, true).map(|()| String::new()));
    say("moved", home.open(&to).and_then(content));
    say("continue", put(path, CONTINUE));
    say("put", put(path, UploadStart::FRESH));
    drop(home.begin_upload(path, UploadStart::FRESH).map(|mut upload| upload.write_at(0, b"cut")));
    say("move here", home.rename(&RelPath::of("inbox/a.csv"), path, false).map(|()| String::new()));
    say("read back", home.open(path).and_then(content));
    say("remove folder", home.remove_folder(path).map(|()| String::new()));
    say("make folder", home.make_folder(path).map(|()| String::new()));
    say("below", put(&path.join(b"below"), UploadStart::FRESH));
    say("remove", home.remove_file(path).map(|()| String::new()));
    words
}

#[test]
fn no_path_leads_out_or_tells_what_is_there() {
    let corpus = paths::corpus();
    assert!(corpus.len() >= 300, "{}", corpus.len());
    let (beside, alone) = (planted(true), planted(false));
    let before = [outside(&beside), outside(&alone)];
    for path in &corpus {
        for from in ["", "inbox", "media/dir"] {
            let Ok(path) = RelPath::of(from).resolve(path) else { continue };
            let said = try_everything(&beside.home, &path);
            assert_eq!(said, try_everything(&alone.home, &path), "{path:?}");
        }
    }
    assert!([outside(&beside), outside(&alone)] == before);
}

/// Ends the other thread, also where this one fails.
struct Stop<'d>(&'d AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_folder_swapped_for_a_link_in_the_middle_leads_nowhere() {
    let disk = planted(true);
    let before = outside(&disk);
    let (real, link) = (disk.real("media/swap"), disk.real("media/swap2"));
    fs::create_dir(&real).unwrap();
    fs::write(real.join("canary.bin"), "own").unwrap();
    symlink("../../acme2/media", &link).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let _stop = Stop(&done);
        threads.spawn(|| {
            use rustix::fs::{CWD, RenameFlags, renameat_with};
            while !done.load(Ordering::Relaxed) {
                renameat_with(CWD, &real, CWD, &link, RenameFlags::EXCHANGE).unwrap();
            }
        });
        let path = RelPath::of("media/swap/canary.bin");
        for _ in 0..3000 {
            if let Ok(mut file) = disk.home.open(&path) {
                let mut text = String::new();
                file.read_to_string(&mut text).unwrap();
                assert_ne!(text, CANARY);
            }
            if let Ok(entry) = disk.home.stat(&path) {
                assert_ne!(entry.version.bytes, CANARY.len() as u64);
            }
            let upload = disk.home.begin_upload(&path, UploadStart::FRESH);
            let _written_or_not = upload.and_then(|mut upload| {
                upload.write_at(0, b"mine")?;
                upload.finish()
            });
            let new = RelPath::of("media/swap/new");
            let _made_or_not = disk.home.make_folder(&new);
            let _gone_or_not = disk.home.remove_folder(&new);
        }
    });
    assert!(outside(&disk) == before);
}

#[test]
fn media_names_are_any_255_bytes_and_inbox_names_are_text() {
    let disk = Disk::new();
    let names: [&[u8]; 5] = [
        &[b'a'; 255],
        &[0xff; 255],
        b"M\xfcller \n\x1b[31m.png",
        "emoji \u{1f600}".as_bytes(),
        b"...",
    ];
    for name in names {
        let path = RelPath::of("media").join(name);
        let mut upload = disk.home.begin_upload(&path, UploadStart::FRESH).unwrap();
        upload.write_at(0, name).unwrap();
        upload.finish().unwrap();
        assert_eq!(disk.home.list(&RelPath::of("media")).unwrap()[0].name, name);
        let path = RelPath::of("inbox").join(name);
        if let Err(error) = disk.home.begin_upload(&path, UploadStart::FRESH) {
            assert!(matches!(error, HomeError::NameRefused(_)), "{error:?}");
            assert!(error.to_string().contains("rename it"), "{error}");
        } else {
            assert!(std::str::from_utf8(name).is_ok());
        }
        disk.home.remove_file(&RelPath::of("media").join(name)).unwrap();
    }
}

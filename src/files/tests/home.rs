//! What each part of the tree allows.

use super::*;

#[test]
fn a_finished_upload_is_there_and_recorded() {
    let disk = Disk::new();
    let evidence = disk.put("inbox/messages/a.csv", b"one").unwrap().unwrap();
    assert_eq!(evidence.path, "inbox/messages/a.csv");
    assert_eq!((evidence.proof, evidence.weak), (Proof::Close, false));
    assert_eq!(disk.recorded().as_slice(), std::slice::from_ref(&evidence));
    let path = RelPath::of("inbox/messages/a.csv");
    assert_eq!(disk.home.stat(&path).unwrap().version, evidence.version);
    assert_eq!(disk.hidden_files(), 0);
    assert!(disk.put("media/x.jpg", b"x").unwrap().is_none());
    assert_eq!(disk.recorded().len(), 1);
}

#[test]
fn an_upload_under_way_is_seen_and_the_older_file_stays() {
    let disk = Disk::new();
    let new = RelPath::of("inbox/new.csv");
    let mut upload = disk.home.begin_upload(&new, UploadStart::FRESH).unwrap();
    upload.write_at(0, b"12345").unwrap();
    assert!(disk.names("inbox").contains(&"new.csv".to_owned()));
    assert_eq!(disk.home.stat(&new).unwrap().version.bytes, 5);
    assert!(!disk.real("inbox/new.csv").exists());
    upload.finish().unwrap();
    assert_eq!(disk.hidden_files(), 0);

    disk.put("inbox/old.csv", b"whole").unwrap();
    let old = RelPath::of("inbox/old.csv");
    let mut upload = disk.home.begin_upload(&old, UploadStart::FRESH).unwrap();
    upload.write_at(0, b"1").unwrap();
    assert_eq!(disk.home.stat(&old).unwrap().version.bytes, 5);
    drop(upload);
    assert_eq!(read(disk.real("inbox/old.csv")), "whole");
}

#[test]
fn uploads_continue_on_a_copy() {
    let disk = Disk::new();
    disk.put("inbox/a.csv", b"0123456789").unwrap();
    let path = RelPath::of("inbox/a.csv");
    let keep = |keep, append| UploadStart { keep, append, ..UploadStart::FRESH };
    let mut upload = disk.home.begin_upload(&path, keep(Keep::First(4), false)).unwrap();
    upload.write_at(4, b"x").unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "0123456789");
    upload.finish().unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "0123x");
    let mut upload = disk.home.begin_upload(&path, keep(Keep::All, true)).unwrap();
    upload.write_at(0, b"yz").unwrap();
    upload.finish().unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "0123xyz");
    assert!(disk.home.begin_upload(&path, keep(Keep::First(8), false)).is_err());
}

#[test]
fn files_with_holes_or_beyond_the_limits_are_refused() {
    let disk = Disk::new();
    let path = RelPath::of("inbox/a.csv");
    let begin = || disk.home.begin_upload(&path, UploadStart::FRESH).unwrap();
    let mut upload = begin();
    upload.write_at(10, b"late").unwrap();
    assert!(matches!(upload.finish(), Err(HomeError::Incomplete)));
    let mut upload = begin();
    upload.write_at(4, b"5678").unwrap();
    upload.write_at(0, b"1234").unwrap();
    upload.finish().unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "12345678");
    for offset in [1 << 20, u64::MAX - 1, u64::MAX] {
        let mut upload = begin();
        assert!(matches!(upload.write_at(offset, b"x"), Err(HomeError::TooLarge { .. })));
        // The client may not notice and close calmly.
        assert!(matches!(upload.finish(), Err(HomeError::Incomplete)));
    }
    let mut upload = begin();
    upload.write_at(0, b"123").unwrap();
    upload.write_at(10, b"late").unwrap();
    upload.truncate(5).unwrap();
    assert!(matches!(upload.finish(), Err(HomeError::Incomplete)));
    begin().finish().unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "");

    let settings = TreeSettings { upload_max_bytes: 1 << 40, ..small() };
    let disk = Disk::with(settings, ALL_RIGHTS);
    let mut upload = disk.home.begin_upload(&path, UploadStart::FRESH).unwrap();
    assert!(matches!(upload.write_at(1 << 30, b"x"), Err(HomeError::Refused(_))));
}

#[test]
fn below_the_reserve_nothing_is_taken_but_all_else_goes_on() {
    let disk =
        Disk::with(TreeSettings { disk_reserve: 1.1, ..TreeSettings::default() }, ALL_RIGHTS);
    assert!(matches!(disk.put("inbox/a.csv", b"x"), Err(HomeError::DiskFull)));
    std::fs::write(disk.real("outbox/a.ack.csv"), "x").unwrap();
    disk.home.list(&RelPath::of("outbox")).unwrap();
    disk.home.remove_file(&RelPath::of("outbox/a.ack.csv")).unwrap();
}

#[test]
fn a_rename_from_a_temporary_name_is_strong_proof() {
    let disk = Disk::new();
    // The temporary name itself leaves no evidence that nobody would ever use up.
    assert_eq!(disk.put("inbox/a.csv.part", b"x").unwrap(), None);
    let rename =
        |from, to, replace| disk.home.rename(&RelPath::of(from), &RelPath::of(to), replace);
    rename("inbox/a.csv.part", "IN/a.csv", false).unwrap();
    let last = disk.recorded().pop().unwrap();
    assert_eq!((last.proof, last.path.as_str()), (Proof::Rename, "inbox/a.csv"));
    assert_eq!(last.version, disk.home.stat(&RelPath::of("inbox/a.csv")).unwrap().version);
    rename("inbox/a.csv", "inbox/messages/b.csv", false).unwrap();
    assert_eq!(disk.recorded().last().unwrap().proof, Proof::Close);
    disk.put("inbox/c.csv", b"y").unwrap();
    let kept = rename("inbox/c.csv", "inbox/messages/b.csv", false);
    assert!(matches!(kept, Err(HomeError::AlreadyThere)));
    rename("inbox/c.csv", "inbox/messages/b.csv", true).unwrap();
    assert_eq!(read(disk.real("inbox/messages/b.csv")), "y");
    for (from, to) in [
        ("inbox/messages/b.csv", "media/b.csv"),
        ("inbox/messages/b.csv", "outbox/b.csv"),
        ("inbox/messages/b.csv", "inbox/contacts"),
        ("inbox/messages", "inbox/new"),
        ("inbox", "media/inbox"),
        ("outbox/messages", "outbox/x"),
    ] {
        assert!(rename(from, to, true).is_err(), "{from} -> {to}");
    }
}

#[test]
fn each_part_of_the_tree_keeps_its_rules() {
    let disk = Disk::new();
    let top = ["IN", "Send_SMS", "archive", "inbox", "media", "outbox", "spec", "test"];
    assert_eq!(disk.names(""), top);
    disk.put("Send_SMS/a.csv", b"x").unwrap();
    assert_eq!(disk.names("inbox/messages"), ["a.csv"]);
    disk.home.make_folder(&RelPath::of("media/logos")).unwrap();
    let moved = disk.home.rename(&RelPath::of("media/logos"), &RelPath::of("media/logos/x"), true);
    assert!(matches!(moved, Err(HomeError::Refused(_))), "{moved:?}");
    disk.home.remove_folder(&RelPath::of("media/logos")).unwrap();
    for path in ["inbox/x", "outbox/x", "x", "spec/x", "inbox/messages/x", "test/x", "test/inbox/x"]
    {
        assert!(disk.home.make_folder(&RelPath::of(path)).is_err(), "{path}");
    }
    for path in
        ["inbox", "inbox/messages", "media", "outbox/messages", "spec", "", "test", "test/inbox"]
    {
        assert!(disk.home.remove_folder(&RelPath::of(path)).is_err(), "{path}");
    }
    std::fs::write(disk.real("spec/README.txt"), "x").unwrap();
    assert!(disk.home.remove_file(&RelPath::of("spec/README.txt")).is_err());
    disk.home.open(&RelPath::of("spec/README.txt")).unwrap();
    std::fs::create_dir(disk.real("private")).unwrap();
    for path in ["private", "test/private", "test/spec", "tenants"] {
        assert!(matches!(disk.home.list(&RelPath::of(path)), Err(HomeError::NotFound)));
    }
}

#[test]
fn tests_have_an_inbox_and_an_outbox_of_their_own() {
    let disk = Disk::new();
    std::fs::create_dir(disk.real("test/private")).unwrap();
    assert_eq!(disk.names("test"), ["inbox", "outbox"]);
    assert!(disk.names("test/inbox").contains(&"messages".to_owned()));
    disk.put("test/inbox/messages/a.csv", b"x").unwrap();
    disk.put("test/inbox/a.csv.part", b"x").unwrap();
    let rename =
        |from: &str, to: &str| disk.home.rename(&RelPath::of(from), &RelPath::of(to), false);
    rename("test/inbox/a.csv.part", "test/inbox/a.csv").unwrap();
    // What is tried out does not become what is meant, nor the other way round.
    disk.put("inbox/b.csv", b"x").unwrap();
    for (from, to) in [("test/inbox/a.csv", "inbox/a.csv"), ("inbox/b.csv", "test/inbox/b.csv")] {
        assert!(matches!(rename(from, to), Err(HomeError::Refused(_))), "{from}");
    }
    std::fs::write(disk.real("test/outbox/a.csv.ack.csv"), "x").unwrap();
    assert!(disk.put("test/outbox/b.csv", b"x").is_err());
    disk.home.remove_file(&RelPath::of("test/outbox/a.csv.ack.csv")).unwrap();
}

#[test]
fn rights_decide_over_dropping_and_collecting() {
    let dropper = Disk::with(small(), Rights { drop: true, ..Rights::default() });
    dropper.put("inbox/a.csv", b"x").unwrap();
    std::fs::write(dropper.real("outbox/a.ack.csv"), "x").unwrap();
    assert!(dropper.home.list(&RelPath::of("outbox")).is_err());
    assert!(dropper.home.open(&RelPath::of("outbox/a.ack.csv")).is_err());
    assert!(dropper.home.remove_file(&RelPath::of("outbox/a.ack.csv")).is_err());
    dropper.home.stat(&RelPath::of("outbox")).unwrap();
    dropper.put("test/inbox/a.csv", b"x").unwrap();
    assert!(dropper.home.list(&RelPath::of("test/outbox")).is_err());
    dropper.home.stat(&RelPath::of("test/outbox")).unwrap();

    let collector = Disk::with(small(), Rights { collect: true, ..Rights::default() });
    assert!(collector.put("inbox/a.csv", b"x").is_err());
    assert!(collector.put("media/a.jpg", b"x").is_err());
    assert!(collector.put("test/inbox/a.csv", b"x").is_err());
    collector.home.list(&RelPath::of("test/outbox")).unwrap();
    std::fs::write(collector.real("outbox/a.ack.csv"), "x").unwrap();
    assert_eq!(collector.home.list(&RelPath::of("outbox/messages")).unwrap(), []);
    collector.home.remove_file(&RelPath::of("outbox/a.ack.csv")).unwrap();
}

#[test]
fn links_are_shown_to_nobody() {
    let disk = Disk::new();
    std::os::unix::fs::symlink("/etc/passwd", disk.real("inbox/passwd")).unwrap();
    std::os::unix::fs::symlink("/etc", disk.real("media/etc")).unwrap();
    assert!(!disk.names("inbox").contains(&"passwd".to_owned()));
    assert_eq!(disk.names("media"), Vec::<String>::new());
    for path in ["inbox/passwd", "media/etc", "media/etc/passwd"] {
        let path = RelPath::of(path);
        assert!(disk.home.stat(&path).is_err(), "{path:?}");
        assert!(disk.home.open(&path).is_err(), "{path:?}");
        assert!(disk.home.remove_file(&path).is_err(), "{path:?}");
    }
    // An upload of the name replaces the link itself, never what it points to.
    assert!(disk.home.begin_upload(&RelPath::of("media/etc/x"), UploadStart::FRESH).is_err());
}

#[test]
fn a_new_process_sweeps_what_the_old_one_left() {
    let disk = Disk::new();
    std::fs::write(disk.folder.path().join("uploads/acme/left"), "x").unwrap();
    let journal: Journal = Arc::new(|_| Ok(()));
    let world = Arc::new(World::real());
    let (tenant, settings) = ("acme".parse().unwrap(), TreeSettings::default());
    TenantTree::open(disk.folder.path(), &tenant, settings, journal, world).unwrap();
    assert_eq!(disk.hidden_files(), 0);
}

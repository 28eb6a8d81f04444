//! Quotas, rights and suspension.

use super::*;

fn with_quota(bytes: Option<u64>, files: Option<u64>) -> Disk {
    Disk::with(TreeSettings { quota: Quota { bytes, files }, ..small() }, ALL_RIGHTS)
}

fn over(result: Result<impl std::fmt::Debug, HomeError>, of: &str) {
    match result {
        Err(HomeError::OverQuota { of: found, .. }) => assert_eq!(found, of),
        other => panic!("{other:?}"),
    }
}

#[test]
fn bytes_are_counted_while_a_file_grows() {
    let disk = with_quota(Some(100), None);
    disk.put("media/a", &[0; 60]).unwrap();
    let mut upload = disk.begin("inbox/b.csv", UploadStart::FRESH).unwrap();
    upload.write_at(0, &[0; 40]).unwrap();
    let refused = upload.write_at(40, b"x");
    assert!(refused.as_ref().unwrap_err().to_string().contains("100 bytes"));
    over(refused, "bytes");
    assert!(matches!(upload.finish(), Err(HomeError::Incomplete)));
    assert_eq!(disk.hidden_files(), 0);
    disk.put("inbox/b.csv", &[0; 40]).unwrap();
    over(disk.put("inbox/c.csv", b"x"), "bytes");
    // What intake claims, and what is deleted, makes room without our being told.
    std::fs::remove_file(disk.real("inbox/b.csv")).unwrap();
    disk.tree.usage.count_now();
    disk.put("inbox/c.csv", &[0; 40]).unwrap();
}

#[test]
fn two_uploads_do_not_share_the_last_bytes_and_cut_ones_count() {
    let disk = with_quota(Some(100), None);
    let mut one = disk.begin("inbox/a.csv", UploadStart::FRESH).unwrap();
    let mut two = disk.begin("inbox/b.csv", UploadStart::FRESH).unwrap();
    one.write_at(0, &[0; 60]).unwrap();
    over(two.write_at(0, &[0; 60]), "bytes");
    drop((one, two));
    assert_eq!(disk.tree.incomplete(), 1);
    over(disk.put("inbox/c.csv", &[0; 60]), "bytes");
    // To send it again is no more than there was.
    disk.put("inbox/a.csv", &[0; 100]).unwrap();
}

#[test]
fn files_and_media_folders_are_counted() {
    let disk = with_quota(None, Some(3));
    disk.put("inbox/a.csv", b"").unwrap();
    disk.home.make_folder(&RelPath::of("media/x")).unwrap();
    disk.put("media/x/b", b"").unwrap();
    over(disk.put("media/c", b""), "files");
    over(disk.home.make_folder(&RelPath::of("media/y")), "files");
    // A newer version of a file is not one more.
    disk.put("media/x/b", b"new").unwrap();
    disk.home.rename(&RelPath::of("inbox/a.csv"), &RelPath::of("inbox/b.csv"), false).unwrap();
    disk.home.remove_file(&RelPath::of("inbox/b.csv")).unwrap();
    disk.tree.usage.count_now();
    disk.put("media/c", b"").unwrap();
}

#[test]
fn over_quota_all_else_goes_on_and_the_limit_can_be_lifted() {
    let disk = with_quota(Some(10), None);
    std::fs::write(disk.real("media/big"), [0; 1000]).unwrap();
    std::fs::write(disk.real("outbox/a.ack.csv"), [0; 1000]).unwrap();
    over(disk.put("inbox/a.csv", b"x"), "bytes");
    assert_eq!(disk.names("media"), ["big"]);
    disk.home.open(&RelPath::of("outbox/a.ack.csv")).unwrap();
    disk.home.remove_file(&RelPath::of("outbox/a.ack.csv")).unwrap();
    disk.tree.apply(small());
    disk.put("inbox/a.csv", b"x").unwrap();
}

#[test]
fn every_right_alone_allows_its_own_and_names_what_is_missing() {
    const NONE: Rights = Rights { drop: false, collect: false, control: false, approve: false };
    let rights = [
        ("drop", Rights { drop: true, ..NONE }),
        ("collect", Rights { collect: true, ..NONE }),
        ("control", Rights { control: true, ..NONE }),
        ("approve", Rights { approve: true, ..NONE }),
    ];
    let put = |home: &Home, path: &str| {
        home.begin_upload(&RelPath::of(path), UploadStart::FRESH)?.finish().map(|_| ())
    };
    type Act<'a> = &'a dyn Fn(&Home) -> Result<(), HomeError>;
    let acts: &[(&str, Act<'_>, &[&str])] = &[
        (
            "list inbox",
            &|h| h.list(&RelPath::of("inbox")).map(|_| ()),
            &["drop", "control", "approve"],
        ),
        ("put a file", &|h| put(h, "inbox/new.csv"), &["drop"]),
        ("delete a file", &|h| h.remove_file(&RelPath::of("inbox/x.csv")), &["drop"]),
        ("put media", &|h| put(h, "media/new.png"), &["drop"]),
        (
            "look at media",
            &|h| h.stat(&RelPath::of("media/x.png")).map(|_| ()),
            &["drop", "collect"],
        ),
        ("make a folder", &|h| h.make_folder(&RelPath::of("media/new")), &["drop"]),
        ("list outbox", &|h| h.list(&RelPath::of("outbox")).map(|_| ()), &["collect"]),
        ("read an answer", &|h| h.open(&RelPath::of("outbox/x.ack.csv")).map(|_| ()), &["collect"]),
        ("delete an answer", &|h| h.remove_file(&RelPath::of("outbox/x.ack.csv")), &["collect"]),
        ("list archive", &|h| h.list(&RelPath::of("archive/accepted")).map(|_| ()), &["collect"]),
        ("send control", &|h| put(h, "inbox/control/stop.csv"), &["control"]),
        ("pause", &|h| put(h, "inbox/x.csv.pause"), &["control"]),
        ("approve", &|h| put(h, "inbox/x.csv.approve"), &["approve"]),
        (
            "list the top",
            &|h| h.list(&RelPath::root()).map(|_| ()),
            &["drop", "collect", "control", "approve", ""],
        ),
        (
            "list spec",
            &|h| h.list(&RelPath::of("spec")).map(|_| ()),
            &["drop", "collect", "control", "approve", ""],
        ),
    ];
    for (right, granted) in rights.into_iter().chain([("", NONE)]) {
        for (act, doing, allowed) in acts {
            let disk = Disk::new();
            for path in ["inbox/x.csv", "media/x.png", "outbox/x.ack.csv"] {
                std::fs::write(disk.real(path), "x").unwrap();
            }
            let result = doing(&Disk::login(&disk.tree, "sftp", granted));
            assert_eq!(result.is_ok(), allowed.contains(&right), "{right}: {act}: {result:?}");
            if let Err(error) = result {
                let sentence = error.to_string();
                let names_one = allowed.iter().any(|right| sentence.contains(right));
                assert!(names_one, "{right}: {act}: {sentence}");
            }
        }
    }
}

#[test]
fn a_suspended_tenant_collects_and_drops_nothing() {
    let disk = Disk::new();
    disk.put("inbox/a.csv.part", b"x").unwrap();
    std::fs::write(disk.real("outbox/a.ack.csv"), "x").unwrap();
    disk.tree.apply(TreeSettings { suspended: true, ..small() });
    let rename =
        || disk.home.rename(&RelPath::of("inbox/a.csv.part"), &RelPath::of("inbox/a.csv"), true);
    for refused in [
        disk.put("inbox/a.csv", b"x").map(|_| ()),
        disk.put("media/a", b"x").map(|_| ()),
        disk.home.make_folder(&RelPath::of("media/x")),
        rename(),
    ] {
        assert!(refused.unwrap_err().to_string().contains("suspended"));
    }
    disk.home.open(&RelPath::of("outbox/a.ack.csv")).unwrap();
    disk.home.remove_file(&RelPath::of("outbox/a.ack.csv")).unwrap();
    disk.tree.apply(small());
    rename().unwrap();
}

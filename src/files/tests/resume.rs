//! Uploads that were cut: kept, shown, continued, dropped.

use std::time::Duration;

use super::*;
use crate::files::parts::INCOMPLETE_MAX;

fn names_and_sizes(disk: &Disk, path: &str) -> Vec<(String, u64)> {
    let entries = disk.home.list(&RelPath::of(path)).unwrap();
    let files = entries.into_iter().filter(|entry| entry.kind == EntryKind::File);
    files.map(|e| (String::from_utf8(e.name).unwrap(), e.version.bytes)).collect()
}

#[test]
fn a_cut_upload_is_shown_with_its_length_and_nobody_takes_it() {
    let disk = Disk::new();
    disk.put_cut("inbox/a.csv", b"12345");
    assert_eq!(names_and_sizes(&disk, "inbox"), [("a.csv".to_owned(), 5)]);
    assert_eq!(disk.bytes("inbox/a.csv"), 5);
    assert!(!disk.real("inbox/a.csv").exists());
    assert_eq!((disk.recorded(), disk.tree.incomplete()), (Vec::new(), 1));
    let path = RelPath::of("inbox/a.csv");
    for refused in [
        disk.home.open(&path).map(|_| ()),
        disk.home.rename(&path, &RelPath::of("inbox/b.csv"), true),
    ] {
        let sentence = refused.unwrap_err().to_string();
        assert!(sentence.contains("send the rest of it"), "{sentence}");
    }
    disk.home.remove_file(&path).unwrap();
    assert!(matches!(disk.home.stat(&path), Err(HomeError::NotFound)));
    assert!(matches!(disk.home.remove_file(&path), Err(HomeError::NotFound)));
    assert_eq!(disk.hidden_files(), 0);
}

#[test]
fn a_cut_upload_is_continued_in_every_way_clients_know() {
    let disk = Disk::new();
    let ways: &[(UploadStart, u64, &[u8], &str)] = &[
        (from(5), 5, b"67", "1234567"),
        (from(3), 3, b"x", "123x"),
        (UploadStart { append: true, ..CONTINUE }, 0, b"67", "1234567"),
        (UploadStart { must_exist: true, ..CONTINUE }, 5, b"67", "1234567"),
        (CONTINUE, 2, b"xy", "12xy5"),
        // From the beginning without saying so: the rest of the other try must not stay behind it.
        (CONTINUE, 0, b"new", "new"),
        (UploadStart::FRESH, 0, b"new", "new"),
        (UploadStart { must_be_new: true, ..CONTINUE }, 0, b"new", "new"),
    ];
    for (start, offset, bytes, expected) in ways {
        disk.put_cut("inbox/a.csv", b"12345");
        let mut upload = disk.begin("inbox/a.csv", *start).unwrap();
        upload.write_at(*offset, bytes).unwrap();
        let evidence = upload.finish().unwrap().unwrap();
        assert_eq!(read(disk.real("inbox/a.csv")), *expected, "{start:?}");
        assert_eq!(evidence.version.bytes, expected.len() as u64);
        assert_eq!((disk.hidden_files(), disk.tree.incomplete()), (0, 0));
        disk.home.remove_file(&RelPath::of("inbox/a.csv")).unwrap();
    }
    disk.put_cut("inbox/a.csv", b"12345");
    let beyond = disk.begin("inbox/a.csv", from(6)).unwrap_err();
    assert!(beyond.to_string().contains("beyond its end"));
    // Asking wrongly costs nothing.
    assert_eq!(disk.bytes("inbox/a.csv"), 5);
}

#[test]
fn cut_again_and_again_an_upload_still_arrives_byte_for_byte() {
    let disk = Disk::new();
    let whole: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    for part in 0..10 {
        let start = if part == 0 { UploadStart::FRESH } else { from(part * 1000) };
        let mut upload = disk.begin("media/logo\u{fe}.png", start).unwrap();
        let at = (part * 1000) as usize;
        upload.write_at(part * 1000, &whole[at..at + 1000]).unwrap();
        if part == 9 {
            upload.finish().unwrap();
        } else {
            disk.tree.sweep();
        }
    }
    assert_eq!(std::fs::read(disk.real("media/logo\u{fe}.png")).unwrap(), whole);
    assert_eq!(disk.hidden_files(), 0);
}

#[test]
fn only_bytes_without_a_hole_are_kept() {
    let disk = Disk::new();
    let mut upload = disk.begin("inbox/a.csv", UploadStart::FRESH).unwrap();
    upload.write_at(0, b"123").unwrap();
    upload.write_at(10, b"late").unwrap();
    drop(upload);
    assert_eq!(disk.bytes("inbox/a.csv"), 3);
    let mut upload = disk.begin("inbox/a.csv", from(3)).unwrap();
    upload.write_at(3, b"4").unwrap();
    upload.finish().unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "1234");
}

#[test]
fn an_upload_that_went_wrong_is_not_kept() {
    let disk = Disk::new();
    let mut too_large = disk.begin("inbox/a.csv", UploadStart::FRESH).unwrap();
    too_large.write_at(0, b"12345").unwrap();
    assert!(too_large.write_at(1 << 20, b"x").is_err());
    drop(too_large);
    // Nothing came: nothing to continue.
    drop(disk.begin("inbox/b.csv", UploadStart::FRESH).unwrap());
    assert_eq!((disk.hidden_files(), disk.tree.incomplete()), (0, 0));

    let none = TreeSettings { resume_window: Duration::ZERO, ..small() };
    let disk = Disk::with(none, ALL_RIGHTS);
    disk.put_cut("inbox/a.csv", b"12345");
    assert_eq!((disk.hidden_files(), disk.tree.incomplete()), (0, 0));
}

#[test]
fn an_older_file_stays_until_the_new_one_is_whole() {
    let disk = Disk::new();
    disk.put("media/a.png", b"the older one").unwrap();
    disk.put_cut("media/a.png", b"new");
    assert_eq!(disk.bytes("media/a.png"), 3);
    assert_eq!(names_and_sizes(&disk, "media"), [("a.png".to_owned(), 3)]);
    assert_eq!(read(disk.real("media/a.png")), "the older one");
    disk.home.open(&RelPath::of("media/a.png")).unwrap();
    let mut upload = disk.begin("media/a.png", from(3)).unwrap();
    upload.write_at(3, b"er").unwrap();
    upload.finish().unwrap();
    assert_eq!(read(disk.real("media/a.png")), "newer");
}

#[test]
fn a_connection_that_is_dead_without_our_knowing_does_not_block_the_next_one() {
    let disk = Disk::new();
    let mut dead = disk.begin("inbox/a.csv", UploadStart::FRESH).unwrap();
    dead.write_at(0, b"12345").unwrap();
    let mut next = disk.begin("inbox/a.csv", from(5)).unwrap();
    next.write_at(5, b"67").unwrap();
    dead.write_at(5, b"xx").unwrap();
    drop(dead);
    // The newer upload is the one to continue.
    assert_eq!(disk.tree.incomplete(), 0);
    next.finish().unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "1234567");
    assert_eq!(disk.hidden_files(), 0);
}

#[test]
fn cut_uploads_survive_a_restart_and_nothing_else_does() {
    let disk = Disk::new();
    let odd = b"\xff\n \xc3\x28.png";
    let path = RelPath::of("media").join(odd);
    disk.home.begin_upload(&path, UploadStart::FRESH).unwrap().write_at(0, b"one").unwrap();
    disk.put_cut("inbox/a.csv", b"12345");
    disk.tree.sweep();
    disk.put_cut("inbox/not-swept.csv", b"12345");
    let running = disk.begin("inbox/running.csv", UploadStart::FRESH).unwrap();
    std::mem::forget(running);
    std::fs::write(disk.folder.path().join("uploads/acme/left.label"), "x").unwrap();
    // Continued, and the program died in the middle: what the label vouches for is still there.
    let mut upload = disk.begin("inbox/a.csv", from(5)).unwrap();
    upload.write_at(5, b"67").unwrap();
    std::mem::forget(upload);

    let disk = disk.restart(World::real(), small());
    assert_eq!((disk.tree.incomplete(), disk.hidden_files()), (2, 4));
    assert_eq!(disk.bytes("inbox/a.csv"), 5);
    assert_eq!(disk.home.stat(&path).unwrap().version.bytes, 3);
    assert_eq!(disk.home.list(&RelPath::of("media")).unwrap()[0].name, odd);
    let mut upload = disk.begin("inbox/a.csv", from(5)).unwrap();
    upload.write_at(5, b"89").unwrap();
    upload.finish().unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "1234589");
}

#[test]
fn what_the_label_vouched_for_is_not_vouched_for_once_it_is_cut_shorter() {
    let disk = Disk::new();
    disk.put_cut("inbox/a.csv", b"0123456789");
    disk.tree.sweep();
    let mut upload = disk.begin("inbox/a.csv", from(2)).unwrap();
    upload.write_at(9, b"x").unwrap();
    std::mem::forget(upload);
    let disk = disk.restart(World::real(), small());
    assert_eq!((disk.tree.incomplete(), disk.hidden_files()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn nobody_continues_it_in_time_and_it_is_handed_over() {
    let base = "2026-11-22T10:00:00Z".parse().unwrap();
    let disk = Disk::in_folder(folder(), World::seeded(base, 7), small(), ALL_RIGHTS);
    disk.put_cut("inbox/a.csv", b"12345");
    disk.put_cut("inbox/a.csv.part", b"12345");
    disk.put_cut("media/a.png", b"12345");
    tokio::time::advance(Duration::from_secs(3599)).await;
    assert_eq!((disk.tree.sweep(), disk.tree.incomplete()), (0, 3));
    disk.put_cut("inbox/b.csv", b"12345");
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!((disk.tree.sweep(), disk.tree.incomplete()), (3, 1));
    disk.tree.sweep();
    assert_eq!(told(&disk), ["cut inbox/a.csv", "cut inbox/b.csv", "expired inbox/a.csv"]);
    // What can never be taken is dropped; the rest, with their labels, wait for intake.
    assert_eq!(disk.hidden_files(), 4);
    assert!(matches!(disk.home.stat(&RelPath::of("inbox/a.csv")), Err(HomeError::NotFound)));
    let late = World::seeded("2026-11-22T12:00:00Z".parse().unwrap(), 7);
    let disk = disk.restart(late, small());
    assert_eq!((disk.tree.incomplete(), disk.hidden_files()), (0, 4));
    let again =
        ["cut inbox/a.csv", "cut inbox/b.csv", "expired inbox/a.csv", "expired inbox/b.csv"];
    assert_eq!(told(&disk), again);
    // Intake takes the bytes, and dies before the label.
    let bytes = std::fs::read_dir(disk.folder.path().join("uploads/acme")).unwrap();
    for path in bytes.map(|entry| entry.unwrap().path()).filter(|p| p.extension().is_none()) {
        assert_eq!(read(&path), "12345");
        std::fs::remove_file(path).unwrap();
    }
    let disk = disk.restart(World::real(), small());
    assert_eq!((told(&disk).len(), disk.hidden_files()), (0, 0));
}

/// What the journal was told of cut uploads.
fn told(disk: &Disk) -> Vec<String> {
    let journal = disk.journal.lock().unwrap();
    let about = |entry: &JournalEntry| match entry {
        JournalEntry::Cut(cut) => Some(("cut", cut.clone())),
        JournalEntry::Expired(cut) => Some(("expired", cut.clone())),
        _ => None,
    };
    let told = journal.iter().filter_map(about).map(|(what, cut)| {
        assert_eq!((cut.account.as_str(), cut.bytes), ("acme-erp", 5));
        format!("{what} {}", cut.path)
    });
    let mut told: Vec<String> = told.collect();
    told.sort();
    told
}

#[test]
fn one_tenant_keeps_so_many_and_the_oldest_makes_room() {
    let disk = Disk::new();
    for number in 0..INCOMPLETE_MAX + 3 {
        disk.put_cut(&format!("inbox/{number}.csv"), b"x");
    }
    assert_eq!((disk.tree.incomplete(), disk.hidden_files()), (INCOMPLETE_MAX, INCOMPLETE_MAX));
    assert!(disk.home.stat(&RelPath::of("inbox/2.csv")).is_err());
    assert_eq!(disk.bytes("inbox/3.csv"), 1);
}

#[test]
fn a_file_is_taken_back_and_can_be_continued() {
    let disk = Disk::new();
    let evidence = disk.put("inbox/a.csv", b"12345").unwrap().unwrap();
    assert!(disk.home.withdraw(&evidence).unwrap());
    assert!(!disk.real("inbox/a.csv").exists());
    let last = disk.journal.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last, JournalEntry::Withdrawn(evidence.clone()));
    assert!(!disk.home.withdraw(&evidence).unwrap());
    // Without a sweep: a crash right behind it loses nothing and publishes nothing.
    let disk = disk.restart(World::real(), small());
    assert_eq!((disk.bytes("inbox/a.csv"), disk.real("inbox/a.csv").exists()), (5, false));
    let mut upload = disk.begin("inbox/a.csv", from(5)).unwrap();
    upload.write_at(5, b"67").unwrap();
    let newer = upload.finish().unwrap().unwrap();
    assert_eq!(read(disk.real("inbox/a.csv")), "1234567");
    assert_eq!(disk.hidden_files(), 0);

    // Of another version, or claimed: it stays as it is.
    assert!(!disk.home.withdraw(&evidence).unwrap());
    std::fs::remove_file(disk.real("inbox/a.csv")).unwrap();
    assert!(!disk.home.withdraw(&newer).unwrap());
    assert_eq!((disk.hidden_files(), disk.tree.incomplete()), (0, 0));
}

#[test]
fn a_crash_in_the_middle_of_taking_back_leaves_the_file_in_one_place() {
    // The label is there and the file not moved yet; then the file is moved and nothing else done.
    for moved in [false, true] {
        let disk = Disk::new();
        let evidence = disk.put("inbox/a.csv", b"12345").unwrap().unwrap();
        let (temp, hidden) = (RelPath::of("0abc"), disk.folder.path().join("uploads/acme"));
        let label = crate::files::label::Label {
            target: RelPath::of("inbox/a.csv"),
            bytes: 5,
            since: evidence.at,
            account: "acme-erp".to_owned(),
        };
        label.write(&disk.tree.uploads, &temp).unwrap();
        if moved {
            let path = RelPath::of("inbox/a.csv");
            disk.tree.root.rename(&path, &disk.tree.uploads, &temp, false).unwrap();
        }
        let disk = disk.restart(World::real(), small());
        assert_eq!(disk.real("inbox/a.csv").exists(), !moved);
        assert_eq!(disk.tree.incomplete(), usize::from(moved));
        assert_eq!(hidden.join("0abc").exists(), moved);
        assert_eq!(disk.bytes("inbox/a.csv"), 5);
    }
}

#[test]
fn a_weakened_proof_is_recorded_again_while_the_file_is_there() {
    let disk = Disk::new();
    let evidence = disk.put("inbox/a.csv", b"12345").unwrap().unwrap();
    disk.home.weaken(&evidence).unwrap();
    assert_eq!(disk.recorded().pop().unwrap(), UploadEvidence { weak: true, ..evidence.clone() });
    disk.put("inbox/a.csv", b"newer").unwrap();
    disk.home.weaken(&evidence).unwrap();
    assert_eq!(disk.recorded().len(), 3);
    assert!(!disk.recorded().pop().unwrap().weak);
}

//! Many at once: publish order is evidence order, and large folders are listed in little memory.

use std::sync::Barrier;

use super::*;

#[test]
fn what_stands_under_a_name_is_what_was_recorded_last() {
    for round in 0..8 {
        let disk = Disk::new();
        let start = Barrier::new(4);
        std::thread::scope(|threads| {
            for who in 0..4_usize {
                let (disk, start) = (&disk, &start);
                threads.spawn(move || {
                    start.wait();
                    if who == 3 {
                        disk.put("inbox/a.csv.part", b"by rename").unwrap();
                        let from = RelPath::of("inbox/a.csv.part");
                        disk.home.rename(&from, &RelPath::of("inbox/a.csv"), true).unwrap();
                    } else {
                        disk.put("inbox/a.csv", &vec![b'x'; who + 1]).unwrap();
                    }
                });
            }
        });
        let last = disk.recorded().pop().unwrap();
        let there = disk.home.stat(&RelPath::of("inbox/a.csv")).unwrap();
        assert_eq!(last.version, there.version, "round {round}");
        assert_eq!((disk.recorded().len(), disk.hidden_files()), (4, 0));
    }
}

#[test]
fn a_slow_name_does_not_hold_up_the_others() {
    let disk = Disk::new();
    let slow = RelPath::of("inbox/slow.csv");
    let _held = disk.tree.targets.hold(&[&slow]);
    disk.put("inbox/fast.csv", b"x").unwrap();
}

#[test]
fn listings_show_every_name_once_while_files_come_and_go() {
    let disk = Disk::new();
    for number in 0..300 {
        std::fs::write(disk.real(&format!("media/{number:03}")), "x").unwrap();
    }
    disk.put_cut("media/007", b"longer");
    disk.put_cut("media/cut", b"longer");
    let running = disk.begin("media/010", UploadStart::FRESH).unwrap();
    let new = disk.begin("media/new", UploadStart::FRESH).unwrap();
    let mut folder = disk.home.folder(&RelPath::of("media")).unwrap();
    let mut seen = folder.next(10).unwrap();
    assert_eq!(seen.len(), 10);
    drop(running);
    new.finish().unwrap();
    loop {
        let more = folder.next(64).unwrap();
        assert!(more.len() <= 64);
        if more.is_empty() {
            break;
        }
        seen.extend(more);
    }
    seen.sort_by(|a, b| a.name.cmp(&b.name));
    let names: Vec<_> = seen.iter().map(|entry| entry.name.clone()).collect();
    let mut once = names.clone();
    once.dedup();
    assert_eq!((names.len(), once.len()), (302, 302));
    assert_eq!((seen[7].version.bytes, seen[10].version.bytes), (6, 1));
    assert_eq!(folder.next(1).unwrap(), []);
}

#[test]
fn an_open_listing_of_a_huge_folder_is_small() {
    let disk = Disk::new();
    for number in 0..20_000 {
        std::fs::write(disk.real(&format!("media/{number:0200}")), "").unwrap();
    }
    let path = RelPath::of("media");
    let before = resident_kib();
    let mut open: Vec<Folder> = (0..20).map(|_| disk.home.folder(&path).unwrap()).collect();
    for folder in &mut open {
        assert_eq!(folder.next(128).unwrap().len(), 128);
    }
    let each = resident_kib().saturating_sub(before) / 20;
    assert!(each < 100, "{each} KiB for each open listing");
    let mut count = 128;
    while let more @ 1.. = open[0].next(1000).unwrap().len() {
        count += more;
    }
    assert_eq!(count, 20_000);
}

fn resident_kib() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4
}

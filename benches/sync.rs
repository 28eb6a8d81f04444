//! What it costs to tell a client "done" only when the file survives a power cut: sessions that put
//! small files at once, with all the syncs and the store's commit, beside the same without any.
//!
//! `cargo bench --bench sync [-- FOLDER]`; the folder must lie on a real disk (default: the working
//! directory). Prints seconds, files a second and the ratio.
#![allow(clippy::disallowed_methods, reason = "measures the machine's own time")]
#![allow(clippy::print_stdout, reason = "the figures are the result")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dropchute::files::{
    Aliases, Home, Journal, JournalEntry, RelPath, TenantTree, TreeSettings, UploadStart, Visitor,
};
use dropchute::store::Store;
use dropchute::world::World;

const SESSIONS: usize = 16;
const FILES: usize = 40;
const FILE_BYTES: usize = 1 << 20;
const PIECE_BYTES: usize = 256 << 10;
const ROUNDS: usize = 3;

fn main() {
    let folder = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let folder = folder.unwrap_or_else(|| ".".to_owned());
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let disk = tempfile::tempdir_in(&folder).expect("make a folder");
        // In turn, so that neither always meets the quieter disk.
        for synced in [round % 2 == 0, round % 2 == 1] {
            let took = if synced { synced_puts(disk.path()) } else { plain_puts(disk.path()) };
            rustix::fs::sync();
            if synced { &mut with } else { &mut without }.push(took);
        }
    }
    let (with, without) = (median(with), median(without));
    for (name, took) in [("with syncs", with), ("without", without)] {
        let rate = (SESSIONS * FILES) as f64 / took.as_secs_f64();
        println!("{name:<12} {:>7.2} s {rate:>8.0} files/s", took.as_secs_f64());
    }
    println!("ratio        {:>7.2}", with.as_secs_f64() / without.as_secs_f64());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Runs one session in a thread of its own, all at once.
fn at_once(session: impl Fn(usize) + Sync) -> Duration {
    let begun = Instant::now();
    std::thread::scope(|threads| {
        for number in 0..SESSIONS {
            let session = &session;
            threads.spawn(move || session(number));
        }
    });
    begun.elapsed()
}

fn synced_puts(disk: &Path) -> Duration {
    let store = Store::open(&disk.join("store")).expect("open store");
    let journal: Journal = Arc::new(move |entry| {
        if let JournalEntry::Whole(evidence) = entry {
            store.record_upload(&evidence)?;
        }
        Ok(())
    });
    let (tenant, world) = ("acme".parse().expect("a name"), Arc::new(World::real()));
    let settings = TreeSettings { disk_reserve: 0.0, ..TreeSettings::default() };
    let tree = TenantTree::open(disk, &tenant, settings, journal, world).expect("open tree");
    let tree = Arc::new(tree);
    let bytes = vec![b'x'; FILE_BYTES];
    at_once(|session| {
        let visitor = Visitor {
            account: format!("erp{session}"),
            protocol: "sftp",
            may_drop: true,
            may_collect: true,
            may_control: false,
            may_approve: false,
        };
        let home = Home::new(tree.clone(), visitor, Arc::new(Aliases::new()));
        for file in 0..FILES {
            let path = RelPath::of(&format!("inbox/{session}_{file}.csv"));
            let mut upload = home.begin_upload(&path, UploadStart::FRESH).expect("begin");
            for (piece, bytes) in bytes.chunks(PIECE_BYTES).enumerate() {
                upload.write_at((piece * PIECE_BYTES) as u64, bytes).expect("write");
            }
            upload.finish().expect("finish");
        }
    })
}

fn plain_puts(disk: &Path) -> Duration {
    use std::io::Write;
    let (hidden, inbox) = (disk.join("hidden"), disk.join("plain"));
    std::fs::create_dir_all(&hidden).expect("make folder");
    std::fs::create_dir_all(&inbox).expect("make folder");
    let bytes = vec![b'x'; FILE_BYTES];
    at_once(|session| {
        for file in 0..FILES {
            let name = format!("{session}_{file}.csv");
            let mut out = std::fs::File::create(hidden.join(&name)).expect("create");
            for piece in bytes.chunks(PIECE_BYTES) {
                out.write_all(piece).expect("write");
            }
            rustix::fs::rename(hidden.join(&name), inbox.join(&name)).expect("rename");
        }
    })
}

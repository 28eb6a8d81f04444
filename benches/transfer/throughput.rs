//! Large files and many small ones: other people's clients, peers beside us.

use std::path::Path;

use super::clients::{self, Tls};
use super::servers::{Ground, OPENSSH, PURE_FTPD, Server, VSFTPD};
use super::table::{Goal, Run, Runs};
use super::{Bench, MIB};

const SMALL_BYTES: usize = 4 << 10;

pub const AES_128_GCM: &str = "aes128-gcm@openssh.com";

/// What a client does with one server; the seconds it took.
type Operation<'a> = &'a dyn Fn(&Server) -> f64;

/// Puts and gets at every server in turn, in the other direction each time.
fn interleaved(bench: &Bench, servers: &[Server], operations: [Operation<'_>; 2]) -> [Runs; 2] {
    let mut runs = [Runs::default(), Runs::default()];
    for repetition in 0..bench.reps {
        let mut order: Vec<&Server> = servers.iter().collect();
        if repetition % 2 == 1 {
            order.reverse();
        }
        for server in order {
            for (operation, runs) in operations.iter().zip(&mut runs) {
                let before = server.process.cpu();
                let seconds = operation(server);
                server.process.settle();
                runs.add(server.name, Run { seconds, cpu: server.process.cpu() - before });
            }
            empty(&server.folder);
        }
    }
    runs
}

fn empty(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let gone = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        gone.unwrap();
    }
}

/// The first download of a run tells that what came in is what goes out.
fn assert_same(server: &Server, name: &str, source: &Path) {
    let mut cmp = std::process::Command::new("cmp");
    let same = cmp.arg(server.folder.join(name)).arg(source).status().unwrap();
    assert!(same.success(), "{} stored something else", server.name);
}

fn ours_and(ground: &Ground, peers: Vec<Option<Server>>) -> Vec<Server> {
    let mut servers = vec![ground.dropchute()];
    servers.extend(ground.before());
    servers.extend(peers.into_iter().flatten());
    servers
}

/// One large file over SFTP.
pub fn large_sftp(bench: &Bench, ground: &Ground, cipher: Option<&str>) {
    let source = bench.large_file(ground);
    let servers = ours_and(ground, vec![ground.openssh()]);
    let run = |server: &Server, command: &str| clients::sftp(server, &ground.key, cipher, command);
    let put = |server: &Server| {
        let seconds = run(server, &format!("put {} {}/big", source.display(), server.sftp_folder));
        assert_same(server, "big", &source);
        seconds
    };
    let get = |server: &Server| run(server, &format!("get {}/big /dev/null", server.sftp_folder));
    let [puts, gets] = interleaved(bench, &servers, [&put, &get]);
    let (aim, cpu) = match cipher {
        Some(_) => (2.5, Goal::Most(0.6, 0.4)),
        None => (1.9, Goal::None),
    };
    let cipher = cipher.unwrap_or("default cipher");
    let mib = bench.size as f64 / MIB;
    let speed = |_: &str| Goal::Least(1.5, aim);
    puts.print(&format!("SFTP put, {cipher}"), mib, "MiB", &speed, cpu);
    gets.print(&format!("SFTP get, {cipher}"), mib, "MiB", &speed, cpu);
}

/// One large file over FTP or FTPS.
pub fn large_ftp(bench: &Bench, ground: &Ground, tls: Tls) {
    let source = bench.large_file(ground);
    let servers = ours_and(ground, vec![ground.vsftpd(), ground.pure_ftpd()]);
    let put = |server: &Server| {
        let seconds = clients::curl_put(server, tls, &source, "big");
        assert_same(server, "big", &source);
        seconds
    };
    let get = |server: &Server| clients::curl_get(server, tls, "big");
    let [puts, gets] = interleaved(bench, &servers, [&put, &get]);
    let mib = bench.size as f64 / MIB;
    let (word, put_goal, get_goal) = match tls {
        Tls::Off => ("FTP", Goal::Least(0.95, 1.1), Goal::Least(1.0, 1.1)),
        Tls::On => ("FTPS", Goal::Least(1.5, 3.0), Goal::Least(1.3, 3.0)),
    };
    // The goal of plain FTP names vsftpd only.
    let only = |goal: Goal| {
        move |peer: &str| if tls == Tls::On || peer == VSFTPD { goal } else { Goal::None }
    };
    puts.print(&format!("{word} put"), mib, "MiB", &only(put_goal), Goal::None);
    gets.print(&format!("{word} get"), mib, "MiB", &only(get_goal), Goal::None);
}

/// Many small files over SFTP, in one session.
pub fn small_sftp(bench: &Bench, ground: &Ground) {
    let (source, target) = (small_files(bench, ground), ground.path("taken"));
    let servers = ours_and(ground, vec![ground.openssh()]);
    let run = |server: &Server, command: &str| {
        clients::sftp(server, &ground.key, Some(AES_128_GCM), command)
    };
    let put = |server: &Server| {
        run(server, &format!("put -r {} {}/small", source.display(), server.sftp_folder))
    };
    let get = |server: &Server| {
        let target = ground.fresh("taken").join("small");
        run(server, &format!("get -r {}/small {}", server.sftp_folder, target.display()))
    };
    let [puts, gets] = interleaved(bench, &servers, [&put, &get]);
    std::fs::remove_dir_all(target).unwrap();
    print_small(bench, "SFTP", &puts, &gets, OPENSSH);
}

/// Many small files over FTP or FTPS, in one session.
pub fn small_ftp(bench: &Bench, ground: &Ground, tls: Tls) {
    // lftp's handshake for every file takes its time, whatever the server.
    let files = if tls == Tls::On { bench.files / 10 } else { bench.files };
    let bench = &Bench { files, ..*bench };
    let (source, target) = (small_files(bench, ground), ground.path("taken"));
    let servers = ours_and(ground, vec![ground.vsftpd(), ground.pure_ftpd()]);
    let put = |server: &Server| {
        let folder = server.folder.join("small");
        // A folder of its own, so that its removal stays out of the time; anyone may write to it.
        make_open_folder(server, tls, &source);
        let seconds = clients::lftp(server, tls, &source, "small", "mput *");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), bench.files, "{}", server.name);
        seconds
    };
    let get =
        |server: &Server| clients::lftp(server, tls, &ground.fresh("taken"), "small", "mget *");
    let [puts, gets] = interleaved(bench, &servers, [&put, &get]);
    std::fs::remove_dir_all(target).unwrap();
    let best = puts.best_peer().unwrap_or(PURE_FTPD);
    print_small(bench, if tls == Tls::On { "FTPS" } else { "FTP" }, &puts, &gets, best);
}

fn make_open_folder(server: &Server, tls: Tls, local: &Path) {
    clients::lftp(server, tls, local, "", "mkdir small");
}

fn print_small(bench: &Bench, word: &str, puts: &Runs, gets: &Runs, best: &str) {
    let speed = |peer: &str| if peer == best { Goal::Least(1.2, 1.5) } else { Goal::None };
    let (count, size) = (bench.files, SMALL_BYTES >> 10);
    puts.print(
        &format!("{word} put {count} x {size} KiB"),
        count as f64,
        "files",
        &speed,
        Goal::None,
    );
    let best = gets.best_peer();
    let speed = |peer: &str| if Some(peer) == best { Goal::Least(1.2, 1.5) } else { Goal::None };
    gets.print(
        &format!("{word} get {count} x {size} KiB"),
        count as f64,
        "files",
        &speed,
        Goal::None,
    );
}

fn small_files(bench: &Bench, ground: &Ground) -> std::path::PathBuf {
    let folder = ground.path(&format!("small-{}", bench.files));
    if !folder.exists() {
        std::fs::create_dir(&folder).unwrap();
        for number in 0..bench.files {
            let bytes = vec![number as u8; SMALL_BYTES];
            std::fs::write(folder.join(format!("file-{number:05}.csv")), bytes).unwrap();
        }
    }
    folder
}

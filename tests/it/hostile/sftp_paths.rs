//! Every path of the corpus in every SFTP packet that takes one.

use super::canaries::{CANARY_BYTES, Canaries, shows_canary};
use super::corpus::corpus;
use super::daemon::Daemon;
use super::sftp::{self, Sftp};
use super::ssh::string;
use super::watch::{LITTLE_MEMORY, beside_a_good_client};

#[test]
fn no_path_in_a_reading_packet_leads_out_of_the_tenants_tree() {
    let daemon = Daemon::start();
    let canaries = Canaries::plant(&daemon);
    let paths = corpus();
    assert!(paths.len() >= 300, "{}", paths.len());
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut sftp = Sftp::login(daemon.sftp, "erp");
        for path in &paths {
            for request in reading(path) {
                check(&mut sftp, &canaries, path, request);
            }
        }
    });
    canaries.assert_untouched("reading");
}

type Packet = (u8, Vec<u8>);

fn extended(name: &str, body: &[u8]) -> Packet {
    let mut packet = Vec::new();
    string(&mut packet, name.as_bytes());
    packet.extend_from_slice(body);
    (200, packet)
}

/// Each packet that looks at a path and changes nothing.
fn reading(path: &[u8]) -> Vec<Packet> {
    let one = sftp::path_body(path);
    vec![
        (3, sftp::open_body(path, sftp::READ)),
        (7, one.clone()),
        (11, one.clone()),
        (16, one.clone()),
        (17, one.clone()),
        (19, one.clone()),
        extended("statvfs@openssh.com", &one),
        extended("expand-path@openssh.com", &one),
        extended("home-directory", &one),
        extended("check-file-name", &sftp::two_paths_body(path, b"md5")),
        extended("md5-hash", &one),
    ]
}

/// Asks, and looks at what the answer tells.
fn check(sftp: &mut Sftp, canaries: &Canaries<'_>, path: &[u8], (kind, body): Packet) {
    let what = || format!("packet {kind} with {:?}", String::from_utf8_lossy(path));
    let answer = sftp.ask(kind, &body).unwrap_or_else(|error| panic!("{}: {error}", what()));
    match answer[0] {
        sftp::STATUS => assert!(!answer.windows(5).any(|part| part == b"/data"), "{}", what()),
        sftp::ATTRS => {
            assert!(canaries.is_own(path), "{} was answered", what());
            assert!(answer[9..17] != CANARY_BYTES.to_be_bytes(), "{}", what());
        }
        sftp::HANDLE => {
            assert!(canaries.is_own(path), "{} was opened", what());
            let handle = answer[9..].to_vec();
            let next = if kind == 3 { 5 } else { 12 };
            let mut body = sftp::path_body(&handle);
            if next == 5 {
                body = sftp::read_body(&handle, 0, 64 << 10);
            }
            let shown = sftp.ask(next, &body).unwrap();
            assert!(!shows_canary(&shown), "{}", what());
            assert!(!shown.windows(6).any(|part| part == b"canary"), "{}", what());
            sftp.close(&handle);
        }
        sftp::NAME => {
            // REALPATH: a path below the root, without a step back.
            let length = u32::from_be_bytes(answer[9..13].try_into().unwrap()) as usize;
            let real = &answer[13..13 + length];
            let steps_back = real.split(|byte| *byte == b'/').any(|name| name == b"..");
            assert!(real.first() == Some(&b'/') && !steps_back, "{}: {real:?}", what());
        }
        // An answer to an extension: numbers about the disk.
        201 => assert!(canaries.is_own(path), "{} was answered", what()),
        other => panic!("{}: answer {other}", what()),
    }
}

#[test]
fn no_path_in_a_changing_packet_leads_out_of_the_tenants_tree() {
    let daemon = Daemon::start();
    let canaries = Canaries::plant(&daemon);
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut sftp = Sftp::login(daemon.sftp, "erp");
        for what in 0..changing(b"").len() {
            canaries.set_traps();
            for path in corpus() {
                let (kind, body) = changing(&path).swap_remove(what);
                let answer = sftp.ask(kind, &body).unwrap();
                if let Ok(handle) = sftp::handle_of(answer) {
                    sftp.write(&handle, 0, b"overwritten");
                    sftp.close(&handle);
                } else if kind == 18 || kind == 200 {
                    // What was renamed away is put back for the next.
                    own_file(&mut sftp);
                }
            }
            canaries.assert_untouched(&format!("changing packet {what}"));
        }
    });
}

/// The file that is renamed to each path.
const OWN: &[u8] = b"/media/own.bin";

fn own_file(sftp: &mut Sftp) {
    if sftp::status(&sftp.ask(17, &sftp::path_body(OWN)).unwrap()).is_some() {
        let handle = sftp.open(OWN, sftp::CREATE).unwrap();
        sftp.close(&handle);
    }
}

/// Each packet that changes what a path names.
fn changing(path: &[u8]) -> Vec<Packet> {
    let one = sftp::path_body(path);
    // Permissions and times, and then the owner.
    let mut modes = sftp::number_body(path, 0x0c);
    modes.extend_from_slice(&[0, 0, 0o1, 0xff, 0, 0, 0, 1, 0, 0, 0, 1]);
    let mut owner = sftp::number_body(path, 0x02);
    owner.extend_from_slice(&[0; 8]);
    let (to, from) =
        (sftp::two_paths_body(OWN, path), sftp::two_paths_body(path, b"/media/stolen"));
    let target = sftp::two_paths_body(b"/media/planted", path);
    vec![
        (3, sftp::open_body(path, sftp::CREATE)),
        (3, sftp::open_body(path, sftp::WRITE)),
        // Write, append, create; and the same to a new file only.
        (3, sftp::open_body(path, 0x0e)),
        (3, sftp::open_body(path, 0x2a)),
        (9, modes),
        (9, owner),
        (14, sftp::number_body(path, 0)),
        (18, to.clone()),
        (18, from.clone()),
        extended("posix-rename@openssh.com", &to),
        extended("posix-rename@openssh.com", &from),
        extended("hardlink@openssh.com", &from),
        extended("copy-data", &from),
        extended("copy-file", &from),
        extended("lsetstat@openssh.com", &sftp::number_body(path, 0)),
        (20, from),
        (20, target),
        (15, one.clone()),
        (13, one),
    ]
}

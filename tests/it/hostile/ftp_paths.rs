//! Every path of the corpus in every FTP command that takes one.

use super::canaries::{CANARY_BYTES, Canaries, shows_canary};
use super::corpus::corpus;
use super::daemon::Daemon;
use super::ftp::{CLEAR_TOO, Ftp, Reply};
use super::watch::{LITTLE_MEMORY, beside_a_good_client};

/// Paths that one line can hold.
fn paths() -> Vec<Vec<u8>> {
    let fits = |path: &Vec<u8>| !path.iter().any(|byte| b"\r\n".contains(byte));
    let paths: Vec<_> = corpus().into_iter().filter(fits).collect();
    assert!(paths.len() >= 300, "{}", paths.len());
    paths
}

fn command(verb: &str, path: &[u8]) -> Vec<u8> {
    [verb.as_bytes(), b" ", path].concat()
}

/// A session in clear, which costs least; data connections go through the same code in TLS.
fn session(daemon: &Daemon) -> Ftp {
    Ftp::login_clear(daemon.ftp, "erp")
}

/// Whether the argument is the path itself: some verbs read switches and patterns.
fn is_plain(path: &[u8]) -> bool {
    path.first() != Some(&b'-') && !path.iter().any(|byte| b"*?[{ \\~".contains(byte))
}

fn check(canaries: &Canaries<'_>, what: &[u8], path: &[u8], reply: &Reply, shown: &[u8]) {
    let what = String::from_utf8_lossy(what);
    assert!(!shows_canary(shown), "{what} shows the neighbour's bytes");
    let text = String::from_utf8_lossy(shown);
    for secret in ["canary.", "passwd", "shadow", &CANARY_BYTES.to_string()] {
        // A reply may say the name back that it was given.
        let named = path.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(named || !text.contains(secret), "{what} shows {secret}: {text}");
    }
    assert!(!reply.text.contains(&CANARY_BYTES.to_string()), "{what}: {reply:?}");
    assert!(!reply.text.contains("/data/"), "{what} tells of our disk: {reply:?}");
    // An empty path is the current folder.
    let own = path.is_empty() || canaries.is_own(path);
    assert!(own || reply.refuses() || !is_plain(path), "{what} was answered: {reply:?}");
}

#[test]
fn no_path_in_a_reading_command_leads_out_of_the_tenants_tree() {
    let daemon = Daemon::with(CLEAR_TOO);
    let canaries = Canaries::plant(&daemon);
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ftp = session(&daemon);
        for path in paths() {
            for verb in ["CWD", "SIZE", "MDTM", "MLST", "HASH", "STAT"] {
                let line = command(verb, &path);
                let reply = ftp.ask(&line);
                // STAT without a path is about the session.
                if !(verb == "STAT" && path.is_empty()) {
                    check(&canaries, &line, &path, &reply, reply.text.as_bytes());
                }
                ftp.ask("CWD /");
            }
        }
    });
    canaries.assert_untouched("reading commands");
}

#[test]
fn no_path_in_a_download_or_listing_leads_out_of_the_tenants_tree() {
    let daemon = Daemon::with(CLEAR_TOO);
    let canaries = Canaries::plant(&daemon);
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for verb in ["RETR", "LIST", "NLST", "MLSD"] {
            let mut ftp = session(&daemon);
            for path in paths() {
                let line = command(verb, &path);
                let (shown, reply) = ftp.get(&line);
                // LIST of what is not there may be an empty listing.
                if verb == "RETR" || !shown.is_empty() {
                    check(&canaries, &line, &path, &reply, &shown);
                }
            }
        }
    });
    canaries.assert_untouched("downloads and listings");
}

#[test]
fn no_path_in_a_changing_command_leads_out_of_the_tenants_tree() {
    let daemon = Daemon::with(CLEAR_TOO);
    let canaries = Canaries::plant(&daemon);
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for verb in [
            "MFMT 20200101000000",
            "SITE CHMOD 777",
            "SITE UTIME 202001010000",
            "MKD",
            "RNFR",
            "RNTO",
            "RMD",
            "DELE",
        ] {
            canaries.set_traps();
            let mut ftp = session(&daemon);
            for path in paths() {
                if verb == "RNTO" {
                    own_file(&mut ftp);
                    ftp.ask("RNFR /media/own.bin");
                }
                let reply = ftp.ask(command(verb, &path));
                if verb == "RNFR" && reply.code == 350 {
                    ftp.ask("RNTO /media/stolen");
                }
            }
            canaries.assert_untouched(verb);
        }
    });
}

fn own_file(ftp: &mut Ftp) {
    if ftp.ask("SIZE /media/own.bin").refuses() {
        assert_eq!(ftp.put("STOR /media/own.bin", b"own").code, 226);
    }
}

#[test]
fn no_path_in_an_upload_leads_out_of_the_tenants_tree() {
    let daemon = Daemon::with(CLEAR_TOO);
    let canaries = Canaries::plant(&daemon);
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for verb in ["STOR", "APPE", "STOU"] {
            canaries.set_traps();
            let mut ftp = session(&daemon);
            for path in paths() {
                ftp.put(command(verb, &path), b"overwritten");
            }
            canaries.assert_untouched(verb);
        }
    });
}

//! FTP commands that are too long, too many, too large, or no commands.

use std::io::Read;

use super::daemon::{Daemon, pour, sized};
use super::ftp::{CLEAR_TOO, Ftp};
use super::sftp_requests::no_giants;
use super::watch::{LITTLE_MEMORY, beside_a_good_client};

#[test]
fn a_line_without_an_end_ends_the_connection_and_takes_no_memory() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let total = sized(64 << 20, 1 << 30);
        for byte in [b'A', 0, b'\r', 0xff, b' '] {
            let part = [byte; 32 << 10];
            let mut stream = super::daemon::connect(daemon.ftp);
            pour(&mut stream, &part, total, "a line without an end before login");
            // After login as well; in TLS, as records of it.
            let mut ftp = Ftp::login(daemon.ftp, "erp");
            pour(&mut ftp.control, &part, total, "a line without an end after login");
        }
    });
}

#[test]
fn five_thousand_commands_whose_replies_nobody_reads_cost_little() {
    const COMMANDS: usize = 5_000;
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        let mut sent = 0;
        for _ in 0..COMMANDS / 100 {
            // The server may stop reading until its replies are read.
            let part = b"NOOP\r\n".repeat(100);
            if ftp.send(&part).is_err() {
                break;
            }
            sent += 100;
        }
        for number in 0..sent {
            let reply = ftp.reply().unwrap_or_else(|error| panic!("reply {number}: {error}"));
            assert_eq!(reply.code, 200, "{number}: {reply:?}");
        }
        // Commands without end: at some point they are not taken any more.
        let mut stuck = Ftp::login(daemon.ftp, "erp");
        let timeout = Some(std::time::Duration::from_millis(500));
        stuck.control.tcp().set_write_timeout(timeout).unwrap();
        let flood = b"FEAT\r\n".repeat(1000);
        let taken = (0..10_000).take_while(|_| stuck.send(&flood).is_ok()).count();
        assert!(taken < 10_000, "60 MB of commands were taken");
    });
}

/// Sentences no server should end a session for, nor fall silent at.
const ODD: &[&[u8]] = &[
    b"",
    b" ",
    b"\t",
    b"X",
    b"NOPE nope",
    b"noop",
    b"N\0OP",
    b"\xff\xf4\xff\xf2ABOR",
    b"\xff\xff\xff\xff",
    b"USER\x1b[2J",
    b"MODE Z",
    b"MODE",
    b"STRU R",
    b"STRU",
    b"TYPE",
    b"TYPE E",
    b"TYPE L 7",
    b"TYPE A N N N",
    b"OPTS",
    b"OPTS UTF8",
    b"OPTS UTF8 MAYBE",
    b"OPTS MLST \xff;;;",
    b"REST",
    b"REST abc",
    b"REST -1",
    b"REST 18446744073709551616",
    b"REST 9999999999999999999999999999999999",
    b"PORT",
    b"PORT 1,2,3",
    b"PORT 256,0,0,1,1,1",
    b"PORT 127,0,0,1,0,0,0",
    b"EPRT",
    b"EPRT ||||",
    b"EPRT |9|x|y|",
    b"EPRT |1|127.0.0.1|99999|",
    b"EPSV 9",
    b"EPSV ALLES",
    b"ALLO",
    b"ALLO abc",
    b"ALLO 9223372036854775807",
    b"SIZE",
    b"MDTM",
    b"MFMT 99999999999999 /media/x",
    b"MFMT",
    b"CWD",
    b"DELE",
    b"RMD",
    b"MKD",
    b"RNTO /media/x",
    b"RNFR",
    b"STOR",
    b"APPE",
    b"RETR",
    b"PROT",
    b"PROT X",
    b"PBSZ",
    b"PBSZ -1",
    b"AUTH",
    b"AUTH KERBEROS_V4",
    b"ADAT AAAA",
    b"SITE",
    b"SITE EXEC /bin/id",
    b"SITE CPFR /etc/passwd",
    b"SITE CPTO /media/x",
    b"SITE CHMOD 777 /",
    b"SITE UTIME x",
    b"HASH",
    b"LANG \xff",
    b"HOST ../..",
    b"CLNT \0",
    b"XCRC /media",
    b"STAT \xff",
    b"ABOR",
    b"HELP \x1b[31m",
    b"%s%s%n%n",
    b"LIST -R /../../..",
];

#[test]
fn odd_commands_are_answered_with_one_reply_each_and_end_no_session() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        for command in ODD {
            odd(&mut ftp, command);
        }
        // Before login not even many refusals are listened to.
        for command in ODD {
            odd(&mut Ftp::secure(daemon.ftp), command);
        }
    });
    let log = daemon.log();
    assert!(!log.contains('\x1b') && !log.contains('\0'), "{log}");
}

fn odd(ftp: &mut Ftp, command: &[u8]) {
    let what = String::from_utf8_lossy(command);
    let reply = ftp.try_ask(command).unwrap_or_else(|error| panic!("{what:?}: {error}"));
    assert!((200..600).contains(&reply.code), "{what:?}: {reply:?}");
    assert!(!reply.text.contains(['\0', '\x1b']), "{what:?}: {reply:?}");
    let after = ftp.try_ask("NOOP").unwrap_or_else(|error| panic!("after {what:?}: {error}"));
    assert_eq!(after.code, 200, "after {what:?}: {after:?}");
}

#[test]
fn nothing_is_done_for_those_who_have_not_logged_in() {
    let daemon = Daemon::with(CLEAR_TOO);
    std::fs::write(daemon.path("acme", "media/a.bin"), "a").unwrap();
    let before = super::daemon::inventory(&daemon.path("acme", ""));
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for user in [None, Some("USER erp"), Some("USER nobody")] {
            for secure in [false, true] {
                let mut ftp = if secure { Ftp::secure(daemon.ftp) } else { Ftp::greet(daemon.ftp) };
                for command in [
                    "CWD /media",
                    "CDUP",
                    "PWD",
                    "XPWD",
                    "LIST",
                    "NLST",
                    "MLSD",
                    "MLST /media/a.bin",
                    "STAT /media",
                    "SIZE /media/a.bin",
                    "MDTM /media/a.bin",
                    "RETR /media/a.bin",
                    "HASH /media/a.bin",
                    "STOR /media/b.bin",
                    "APPE /media/b.bin",
                    "STOU /media",
                    "DELE /media/a.bin",
                    "MKD /media/new",
                    "RMD /media",
                    "RNFR /media/a.bin",
                    "RNTO /media/b.bin",
                    "MFMT 20200101000000 /media/a.bin",
                    "SITE CHMOD 777 /media/a.bin",
                    "PASV",
                    "EPSV",
                    "PORT 127,0,0,1,100,100",
                    "EPRT |1|127.0.0.1|25700|",
                    "REST 1",
                    "ALLO 1",
                    "ABOR",
                ] {
                    // Between USER and PASS every other command forgets the name.
                    if let Some(user) = user {
                        ftp.ask(user);
                    }
                    let reply = ftp.ask(command);
                    let nothing_to_abort = command == "ABOR" || command == "ALLO 1";
                    assert!(reply.refuses() || nothing_to_abort, "{command}: {reply:?}");
                    assert!(!reply.text.contains("a.bin"), "{command}: {reply:?}");
                }
            }
        }
    });
    assert_eq!(super::daemon::inventory(&daemon.path("acme", "")), before);
}

#[test]
fn restart_points_and_sizes_near_the_end_of_numbers_make_no_giants() {
    const HUGE: [u64; 5] = [1 << 31, 1 << 42, 1 << 62, i64::MAX as u64, u64::MAX];
    let daemon = Daemon::start();
    std::fs::write(daemon.path("acme", "media/a.bin"), "abc").unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        for huge in HUGE {
            for command in ["STOR /inbox/x.csv", "STOR /media/a.bin", "APPE /media/b.bin", "STOU"] {
                ftp.ask(format!("ALLO {huge}"));
                ftp.ask(format!("REST {huge}"));
                let reply = ftp.put(command, b"x");
                let whole = command.starts_with("APPE") || command == "STOU";
                assert!(reply.refuses() || whole, "REST {huge}, {command}: {reply:?}");
                no_giants(daemon.folder.path());
            }
            assert_eq!(std::fs::read(daemon.path("acme", "media/a.bin")).unwrap(), b"abc");
            ftp.ask(format!("REST {huge}"));
            let (bytes, _) = ftp.get("RETR /media/a.bin");
            assert!(bytes.is_empty(), "REST {huge}: {bytes:?}");
        }
        assert_eq!(ftp.get("RETR /media/a.bin").0, b"abc");
    });
    no_giants(daemon.folder.path());
}

/// Half lines, and lines in pieces: they are put together, and wait for no more than the idle time.
#[test]
fn a_command_in_single_bytes_is_one_command() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        for byte in b"NOOP\r\nPWD\r\n" {
            ftp.send(&[*byte]).unwrap();
        }
        assert_eq!((ftp.reply().unwrap().code, ftp.reply().unwrap().code), (200, 257));
        // Two commands and a half in one piece.
        ftp.send(b"NOOP\r\nPWD\r\nNO").unwrap();
        assert_eq!((ftp.reply().unwrap().code, ftp.reply().unwrap().code), (200, 257));
        ftp.send(b"OP\r\n").unwrap();
        assert_eq!(ftp.reply().unwrap().code, 200);
        // What is left of a command is no command.
        ftp.send(b"DELE /media/a").unwrap();
        let mut rest = Vec::new();
        ftp.control.tcp().shutdown(std::net::Shutdown::Write).unwrap();
        ftp.control.tcp().take(1000).read_to_end(&mut rest).ok();
    });
}

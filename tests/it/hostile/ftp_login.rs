//! FTP's road to a login: TLS that begins in the middle, levels that are lowered, names that change.

use super::daemon::{Daemon, PASSWORD};
use super::ftp::{CLEAR_TOO, Ftp};
use super::watch::{LITTLE_MEMORY, beside_a_good_client};

#[test]
fn what_comes_behind_auth_in_clear_is_not_heard_inside_tls() {
    let daemon = Daemon::with(CLEAR_TOO);
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for injected in [
            "NOOP\r\n",
            "USER erp2\r\n",
            "USER erp\r\nPASS correct horse\r\n",
            "FEAT\r\nFEAT\r\n",
            "\r\n",
            "NOO",
        ] {
            let mut ftp = Ftp::greet(daemon.ftp);
            ftp.send(format!("AUTH TLS\r\n{injected}").as_bytes()).unwrap();
            // To be refused TLS, or to lose the connection, is as good.
            if ftp.reply().unwrap().code != 234 || ftp.upgrade().is_err() {
                continue;
            }
            // The first words inside are the answer to the first words inside.
            let Ok(reply) = ftp.try_ask("SYST") else { continue };
            assert_eq!(reply.code, 215, "{injected:?}: {reply:?}");
            assert_eq!(ftp.ask("USER erp").code, 331, "{injected:?}");
            assert_eq!(ftp.ask(format!("PASS {PASSWORD}")).code, 230, "{injected:?}");
        }
        // A name given in clear is forgotten with TLS.
        let mut ftp = Ftp::greet(daemon.ftp);
        ftp.ask("USER erp");
        assert_eq!(ftp.ask("AUTH TLS").code, 234);
        ftp.upgrade().unwrap();
        assert!(ftp.ask(format!("PASS {PASSWORD}")).refuses());
    });
}

#[test]
fn protection_is_not_lowered() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        for command in ["PROT C", "PROT S", "PROT E", "CCC", "CDC"] {
            let reply = ftp.ask(command);
            assert!(reply.refuses(), "{command}: {reply:?}");
        }
        // Data still goes in TLS only: what comes in clear is nothing.
        assert_eq!(ftp.put("STOR /media/a.bin", b"abc").code, 226);
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        let mut data = ftp.data();
        assert_eq!(ftp.ask("RETR /media/a.bin").code, 150);
        let mut clear = [0; 64];
        use std::io::{Read, Write};
        data.write_all(b"GET").ok();
        let heard = data.read(&mut clear).unwrap_or(0);
        assert!(!clear[..heard].windows(3).any(|part| part == b"abc"), "sent in clear");

        // Without PROT P nothing is transferred at all, in clear neither.
        let mut ftp = Ftp::greet(daemon.ftp);
        assert_eq!(ftp.ask("AUTH TLS").code, 234);
        ftp.upgrade().unwrap();
        assert_eq!(ftp.ask("USER erp").code, 331);
        assert_eq!(ftp.ask(format!("PASS {PASSWORD}")).code, 230);
        for command in ["STOR /media/b.bin", "RETR /media/a.bin", "LIST"] {
            let Ok(reply) = ftp.try_ask("EPSV") else { break };
            if reply.code == 229 {
                let reply = ftp.ask(command);
                assert!(reply.refuses(), "{command}: {reply:?}");
            }
        }
    });
}

#[test]
fn a_second_auth_or_user_leaves_nobody_half_logged_in() {
    let daemon = Daemon::start();
    std::fs::write(daemon.path("acme2", "media/theirs.bin"), "x").unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        let reply = ftp.ask("AUTH TLS");
        assert!(reply.refuses(), "TLS in TLS: {reply:?}");
        assert_eq!(ftp.ask("NOOP").code, 200);
        for again in ["REIN", "USER erp2", "USER nobody", "USER erp"] {
            let mut ftp = Ftp::login(daemon.ftp, "erp");
            let reply = ftp.ask(again);
            if again == "REIN" {
                // Back to the beginning, and in some servers out of TLS.
                assert!([220, 502].contains(&reply.code), "{reply:?}");
                if reply.code == 502 {
                    continue;
                }
            }
            let size = ftp.ask("SIZE /media/theirs.bin");
            assert!(size.refuses(), "{again}: {size:?}");
            if !reply.refuses() {
                // The old login is over, or goes on; never a new one without a password.
                let pass = ftp.ask("PASS wrong");
                assert!(pass.refuses(), "{again}: {pass:?}");
                assert!(ftp.ask("MKD /media/new").refuses(), "{again}");
                assert!(!daemon.path("acme2", "media/new").exists(), "{again}");
            }
        }
    });
}

#[test]
fn where_tls_is_required_no_password_is_taken_in_clear() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut heard = Vec::new();
        for user in ["erp", "nobody", "", "erp\0", "a".repeat(400).as_str()] {
            let mut ftp = Ftp::greet(daemon.ftp);
            // In one piece, as those do who do not wait.
            ftp.send(format!("USER {user}\r\nPASS {PASSWORD}\r\n").as_bytes()).unwrap();
            while let Ok(reply) = ftp.reply() {
                assert!(reply.refuses(), "{user:?}: {reply:?}");
                heard.push(reply.code);
                if heard.len() % 2 == 0 {
                    break;
                }
            }
        }
        assert!(heard.contains(&530), "{heard:?}");
    });
}

#[test]
fn a_name_with_control_characters_is_nobody_and_never_raw_in_the_log() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let long = vec![b'a'; 1_000];
        let names = [
            b"erp\0".as_slice(),
            b"erp\0x",
            b"\0erp",
            b"erp\r",
            b"erp\rX",
            b"erp\x1b[2J",
            b"erp\x7f",
            b"erp ",
            b"erp\t",
            b"ERP",
            b"erp\xff",
            b"\xff\xfeerp",
            b"../erp",
            b"erp;",
            b"'or'1'='1",
            b"%s%n",
            b"",
            &long,
        ];
        std::thread::scope(|scope| {
            for name in names {
                let daemon = &daemon;
                scope.spawn(move || {
                    let mut ftp = Ftp::secure(daemon.ftp);
                    let line =
                        [b"USER ", name, b"\r\nPASS ", PASSWORD.as_bytes(), b"\r\n"].concat();
                    ftp.send(&line).unwrap();
                    // Whatever it made of that, nobody is inside.
                    while let Ok(reply) = ftp.reply() {
                        assert_ne!(reply.code, 230, "{name:?}: {reply:?}");
                        if reply.code == 530 {
                            break;
                        }
                    }
                });
            }
        });
    });
    let log = daemon.log();
    assert!(!log.contains('\x1b') && !log.contains('\0') && !log.contains(PASSWORD), "{log}");
}

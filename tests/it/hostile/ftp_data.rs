//! FTP's data connections: stolen, bounced, filled with garbage, never made, never read.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::daemon::{Daemon, PATIENCE, connect_from, reset};
use super::ftp::{CLEAR_TOO, Ftp};
use super::tls::{self, Wire};
use super::watch::{LITTLE_MEMORY, MIB, beside_a_good_client};

const THIEF: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const SECRET: &[u8] = b"for the owner's eyes only";

/// All there is to hear until the other side ends it.
fn heard(mut stream: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is an end, too.
    stream.read_to_end(&mut bytes).ok();
    bytes
}

#[test]
fn a_thief_of_another_address_at_the_passive_port_gets_nothing_and_disturbs_nobody() {
    let daemon = Daemon::with(CLEAR_TOO);
    std::fs::write(daemon.path("acme", "media/secret.bin"), SECRET).unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for clear in [true, false] {
            for command in ["RETR /media/secret.bin", "STOR /media/new.bin", "LIST /media"] {
                let login = if clear { Ftp::login_clear } else { Ftp::login };
                let mut ftp = login(daemon.ftp, "erp");
                let port = ftp.passive();
                let thieves: Vec<_> =
                    (0..3).filter_map(|_| connect_from(THIEF, port).ok()).collect();
                for mut thief in &thieves {
                    thief.write_all(b"the thief's bytes").ok();
                }
                let own = ftp.control.tcp().local_addr().unwrap().ip();
                let data = connect_from(own, port).expect("the owner still gets through");
                assert_eq!(ftp.ask(command).code, 150, "{command}");
                let mut data = ftp.protect(data).unwrap();
                if command.starts_with("STOR") {
                    data.write_all(SECRET).unwrap();
                    data.finish();
                } else {
                    let shown = data.read_all().unwrap();
                    assert!(!shown.is_empty());
                }
                assert_eq!(ftp.reply().unwrap().code, 226, "{command}");
                for thief in thieves {
                    assert_eq!(heard(thief), b"", "{command}");
                }
            }
            assert_eq!(std::fs::read(daemon.path("acme", "media/new.bin")).unwrap(), SECRET);
        }
    });
}

/// Behind one NAT the address says nothing; a TLS session does.
#[test]
fn a_thief_of_the_same_address_has_no_session_to_resume_where_that_is_required() {
    let daemon = Daemon::with("ftp.tls_session_reuse = \"required\"");
    std::fs::write(daemon.path("acme", "media/secret.bin"), SECRET).unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for command in ["RETR /media/secret.bin", "STOR /inbox/stolen.csv"] {
            let mut ftp = Ftp::login(daemon.ftp, "erp");
            let thief = ftp.data();
            assert_eq!(ftp.ask(command).code, 150);
            // A client of his own: a full handshake.
            let stolen = Wire::secure(thief, tls::client()).and_then(|mut thief| {
                thief.write_all(b"phone,text\n1,the thief's\n")?;
                let mut shown = [0; 64];
                let count = thief.read(&mut shown)?;
                thief.finish();
                Ok(shown[..count].to_vec())
            });
            assert!(stolen.is_err() || stolen.is_ok_and(|shown| shown.is_empty()), "{command}");
            let end = ftp.reply().unwrap();
            assert!(end.refuses(), "{command}: {end:?}");
            assert!(!daemon.path("acme", "inbox/stolen.csv").exists());
            // The owner is as well off as before.
            assert_eq!(ftp.get("RETR /media/secret.bin").0, SECRET);
        }
    });
}

#[test]
fn nobody_is_made_to_connect_to_a_third_address() {
    let daemon = Daemon::with(CLEAR_TOO);
    std::fs::write(daemon.path("acme", "media/a.bin"), "a").unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let victim = TcpListener::bind("127.0.0.7:0").unwrap();
        victim.set_nonblocking(true).unwrap();
        let port = victim.local_addr().unwrap().port();
        let (high, low) = (port >> 8, port & 255);
        let mut ftp = Ftp::login_clear(daemon.ftp, "erp");
        for command in [
            format!("PORT 127,0,0,7,{high},{low}"),
            format!("EPRT |1|127.0.0.7|{port}|"),
            format!("EPRT |2|::ffff:127.0.0.7|{port}|"),
            format!("EPRT |2|::1|{port}|"),
            format!("EPRT |1|localhost|{port}|"),
            format!("PORT 0,0,0,0,{high},{low}"),
            "PORT 127,0,0,1,0,22".to_owned(),
            "EPRT |1|127.0.0.1|22|".to_owned(),
            "PORT 10,0,0,1,0,80".to_owned(),
        ] {
            let reply = ftp.ask(&command);
            assert!(reply.refuses(), "{command}: {reply:?}");
            let reply = ftp.ask("RETR /media/a.bin");
            assert!(reply.refuses(), "{command}, then RETR: {reply:?}");
        }
        assert!(victim.accept().is_err(), "the victim was connected to");
    });
}

#[test]
fn garbage_on_the_data_channel_ends_the_transfer_and_not_the_session() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        let hello = [b"\x16\x03\x01\xff\xff\x01".as_slice(), &[0xff; 2_000]].concat();
        for garbage in [
            b"".as_slice(),
            b"GET / HTTP/1.1\r\n\r\n",
            &[0; 3_000],
            &hello,
            b"\x15\x03\x01\0\x02\x02\x28",
        ] {
            for command in ["STOR /inbox/garbage.csv", "APPE /inbox/garbage.csv", "MLSD /inbox"] {
                let mut data = ftp.data();
                assert_eq!(ftp.ask(command).code, 150, "{command}");
                data.write_all(garbage).ok();
                data.shutdown(std::net::Shutdown::Write).ok();
                let reply = ftp.reply().unwrap();
                assert!(reply.refuses(), "{command}: {reply:?}");
                assert_eq!(ftp.ask("NOOP").code, 200);
            }
        }
        assert!(!daemon.path("acme", "inbox/garbage.csv").exists());
        // In TLS, and cut off without its end: not a whole file.
        let mut data = ftp.transfer("STOR /inbox/garbage.csv").unwrap();
        data.write_all(b"phone,text\n1,x\n").unwrap();
        data.flush().unwrap();
        drop(data.into_tcp());
        let reply = ftp.reply().unwrap();
        assert!(reply.refuses(), "{reply:?}");
        assert!(!daemon.path("acme", "inbox/garbage.csv").exists());
        assert_eq!(ftp.ask("NOOP").code, 200);
    });
}

#[test]
fn a_data_connection_that_never_comes_or_never_speaks_is_given_up() {
    let daemon = Daemon::with("limits.stall_timeout = \"2s\"\nlimits.data_timeout = \"2s\"");
    std::fs::write(daemon.path("acme", "media/big.bin"), vec![7; 64 << 20]).unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let given_up = |mut ftp: Ftp, what: &str| {
            let begin = Instant::now();
            // Up to the reply that ends the transfer.
            let reply = loop {
                let reply = ftp.reply().unwrap_or_else(|error| panic!("{what}: {error}"));
                if reply.code >= 200 {
                    break reply;
                }
            };
            assert!(reply.refuses(), "{what}: {reply:?}");
            assert!(begin.elapsed() < PATIENCE, "{what}");
            assert_eq!(ftp.ask("NOOP").code, 200, "{what}");
        };
        std::thread::scope(|scope| {
            for what in ["no connection", "no TLS", "no byte", "no reader"] {
                let (daemon, given_up) = (&daemon, &given_up);
                scope.spawn(move || {
                    let mut ftp = Ftp::login(daemon.ftp, "erp");
                    let port = ftp.passive();
                    let from = ftp.control.tcp().local_addr().unwrap().ip();
                    let reads = what == "no reader";
                    let command = if reads { "RETR /media/big.bin" } else { "STOR /inbox/x.csv" };
                    ftp.control.tcp().set_read_timeout(Some(PATIENCE * 3)).unwrap();
                    if what == "no connection" {
                        ftp.send(format!("{command}\r\n").as_bytes()).unwrap();
                        return given_up(ftp, what);
                    }
                    let data = connect_from(from, port).unwrap();
                    assert_eq!(ftp.ask(command).code, 150, "{what}");
                    let kept = if what == "no TLS" {
                        Wire::Clear(data)
                    } else {
                        ftp.protect(data).unwrap()
                    };
                    given_up(ftp, what);
                    drop(kept);
                });
            }
        });
        assert!(!daemon.path("acme", "inbox/x.csv").exists());
    });
}

/// Each port asked for takes the place of the one before: they cannot be used up.
#[test]
fn ports_asked_for_and_never_used_are_given_back() {
    let daemon = Daemon::with(&format!("{CLEAR_TOO}\nftp.passive_ports = \"41000-41009\""));
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut greedy = Ftp::login_clear(daemon.ftp, "erp");
        let before = daemon.descriptors();
        let mut ports = Vec::new();
        for round in 0..500 {
            let reply = greedy.ask(if round % 2 == 0 { "PASV" } else { "EPSV" });
            assert!(!reply.refuses(), "round {round}: {reply:?}");
            ports.push(reply.text);
        }
        // The good client comes and goes meanwhile, with descriptors of its own.
        assert!(daemon.descriptors() < before + 40, "{} descriptors", daemon.descriptors());
        ports.sort();
        ports.dedup();
        assert!(ports.len() > 5, "a port that can be foretold: {ports:?}");
        let mut other = Ftp::login_clear(daemon.ftp, "erp2");
        assert_eq!(other.put("STOR /media/a.bin", b"a").code, 226);
    });
}

/// What a client may say while a transfer runs.
#[test]
fn commands_in_the_middle_of_a_transfer_do_not_confuse_it() {
    let daemon = Daemon::start();
    std::fs::write(daemon.path("acme", "media/big.bin"), vec![7; 16 << 20]).unwrap();
    beside_a_good_client(&daemon, 2 * LITTLE_MEMORY, || {
        // Aborted: 426 and 226, or 226 where it was over; the session goes on.
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        let data = ftp.transfer("RETR /media/big.bin").unwrap();
        let mut reply = ftp.ask("ABOR");
        assert!([426, 226, 225].contains(&reply.code), "{reply:?}");
        if reply.code == 426 {
            reply = ftp.reply().unwrap();
            assert!([226, 225].contains(&reply.code), "{reply:?}");
        }
        drop(data);
        assert_eq!(ftp.ask("NOOP").code, 200);
        // Another transfer, a new port, a rename of the file that grows, a new login.
        let mut data = ftp.transfer("STOR /media/grows.bin").unwrap();
        data.write_all(&[1; 1000]).unwrap();
        data.flush().unwrap();
        let flood = "STOR /media/b.bin\r\nRETR /media/big.bin\r\nEPSV\r\nPASV\r\nRNFR /media/grows.bin\r\n\
                     USER erp2\r\nAUTH TLS\r\nREIN\r\n";
        ftp.send(flood.repeat(50).as_bytes()).unwrap();
        data.write_all(&[1; 1000]).ok();
        data.finish();
        let timeout = Some(Duration::from_secs(1));
        ftp.control.tcp().set_read_timeout(timeout).unwrap();
        while ftp.reply().is_ok() {}
        assert!(!daemon.path("acme", "media/b.bin").exists());
        // A stop in the middle of everything.
        let mut ftp = Ftp::login(daemon.ftp, "erp");
        let data = ftp.transfer("RETR /media/big.bin").unwrap();
        reset(ftp.control.into_tcp());
        let cut = data.read_all();
        assert!(cut.is_err() || cut.is_ok_and(|bytes| bytes.len() <= 16 << 20));
    });
}

/// Downloads that nobody takes, from one account many times.
#[test]
fn slow_readers_cost_little() {
    let daemon = Daemon::with("limits.stall_timeout = \"3s\"");
    std::fs::write(daemon.path("acme", "media/big.bin"), vec![7; 64 << 20]).unwrap();
    beside_a_good_client(&daemon, 64 * MIB, || {
        let stuck: Vec<(Ftp, Wire)> = (0..20)
            .map(|_| {
                let mut ftp = Ftp::login(daemon.ftp, "erp");
                let data = ftp.transfer("RETR /media/big.bin").unwrap();
                (ftp, data)
            })
            .collect();
        for (mut ftp, data) in stuck {
            let reply = ftp.reply().unwrap();
            assert!(reply.refuses(), "{reply:?}");
            drop(data);
        }
    });
}

#[test]
fn the_port_of_one_session_is_of_no_use_to_another() {
    let daemon = Daemon::with(CLEAR_TOO);
    std::fs::write(daemon.path("acme", "media/secret.bin"), SECRET).unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        // The same address, as behind one NAT, and another tenant.
        let from = IpAddr::from(Ipv4Addr::new(127, 8, 0, 1));
        let session = |account: &str| {
            let mut ftp = Ftp::over(connect_from(from, daemon.ftp).unwrap()).unwrap();
            assert_eq!(ftp.ask(format!("USER {account}")).code, 331);
            assert_eq!(ftp.ask(format!("PASS {}", super::daemon::PASSWORD)).code, 230);
            ftp
        };
        let (mut own, mut other) = (session("erp"), session("erp2"));
        let port: SocketAddr = own.passive();
        // The other asks to be sent its own listing to a port it never had.
        let reply = other.ask("LIST");
        assert!(reply.refuses(), "no port was asked for: {reply:?}");
        let data = connect_from(from, port).unwrap();
        assert_eq!(own.ask("RETR /media/secret.bin").code, 150);
        assert_eq!(Wire::Clear(data).read_all().unwrap(), SECRET);
        assert_eq!(own.reply().unwrap().code, 226);
    });
}

//! What SSH must not grant to those who have not logged in, or logged in as somebody else.

use std::net::Shutdown;

use super::daemon::Daemon;
use super::ssh::{self, Ssh, channel_open, string};
use super::watch::{LITTLE_MEMORY, beside_a_good_client};

/// What the server may say before login; all else would be a favour.
const BEFORE_LOGIN: &[u8] = &[1, 2, 3, 4, 6, 7, 20, 21, 31, 51, 53];

#[test]
fn no_ssh_message_opens_anything_before_login() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for kind in 0..=255 {
            for behind_exchange in [false, true] {
                let mut ssh = Ssh::greet(daemon.sftp);
                if behind_exchange {
                    ssh.exchange_keys().unwrap();
                }
                let when = if behind_exchange { "behind" } else { "before" };
                let heard = attack(&mut ssh, kind);
                let favour = heard.iter().find(|kind| !BEFORE_LOGIN.contains(kind));
                assert_eq!(favour, None, "message {kind} {when} the key exchange: {heard:?}");
            }
        }
    });
}

/// Sends a message of this kind, then asks for a channel; what was heard until the end.
fn attack(ssh: &mut Ssh, kind: u8) -> Vec<u8> {
    // A body that means something to many: a name, then numbers.
    let mut message = channel_open(b"session", 0, 1 << 20);
    message[0] = kind;
    // The server may end the connection in the middle of this.
    let _gone = ssh.send(&message).is_err();
    let _gone = ssh.send(&channel_open(b"session", 0, 1 << 20)).is_err();
    ssh.stream.shutdown(Shutdown::Write).ok();
    ssh.last_words()
}

/// As in the holes of libssh (2018) and Erlang (2025): the client says "success" itself, or simply
/// goes on as if it were inside.
#[test]
fn who_acts_as_if_logged_in_is_not() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut subsystem = vec![ssh::CHANNEL_REQUEST, 0, 0, 0, 0];
        string(&mut subsystem, b"subsystem");
        subsystem.push(1);
        string(&mut subsystem, b"sftp");
        let mut exec = vec![ssh::CHANNEL_REQUEST, 0, 0, 0, 0];
        string(&mut exec, b"exec");
        exec.push(1);
        string(&mut exec, b"id");
        let mut connection = vec![5];
        string(&mut connection, b"ssh-connection");
        let open = channel_open(b"session", 0, 1 << 20);
        let success = vec![ssh::USERAUTH_SUCCESS];
        for steps in [
            vec![&open, &subsystem],
            vec![&open, &exec],
            vec![&success, &open, &subsystem],
            vec![&connection, &open, &subsystem],
        ] {
            for service in [false, true] {
                let mut ssh = Ssh::exchange(daemon.sftp);
                if service {
                    ssh.begin_userauth().unwrap();
                }
                for step in &steps {
                    if ssh.send(step).is_err() {
                        break;
                    }
                }
                ssh.stream.shutdown(Shutdown::Write).ok();
                let heard = ssh.last_words();
                let favour = heard.iter().find(|kind| !BEFORE_LOGIN.contains(kind));
                assert_eq!(favour, None, "{steps:?}: {heard:?}");
            }
        }
    });
}

#[test]
fn a_name_with_control_characters_is_nobody_and_never_raw_in_the_log() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let long = vec![b'a'; 30_000];
        let names = [
            b"erp\0".as_slice(),
            b"erp\0x",
            b"\0erp",
            b"erp\r\n",
            b"erp\n2026-11-23 ERROR forged",
            b"\x1b[2Jerp",
            b"erp\x7f",
            b"erp ",
            b" erp",
            b"ERP",
            b"erp\xff",
            b"er",
            b"../erp",
            b"",
            &long,
        ];
        // At the same time: each wrong password is answered late.
        std::thread::scope(|scope| {
            for name in names {
                let daemon = &daemon;
                scope.spawn(move || {
                    let mut ssh = Ssh::exchange(daemon.sftp);
                    ssh.begin_userauth().unwrap();
                    for request in [ssh.key_login(name), password_login(name)] {
                        // Refused, or the connection ends.
                        let inside = ssh.asks_in(&request).unwrap_or(false);
                        assert!(!inside, "{name:?} was let in");
                    }
                });
            }
        });
    });
    let log = daemon.log();
    assert!(!log.contains("\x1b[2J") && !log.contains("\nforged"), "{log}");
    assert!(!log.lines().any(|line| line.starts_with("2026-11-23 ERROR forged")), "{log}");
    assert!(!log.contains(super::daemon::PASSWORD), "{log}");
}

fn password_login(name: &[u8]) -> Vec<u8> {
    let mut request = vec![50];
    for part in [name, b"ssh-connection", b"password"] {
        string(&mut request, part);
    }
    request.push(0);
    string(&mut request, super::daemon::PASSWORD.as_bytes());
    request
}

/// A user name that changes between two tries, services and methods nobody has.
#[test]
fn odd_requests_for_login_are_refused() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for (service, method) in [
            (b"ssh-connection".as_slice(), b"none".as_slice()),
            (b"ssh-connection", b""),
            (b"ssh-connection", b"hostbased"),
            (b"ssh-connection", b"gssapi-with-mic"),
            (b"ssh-connection", b"keyboard-interactive"),
            (b"ssh-userauth", b"none"),
            (b"", b"none"),
            (b"\0\xff", b"\0\xff"),
        ] {
            let mut ssh = Ssh::exchange(daemon.sftp);
            ssh.begin_userauth().unwrap();
            let mut request = vec![50];
            for part in [b"erp".as_slice(), service, method] {
                string(&mut request, part);
            }
            request.extend_from_slice(&[0; 8]);
            ssh.send(&request).unwrap();
            ssh.stream.shutdown(Shutdown::Write).ok();
            let heard = ssh.last_words();
            let allowed = |kind: &u8| BEFORE_LOGIN.contains(kind) || *kind == 60;
            assert!(heard.iter().all(allowed), "{method:?}: {heard:?}");
        }
    });
}

#[test]
fn a_login_is_for_files_and_nothing_else() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for kind in [
            "direct-tcpip",
            "direct-streamlocal@openssh.com",
            "forwarded-tcpip",
            "x11",
            "auth-agent@openssh.com",
            "tun@openssh.com",
        ] {
            let mut open = channel_open(kind.as_bytes(), 7, 1 << 20);
            open.extend_from_slice(&parameters(kind));
            let mut ssh = Ssh::login(daemon.sftp, "erp");
            assert_refused(&mut ssh, &open, [ssh::CHANNEL_OPENED, ssh::OPEN_FAILURE], kind);
        }
        for kind in
            ["tcpip-forward", "cancel-tcpip-forward", "streamlocal-forward@openssh.com", "x"]
        {
            let mut request = vec![80];
            string(&mut request, kind.as_bytes());
            request.push(1);
            request.extend_from_slice(&parameters(kind));
            let mut ssh = Ssh::login(daemon.sftp, "erp");
            assert_refused(&mut ssh, &request, [ssh::REQUEST_SUCCESS, ssh::REQUEST_FAILURE], kind);
        }
        for kind in [
            "exec",
            "shell",
            "env",
            "pty-req",
            "x11-req",
            "auth-agent-req@openssh.com",
            "subsystem",
            "break",
            "x",
        ] {
            let mut ssh = Ssh::login(daemon.sftp, "erp");
            ssh.send(&channel_open(b"session", 0, 1 << 20)).unwrap();
            let opened = ssh.await_kind(ssh::CHANNEL_OPENED).unwrap();
            let mut request = vec![ssh::CHANNEL_REQUEST];
            request.extend_from_slice(&opened[5..9]);
            string(&mut request, kind.as_bytes());
            request.push(1);
            request.extend_from_slice(&parameters(kind));
            assert_refused(&mut ssh, &request, [ssh::CHANNEL_SUCCESS, ssh::CHANNEL_FAILURE], kind);
        }
    });
}

/// What stands behind the name of a request or of a channel's kind.
fn parameters(kind: &str) -> Vec<u8> {
    let mut parameters = Vec::new();
    match kind {
        "direct-tcpip" | "forwarded-tcpip" => {
            // Where to, and where from.
            for _ in 0..2 {
                string(&mut parameters, b"127.0.0.1");
                parameters.extend_from_slice(&22u32.to_be_bytes());
            }
        }
        "direct-streamlocal@openssh.com" => {
            string(&mut parameters, b"/run/dbus/system_bus_socket");
            string(&mut parameters, b"");
            parameters.extend_from_slice(&[0; 4]);
        }
        "tcpip-forward" | "cancel-tcpip-forward" | "x11" => {
            string(&mut parameters, b"127.0.0.1");
            parameters.extend_from_slice(&2222u32.to_be_bytes());
        }
        "streamlocal-forward@openssh.com" => string(&mut parameters, b"/tmp/socket"),
        "tun@openssh.com" => parameters.extend_from_slice(&[0; 8]),
        "exec" | "subsystem" => string(&mut parameters, b"scp -t /"),
        "env" => {
            string(&mut parameters, b"LD_PRELOAD");
            string(&mut parameters, b"/media/evil.so");
        }
        "pty-req" => {
            string(&mut parameters, b"xterm");
            parameters.extend_from_slice(&[0; 16]);
            string(&mut parameters, &[0]);
        }
        "x11-req" => {
            parameters.push(0);
            string(&mut parameters, b"MIT-MAGIC-COOKIE-1");
            string(&mut parameters, b"00");
            parameters.extend_from_slice(&[0; 4]);
        }
        "break" => parameters.extend_from_slice(&[0; 4]),
        _ => {}
    }
    parameters
}

/// Refused means: this very answer, so that the client does not wait for ever.
fn assert_refused(ssh: &mut Ssh, request: &[u8], granted_refused: [u8; 2], what: &str) {
    ssh.send(request).unwrap();
    loop {
        match ssh.receive() {
            Ok(packet) if packet[0] == granted_refused[1] => return,
            Ok(packet) => assert_ne!(packet[0], granted_refused[0], "{what} was granted"),
            Err(error) => panic!("{what}: no answer: {error}"),
        }
    }
}

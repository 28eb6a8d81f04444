//! Lengths no packet can have, in clear and behind the key exchange, before and after login.

use std::io::Write;

use super::daemon::{Daemon, assert_ends, pour, sized};
use super::sftp::{self, Sftp};
use super::ssh::Ssh;
use super::watch::{LITTLE_MEMORY, beside_a_good_client};

const LENGTHS: [u32; 8] = [0, 1, 3, 35_001, 1 << 20, 1 << 31, u32::MAX - 3, u32::MAX];

#[test]
fn an_ssh_packet_of_an_impossible_length_ends_the_connection_and_takes_no_memory() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for length in LENGTHS {
            let what = format!("length {length}");
            let mut clear = Ssh::greet(daemon.sftp);
            attack(&mut clear, length);
            assert_ends(clear.stream, &format!("{what} in clear"));
            let mut sealed = Ssh::exchange(daemon.sftp);
            attack(&mut sealed, length);
            assert_ends(sealed.stream, &format!("{what} before login"));
            let mut inside = Ssh::login(daemon.sftp, "erp");
            attack(&mut inside, length);
            assert_ends(inside.stream, &format!("{what} after login"));
        }
    });
}

/// A packet that says it is `length` bytes long, and a MiB behind it, for those who wait for the rest.
fn attack(ssh: &mut Ssh, length: u32) {
    let packet = ssh.wrap(&[2, 0, 0, 0, 1, 0], Some(length));
    // The server may have gone before all is written.
    ssh.stream.write_all(&packet).ok();
    for _ in 0..32 {
        let _gone = ssh.stream.write_all(&[0x55; 32 << 10]).is_err();
    }
}

#[test]
fn a_greeting_without_an_end_is_cut_short() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let total = sized(64 << 20, 1 << 30);
        for part in [[b'A'; 32 << 10], [b'\n'; 32 << 10], [0; 32 << 10]] {
            let mut stream = super::daemon::connect(daemon.sftp);
            pour(&mut stream, &part, total, "a greeting without an end");
        }
    });
}

#[test]
fn an_sftp_packet_of_an_impossible_length_ends_the_channel_and_takes_no_memory() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for length in [0, 1, 4, (256 << 10) + 1025, 1 << 31, u32::MAX] {
            let mut sftp = Sftp::login(daemon.sftp, "erp");
            let mut bytes = length.to_be_bytes().to_vec();
            bytes.resize(100_000, 1);
            let end = sftp.send(&bytes).and_then(|()| sftp.answer());
            assert!(end.is_err(), "length {length} was answered: {end:?}");
        }
    });
}

/// Every kind of packet, cut off early, and with a length inside that reaches beyond its end.
#[test]
fn sftp_packets_that_hold_less_than_they_say_are_answered_or_end_the_channel() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut body = sftp::two_paths_body(b"/inbox/a.csv", b"/inbox/b.csv");
        body.extend_from_slice(&[0xff; 12]);
        let mut lie = body.clone();
        lie[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        let mut sftp = Sftp::login(daemon.sftp, "erp");
        for kind in (0..=22).chain([99, 101, 105, 200, 201, 255]) {
            for body in [&body[..0], &body[..3], &body[..9], &body[..20], &lie] {
                // What is answered is answered as a whole; what is not, ends the channel.
                sftp.ask_anything(&sftp::packet(kind, 7, body));
                sftp = sftp.again();
            }
        }
    });
}

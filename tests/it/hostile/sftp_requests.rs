//! SFTP requests that are well formed and too many, too large or never waited for.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::daemon::{Daemon, assert_ends, sized};
use super::sftp::{self, Sftp};
use super::ssh::Ssh;
use super::watch::{LITTLE_MEMORY, MIB, beside_a_good_client};

/// What a session may have open; the rest is refused with a sentence.
#[test]
fn ten_thousand_handles_are_not_given() {
    const HANDLES_MAX: usize = 64;
    let daemon = Daemon::with(&format!("limits.handles_max = {HANDLES_MAX}"));
    std::fs::write(daemon.path("acme", "media/a.bin"), "a").unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let before = daemon.descriptors();
        let mut sftp = Sftp::login(daemon.sftp, "erp");
        for round in 0..10_000 / 4 {
            let upload = format!("/inbox/{round}.csv").into_bytes();
            for (kind, body) in [
                (3, sftp::open_body(b"/media/a.bin", sftp::READ)),
                (3, sftp::open_body(b"/media/b.bin", sftp::CREATE)),
                (3, sftp::open_body(&upload, sftp::CREATE)),
                (11, sftp::path_body(b"/inbox")),
            ] {
                let answer = sftp.ask(kind, &body).unwrap();
                // The second upload of one name at a time may be refused as well.
                if round * 4 > HANDLES_MAX {
                    assert!(sftp::status(&answer).is_some_and(|code| code > 1), "round {round}");
                }
            }
        }
        let open = daemon.descriptors() - before;
        assert!(open < HANDLES_MAX * 2 + 64, "{open} descriptors");
        // What is closed makes room.
        assert_eq!(sftp::status(&sftp.close(b"0")), Some(0));
        sftp.open(b"/media/a.bin", sftp::READ).unwrap();
        for handle in [b"".as_slice(), b"0", b"-1", b"18446744073709551616", b"9999", &[0xff; 200]]
        {
            let code = sftp::status(&sftp.close(handle));
            assert!(code.is_some_and(|code| code > 1), "{handle:?}: {code:?}");
        }
    });
}

#[test]
fn listings_of_a_hundred_thousand_files_that_are_abandoned_cost_little() {
    let daemon = Daemon::start();
    let folder = daemon.path("acme", "media/many");
    std::fs::create_dir(&folder).unwrap();
    let files = sized(20_000, 100_000);
    for number in 0..files {
        std::fs::File::create(folder.join(format!("{number:06}_a_name_as_exports_have.csv")))
            .unwrap();
    }
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut sftp = Sftp::login(daemon.sftp, "erp");
        for _ in 0..100 {
            let opened = sftp.ask(11, &sftp::path_body(b"/media/many")).unwrap();
            let handle = sftp::handle_of(opened).unwrap();
            let names = sftp.ask(12, &sftp::path_body(&handle)).unwrap();
            assert_eq!(names[0], sftp::NAME);
        }
        drop(sftp);
        // One that is read to its end is whole.
        let mut sftp = Sftp::login(daemon.sftp, "erp");
        let opened = sftp.ask(11, &sftp::path_body(b"/media/many")).unwrap();
        let handle = sftp::handle_of(opened).unwrap();
        let mut found = 0;
        loop {
            let names = sftp.ask(12, &sftp::path_body(&handle)).unwrap();
            if names[0] != sftp::NAME {
                break;
            }
            found += u32::from_be_bytes(names[5..9].try_into().unwrap());
        }
        assert_eq!(found, files);
    });
}

/// The answers would be 1.2 GiB: they are not made before the client takes them.
#[test]
fn five_thousand_requests_whose_answers_nobody_takes_cost_little() {
    const REQUESTS: u64 = 5_000;
    let daemon = Daemon::start();
    std::fs::write(daemon.path("acme", "media/big.bin"), vec![7; 4 << 20]).unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        // With no room for answers at all, with some, and with all there can be while nobody reads.
        for window in [64 << 10, 1 << 20, u32::MAX] {
            let mut sftp = Sftp::on(Ssh::login(daemon.sftp, "erp"), window).unwrap();
            let handle = sftp.open(b"/media/big.bin", sftp::READ).unwrap();
            let mut all = Vec::new();
            for number in 0..REQUESTS {
                let body = sftp::read_body(&handle, number % 16 * (255 << 10), 255 << 10);
                all.extend_from_slice(&sftp::packet(5, number as u32, &body));
                all.extend_from_slice(&sftp::packet(
                    17,
                    number as u32,
                    &sftp::path_body(b"/inbox"),
                ));
            }
            // They fit into the window we were given, so nothing is read meanwhile.
            let written = sftp.send(&all);
            assert!(written.is_ok(), "{window}: {written:?}");
        }
    });
}

/// Requests without end: at some point the server does not take them any more.
#[test]
fn who_asks_without_end_and_takes_no_answer_is_cut_or_kept_waiting() {
    let daemon = Daemon::with("limits.idle_timeout = \"3s\"");
    std::fs::write(daemon.path("acme", "media/big.bin"), vec![7; 1 << 20]).unwrap();
    beside_a_good_client(&daemon, 96 * MIB, || {
        let mut sftp = Sftp::on(Ssh::login(daemon.sftp, "erp"), 100_000).unwrap();
        let handle = sftp.open(b"/media/big.bin", sftp::READ).unwrap();
        let request = sftp::packet(5, 1, &sftp::read_body(&handle, 0, 255 << 10));
        let part = request.repeat(1000);
        let begin = std::time::Instant::now();
        let stuck = (0..sized(2_000, 20_000)).any(|_| sftp.send(&part).is_err());
        assert!(stuck, "all requests were taken in {:?}", begin.elapsed());
    });
}

#[test]
fn offsets_and_sizes_near_the_end_of_numbers_make_no_giants() {
    const HUGE: [u64; 5] = [1 << 31, 1 << 40, 1 << 62, i64::MAX as u64, u64::MAX];
    let daemon = Daemon::start();
    std::fs::write(daemon.path("acme", "media/a.bin"), "abc").unwrap();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        let mut sftp = Sftp::login(daemon.sftp, "erp");
        for (round, huge) in HUGE.into_iter().enumerate() {
            for path in [format!("/inbox/{round}.csv"), format!("/media/{round}.bin")] {
                let path = path.as_bytes();
                let handle = sftp.open(path, sftp::CREATE).unwrap();
                for offset in [huge, huge.wrapping_sub(3), huge - 1] {
                    let code = sftp::status(&sftp.write(&handle, offset, b"0123456789"));
                    assert!(code.is_some_and(|code| code > 1), "WRITE at {offset}: {code:?}");
                }
                let mut attributes = sftp::number_body(&handle, 1);
                attributes.extend_from_slice(&huge.to_be_bytes());
                let answer = sftp.ask(10, &attributes).unwrap();
                assert!(sftp::status(&answer).is_some_and(|code| code > 1), "FSETSTAT {huge}");
                no_giants(daemon.folder.path());
                sftp.close(&handle);
                let mut attributes = sftp::number_body(path, 1);
                attributes.extend_from_slice(&huge.to_be_bytes());
                let answer = sftp.ask(9, &attributes).unwrap();
                assert!(sftp::status(&answer).is_some_and(|code| code > 1), "SETSTAT {huge}");
                // A size in OPEN is no more than a wish.
                let mut open = sftp::number_body(path, sftp::CREATE);
                open.extend_from_slice(&1u32.to_be_bytes());
                open.extend_from_slice(&huge.to_be_bytes());
                sftp.ask(3, &open).unwrap();
                no_giants(daemon.folder.path());
            }
            let handle = sftp.open(b"/media/a.bin", sftp::READ).unwrap();
            assert_eq!(
                sftp::status(&sftp.read(&handle, huge, u32::MAX)),
                Some(1),
                "READ at {huge}"
            );
            assert_eq!(sftp.read(&handle, 0, u32::MAX)[9..], *b"abc");
            sftp.close(&handle);
        }
    });
    no_giants(daemon.folder.path());
}

/// No file of a tenant or of an upload is longer, or holds more blocks, than what was written.
pub(super) fn no_giants(folder: &Path) {
    for part in ["data/tenants", "data/uploads"] {
        let mut folders = vec![folder.join(part)];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).into_iter().flatten() {
                let path = entry.unwrap().path();
                // Gone meanwhile: a file of the good client.
                let Ok(facts) = std::fs::symlink_metadata(&path) else { continue };
                if facts.is_dir() {
                    folders.push(path);
                } else {
                    let (bytes, blocks) = (facts.len(), facts.blocks());
                    assert!(
                        bytes <= 1 << 20 && blocks <= 4096,
                        "{path:?}: {bytes} bytes, {blocks} blocks"
                    );
                }
            }
        }
    }
}

/// Data for channels nobody opened, windows beyond all numbers, channels without end.
#[test]
fn channel_messages_out_of_turn_do_no_harm() {
    let daemon = Daemon::start();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for kind in 91..=100 {
            for channel in [0u32, 1, 77, u32::MAX] {
                let mut ssh = Ssh::login(daemon.sftp, "erp");
                let mut message = vec![kind];
                message.extend_from_slice(&channel.to_be_bytes());
                message.extend_from_slice(&[0xff; 4]);
                message.extend_from_slice(&[0; 40]);
                ssh.send(&message).ok();
                ssh.stream.shutdown(std::net::Shutdown::Write).ok();
                assert_ends(ssh.stream, &format!("message {kind} for channel {channel}"));
            }
        }
        // Channels are limited; each that is refused costs nothing.
        let mut ssh = Ssh::login(daemon.sftp, "erp");
        let mut opened = 0;
        for number in 0..1_000 {
            ssh.send(&super::ssh::channel_open(b"session", number, 1 << 20)).unwrap();
            loop {
                match ssh.receive().unwrap()[0] {
                    super::ssh::CHANNEL_OPENED => opened += 1,
                    92 => {}
                    _ => continue,
                }
                break;
            }
        }
        assert!(opened <= 16, "{opened} channels");
    });
}

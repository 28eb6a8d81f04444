//! Clients that die in the middle of an upload over SFTP.

use std::io::Write;

use super::daemon::{Daemon, reset, wait_until};
use super::sftp::{self, Sftp};
use super::watch::{LITTLE_MEMORY, beside_a_good_client};

/// So that answers, if there are any, come soon.
pub(super) const QUICK: &str = "defaults.grace = \"200ms\"\ndefaults.settle = \"200ms\"";
pub(super) const TENTH_BYTES: usize = 20_000;

/// What is uploaded: lines, so that every cut falls into one.
pub(super) fn whole() -> Vec<u8> {
    b"row_id,phone,text\n"
        .iter()
        .copied()
        .chain(b"1,01701234567,x\n".repeat(20_000))
        .take(10 * TENTH_BYTES)
        .collect()
}

/// The bytes of `name` as they were archived when it was answered.
pub(super) fn archived(daemon: &Daemon, name: &str) -> Option<Vec<u8>> {
    let mut folders = vec![daemon.path("acme", "archive")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(&format!("_{name}")) {
                return Some(std::fs::read(path).unwrap());
            }
        }
    }
    None
}

/// Whether a file was answered.
pub(super) fn answered(daemon: &Daemon, name: &str) -> bool {
    daemon.path("acme", &format!("outbox/{name}.ack.csv")).exists()
}

/// Panics where a file of which only a part was sent stands in the inbox or was answered. A whole
/// file, sent last, is answered first.
pub(super) fn assert_unpublished(daemon: &Daemon, names: &[String]) {
    let mut sftp = Sftp::login(daemon.sftp, "erp");
    let handle = sftp.open(b"/inbox/fence.csv", sftp::CREATE).unwrap();
    sftp.write(&handle, 0, b"phone,text\n1,x\n");
    assert_eq!(sftp::status(&sftp.close(&handle)), Some(0));
    wait_until("the whole file is answered", || answered(daemon, "fence.csv"));
    for name in names {
        assert!(!daemon.path("acme", &format!("inbox/{name}")).exists(), "{name} was published");
        assert!(!answered(daemon, name), "{name} was answered");
        assert_eq!(archived(daemon, name), None, "{name} was taken");
    }
}

#[test]
fn an_upload_killed_at_any_tenth_is_neither_published_nor_answered_and_can_be_resumed() {
    let daemon = Daemon::with(QUICK);
    let whole = whole();
    let names: Vec<String> = (0..=10).map(|tenth| format!("cut{tenth}.csv")).collect();
    beside_a_good_client(&daemon, LITTLE_MEMORY, || {
        for (tenth, name) in names.iter().enumerate() {
            let mut sftp = Sftp::login(daemon.sftp, "erp");
            let path = format!("/inbox/{name}").into_bytes();
            let handle = sftp.open(&path, sftp::CREATE).unwrap();
            for part in 0..tenth {
                let bytes = &whole[part * TENTH_BYTES..(part + 1) * TENTH_BYTES];
                let offset = (part * TENTH_BYTES) as u64;
                assert_eq!(sftp::status(&sftp.write(&handle, offset, bytes)), Some(0));
            }
            // Dies in the middle of the next packet: by a reset, or by closing.
            let next = sftp.ssh.wrap(&[94; 5_000], None);
            sftp.ssh.stream.write_all(&next[..1_000]).unwrap();
            if tenth % 2 == 0 {
                reset(sftp.ssh.stream);
            }
        }
        assert_unpublished(&daemon, &names);
        for (tenth, name) in names.iter().enumerate() {
            resume(&daemon, name, &whole, tenth * TENTH_BYTES);
        }
        for name in &names {
            wait_until("the resumed file is answered", || answered(&daemon, name));
            assert!(archived(&daemon, name).unwrap() == whole, "{name} holds other bytes");
        }
    });
}

/// Looks how much is there, as clients do, and sends the rest.
fn resume(daemon: &Daemon, name: &str, whole: &[u8], sent: usize) {
    let path = format!("/inbox/{name}").into_bytes();
    let mut sftp = Sftp::login(daemon.sftp, "erp");
    let answer = sftp.ask(17, &sftp::path_body(&path)).unwrap();
    let handle = if answer[0] == sftp::ATTRS {
        let there = u64::from_be_bytes(answer[9..17].try_into().unwrap());
        assert_eq!(there, sent as u64, "{name}");
        sftp.open(&path, sftp::WRITE).unwrap()
    } else {
        // Where not a byte came there is nothing to go on with.
        assert_eq!(sent, 0, "{name} is not shown: {:?}", String::from_utf8_lossy(&answer));
        sftp.open(&path, sftp::CREATE).unwrap()
    };
    for (number, part) in whole[sent..].chunks(TENTH_BYTES).enumerate() {
        let offset = (sent + number * TENTH_BYTES) as u64;
        assert_eq!(sftp::status(&sftp.write(&handle, offset, part)), Some(0), "{name}");
    }
    let closed = sftp.close(&handle);
    assert_eq!(sftp::status(&closed), Some(0), "{}", String::from_utf8_lossy(&closed));
}

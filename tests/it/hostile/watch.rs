//! What must hold beside every attack: bounded memory, a good client that goes on, a quiet log.

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::daemon::{Daemon, PATIENCE, connect_from};
use super::sftp::{self, Sftp};
use super::ssh::Ssh;

/// Where the good client comes from; no attack does.
const GOOD_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 99);
/// The good client's account.
const GOOD_ACCOUNT: &str = "good";
const GOOD_FILE_BYTES: usize = 100_000;
/// The longest a good client's round may take: connect, log in, put a file, get it, go.
const GOOD_ROUND: Duration = Duration::from_secs(10);

/// Memory an attack may cost over what the idle daemon and one good client take.
pub(super) const MIB: u64 = 1 << 10;
pub(super) const LITTLE_MEMORY: u64 = 48 * MIB;

/// Runs an attack on a daemon and watches it. `memory_kib` is what the daemon may grow by.
pub(super) fn beside_a_good_client(daemon: &Daemon, memory_kib: u64, attack: impl FnOnce()) {
    watch(daemon, memory_kib, Duration::ZERO, attack);
}

/// The same where the good client may be turned away and try again, as people's clients do.
pub(super) fn beside_a_patient_client(daemon: &Daemon, memory_kib: u64, attack: impl FnOnce()) {
    watch(daemon, memory_kib, GOOD_ROUND, attack);
}

fn watch(daemon: &Daemon, memory_kib: u64, patience: Duration, attack: impl FnOnce()) {
    // What the first session makes once and for all is no growth.
    good_round(daemon).expect("the good client before the attack");
    daemon.forget_peak();
    let before = daemon.memory_kib("VmHWM");
    let over = AtomicBool::new(false);
    let (rounds, slowest) = std::thread::scope(|scope| {
        let good = scope.spawn(|| good_client(daemon, patience, &over));
        let stop = SetOnDrop(&over);
        attack();
        drop(stop);
        good.join().expect("the good client goes on")
    });
    let grown = daemon.memory_kib("VmHWM").saturating_sub(before);
    println!(
        "the daemon grew by {grown} KiB over {before}; the good client made {rounds} rounds, the \
         slowest in {} ms",
        slowest.as_millis()
    );
    assert!(daemon.is_alive(), "{}", daemon.log());
    assert!(grown <= memory_kib, "the daemon grew by {grown} KiB, more than {memory_kib}");
    assert!(slowest <= GOOD_ROUND, "the good client waited {slowest:?}");
    let log = daemon.log();
    let bad = |line: &&str| line.contains("panicked") || line.contains(" ERROR ");
    let bad: Vec<_> = log.lines().filter(bad).collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Lets the good client stop, however the attack ends.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Round after round until the attack is over, one more after it.
fn good_client(daemon: &Daemon, patience: Duration, over: &AtomicBool) -> (usize, Duration) {
    let (mut rounds, mut slowest) = (0, Duration::ZERO);
    loop {
        let last = over.load(Ordering::Relaxed);
        let begin = Instant::now();
        while let Err(error) = good_round(daemon) {
            assert!(begin.elapsed() < patience, "round {rounds}: {error}");
        }
        slowest = slowest.max(begin.elapsed());
        rounds += 1;
        if last {
            return (rounds, slowest);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Connects, logs in, puts a file and gets it.
fn good_round(daemon: &Daemon) -> io::Result<()> {
    let stream = connect_from(GOOD_ADDRESS, daemon.sftp)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut ssh = Ssh::over(stream)?;
    ssh.exchange_keys()?;
    ssh.authenticate(GOOD_ACCOUNT)?;
    let mut sftp = Sftp::on(ssh, 1 << 20)?;
    let bytes: Vec<u8> = (0..GOOD_FILE_BYTES).map(|n| (n % 251) as u8).collect();
    let refused =
        |answer: &[u8]| io::Error::other(format!("{:?}", String::from_utf8_lossy(answer)));
    let handle = sftp.open(b"/media/good.bin", sftp::CREATE).map_err(|answer| refused(&answer))?;
    sftp.write(&handle, 0, &bytes);
    let closed = sftp.close(&handle);
    if sftp::status(&closed) != Some(0) {
        return Err(refused(&closed));
    }
    let handle = sftp.open(b"/media/good.bin", sftp::READ).map_err(|answer| refused(&answer))?;
    let got = sftp.read(&handle, 0, GOOD_FILE_BYTES as u32);
    let same = got[0] == sftp::DATA && got[9..] == bytes;
    if same { Ok(()) } else { Err(io::Error::other("other bytes came back")) }
}

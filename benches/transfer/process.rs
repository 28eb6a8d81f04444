//! Server processes: started, measured with all their descendants, and ended.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

const REAP: &str = "--reap";
const REAP_WITHOUT_SYNC: &str = "--reap-without-sync";

/// Whether a server's fsync reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    Real,
    /// Every call that syncs returns success at once: the same program, disk and load without syncs.
    Skipped,
}

/// A server under a parent of our own, which adopts what the server's processes leave behind: the CPU
/// time of servers that fork for each connection is complete only so.
#[derive(Debug)]
pub struct Process {
    reaper: Child,
}

impl Process {
    pub fn start(command: &[String], library_path: &str, sync: Sync, log: &Path) -> Process {
        let log = File::create(log).unwrap();
        let reaper = Command::new(std::env::current_exe().unwrap())
            .arg(if sync == Sync::Real { REAP } else { REAP_WITHOUT_SYNC })
            .args(command)
            .env("LD_LIBRARY_PATH", library_path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Process { reaper }
    }

    /// The processes of the server that are alive, the oldest first.
    fn members(&self) -> Vec<Stat> {
        let mut children: HashMap<u32, Vec<Stat>> = HashMap::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            if let Some(stat) = entry.file_name().to_str().and_then(Stat::of) {
                children.entry(stat.parent).or_default().push(stat);
            }
        }
        let mut found = Stat::of(&self.reaper.id().to_string()).into_iter().collect::<Vec<_>>();
        let mut next = 0;
        while let Some(stat) = found.get(next) {
            found.extend(children.remove(&stat.pid).unwrap_or_default());
            next += 1;
        }
        found
    }

    /// CPU seconds used so far, user and system, by all processes of the server, ended ones included.
    pub fn cpu(&self) -> f64 {
        self.members().iter().map(|stat| stat.cpu).sum()
    }

    /// Waits until the processes of ended connections are gone and nobody computes any more.
    pub fn settle(&self) {
        let deadline = Instant::now() + Duration::from_secs(3);
        let mut last = (0, 0.0);
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(60));
            let members = self.members();
            let now = (members.len(), members.iter().map(|stat| stat.cpu).sum());
            if now == last {
                return;
            }
            last = now;
        }
    }

    /// Memory in KiB: pages shared by several processes count in part for each (PSS).
    pub fn memory_kib(&self) -> f64 {
        let own = self.reaper.id();
        let members = self.members();
        let pss = members.iter().filter(|stat| stat.pid != own).filter_map(|stat| {
            let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", stat.pid)).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim_end_matches("kB").trim().parse::<f64>().ok()
        });
        pss.sum()
    }

    pub fn is_running(&mut self) -> bool {
        self.reaper.try_wait().unwrap().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The oldest first, or it would start new ones; the reaper ends when it has no child left.
        for stat in self.members().iter().skip(1) {
            let pid = Pid::from_raw(stat.pid as i32).unwrap();
            // It may have ended by itself meanwhile.
            rustix::process::kill_process(pid, Signal::KILL).ok();
        }
        self.reaper.wait().unwrap();
    }
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug)]
struct Stat {
    pid: u32,
    parent: u32,
    /// Seconds of the process, and of its children that ended and were waited for.
    cpu: f64,
}

impl Stat {
    fn of(pid: &str) -> Option<Stat> {
        let id = pid.parse().ok()?;
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; fields are counted behind it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks: f64 = fields[11..15].iter().map(|field| field.parse::<f64>().unwrap()).sum();
        Some(Stat { pid: id, parent: fields[1].parse().ok()?, cpu: ticks / 100.0 })
    }
}

/// This program as the parent of a server, where it was started so.
pub fn run_as_reaper(arguments: &[String]) -> Option<ExitCode> {
    let (mode, command) = arguments.split_first()?;
    let sync = match mode.as_str() {
        REAP => Sync::Real,
        REAP_WITHOUT_SYNC => Sync::Skipped,
        _ => return None,
    };
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).unwrap();
    if sync == Sync::Skipped {
        seccompiler::apply_filter(&without_sync()).unwrap();
    }
    // A bench that is killed takes its servers along.
    let mut server = Command::new("setpriv");
    server.args(["--pdeathsig", "KILL"]).args(command);
    #[allow(clippy::zombie_processes, reason = "the loop waits for every child")]
    server.spawn().unwrap();
    while rustix::process::wait(WaitOptions::empty()).is_ok() {}
    Some(ExitCode::SUCCESS)
}

fn without_sync() -> BpfProgram {
    let calls = [
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_sync,
        libc::SYS_syncfs,
        libc::SYS_sync_file_range,
        libc::SYS_msync,
    ];
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let (others, these) = (SeccompAction::Allow, SeccompAction::Errno(0));
    let machine = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, others, these, machine).unwrap().try_into().unwrap()
}

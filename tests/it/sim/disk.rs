//! The disk of a simulated machine: it may fail, and what was not synced may be gone after a power cut.
//!
//! Files are real files. What is kept beside them is how much of each is known to be on the disk, and
//! which names were changed in folders that were not synced since: a power cut takes those back.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use dropchute::faults::{Arranged, FileAct, Place, arrange};
use dropchute::store::SimulatedDisk;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;

/// What happens to the disk in one life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The process is killed before its nth operation on a file.
    Kill(u64),
    /// The nth commit is the last thing the process does, or almost does.
    KillAtCommit {
        nth: u64,
        applied: bool,
    },
    /// The nth operation fails; for good: so do all of its kind from then on.
    Fails {
        nth: u64,
        for_good: bool,
        error: Errno,
    },
    /// The nth commit fails, and the process lives on.
    CommitFails {
        nth: u64,
        applied: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Errno {
    Io,
    NoSpace,
}

impl Errno {
    fn error(self) -> io::Error {
        // EIO and ENOSPC of Linux.
        io::Error::from_raw_os_error(match self {
            Errno::Io => 5,
            Errno::NoSpace => 28,
        })
    }
}

/// Kinds of operations, of which one may fail for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Write,
    Sync,
    Rename,
    Remove,
    MakeFolder,
}

impl Kind {
    fn of(act: FileAct<'_>) -> Kind {
        match act {
            FileAct::Open(_) => Kind::Open,
            FileAct::Write(_) => Kind::Write,
            FileAct::Sync(_) => Kind::Sync,
            FileAct::Rename(..) => Kind::Rename,
            FileAct::Remove(_) => Kind::Remove,
            FileAct::MakeFolder(_) => Kind::MakeFolder,
        }
    }
}

/// A name that was changed in a folder that was not synced since.
#[derive(Debug)]
enum Unsynced {
    Created(PathBuf),
    /// With what stood under the new name before.
    Renamed(PathBuf, PathBuf, Option<PathBuf>),
    Removed(PathBuf, PathBuf),
}

impl Unsynced {
    fn folder(&self) -> Option<&Path> {
        match self {
            Unsynced::Created(path)
            | Unsynced::Renamed(_, path, _)
            | Unsynced::Removed(path, _) => path.parent(),
        }
    }

    fn take_back(self) {
        // Where something went on with the name meanwhile there is nothing to take back.
        let _nothing_there = match self {
            Unsynced::Created(path) => fs::remove_file(path),
            Unsynced::Renamed(from, to, replaced) => fs::rename(&to, from)
                .and_then(|()| replaced.map_or(Ok(()), |replaced| fs::hard_link(replaced, &to))),
            Unsynced::Removed(path, kept) => fs::hard_link(kept, path),
        };
    }
}

/// The disk under all lives of a machine.
#[derive(Clone)]
pub(crate) struct Disk(Rc<RefCell<State>>);

struct State {
    store: SimulatedDisk,
    fault: Fault,
    acts: u64,
    failing: Option<(Kind, Errno)>,
    dead: bool,
    full: bool,
    died: Rc<Notify>,
    /// Where what is replaced and removed is kept, in case it comes back.
    lost: PathBuf,
    kept: u64,
    /// By device and inode: how many bytes are known to be on the disk.
    synced: HashMap<(u64, u64), u64>,
    /// Files of which a sync failed: what it should have written is gone, whatever later syncs say.
    spoiled: HashSet<(u64, u64)>,
    names: Vec<Unsynced>,
}

impl Disk {
    pub(crate) fn new(store: SimulatedDisk, lost: PathBuf) -> Disk {
        fs::create_dir(&lost).unwrap();
        Disk(Rc::new(RefCell::new(State {
            store,
            fault: Fault::None,
            acts: 0,
            failing: None,
            dead: false,
            full: false,
            died: Rc::default(),
            lost,
            kept: 0,
            synced: HashMap::new(),
            spoiled: HashSet::new(),
            names: Vec::new(),
        })))
    }

    /// Begins a life to which a fault happens.
    pub(crate) fn begin(&self, fault: Fault) -> Arranged {
        {
            let mut state = self.0.borrow_mut();
            state.store.mend();
            match fault {
                Fault::KillAtCommit { nth, applied } | Fault::CommitFails { nth, applied } => {
                    state.store.fail_commit(nth, applied);
                }
                _ => {}
            }
            state.fault = fault;
            (state.acts, state.failing, state.dead) = (0, None, false);
            let is_full = state.full;
            state.store.fill(is_full);
            state.died = Rc::default();
        }
        let state = Rc::clone(&self.0);
        arrange(move |act| state.borrow_mut().before(act))
    }

    /// The next start finds a store that works, and room.
    pub(crate) fn mend(&self) {
        let state = self.0.borrow();
        state.store.mend();
        state.store.fill(false);
    }

    /// From now on there is no room, or there is again; over lives, but for their starts.
    pub(crate) fn fill(&self, full: bool) {
        let mut state = self.0.borrow_mut();
        state.full = full;
        state.store.fill(full);
    }

    pub(crate) fn is_full(&self) -> bool {
        self.0.borrow().full
    }

    /// Rung when the process is dead.
    pub(crate) fn died(&self) -> Rc<Notify> {
        Rc::clone(&self.0.borrow().died)
    }

    /// Nothing reaches the disk any more.
    pub(crate) fn kill(&self) {
        self.0.borrow_mut().die();
    }

    /// Operations in this life so far.
    pub(crate) fn acts(&self) -> u64 {
        self.0.borrow().acts
    }

    /// Lets go of what was not synced; which part of it reached the disk all the same is up to the dice.
    pub(crate) fn cut_power(&self, below: &Path, seed: u64) {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut state = self.0.borrow_mut();
        let names = std::mem::take(&mut state.names);
        let survive = dice.random_range(0..=names.len());
        for unsynced in names.into_iter().skip(survive).rev() {
            unsynced.take_back();
        }
        let mut folders = vec![below.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let facts = fs::symlink_metadata(&path).unwrap();
                if facts.is_dir() {
                    folders.push(path);
                } else if let Some(synced) = state.synced.get(&(facts.dev(), facts.ino()))
                    && facts.len() > *synced
                {
                    let left = dice.random_range(*synced..=facts.len());
                    let _read_only =
                        File::options().write(true).open(&path).map(|f| f.set_len(left));
                }
            }
        }
        state.synced.clear();
        state.spoiled.clear();
    }
}

impl State {
    fn before(&mut self, act: FileAct<'_>) -> io::Result<()> {
        if matches!(self.fault, Fault::KillAtCommit { .. }) && self.store.has_failed() {
            self.die();
        }
        self.acts += 1;
        match self.fault {
            Fault::Kill(nth) if self.acts >= nth => self.die(),
            Fault::Fails { nth, for_good, error } if self.acts == nth && !self.dead => {
                self.failing = for_good.then_some((Kind::of(act), error));
                return Err(self.fail(act, error));
            }
            _ => {}
        }
        if self.dead {
            return Err(io::Error::other("the process is dead"));
        }
        if self.full && takes_room(act) {
            return Err(self.fail(act, Errno::NoSpace));
        }
        if let Some((kind, error)) = self.failing
            && kind == Kind::of(act)
        {
            return Err(self.fail(act, error));
        }
        self.note(act);
        Ok(())
    }

    fn die(&mut self) {
        if !self.dead {
            self.dead = true;
            self.store.fail_commit(1, false);
            self.died.notify_one();
        }
    }

    fn fail(&mut self, act: FileAct<'_>, error: Errno) -> io::Error {
        // Names of a folder are in the file system's journal: its next sync may well bring them to the disk.
        if let FileAct::Sync(file) = act
            && !path_of_handle(file).is_dir()
        {
            self.spoiled.insert(identity(file).0);
        }
        error.error()
    }

    /// Takes note of what will stand on the disk, and what will not.
    fn note(&mut self, act: FileAct<'_>) {
        match act {
            FileAct::Open(place) => {
                let path = path_of(place);
                if !path.exists() {
                    self.names.push(Unsynced::Created(path));
                }
            }
            FileAct::Write(file) => {
                let (id, len) = identity(file);
                self.synced.entry(id).or_insert(len);
            }
            FileAct::Sync(file) => {
                let (id, len) = identity(file);
                if self.spoiled.contains(&id) {
                    return;
                }
                self.synced.insert(id, len);
                let folder = path_of_handle(file);
                self.names.retain(|name| name.folder() != Some(&folder));
            }
            FileAct::Rename(from, to) => {
                let (from, to) = (path_of(from), path_of(to));
                let replaced = self.keep(&to);
                self.names.push(Unsynced::Renamed(from, to, replaced));
            }
            FileAct::Remove(place) => {
                let path = path_of(place);
                if let Some(kept) = self.keep(&path) {
                    self.names.push(Unsynced::Removed(path, kept));
                }
            }
            FileAct::MakeFolder(_) => {}
        }
    }

    /// A second name for a file that is about to lose its own.
    fn keep(&mut self, path: &Path) -> Option<PathBuf> {
        self.kept += 1;
        let kept = self.lost.join(self.kept.to_string());
        fs::hard_link(path, &kept).ok().map(|()| kept)
    }
}

/// What a full disk has no room for: bytes, and names that are not there yet.
fn takes_room(act: FileAct<'_>) -> bool {
    match act {
        FileAct::Open(place) => !path_of(place).exists(),
        FileAct::Write(_) | FileAct::MakeFolder(_) => true,
        FileAct::Sync(_) | FileAct::Rename(..) | FileAct::Remove(_) => false,
    }
}

fn identity(file: BorrowedFd<'_>) -> ((u64, u64), u64) {
    let facts = rustix::fs::fstat(file).unwrap();
    ((facts.st_dev, facts.st_ino), facts.st_size as u64)
}

fn path_of(place: Place<'_>) -> PathBuf {
    match place.folder {
        Some(folder) => path_of_handle(folder).join(place.name),
        None => place.name.to_owned(),
    }
}

fn path_of_handle(handle: BorrowedFd<'_>) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", handle.as_raw_fd())).unwrap()
}

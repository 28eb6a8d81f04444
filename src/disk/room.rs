//! The watermarks: what may still begin.
//!
//! All of them are shares of the reserve, at most so many bytes: on a disk of any size the reserve lasts longer
//! than the floor, the floor longer than the last mark. Without a reserve there are none, and no ballast.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::ballast::Ballast;
use super::space::Space;

/// Below so much nothing new is sent or read: room for what is under way to be written down.
const FLOOR_BYTES: u64 = 64 << 20;
const FLOOR_FILES: u64 = 1000;
/// Below so much no commit begins: the store, once out of room in the middle of one, must be opened anew.
const LAST_BYTES: u64 = 8 << 20;
/// A look at the disk holds so long.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How much room there is, and so what may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Room {
    /// Below the floor: no file is read, no row is claimed. What is under way is written down.
    None,
    /// Below the reserve: no upload and no file is taken; what was taken goes on.
    Little,
    Plenty,
}

impl Room {
    pub fn as_str(self) -> &'static str {
        match self {
            Room::None => "none",
            Room::Little => "little",
            Room::Plenty => "plenty",
        }
    }
}

/// What tending the disk led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tended {
    pub room: Room,
    pub space: Space,
    /// What the ballast holds now.
    pub ballast: u64,
    pub ballast_made: bool,
}

/// The disk below a data folder; cheap to clone.
#[derive(Debug, Clone)]
pub struct Disk(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    /// Share of the disk that stays free.
    reserve: f64,
    /// How large the ballast may be.
    ballast_max: u64,
    ballast: Ballast,
    looked: Mutex<Option<(Instant, Room)>>,
}

impl Disk {
    /// The disk of a folder that is there, with the share of it that must stay free and the most that the
    /// ballast may hold.
    pub fn below(folder: &Path, reserve: f64, ballast_max: u64) -> Disk {
        Disk(Some(Arc::new(Inner {
            folder: folder.to_owned(),
            reserve,
            ballast_max,
            ballast: Ballast::below(folder),
            looked: Mutex::new(None),
        })))
    }

    /// One on which there is always room: for tests, and for stores in memory.
    pub fn boundless() -> Disk {
        Disk(None)
    }

    /// How much room there is; looked at once a second at most. A disk that cannot be asked has room: what
    /// is wrong with it, the next write will say.
    pub fn room(&self, now: Instant) -> Room {
        let Some(inner) = &self.0 else { return Room::Plenty };
        let mut looked = inner.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, room)) = *looked
            && now.duration_since(at) < LOOK_EVERY
        {
            return room;
        }
        let room = inner.look().map_or(Room::Plenty, |(room, _)| room);
        *looked = Some((now, room));
        room
    }

    /// How much room there is at this moment, for whoever shows it.
    pub fn look(&self) -> io::Result<(Room, Space)> {
        match &self.0 {
            Some(inner) => inner.look(),
            None => Ok((Room::Plenty, Space::ENDLESS)),
        }
    }

    /// Whether a commit of the store may begin. Lets the ballast go before it says no.
    pub fn has_room_for_commit(&self) -> bool {
        let Some(inner) = &self.0 else { return true };
        if inner.reserve <= 0.0 {
            return true;
        }
        let has_room = || {
            Space::below(&inner.folder).is_ok_and(|space| space.free >= inner.marks(&space).last)
        };
        has_room() || (self.let_ballast_go() && has_room())
    }

    /// A write found no room: true where there may be some now.
    pub fn let_ballast_go(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.ballast.let_go())
    }

    /// Looks anew, and makes the ballast again where there is room for it beyond the reserve. `None` for a disk
    /// without a reserve, which needs no tending.
    pub fn tend(&self, now: Instant) -> io::Result<Option<Tended>> {
        let Some(inner) = &self.0 else { return Ok(None) };
        if inner.reserve <= 0.0 {
            inner.ballast.let_go();
            return Ok(None);
        }
        let (room, space) = inner.look()?;
        *inner.looked.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, room));
        let (wanted, held) = (inner.marks(&space).ballast, inner.ballast.held());
        let left = space.free.saturating_add(held).saturating_sub(wanted);
        let beyond = Space { free: left, ..space };
        let ballast_made = wanted > 0 && held < wanted && !beyond.is_below(inner.reserve);
        if ballast_made {
            inner.ballast.make(wanted)?;
        } else if wanted == 0 {
            // By the configuration there is to be none any more.
            inner.ballast.let_go();
        }
        Ok(Some(Tended { room, space, ballast: inner.ballast.held(), ballast_made }))
    }
}

impl Inner {
    fn look(&self) -> io::Result<(Room, Space)> {
        let space = Space::below(&self.folder)?;
        Ok((self.room_in(&space, self.ballast.held()), space))
    }

    /// Counted as if the ballast were free, so that letting it go opens nothing again.
    fn room_in(&self, space: &Space, held: u64) -> Room {
        let marks = self.marks(space);
        if space.free.saturating_add(held) < marks.floor.saturating_add(marks.ballast.max(held))
            || space.free_files < marks.floor_files
        {
            Room::None
        } else if space.is_below(self.reserve) {
            Room::Little
        } else {
            Room::Plenty
        }
    }

    fn marks(&self, space: &Space) -> Marks {
        let share = |all: u64, of: f64| (all as f64 * self.reserve * of) as u64;
        let quarter = share(space.size, 0.25);
        Marks {
            floor: FLOOR_BYTES.min(quarter),
            floor_files: FLOOR_FILES.min(share(space.files, 0.25)),
            ballast: self.ballast_max.min(quarter),
            last: LAST_BYTES.min(quarter / 4),
        }
    }
}

/// The watermarks of a disk, in bytes that are free.
struct Marks {
    floor: u64,
    floor_files: u64,
    ballast: u64,
    last: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;

    fn inner(reserve: f64) -> Inner {
        Inner {
            folder: PathBuf::new(),
            reserve,
            ballast_max: 64 * MIB,
            ballast: Ballast::below(Path::new("/nowhere")),
            looked: Mutex::new(None),
        }
    }

    fn space(free: u64, size: u64) -> Space {
        Space { free, size, free_files: 1 << 20, files: 1 << 20 }
    }

    #[test]
    fn the_marks_follow_one_another_on_disks_of_any_size() {
        for size in [64 * MIB, GIB, 20 * GIB, 4096 * GIB] {
            let disk = inner(0.05);
            let reserve = size / 20;
            let marks = disk.marks(&space(size, size));
            assert!(marks.last < marks.floor && marks.floor + marks.ballast < reserve, "{size}");
            let room = |free, held| disk.room_in(&space(free, size), held);
            assert_eq!(room(reserve + MIB, marks.ballast), Room::Plenty);
            assert_eq!(room(reserve - 1, marks.ballast), Room::Little);
            assert_eq!(room(marks.floor, marks.ballast), Room::Little);
            assert_eq!(room(marks.floor - 1, marks.ballast), Room::None);
            // The ballast was let go: the same disk, no more room.
            assert_eq!(room(marks.floor - 1 + marks.ballast, 0), Room::None);
        }
        let marks = inner(0.05).marks(&space(0, 4096 * GIB));
        assert_eq!((marks.floor, marks.ballast, marks.last), (64 * MIB, 64 * MIB, 8 * MIB));
    }

    #[test]
    fn inodes_count_as_bytes_do() {
        let disk = inner(0.05);
        let room =
            |free_files, files| disk.room_in(&Space { free_files, files, ..space(GIB, GIB) }, 0);
        assert_eq!(room(50_001, 1_000_000), Room::Plenty);
        assert_eq!(room(49_999, 1_000_000), Room::Little);
        assert_eq!(room(999, 1_000_000), Room::None);
        assert_eq!(room(0, 0), Room::Plenty, "made as they are needed");
    }

    #[test]
    fn without_a_reserve_a_full_disk_is_as_good_as_any() {
        let disk = inner(0.0);
        let full = Space { free: 0, size: GIB, free_files: 0, files: 1000 };
        assert_eq!(disk.room_in(&full, 0), Room::Plenty);
        assert_eq!(disk.marks(&full).ballast, 0);
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "a moment to count from")]
    async fn the_ballast_is_made_where_there_is_room_and_goes_where_there_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let now = Instant::now();
        let path = folder.path().join("ballast");
        // A share that any disk has free.
        let disk = Disk::below(folder.path(), 1e-6, MIB);
        let tended = disk.tend(now).unwrap().unwrap();
        assert!(tended.ballast_made && tended.ballast > 0 && path.exists());
        assert!(!disk.tend(now).unwrap().unwrap().ballast_made, "once");
        assert!(disk.has_room_for_commit() && path.exists());
        assert!(disk.let_ballast_go() && !disk.let_ballast_go());
        // One that no disk has.
        let disk = Disk::below(folder.path(), 2.0, MIB);
        assert_eq!(disk.room(now), Room::Little);
        assert!(!disk.tend(now).unwrap().unwrap().ballast_made, "there is no room for it");
        // No reserve, no ballast.
        Disk::below(folder.path(), 1e-6, MIB).tend(now).unwrap();
        assert_eq!(Disk::below(folder.path(), 0.0, MIB).tend(now).unwrap(), None);
        assert!(!path.exists());
    }
}

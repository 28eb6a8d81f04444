//! Where tests let the disk fail: every room that changes files says here what it is about to do. Simulated
//! providers ask here, too, whether a test wants another answer of them.
//!
//! Outside of tests nobody listens, and a look at a variable of the thread is all it costs. The listener
//! belongs to the thread and is not handed down, since a test's whole world runs on one thread, and a
//! handle would stand in every signature of the shore for the sake of tests alone.
//! Never touches a file itself, never makes an error of its own. Start reading at `before`.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

/// What is about to be done.
#[derive(Debug, Clone, Copy)]
pub enum FileAct<'a> {
    /// A file is opened or made; readers announce only the files they may find damaged or gone.
    Open(Place<'a>),
    Write(BorrowedFd<'a>),
    /// Of a file or a folder.
    Sync(BorrowedFd<'a>),
    Rename(Place<'a>, Place<'a>),
    Remove(Place<'a>),
    MakeFolder(Place<'a>),
}

/// A name, as a path or below an open folder.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub folder: Option<BorrowedFd<'a>>,
    pub name: &'a Path,
}

impl<'a> Place<'a> {
    pub fn below(folder: &'a impl AsFd, name: &'a Path) -> Place<'a> {
        Place { folder: Some(folder.as_fd()), name }
    }
}

impl<'a> From<&'a Path> for Place<'a> {
    fn from(name: &'a Path) -> Place<'a> {
        Place { folder: None, name }
    }
}

type Listener = Box<dyn Fn(FileAct<'_>) -> io::Result<()>>;

/// What a simulated provider answers instead of what the recipient's ending asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mood {
    /// One of the simulator's endings.
    pub ending: &'static str,
    /// When it wants to be asked again, where the ending says for now only; none leaves it to us.
    pub hint: Option<Duration>,
}

type Moods = Box<dyn Fn(&str, &str) -> Option<Mood>>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
    static MOODS: RefCell<Option<Moods>> = const { RefCell::new(None) };
}

/// Called before each operation, which is left undone where this is an error.
pub fn before(act: FileAct<'_>) -> io::Result<()> {
    LISTENER.with_borrow(|listener| listener.as_ref().map_or(Ok(()), |listener| listener(act)))
}

/// Asked by the simulator of a provider before it answers a message.
pub fn mood(provider: &str, message_id: &str) -> Option<Mood> {
    MOODS.with_borrow(|moods| moods.as_ref().and_then(|moods| moods(provider, message_id)))
}

/// Lets a test decide what simulated providers of this thread answer, until the guard of `arrange` is
/// dropped.
pub fn arrange_moods(moods: impl Fn(&str, &str) -> Option<Mood> + 'static) {
    MOODS.set(Some(Box::new(moods)));
}

/// Lets a test decide about the operations of this thread, until the guard is dropped.
#[must_use = "nothing is arranged any more once it is dropped"]
pub fn arrange(listener: impl Fn(FileAct<'_>) -> io::Result<()> + 'static) -> Arranged {
    LISTENER.set(Some(Box::new(listener)));
    Arranged(())
}

/// While it lives, a test decides.
#[derive(Debug)]
pub struct Arranged(());

impl Drop for Arranged {
    fn drop(&mut self) {
        LISTENER.set(None);
        MOODS.set(None);
    }
}

/// A file whose writes are announced.
#[derive(Debug)]
pub struct WatchedFile(pub File);

impl Write for WatchedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        before(FileAct::Write(self.0.as_fd()))?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_decides_before_and_after_a_test_does() {
        let act = FileAct::Remove(Place::from(Path::new("a")));
        assert!(before(act).is_ok());
        let arranged = arrange(|act| match act {
            FileAct::Remove(_) => Err(io::Error::from(io::ErrorKind::StorageFull)),
            _ => Ok(()),
        });
        assert_eq!(before(act).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(before(FileAct::Open(Place::from(Path::new("a")))).is_ok());
        drop(arranged);
        assert!(before(act).is_ok());
    }
}

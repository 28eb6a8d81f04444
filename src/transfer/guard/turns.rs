//! One password at a time from each source, and a bounded queue in all.
//!
//! A source that floods us waits behind itself: it holds one of the places for checking at most, and
//! each guess is scored before its next one is looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::source::Source;

/// Who waits, and whose turn it is; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    lines: Arc<Mutex<HashMap<Source, Line>>>,
    max: usize,
}

#[derive(Debug)]
struct Line {
    turn: Arc<Semaphore>,
    /// Those who wait and the one whose turn it is.
    standing: usize,
}

/// A place in the line of a source; given up when dropped.
#[derive(Debug)]
struct Ticket {
    turns: Turns,
    source: Source,
}

/// The turn of a source, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permit: OwnedSemaphorePermit,
    _ticket: Ticket,
}

impl Turns {
    /// At most `max` wait at the same time, over all sources.
    pub(crate) fn new(max: usize) -> Turns {
        Turns { lines: Arc::default(), max }
    }

    /// The source's turn, once it comes; `None` at once where too many wait. May be dropped.
    pub(crate) async fn take(&self, source: Source) -> Option<Turn> {
        let (ticket, turn) = self.line_up(source)?;
        let permit = turn.acquire_owned().await.ok()?;
        Some(Turn { _permit: permit, _ticket: ticket })
    }

    fn line_up(&self, source: Source) -> Option<(Ticket, Arc<Semaphore>)> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = lines.values().map(|line| line.standing).sum();
        if all >= self.max {
            return None;
        }
        let line = lines
            .entry(source)
            .or_insert_with(|| Line { turn: Arc::new(Semaphore::new(1)), standing: 0 });
        line.standing += 1;
        Some((Ticket { turns: self.clone(), source }, Arc::clone(&line.turn)))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut lines = self.turns.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.source) {
            line.standing -= 1;
            if line.standing == 0 {
                lines.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_source_waits_behind_itself_and_nobody_else_does() {
        let turns = Turns::new(3);
        let source = |n| Source::V6(n);
        let soon = Duration::from_secs(1);
        let first = turns.take(source(1)).await.unwrap();
        assert!(timeout(soon, turns.take(source(1))).await.is_err(), "one at a time");
        let other = turns.take(source(2)).await.unwrap();
        let mut second = Box::pin(turns.take(source(1)));
        assert!(timeout(soon, &mut second).await.is_err());
        assert!(turns.take(source(3)).await.is_none(), "the queue is full");
        drop(first);
        assert!(second.await.is_some());
        drop(other);
        assert!(turns.lines.lock().unwrap().is_empty());
    }
}

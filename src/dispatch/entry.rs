//! A running batch as the station knows it, whether its files are open or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::exits::Exits;
use super::live::LiveBatch;
use super::rota::Place;
use super::slots::Seat;
use super::timers::Timers;
use super::traffic::Traffic;
use crate::model::{Lane, Urgency};
use crate::store::BatchRecord;

/// A batch with open rows.
pub(super) struct Entry {
    pub(super) lane: Lane,
    /// Of its most urgent row.
    pub(super) class: usize,
    /// When its next chunk is due, while its files are closed.
    pub(super) due: Option<Timestamp>,
    /// It has its first turn before the others of its lane have another one.
    pub(super) is_new: bool,
    pub(super) place: Place,
    pub(super) order: Order,
    /// Something more was ordered while an order was being followed.
    pub(super) ordered_again: bool,
    pub(super) files: Files,
}

/// What was ordered of a batch. As long as it is not followed, nothing else happens to the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    None,
    /// What is under way ends first. After a halt every batch is to look again: whoever asks for more goes
    /// first.
    Waits {
        to_look: bool,
    },
    InLine,
    Followed,
}

pub(super) enum Files {
    Closed,
    /// In a place of this class.
    Opening(usize, Seat),
    Open(Box<Open>),
}

/// A chunk that has a task.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) class: usize,
    /// How it was let in; none where it needs no place any more.
    pub(super) seat: Option<Seat>,
    /// It only waits for what is on the wire.
    pub(super) is_tired: Arc<AtomicBool>,
}

/// What is known of a batch while its files are open.
pub(super) struct Open {
    pub(super) live: Arc<LiveBatch>,
    pub(super) exits: Exits,
    pub(super) traffic: Arc<Traffic>,
    pub(super) timers: Timers,
    /// Chunks that have a task.
    pub(super) active: BTreeMap<u32, Active>,
    /// Cancelled: no new attempt of the batch begins.
    pub(super) halt: CancellationToken,
    paused: bool,
    /// What is under way began while its tenant was suspended.
    pub(super) suspended: bool,
    pub(super) reopened_at: Option<Timestamp>,
    /// Nothing is under way or due: since when, in the order of such moments.
    pub(super) idle_since: Option<u64>,
}

impl Entry {
    /// A batch of which nothing is known but where it belongs.
    pub(super) fn new(lane: Lane, class: usize) -> Entry {
        let (due, is_new, place) = (None, false, Place::default());
        let (order, ordered_again, files) = (Order::None, false, Files::Closed);
        Entry { lane, class, due, is_new, place, order, ordered_again, files }
    }

    pub(super) fn open(&self) -> Option<&Open> {
        match &self.files {
            Files::Open(open) => Some(open),
            Files::Closed | Files::Opening(..) => None,
        }
    }

    pub(super) fn open_mut(&mut self) -> Option<&mut Open> {
        match &mut self.files {
            Files::Open(open) => Some(open),
            Files::Closed | Files::Opening(..) => None,
        }
    }

    /// No task works on it.
    pub(super) fn is_idle(&self) -> bool {
        let is_still = match &self.files {
            Files::Closed => true,
            Files::Opening(..) => false,
            Files::Open(open) => open.active.is_empty(),
        };
        is_still && self.order != Order::Followed
    }

    /// The classes in which something may begin, and when that changes by itself. What is halted may begin
    /// again once nothing is under way any more.
    pub(super) fn has_to_do(
        &mut self,
        now: Timestamp,
        stopping: &CancellationToken,
    ) -> ([bool; Urgency::CLASSES], Option<Timestamp>) {
        let nothing = ([false; Urgency::CLASSES], None);
        if self.order != Order::None {
            return nothing;
        }
        match &mut self.files {
            Files::Opening(..) => nothing,
            Files::Closed => match self.due {
                Some(due) if due <= now => (std::array::from_fn(|class| class == self.class), None),
                due => (nothing.0, due),
            },
            Files::Open(open) => {
                if open.active.is_empty() && open.halt.is_cancelled() && !open.is_stuck() {
                    open.halt = stopping.child_token();
                }
                match open.halt.is_cancelled() {
                    true => nothing,
                    false => (open.timers.due(now), open.timers.next()),
                }
            }
        }
    }

    /// Closes its files.
    pub(super) fn close(&mut self) {
        if let Files::Open(open) = &self.files {
            self.due = open.timers.next();
        }
        self.files = Files::Closed;
    }
}

impl Open {
    pub(super) fn new(
        (live, timers): (Arc<LiveBatch>, Timers),
        exits: Exits,
        traffic: Arc<Traffic>,
        halt: CancellationToken,
    ) -> Open {
        let mut open = Open {
            live: Arc::clone(&live),
            exits,
            traffic,
            timers,
            active: BTreeMap::new(),
            halt,
            paused: false,
            suspended: false,
            reopened_at: None,
            idle_since: None,
        };
        open.heed(&live.record);
        open
    }

    /// Takes over what was asked of the batch.
    pub(super) fn heed(&mut self, record: &BatchRecord) {
        self.paused = record.control.paused;
        if !self.paused {
            self.traffic.go_on();
        }
        self.reopened_at = record.control.reopened_at;
    }

    /// Chunks of a class that have a task.
    pub(super) fn tasks(&self, class: usize) -> usize {
        self.active.values().filter(|of| of.class == class).count()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// That it is paused is stored.
    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    /// All its messages are refused, and it is to be paused.
    pub(super) fn is_stuck(&self) -> bool {
        !self.paused && self.traffic.is_stuck()
    }
}

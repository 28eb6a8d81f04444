//! Starting chunks: one of each lane in turn, of each of its batches in turn, the most urgent class first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::aside::caught;
use super::chunk::ChunkTask;
use super::entry::{Active, Entry, Files};
use super::opening::OPENING_MAX;
use super::settings::Route;
use super::slots::{Seat, TASKS_MAX};
use super::station::{Dispatch, Ended};
use crate::model::{BatchId, Lane, Urgency};

/// So many rows of a chunk go that has no slot.
const PART_ROWS: usize = 32;

/// What came of a batch's turn.
enum Turn {
    /// A chunk of it began, or its files are being opened.
    Taken,
    /// It has as many chunks under way as it may.
    Passed,
    /// Too many are being opened: the others of its class wait as well.
    Stopped,
}

impl Dispatch {
    /// Starts what there is room for; true where something began.
    pub(super) fn start_chunks(&mut self) -> bool {
        let (mut started, mut idle_turns) = (false, 0);
        while idle_turns < self.rota.lanes() {
            let Some(lane) = self.rota.next_lane() else { break };
            let found = self.start_one(&lane);
            idle_turns = if found { 0 } else { idle_turns + 1 };
            started |= found;
        }
        started
    }

    fn start_one(&mut self, lane: &Lane) -> bool {
        let route = self.settings.routes.of(&lane.0);
        for class in 0..Urgency::CLASSES {
            for _ in 0..self.rota.in_line(lane, class) {
                if self.slots.admit(lane, class, 0).is_none() {
                    break;
                }
                let Some(batch) = self.rota.first(lane, class) else { break };
                match self.take_turn(lane, batch, class, route.as_ref()) {
                    Turn::Taken => return true,
                    Turn::Passed => {}
                    Turn::Stopped => break,
                }
            }
        }
        false
    }

    fn take_turn(
        &mut self,
        lane: &Lane,
        batch: BatchId,
        class: usize,
        route: Option<&Arc<Route>>,
    ) -> Turn {
        let Some(entry) = self.batches.get(&batch) else { return Turn::Passed };
        let of_batch = entry.open().map_or(0, |open| open.active.len());
        let has_room = entry.open().is_none_or(|open| open.tasks(class) < TASKS_MAX);
        let seat = self.slots.admit(lane, class, of_batch).filter(|_| has_room);
        let turn = match (&entry.files, seat) {
            (Files::Closed, _) if self.openings[class] >= OPENING_MAX => return Turn::Stopped,
            (Files::Closed, Some(seat)) => {
                self.begin_to_open(batch, class, seat);
                Turn::Taken
            }
            (Files::Open(_), Some(seat)) => {
                self.start(lane, batch, (class, seat), route);
                Turn::Taken
            }
            _ => Turn::Passed,
        };
        self.rota.put_behind(lane, class);
        self.seat(batch);
        turn
    }

    /// Starts the most urgent chunk of a class that is due.
    fn start(
        &mut self,
        lane: &Lane,
        batch: BatchId,
        (class, seat): (usize, Seat),
        route: Option<&Arc<Route>>,
    ) {
        let is_gone = route.is_none();
        let route = route.map_or_else(|| Arc::new(Route::nowhere()), Arc::clone);
        // The tenant's rate may have been read anew.
        self.lanes.number(lane, Some(&route), self.now());
        let Some(entry) = self.batches.get_mut(&batch) else { return };
        entry.is_new = false;
        let Some(open) = entry.open_mut() else { return };
        let Some(number) = open.timers.take(class) else { return };
        let is_tired = Arc::new(AtomicBool::new(false));
        let active = Active { class, seat: Some(seat), is_tired: Arc::clone(&is_tired) };
        open.active.insert(number, active);
        open.suspended = route.suspended;
        open.traffic.set_weight(route.weight);
        let task = ChunkTask {
            live: Arc::clone(&open.live),
            traffic: Arc::clone(&open.traffic),
            number,
            paused: open.is_paused() || route.suspended,
            route,
            is_gone,
            exits: open.exits.clone(),
            store: self.store.clone(),
            world: Arc::clone(&self.world),
            metrics: Arc::clone(&self.metrics),
            window_rows: self.settings.window_rows,
            boot_id: self.settings.boot_id.clone(),
            disk: self.settings.disk.clone(),
            stopping: open.halt.clone(),
            reopened_at: open.reopened_at,
            nudge: Arc::clone(&self.nudge),
            part: (seat == Seat::Guest).then_some(PART_ROWS),
            is_tired,
        };
        self.slots.take(lane, class, seat);
        self.tasks.spawn(async move { Ended::Chunk(batch, number, caught(task.run()).await) });
    }

    /// Frees the places of chunks that only wait for what is on the wire.
    pub(super) fn free_tired(&mut self) {
        for batch in &self.open {
            let Some(Entry { lane, files: Files::Open(open), .. }) = self.batches.get_mut(batch)
            else {
                continue;
            };
            let tired = open.active.values_mut().filter(|of| of.is_tired.load(Ordering::Relaxed));
            for Active { class, seat, .. } in tired {
                if let Some(seat) = seat.take() {
                    self.slots.give_back(lane, *class, seat);
                }
            }
        }
    }

    /// Ends what is under way of tenants that were suspended meanwhile; from then on their batches are looked
    /// at as paused ones.
    pub(super) fn heed_suspensions(&mut self) {
        let routes = &self.settings.routes;
        for entry in self.open.iter().filter_map(|batch| self.batches.get(batch)) {
            let Some(open) = entry.open().filter(|open| !open.active.is_empty()) else { continue };
            let is_suspended = || routes.of(&entry.lane.0).is_some_and(|route| route.suspended);
            if !open.suspended && is_suspended() {
                open.halt.cancel();
            }
        }
    }
}

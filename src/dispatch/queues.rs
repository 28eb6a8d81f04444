//! A chunk's rows that are not claimed yet, by the providers that may take them.
//!
//! Each queue is claimed at its own provider's pace: a slow one keeps no other's rows back, and has no more
//! of its own claimed because others are quick.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::plan::Going;
use super::provider::Provider;

/// A window holds so many times as many rows as the provider takes at once, unless more go in a second.
const ROUNDS: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: Vec<Queue>,
    has_begun: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Queue {
    /// In order of failover.
    providers: Vec<Arc<Provider>>,
    planned: VecDeque<Going>,
    /// Rows that are claimed and have not begun.
    untried: Arc<AtomicUsize>,
}

/// Held by a row that is claimed, and counted while it waits for a turn: only these keep further ones from
/// being claimed.
#[derive(Debug)]
pub(super) struct Untried {
    count: Arc<AtomicUsize>,
    has_begun: Arc<AtomicBool>,
    waits: bool,
}

impl Untried {
    /// An attempt begins.
    pub(super) fn begins(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            self.has_begun.store(true, Ordering::Relaxed);
        }
    }

    /// It was refused, and stands in the next provider's line.
    pub(super) fn waits_again(&mut self) {
        if !std::mem::replace(&mut self.waits, true) {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Untried {
    fn drop(&mut self) {
        self.begins();
    }
}

impl Queues {
    pub(super) fn push_back(&mut self, row: Going) {
        self.of(&row).planned.push_back(row);
    }

    pub(super) fn push_front(&mut self, row: Going) {
        self.of(&row).planned.push_front(row);
    }

    /// There are as many as there are sets of providers: few.
    fn of(&mut self, row: &Going) -> &mut Queue {
        let is_of = |queue: &Queue| {
            queue.providers.len() == row.providers.len()
                && queue.providers.iter().zip(&row.providers).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        let at = self.queues.iter().position(is_of).unwrap_or_else(|| {
            let providers = row.providers.clone();
            self.queues.push(Queue {
                providers,
                planned: VecDeque::new(),
                untried: Arc::default(),
            });
            self.queues.len() - 1
        });
        &mut self.queues[at]
    }

    /// Nothing more is claimed.
    pub(super) fn clear(&mut self) {
        self.queues.iter_mut().for_each(|queue| queue.planned.clear());
    }

    /// Set when a claimed row begins or goes home: another one may be claimed.
    pub(super) fn has_begun(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.has_begun)
    }

    /// The next window: rows of every queue of which few are left untried, of each at most `rows_max`.
    /// `pace` is how many rows of the chunk go in a second. Where rows `came_back` unsent and nobody takes
    /// the next one either, those of its queue are planned anew: they wait until somebody does.
    pub(super) fn claim(
        &mut self,
        pace: usize,
        rows_max: usize,
        came_back: bool,
    ) -> Vec<(Going, Untried)> {
        self.has_begun.store(false, Ordering::Relaxed);
        let mut rows = Vec::new();
        for queue in self.queues.iter_mut().filter(|queue| !queue.planned.is_empty()) {
            let most = queue.window_rows(pace, rows_max);
            let few = if pace >= 2 * most { most } else { most / 2 };
            if queue.untried.load(Ordering::Relaxed) > few {
                continue;
            }
            if came_back && queue.is_closed() {
                queue.planned.clear();
                continue;
            }
            let next = queue.planned.drain(..most.min(queue.planned.len()));
            queue.untried.fetch_add(next.len(), Ordering::Relaxed);
            rows.extend(next.map(|row| {
                let count = Arc::clone(&queue.untried);
                (row, Untried { count, has_begun: Arc::clone(&self.has_begun), waits: true })
            }));
        }
        rows
    }
}

impl Queue {
    /// As many rows as go in about a second: what is claimed and not tried is unknown after a power cut.
    fn window_rows(&self, pace: usize, rows_max: usize) -> usize {
        let reach = |provider: &Arc<Provider>| {
            let standing = provider.standing();
            let rate = standing.per_second.map_or(usize::MAX, |rate| rate.ceil() as usize);
            rate.min(pace.max(ROUNDS * standing.limit))
        };
        let most = self.providers.iter().map(reach).max().unwrap_or(1);
        most.clamp(1, rows_max.max(1))
    }

    fn is_closed(&self) -> bool {
        let is_away = |provider: &Arc<Provider>| provider.is_paused() || provider.rest().is_some();
        self.providers.iter().all(is_away)
    }
}

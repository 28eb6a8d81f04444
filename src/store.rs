//! The control state: batches, chunks, windows, timers, uploads, publications, names, bans,
//! held files, and what is known of a profile's files so far.
//!
//! Owns sled and everything that knows it is sled, and a simulated engine with injected faults behind
//! the same face. A commit that returned `Ok` survives a power cut. Blocking, and says so: call it
//! through `worker::blocking`. Never holds a row, a text or an address: bulk data is the spool's.
//! Start reading at `engine.rs`, then `records.rs`.

mod changes;
mod chunks;
mod commands;
#[cfg(test)]
mod conformance;
mod cut_uploads;
mod dump;
mod engine;
mod guard;
mod halts;
mod holds;
mod intake;
mod keys;
mod names;
#[cfg(test)]
mod old_records;
mod open;
mod orders;
mod publications;
mod ramps;
mod records;
mod row_ids;
mod series;
mod settlements;
mod simulated;
mod sled_engine;
mod streams;
mod targets;

pub use changes::Changed;
pub use commands::Commands;
pub use dump::DumpError;
pub use engine::{Health, StoreError};
pub use guard::{AccountSources, SourceRecord};
pub use halts::{HaltRecord, Halted};
pub use intake::Acceptance;
pub use orders::{OrderAct, OrderRecord};
pub use publications::Ordered;
pub use ramps::RampRecord;
pub use records::{
    BatchRecord, ChunkRecord, ControlRecord, Facts, HoldRecord, Tally, WindowRecord,
};
pub use row_ids::RowIdFile;
pub use series::Series;
pub use settlements::{SettledRow, Settlement};
pub use simulated::SimulatedDisk;
pub use streams::{StreamFile, StreamLine, StreamRecord, StreamText};

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use changes::{Changes, touched};
use engine::{Engine, Expect, Op, Space};

use crate::disk::Disk;
use crate::world::World;

/// The handle that all stations share; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
    observer: Option<Observer>,
    disk: Disk,
    changes: Arc<Changes>,
    /// Commits that gave orders, in this process.
    orders_given: Arc<AtomicU64>,
}

/// Told how many seconds each durable commit took.
#[derive(Clone)]
struct Observer(Arc<dyn Fn(f64) + Send + Sync>, Arc<World>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl Store {
    /// Opens the sled store in a folder, making it where it is not there yet.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        Store::of(Arc::new(sled_engine::SledEngine::open(folder)?))
    }

    /// A store in memory whose disk outlives it and can be told to fail.
    pub fn simulated(disk: &SimulatedDisk) -> Result<Store, StoreError> {
        Store::of(Arc::new(disk.open()))
    }

    fn of(engine: Arc<dyn Engine>) -> Result<Store, StoreError> {
        let (disk, changes, orders_given) = (Disk::boundless(), Arc::default(), Arc::default());
        let store = Store { engine, observer: None, disk, changes, orders_given };
        store.check_version()?;
        Ok(store)
    }

    /// The same store, which tells `observe` how many seconds each commit took.
    pub fn observed(
        mut self,
        world: Arc<World>,
        observe: impl Fn(f64) + Send + Sync + 'static,
    ) -> Store {
        self.observer = Some(Observer(Arc::new(observe), world));
        self
    }

    /// The same store, which begins no commit for which this disk may have no room: sled, out of room in
    /// the middle of one, would have to be opened anew.
    pub fn on_disk(self, disk: Disk) -> Store {
        Store { disk, ..self }
    }

    /// Every change goes through here, but for those of which nobody needs to hear.
    fn commit(&self, ops: Vec<Op>, expected: Vec<Expect>) -> Result<(), StoreError> {
        let gives_orders = ops.iter().any(|op| matches!(op, Op::Put(Space::Orders, ..)));
        let touched = touched(&ops);
        self.commit_untold(ops, expected)?;
        self.changes.note(&touched);
        if gives_orders {
            self.orders_given.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    /// The same where whoever changes it is the one who acts on it.
    fn commit_untold(&self, ops: Vec<Op>, expected: Vec<Expect>) -> Result<(), StoreError> {
        if !self.disk.has_room_for_commit() {
            return Err(StoreError::Full);
        }
        let before = self.observer.as_ref().map(|Observer(_, world)| world.clock.instant());
        let result = self.engine.commit(ops, expected);
        if let (Some(Observer(observe, _)), Some(before)) = (&self.observer, before) {
            observe(before.elapsed().as_secs_f64());
        }
        result
    }

    /// Changes whenever something was asked of batches, before who asked hears that it is done.
    pub fn orders_given(&self) -> u64 {
        self.orders_given.load(Ordering::SeqCst)
    }

    /// Whether the store still takes commits.
    pub fn health(&self) -> Health {
        self.engine.health()
    }
}

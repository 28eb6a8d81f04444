//! What a crash left: windows that were claimed and not released.
//!
//! Under the same boot id start marks are complete: only rows with a mark and no outcome were on the
//! wire. After a reboot marks may be lost, so the whole window is in doubt.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::chunk::remaining;
use super::error::DispatchError;
use super::exits::Exits;
use super::live::LiveBatch;
use crate::batch::{RowEvent, RowOutcome};
use crate::model::{ChannelKind, Status};
use crate::spool::{Spool, StoredRow};
use crate::store::{BatchRecord, Store, WindowRecord};
use crate::world::World;

/// Opens a batch and settles the windows that a crash left in it. Returns how many rows are unknown.
pub(super) fn recover(
    (store, spool): (&Store, &Spool),
    record: BatchRecord,
    boot_id: &str,
    exits: &Exits,
    world: &World,
) -> Result<(Arc<LiveBatch>, u64), DispatchError> {
    let windows = store.windows(record.id)?;
    let numbers: HashSet<u32> = windows.iter().map(|w| w.number).collect();
    let live = LiveBatch::open(spool, record, &numbers)?;
    let mut by_chunk: BTreeMap<u32, Vec<WindowRecord>> = BTreeMap::new();
    for window in windows {
        by_chunk.entry(window.chunk).or_default().push(window);
    }
    let mut unknown = 0;
    for (number, windows) in by_chunk {
        let before = store.chunk(live.record.id, number)?.ok_or_else(|| {
            DispatchError::ChunkMissing { batch: live.record.id.to_string(), chunk: number }
        })?;
        let (earlier, chunk) = (live.latest(number)?, live.chunk(&before)?);
        let rows = chunk.rows()?;
        for window in &windows {
            let lost = in_doubt(&live, window, (&rows, &earlier), boot_id, exits, world)?;
            unknown += lost.iter().filter(|row| row.status == Status::Unknown).count() as u64;
            if !lost.is_empty() {
                live.append(number, window.number, &lost)?;
            }
        }
        live.sync()?;
        let (latest, now) = (live.latest(number)?, world.clock.now());
        let after = remaining(&before, &rows, &latest, &HashMap::new(), now);
        let numbers: Vec<u32> = windows.iter().map(|w| w.number).collect();
        store.release_windows(live.record.id, &numbers, &before, &after)?;
        live.leave(number);
    }
    Ok((Arc::new(live), unknown))
}

/// The outcomes of a window's rows of which nobody knows whether they went out.
fn in_doubt(
    live: &LiveBatch,
    window: &WindowRecord,
    (rows, earlier): (&[StoredRow<'_>], &HashMap<u32, RowOutcome>),
    boot_id: &str,
    exits: &Exits,
    world: &World,
) -> Result<Vec<RowOutcome>, DispatchError> {
    let now = world.clock.now();
    let same_boot = window.boot_id == boot_id;
    let mut lost = Vec::new();
    for index in window.positions() {
        let (settled, started) = live.with_log(|log| {
            let started = log.started(window.number, index).map(str::to_owned);
            (log.is_settled(window.number, index), started)
        });
        if settled || (same_boot && started.is_none()) {
            continue;
        }
        let standing = earlier.get(&index).cloned();
        let standing = standing.unwrap_or_else(|| RowOutcome::untried(index));
        let Some(row) = rows.get(index as usize) else { continue };
        let chain = row.chain(standing.step);
        let channel = row.on_step(standing.step).channel.unwrap_or(ChannelKind::Email);
        let again = started.as_ref().is_some_and(|id| exits.resends_unknown(id));
        let provider = started.unwrap_or_default();
        let event = RowEvent::Lost { channel, provider, again, at: now };
        lost.push(standing.apply(RowEvent::Claimed, chain)?.apply(event, chain)?);
    }
    Ok(lost)
}

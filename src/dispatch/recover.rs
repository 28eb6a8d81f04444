//! What a crash left: windows that were claimed and not released.
//!
//! Under the same boot id start marks are complete: only rows with a mark and no outcome were on the
//! wire. After a reboot marks may be lost, so the whole window is in doubt.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::chunk::{accepted, remaining};
use super::error::DispatchError;
use super::exits::Exits;
use super::live::LiveBatch;
use super::settings::Route;
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
    (exits, route): (&Exits, Option<&Route>),
    world: &World,
) -> Result<(Arc<LiveBatch>, u64), DispatchError> {
    let windows = store.windows(record.id)?;
    let numbers: HashSet<u32> = windows.iter().map(|w| w.number).collect();
    let synced = store.outcomes_bytes(record.id)?;
    let live = LiveBatch::open(spool, record, &numbers, synced)?;
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
            let lost = in_doubt(&live, window, (&rows, &earlier), boot_id, (exits, route), world)?;
            unknown += lost.iter().filter(|row| row.status == Status::Unknown).count() as u64;
            if !lost.is_empty() {
                live.append(number, window.number, &lost)?;
            }
        }
        let outcomes_bytes = live.outcomes_bytes();
        live.sync()?;
        let (words, now) = (live.last_words(number), world.clock.now());
        let rest = (&words, outcomes_bytes);
        let after = remaining(&before, &accepted(&rows), rest, &HashMap::new(), now);
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
    (exits, route): (&Exits, Option<&Route>),
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
        // The one that was lost is an attempt: a row that ends the process each time is not sent for ever.
        let attempts = standing.attempts_on_step() + 1;
        // Of the marks that survive a reboot the last may be missing: where the channel has another provider
        // that one may have it.
        let is_certain =
            same_boot || route.is_some_and(|route| exits.on(channel, route).len() == 1);
        let again =
            is_certain && started.as_ref().is_some_and(|id| exits.resends_unknown(id, attempts));
        let provider = started.unwrap_or_default();
        let event = RowEvent::Lost { channel, provider, again, at: now };
        lost.push(standing.apply(RowEvent::Claimed, chain)?.apply(event, chain)?);
    }
    Ok(lost)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;

    use super::*;
    use crate::batch::{BatchState, Chain, Tried, after_attempt};
    use crate::model::{Attempt, BatchId, Outcome, UntilHint};
    use crate::spool::{ChunkBuilder, LogWriter, OutcomeRecord, RowHead, SpoolError};
    use crate::store::{ChunkRecord, ControlRecord, Facts, SimulatedDisk};

    const AT: Timestamp = Timestamp::UNIX_EPOCH;

    /// The word on a row whose first attempt came to this.
    fn word(outcome: Outcome) -> RowOutcome {
        let attempt = Attempt::new(outcome, None, "");
        let next = after_attempt(&attempt, 1, 9, false);
        let (channel, provider) = (ChannelKind::Sms, "a".to_owned());
        let tried = Tried { channel, provider, attempt, next, at: AT, due: AT };
        let claimed = RowOutcome::untried(0).apply(RowEvent::Claimed, Chain::ONE).unwrap();
        claimed.apply(RowEvent::Tried(Box::new(tried)), Chain::ONE).unwrap()
    }

    /// A batch of two rows in a claimed window, of whose outcomes these are on the disk.
    fn laid(folder: &Path, records: &[OutcomeRecord]) -> (Store, Spool, BatchRecord) {
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let spool = Spool::open(folder).unwrap();
        let record = BatchRecord {
            id: BatchId::from_u64(7),
            tenant: "acme".parse().unwrap(),
            path: "inbox/a.csv".to_owned(),
            state: BatchState::Running,
            account: String::new(),
            proof: None,
            received_at: AT,
            claimed_at: AT,
            validated_at: Some(AT),
            closed_at: None,
            facts: Facts::default(),
            chunks: 1,
            hold: None,
            control: ControlRecord::default(),
        };
        let files = spool.batch(record.id);
        files.create().unwrap();
        let rows = LogWriter::create(&files.rows()).unwrap();
        rows.append(RowHead::KIND, &RowHead::default().to_bytes()).unwrap();
        let mut builder = ChunkBuilder::default();
        for row in 1..=2 {
            let channel = Some(ChannelKind::Sms);
            builder.push(&StoredRow { row, channel, ..StoredRow::default() });
        }
        let position = rows.append(ChunkBuilder::KIND, builder.take().unwrap().0).unwrap();
        let chunk = ChunkRecord {
            number: 0,
            offset: position.offset,
            bytes: position.bytes,
            first_row: 1,
            rows: 2,
            duplicates: None,
            open: 2,
            deferred: 0,
            resendable: Some(0),
            urgency: None,
            due: Some(AT),
            outcomes_bytes: 0,
        };
        store.put_chunks(record.id, &[chunk]).unwrap();
        let (rows, boot_id) = (vec![(0, 1)], "this".to_owned());
        store
            .claim_window(record.id, &WindowRecord { number: 1, chunk: 0, rows, boot_id })
            .unwrap();
        let log = LogWriter::create(&files.outcomes()).unwrap();
        for record in records {
            let (kind, body) = record.encode();
            log.append(kind, &body).unwrap();
        }
        (store, spool, record)
    }

    fn recover_at(
        store: &Store,
        spool: &Spool,
        record: BatchRecord,
        boot: &str,
    ) -> Result<(Arc<LiveBatch>, u64), DispatchError> {
        let exits = Exits::Providers(Arc::default());
        let world = World::seeded(AT, 1);
        recover((store, spool), record, boot, (&exits, None), &world)
    }

    /// What recovery makes of both rows, in the boot that claimed them or in another.
    fn recovered(records: &[OutcomeRecord], boot: &str) -> [&'static str; 2] {
        let folder = tempfile::tempdir().unwrap();
        let (store, spool, record) = laid(folder.path(), records);
        let (live, unknown) = recover_at(&store, &spool, record, boot).unwrap();
        assert!(store.windows(live.record.id).unwrap().is_empty());
        let latest = live.latest(0).unwrap();
        let word = |index| latest.get(&index).map_or("untried", |row| row.status.as_str());
        let words = [0, 1].map(word);
        assert_eq!(words.iter().filter(|word| **word == "unknown").count() as u64, unknown);
        words
    }

    #[test]
    fn a_kill_between_any_two_writes_makes_only_what_was_on_the_wire_unknown() {
        let (chunk, window) = (0, 1);
        let mark = |provider: &str| OutcomeRecord::Started {
            chunk,
            window,
            index: 0,
            provider: provider.to_owned(),
        };
        let refusal = word(Outcome::Transient(UntilHint(None)));
        let refused = OutcomeRecord::Refused { chunk, window, rows: vec![refusal.clone()] };
        let ended = |row| OutcomeRecord::Settled { chunk, window, rows: vec![row] };
        let taken = ended(word(Outcome::Accepted));
        // Row 0 is tried at two providers, row 1 never had its turn. After another boot marks may be
        // lost, so that only the window's last word on a row counts.
        for (records, this_boot, another) in [
            (vec![], ["untried"; 2], ["unknown"; 2]),
            (vec![mark("a")], ["unknown", "untried"], ["unknown"; 2]),
            (vec![mark("a"), taken.clone()], ["submitted", "untried"], ["submitted", "unknown"]),
            (vec![mark("a"), ended(refusal)], ["deferred", "untried"], ["deferred", "unknown"]),
            (vec![mark("a"), refused.clone()], ["deferred", "untried"], ["unknown"; 2]),
            (vec![mark("a"), refused.clone(), mark("b")], ["unknown", "untried"], ["unknown"; 2]),
            (
                vec![mark("a"), refused, mark("b"), taken],
                ["submitted", "untried"],
                ["submitted", "unknown"],
            ),
        ] {
            assert_eq!(recovered(&records, "this"), this_boot, "{records:?}");
            assert_eq!(recovered(&records, "another"), another, "{records:?}");
        }
    }

    #[test]
    fn damage_amid_outcomes_is_an_error_and_nothing_is_cut_off() {
        let (folder, chunk, window) = (tempfile::tempdir().unwrap(), 0, 1);
        let taken = |index| RowOutcome { index, ..word(Outcome::Accepted) };
        let settled = |index| OutcomeRecord::Settled { chunk, window, rows: vec![taken(index)] };
        let (store, spool, record) = laid(folder.path(), &[settled(0), settled(1)]);
        drop(recover_at(&store, &spool, record.clone(), "this").unwrap());
        let path = spool.batch(record.id).outcomes();
        let whole = std::fs::read(&path).unwrap();
        assert_eq!(store.outcomes_bytes(record.id).unwrap(), whole.len() as u64);
        let mut flipped = whole.clone();
        flipped[20] ^= 1;
        for bytes in [&flipped, &whole[..whole.len() - 1].to_vec()] {
            std::fs::write(&path, bytes).unwrap();
            let damaged = recover_at(&store, &spool, record.clone(), "this");
            let is_damage =
                matches!(damaged, Err(DispatchError::Spool(SpoolError::Damaged { .. })));
            assert!(is_damage && std::fs::read(&path).unwrap() == *bytes);
        }
        std::fs::remove_file(&path).unwrap();
        let gone = recover_at(&store, &spool, record, "this");
        assert!(matches!(gone, Err(DispatchError::Spool(SpoolError::Missing { .. }))));
        assert!(!path.exists(), "no empty one in its place");
    }

    #[test]
    fn marks_of_duplicates_that_are_gone_are_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let (store, spool, record) = laid(folder.path(), &[]);
        let (live, _) = recover_at(&store, &spool, record.clone(), "this").unwrap();
        let chunk = store.chunk(record.id, 0).unwrap().unwrap();
        assert!(live.chunk(&chunk).is_ok());
        let gone = live.chunk(&ChunkRecord { duplicates: Some((0, 9)), ..chunk });
        assert!(matches!(gone, Err(DispatchError::Spool(SpoolError::Missing { .. }))));
    }
}

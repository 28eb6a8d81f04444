//! The memory of used `row_id`s: which digest files a scope has, and keeping them few.
//!
//! Each accepted batch leaves a file; files of one size are merged when there are enough of them, so
//! that every id is written anew only a few times and a scope of any size has a few dozen files.

use std::io;
use std::time::Duration;

use jiff::Timestamp;

use super::IntakeError;
use super::concluding::Desk;
use super::same_again::MarkSorter;
use super::settings::{ProfileSettings, RowIdScope};
use crate::model::{BatchId, Realm, TenantId};
use crate::spool::{IdEntry, IdJudge, IdMemory};
use crate::store::{BatchRecord, RowIdFile};

/// Files of one size that are merged into one of the next: eight times as large.
const FILES_TO_MERGE: usize = 8;
/// Files that are merged at once at most: each is read through a buffer.
const FILES_AT_ONCE: usize = 64;
/// Files below so many ids are all of one size.
const SMALL_IDS: u64 = 4096;
/// A merge between naming the files and opening them is met by looking again.
const LOOKS_MAX: usize = 10;

/// Within what a profile's `row_id`s are unique; `None` where that is the file, of which nothing is
/// remembered.
pub(super) fn scope_of(realm: Realm, profile: &ProfileSettings) -> Option<String> {
    match profile.row_id_scope {
        RowIdScope::Tenant => Some(tenant_scope(realm)),
        RowIdScope::Profile => Some(profile_scope(realm, &profile.name)),
        RowIdScope::File => None,
    }
}

pub(super) fn tenant_scope(realm: Realm) -> String {
    format!("{}tenant", realm.root())
}

pub(super) fn profile_scope(realm: Realm, profile: &str) -> String {
    format!("{}profile:{profile}", realm.root())
}

/// Marks the rows whose `row_id` was used before, in this file or in an earlier one.
#[derive(Debug)]
pub(super) struct UsedIds<'a> {
    pub(super) memory: IdMemory,
    pub(super) oldest: BatchId,
    pub(super) marks: &'a mut MarkSorter,
}

impl IdJudge for UsedIds<'_> {
    type Error = IntakeError;

    fn repeated(&mut self, (_, row): IdEntry, first: u64) -> Result<(), IntakeError> {
        self.marks.push(row, true, None, first)
    }

    fn keep(&mut self, entries: &[IdEntry]) -> Result<Vec<bool>, IntakeError> {
        let found = self.memory.find(entries, self.oldest)?;
        for ((_, row), used) in entries.iter().zip(&found) {
            if let Some((batch, first)) = used {
                self.marks.push(*row, true, Some(*batch), *first)?;
            }
        }
        Ok(found.iter().map(Option::is_none).collect())
    }
}

impl Desk {
    /// What a scope remembers since a moment, and the oldest batch id that can be of it.
    pub(super) fn row_memory(
        &self,
        tenant: &TenantId,
        scope: &str,
        since: Timestamp,
    ) -> Result<(IdMemory, BatchId), IntakeError> {
        let oldest = BatchId::new(since, 0);
        for _ in 0..LOOKS_MAX {
            let mut files = self.store.row_id_files(tenant, scope)?;
            files.retain(|file| file.accepted_at >= since && file.ids > 0);
            if let Some(memory) = self.open_memory(tenant, &files)? {
                return Ok((memory, oldest));
            }
        }
        let source = io::Error::new(io::ErrorKind::NotFound, "a digest file of row ids is missing");
        Err(IntakeError::Input { source })
    }

    /// The newest file first: it is the likeliest to know an id.
    fn open_memory(
        &self,
        tenant: &TenantId,
        files: &[RowIdFile],
    ) -> Result<Option<IdMemory>, IntakeError> {
        let path = |file: &RowIdFile| {
            (self.spool.row_ids(tenant, file.batch, file.generation), file.batch)
        };
        Ok(IdMemory::open(files.iter().rev().map(path))?)
    }

    /// One step towards fewer digest files of a tenant: true where there may be another.
    pub(super) fn tidy_row_ids(
        &self,
        tenant: &TenantId,
        now: Timestamp,
        window: Duration,
    ) -> Result<bool, IntakeError> {
        let since = now - window;
        for (_, scope) in self.store.row_id_scopes(Some(tenant))? {
            let (old, files): (Vec<_>, Vec<_>) = self
                .store
                .row_id_files(tenant, &scope)?
                .into_iter()
                .partition(|file| file.accepted_at < since || file.ids == 0);
            if !old.is_empty() {
                self.replace(tenant, &scope, &old[..old.len().min(500)], None)?;
                return Ok(true);
            }
            let merged = to_merge(&files);
            if !merged.is_empty() {
                self.merge(tenant, &scope, &merged, since)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Writes the merged file, has the store name it, removes the others: in this order, so that a
    /// crash leaves at most files that nobody names.
    fn merge(
        &self,
        tenant: &TenantId,
        scope: &str,
        files: &[RowIdFile],
        since: Timestamp,
    ) -> Result<(), IntakeError> {
        let Some(memory) = self.open_memory(tenant, files)? else { return Ok(()) };
        let newest = files.iter().max_by_key(|file| file.batch).expect("there are files to merge");
        let generation = files.iter().map(|file| file.generation).max().unwrap_or_default() + 1;
        let path = self.spool.row_ids(tenant, newest.batch, generation);
        let written = memory.merge(&path, BatchId::new(since, 0))?;
        let merged = RowIdFile { ids: written.len(), generation, ..newest.clone() };
        self.replace(tenant, scope, files, Some(&merged))?;
        tracing::debug!(%tenant, scope, files = files.len(), ids = merged.ids, "row ids merged");
        Ok(())
    }

    fn replace(
        &self,
        tenant: &TenantId,
        scope: &str,
        old: &[RowIdFile],
        new: Option<&RowIdFile>,
    ) -> Result<(), IntakeError> {
        self.store.replace_row_ids(tenant, scope, old, new)?;
        for file in old {
            self.remove_row_id_file(tenant, file.batch, file.generation)?;
        }
        Ok(())
    }

    /// Takes back the digest file of a batch that is refused after all.
    pub(super) fn remove_row_ids(&self, record: &BatchRecord) -> Result<(), IntakeError> {
        self.remove_row_id_file(&record.tenant, record.id, 0)
    }

    fn remove_row_id_file(
        &self,
        tenant: &TenantId,
        batch: BatchId,
        generation: u32,
    ) -> Result<(), IntakeError> {
        match self.spool.remove_row_ids(tenant, batch, generation) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(IntakeError::Input { source })
            }
            _ => Ok(()),
        }
    }

    /// At start, before any file is read: removes digest files that the store does not name.
    pub(super) fn sweep_row_ids(&self) -> Result<(), IntakeError> {
        let mut named = std::collections::HashSet::new();
        for (tenant, scope) in self.store.row_id_scopes(None)? {
            for file in self.store.row_id_files(&tenant, &scope)? {
                named.insert(self.spool.row_ids(&tenant, file.batch, file.generation));
            }
        }
        let removed = self.spool.sweep_row_ids(|path| named.contains(path))?;
        if removed > 0 {
            tracing::info!(removed, "digest files that nobody names removed");
        }
        Ok(())
    }
}

/// Which of a scope's files are to become one: those of the smallest size of which there are enough.
fn to_merge(files: &[RowIdFile]) -> Vec<RowIdFile> {
    let mut sizes: Vec<u32> = files.iter().map(size_of).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for size in sizes {
        let same: Vec<_> = files.iter().filter(|f| size_of(f) == size).cloned().collect();
        if same.len() >= FILES_TO_MERGE {
            return same.into_iter().take(FILES_AT_ONCE).collect();
        }
    }
    Vec::new()
}

/// The power of eight that a file has reached.
fn size_of(file: &RowIdFile) -> u32 {
    (file.ids / SMALL_IDS).checked_ilog(8).map_or(0, |power| power + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::{IdFile, IdSorter, Spool};
    use crate::store::{SimulatedDisk, Store};

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(day: i64) -> Timestamp {
        Timestamp::from_second(1_780_000_000 + day * 86_400).unwrap()
    }

    /// Ids of a file of the day: ten of them, none of another day.
    fn ids(day: u64) -> Vec<IdEntry> {
        (0..10).map(|n| ([(n * 1000 + day) << 40, day], n)).collect()
    }

    struct House {
        desk: Desk,
        disk: SimulatedDisk,
        tenant: TenantId,
        data: tempfile::TempDir,
    }

    impl House {
        fn new() -> House {
            let (data, disk) = (tempfile::tempdir().unwrap(), SimulatedDisk::default());
            let store = Store::simulated(&disk).unwrap();
            let desk = Desk { store, spool: Spool::open(data.path()).unwrap() };
            House { desk, disk, tenant: "acme".parse().unwrap(), data }
        }

        /// As an accepted file leaves it.
        fn remember(&self, day: u64) {
            let batch = BatchId::new(at(day as i64), day);
            let mut sorter = IdSorter::new(self.data.path().join("scratch"));
            for (digest, row) in ids(day) {
                sorter.push(digest, row).unwrap();
            }
            let path = self.desk.spool.row_ids(&self.tenant, batch, 0);
            let (memory, oldest) = self.desk.row_memory(&self.tenant, "tenant", at(-90)).unwrap();
            let mut marks = MarkSorter::new(self.data.path().join("marks"));
            let mut judge = UsedIds { memory, oldest, marks: &mut marks };
            let file = IdFile::create(&path, batch, sorter, &mut judge).unwrap();
            let accepted_at = at(day as i64);
            let named = RowIdFile { batch, accepted_at, ids: file.len(), generation: 0 };
            self.desk.store.replace_row_ids(&self.tenant, "tenant", &[], Some(&named)).unwrap();
        }

        fn knows(&self, day: u64, now: i64) -> bool {
            let since = at(now) - 90 * DAY;
            let (memory, oldest) = self.desk.row_memory(&self.tenant, "tenant", since).unwrap();
            let found = memory.find(&ids(day), oldest).unwrap();
            assert!(found.iter().all(|used| used.is_some() == found[0].is_some()));
            found[0].is_some()
        }

        fn tidy(&self, now: i64) -> Result<(), IntakeError> {
            while self.desk.tidy_row_ids(&self.tenant, at(now), 90 * DAY)? {}
            Ok(())
        }

        fn files(&self) -> usize {
            std::fs::read_dir(self.data.path().join("row_ids/acme")).unwrap().count()
        }
    }

    #[test]
    fn ids_are_known_for_the_window_and_files_stay_few() {
        let house = House::new();
        for day in 0..200 {
            house.remember(day);
            house.tidy(day as i64).unwrap();
            assert!(house.files() < 2 * FILES_TO_MERGE, "{} files", house.files());
            assert!(
                house.knows(day, day as i64) && house.knows(day.saturating_sub(89), day as i64)
            );
            assert!(day < 91 || !house.knows(day - 91, day as i64));
        }
        house.tidy(300).unwrap();
        assert_eq!(house.files(), 0, "what is forgotten takes no room");
    }

    #[test]
    fn a_merge_that_a_crash_cuts_loses_nothing_and_leaves_nothing() {
        // Without `applied` the store's commit is lost, with it only its answer.
        for applied in [false, true] {
            let mut house = House::new();
            for day in 0..8 {
                house.remember(day);
            }
            house.disk.fail_commit(1, applied);
            assert!(house.tidy(8).is_err());
            house.desk.store = Store::simulated(&house.disk).unwrap();
            house.desk.sweep_row_ids().unwrap();
            assert_eq!(house.files(), if applied { 1 } else { 8 });
            assert!((0..8).all(|day| house.knows(day, 8)));
            house.tidy(8).unwrap();
            assert_eq!(house.files(), 1);
            assert!((0..8).all(|day| house.knows(day, 8)));
        }
    }

    #[test]
    fn files_of_one_size_are_merged_the_smallest_first() {
        let file = |batch: u64, ids: u64| RowIdFile {
            batch: BatchId::from_u64(batch),
            accepted_at: at(0),
            ids,
            generation: 0,
        };
        let mut files: Vec<_> = (0..7).map(|n| file(n, 10 + n * 500)).collect();
        files.extend((10..18).map(|n| file(n, 1_000_000)));
        let merged = |files: &[RowIdFile]| to_merge(files).iter().map(|f| f.ids).max();
        assert_eq!(merged(&files), Some(1_000_000));
        files.push(file(20, 4000));
        assert_eq!(merged(&files), Some(4000));
        assert_eq!(merged(&files[..7]), None);
    }
}

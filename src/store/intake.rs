//! From an upload's evidence to an accepted batch.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::commands::Commands;
use super::engine::{Expect, KeyValue, Op, Space, StoreError, after_prefix};
use super::keys;
use super::open::{listing, lists_open};
use super::records::{
    BatchRecord, ChunkRecord, RECORD_VERSION, batch_text, decode, encode, proof_text, tenant_text,
};
use super::row_ids::RowIdFile;
use super::targets::campaign_prefix;
use crate::batch::{BatchEvent, BatchState, Publication, apply};
use crate::model::{BatchId, FileState, FileVersion, Proof, TenantId, UploadEvidence};

/// What concluding a file writes beside the batch itself, in the same commit.
#[derive(Debug, Clone, Default)]
pub struct Acceptance {
    /// Digest of kind, profile, directives and records, for "same file again".
    pub content: Option<[u8; 32]>,
    /// The scope of the row ids and how many stand in the batch's digest file.
    pub row_ids: Option<(String, u64)>,
    /// The profile counts its files: the file's number is used up, and the next one is told.
    pub numbered: bool,
    /// Rows of a file that says what is usual for its profile.
    pub usual_rows: Option<u64>,
    /// What a control file or marker asks of other batches.
    pub commands: Option<Commands>,
}

/// Files of one stem that are looked at to find the one a sidecar belongs to.
const STEM_MAX: usize = 64;

#[derive(Serialize, Deserialize)]
struct StoredTaken {
    #[serde(with = "batch_text")]
    batch: BatchId,
}

#[derive(Serialize, Deserialize)]
struct StoredUpload {
    #[serde(with = "tenant_text")]
    tenant: TenantId,
    path: String,
    account: String,
    protocol: String,
    #[serde(with = "proof_text")]
    proof: Proof,
    weak: bool,
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i128,
    at: Timestamp,
}

impl StoredUpload {
    fn version(&self) -> FileVersion {
        FileVersion {
            device: self.device,
            inode: self.inode,
            bytes: self.bytes,
            modified_ns: self.modified_ns,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredContent {
    #[serde(with = "batch_text")]
    batch: BatchId,
    accepted_at: Timestamp,
}

impl Store {
    pub(super) fn check_version(&self) -> Result<(), StoreError> {
        let key = b"version".to_vec();
        match self.engine.get(Space::Meta, &key)? {
            // Nothing is open in a new store: the list is whole.
            None => self.commit(
                vec![Op::Put(Space::Meta, key.clone(), vec![RECORD_VERSION]), lists_open()],
                vec![Expect::Absent(Space::Meta, key)],
            ),
            Some(found) if found == [RECORD_VERSION] => self.list_open_once(),
            Some(found) => Err(StoreError::Version {
                found: found.first().copied().unwrap_or(0),
                known: RECORD_VERSION,
            }),
        }
    }

    /// Writes down that a file is whole, before its client hears so.
    pub fn record_upload(&self, upload: &UploadEvidence) -> Result<(), StoreError> {
        let stored = StoredUpload {
            tenant: upload.tenant.clone(),
            path: upload.path.clone(),
            account: upload.account.clone(),
            protocol: upload.protocol.to_owned(),
            proof: upload.proof,
            weak: upload.weak,
            device: upload.version.device,
            inode: upload.version.inode,
            bytes: upload.version.bytes,
            modified_ns: upload.version.modified_ns,
            at: upload.at,
        };
        let key = keys::named(&upload.tenant, upload.path.as_bytes());
        self.commit(vec![Op::Put(Space::Uploads, key, encode(&stored))], Vec::new())
    }

    /// Takes evidence back, where it still speaks of the same version of the file.
    pub fn forget_upload(&self, upload: &UploadEvidence) -> Result<(), StoreError> {
        let key = keys::named(&upload.tenant, upload.path.as_bytes());
        loop {
            let Some(bytes) = self.engine.get(Space::Uploads, &key)? else { return Ok(()) };
            let stored: StoredUpload = decode("uploads", &bytes)?;
            if stored.version() != upload.version {
                return Ok(());
            }
            let expected = Expect::Value(Space::Uploads, key.clone(), bytes);
            match self.commit(vec![Op::Delete(Space::Uploads, key.clone())], vec![expected]) {
                // Written anew in between: it is looked at again.
                Err(StoreError::Conflict) => {}
                result => return result,
            }
        }
    }

    /// The evidence for a path, of whichever version it speaks.
    pub fn upload(
        &self,
        tenant: &TenantId,
        path: &str,
    ) -> Result<Option<UploadEvidence>, StoreError> {
        let key = keys::named(tenant, path.as_bytes());
        let Some(bytes) = self.engine.get(Space::Uploads, &key)? else { return Ok(None) };
        let stored: StoredUpload = decode("uploads", &bytes)?;
        let version = stored.version();
        Ok(Some(UploadEvidence {
            tenant: stored.tenant,
            path: stored.path,
            account: stored.account,
            protocol: match stored.protocol.as_str() {
                "sftp" => "sftp",
                "ftps" => "ftps",
                _ => "ftp",
            },
            proof: stored.proof,
            weak: stored.weak,
            version,
            at: stored.at,
        }))
    }

    /// Gives a batch its id and its record, before its file is renamed away. The id is the first free
    /// one from the record's own on.
    pub fn open_batch(&self, mut record: BatchRecord) -> Result<BatchRecord, StoreError> {
        assert_eq!(record.state, BatchState::Claimed, "batches begin as claimed");
        loop {
            let key = keys::batch(record.id);
            let put = Op::Put(Space::Batches, key.clone(), encode(&record));
            let ops = vec![put, listing(&record)];
            match self.commit(ops, vec![Expect::Absent(Space::Batches, key)]) {
                Err(StoreError::Conflict) => record.id = record.id.next(),
                Err(error) => return Err(error),
                Ok(()) => return Ok(record),
            }
        }
    }

    /// Takes back a claim whose file could not be renamed: it never happened. `Conflict` where the batch
    /// is claimed no more.
    pub fn forget_claim(&self, batch: BatchId) -> Result<(), StoreError> {
        let key = keys::batch(batch);
        let before = self.engine.get(Space::Batches, &key)?.ok_or(StoreError::Conflict)?;
        let record: BatchRecord = decode("batches", &before)?;
        if record.state != BatchState::Claimed {
            return Err(StoreError::Conflict);
        }
        let ops =
            vec![Op::Delete(Space::Batches, key.clone()), Op::Delete(Space::Open, key.clone())];
        self.commit(ops, vec![Expect::Value(Space::Batches, key, before)])
    }

    pub fn batch(&self, batch: BatchId) -> Result<Option<BatchRecord>, StoreError> {
        let found = self.engine.get(Space::Batches, &keys::batch(batch))?;
        found.map(|bytes| decode("batches", &bytes)).transpose()
    }

    /// Up to `limit` batches behind `after`, oldest first.
    pub fn batches(
        &self,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchRecord>, StoreError> {
        let from = after.map_or(Vec::new(), |b| keys::batch(b.next()));
        let found = self.engine.scan(Space::Batches, &from, &after_prefix(&[]), limit)?;
        found.iter().map(|(_, bytes)| decode("batches", bytes)).collect()
    }

    /// Up to `limit` batches before `before`, newest first.
    pub fn batches_before(
        &self,
        before: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<BatchRecord>, StoreError> {
        let until = before.map_or_else(|| after_prefix(&[]), keys::batch);
        let found = self.engine.scan_back(Space::Batches, &until, limit)?;
        found.iter().map(|(_, bytes)| decode("batches", bytes)).collect()
    }

    /// The batch that was claimed last.
    pub fn newest_batch(&self) -> Result<Option<BatchRecord>, StoreError> {
        Ok(self.batches_before(None, 1)?.pop())
    }

    /// Removes the chunks that an unfinished try at the same batch left.
    pub fn clear_chunks(&self, batch: BatchId) -> Result<(), StoreError> {
        for space in [Space::Chunks, Space::Timers] {
            let prefix = keys::batch(batch);
            loop {
                let page = self.engine.scan(space, &prefix, &after_prefix(&prefix), 500)?;
                if page.is_empty() {
                    break;
                }
                let ops = page.into_iter().map(|(key, _)| Op::Delete(space, key)).collect();
                self.commit(ops, Vec::new())?;
            }
        }
        Ok(())
    }

    /// Names chunks of a batch and, where rows of them are open, when they are due. The rows must be
    /// synced already.
    pub fn put_chunks(&self, batch: BatchId, chunks: &[ChunkRecord]) -> Result<(), StoreError> {
        for group in chunks.chunks(400) {
            let mut ops = Vec::with_capacity(group.len() * 2);
            for chunk in group {
                let key = keys::numbered(batch, chunk.number);
                ops.push(Op::Put(Space::Chunks, key, encode(chunk)));
                if let Some(due) = chunk.due {
                    let key = keys::timer(batch, due, chunk.number);
                    ops.push(Op::Put(Space::Timers, key, vec![RECORD_VERSION]));
                }
            }
            self.commit(ops, Vec::new())?;
        }
        Ok(())
    }

    /// Writes down how often reading a file was begun anew, before it is begun. Returns the record as it is
    /// stored now; that of a file which is not being read any more stays as it is.
    pub fn set_tries(&self, batch: BatchId, tries: u32) -> Result<BatchRecord, StoreError> {
        let key = keys::batch(batch);
        loop {
            let before = self.engine.get(Space::Batches, &key)?.ok_or(StoreError::Conflict)?;
            let mut record: BatchRecord = decode("batches", &before)?;
            if !matches!(record.state, BatchState::Claimed | BatchState::Released) {
                return Ok(record);
            }
            record.facts.tries = tries;
            let put = Op::Put(Space::Batches, key.clone(), encode(&record));
            match self.commit(vec![put], vec![Expect::Value(Space::Batches, key.clone(), before)]) {
                Err(StoreError::Conflict) => {}
                result => return result.map(|()| record),
            }
        }
    }

    /// Moves a batch on and orders what must be published for it, in one commit. Returns the record as
    /// it is stored now.
    pub fn conclude(
        &self,
        record: BatchRecord,
        event: BatchEvent,
        acceptance: &Acceptance,
    ) -> Result<BatchRecord, StoreError> {
        let key = keys::batch(record.id);
        let before = self.engine.get(Space::Batches, &key)?.ok_or(StoreError::Conflict)?;
        self.conclude_on(before, record, event, acceptance)
    }

    /// The same on top of a state that was read before; `Conflict` where another stands there by now.
    pub(super) fn conclude_on(
        &self,
        before: Vec<u8>,
        mut record: BatchRecord,
        event: BatchEvent,
        acceptance: &Acceptance,
    ) -> Result<BatchRecord, StoreError> {
        let key = keys::batch(record.id);
        let stored: BatchRecord = decode("batches", &before)?;
        let (state, publications) = apply(stored.state, event).map_err(|_| StoreError::Conflict)?;
        record.state = state;
        loop {
            let mut expected = vec![Expect::Value(Space::Batches, key.clone(), before.clone())];
            let mut ops = Vec::new();
            if let Some((put, expect)) = self.name_step(&mut record, stored.state, event)? {
                ops.push(put);
                expected.push(expect);
            }
            if let Some((put, expect)) =
                self.series_step(&mut record, &stored.facts, event, acceptance)?
            {
                ops.push(put);
                expected.push(expect);
            }
            record.shrink_to_fit();
            ops.extend(consequences(&record, stored.state, publications, acceptance));
            ops.push(Op::Put(Space::Batches, key.clone(), encode(&record)));
            if stored.state == BatchState::Claimed
                && let Some((used_up, evidence)) = self.used_up_upload(&record)?
            {
                ops.push(Op::Delete(Space::Uploads, used_up.clone()));
                expected.push(Expect::Value(Space::Uploads, used_up, evidence));
            }
            if let Some(commands) = &acceptance.commands {
                ops.extend(commands.ops());
                expected.extend(commands.expected());
            }
            let result = self.commit(ops, expected);
            if result == Err(StoreError::Conflict)
                && let Some(commands) = &acceptance.commands
                && !self.still_holds(commands)?
            {
                // A batch that they speak to changed: they are to be decided anew.
                return result.map(|()| record);
            }
            match result {
                // Something beside the batch changed: a newer upload of the name came in between, or
                // another file of the series was decided.
                Err(StoreError::Conflict)
                    if self.engine.get(Space::Batches, &key)?.as_ref() == Some(&before) => {}
                result => return result.map(|()| record),
            }
        }
    }

    /// Key and value of the claimed version's evidence; that of a newer upload of the name stays.
    fn used_up_upload(&self, record: &BatchRecord) -> Result<Option<KeyValue>, StoreError> {
        let key = keys::named(&record.tenant, record.path.as_bytes());
        let Some(bytes) = self.engine.get(Space::Uploads, &key)? else { return Ok(None) };
        let stored: StoredUpload = decode("uploads", &bytes)?;
        Ok((stored.at <= record.received_at).then_some((key, bytes)))
    }

    /// The file that was taken last from under one of these paths: `path` itself, or, with `stem`, `path`
    /// with any extension.
    pub fn taken(
        &self,
        tenant: &TenantId,
        path: &str,
        stem: bool,
    ) -> Result<Option<BatchRecord>, StoreError> {
        let key = keys::named(tenant, path.as_bytes());
        let mut found: Vec<Vec<u8>> = self.engine.get(Space::Taken, &key)?.into_iter().collect();
        if stem {
            let mut from = key;
            from.push(b'.');
            let page = self.engine.scan(Space::Taken, &from, &after_prefix(&from), STEM_MAX)?;
            let one_ending = |rest: &[u8]| !rest[from.len()..].contains(&b'.');
            found.extend(page.into_iter().filter(|(key, _)| one_ending(key)).map(|(_, v)| v));
        }
        let mut newest: Option<BatchId> = None;
        for bytes in found {
            let name: StoredTaken = decode("taken", &bytes)?;
            newest = newest.max(Some(name.batch));
        }
        newest.map_or(Ok(None), |batch| self.batch(batch))
    }

    /// The batch that had the same content, and when it was accepted.
    pub fn content(
        &self,
        tenant: &TenantId,
        content: &[u8; 32],
    ) -> Result<Option<(BatchId, Timestamp)>, StoreError> {
        let found = self.engine.get(Space::Contents, &keys::named(tenant, content))?;
        let stored: Option<StoredContent> = found.map(|b| decode("contents", &b)).transpose()?;
        Ok(stored.map(|s| (s.batch, s.accepted_at)))
    }
}

/// What is written beside the batch itself when it moves on.
fn consequences(
    record: &BatchRecord,
    before: BatchState,
    publications: &[Publication],
    acceptance: &Acceptance,
) -> Vec<Op> {
    let mut ops: Vec<Op> = publications.iter().map(|p| order_of(record.id, *p)).collect();
    ops.push(listing(record));
    if record.state == BatchState::Running && record.is_rehearsed() {
        ops.push(order_of(record.id, Publication::Rendered));
    }
    if before == BatchState::Claimed {
        let path = keys::named(&record.tenant, record.path.as_bytes());
        ops.push(Op::Put(Space::Taken, path, encode(&StoredTaken { batch: record.id })));
    }
    // A file that was held unread tells its campaign when it is released.
    let is_judged = matches!(before, BatchState::Claimed | BatchState::Released);
    let is_duplicate = record.facts.state == Some(FileState::Duplicate);
    if is_judged && !is_duplicate && !record.facts.campaign.is_empty() {
        let mut key = campaign_prefix(&record.tenant, record.realm(), &record.facts.campaign);
        key.extend_from_slice(&keys::batch(record.id));
        ops.push(Op::Put(Space::Campaigns, key, vec![RECORD_VERSION]));
    }
    match (before, record.state) {
        (_, BatchState::Held) => {
            ops.push(Op::Put(Space::Holds, keys::batch(record.id), vec![RECORD_VERSION]));
        }
        // A released file stays listed until it was read again.
        (BatchState::Held, BatchState::Released) => {}
        (BatchState::Held | BatchState::Released, _) => {
            ops.push(Op::Delete(Space::Holds, keys::batch(record.id)));
        }
        _ => {}
    }
    let at = record.validated_at.unwrap_or(record.claimed_at);
    if let Some(content) = &acceptance.content {
        let stored = StoredContent { batch: record.id, accepted_at: at };
        let key = keys::named(&record.tenant, content);
        ops.push(Op::Put(Space::Contents, key, encode(&stored)));
    }
    if let Some((scope, ids)) = &acceptance.row_ids {
        let file = RowIdFile { batch: record.id, accepted_at: at, ids: *ids, generation: 0 };
        ops.push(file.put(&record.tenant, scope));
    }
    ops
}

/// Something is to be done in the tenant's folders.
pub(super) fn order_of(batch: BatchId, publication: Publication) -> Op {
    Op::Put(Space::Publications, keys::publication(batch, publication), vec![RECORD_VERSION])
}

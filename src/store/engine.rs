//! The narrow face of an engine: ordered bytes, atomic and durable commits, paged scans.

use std::fmt;

/// Why the store could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What the caller expected to find is not there (any more); nothing was changed.
    #[error("stored value is not the expected one")]
    Conflict,
    /// There is no room on the disk for a commit; nothing was changed, and later it may be.
    #[error("the disk is too full for a commit")]
    Full,
    /// A value, a key or a commit is over its limit: a fault of ours, found before any write.
    #[error("commit is too large: {0}")]
    TooLarge(&'static str),
    /// The handle is dead and the outcome of the commit unknown: stop and open anew.
    #[error("store failed: {0}")]
    Failed(String),
    /// Stored bytes do not decode.
    #[error("stored record in {space} does not decode")]
    Damaged { space: &'static str },
    /// Written by a newer version.
    #[error("store has format {found}; this version reads up to {known}")]
    Version { found: u8, known: u8 },
}

/// Whether an engine takes commits, and what an operator should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    pub failed: bool,
    /// Files in sled's `blobs/`: never synced by sled, so there must be none.
    pub blobs: u64,
}

/// One ordered key space each; the list only grows, since its order names trees on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Space {
    Meta,
    Batches,
    Chunks,
    Windows,
    Timers,
    Contents,
    Uploads,
    Publications,
    Names,
    RowIds,
    Guard,
    Holds,
    Series,
    Streams,
    StreamLines,
    Noted,
    Taken,
    CutUploads,
    Orders,
    Campaigns,
    Open,
    Halts,
    Settlements,
    Ramps,
}

impl Space {
    pub(super) const ALL: [Space; 24] = [
        Space::Meta,
        Space::Batches,
        Space::Chunks,
        Space::Windows,
        Space::Timers,
        Space::Contents,
        Space::Uploads,
        Space::Publications,
        Space::Names,
        Space::RowIds,
        Space::Guard,
        Space::Holds,
        Space::Series,
        Space::Streams,
        Space::StreamLines,
        Space::Noted,
        Space::Taken,
        Space::CutUploads,
        Space::Orders,
        Space::Campaigns,
        Space::Open,
        Space::Halts,
        Space::Settlements,
        Space::Ramps,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Space::Meta => "meta",
            Space::Batches => "batches",
            Space::Chunks => "chunks",
            Space::Windows => "windows",
            Space::Timers => "timers",
            Space::Contents => "contents",
            Space::Uploads => "uploads",
            Space::Publications => "publications",
            Space::Names => "names",
            Space::RowIds => "row_ids",
            Space::Guard => "guard",
            Space::Holds => "holds",
            Space::Series => "series",
            Space::Streams => "streams",
            Space::StreamLines => "stream_lines",
            Space::Noted => "noted",
            Space::Taken => "taken",
            Space::CutUploads => "cut_uploads",
            Space::Orders => "orders",
            Space::Campaigns => "campaigns",
            Space::Open => "open",
            Space::Halts => "halts",
            Space::Settlements => "settlements",
            Space::Ramps => "ramps",
        }
    }
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Op {
    Put(Space, Vec<u8>, Vec<u8>),
    Delete(Space, Vec<u8>),
}

/// What must hold for a commit to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expect {
    Absent(Space, Vec<u8>),
    Value(Space, Vec<u8>, Vec<u8>),
}

pub(super) type KeyValue = (Vec<u8>, Vec<u8>);

/// Largest value, in bytes: larger ones would land in sled's unsynced blob files.
pub(super) const VALUE_MAX_BYTES: usize = 4096;
/// Most changes in one commit: sled holds garbage until a batch ends.
pub(super) const OPS_MAX: usize = 1000;

/// Ordered bytes with durable commits.
pub(super) trait Engine: Send + Sync + fmt::Debug {
    /// All or nothing; `Ok` means it survives a power cut.
    fn commit(&self, ops: Vec<Op>, expected: Vec<Expect>) -> Result<(), StoreError>;
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;
    /// Keys from `from` on that are below `until`, in order, at most `limit`.
    fn scan(
        &self,
        space: Space,
        from: &[u8],
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError>;
    /// Keys below `until`, the last first, at most `limit`.
    fn scan_back(
        &self,
        space: Space,
        until: &[u8],
        limit: usize,
    ) -> Result<Vec<KeyValue>, StoreError>;
    /// Waits until whatever can be read of this batch's record and orders survives a power cut: a commit
    /// can be read a moment before it is synced, and nobody outside may be told of it before.
    fn settled(&self, batch: &[u8]) -> Result<(), StoreError>;
    fn health(&self) -> Health;
}

/// Refuses what no engine may be given.
pub(super) fn check_limits(ops: &[Op]) -> Result<(), StoreError> {
    if ops.len() > OPS_MAX {
        return Err(StoreError::TooLarge("more than 1000 changes"));
    }
    for op in ops {
        let (key, value) = match op {
            Op::Put(_, key, value) => (key, value.len()),
            Op::Delete(_, key) => (key, 0),
        };
        if key.len() > 1024 || value > VALUE_MAX_BYTES {
            return Err(StoreError::TooLarge("a key over 1 KiB or a value over 4 KiB"));
        }
    }
    Ok(())
}

/// The first key behind all that begin with `prefix`.
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0xff; 1025]
}

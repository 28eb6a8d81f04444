//! A batch's bulk data, outside the store: append-only files of records with length and CRC.
//!
//! Owns `batches/<batch_id>/`: the claimed input, its rows, problems and outcomes, and the digest
//! files of row ids. A record counts only when its CRC fits and the file was synced; the store names
//! positions only after that. Blocking, and says so: call it through `worker::blocking`.
//! Never knows sled, never touches a tenant's tree. Start reading at `log.rs`, then `row.rs`.

mod bytes;
mod duplicate;
mod folder;
mod id_file;
mod id_memory;
mod id_sort;
mod log;
mod outcome;
mod outcome_log;
mod problem;
mod row;
mod streamed;
mod unpacked;

pub use duplicate::{Chunk, DuplicateMark};
pub use folder::{BatchFolder, Spool};
pub use id_file::{IdFile, IdJudge};
pub use id_memory::IdMemory;
pub use id_sort::{IdDigest, IdEntry, IdSorter, SortedIds};
pub use log::{LogReader, LogWriter, Position, SpoolError};
pub use outcome::OutcomeRecord;
pub use outcome_log::OutcomeLog;
pub use problem::StoredProblem;
pub use row::{ChunkBuilder, RowHead, RowState, StoredRow, StoredStep};
pub use streamed::StreamedLog;

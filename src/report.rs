//! The answers as CSV: columns, their order, and the bytes of every line.
//!
//! Owns the dialect (UTF-8, `,`, LF, quotes only where needed) and the column lists of the contract.
//! Pure: what it prints is an argument, where it prints is a `Write`. Never reads a batch, never
//! decides a status. Start reading at `csv.rs`, then `result.rs`.

mod ack;
mod csv;
mod dialect;
mod errors;
mod naming;
mod progress;
mod rendered;
mod result;
mod stream;
mod summary;

pub use ack::Ack;
pub use dialect::{Dialect, Restyled};
pub use errors::{ErrorLine, ErrorsFile};
pub use naming::{Answer, AnswerPattern, Subject};
pub use progress::{Progress, ProgressState};
pub use rendered::RenderedFile;
pub use result::{ResultFile, ResultLine};
pub use stream::StreamSheet;
pub use summary::Summary;

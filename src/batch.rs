//! The rules of a batch and of its rows: states and legal moves, the verdict on a file, why it
//! waits for somebody, its number, what an attempt leads to.
//!
//! Pure: no clock, disk, socket or dice; what it needs is an argument, what it wants is returned.
//! Never publishes, stores or sends anything itself. Start reading at `state.rs`,
//! then `outcome.rs`.

mod command;
mod hold;
#[cfg(test)]
mod moves_tests;
mod numbers;
mod outcome;
#[cfg(test)]
mod outcome_tests;
mod refusals;
mod row;
mod row_mark;
mod state;
mod verdict;

pub use command::{BatchOp, Effect, Standing, Unfit, decide, decide_retry};
pub use hold::{Decider, Guards, HoldReason, USUAL_FILES, reasons_to_hold, usual_rows};
pub use numbers::{NumberPlace, Numbers, SequenceRule};
pub use outcome::{Chain, IllegalRowMove, RowEvent, RowOutcome, StepEnd, Tried};
pub use refusals::EqualRefusals;
pub use row::{NextStep, after_attempt, full_rounds};
pub use row_mark::RowMark;
pub use state::{BatchEvent, BatchState, IllegalMove, Publication, apply};
pub use verdict::{Counts, Thresholds, Verdict, judge};

//! Rates and retries as arithmetic.
//!
//! Owns token buckets and retry schedules; now and dice are arguments. Never waits, never reads a clock.
//! Start reading at `bucket.rs`.

mod bucket;
mod retry;

pub use bucket::{Bucket, InvalidRate, Rate};
pub use retry::RetrySchedule;

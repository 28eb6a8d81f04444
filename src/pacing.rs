//! Rates, turns and retries as arithmetic: who may be sent now, and who when.
//!
//! Owns every limit of a provider (rate, concurrency, rests, the breaker, pairs of sender and recipient),
//! of a tenant and of a new sender, and the line of those that wait; now and dice are arguments. Never
//! waits, never reads a clock, never sends. Start reading at `gate.rs`, which holds the others.

mod breaker;
mod bucket;
mod ceiling;
mod concurrency;
mod gate;
#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod limits_tests;
mod line;
mod pairs;
mod retry;
mod tenant_rates;
mod turns;
mod warm_up;
mod word;

pub use bucket::{Bucket, InvalidRate, Rate};
pub use gate::{
    Comer, Coming, Decision, Effects, Entry, Gate, HINT_MAX, Later, Limit, Limits, Standing,
};
pub use line::Place;
pub use retry::RetrySchedule;
pub use tenant_rates::TenantRates;
pub use warm_up::{PerDay, WarmUp};
pub use word::Word;

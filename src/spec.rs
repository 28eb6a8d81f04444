//! What partners may read of the house: `/spec` of each tenant, made of the settings in force.
//!
//! Owns the README, the samples and the tables beside them. Says nothing of its own accord: each limit,
//! name and column is read from what the stations run on, and a sample is only shown once the
//! program's own reader has taken it. Never decides anything, never shows a secret or an account.
//! Start reading at `pages.rs`, then `sample.rs`.

mod columns;
mod pages;
mod readme;
mod sample;
mod tables;

pub use pages::{Pages, Portrait, pages};

//! Due rows to attempts to outcomes: the one room that decides that something is sent.
//!
//! Owns the order of writes around an attempt: the window is durable before the first byte of any of
//! its rows leaves, a start mark is in the kernel's hands before each attempt, the outcomes are synced
//! before the window is released. Never reads an inbox, never writes an answer, never repeats an
//! attempt whose outcome is unknown unless the operator chose so.
//! Start reading at `station.rs`, then `chunk.rs`.

mod aside;
mod attempt;
mod chunk;
mod entry;
mod error;
mod exits;
mod flow;
mod heed;
mod lanes;
mod live;
mod message;
mod opening;
mod order;
mod plan;
mod provider;
mod provider_views;
mod question;
mod queues;
mod ramps;
mod recover;
mod rota;
mod settings;
mod slots;
mod starting;
mod station;
mod steps;
mod tell;
mod timers;
mod traffic;
mod trial;
mod turnstile;
mod unwritten;

pub use error::DispatchError;
pub use provider_views::ProviderViews;
pub use settings::{PausedProviders, Route, RouteTemplate, Routes, Settings};
pub use station::Dispatch;
pub use trial::{Rehearsal, TrialMessage, first_messages};

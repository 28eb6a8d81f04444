//! From files to a checked `Config`: what the operator says, made of each room's `Settings`.
//!
//! Owns the names and forms of all keys, their precedence (profile, tenant, `[defaults]`, built in),
//! and the messages about them. Never stops at the first problem, never writes, never opens a port,
//! and never shows a secret. Files are not read through serde, which ends at the first unknown key:
//! a `Section` is asked for its keys, and what nobody asked for is reported.
//! Start reading at `load.rs`, then `section.rs`; a new key goes where its section is read, and into
//! `config.example.toml`.

mod account;
mod answers;
mod guard;
mod load;
mod problem;
mod profile;
mod proposal;
mod provider;
mod provider_http;
mod rules;
mod secret;
mod section;
mod server;
mod stations;
mod template;
mod tenant;
#[cfg(test)]
mod tests;
mod value;

pub use load::{Config, load, restart_needed};
pub use problem::{ConfigError, Problem};
pub use profile::Profile;
pub use proposal::profile_toml;
pub use rules::{Completeness, FinalNewline, Rules};
pub use server::{Log, Web};
pub use template::ConfiguredTemplate;
pub use tenant::{Pattern, Tenant, TenantSettings};

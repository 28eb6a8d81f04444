//! `check`: the configuration, as start-up would read it.

use super::args::Global;
use super::outcome::{Failure, print, say};
use crate::config::{self, Config};

pub(super) fn check(global: &Global) -> Result<(), Failure> {
    let config = load(global)?;
    let (tenants, accounts) = (config.tenants.len(), config.accounts.len());
    let providers = config.providers.len();
    print(format_args!(
        "{}: ok ({tenants} tenants, {accounts} accounts, {providers} providers)",
        global.config.display()
    ))
}

/// Reads the configuration and says its warnings.
pub(super) fn load(global: &Global) -> Result<Config, Failure> {
    let config = config::load(&global.config)?;
    for warning in &config.warnings {
        say(format_args!("warning: {warning}"));
    }
    Ok(config)
}

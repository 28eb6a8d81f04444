//! How a command ends, and the only places that print.

use std::fmt;
use std::io::Write;
use std::process::ExitCode;

use crate::config::ConfigError;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Exit code 78: systemd does not start the daemon again.
    Configuration(ConfigError),
    /// Exit code 1.
    Failed(anyhow::Error),
    /// Exit code 1, where what was printed says all.
    Refused,
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Failure {
        Failure::Configuration(error)
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Failure {
        Failure::Failed(error)
    }
}

/// Exit code of `sysexits.h` for a bad configuration.
const EX_CONFIG: u8 = 78;

pub(super) fn exit_with(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Configuration(error)) => {
            say(format_args!("{error}"));
            ExitCode::from(EX_CONFIG)
        }
        Err(Failure::Refused) => ExitCode::FAILURE,
        Err(Failure::Failed(error)) => {
            say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for people, to stderr. Nobody is left to tell where that fails.
pub(super) fn say(text: fmt::Arguments<'_>) {
    let _lost = writeln!(std::io::stderr(), "{text}");
}

/// A line of data, to stdout.
pub(super) fn print(text: fmt::Arguments<'_>) -> Result<(), Failure> {
    writeln!(std::io::stdout(), "{text}").map_err(|error| Failure::Failed(error.into()))
}

//! One message out, one outcome back.
//!
//! Owns the talk with providers (SMTP, described HTTP APIs, the simulator, a directory) and turning an
//! answer into an `Attempt`. Never retries, never waits for a rate, never writes to store or spool, never
//! logs a recipient or a secret; the `directory` kind writes its own folder and nothing else.
//! Start reading at `sender.rs`; then the provider kind you are after.

mod answer;
mod directory;
mod http;
mod mail;
mod sender;
mod settings;
mod simulator;
mod smtp;
#[cfg(test)]
mod tests;

pub use sender::{Channel, ChannelError, Ready};
pub use settings::{
    DirectorySettings, HmacEncoding, HttpAuth, HttpSettings, OnUnknown, ProviderKind,
    ProviderSettings, Secret, SimulatorSettings, SmtpAuth, SmtpSettings, SmtpTls, SuccessRule,
};
pub use simulator::TEST_ENDINGS;

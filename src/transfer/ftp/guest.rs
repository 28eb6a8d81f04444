//! One who has logged in.

use std::net::IpAddr;
use std::time::Duration;

use crate::files::Home;
use crate::transfer::accounts::Login;
use crate::transfer::visit::VisitId;

pub(super) struct Guest {
    pub(super) login: Login,
    /// `ftps` or `ftp`.
    pub(super) protocol: &'static str,
    pub(super) home: Home,
    /// The home for data connections in clear beside a control connection under TLS, where the
    /// account may: what comes that way proves no more than plain FTP does.
    pub(super) clear_home: Option<Home>,
    pub(super) peer: IpAddr,
    pub(super) session: VisitId,
}

impl Guest {
    /// One line in the log for each transfer that ended well.
    pub(super) fn log_transfer(&self, what: Moved<'_>) {
        let account = &self.login.account;
        let path = String::from_utf8_lossy(what.path).escape_debug().to_string();
        let seconds = what.took.as_secs_f64();
        tracing::info!(
            session = %self.session,
            account = account.name,
            tenant = %account.tenant,
            peer = %self.peer,
            protocol = self.protocol,
            path,
            bytes = what.bytes,
            seconds,
            "{}", what.done
        );
    }

    /// One line for each that did not.
    pub(super) fn log_failure(&self, done: &str, path: &[u8], why: &str) {
        let account = &self.login.account;
        let path = String::from_utf8_lossy(path).escape_debug().to_string();
        tracing::info!(
            session = %self.session,
            account = account.name,
            tenant = %account.tenant,
            peer = %self.peer,
            protocol = self.protocol,
            path,
            why,
            "{done} failed"
        );
    }
}

/// A file that went in or out.
pub(super) struct Moved<'a> {
    /// `upload` or `download`.
    pub(super) done: &'static str,
    pub(super) path: &'a [u8],
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

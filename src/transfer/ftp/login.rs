//! Who is there, and behind which protection: USER, PASS, REIN, AUTH, PBSZ, PROT (RFC 4217).

use std::io;
use std::sync::Arc;

use super::guest::Guest;
use super::reply::{Reply, sentence};
use super::session::{Next, Session};
use crate::files::RelPath;
use crate::transfer::TlsMode;
use crate::transfer::accounts::Login;
use crate::transfer::counters::count;
use crate::transfer::desk::Refusal;
use crate::worker::blocking;

impl Session {
    pub(super) fn protocol(&self) -> &'static str {
        if self.secured { "ftps" } else { "ftp" }
    }

    /// No password is asked for in clear, unless the account may send it so. Accounts that may not
    /// and those that do not exist hear the same.
    pub(super) fn user(&mut self, name: &[u8]) -> Reply {
        if self.guest.is_some() {
            return Reply::new(503, "You are logged in; send REIN first to change the account.");
        }
        self.visit.notes.spoke();
        let name = String::from_utf8_lossy(name).into_owned();
        let (mode, peer) = (self.door.settings.tls, self.visit.peer);
        let may_in_clear =
            mode != TlsMode::Required && self.house.accounts.may_enter(&name, "ftp", peer);
        if !self.secured && !may_in_clear {
            self.name = None;
            count(self.house.counters.logins("ftp", false));
            tracing::info!(%peer, "ftp login refused: not without tls");
            return match mode {
                TlsMode::Off => Reply::new(530, "No login here."),
                _ => Reply::new(530, "No login without TLS: send AUTH TLS first."),
            };
        }
        self.name = Some(name);
        Reply::new(331, "And the password?")
    }

    pub(super) async fn pass(&mut self, password: &[u8]) -> io::Result<Next> {
        if self.guest.is_some() {
            return self.reply(Reply::new(503, "You are logged in already.")).await;
        }
        let Some(name) = self.name.take() else {
            return self.reply(Reply::new(503, "Send USER first.")).await;
        };
        let password = String::from_utf8_lossy(password).into_owned();
        let (house, protocol) = (self.house.clone(), self.protocol());
        match house.check_password(&self.visit, &name, &password, protocol).await {
            Some(login) => {
                let reply = self.admit(login).await;
                self.reply(reply).await
            }
            None => {
                let refusal = house.refuse(&self.visit, &name, protocol).await;
                self.logins_failed += 1;
                if self.logins_failed >= self.limits.auth_attempts_max {
                    let why = "Too many wrong passwords; goodbye.";
                    self.control.say(&Reply::new(421, why)).await?;
                    return Ok(Next::End);
                }
                let code = if refusal == Refusal::Busy { 450 } else { 530 };
                self.reply(Reply::new(code, sentence(&refusal.to_string()))).await
            }
        }
    }

    /// Lets somebody in whose password was right.
    async fn admit(&mut self, login: Login) -> Reply {
        let (house, protocol) = (self.house.clone(), self.protocol());
        let mode = self.door.settings.tls;
        let clear = protocol == "ftps" && mode != TlsMode::Required && login.account.protocols.ftp;
        let asked = login.clone();
        let homes = blocking(move || {
            let home = house.home(&asked, protocol)?;
            let clear_home = if clear { Some(house.home(&asked, "ftp")?) } else { None };
            Ok::<_, io::Error>((home, clear_home))
        })
        .await;
        let (home, clear_home) = match homes {
            Ok(homes) => homes,
            Err(error) => {
                tracing::error!(account = login.account.name, %error, "open the tenant's folders");
                return Reply::new(451, "Your folders cannot be opened now; try again later.");
            }
        };
        if let Err(denied) = self.house.admit(&self.visit, &login, protocol) {
            self.house.refuse(&self.visit, &login.account.name, protocol).await;
            return Reply::new(530, sentence(&denied.to_string()));
        }
        let peer = self.visit.peer;
        let session = self.visit.id;
        self.guest = Some(Arc::new(Guest { login, protocol, home, clear_home, peer, session }));
        self.here = RelPath::root();
        Reply::new(230, "Welcome.")
    }

    /// Back to the beginning; TLS stays.
    pub(super) fn reinitialise(&mut self) -> Reply {
        self.forget_login();
        Reply::new(220, "Ready for another login.")
    }

    fn forget_login(&mut self) {
        if self.guest.is_some() {
            self.house.sessions.leave(&self.visit);
        }
        (self.name, self.guest, self.rename_from) = (None, None, None);
        self.here = RelPath::root();
        self.restart = 0;
        self.way = super::data::Way::Unknown;
    }

    pub(super) async fn auth(&mut self) -> io::Result<Next> {
        let Some(config) = self.tls.as_ref().map(|tls| tls.control.clone()) else {
            return self.reply(Reply::new(502, "TLS is switched off here.")).await;
        };
        if self.secured {
            return self.reply(Reply::new(503, "This connection is under TLS already.")).await;
        }
        // Sent in clear by who knows whom: nothing of it may count as sent under TLS.
        if self.control.has_more() || !self.held.is_empty() {
            tracing::info!(peer = %self.visit.peer, "ftp connection closed: bytes behind AUTH TLS");
            let why = "Send nothing after AUTH TLS before its answer; goodbye.";
            self.control.say(&Reply::new(421, why)).await?;
            return Ok(Next::End);
        }
        self.control.say(&Reply::new(234, "TLS may begin.")).await?;
        if let Err(error) = self.control.secure(config).await {
            tracing::debug!(peer = %self.visit.peer, %error, "tls on ftp connection");
            return Ok(Next::End);
        }
        self.secured = true;
        self.forget_login();
        Ok(Next::Go)
    }

    /// Implicit FTPS: data connections are protected without asking, as its clients expect.
    pub(super) async fn begin_under_tls(&mut self) -> io::Result<()> {
        let Some(config) = self.tls.as_ref().map(|tls| tls.control.clone()) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        self.control.secure(config).await?;
        (self.secured, self.buffer_agreed, self.protected) = (true, true, true);
        Ok(())
    }

    pub(super) fn pbsz(&mut self) -> Reply {
        if !self.secured {
            return Reply::new(503, "Send AUTH TLS first.");
        }
        self.buffer_agreed = true;
        Reply::new(200, "PBSZ=0")
    }

    pub(super) fn prot(&mut self, private: bool) -> Reply {
        if !self.secured {
            return Reply::new(503, "Send AUTH TLS first.");
        }
        if !self.buffer_agreed {
            return Reply::new(503, "Send PBSZ 0 first.");
        }
        let may_be_clear = self.door.settings.tls != TlsMode::Required
            && self.guest.as_ref().is_none_or(|guest| guest.clear_home.is_some());
        if !private && !may_be_clear {
            return Reply::new(534, "Data connections are protected here: send PROT P.");
        }
        self.protected = private;
        match private {
            true => Reply::new(200, "Data connections are protected."),
            false => Reply::new(200, "Data connections are in clear."),
        }
    }
}

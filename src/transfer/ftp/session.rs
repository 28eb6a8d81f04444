//! One FTP session: what has been agreed so far, and the loop that answers line by line.

use std::collections::VecDeque;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::sleep_until;

use super::FtpDoor;
use super::command::{self, Command};
use super::control::{Control, Heard};
use super::data::Way;
use super::digest::Algorithm;
use super::guest::Guest;
use super::listing::Facts;
use super::reply::{Reply, sentence};
use super::settling::Settling;
use crate::files::{Home, HomeError, RelPath};
use crate::transfer::Limits;
use crate::transfer::house::House;
use crate::transfer::tls::ConnectionTls;
use crate::transfer::visit::Visit;
use crate::worker::blocking;

const NOBODY: HomeError = HomeError::Refused("nobody is logged in");
/// Lines that are no commands, before a login; who sends more speaks something else.
const UNFIT_BEFORE_LOGIN_MAX: usize = 10;

pub(super) struct Session {
    pub(super) house: Arc<House>,
    pub(super) visit: Visit,
    pub(super) door: Arc<FtpDoor>,
    pub(super) control: Control,
    /// In force when the session began.
    pub(super) limits: Arc<Limits>,
    /// Our own address on the control connection.
    pub(super) local: IpAddr,
    /// `None` where TLS is off.
    pub(super) tls: Option<ConnectionTls>,
    /// Whether the control connection is under TLS.
    pub(super) secured: bool,
    /// Who is about to log in.
    pub(super) name: Option<String>,
    pub(super) guest: Option<Arc<Guest>>,
    pub(super) logins_failed: usize,
    /// Lines before the login that were no commands.
    unfit_before_login: usize,
    /// The client's current folder.
    pub(super) here: RelPath,
    pub(super) rename_from: Option<RelPath>,
    /// Where the next transfer begins.
    pub(super) restart: u64,
    pub(super) way: Way,
    /// After EPSV ALL.
    pub(super) only_epsv: bool,
    pub(super) buffer_agreed: bool,
    /// Whether data connections are under TLS.
    pub(super) protected: bool,
    pub(super) facts: Facts,
    pub(super) algorithm: Algorithm,
    /// What was heard during a transfer and is answered after it.
    pub(super) held: VecDeque<Heard>,
    pub(super) settling: Settling,
}

/// How a session goes on.
pub(super) enum Next {
    Go,
    /// It is over; the client has heard so, or is gone.
    End,
    /// The control connection broke.
    Lost,
}

impl Session {
    pub(super) fn new(
        house: Arc<House>,
        visit: Visit,
        door: Arc<FtpDoor>,
        control: Control,
        local: IpAddr,
    ) -> Session {
        Session {
            tls: door.tls.as_ref().map(|tls| tls.connection()),
            limits: house.limits(),
            house,
            visit,
            door,
            control,
            local,
            secured: false,
            name: None,
            guest: None,
            logins_failed: 0,
            unfit_before_login: 0,
            here: RelPath::root(),
            rename_from: None,
            restart: 0,
            way: Way::Unknown,
            only_epsv: false,
            buffer_agreed: false,
            protected: false,
            facts: Facts::ALL,
            algorithm: Algorithm::Sha256,
            held: VecDeque::new(),
            settling: Settling::default(),
        }
    }

    /// Talks until one of the two ends it.
    pub(super) async fn converse(&mut self) {
        let mut next = match self.control.say(&Reply::new(220, "Dropchute ready.")).await {
            Ok(()) => Next::Go,
            Err(_) => Next::End,
        };
        while matches!(next, Next::Go) {
            let heard = match self.wait().await {
                Ok(heard) => heard,
                Err(goodbye) => {
                    self.control.say(&goodbye).await.ok();
                    break;
                }
            };
            next = match self.attend(heard).await {
                Ok(next) => next,
                // An answer could not be given: the client is gone, or does not read.
                Err(error) => {
                    tracing::debug!(peer = %self.visit.peer, %error, "ftp answer not taken");
                    if is_loss(&error) { Next::Lost } else { Next::End }
                }
            };
        }
        if matches!(next, Next::Lost) && !self.had_quit().await {
            self.withdraw().await;
        }
        self.control.close().await;
    }

    /// The next thing heard, or the last word where it is time to go.
    async fn wait(&mut self) -> Result<Heard, Reply> {
        if let Some(heard) = self.held.pop_front() {
            return Ok(heard);
        }
        let idle = self.house.world.clock.instant() + self.limits.idle_timeout;
        loop {
            let passive_ends = match &self.way {
                Way::Passive(_, until) => Some(*until),
                _ => None,
            };
            let visit = self.visit.clone();
            tokio::select! {
                biased;
                () = visit.ending() => {
                    return Err(Reply::new(421, sentence(&visit.farewell().to_string())));
                }
                heard = self.control.hear() => return Ok(heard),
                () = sleep_until(passive_ends.unwrap_or(idle).min(idle)) => {
                    if self.house.world.clock.instant() >= idle {
                        let why = "Nothing was asked for too long; log in again.";
                        return Err(Reply::new(421, why));
                    }
                    // A port that nobody came to is given back.
                    self.way = Way::Unknown;
                }
            }
        }
    }

    async fn attend(&mut self, heard: Heard) -> io::Result<Next> {
        self.visit.heard();
        let line = match heard {
            Heard::Line(line) => line,
            Heard::TooLong => {
                self.control.say(&Reply::new(500, "This line is too long.")).await?;
                return Ok(Next::Go);
            }
            Heard::Flood => {
                self.house.garbage(&self.visit, self.protocol());
                self.control.say(&Reply::new(500, "This line never ends; goodbye.")).await?;
                return Ok(Next::End);
            }
            Heard::End => return Ok(Next::End),
            Heard::Lost(error) => {
                tracing::debug!(peer = %self.visit.peer, %error, "ftp connection lost");
                return Ok(Next::Lost);
            }
        };
        match command::parse(&line) {
            Ok(command) if command.needs_login() && self.guest.is_none() => {
                self.reply(Reply::new(530, "Log in first: USER, then PASS.")).await
            }
            Ok(command) => self.obey(command).await,
            Err(unfit) if self.guest.is_none() => {
                self.unfit_before_login += 1;
                if self.unfit_before_login > UNFIT_BEFORE_LOGIN_MAX {
                    self.house.garbage(&self.visit, self.protocol());
                    self.control.say(&Reply::new(421, "This is not FTP; goodbye.")).await?;
                    return Ok(Next::End);
                }
                self.reply(Reply::new(unfit.code, unfit.text)).await
            }
            Err(unfit) => self.reply(Reply::new(unfit.code, unfit.text)).await,
        }
    }

    /// Does what is asked, and answers.
    async fn obey(&mut self, command: Command) -> io::Result<Next> {
        let reply = match command {
            Command::Always(code, text) => Reply::new(code, text),
            Command::Quit => {
                // Who has gone without waiting for it has said goodbye all the same.
                self.control.say(&Reply::new(221, "Goodbye.")).await.ok();
                return Ok(Next::End);
            }
            Command::Auth => return self.auth().await,
            Command::Pass(password) => return self.pass(&password).await,
            Command::User(name) => self.user(&name),
            Command::Rein => self.reinitialise(),
            Command::Pbsz => self.pbsz(),
            Command::Prot(private) => self.prot(private),
            Command::Feat => self.feat(),
            Command::Help => self.help(),
            Command::Stat(None) => self.state(),
            Command::OptsMlst(wanted) => self.choose_facts(&wanted),
            Command::OptsHash(wanted) => self.choose_digest(wanted),
            Command::Allo(bytes) => self.allo(bytes),
            Command::Rest(offset) => self.rest(offset),
            Command::Pwd => self.pwd(),
            Command::Cwd(path) => self.cwd(&path),
            Command::Mkd(path) => self.mkd(&path),
            Command::Rmd(path) => self.rmd(&path),
            Command::Dele(path) => self.dele(&path),
            Command::Rnfr(path) => self.rnfr(&path),
            Command::Rnto(path) => self.rnto(&path),
            Command::Size(path) => self.size(&path),
            Command::Mdtm(path) => self.mdtm(&path),
            Command::Mfmt(time, path) => self.mfmt(time, &path),
            Command::Mlst(path) => self.mlst(&path),
            Command::Chmod(path) => self.chmod(&path),
            Command::Hash(path) => self.hash(&path).await,
            Command::PlainHash(algorithm, path) => self.plain_hash(algorithm, &path).await,
            Command::Stat(Some(path)) => self.stat(&path).await,
            Command::Pasv => self.pasv(),
            Command::Epsv(which) => self.epsv(which),
            Command::Port(address) => self.port(address),
            Command::Abor => Reply::new(226, "No transfer runs."),
            transfer => return Box::pin(self.transfer(transfer)).await,
        };
        self.reply(reply).await
    }

    pub(super) async fn reply(&mut self, reply: Reply) -> io::Result<Next> {
        self.control.say(&reply).await?;
        Ok(Next::Go)
    }

    pub(super) fn resolve(&self, path: &[u8]) -> Result<RelPath, HomeError> {
        Ok(self.here.resolve(path)?)
    }

    /// Does one short thing with the guest's home.
    pub(super) fn with_home<T>(
        &self,
        work: impl FnOnce(&Home) -> Result<T, HomeError>,
    ) -> Result<T, HomeError> {
        let Some(guest) = &self.guest else { return Err(NOBODY) };
        let home = self.home(guest);
        noted(guest, self.house.on_disk(|| work(home)))
    }

    /// Does one thing with the guest's home that may take long, away from the async workers.
    pub(super) async fn with_home_at_length<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Home) -> Result<T, HomeError> + Send + 'static,
    ) -> Result<T, HomeError> {
        let Some(guest) = &self.guest else { return Err(NOBODY) };
        let home = self.home(guest).clone();
        noted(guest, blocking(move || work(&home)).await)
    }

    /// The home by the protection that data connections have.
    pub(super) fn home<'a>(&self, guest: &'a Guest) -> &'a Home {
        match &guest.clear_home {
            Some(home) if !self.protected => home,
            _ => &guest.home,
        }
    }

    /// Takes back what a client sent that has died.
    pub(super) async fn withdraw(&mut self) {
        let Some(guest) = self.guest.clone() else { return };
        let now = self.house.world.clock.instant();
        let unsettled = self.settling.take_unsettled(now, guest.login.tenant.settle);
        for evidence in unsettled {
            let account = guest.login.account.name.clone();
            tracing::info!(account, path = evidence.path, "upload withdrawn: its sender was lost");
            let home = guest.home.clone();
            if let Err(error) = blocking(move || home.withdraw(&evidence)).await {
                tracing::warn!(account, %error, "withdraw upload");
            }
        }
    }

    /// Whether the client had said goodbye before its connection broke: then nothing was lost.
    async fn had_quit(&mut self) -> bool {
        if self.held.iter().any(is_quit) {
            return true;
        }
        loop {
            match self.control.hear().await {
                heard if is_quit(&heard) => return true,
                Heard::Line(_) | Heard::TooLong => {}
                Heard::Flood | Heard::End | Heard::Lost(_) => return false,
            }
        }
    }
}

/// What the disk itself says is logged; the client hears the sentence.
fn noted<T>(guest: &Guest, result: Result<T, HomeError>) -> Result<T, HomeError> {
    if let Err(error) = &result
        && let Some(source) = std::error::Error::source(error)
    {
        tracing::error!(account = guest.login.account.name, %source, "ftp: {error}");
    }
    result
}

pub(super) fn is_quit(heard: &Heard) -> bool {
    matches!(heard, Heard::Line(line) if command::parse(line) == Ok(Command::Quit))
}

/// Whether TCP itself reports that the other side is gone. A broken pipe is no loss: the kernel says so
/// where a FIN had come before the reset.
fn is_loss(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted)
}

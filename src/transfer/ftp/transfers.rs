//! The commands that move data, and what is heard while they do.

use std::io;
use std::pin::Pin;
use std::sync::Arc;

use super::command::{self, Command};
use super::control::Heard;
use super::data::{Meeting, Way};
use super::lists::Form;
use super::names::absolute;
use super::reply::Reply;
use super::session::{Next, Session, is_quit};
use super::transfer::{Carrier, Ending, Progress};
use crate::files::{Home, Keep, RelPath, Upload, UploadStart};
use crate::transfer::TlsMode;

/// Lines held back while a transfer runs; more are not read before it ends.
const HELD_MAX: usize = 16;

/// What runs beside the control connection.
type Work = Pin<Box<dyn Future<Output = Ending> + Send>>;

/// What runs, in words for the operator, and in which direction.
struct Moving {
    what: String,
    is_upload: bool,
}

impl Moving {
    fn new(what: &str, path: &RelPath, is_upload: bool) -> Moving {
        let path = absolute(path);
        Moving {
            what: format!("{what} {}", String::from_utf8_lossy(&path).escape_debug()),
            is_upload,
        }
    }
}

/// What becomes of a transfer by something heard.
enum Fate {
    GoesOn,
    /// It goes on, and there is nothing more to hear.
    Unheard(Next),
    /// The client called it off.
    Aborted,
    /// Whoever sends or takes the data is gone.
    Gone(Next),
}

/// How a transfer came to its end.
enum Out {
    Ended(Box<Ending>),
    Aborted,
    Gone(Next),
    Cut,
}

impl Session {
    /// Does what needs a data connection. What the disk refuses is said before any 150.
    pub(super) async fn transfer(&mut self, command: Command) -> io::Result<Next> {
        let restart = std::mem::take(&mut self.restart);
        let way = std::mem::replace(&mut self.way, Way::Unknown);
        let carrier = match self.carrier(way) {
            Ok(carrier) => carrier,
            Err(reply) => return self.reply(reply).await,
        };
        let from = if restart == 0 { Keep::Nothing } else { Keep::First(restart) };
        let append = UploadStart { keep: Keep::All, append: true, ..UploadStart::FRESH };
        match command {
            Command::Retr(path) => self.retr(carrier, &path, restart).await,
            Command::Stor(path) => {
                self.stor(carrier, &path, UploadStart { keep: from, ..UploadStart::FRESH }).await
            }
            Command::Appe(path) => self.stor(carrier, &path, append).await,
            Command::Stou(path) => self.stou(carrier, &path).await,
            Command::List(path) => self.list(carrier, &path, Form::Long).await,
            Command::Nlst(path) => self.list(carrier, &path, Form::Names).await,
            Command::Mlsd(path) => self.list(carrier, &path, Form::Facts(self.facts)).await,
            _ => self.reply(Reply::new(502, "This command is not done here.")).await,
        }
    }

    fn carrier(&self, way: Way) -> Result<Carrier, Reply> {
        let Some(guest) = self.guest.clone() else {
            return Err(Reply::new(530, "Log in first: USER, then PASS."));
        };
        let tls = match &self.tls {
            Some(tls) if self.protected => {
                Some((tls.data.clone(), self.door.settings.tls_session_reuse))
            }
            _ => None,
        };
        let may_be_clear = self.door.settings.tls != TlsMode::Required
            && (!self.secured || guest.clear_home.is_some());
        if tls.is_none() && !may_be_clear {
            return Err(Reply::new(521, "Data connections are protected here: send PROT P."));
        }
        if matches!(way, Way::Unknown) {
            return Err(Reply::new(425, "Send PASV or EPSV first."));
        }
        let meeting = Meeting {
            way,
            visit: self.visit.clone(),
            local: self.local,
            tls,
            patience: self.limits.data_timeout,
        };
        Ok(Carrier {
            house: self.house.clone(),
            limits: self.limits.clone(),
            visit: self.visit.clone(),
            guest,
            meeting,
            progress: Arc::default(),
        })
    }

    async fn retr(&mut self, carrier: Carrier, path: &[u8], offset: u64) -> io::Result<Next> {
        let opened = self.on(path, |home, path| {
            let file = home.open(&path)?;
            let bytes = file.metadata()?.len();
            Ok((file, path, bytes))
        });
        let (file, path, bytes) = match opened {
            Ok(opened) => opened,
            Err(reply) => return self.reply(reply).await,
        };
        if offset > bytes {
            let why = format!("The file has {bytes} bytes only; REST goes beyond its end.");
            return self.reply(Reply::new(554, why)).await;
        }
        let text = format!("{} bytes follow.", bytes - offset);
        let progress = carrier.progress.clone();
        let moving = Moving::new("get", &path, false);
        let work = Box::pin(carrier.send(file, path, offset));
        self.carry(Reply::new(150, text), progress, work, moving).await
    }

    async fn stor(
        &mut self,
        carrier: Carrier,
        path: &[u8],
        start: UploadStart,
    ) -> io::Result<Next> {
        let resolved = self.resolve(path);
        let begin = move |home: &Home| {
            let path = resolved?;
            Ok((home.begin_upload(&path, start)?, path))
        };
        // What is kept of an older file may have to be copied.
        let begun = match start.keep {
            Keep::Nothing => self.with_home(begin),
            _ => self.with_home_at_length(begin).await,
        };
        match begun.map_err(|error| Reply::from(&error)) {
            Ok((upload, path)) => {
                let reply = Reply::new(150, "Send the file.");
                self.receive(carrier, upload, path, reply, None).await
            }
            Err(reply) => self.refuse_upload(&carrier, path, reply).await,
        }
    }

    /// Stores under a name of our choice, told in the form RFC 1123 asks for.
    async fn stou(&mut self, carrier: Carrier, path: &[u8]) -> io::Result<Next> {
        let wished = if path.is_empty() { b"upload" } else { path };
        let token = self.house.world.dice.token(4);
        let begun = self.on(wished, |home, path| {
            let start = UploadStart { must_be_new: true, ..UploadStart::FRESH };
            let free = free_name(home, path, &token);
            Ok((home.begin_upload(&free, start)?, free))
        });
        match begun {
            Ok((upload, path)) => {
                let name = String::from_utf8_lossy(path.name().unwrap_or_default()).into_owned();
                let reply = Reply::new(150, format!("FILE: {name}"));
                self.receive(carrier, upload, path, reply, Some(name)).await
            }
            Err(reply) => self.refuse_upload(&carrier, path, reply).await,
        }
    }

    async fn receive(
        &mut self,
        carrier: Carrier,
        upload: Upload,
        path: RelPath,
        reply: Reply,
        name: Option<String>,
    ) -> io::Result<Next> {
        let progress = carrier.progress.clone();
        let moving = Moving::new("put", &path, true);
        let work = Box::pin(carrier.receive(upload, path, name));
        self.carry(reply, progress, work, moving).await
    }

    async fn refuse_upload(
        &mut self,
        carrier: &Carrier,
        path: &[u8],
        reply: Reply,
    ) -> io::Result<Next> {
        carrier.guest.log_failure("upload", path, &reply.text());
        self.reply(reply).await
    }

    async fn list(&mut self, carrier: Carrier, path: &[u8], form: Form) -> io::Result<Next> {
        match self.listing(path, form) {
            Ok(listing) => {
                let progress = carrier.progress.clone();
                let work = Box::pin(carrier.send_listing(listing));
                let moving = Moving::new("list", &self.here, false);
                self.carry(Reply::new(150, "Here it comes."), progress, work, moving).await
            }
            Err(reply) => self.reply(reply).await,
        }
    }

    /// Lets the work run while the client is listened to.
    async fn carry(
        &mut self,
        begin: Reply,
        progress: Arc<Progress>,
        mut work: Work,
        moving: Moving,
    ) -> io::Result<Next> {
        let Moving { what, is_upload } = moving;
        let visit = self.visit.clone();
        let _running = visit.transfer_of(what);
        self.control.say(&begin).await?;
        let being_cut = visit.being_cut();
        tokio::pin!(being_cut);
        let (mut listening, mut cutting, mut after) = (true, false, Next::Go);
        let out = loop {
            tokio::select! {
                // The control connection first: whether its sender died decides what an end of the
                // data means.
                biased;
                heard = self.control.hear(), if listening && self.held.len() < HELD_MAX => {
                    match self.overhear(heard, &progress, is_upload).await? {
                        Fate::GoesOn => {}
                        Fate::Unheard(next) => (listening, after) = (false, next),
                        Fate::Aborted => break Out::Aborted,
                        Fate::Gone(next) => break Out::Gone(next),
                    }
                }
                () = &mut being_cut, if !cutting => {
                    cutting = true;
                    if !progress.is_finishing() {
                        break Out::Cut;
                    }
                }
                ending = &mut work => break Out::Ended(Box::new(ending)),
            }
        };
        // Closes the data connection; of an upload, what has come so far may be continued.
        drop(work);
        if is_upload && !matches!(out, Out::Ended(_)) {
            self.visit.uploads_lost(1);
        }
        match out {
            Out::Ended(ending) => self.conclude(*ending, after).await,
            Out::Gone(next) => Ok(next),
            Out::Cut => {
                let why = format!("Cut off: {}.", self.visit.farewell());
                self.reply(Reply::new(426, why)).await
            }
            Out::Aborted => {
                self.control.say(&Reply::new(426, "The transfer was called off.")).await?;
                self.reply(Reply::new(226, "ABOR is done.")).await
            }
        }
    }

    async fn conclude(&mut self, ending: Ending, after: Next) -> io::Result<Next> {
        if let (Some(evidence), Some(guest)) = (ending.evidence, &self.guest) {
            let now = self.house.world.clock.instant();
            self.settling.add(evidence, now, guest.login.tenant.settle);
        }
        match after {
            Next::Go => self.reply(ending.reply).await,
            next => Ok(next),
        }
    }

    /// What is said during a transfer: some of it is answered at once, the rest after it.
    async fn overhear(
        &mut self,
        heard: Heard,
        progress: &Progress,
        is_upload: bool,
    ) -> io::Result<Fate> {
        let had_quit = self.held.iter().any(is_quit);
        let line = match &heard {
            Heard::Line(line) => line,
            Heard::TooLong => {
                self.held.push_back(heard);
                return Ok(Fate::GoesOn);
            }
            // What follows QUIT never counts against an upload.
            Heard::End | Heard::Lost(_) if had_quit => return Ok(Fate::Unheard(Next::Go)),
            Heard::End if is_upload && !progress.is_finishing() => {
                return Ok(Fate::Gone(Next::End));
            }
            Heard::End => return Ok(Fate::Unheard(Next::Go)),
            Heard::Lost(_) if progress.is_finishing() => return Ok(Fate::Unheard(Next::Lost)),
            Heard::Lost(_) => return Ok(Fate::Gone(Next::Lost)),
            Heard::Flood => return Ok(Fate::Gone(Next::End)),
        };
        match command::parse(line) {
            Ok(Command::Abor) if !progress.is_finishing() => return Ok(Fate::Aborted),
            Ok(Command::Stat(None)) if self.held.is_empty() => {
                let text = format!("{} bytes so far.", progress.bytes());
                self.control.say(&Reply::new(213, text)).await?;
            }
            Ok(Command::Always(code, text)) if self.held.is_empty() => {
                self.control.say(&Reply::new(code, text)).await?;
            }
            _ => self.held.push_back(heard),
        }
        Ok(Fate::GoesOn)
    }
}

/// The name wished for, or one like it that is free: `a.csv`, `a_1f0c33aa.csv`.
fn free_name(home: &Home, wished: RelPath, token: &str) -> RelPath {
    let Some(name) = wished.name().filter(|_| home.stat(&wished).is_ok()) else { return wished };
    let dot = name.iter().rposition(|byte| *byte == b'.').unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    wished.parent().join(&[stem, b"_", token.as_bytes(), extension].concat())
}

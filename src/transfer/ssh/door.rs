//! What a client asks of an SSH connection: a login, and SFTP channels. All else is refused at once.

use std::collections::HashMap;
use std::sync::Arc;

use russh::keys::ssh_key::Certificate;
use russh::server::{
    Auth, ChannelOpenHandle, Handle, Handler, Msg, PublicKeyOffer, Response, Session as SshSession,
    VerifiedPublicKey,
};
use russh::{Channel, ChannelId, Pty};
use tokio_util::task::TaskTracker;

use super::attempt::{Attempt, Step};
use super::{Line, PROTOCOL, SshDoor};
use crate::transfer::Factors;
use crate::transfer::accounts::Login;
use crate::transfer::desk::Refusal;
use crate::transfer::house::House;
use crate::transfer::sftp::{self, Allowance, Served};
use crate::transfer::visit::Visit;
use crate::worker::blocking;

/// SFTP channels on one connection.
const CHANNELS_MAX: usize = 8;

/// What one connection has come to.
pub(super) struct Door {
    house: Arc<House>,
    visit: Visit,
    door: Arc<SshDoor>,
    line: Arc<Line>,
    attempt: Attempt,
    login: Option<Login>,
    /// Open channels; served once SFTP runs on them.
    channels: HashMap<ChannelId, Option<Arc<Served>>>,
    /// What this client may have asked without taking the answers.
    allowance: Allowance,
    /// The tasks of the channels; each ends when its channel is closed.
    tasks: TaskTracker,
}

impl Door {
    pub(super) fn new(
        house: Arc<House>,
        visit: Visit,
        door: Arc<SshDoor>,
        line: Arc<Line>,
        tasks: &TaskTracker,
    ) -> Door {
        let allowance = door.allowance.part(house.limits().asked_per_session_max_bytes);
        Door {
            house,
            visit,
            door,
            line,
            attempt: Attempt::default(),
            login: None,
            channels: HashMap::new(),
            allowance,
            tasks: tasks.clone(),
        }
    }

    /// What a proved factor, or a wrong one, comes to.
    async fn decide(&mut self, name: &str, factor: Factors, login: Option<Login>) -> Auth {
        let step = match login {
            Some(login) => self.attempt.of(name).prove(factor, login),
            None => Step::Refused,
        };
        match step {
            Step::Open(login) => return self.admit(name, login).await,
            Step::Next => return self.go_on(true),
            Step::Refused => {}
        }
        let refusal = self.house.refuse(&self.visit, name, PROTOCOL).await;
        if refusal == Refusal::Busy {
            // Nothing was wrong with what the client said, and only the end of a connection has words.
            self.line.hang_up(&refusal.to_string()).await;
        }
        self.attempt.of(name);
        self.go_on(false)
    }

    async fn admit(&mut self, name: &str, login: Login) -> Auth {
        match self.house.admit(&self.visit, &login, PROTOCOL) {
            Ok(()) => {
                self.line.login.set(login.clone()).ok();
                self.login = Some(login);
                Auth::Accept
            }
            Err(denied) => {
                self.house.refuse(&self.visit, name, PROTOCOL).await;
                // A refusal has no text in this protocol; the end of the connection has.
                self.line.hang_up(&denied.to_string()).await;
                self.go_on(false)
            }
        }
    }

    fn go_on(&self, partial_success: bool) -> Auth {
        Auth::Reject { proceed_with_methods: Some(self.attempt.methods()), partial_success }
    }

    fn close(&mut self, channel: ChannelId) {
        self.line.fresh.forget(channel.number());
        if let Some(Some(served)) = self.channels.remove(&channel) {
            served.close();
        }
    }

    /// Starts SFTP on a channel; false where that cannot be.
    async fn start(&mut self, channel: ChannelId, client: Handle) -> bool {
        let (Some(login), Some(None)) = (self.login.clone(), self.channels.get(&channel)) else {
            return false;
        };
        let house = self.house.clone();
        let home = {
            let login = login.clone();
            blocking(move || house.home(&login, PROTOCOL)).await
        };
        let home = match home {
            Ok(home) => home,
            Err(error) => {
                tracing::error!(%error, "open the tenant's folders");
                return false;
            }
        };
        let book = sftp::Book {
            login,
            visit: self.visit.clone(),
            world: self.house.world.clone(),
            disk: self.house.disk.clone(),
            fresh: self.line.fresh.clone(),
            channel: channel.number(),
        };
        let sftp = sftp::Session::new(home, book, self.house.limits().handles_max);
        let (visit, outflow) = (self.visit.clone(), self.line.outflow.clone());
        let served = Arc::new(Served::new(sftp, visit, outflow, self.allowance.clone()));
        self.channels.insert(channel, Some(served.clone()));
        self.tasks.spawn(sftp::run(served, client, channel));
        true
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.line.outflow.close();
        for served in self.channels.values().flatten() {
            served.close();
        }
    }
}

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        self.attempt.of(user);
        Ok(self.go_on(false))
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let login = self.house.check_password(&self.visit, user, password, PROTOCOL).await;
        Ok(self.decide(user, Factors::PASSWORD, login).await)
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        // What is offered may be a certificate, which cannot be told here. Where some account takes
        // them, every account lets every client go on to sign, or the answer would tell which.
        let fits = self.house.accounts.take_certificates()
            || self.house.check_key(&self.visit, user, offer.public_key, PROTOCOL).is_some();
        if fits && self.door.policy.takes_key(offer.algorithm) {
            return Ok(Auth::Accept);
        }
        self.attempt.of(user);
        Ok(self.go_on(false))
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let login = self.house.check_key(&self.visit, user, key.public_key, PROTOCOL);
        let login = login.filter(|_| self.door.policy.takes_key(key.algorithm));
        if login.is_none() {
            self.attempt.of(user);
            return Ok(self.go_on(false));
        }
        Ok(self.decide(user, Factors::KEY, login).await)
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        let login = self.house.check_certificate(&self.visit, user, certificate, PROTOCOL);
        if login.is_none() {
            self.attempt.of(user);
            return Ok(self.go_on(false));
        }
        Ok(self.decide(user, Factors::KEY, login).await)
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            return Ok(question(self.attempt.of(user).ask()));
        };
        let answer = response.next().unwrap_or_default();
        let answer = std::str::from_utf8(&answer).unwrap_or_default();
        let Some(asked) = self.attempt.of(user).answered() else { return Ok(self.go_on(false)) };
        if asked == Factors::TOTP {
            let login = self.attempt.login().cloned();
            let login = login.filter(|login| self.house.check_code(&self.visit, login, answer));
            return Ok(self.decide(user, Factors::TOTP, login).await);
        }
        let login = self.house.check_password(&self.visit, user, answer, PROTOCOL).await;
        Ok(match self.decide(user, Factors::PASSWORD, login).await {
            // The dialogue goes on where the next factor has no other way in.
            Auth::Reject { partial_success: true, .. } if self.attempt.asks_for_code() => {
                question(self.attempt.ask())
            }
            auth => auth,
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        // A channel that we closed is not heard of again.
        self.channels.retain(|_, served| served.as_ref().is_none_or(|served| !served.is_closed()));
        // The reply refuses when it is dropped. The channel's own queue is not used: data comes to
        // `data` below, which knows when it may wait.
        if self.channels.len() < CHANNELS_MAX {
            self.channels.insert(channel.id(), None);
            reply.accept().await;
        }
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        if name == "sftp" && self.start(channel, session.handle()).await {
            session.channel_success(channel)
        } else {
            session.channel_failure(channel)
        }
    }

    async fn data(
        &mut self,
        channel: ChannelId,
        data: &[u8],
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        let Some(Some(served)) = self.channels.get(&channel) else { return Ok(()) };
        let Ok(messages) = served.hear(data).await else {
            let account = self.login.as_ref().map(|login| login.account.name.as_str());
            tracing::warn!(peer = %self.visit.peer, account, "sftp client asks on and takes no answers");
            return Err(russh::Error::Disconnect);
        };
        for message in messages {
            session.data(channel, message)?;
            served.note_stuck(session.has_pending_data(channel));
        }
        Ok(())
    }

    async fn channel_eof(
        &mut self,
        channel: ChannelId,
        _session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.close(channel);
        Ok(())
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.close(channel);
        Ok(())
    }

    // Without an answer clients wait for ever: scp of old, or a command given by mistake. What is not
    // mentioned here (forwarding of ports, sockets and agents) russh refuses by itself.

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _data: &[u8],
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _col_width: u32,
        _row_height: u32,
        _pix_width: u32,
        _pix_height: u32,
        _modes: &[(Pty, u32)],
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _variable_name: &str,
        _variable_value: &str,
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single_connection: bool,
        _x11_auth_protocol: &str,
        _x11_auth_cookie: &str,
        _x11_screen_number: u32,
        session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        session.channel_failure(channel)
    }
}

/// The question of a dialogue. The same for every name that has proved nothing yet.
fn question(asked: Factors) -> Auth {
    let prompt = if asked == Factors::TOTP { "Verification code: " } else { "Password: " };
    Auth::Partial {
        name: "".into(),
        instructions: "".into(),
        prompts: vec![(prompt.into(), false)].into(),
    }
}

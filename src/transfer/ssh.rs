//! One SSH connection: logins, and SFTP channels. Everything else SSH can do is refused at once.
//!
//! The one file that knows russh's server side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use russh::keys::{Algorithm, PrivateKey};
use russh::server::Session as SshSession;
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, MethodKind, MethodSet, Pty, SshId};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use super::accounts::Login;
use super::house::House;
use super::sftp::{self, Inlet};
use super::visit::Visit;
use super::{AlgorithmPolicy, Limits, policy};
use crate::worker::blocking;

const PROTOCOL: &str = "sftp";
/// Bytes a client may send before it must wait for our word; throughput is at most this per round trip.
const WINDOW_BYTES: u32 = 8 << 20;
/// Largest SSH packet russh allows.
const SSH_PACKET_MAX_BYTES: u32 = 65_535;
/// Answers waiting for the client's window, each at most a batch of the SFTP session.
const ANSWERS_QUEUED_MAX: usize = 2;
/// SFTP channels on one connection.
const CHANNELS_MAX: usize = 8;
/// A wrong password is answered after this time, whatever was wrong with it.
const REJECTION_TIME: Duration = Duration::from_secs(1);

/// russh's settings for our doors.
pub(super) fn config(key: PrivateKey, policy: AlgorithmPolicy, limits: &Limits) -> Arc<Config> {
    let mut methods = MethodSet::empty();
    methods.push(MethodKind::PublicKey);
    methods.push(MethodKind::Password);
    Arc::new(Config {
        server_id: SshId::Standard("SSH-2.0-dropchute".into()),
        methods,
        keys: vec![key],
        preferred: policy::preferred(policy),
        auth_rejection_time: REJECTION_TIME,
        // The probe for methods that every client begins with is no attempt.
        auth_rejection_time_initial: Some(Duration::ZERO),
        max_auth_attempts: limits.auth_attempts_max,
        window_size: WINDOW_BYTES,
        maximum_packet_size: SSH_PACKET_MAX_BYTES,
        event_buffer_size: ANSWERS_QUEUED_MAX,
        inactivity_timeout: Some(limits.idle_timeout),
        ..Config::default()
    })
}

/// Serves one connection until it ends.
pub(super) async fn serve(
    house: Arc<House>,
    visit: Visit,
    config: Arc<Config>,
    policy: AlgorithmPolicy,
    stream: TcpStream,
) {
    let peer = visit.peer;
    let tasks = TaskTracker::new();
    let door = Door {
        house: house.clone(),
        visit: visit.clone(),
        policy,
        login: None,
        channels: HashMap::new(),
        tasks: tasks.clone(),
    };
    let ended = match russh::server::run_stream(config, stream, door).await {
        Ok(session) => {
            visit.notes.spoke();
            session.await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        if matches!(error, russh::Error::Version) {
            house.garbage(&visit, PROTOCOL);
        }
        // Port scans and impatient clients; nothing an operator can do about.
        tracing::debug!(%peer, %error, "ssh connection ended");
    }
    // What they have open ends with them: a stop must not leave an upload half undone.
    tasks.close();
    tasks.wait().await;
}

/// What one connection has come to.
struct Door {
    house: Arc<House>,
    visit: Visit,
    policy: AlgorithmPolicy,
    login: Option<Login>,
    /// Open channels; with an inlet once SFTP runs on them.
    channels: HashMap<ChannelId, Option<Arc<Inlet>>>,
    /// The tasks of the channels; each ends when its inlet is closed.
    tasks: TaskTracker,
}

impl Door {
    /// Lets the login in, or refuses whoever it was.
    async fn decide(&mut self, name: &str, login: Option<Login>) -> Auth {
        let admitted = login.filter(|login| self.house.admit(&self.visit, login, PROTOCOL).is_ok());
        match admitted {
            Some(login) => {
                self.login = Some(login);
                Auth::Accept
            }
            None => {
                self.house.refuse(&self.visit, name, PROTOCOL).await;
                Auth::reject()
            }
        }
    }

    /// SHA-1 signatures only where the operator asked for old algorithms.
    fn takes_algorithm(&self, algorithm: &Algorithm) -> bool {
        self.policy == AlgorithmPolicy::Legacy || *algorithm != Algorithm::Rsa { hash: None }
    }

    fn close(&mut self, channel: ChannelId) {
        if let Some(Some(inlet)) = self.channels.remove(&channel) {
            inlet.close();
        }
    }

    /// Starts SFTP on a channel; false where that cannot be.
    async fn start(&mut self, channel: ChannelId, client: Handle) -> bool {
        let (Some(login), Some(None)) = (self.login.clone(), self.channels.get(&channel)) else {
            return false;
        };
        let house = self.house.clone();
        let home = match blocking(move || house.home(&login, PROTOCOL)).await {
            Ok(home) => home,
            Err(error) => {
                tracing::error!(%error, "open the tenant's folders");
                return false;
            }
        };
        let inlet = Arc::new(Inlet::default());
        self.channels.insert(channel, Some(inlet.clone()));
        let sftp = sftp::Session::new(
            home,
            self.visit.clone(),
            self.house.counters.clone(),
            self.house.world.clone(),
            self.house.limits.handles_max,
        );
        self.tasks.spawn(sftp::run(sftp, inlet, self.visit.clone(), client, channel));
        true
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        for inlet in self.channels.values().flatten() {
            inlet.close();
        }
    }
}

impl Handler for Door {
    type Error = russh::Error;

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        let login = self.house.check_password(&self.visit, user, password, PROTOCOL).await;
        Ok(self.decide(user, login).await)
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        let login = self.house.check_key(&self.visit, user, offer.public_key, PROTOCOL);
        let fits = login.is_some() && self.takes_algorithm(offer.algorithm);
        Ok(if fits { Auth::Accept } else { Auth::reject() })
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        let login = self.house.check_key(&self.visit, user, key.public_key, PROTOCOL);
        // A key that does not fit is no failed login yet: the next one may.
        match login.filter(|_| self.takes_algorithm(key.algorithm)) {
            Some(login) => Ok(self.decide(user, Some(login)).await),
            None => Ok(Auth::reject()),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut SshSession,
    ) -> Result<(), Self::Error> {
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
        _session: &mut SshSession,
    ) -> Result<(), Self::Error> {
        let Some(Some(inlet)) = self.channels.get(&channel) else { return Ok(()) };
        inlet.push(data).await.map_err(|sftp::TooMuch| {
            tracing::warn!(peer = %self.visit.peer, "sftp client asks on and takes no answers");
            russh::Error::Disconnect
        })
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

    // Without an answer clients wait for ever: scp of old, or a command given by mistake.

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

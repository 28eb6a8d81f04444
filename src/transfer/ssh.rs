//! The SSH door: its keys and algorithms, and one connection from its first byte to its last.
//!
//! Only this file and those behind it know russh's server side. `door.rs` answers what a client asks,
//! `attempt.rs` holds how far a login has come.

mod attempt;
mod door;
mod fresh;
mod stream;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::server::{Config, Handle};
use russh::{Disconnect, SshId};
use tokio::net::TcpStream;
use tokio_util::task::TaskTracker;

use self::attempt::Attempt;
use self::door::Door;
pub(super) use self::fresh::Fresh;
use self::stream::{Ending, Watched};
use super::accounts::Login;
use super::house::House;
use super::sftp::{Allowance, Outflow};
use super::visit::Visit;
use super::{AlgorithmPolicy, SftpSettings, host_key, policy};
use crate::worker::blocking;

const PROTOCOL: &str = "sftp";
/// Bytes a client may send before it must wait for our word; throughput is at most this per round trip.
const WINDOW_BYTES: u32 = 8 << 20;
/// Largest SSH packet russh allows.
const SSH_PACKET_MAX_BYTES: u32 = 65_535;
/// Messages on their way to the session; their bytes are bounded by `Outflow`.
const ANSWERS_QUEUED_MAX: usize = 8;

/// What all SSH connections share.
pub(super) struct SshDoor {
    config: Arc<Config>,
    policy: AlgorithmPolicy,
    /// What clients that take no answers may have asked, all together.
    allowance: Allowance,
}

impl SshDoor {
    /// Reads the host keys, or makes them. The error comes with the file. Blocks.
    pub(super) fn open(
        settings: &SftpSettings,
        house: &House,
    ) -> Result<SshDoor, (PathBuf, io::Error)> {
        let mut keys = Vec::new();
        for (kind, path) in settings.host_keys(&house.data_dir) {
            let key = host_key::load_or_create(&path, kind, &house.world.dice);
            keys.push(key.map_err(|error| (path, error))?);
        }
        let limits = house.limits();
        let config = Config {
            server_id: SshId::Standard("SSH-2.0-dropchute".into()),
            methods: Attempt::default().methods(),
            keys,
            preferred: policy::preferred(settings.policy),
            limits: russh::Limits::new(limits.rekey_bytes, limits.rekey_bytes, limits.rekey_time),
            // The desk decides how long a refusal takes: a key that does not fit is none.
            auth_rejection_time: Duration::ZERO,
            // One more than failures allowed: every client first asks which methods there are.
            max_auth_attempts: limits.auth_attempts_max + 1,
            window_size: WINDOW_BYTES,
            maximum_packet_size: SSH_PACKET_MAX_BYTES,
            event_buffer_size: ANSWERS_QUEUED_MAX,
            inactivity_timeout: Some(limits.idle_timeout),
            ..Config::default()
        };
        let allowance = Allowance::new(limits.asked_max_bytes);
        Ok(SshDoor { config: Arc::new(config), policy: settings.policy, allowance })
    }
}

/// What those who serve a connection tell each other.
#[derive(Default)]
struct Line {
    /// The way to the session; there from the end of the greeting on.
    session: OnceLock<Handle>,
    ending: Arc<Ending>,
    outflow: Arc<Outflow>,
    fresh: Arc<Fresh>,
    login: OnceLock<Login>,
}

impl Line {
    /// Says why, and ends the connection.
    async fn hang_up(&self, sentence: &str) {
        if let Some(session) = self.session.get() {
            let (reason, language) = (Disconnect::ByApplication, String::new());
            // It may have ended by itself at this moment.
            session.disconnect(reason, sentence.to_owned(), language).await.ok();
        }
    }
}

/// Serves one connection until it ends.
pub(super) async fn serve(house: Arc<House>, visit: Visit, door: Arc<SshDoor>, stream: TcpStream) {
    let line = Arc::new(Line::default());
    let tasks = TaskTracker::new();
    let stream = Watched::new(stream, line.ending.clone(), line.outflow.clone());
    let handler = Door::new(house.clone(), visit.clone(), door.clone(), line.clone(), &tasks);
    let ended = match russh::server::run_stream(door.config.clone(), stream, handler).await {
        Ok(session) => {
            // The handler is not asked for anything before the key exchange.
            line.session.set(session.handle()).ok();
            visit.notes.spoke();
            tokio::select! {
                ended = session => ended,
                () = farewell(&visit, &line) => Ok(()),
            }
        }
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        if matches!(error, russh::Error::Version) {
            house.garbage(&visit, PROTOCOL);
        }
        // Port scans and impatient clients; nothing an operator can do about.
        tracing::debug!(peer = %visit.peer, %error, "ssh connection ended");
    }
    // What they have open ends with them: a stop must not leave an upload half undone.
    tasks.close();
    tasks.wait().await;
    weaken(&house, &visit, &line).await;
}

/// Waits until the connection is to end, says goodbye, and leaves the rest to the socket's end.
async fn farewell(visit: &Visit, line: &Line) {
    visit.ending().await;
    tokio::select! {
        () = visit.at_rest() => {}
        () = visit.being_cut() => {}
    }
    line.hang_up(&visit.farewell().to_string()).await;
    std::future::pending::<()>().await;
}

/// A reset soon after an upload lowers what says that it is whole.
async fn weaken(house: &Arc<House>, visit: &Visit, line: &Line) {
    let fresh = line.fresh.take(house.world.clock.instant());
    let Some(login) = line.login.get().filter(|_| line.ending.was_reset() && !fresh.is_empty())
    else {
        return;
    };
    tracing::info!(peer = %visit.peer, uploads = fresh.len(), "connection reset after uploads");
    let (house, login) = (house.clone(), login.clone());
    blocking(move || match house.home(&login, PROTOCOL) {
        Ok(home) => {
            for evidence in &fresh {
                if let Err(error) = home.weaken(evidence) {
                    tracing::error!(%error, "weaken the evidence of an upload");
                }
            }
        }
        Err(error) => tracing::error!(%error, "open the tenant's folders"),
    })
    .await;
}

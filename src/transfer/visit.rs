//! One connection: where it comes from, who has logged in, what it does, and its end.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Counters;
use super::accounts::Login;
use super::counters::{Tally, add, count};
use super::desk::Notes;
use super::pace::{Direction, Pace};
use crate::model::TenantId;
use crate::world::World;

/// How a connection came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// The protocol of the door; FTP becomes FTPS with TLS, and counts as such from the login on.
    pub(super) door: &'static str,
    pub(super) peer: SocketAddr,
    /// The address it reached us at; behind a proxy, the one it reached the proxy at.
    pub(super) local: SocketAddr,
    /// The proxy that brought it.
    pub(super) proxy: Option<IpAddr>,
}

/// The number of a connection, for operators to name it by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct VisitId(pub(super) u64);

impl fmt::Display for VisitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// Why we end a connection; the text is for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Farewell {
    #[error("the server is stopping; come back in a moment")]
    Stopping,
    #[error("the operator ended this session")]
    Killed,
    #[error("this account may no longer come in")]
    Withdrawn,
    #[error("too many connections wait to log in; try again in a moment")]
    Crowded,
    #[error("nobody logged in in time")]
    LoginExpired,
    #[error("too many failed logins from your address, try again later")]
    Banned,
}

/// Who has logged in.
#[derive(Debug, Clone)]
pub(super) struct Who {
    pub(super) login: Login,
    pub(super) protocol: &'static str,
}

/// A connection as its engine and the accept loop share it; cheap to clone.
#[derive(Clone)]
pub(super) struct Visit {
    pub(super) peer: IpAddr,
    pub(super) id: VisitId,
    /// What the desk writes down until somebody has logged in.
    pub(super) notes: Notes,
    shared: Arc<Shared>,
}

struct Shared {
    arrival: Arrival,
    since: Timestamp,
    world: Arc<World>,
    counters: Arc<Counters>,
    who: Mutex<Option<Who>>,
    logged_in: watch::Sender<bool>,
    transfers: watch::Sender<usize>,
    doing: Mutex<Vec<Doing>>,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    /// Unix milliseconds.
    last_activity: AtomicI64,
    paces: Mutex<Vec<Arc<Pace>>>,
    farewell: OnceLock<Farewell>,
    ending: CancellationToken,
    cut: CancellationToken,
}

/// A transfer that runs.
#[derive(Debug, Clone)]
struct Doing {
    number: u64,
    what: String,
    /// Bytes of the session when it began.
    bytes_before: u64,
}

/// A connection at one moment, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionLine {
    pub id: String,
    /// `sftp`, `ftps` or `ftp`.
    pub protocol: &'static str,
    pub peer: SocketAddr,
    /// `None` before the login.
    pub account: Option<String>,
    pub tenant: Option<TenantId>,
    pub since: Timestamp,
    pub last_activity: Timestamp,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// The transfers that run, each with its path and about how many bytes have gone.
    pub doing: Vec<String>,
}

impl Visit {
    pub(super) fn new(
        id: VisitId,
        arrival: Arrival,
        counters: Arc<Counters>,
        world: Arc<World>,
    ) -> Visit {
        let since = world.clock.now();
        let shared = Shared {
            arrival,
            since,
            world,
            counters,
            who: Mutex::new(None),
            logged_in: watch::Sender::new(false),
            transfers: watch::Sender::new(0),
            doing: Mutex::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            last_activity: AtomicI64::new(since.as_millisecond()),
            paces: Mutex::default(),
            farewell: OnceLock::new(),
            ending: CancellationToken::new(),
            cut: CancellationToken::new(),
        };
        Visit { peer: arrival.peer.ip(), id, notes: Notes::default(), shared: Arc::new(shared) }
    }

    /// A visit without a door, for tests of what happens at the desk.
    #[cfg(test)]
    pub(super) fn alone(peer: IpAddr, world: Arc<World>) -> Visit {
        let peer = SocketAddr::new(peer, 50_000);
        let arrival = Arrival { door: "sftp", peer, local: peer, proxy: None };
        Visit::new(VisitId(0), arrival, Arc::default(), world)
    }

    /// The address the client reached, which FTP tells it for data connections.
    pub(super) fn local(&self) -> SocketAddr {
        self.shared.arrival.local
    }

    /// Whether a data connection from this address is of the same client: it comes from the client's
    /// own address, or through the same proxy.
    pub(super) fn may_bring_data(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address == self.peer || Some(address) == self.shared.arrival.proxy
    }

    pub(super) fn who(&self) -> Option<Who> {
        locked(&self.shared.who).clone()
    }

    /// Called by the table of sessions, which has found a place.
    pub(super) fn entered(&self, who: Who) {
        *locked(&self.shared.who) = Some(who);
        self.shared.logged_in.send_replace(true);
    }

    /// Nobody is logged in any more; called by the table of sessions.
    pub(super) fn left(&self) {
        *locked(&self.shared.who) = None;
        self.shared.logged_in.send_replace(false);
    }

    pub(super) fn is_logged_in(&self) -> bool {
        *self.shared.logged_in.borrow()
    }

    /// The login's protocol; before, the door's.
    pub(super) fn protocol(&self) -> &'static str {
        locked(&self.shared.who).as_ref().map_or(self.shared.arrival.door, |who| who.protocol)
    }

    pub(super) fn line(&self) -> SessionLine {
        let shared = &self.shared;
        let who = self.who();
        let bytes = self.bytes();
        let doing = locked(&shared.doing);
        let doing = doing.iter().map(|doing| {
            format!("{} ({} bytes)", doing.what, bytes.saturating_sub(doing.bytes_before))
        });
        SessionLine {
            id: self.id.to_string(),
            protocol: who.as_ref().map_or(shared.arrival.door, |who| who.protocol),
            peer: shared.arrival.peer,
            since: shared.since,
            last_activity: self.last_activity(),
            bytes_in: shared.bytes_in.load(Ordering::Relaxed),
            bytes_out: shared.bytes_out.load(Ordering::Relaxed),
            doing: doing.collect(),
            account: who.as_ref().map(|who| who.login.account.name.clone()),
            tenant: who.map(|who| who.login.account.tenant.clone()),
        }
    }

    fn last_activity(&self) -> Timestamp {
        let last = self.shared.last_activity.load(Ordering::Relaxed);
        Timestamp::from_millisecond(last).unwrap_or(self.shared.since)
    }

    /// Takes note that the client has said something.
    pub(super) fn heard(&self) {
        let now = self.shared.world.clock.now().as_millisecond();
        self.shared.last_activity.store(now, Ordering::Relaxed);
    }
}

/// What the engine tells of its transfers.
impl Visit {
    /// A transfer runs until the guard is dropped.
    pub(super) fn transfer(&self) -> Transfer {
        self.shared.transfers.send_modify(|count| *count += 1);
        Transfer { visit: self.clone(), number: None }
    }

    /// The same, with what the operator is shown of it, such as `put /inbox/a.csv`.
    pub(super) fn transfer_of(&self, what: impl fmt::Display) -> Transfer {
        let mut doing = locked(&self.shared.doing);
        let number = doing.last().map_or(0, |last| last.number + 1);
        doing.push(Doing { number, what: what.to_string(), bytes_before: self.bytes() });
        drop(doing);
        let mut transfer = self.transfer();
        transfer.number = Some(number);
        transfer
    }

    /// An upload became a file.
    pub(super) fn uploaded(&self) {
        count(&self.tally().uploads);
    }

    /// So many uploads ended without becoming a file.
    pub(super) fn uploads_lost(&self, uploads: usize) {
        add(&self.tally().uploads_aborted, uploads as u64);
    }

    /// A file was opened for reading.
    pub(super) fn downloaded(&self) {
        count(&self.tally().downloads);
    }

    /// Bytes of files came in.
    pub(super) fn received(&self, bytes: usize) {
        self.heard();
        add(&self.shared.bytes_in, bytes as u64);
        add(&self.tally().bytes_in, bytes as u64);
    }

    /// Bytes of files went out.
    pub(super) fn sent(&self, bytes: usize) {
        self.heard();
        add(&self.shared.bytes_out, bytes as u64);
        add(&self.tally().bytes_out, bytes as u64);
    }

    /// Whether this session may have to wait at all.
    pub(super) fn is_paced(&self) -> bool {
        !locked(&self.shared.paces).is_empty()
    }

    /// Waits until so many bytes more may come in from this session.
    pub(super) async fn pace_in(&self, bytes: usize) {
        self.pace(Direction::In, bytes).await;
    }

    /// Waits until so many bytes more may go out to this session.
    pub(super) async fn pace_out(&self, bytes: usize) {
        self.pace(Direction::Out, bytes).await;
    }

    fn tally(&self) -> &Tally {
        self.shared.counters.of(self.protocol())
    }

    fn bytes(&self) -> u64 {
        let load = |bytes: &AtomicU64| bytes.load(Ordering::Relaxed);
        load(&self.shared.bytes_in) + load(&self.shared.bytes_out)
    }

    /// The rates that hold for this session; called by the table of sessions.
    pub(super) fn paced_by(&self, paces: Vec<Arc<Pace>>) {
        *locked(&self.shared.paces) = paces;
    }

    /// Waits for all rates, a piece at a time: sessions of one tenant take turns, and who is cut does
    /// not wait on.
    async fn pace(&self, direction: Direction, bytes: usize) {
        let mut left = bytes as u64;
        while left > 0 {
            let paces = locked(&self.shared.paces).clone();
            let Some(piece) = paces.iter().map(|pace| pace.piece()).min() else { return };
            let piece = piece.min(left);
            left -= piece;
            let now = self.shared.world.clock.instant().into_std();
            let waits = paces.iter().map(|pace| pace.draw(direction, piece, now));
            let wait = waits.max().unwrap_or_default();
            if wait.is_zero() {
                continue;
            }
            tokio::select! {
                () = sleep(wait) => {}
                () = self.being_cut() => return,
            }
        }
    }
}

/// How a connection ends.
impl Visit {
    /// Returns when no transfer runs.
    pub(super) async fn at_rest(&self) {
        let mut transfers = self.shared.transfers.subscribe();
        // The sender lives in `self`: it cannot be gone.
        let _ = transfers.wait_for(|count| *count == 0).await.is_ok();
    }

    /// Asks the engine to say goodbye as soon as no transfer runs.
    pub(super) fn end(&self, why: Farewell) {
        let _first = self.shared.farewell.set(why).is_ok();
        self.shared.ending.cancel();
    }

    /// Asks the engine to stop in the middle of whatever runs, with a clear answer.
    pub(super) fn cut(&self, why: Farewell) {
        self.end(why);
        self.shared.cut.cancel();
    }

    /// Why the connection is ended, for the last answer.
    pub(super) fn farewell(&self) -> Farewell {
        self.shared.farewell.get().copied().unwrap_or(Farewell::Stopping)
    }

    /// Returns when the engine is asked to say goodbye.
    pub(super) async fn ending(&self) {
        self.shared.ending.cancelled().await;
    }

    /// Returns when the engine is asked to stop at once.
    pub(super) async fn being_cut(&self) {
        self.shared.cut.cancelled().await;
    }
}

impl fmt::Debug for Visit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visit").field("id", &self.id.0).field("peer", &self.peer).finish()
    }
}

/// See `Visit::transfer`.
#[derive(Debug)]
pub(super) struct Transfer {
    visit: Visit,
    number: Option<u64>,
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let shared = &self.visit.shared;
        if let Some(number) = self.number {
            locked(&shared.doing).retain(|doing| doing.number != number);
        }
        shared.transfers.send_modify(|count| *count -= 1);
    }
}

/// What stands behind a lock here is whole at any moment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    fn world() -> Arc<World> {
        Arc::new(World::seeded("2026-11-23T10:00:00Z".parse().unwrap(), 1))
    }

    fn visit(world: &Arc<World>) -> Visit {
        Visit::alone(IpAddr::from([192, 0, 2, 1]), world.clone())
    }

    fn pace(rate: u64, world: &World) -> Arc<Pace> {
        Arc::new(Pace::new(rate, world.clock.instant().into_std()))
    }

    /// Sends until a moment, and says how many bytes that were.
    #[allow(clippy::disallowed_methods, reason = "paused time is tokio's")]
    async fn sent_until(visit: Visit, chunk: usize, end: Instant) -> usize {
        let mut sent = 0;
        while Instant::now() < end {
            visit.pace_out(chunk).await;
            sent += chunk;
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "paused time is tokio's")]
    async fn sessions_of_a_tenant_share_its_rate_evenly_whatever_their_chunks() {
        let world = world();
        let shared = pace(1_000_000, &world);
        let end = Instant::now() + Duration::from_secs(20);
        let senders = [8_000, 32_000, 256_000, 256_000].map(|chunk| {
            let visit = visit(&world);
            visit.paced_by(vec![shared.clone()]);
            sent_until(visit, chunk, end)
        });
        let sent = futures_util::future::join_all(senders).await;
        let total: usize = sent.iter().sum();
        assert!((19_500_000..=20_900_000).contains(&total), "{total}");
        for sent in sent {
            assert!((4_500_000..=5_500_000).contains(&sent), "{sent} of {total}");
        }
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "paused time is tokio's")]
    async fn the_lower_of_two_rates_holds_and_directions_do_not_share() {
        let world = world();
        let paced = visit(&world);
        paced.paced_by(vec![pace(1_000, &world), pace(5_000, &world)]);
        let start = Instant::now();
        tokio::join!(paced.pace_in(10_000), paced.pace_out(10_000));
        let took = start.elapsed();
        assert!((9_500..=10_100).contains(&took.as_millis()), "{took:?}");
        let start = Instant::now();
        visit(&world).pace_in(usize::MAX).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "paused time is tokio's")]
    async fn who_is_cut_waits_no_longer_and_a_new_rate_holds_at_once() {
        let world = world();
        let slow = visit(&world);
        slow.paced_by(vec![pace(1, &world)]);
        let start = Instant::now();
        let cut = async {
            sleep(Duration::from_secs(30)).await;
            slow.cut(Farewell::Killed);
        };
        tokio::join!(slow.pace_in(1_000_000), cut);
        assert_eq!(start.elapsed().as_secs(), 30);
        assert_eq!(slow.farewell(), Farewell::Killed);

        let slow = visit(&world);
        slow.paced_by(vec![pace(1_000, &world)]);
        let start = Instant::now();
        let faster = async {
            sleep(Duration::from_secs(10)).await;
            slow.paced_by(Vec::new());
        };
        tokio::join!(slow.pace_out(1_000_000), faster);
        assert!(start.elapsed() <= Duration::from_secs(11), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_session_shows_what_it_does_and_only_while_it_does_it() {
        let visit = visit(&world());
        let upload = visit.transfer_of("put /inbox/a.csv");
        visit.received(500);
        let download = visit.transfer_of("get /outbox/b.csv");
        visit.sent(70);
        let line = visit.line();
        assert_eq!((line.bytes_in, line.bytes_out), (500, 70));
        assert_eq!(line.doing, ["put /inbox/a.csv (570 bytes)", "get /outbox/b.csv (70 bytes)"]);
        drop(upload);
        assert_eq!(visit.line().doing, ["get /outbox/b.csv (70 bytes)"]);
        drop(download);
        visit.at_rest().await;
        assert_eq!(visit.line().doing, [""; 0]);
    }
}

//! What a chunk sends: windows claimed as their turn comes near, messages made ready just before their own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::{Outbound, Sending};
use super::chunk::{ChunkTask, ROOM_WAIT, Wait};
use super::error::DispatchError;
use super::message::{Composer, Unrenderable};
use super::plan::{Going, Plan};
use super::question::calendar;
use super::queues::{Queues, Untried};
use super::unwritten::Unwritten;
use crate::batch::{RowEvent, RowOutcome};
use crate::codes::ReasonCode;
use crate::model::{OutgoingMessage, Status};
use crate::policy::Calendar;
use crate::spool::StoredRow;
use crate::store::{StoreError, WindowRecord};
use crate::worker::blocking;

/// Rows of a chunk that are ready and stand in line or are on the wire, at most; and the bytes of their texts.
const READY_MAX: usize = 256;
const READY_BYTES: usize = 1024 * 1024;
/// Outcomes written together, at most: a kill before that leaves their rows unknown.
const ENDED_MAX: usize = 32;
/// A chunk of which nothing had its turn for so long goes back: others may go meanwhile.
const PATIENCE: Duration = Duration::from_secs(5);
/// A chunk claims no more after so long, though its rows go.
const CHUNK_TIME: Duration = Duration::from_secs(30);

type Claim<'t> = Pin<Box<dyn Future<Output = Claimed> + Send + 't>>;

/// A window that was claimed, with its rows; none where there was no room for the claim.
type Claimed = Result<Option<(Arc<Sending>, Vec<(Going, Untried)>)>, DispatchError>;

/// What came of a row: the window it stood in, what it took of the room for texts, and the step it was on.
struct Ended {
    window: u32,
    bytes: usize,
    step: u8,
    row: Result<Option<RowOutcome>, DispatchError>,
}

/// A chunk's rows on their way out.
pub(super) struct Flow<'t> {
    task: &'t ChunkTask,
    rows: &'t [StoredRow<'t>],
    composer: Composer<'t>,
    calendar: Calendar,
    /// Not claimed yet.
    planned: Queues,
    /// Claimed, and not made ready yet.
    claimed: VecDeque<(Arc<Sending>, Going, Untried)>,
    waiting: HashMap<u32, Wait>,
    windows: Vec<u32>,
    /// Outcomes were appended that are not synced: no further window is claimed before them, since it must
    /// not outlive the word on which step its rows are.
    must_sync: bool,
    bytes: usize,
    /// While there is no room for these nothing begins.
    unwritten: Unwritten,
    /// On the next step of their chain, and planned anew once that is written.
    moved_on: Vec<RowOutcome>,
    /// A row stood in line and was not sent.
    came_back: bool,
    /// Rows that had their turn.
    gone: usize,
    begun: Instant,
    last_turn: Instant,
    /// Cancelled: nobody begins any more.
    halt: CancellationToken,
    /// Cancelled: nobody stands in line any more.
    patience: CancellationToken,
    fault: Option<DispatchError>,
}

impl<'t> Flow<'t> {
    pub(super) fn new(task: &'t ChunkTask, rows: &'t [StoredRow<'t>], plan: Plan) -> Flow<'t> {
        let now = task.world.clock.instant();
        let halt = task.stopping.child_token();
        let mut planned = Queues::default();
        plan.outbound.into_iter().for_each(|row| planned.push_back(row));
        Flow {
            task,
            rows,
            composer: Composer::new(&task.live.record, &task.live.head, &task.route),
            calendar: calendar(&task.route),
            planned,
            claimed: VecDeque::new(),
            waiting: plan.waiting,
            windows: Vec::new(),
            must_sync: plan.moved_on,
            bytes: 0,
            unwritten: Unwritten::default(),
            moved_on: Vec::new(),
            came_back: false,
            gone: 0,
            begun: now,
            last_turn: now,
            patience: halt.child_token(),
            halt,
            fault: None,
        }
    }

    /// Sends what can be sent. Returns the windows, and until when rows wait that were not.
    pub(super) async fn run(mut self) -> Result<(Vec<u32>, HashMap<u32, Wait>), DispatchError> {
        let mut under_way = FuturesUnordered::new();
        let mut claim: Option<Claim<'t>> = None;
        let has_begun = self.planned.has_begun();
        loop {
            while let Some((sending, row)) = self.next_ready(under_way.len()) {
                let (bytes, step) = (size_of(&row.message), row.standing.step);
                self.bytes += bytes;
                self.last_turn = self.task.world.clock.instant();
                under_way.push(async move {
                    let row = sending.send(row).await;
                    Ended { window: sending.window, bytes, step, row }
                });
            }
            if claim.is_none() {
                claim = self.next_claim();
            }
            if claim.is_none() && under_way.is_empty() && self.unwritten.is_empty() {
                break;
            }
            let tired = self.last_turn + PATIENCE;
            tokio::select! {
                biased;
                Some(claimed) = wait_for(&mut claim) => {
                    claim = None;
                    self.take_claim(claimed);
                }
                first = next_ended(&mut under_way, &has_begun), if !under_way.is_empty() => {
                    let Some(first) = first else { continue };
                    // What ended together is written together; it is in the kernel's hands at once, so that a
                    // crash of the process makes nothing of it unknown. Where all answer at once this has no
                    // end: those behind begin only when these are written.
                    let mut ended = vec![first];
                    while ended.len() < ENDED_MAX
                        && let Some(next) = under_way.next().now_or_never().flatten()
                    {
                        ended.push(next);
                    }
                    self.take_in(ended);
                }
                () = tokio::time::sleep(ROOM_WAIT), if !self.unwritten.is_empty() => self.write(),
                () = tokio::time::sleep_until(tired), if !under_way.is_empty() && !self.patience.is_cancelled() => {
                    self.give_up();
                }
            }
        }
        self.task.live.set_pace(self.pace());
        match self.fault {
            Some(fault) => Err(fault),
            None => Ok((self.windows, self.waiting)),
        }
    }

    /// Who stands in line goes home, and nothing more begins; what is on the wire ends.
    fn give_up(&mut self) {
        self.patience.cancel();
        self.task.is_tired.store(true, Ordering::Relaxed);
        self.task.nudge.notify_one();
    }

    /// The next row with its message, where there is room for one more.
    fn next_ready(&mut self, ready: usize) -> Option<(Arc<Sending>, Box<Outbound>)> {
        while ready < READY_MAX && self.bytes < READY_BYTES && self.unwritten.is_empty() {
            if self.patience.is_cancelled() {
                self.claimed.clear();
            }
            let (sending, going, untried) = self.claimed.pop_front()?;
            match self.compose(&going) {
                Ok(message) => {
                    let cost = self.composer.cost(&message);
                    return Some((sending, outbound(going, untried, message, cost)));
                }
                Err(Unrenderable(code)) => self.not_sent(sending.window, going, code),
            }
        }
        None
    }

    /// Renders a row. A panic of ours over one row must not cut off those that are on the wire.
    fn compose(&mut self, going: &Going) -> Result<OutgoingMessage, Unrenderable> {
        let row = &self.rows[going.standing.index as usize];
        let step = going.standing.step;
        let attempt = going.standing.attempts_on_step() + 1;
        let composer = &mut self.composer;
        let composed = catch_unwind(AssertUnwindSafe(|| match step {
            0 => composer.compose((row, 0), going.channel, attempt),
            _ => composer.compose((&row.on_step(step), step), going.channel, attempt),
        }));
        composed.unwrap_or_else(|_| {
            self.stop_for(DispatchError::Panicked);
            Err(Unrenderable(ReasonCode::RowTemplateUnknown))
        })
    }

    /// A row has no message: it ends, or goes on with the next step of its chain.
    fn not_sent(&mut self, window: u32, going: Going, code: ReasonCode) {
        if code == ReasonCode::RowTemplateUnknown {
            return;
        }
        let at = self.task.world.clock.now();
        let (step, status) = (going.standing.step, Status::Failed);
        let ended = going.standing.apply(RowEvent::Ended { status, code, at }, going.chain);
        let row = ended.map(Some).map_err(DispatchError::from);
        self.take_in(vec![Ended { window, bytes: 0, step, row }]);
    }

    /// What became of rows; those that are on a further step of their chain go on.
    fn take_in(&mut self, ended: Vec<Ended>) {
        let mut by_window = BTreeMap::<u32, Vec<RowOutcome>>::new();
        for Ended { window, bytes, step, row } in ended {
            self.bytes -= bytes;
            match row {
                Ok(Some(row)) => {
                    if row.step != step && !row.is_settled() {
                        self.moved_on.push(row.clone());
                    }
                    by_window.entry(window).or_default().push(row);
                    self.gone += 1;
                    self.last_turn = self.task.world.clock.instant();
                }
                Ok(None) => self.came_back = true,
                Err(error) => self.stop_for(error),
            }
        }
        by_window.into_iter().for_each(|(window, rows)| self.unwritten.put(window, rows));
        self.write();
    }

    /// Writes down what there is room for. Nothing is waited for here: who is on the wire must be heard.
    fn write(&mut self) {
        while !self.unwritten.is_empty() {
            self.must_sync = true;
            let task = self.task;
            if let Err(error) = self.unwritten.write(|window, rows| task.append(window, rows)) {
                self.stop_for(error);
            }
            if !self.unwritten.is_empty() {
                return;
            }
            let moved_on = std::mem::take(&mut self.moved_on);
            if !self.patience.is_cancelled() {
                self.plan_anew(moved_on);
            }
        }
    }

    /// The next step of a chain does not wait for the other rows of its chunk.
    fn plan_anew(&mut self, rows: Vec<RowOutcome>) {
        let (mut plan, now) = (Plan::default(), self.task.world.clock.now());
        for standing in rows {
            let row = &self.rows[standing.index as usize];
            if standing.due().is_some_and(|due| due > now) {
                continue;
            }
            if let Err(error) = self.task.plan_row(row, standing, &self.calendar, &mut plan) {
                self.stop_for(error);
            }
        }
        self.unwritten.put(0, plan.noted);
        self.waiting.extend(plan.waiting);
        plan.outbound.into_iter().rev().for_each(|row| self.planned.push_front(row));
    }

    /// Claims the next window, when few rows of those before are left.
    fn next_claim(&mut self) -> Option<Claim<'t>> {
        let is_over = self.begun + CHUNK_TIME <= self.task.world.clock.instant();
        if self.patience.is_cancelled() || is_over || !self.task.may_claim() {
            self.planned.clear();
        }
        if !self.unwritten.is_empty() {
            return None;
        }
        let rows = self.planned.claim(self.pace(), self.task.window_rows, self.came_back);
        if rows.is_empty() {
            return None;
        }
        let must_sync = std::mem::take(&mut self.must_sync);
        let (task, stop) = (self.task, (self.halt.clone(), self.patience.clone()));
        let has_unwritten = self.unwritten.is_full();
        Some(Box::pin(async move { task.claim(rows, must_sync, stop, has_unwritten).await }))
    }

    fn take_claim(&mut self, claimed: Claimed) {
        match claimed {
            Ok(Some((sending, rows))) => {
                self.windows.push(sending.window);
                let claimed = rows.into_iter().map(|(row, of)| (Arc::clone(&sending), row, of));
                self.claimed.extend(claimed);
            }
            Ok(None) => {}
            Err(error) => self.stop_for(error),
        }
    }

    /// Rows a second, of this chunk or of those before.
    fn pace(&self) -> usize {
        let passed = (self.task.world.clock.instant() - self.begun).as_secs_f64().max(0.001);
        match self.gone {
            0 => self.task.live.pace(),
            gone => (gone as f64 / passed) as usize,
        }
    }

    /// The chunk begins nothing more. What is on the wire ends, and is recorded, before the first fault is
    /// told: cut off, it would be unknown for ever.
    fn stop_for(&mut self, error: DispatchError) {
        self.halt.cancel();
        self.fault.get_or_insert(error);
    }
}

impl ChunkTask {
    /// Claims a window durably.
    async fn claim(
        &self,
        rows: Vec<(Going, Untried)>,
        must_sync: bool,
        (stopping, patience): (CancellationToken, CancellationToken),
        has_unwritten: Arc<AtomicBool>,
    ) -> Claimed {
        let number = self.live.next_window();
        let mut positions: Vec<u32> = rows.iter().map(|(row, _)| row.standing.index).collect();
        positions.sort_unstable();
        let window = WindowRecord {
            number,
            chunk: self.number,
            rows: WindowRecord::runs_of(&positions),
            boot_id: self.boot_id.clone(),
        };
        let (store, live) = (self.store.clone(), Arc::clone(&self.live));
        let claimed = blocking(move || {
            if must_sync {
                live.sync()?;
            }
            Ok::<_, DispatchError>(store.claim_window(live.record.id, &window)?)
        });
        match claimed.await {
            Err(DispatchError::Store(StoreError::Full)) => {
                tokio::time::sleep(ROOM_WAIT).await;
                return Ok(None);
            }
            claimed => claimed?,
        }
        self.metrics.window_claims.inc();
        let sending = Sending {
            live: Arc::clone(&self.live),
            traffic: Arc::clone(&self.traffic),
            chunk: self.number,
            window: number,
            world: Arc::clone(&self.world),
            stopping,
            patience,
            nudge: Arc::clone(&self.nudge),
            has_unwritten,
        };
        Ok(Some((Arc::new(sending), rows)))
    }
}

async fn wait_for<'t>(claim: &mut Option<Claim<'t>>) -> Option<Claimed> {
    match claim {
        Some(claim) => Some(claim.await),
        None => None,
    }
}

/// The next row that ended; none where one began, since another may be claimed then. Rows begin nowhere but
/// in this very poll.
async fn next_ended<F: Future<Output = Ended>>(
    under_way: &mut FuturesUnordered<F>,
    has_begun: &AtomicBool,
) -> Option<Ended> {
    poll_fn(|context| match under_way.poll_next_unpin(context) {
        Poll::Pending if has_begun.swap(false, Ordering::Relaxed) => Poll::Ready(None),
        polled => polled,
    })
    .await
}

fn outbound(going: Going, untried: Untried, message: OutgoingMessage, cost: u32) -> Box<Outbound> {
    let Going { standing, chain, urgency, expires_at, allowed_until, providers, tries, .. } = going;
    Box::new(Outbound {
        standing,
        chain,
        message,
        urgency,
        cost,
        expires_at,
        allowed_until,
        providers,
        tries,
        untried,
    })
}

/// What a message takes of the memory, about.
fn size_of(message: &OutgoingMessage) -> usize {
    let variables = message.variables.iter().map(|(name, value)| name.len() + value.len());
    message.subject.len() + message.text.len() + message.html.len() + variables.sum::<usize>()
}

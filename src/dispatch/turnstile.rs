//! The turnstile before a provider: where messages wait for their turn.
//!
//! The rule is `pacing::Gate`; here are the lock around it, those who wait, and the alarm that looks again
//! when a time has come. Dropping whoever waits or has passed gives back what was taken for it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use tokio::sync::Notify;

use crate::pacing::{
    Comer, Coming, Decision, Effects, Entry, Gate, Later, Limit, Limits, Standing, TenantRates,
    Word,
};
use crate::world::World;

/// The rates of tenants, which all turnstiles share.
pub(super) type SharedRates = Arc<Mutex<TenantRates>>;

/// The turnstile of one provider.
#[derive(Debug)]
pub(super) struct Turnstile {
    inner: Mutex<Inner>,
    tenants: SharedRates,
    world: Arc<World>,
    /// The alarm was set to an earlier time.
    alarm_moved: Notify,
}

#[derive(Debug)]
struct Inner {
    gate: Gate,
    waiting: HashMap<u64, Place>,
    /// The time for which the alarm is set.
    alarm: Option<Instant>,
    /// One task waits for it, however often it is set.
    has_alarm_task: bool,
}

/// One who stands in line.
#[derive(Debug)]
enum Place {
    Waits(Option<Waker>),
    Decided(Decision),
}

/// Leave to send one message. Dropped unsettled, it gives back what it took.
#[derive(Debug)]
pub(super) struct Pass {
    turnstile: Arc<Turnstile>,
    comer: Comer,
    entry: Entry,
    is_settled: bool,
}

impl Turnstile {
    pub(super) fn new(limits: &Limits, tenants: SharedRates, world: Arc<World>) -> Turnstile {
        let gate = Gate::new(limits, world.clock.instant().into_std());
        let inner = Inner { gate, waiting: HashMap::new(), alarm: None, has_alarm_task: false };
        let alarm_moved = Notify::new();
        Turnstile { inner: Mutex::new(inner), tenants, world, alarm_moved }
    }

    /// Waits for a turn, or hears that it is better to come again later; `stopped` is told what made it
    /// wait. Cancel-safe.
    pub(super) async fn pass(
        self: &Arc<Turnstile>,
        comer: Comer,
        stopped: impl FnOnce(Limit),
    ) -> Result<Pass, Later> {
        let coming = {
            let mut inner = self.lock();
            let coming = inner.gate.come(comer, self.now(), &mut self.rates());
            if let Coming::Wait(number, _) = coming {
                inner.waiting.insert(number, Place::Waits(None));
                self.advance(inner);
            }
            coming
        };
        let entry = match coming {
            Coming::Go(entry) => entry,
            Coming::Later(later) => {
                stopped(later.why);
                return Err(later);
            }
            Coming::Wait(number, why) => {
                stopped(why);
                Turn { turnstile: self, comer, number, is_over: false }.await?
            }
        };
        Ok(Pass { turnstile: Arc::clone(self), comer, entry, is_settled: false })
    }

    /// Whether rows need not even be made ready now; see `Gate::closed_to`.
    pub(super) fn closed_to(&self) -> Option<Later> {
        self.lock().gate.closed_to(self.now())
    }

    /// Somebody has mended something: a probe is due.
    pub(super) fn look_now(&self) {
        self.lock().gate.look_now(self.now());
    }

    pub(super) fn standing(&self) -> Standing {
        self.lock().gate.standing(self.now())
    }

    /// Lets go whoever may, and sets the alarm for the others.
    fn advance(self: &Arc<Turnstile>, mut inner: MutexGuard<'_, Inner>) {
        let Inner { gate, waiting, alarm, has_alarm_task } = &mut *inner;
        let mut woken = Vec::new();
        gate.advance(self.now(), &mut self.rates(), |number, decision| {
            let place = waiting.insert(number, Place::Decided(decision));
            woken.extend(place.and_then(|place| match place {
                Place::Waits(waker) => waker,
                Place::Decided(_) => None,
            }));
        });
        let wake_at = gate.wake_at().filter(|at| alarm.is_none_or(|set| *at < set));
        if let Some(at) = wake_at {
            *alarm = Some(at);
            match std::mem::replace(has_alarm_task, true) {
                true => self.alarm_moved.notify_one(),
                false => *has_alarm_task = self.start_alarm(),
            }
        }
        drop(inner);
        woken.into_iter().for_each(Waker::wake);
    }

    fn advance_if_needed(self: &Arc<Turnstile>, inner: MutexGuard<'_, Inner>) {
        if inner.gate.has_line() {
            self.advance(inner);
        }
    }

    /// Waits for the alarm as long as one is set; false where nobody can.
    #[allow(clippy::disallowed_methods, reason = "an alarm belongs to nobody who waits")]
    fn start_alarm(self: &Arc<Turnstile>) -> bool {
        // Without a runtime the program is at its end, and nobody waits any more.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return false };
        let turnstile = Arc::clone(self);
        runtime.spawn(async move {
            while let Some(at) = turnstile.alarm() {
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = turnstile.alarm_moved.notified() => continue,
                }
                let mut inner = turnstile.lock();
                // It may have been moved at this very moment.
                if inner.alarm == Some(at) {
                    inner.alarm = None;
                    turnstile.advance(inner);
                }
            }
        });
        true
    }

    /// The time for which the alarm is set; with none its task ends.
    fn alarm(&self) -> Option<Instant> {
        let mut inner = self.lock();
        inner.has_alarm_task = inner.alarm.is_some();
        inner.alarm
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locked after the turnstile itself, never before.
    fn rates(&self) -> MutexGuard<'_, TenantRates> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Instant {
        self.world.clock.instant().into_std()
    }
}

/// The wait in line.
struct Turn<'t> {
    turnstile: &'t Arc<Turnstile>,
    comer: Comer,
    number: u64,
    is_over: bool,
}

impl Future for Turn<'_> {
    type Output = Decision;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Decision> {
        let (turnstile, number) = (self.turnstile, self.number);
        let mut inner = turnstile.lock();
        match inner.waiting.remove(&number) {
            Some(Place::Decided(decision)) => {
                self.is_over = true;
                Poll::Ready(decision)
            }
            _ => {
                let waker = context.waker().clone();
                inner.waiting.insert(number, Place::Waits(Some(waker)));
                Poll::Pending
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let turnstile = self.turnstile;
        let mut inner = turnstile.lock();
        match inner.waiting.remove(&self.number) {
            Some(Place::Decided(Ok(entry))) => {
                inner.gate.give_back(entry, &self.comer, turnstile.now(), &mut turnstile.rates());
                turnstile.advance(inner);
            }
            Some(Place::Decided(Err(_))) | None => {}
            Some(Place::Waits(_)) => inner.gate.step_out(self.number),
        }
    }
}

impl Pass {
    /// The message goes to find out whether the provider is back.
    pub(super) fn is_probe(&self) -> bool {
        self.entry.is_probe
    }

    /// What came in the way since it passed; a probe goes all the same.
    pub(super) fn closed_meanwhile(&self) -> Option<Later> {
        let turnstile = &self.turnstile;
        turnstile.lock().gate.closed_meanwhile(self.entry, turnstile.now())
    }

    /// The attempt ended; what it says of the provider holds for all.
    pub(super) fn settle(mut self, word: Word) -> Effects {
        self.is_settled = true;
        let turnstile = Arc::clone(&self.turnstile);
        let mut inner = turnstile.lock();
        let effects = inner.gate.settle(self.entry, &self.comer, word, turnstile.now());
        turnstile.advance_if_needed(inner);
        effects
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if !self.is_settled {
            let turnstile = Arc::clone(&self.turnstile);
            let mut inner = turnstile.lock();
            let (now, mut rates) = (turnstile.now(), turnstile.rates());
            inner.gate.give_back(self.entry, &self.comer, now, &mut rates);
            drop(rates);
            turnstile.advance_if_needed(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Category, Urgency};
    use crate::pacing::{Place as Standing, Rate};

    fn turnstile(concurrency: usize, rate: Option<&str>) -> Arc<Turnstile> {
        let rate = rate.map(|rate| Rate::parse(rate).unwrap());
        let limits = Limits { rate, concurrency, pair_rate: None, failures_max: 10 };
        let start = "2026-11-23T09:00:00Z".parse().unwrap();
        let world = Arc::new(World::seeded(start, 1));
        Arc::new(Turnstile::new(&limits, SharedRates::default(), world))
    }

    fn comer(category: Category, lane: u32) -> Comer {
        let urgency = Urgency::new(category, 5);
        let place = Standing { urgency, lane, weight: 1, batch: lane.into(), cost: 1 };
        Comer { place, pair: lane.into() }
    }

    fn marketing(lane: u32) -> Comer {
        comer(Category::Marketing, lane)
    }

    async fn pass(turnstile: &Arc<Turnstile>, comer: Comer) -> Result<Pass, Later> {
        turnstile.pass(comer, |_| ()).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_passes_makes_room_for_the_most_urgent_that_waits() {
        let turnstile = turnstile(1, None);
        let first = pass(&turnstile, marketing(1)).await.unwrap();
        let (second, third) = tokio::join!(
            async {
                let pass = pass(&turnstile, marketing(2)).await.unwrap();
                (turnstile.world.clock.now(), pass.settle(Word::Took)).0
            },
            async {
                let urgent = pass(&turnstile, comer(Category::Authentication, 3));
                let release = async {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    first.settle(Word::Took);
                };
                let (pass, ()) = tokio::join!(urgent, release);
                tokio::time::sleep(Duration::from_secs(1)).await;
                (turnstile.world.clock.now(), pass.unwrap().settle(Word::Took)).0
            },
        );
        assert!(third <= second, "the urgent one was first");
        let standing = turnstile.standing();
        assert_eq!((standing.under_way, standing.waiting), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_alarm_lets_them_go_at_their_rate() {
        let turnstile = turnstile(64, Some("10/s"));
        let start = turnstile.world.clock.instant();
        for _ in 0..31 {
            pass(&turnstile, marketing(1)).await.unwrap().settle(Word::Took);
        }
        let passed = start.elapsed().as_millis();
        assert!((3000..3200).contains(&passed), "{passed} ms");
    }

    /// Each earlier alarm was set beside the later ones, which slept on.
    #[tokio::test(start_paused = true)]
    async fn one_task_waits_for_all_alarms() {
        let turnstile = turnstile(1, Some("100/s"));
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let mut passes = Vec::new();
        for _ in 0..200 {
            // Full: the alarm is a minute away. Then the rate: it is moments away.
            let (first, second) = (pass(&turnstile, marketing(1)), pass(&turnstile, marketing(2)));
            let (first, second) = tokio::join!(
                async { first.await.map(|pass| pass.settle(Word::Took).closed) },
                async { second.await.map(|pass| pass.settle(Word::Took).closed) },
            );
            passes.extend([first, second]);
            assert!(tasks() <= before + 1, "{} tasks", tasks());
        }
        assert!(passes.iter().all(Result::is_ok));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_dropped_leaves_no_trace() {
        let turnstile = turnstile(1, None);
        let first = pass(&turnstile, marketing(1)).await.unwrap();
        let mut waits = Box::pin(pass(&turnstile, marketing(2)));
        let mut decided = Box::pin(pass(&turnstile, marketing(3)));
        assert!(futures_util::poll!(&mut waits).is_pending());
        assert!(futures_util::poll!(&mut decided).is_pending());
        drop(waits);
        assert_eq!(turnstile.standing().waiting, 1);
        // Decided about, and never looked at again.
        drop(first);
        assert_eq!(turnstile.standing().under_way, 1);
        drop(decided);
        let standing = turnstile.standing();
        assert_eq!((standing.under_way, standing.waiting), (0, 0));
        assert!(turnstile.lock().waiting.is_empty());
        assert!(pass(&turnstile, marketing(4)).await.is_ok());
    }
}

//! The rule of a provider's turnstile: who begins now, who waits in line, who comes again later.
//!
//! All limits of one provider in one place. Nothing here waits: who stands in line is decided about by
//! `advance`, whenever something ended or the time has come that `wake_at` names.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::breaker::{Breaker, PROBE_TIME};
use super::ceiling::Ceiling;
use super::concurrency::Concurrency;
use super::line::{Line, Place};
use super::pairs::{PAIRS_MAX, Pairs};
use super::tenant_rates::TenantRates;
use super::word::Word;
use super::{Bucket, Rate};
use crate::codes::ReasonCode;

/// A provider's limits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Messages (of an SMS, parts) per time at most.
    pub rate: Option<Rate>,
    /// Messages under way at most.
    pub concurrency: usize,
    /// Messages per time from one sender to one recipient at most.
    pub pair_rate: Option<Rate>,
    /// So many failures in a row, of different recipients, and the provider counts as away.
    pub failures_max: u32,
}

/// Somebody who wants to begin.
#[derive(Debug, Clone, Copy)]
pub struct Comer {
    pub place: Place,
    /// Stands for the sender and the recipient.
    pub pair: u64,
}

/// Leave to begin one message; it is settled or given back exactly once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    epoch: u32,
    /// It finds out whether the provider is back: that it fails says nothing of the message.
    pub is_probe: bool,
}

/// Not now: the message comes again after a while, and uses up no attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Later {
    pub wait: Duration,
    pub why: Limit,
    /// Another provider may be tried at once.
    pub elsewhere: bool,
}

/// What stands in a message's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Concurrency,
    Rate,
    TenantRate,
    PairRate,
    /// The provider said "too fast", and rests.
    Rest,
    /// The provider is away, or refuses our account.
    Breaker(ReasonCode),
    /// It stood in line for long: its rules are asked anew.
    Turn,
    /// A new sender's quota of the day.
    WarmUp,
}

impl Limit {
    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Limit::Concurrency => "concurrency",
            Limit::Rate => "rate",
            Limit::TenantRate => "tenant_rate",
            Limit::PairRate => "pair_rate",
            Limit::Rest => "provider_rest",
            Limit::Breaker(_) => "breaker",
            Limit::Turn => "turn",
            Limit::WarmUp => "warm_up",
        }
    }

    /// Why the row waits, as its outcome says it.
    pub const fn code(self) -> ReasonCode {
        match self {
            Limit::PairRate => ReasonCode::DeliveryRecipientLimit,
            Limit::Breaker(code) => code,
            _ => ReasonCode::DeliveryThrottled,
        }
    }
}

/// What becomes of somebody who comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coming {
    Go(Entry),
    Later(Later),
    /// Stands in line under this number.
    Wait(u64, Limit),
}

/// What is decided about somebody who stood in line.
pub type Decision = Result<Entry, Later>;

/// What an answer led to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effects {
    pub opened: Option<ReasonCode>,
    pub closed: bool,
    pub slowed: bool,
    /// How long this one message must wait, whatever others do.
    pub own_rest: Option<Duration>,
}

/// How a provider stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Standing {
    pub under_way: usize,
    pub limit: usize,
    pub waiting: usize,
    pub per_second: Option<f64>,
    /// Nothing goes for so long, and why.
    pub closed: Option<(Duration, ReasonCode)>,
}

/// One provider's limits at work.
#[derive(Debug)]
pub struct Gate {
    bucket: Option<Bucket>,
    ceiling: Ceiling,
    concurrency: Concurrency,
    breaker: Breaker,
    /// Nothing was taken since a message was refused as if for our account: the next one tells more.
    is_suspect: bool,
    rest_until: Instant,
    /// The one that was told to come again after a long rest; nobody else was asked since.
    told_alone: Option<u64>,
    pairs: Pairs,
    line: Line,
    waiting: HashMap<u64, Comer>,
    /// Since when each stands in line, the longest first; some are gone.
    came: VecDeque<(Instant, u64)>,
    last_number: u64,
    under_way: usize,
    wake_at: Option<Instant>,
}

/// Rest after "too fast" without a hint.
const REST: Duration = Duration::from_secs(1);
/// First rest of a message that is refused as if for our account, where others are taken.
const REFUSED_REST: Duration = Duration::from_secs(30);
/// No hint of a provider makes it rest longer.
pub const HINT_MAX: Duration = Duration::from_secs(3600);
/// For a rest up to this long it is waited in line; for a longer one rows go back to where they came from.
const PATIENCE: Duration = Duration::from_secs(5);
/// Nobody stands in line longer: by then a message may have expired, or its batch be paused.
const TURN_MAX: Duration = Duration::from_secs(60);

/// What stands in everybody's way.
enum Barrier {
    /// Nobody needs to wait here.
    Closed(Later),
    Until(Instant, Limit),
    /// Until somebody leaves.
    Full,
}

impl Gate {
    pub fn new(limits: &Limits, now: Instant) -> Gate {
        let interval = limits.pair_rate.map_or(Duration::ZERO, Rate::interval);
        Gate {
            bucket: limits.rate.map(|rate| Bucket::new(rate, now)),
            ceiling: Ceiling::new(limits.rate, now),
            concurrency: Concurrency::new(limits.concurrency),
            breaker: Breaker::new(limits.failures_max),
            // Before the first is taken there is nothing that speaks for the account.
            is_suspect: true,
            rest_until: now,
            told_alone: None,
            pairs: Pairs::new(interval, PAIRS_MAX),
            line: Line::default(),
            waiting: HashMap::new(),
            came: VecDeque::new(),
            last_number: 0,
            under_way: 0,
            wake_at: None,
        }
    }

    /// Somebody stands in line.
    pub fn has_line(&self) -> bool {
        !self.line.is_empty()
    }

    /// When `advance` has something to decide though nobody leaves.
    pub fn wake_at(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Somebody comes. Whoever stands in line goes first, so that `advance` must follow where it waits.
    pub fn come(&mut self, comer: Comer, now: Instant, tenants: &mut TenantRates) -> Coming {
        let mut limit = Limit::Concurrency;
        if self.line.is_empty() {
            match self.barrier(now) {
                Some(Barrier::Closed(later)) => return Coming::Later(later),
                Some(Barrier::Until(_, why)) => limit = why,
                Some(Barrier::Full) => {}
                None if tenants
                    .may_go(comer.place.lane, comer.place.urgency.class(), now)
                    .is_err() =>
                {
                    limit = Limit::TenantRate;
                }
                None => {
                    return match self.try_begin(&comer, now, tenants) {
                        Ok(entry) => Coming::Go(entry),
                        Err(later) => Coming::Later(later),
                    };
                }
            }
        }
        self.last_number += 1;
        let number = self.last_number;
        self.line.push(&comer.place, number);
        self.waiting.insert(number, comer);
        self.came.push_back((now, number));
        Coming::Wait(number, limit)
    }

    /// Decides about those in line, as far as there is room.
    pub fn advance(
        &mut self,
        now: Instant,
        tenants: &mut TenantRates,
        mut decide: impl FnMut(u64, Decision),
    ) {
        self.wake_at = None;
        while !self.line.is_empty() {
            match self.barrier(now) {
                Some(Barrier::Closed(later)) => {
                    self.line = Line::default();
                    self.waiting.drain().for_each(|(number, _)| decide(number, Err(later)));
                    break;
                }
                Some(Barrier::Until(at, _)) => {
                    self.wake_at = Some(at);
                    break;
                }
                Some(Barrier::Full) => break,
                None => {}
            }
            match self.line.next(|lane, class| tenants.may_go(lane, class, now)) {
                Err(blocked) => {
                    self.wake_at = blocked.wait.map(|wait| now + wait);
                    break;
                }
                Ok(number) => {
                    let comer = self.waiting[&number];
                    let decision = self.try_begin(&comer, now, tenants);
                    self.remove(number, decision.is_ok());
                    decide(number, decision);
                }
            }
        }
        self.send_home_who_waited_long(now, decide);
    }

    /// Somebody does not want to wait any more.
    pub fn step_out(&mut self, number: u64) {
        self.remove(number, false);
    }

    /// A message that may have begun ended so.
    pub fn settle(&mut self, entry: Entry, comer: &Comer, word: Word, now: Instant) -> Effects {
        let was_full = self.under_way >= self.concurrency.limit();
        self.under_way -= 1;
        let is_late = entry.epoch != self.concurrency.epoch();
        let mut effects = Effects::default();
        if entry.is_probe {
            self.breaker.probe_ended();
        }
        match word {
            Word::RefusedAccount(code) => {
                if entry.is_probe && self.pairs.is_refused(comer.pair) {
                    self.breaker.probe_told_nothing();
                }
                if self.refused(comer.pair, code, is_late, now) {
                    effects.opened = Some(code);
                    self.concurrency.start_anew();
                }
                return effects;
            }
            Word::Failed => {
                effects.slowed = self.concurrency.met_trouble(entry.epoch);
                if self.breaker.failed(comer.pair, now) {
                    effects.opened = Some(ReasonCode::DeliveryNetwork);
                    self.concurrency.start_anew();
                }
                return effects;
            }
            Word::TooFast(hint) => {
                let rest = hint.unwrap_or(REST).min(HINT_MAX);
                let refusal = self.pairs.refused(comer.pair, rest, now);
                effects.own_rest = Some(refusal.rest);
                if !refusal.is_own {
                    let (rest, is_for_all) = self.rest_of_all(comer.pair, rest);
                    self.rest_until = self.rest_until.max(now + rest);
                    effects.slowed = is_for_all && self.concurrency.met_trouble(entry.epoch);
                }
                if effects.slowed {
                    self.ceiling.lower(now);
                    self.pour(now);
                }
            }
            Word::Took | Word::Answered => {
                self.told_alone = None;
                if word == Word::Took {
                    self.ceiling.took_one(now);
                    self.pairs.took(comer.pair);
                    self.is_suspect = false;
                } else {
                    self.pairs.answered(comer.pair);
                }
                self.concurrency.went_well(was_full && !is_late);
            }
        }
        // Of a provider that is away nobody who began before says anything. Of one that is not, the late
        // answers count as the late failures do.
        if !self.breaker.is_open() || !is_late || word.is_too_fast() {
            effects.closed = self.breaker.answered();
        }
        effects
    }

    /// How long all rest where one was told to, and whether it is known to be meant for all. A long rest may be
    /// meant for its recipient alone: soon another one finds out, by itself.
    fn rest_of_all(&mut self, pair: u64, rest: Duration) -> (Duration, bool) {
        if rest <= PATIENCE {
            return (rest, true);
        }
        match self.told_alone.replace(pair) {
            Some(other) if other != pair => (rest, true),
            _ => (PATIENCE, false),
        }
    }

    /// A message was refused as if our account were; true where nothing goes for that reason from now on.
    /// Where others are taken, one alone is refused for its own sake: it rests, and others find out more.
    fn refused(&mut self, pair: u64, code: ReasonCode, is_late: bool, now: Instant) -> bool {
        let is_own = self.pairs.refused(pair, REFUSED_REST, now).is_own;
        let was_suspect = std::mem::replace(&mut self.is_suspect, true);
        let opened = match is_late || !self.breaker.is_open() && (is_own || !was_suspect) {
            true => false,
            false => self.breaker.refused_account(code, now),
        };
        if let Some((next_probe, _)) = self.breaker.next_probe() {
            self.pairs.rest(pair, next_probe + PROBE_TIME);
        }
        opened
    }

    /// A message did not begin after all: all that was taken for it is given back.
    pub fn give_back(
        &mut self,
        entry: Entry,
        comer: &Comer,
        now: Instant,
        tenants: &mut TenantRates,
    ) {
        self.under_way -= 1;
        if entry.is_probe {
            self.breaker.probe_lost(now);
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.give_back(comer.place.cost);
        }
        tenants.give_back(comer.place.lane, comer.place.cost);
        self.pairs.goes_not(comer.pair, now);
    }

    /// Whether a row may be made ready now. Where the provider is away, the one that asks first once a
    /// probe is due is promised it.
    pub fn closed_to(&mut self, now: Instant) -> Option<Later> {
        if self.rest_until > now + PATIENCE {
            return Some(closed(self.rest_until, now, Limit::Rest));
        }
        let (until, code) = self.breaker.promise(now).err()?;
        Some(closed(until, now, Limit::Breaker(code)))
    }

    /// What came in the way of one that passed and did not begin yet: it waited for a connection meanwhile.
    pub fn closed_meanwhile(&self, entry: Entry, now: Instant) -> Option<Later> {
        if entry.is_probe {
            return None;
        }
        if self.rest_until > now + PATIENCE {
            return Some(closed(self.rest_until, now, Limit::Rest));
        }
        let (until, code) = self.breaker.next_probe()?;
        Some(closed(until, now, Limit::Breaker(code)))
    }

    /// Somebody has mended something: whether the provider is back is found out now.
    pub fn look_now(&mut self, now: Instant) {
        self.breaker.look_now(now);
    }

    pub fn standing(&self, now: Instant) -> Standing {
        let probe = self.breaker.next_probe();
        let resting =
            (self.rest_until > now).then_some((self.rest_until, ReasonCode::DeliveryThrottled));
        let since = |at: Instant| at.saturating_duration_since(now);
        Standing {
            under_way: self.under_way,
            limit: self.concurrency.limit(),
            waiting: self.line.len(),
            per_second: self.ceiling.per_second(),
            closed: probe.or(resting).map(|(until, why)| (since(until), why)),
        }
    }

    fn barrier(&mut self, now: Instant) -> Option<Barrier> {
        if let Some((until, code)) = self.breaker.closed_to_all(now) {
            return Some(Barrier::Closed(closed(until, now, Limit::Breaker(code))));
        }
        if self.rest_until > now {
            return Some(match self.rest_until > now + PATIENCE {
                true => Barrier::Closed(closed(self.rest_until, now, Limit::Rest)),
                false => Barrier::Until(self.rest_until, Limit::Rest),
            });
        }
        let limit = if self.told_alone.is_some() { 1 } else { self.concurrency.limit() };
        if self.under_way >= limit {
            return Some(Barrier::Full);
        }
        if self.ceiling.recover(now) {
            self.pour(now);
        }
        let ready = self.bucket.as_mut().map_or(Ok(()), |bucket| bucket.ready(now));
        ready.err().map(|wait| Barrier::Until(now + wait, Limit::Rate))
    }

    /// Nothing stands in everybody's way: is there something in this one's?
    fn try_begin(&mut self, comer: &Comer, now: Instant, tenants: &mut TenantRates) -> Decision {
        if let Err(wait) = self.pairs.may_go(comer.pair, now) {
            // It may be the one to which the probe was promised.
            if self.breaker.is_open() {
                self.breaker.probe_lost(now);
            }
            return Err(Later { wait, why: Limit::PairRate, elsewhere: false });
        }
        self.breaker
            .admit(now)
            .map_err(|(until, code)| closed(until, now, Limit::Breaker(code)))?;
        let Place { lane, cost, urgency, .. } = comer.place;
        if let Some(bucket) = &mut self.bucket {
            bucket.spend(cost);
        }
        tenants.spend(lane, urgency.class(), cost);
        self.pairs.goes(comer.pair, now);
        self.under_way += 1;
        Ok(Entry { epoch: self.concurrency.epoch(), is_probe: self.breaker.is_open() })
    }

    fn remove(&mut self, number: u64, goes: bool) {
        if let Some(comer) = self.waiting.remove(&number) {
            self.line.remove(&comer.place, number, goes);
        }
    }

    fn send_home_who_waited_long(&mut self, now: Instant, mut decide: impl FnMut(u64, Decision)) {
        // Those that are gone are dropped before they outnumber those that wait.
        if self.came.len() > 2 * self.waiting.len() + 64 {
            let waiting = &self.waiting;
            self.came.retain(|(_, number)| waiting.contains_key(number));
        }
        while let Some((since, number)) = self.came.front().copied() {
            let end = since + TURN_MAX;
            if self.waiting.contains_key(&number) {
                if end > now {
                    self.wake_at = Some(self.wake_at.map_or(end, |at| at.min(end)));
                    return;
                }
                self.remove(number, false);
                let later = Later { wait: Duration::ZERO, why: Limit::Turn, elsewhere: false };
                decide(number, Err(later));
            }
            self.came.pop_front();
        }
    }

    /// The rate changed: the bucket follows.
    fn pour(&mut self, now: Instant) {
        match (self.ceiling.per_second(), &mut self.bucket) {
            (Some(per_second), Some(bucket)) => bucket.change_rate(per_second, now),
            (Some(per_second), none) => *none = Some(Bucket::of_rate(per_second, now)),
            (None, bucket) => *bucket = None,
        }
    }
}

fn closed(until: Instant, now: Instant, why: Limit) -> Later {
    Later { wait: until.saturating_duration_since(now), why, elsewhere: true }
}

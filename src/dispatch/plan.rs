//! What is to be done with a chunk's open rows: decided for all of them at once, before the first is sent.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::attempt::Tries;
use super::chunk::{ChunkTask, Wait, accepted};
use super::error::DispatchError;
use super::provider::Provider;
use super::question::{calendar, question};
use crate::batch::{Chain, RowEvent, RowOutcome};
use crate::codes::ReasonCode;
use crate::model::{Category, ChannelKind, Status, Urgency};
use crate::pacing::HINT_MAX;
use crate::policy::{Calendar, Hours, Verdict, decide};
use crate::spool::{Chunk, StoredRow};
use crate::store::ChunkRecord;

/// How long rows wait whose channel has no provider, or whose template is not there, any more.
const ABSENCE_WAIT: Duration = Duration::from_secs(60);

/// What is to be done with a chunk's open rows.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Positions of the rows that are to be sent, or were.
    pub(super) accepted: Vec<u32>,
    /// What became of rows without an attempt: they are final, or on a further step of their chain.
    pub(super) noted: Vec<RowOutcome>,
    /// Some of these are not final: what is sent next rests on it.
    pub(super) moved_on: bool,
    /// May be sent now.
    pub(super) outbound: Vec<Going>,
    /// Not due yet, by position in the chunk.
    pub(super) waiting: HashMap<u32, Wait>,
}

/// What is to be done with a row on the step it is on.
enum Planned {
    Ends(Status, ReasonCode),
    Waits(Wait),
    Goes(Box<Way>),
}

/// A row that may be sent now; its message is made ready just before its turn.
#[derive(Debug)]
pub(super) struct Going {
    /// Where it stands.
    pub(super) standing: RowOutcome,
    pub(super) chain: Chain,
    pub(super) channel: ChannelKind,
    pub(super) urgency: Urgency,
    pub(super) expires_at: Timestamp,
    /// From then on policy must be asked again: the row expires or its window closes.
    pub(super) allowed_until: Timestamp,
    /// In order of failover.
    pub(super) providers: Vec<Arc<Provider>>,
    pub(super) tries: Tries,
}

/// The way out of a row that may be sent now.
struct Way {
    channel: ChannelKind,
    urgency: Urgency,
    expires_at: Timestamp,
    allowed_until: Timestamp,
    providers: Vec<Arc<Provider>>,
    tries: Tries,
}

impl ChunkTask {
    /// Reads the chunk, and decides about each of its open rows.
    pub(super) fn plan(&self) -> Result<(ChunkRecord, Chunk, Plan), DispatchError> {
        let missing = || DispatchError::ChunkMissing {
            batch: self.live.record.id.to_string(),
            chunk: self.number,
        };
        let record = self.store.chunk(self.live.record.id, self.number)?.ok_or_else(missing)?;
        let chunk = self.live.chunk(&record)?;
        let mut latest = self.live.latest(self.number)?;
        let (now, mut plan) = (self.world.clock.now(), Plan::default());
        let calendar = calendar(&self.route);
        let rows = chunk.rows()?;
        let accepted = accepted(&rows);
        plan.outbound.reserve(accepted.len());
        for index in accepted.iter().copied() {
            let row = &rows[index as usize];
            let standing = latest.remove(&index).unwrap_or_else(|| RowOutcome::untried(index));
            if standing.is_settled() {
                continue;
            }
            let due = standing.due().filter(|due| *due > now);
            if let Some(due) = due.filter(|due| !self.is_misplaced(row, &standing, *due, now)) {
                let wait =
                    if standing.receipt_until.is_some() { Wait::Receipt } else { Wait::Deferred };
                plan.waiting.insert(index, wait(due));
                continue;
            }
            if let Some(rest) = self.world.clock.doubted_for()
                && standing.receipt_until.is_some()
            {
                // That no receipt came in time is the clock's word alone.
                let later = now.saturating_add(rest).unwrap_or(now);
                plan.waiting.insert(index, Wait::Receipt(later));
                continue;
            }
            self.plan_row(row, standing, &calendar, &mut plan)?;
        }
        plan.accepted = accepted;
        // Stable: rows of one urgency go in the file's order.
        plan.outbound.sort_by_key(|row| row.urgency);
        drop(rows);
        Ok((record, chunk, plan))
    }

    /// What is to be done with a row now. Steps of its chain that policy or the row itself rule out are
    /// passed over.
    pub(super) fn plan_row(
        &self,
        row: &StoredRow<'_>,
        mut standing: RowOutcome,
        calendar: &Calendar,
        plan: &mut Plan,
    ) -> Result<(), DispatchError> {
        let (now, begun_on) = (self.world.clock.now(), standing.step);
        if standing.receipt_until.is_some() {
            let chain = row.chain(standing.step);
            standing = standing.apply(RowEvent::NoReceipt { at: now }, chain)?;
        } else if self.is_held(&standing) {
            let chain = row.chain(standing.step);
            standing = standing.apply(RowEvent::Held { at: now }, chain)?;
        }
        if standing.receipt_until.is_some() {
            // A receipt may tell more: it is waited for.
            plan.noted.push(standing);
            return Ok(());
        }
        while !standing.is_settled() {
            let step = standing.step;
            let on_step =
                if step == 0 { Cow::Borrowed(row) } else { Cow::Owned(row.on_step(step)) };
            let chain = row.chain(step);
            match self.plan_step(&on_step, &standing, calendar) {
                Planned::Ends(status, code) => {
                    let event = RowEvent::Ended { status, code, at: now };
                    standing = standing.apply(event, chain)?;
                    continue;
                }
                Planned::Waits(wait) => {
                    plan.waiting.insert(standing.index, wait);
                }
                Planned::Goes(way) => {
                    let Way { channel, urgency, expires_at, allowed_until, providers, tries } =
                        *way;
                    let standing = standing.clone();
                    plan.outbound.push(Going {
                        standing,
                        chain,
                        channel,
                        urgency,
                        expires_at,
                        allowed_until,
                        providers,
                        tries,
                    });
                }
            }
            if step != begun_on {
                plan.moved_on = true;
                plan.noted.push(standing);
            }
            return Ok(());
        }
        plan.noted.push(standing);
        Ok(())
    }

    /// The same for one step of its chain.
    fn plan_step(
        &self,
        row: &StoredRow<'_>,
        standing: &RowOutcome,
        calendar: &Calendar,
    ) -> Planned {
        let now = self.world.clock.now();
        let Some(channel) = row.channel else {
            return Planned::Ends(Status::Failed, ReasonCode::RowChannelUnavailable);
        };
        let expires_at = self.expires_at(row);
        if self.is_gone {
            return match self.world.clock.doubted_for() {
                _ if expires_at > now => Planned::Waits(Wait::Paused(expires_at)),
                Some(rest) => {
                    Planned::Waits(Wait::Deferred(now.saturating_add(rest).unwrap_or(now)))
                }
                None => Planned::Ends(Status::Expired, ReasonCode::PolicyExpired),
            };
        }
        let question = question(&self.route, row, channel, expires_at, (calendar, now));
        let verdict = decide(&question, now);
        // Whatever the clock alone has brought about must wait until it is believed: it may be put right again.
        let is_by_clock =
            verdict == Verdict::Expire || row.send_at.is_some() || question.hours.is_some();
        if let Some(rest) = self.world.clock.doubted_for().filter(|_| is_by_clock) {
            return Planned::Waits(Wait::Deferred(now.saturating_add(rest).unwrap_or(now)));
        }
        match verdict {
            Verdict::Suppress(code) => return Planned::Ends(Status::Suppressed, code),
            Verdict::Expire => return Planned::Ends(Status::Expired, ReasonCode::PolicyExpired),
            Verdict::Wait { until, .. } => return Planned::Waits(Wait::Deferred(until)),
            Verdict::Send if self.paused => return Planned::Waits(Wait::Paused(expires_at)),
            Verdict::Send => {}
        }
        let closes_at = match question.hours {
            Some(Hours::Open { until }) => Some(until),
            _ => None,
        };
        let (mut providers, tries) = self.providers(channel, standing);
        let is_served = !providers.is_empty();
        providers.retain(|provider| !provider.is_paused());
        // Where the configuration changed since the row was accepted, the row waits for its
        // provider or template to come back, at the latest until it expires.
        let again = now.saturating_add(ABSENCE_WAIT).unwrap_or(expires_at).min(expires_at);
        if !is_served {
            return Planned::Waits(Wait::Deferred(again));
        }
        if providers.is_empty() {
            return Planned::Waits(Wait::Paused(expires_at));
        }
        if let Some(until) = all_closed(&providers, now) {
            // Nothing is written for rows that only wait for a provider to wake.
            return Planned::Waits(Wait::Deferred(until.min(expires_at)));
        }
        let is_known =
            |name: &str| name.is_empty() || self.route.template(name, channel, row.lang).is_some();
        if !is_known(row.template) {
            return Planned::Waits(Wait::Deferred(again));
        }
        Planned::Goes(Box::new(Way {
            channel,
            urgency: Urgency::new(row.category.unwrap_or(Category::Marketing), row.priority),
            expires_at,
            allowed_until: closes_at.map_or(expires_at, |at| at.min(expires_at)),
            providers,
            tries,
        }))
    }

    /// Those that may be given the row, paused ones among them.
    fn providers(
        &self,
        channel: ChannelKind,
        standing: &RowOutcome,
    ) -> (Vec<Arc<Provider>>, Tries) {
        let mut providers = self.exits.on(channel, &self.route);
        let tries = Tries::of(standing, &providers);
        match standing.bound_to() {
            Some(only) => providers.retain(|provider| provider.id() == only),
            None => tries.leave_out_used_up(&mut providers),
        }
        (providers, tries)
    }

    /// It is to be tried again later than it can have been meant: the clock was ahead then.
    fn is_misplaced(
        &self,
        row: &StoredRow<'_>,
        standing: &RowOutcome,
        due: Timestamp,
        now: Timestamp,
    ) -> bool {
        let wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        if standing.deferred_until.is_none() || wait <= HINT_MAX {
            return false;
        }
        let channel = row.on_step(standing.step).channel;
        let providers = channel.map(|channel| self.exits.on(channel, &self.route));
        wait > Tries::longest_wait(&providers.unwrap_or_default())
    }

    /// It may have gone out, and whoever may have it is not to be asked twice any more.
    fn is_held(&self, standing: &RowOutcome) -> bool {
        standing.is_doubtfully_waiting()
            && standing.bound_to().is_some_and(|provider| self.exits.holds_unknown(provider))
    }

    fn expires_at(&self, row: &StoredRow<'_>) -> Timestamp {
        let expires_at = row.expires_at.unwrap_or(Timestamp::MAX);
        let again = self.reopened_at.filter(|_| !row.expiry_given);
        let accepted = self.live.record.validated_at;
        let (Some(again), Some(accepted)) = (again, accepted) else { return expires_at };
        let due = row.send_at.map_or(accepted, |at| at.max(accepted));
        let lifetime = expires_at.duration_since(due);
        expires_at.max(again.saturating_add(lifetime).unwrap_or(Timestamp::MAX))
    }
}

fn all_closed(providers: &[Arc<Provider>], now: Timestamp) -> Option<Timestamp> {
    let mut earliest: Option<Timestamp> = None;
    for provider in providers {
        let until = provider.closed_until(now)?;
        earliest = Some(earliest.map_or(until, |e| e.min(until)));
    }
    earliest
}

//! What providers were given, and what must hold of that alone.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};

use super::plan::{Act, Row, Tell, Told};
use super::play::Theatre;

/// A moment for what was on its way when something was asked, and for seconds that were cut off.
pub(crate) const SLACK: SignedDuration = SignedDuration::from_secs(2);

/// A message that a provider was given.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) at: Timestamp,
    /// Its line in the log.
    line: usize,
    pub(crate) batch: String,
    pub(crate) to: String,
    sender: String,
    pub(crate) channel: String,
    /// Of its row's chain, from 1.
    pub(crate) step: usize,
    pub(crate) provider: String,
    pub(crate) is_test: bool,
    pub(crate) outcome: String,
    pub(crate) fate: Fate,
}

/// What became of the answer to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was heard, and time went on after it.
    Heard,
    /// The process died at the same moment; or its word was lost in a power cut.
    InFlight,
    /// The process died before it came.
    OnWire,
}

impl Sent {
    pub(crate) fn is_lost(&self) -> bool {
        self.fate != Fate::Heard
    }

    pub(crate) fn may_have_left(&self) -> bool {
        self.is_lost() || self.was_taken()
    }

    pub(crate) fn was_taken(&self) -> bool {
        ["accepted", "unknown"].contains(&self.outcome.as_str())
    }

    /// Nobody may take it for certain that it was not delivered.
    fn is_in_doubt(&self) -> bool {
        self.was_taken() || self.fate == Fate::OnWire
    }
}

/// The row a message is of, as `<batch>-<row>`, and the step of its chain.
pub(crate) fn row_of(message_id: &str) -> (&str, usize) {
    let id = message_id.split('@').next().unwrap_or_default();
    match id.rsplit_once('.') {
        Some((row, step)) => (row, step.parse().unwrap_or(0)),
        None => (id, 1),
    }
}

/// Every message, by its row.
pub(crate) fn sent(theatre: &Theatre) -> HashMap<String, Vec<Sent>> {
    let mut all: HashMap<String, Vec<Sent>> = HashMap::new();
    for (number, line) in theatre.stage.log.lines().into_iter().enumerate() {
        if !["simulated", "simulator answers"].contains(&line.message.as_str()) {
            continue;
        }
        let (row, step) = row_of(line.field("message_id"));
        let messages = all.entry(row.to_owned()).or_default();
        if line.message == "simulated" {
            messages.push(Sent {
                at: line.at,
                line: number,
                batch: row.split('-').next().unwrap_or_default().to_owned(),
                to: line.field("to").to_owned(),
                sender: line.field("sender").to_owned(),
                channel: line.field("channel").to_owned(),
                step,
                provider: line.field("provider").to_owned(),
                is_test: line.field("test") == "true",
                outcome: line.field("outcome").to_owned(),
                fate: Fate::OnWire,
            });
            continue;
        }
        let mut deaths = theatre.deaths.iter().skip_while(|death| death.lines <= number);
        let death = deaths.next();
        // A process that dies before it has recovered leaves the window to a later power cut.
        let is_cut_later = deaths.take(2).any(|death| death.power_cut);
        let Some(sent) = messages.last_mut() else { continue };
        let before = theatre.deaths.iter().rev().find(|d| d.lines <= number);
        if before.is_some_and(|before| before.lines > sent.line) {
            continue;
        }
        // Heard where the process lived on, if only for a millisecond.
        let is_heard = death.is_none_or(|death| {
            death.at > line.at && !death.power_cut && !is_cut_later && !death.disk_failed
        });
        sent.fate = if is_heard { Fate::Heard } else { Fate::InFlight };
    }
    all
}

/// What is wrong with the way a row went over its chain, where nobody asked for it again.
pub(crate) fn of_chain(theatre: &Theatre, row: &Row, sent: &[Sent]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, first) in sent.iter().enumerate().filter(|(_, sent)| sent.is_in_doubt()) {
        for later in &sent[number + 1..] {
            if later.step == first.step && later.provider != first.provider {
                found.push(format!(
                    "{} may have it, and {} is asked: {sent:?}",
                    first.provider, later.provider
                ));
            }
            let way = row.steps.get(first.step.wrapping_sub(1));
            let from = match way.and_then(|way| way.window) {
                _ if later.step <= first.step => continue,
                Some(_) if is_clock_set_back(theatre) => continue,
                Some(window) => first.at + SignedDuration::from_secs(window) - SLACK,
                None => Timestamp::MAX,
            };
            if later.at < from {
                found.push(format!("step {} before its time: {sent:?}", later.step));
            }
        }
    }
    if sent.windows(2).any(|pair| pair[1].step < pair[0].step) {
        found.push(format!("back on its chain: {sent:?}"));
    }
    for sent in sent {
        let way = row.steps.get(sent.step.wrapping_sub(1));
        if way.is_none_or(|way| way.channel != sent.channel) {
            found.push(format!("sent by {}, which is not its step {}", sent.channel, sent.step));
        }
    }
    found
}

/// Rates and ramps hold, whatever happened.
pub(crate) fn of_limits(theatre: &Theatre, sent: &HashMap<String, Vec<Sent>>) -> Vec<String> {
    let mut found = Vec::new();
    let all = || sent.values().flatten().filter(|sent| !sent.is_test);
    for provider in &theatre.plan.providers {
        let Some(first) = provider.warm_up else { continue };
        let mut by_sender: BTreeMap<&str, u32> = BTreeMap::new();
        // What was refused was no message.
        for sent in all().filter(|sent| sent.provider == provider.id && sent.was_taken()) {
            *by_sender.entry(&sent.sender).or_default() += 1;
        }
        let over = by_sender.iter().filter(|(_, count)| **count > first);
        found.extend(over.map(|(sender, count)| {
            format!("{} sends {count} of {sender} on its first day, {first} allowed", provider.id)
        }));
    }
    let is_full = |(_, act): &(Timestamp, Act)| matches!(act, Act::DiskFull(true));
    if theatre.done.iter().any(is_full) || is_clock_set_back(theatre) {
        return found;
    }
    for provider in &theatre.plan.providers {
        let moments = all().filter(|sent| sent.provider == provider.id).map(|sent| sent.at);
        found.extend(over_rate(theatre, provider.id, provider.rate, moments.collect()));
    }
    for (tenant, rate) in &theatre.plan.rates {
        let is_theirs = |sent: &&Sent| theatre.tenant_of(&sent.batch) == Some(*tenant);
        let moments = all().filter(is_theirs).map(|sent| sent.at);
        found.extend(over_rate(theatre, tenant, Some(*rate), moments.collect()));
    }
    found
}

/// More messages within ten seconds than a rate allows; a new process has a turn in advance.
fn over_rate(
    theatre: &Theatre,
    whose: &str,
    rate: Option<u32>,
    mut moments: Vec<Timestamp>,
) -> Option<String> {
    const SPAN: SignedDuration = SignedDuration::from_secs(10);
    let rate = rate? as usize;
    moments.sort();
    for (number, from) in moments.iter().enumerate() {
        let until = *from + SPAN;
        let count = moments[number..].iter().take_while(|at| **at < until).count();
        let starts = theatre.deaths.iter().filter(|death| (*from..=until).contains(&death.at));
        if count > rate * 10 + 2 + 2 * starts.count() {
            return Some(format!("{whose}: {count} messages within {SPAN:#} from {from}"));
        }
    }
    None
}

/// Times then do not say what came first.
pub(crate) fn is_clock_set_back(theatre: &Theatre) -> bool {
    theatre.plan.lives.iter().any(|life| life.pause.is_negative())
}

/// Told by command to stop, and nobody told otherwise before it was sent. Once a stop is acknowledged not one
/// attempt begins. `by_command_only`: no partner let the file go on either.
pub(crate) fn told_to_stop(
    theatre: &Theatre,
    tenant: &str,
    sent: &Sent,
    by_command_only: bool,
) -> Option<String> {
    let is_about = |tell: &Tell| match &tell.what {
        Told::Tenant(of) => *of == tenant,
        Told::Provider(id) => !sent.is_test && *id == sent.provider,
        Told::Batch(..) => by_command_only && tell.batch.as_ref() == Some(&sent.batch),
    };
    let mut stopped: BTreeMap<String, Option<Timestamp>> = BTreeMap::new();
    for (at, act) in &theatre.done {
        let Act::Tell(tell) = act else { continue };
        let lets_go = ["resume", "resend"].contains(&tell.op);
        // An end that nobody acknowledged may have come true all the same.
        let is_said = lets_go || tell.stops() && tell.done;
        if is_about(tell) && is_said && tell.lines <= sent.line {
            stopped.insert(format!("{:?}", tell.what), tell.stops().then_some(*at));
        }
    }
    let (what, since) = stopped.iter().find_map(|(what, since)| Some((what, (*since)?)))?;
    Some(format!("sent at {}, {what} stopped at {since}", sent.at))
}

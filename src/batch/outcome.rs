//! The life of a row, from its acceptance to the last word on it.
//!
//! | a row is | its status | goes on by |
//! |---|---|---|
//! | waiting | `accepted`, `deferred` | a claim, or an end without an attempt |
//! | claimed | as before: an attempt may be on the wire | what the attempt came to, or its loss |
//! | awaited | `submitted`, `sent`, `unknown`, until a receipt is due | a receipt, or none: the next step |
//! | settled | everything else | a receipt of a higher rank, a declaration about `unknown`, a resend |

use jiff::{SignedDuration, Timestamp};

use super::row::NextStep;
use crate::codes::ReasonCode;
use crate::model::{Attempt, ChannelKind, Receipt, Status};

/// The latest word on one row. Only `RowOutcome::apply` makes another one of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowOutcome {
    /// Position in the chunk, 0-based.
    pub index: u32,
    pub status: Status,
    pub code: Option<ReasonCode>,
    /// Attempts made so far, over all steps and providers; throttled ones do not count.
    pub attempts: u32,
    pub provider: String,
    pub provider_message_id: String,
    pub provider_code: String,
    /// Channels tried, in order, joined by `>`.
    pub channels_tried: String,
    /// When the row is due again; only while it waits.
    pub deferred_until: Option<Timestamp>,
    pub submitted_at: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    /// The step of the row's chain that it is on, or that settled it; 0 is the row's own channel.
    pub step: u8,
    /// Attempts that were made before this step began.
    pub attempts_before: u32,
    /// Until when a receipt is waited for; only while the row is awaited.
    pub receipt_until: Option<Timestamp>,
    /// How far the best of the steps before this one came.
    pub earlier: Option<Box<StepEnd>>,
    /// Somebody wants it sent although it may have gone out, whatever the provider's `on_unknown` says.
    pub resent: bool,
    /// An attempt may be on the wire. Never stored: windows and start marks say so on the disk.
    pub claimed: bool,
}

/// How a step ended that was not the last word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepEnd {
    pub step: u8,
    pub status: Status,
    pub code: Option<ReasonCode>,
    pub provider: String,
    pub provider_message_id: String,
    pub provider_code: String,
    pub submitted_at: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
}

/// What an event must know of the row's chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain {
    /// The row's own channel and those behind it.
    pub steps: u8,
    /// How long the step that the row is on waits for a receipt; 0 where it does not.
    pub receipt_within_s: u32,
}

impl Chain {
    /// A row that goes out on one channel.
    pub const ONE: Chain = Chain { steps: 1, receipt_within_s: 0 };
}

/// What happened to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowEvent {
    /// A window holds it: from now on an attempt may begin.
    Claimed,
    /// The window gives it back: nothing was tried.
    Released,
    /// It cannot go out before then, and nothing was tried.
    Postponed { until: Timestamp, code: Option<ReasonCode> },
    /// What waits for its next try is due now.
    Hurried { at: Timestamp },
    /// An attempt ended; `due` is for the case that another one follows.
    Tried(Box<Tried>),
    /// The process ended while the attempt was on the wire; `again` where the operator wants such a row
    /// sent once more.
    Lost { channel: ChannelKind, provider: String, again: bool, at: Timestamp },
    /// It waits to be sent again although it may have gone out, and the operator no longer wants that.
    Held { at: Timestamp },
    /// It ends without a further attempt on this step: `failed`, `suppressed`, `expired`, `cancelled`.
    Ended { status: Status, code: ReasonCode, at: Timestamp },
    /// The provider of a step said what became of the message.
    Receipt { step: u8, receipt: Receipt, at: Timestamp },
    /// The time for a receipt is over.
    NoReceipt { at: Timestamp },
    /// Somebody found out what became of a row that is unknown: `sent`, `delivered` or `failed`.
    Declared { status: Status, at: Timestamp },
    /// The partner or the operator wants it sent again.
    Reopened { at: Timestamp },
}

/// One attempt and what it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    pub channel: ChannelKind,
    pub provider: String,
    pub attempt: Attempt,
    pub next: NextStep,
    pub at: Timestamp,
    pub due: Timestamp,
}

/// A move that the row cannot make where it stands: a fault of this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a row that is {status} cannot be {event}")]
pub struct IllegalRowMove {
    pub status: Status,
    pub event: &'static str,
}

impl RowOutcome {
    /// A row of which nothing is known yet.
    pub fn untried(index: u32) -> RowOutcome {
        RowOutcome {
            index,
            status: Status::Accepted,
            code: None,
            attempts: 0,
            provider: String::new(),
            provider_message_id: String::new(),
            provider_code: String::new(),
            channels_tried: String::new(),
            deferred_until: None,
            submitted_at: None,
            sent_at: None,
            ended_at: None,
            step: 0,
            attempts_before: 0,
            receipt_until: None,
            earlier: None,
            resent: false,
            claimed: false,
        }
    }

    /// True where nothing is left to attempt.
    pub fn is_settled(&self) -> bool {
        !self.is_waiting() && self.receipt_until.is_none()
    }

    fn is_waiting(&self) -> bool {
        matches!(self.status, Status::Deferred | Status::Accepted)
    }

    /// When something is to be done about it again; none where it is due at once, or settled.
    pub fn due(&self) -> Option<Timestamp> {
        self.deferred_until.or(self.receipt_until)
    }

    /// True where the partner may ask for the row to be sent again.
    pub fn is_resendable(&self) -> bool {
        self.is_settled()
            && matches!(self.status, Status::Failed | Status::Expired | Status::Unknown)
    }

    /// True where the row may have gone out on this step and nobody knows: it ended so, or waits to be
    /// sent again.
    pub fn is_in_doubt(&self) -> bool {
        self.attempts > self.attempts_before
            && self.code == Some(ReasonCode::DeliveryOutcomeUnknown)
    }

    /// The only provider that may be given the row, where it may have it already: another would deliver
    /// the copy. After a loss of the machine nobody knows who that was.
    pub fn bound_to(&self) -> Option<&str> {
        (self.is_in_doubt() && !self.provider.is_empty()).then_some(self.provider.as_str())
    }

    /// It waits to be sent again although it may have gone out, because its provider's settings said so.
    pub fn is_doubtfully_waiting(&self) -> bool {
        self.is_waiting() && self.is_in_doubt() && !self.resent && !self.claimed
    }

    /// Attempts made on the step that the row is on.
    pub fn attempts_on_step(&self) -> u32 {
        self.attempts - self.attempts_before
    }

    /// What becomes of the row. Every move there is goes through here.
    pub fn apply(mut self, event: RowEvent, chain: Chain) -> Result<RowOutcome, IllegalRowMove> {
        match event {
            RowEvent::Claimed if self.is_waiting() && !self.claimed => {
                self.claimed = true;
                Ok(self)
            }
            RowEvent::Released if self.claimed => {
                self.claimed = false;
                Ok(self)
            }
            RowEvent::Postponed { until, code } if self.is_waiting() => {
                self.claimed = false;
                if !self.is_in_doubt() {
                    self.code = code;
                }
                (self.status, self.deferred_until) = (Status::Deferred, Some(until));
                Ok(self)
            }
            RowEvent::Hurried { at } if self.status == Status::Deferred && !self.claimed => {
                self.deferred_until = Some(at);
                Ok(self)
            }
            RowEvent::Tried(tried) if self.claimed => Ok(self.tried(*tried, chain)),
            RowEvent::Lost { channel, provider, again, at } if self.claimed => {
                self.note_channel(channel);
                Ok(self.lost(provider, again, at, chain))
            }
            RowEvent::Held { at } if self.is_doubtfully_waiting() => Ok(self.unknown(at, chain)),
            RowEvent::Ended { status, code, at } if self.may_end_as(status) => {
                Ok(self.ended(status, code, at, chain))
            }
            RowEvent::Receipt { step, receipt, at } if self.takes_receipt_of(step) => {
                Ok(self.receipt(step, receipt, at, chain))
            }
            RowEvent::NoReceipt { at } if self.receipt_until.is_some() => {
                if self.status != Status::Unknown {
                    self.code = Some(ReasonCode::DeliveryNoReceipt);
                }
                Ok(self.go_on(at, chain))
            }
            RowEvent::Declared { status, at } if self.may_be_declared(status) => {
                (self.status, self.code) = (status, None);
                self.sent_at = (status == Status::Sent).then_some(at);
                self.ended_at = Some(at);
                Ok(self)
            }
            RowEvent::Reopened { at } if self.is_resendable() => Ok(self.reopened(at)),
            event => Err(IllegalRowMove { status: self.status, event: event.name() }),
        }
    }

    fn may_end_as(&self, status: Status) -> bool {
        use Status::{Cancelled, Expired, Failed, Suppressed};
        let is_end = matches!(status, Failed | Suppressed | Expired | Cancelled);
        let only_stops = matches!(status, Expired | Cancelled);
        is_end && !self.claimed && !self.is_settled() && (self.is_waiting() || only_stops)
    }

    fn may_be_declared(&self, status: Status) -> bool {
        self.is_settled()
            && self.status == Status::Unknown
            && matches!(status, Status::Sent | Status::Delivered | Status::Failed)
    }

    /// Receipts come for what was handed over, be it long ago; never for what nobody tried.
    fn takes_receipt_of(&self, step: u8) -> bool {
        let is_tried =
            if step == self.step { self.attempts_on_step() > 0 } else { self.attempts > 0 };
        !self.claimed && is_tried && step <= self.step
    }

    fn tried(mut self, tried: Tried, chain: Chain) -> RowOutcome {
        let Tried { channel, provider, attempt, next, at, due } = tried;
        self.claimed = false;
        self.note_channel(channel);
        let was_in_doubt = self.is_in_doubt();
        self.provider = provider;
        self.provider_code = attempt.provider_code;
        match next {
            NextStep::Retry { code, counts, .. } => {
                self.attempts += u32::from(counts);
                // Doubt outlives every other reason.
                if !was_in_doubt {
                    self.code = code;
                }
                (self.status, self.deferred_until) = (Status::Deferred, Some(due));
                self
            }
            NextStep::Settle { status: status @ (Status::Submitted | Status::Sent), .. } => {
                self.attempts += 1;
                self.provider_message_id = attempt.provider_message_id;
                self.taken(status, attempt.receipt, at, chain)
            }
            NextStep::Settle { status, code } => {
                self.attempts += 1;
                self.provider_message_id = attempt.provider_message_id;
                // What may have gone out once is not made undone by a refusal.
                if was_in_doubt || status == Status::Unknown {
                    return self.unknown(at, chain);
                }
                (self.status, self.code) = (status, code);
                self.go_on(at, chain)
            }
        }
    }

    /// A provider took it, and perhaps said at once what became of it: done with, unless a receipt is
    /// waited for.
    fn taken(
        mut self,
        status: Status,
        receipt: Option<Receipt>,
        at: Timestamp,
        chain: Chain,
    ) -> RowOutcome {
        (self.status, self.code, self.deferred_until) = (status, None, None);
        self.submitted_at = Some(at);
        self.sent_at = (status == Status::Sent).then_some(at);
        let Some(receipt) = receipt else { return self.await_receipt(at, chain) };
        (self.status, self.code) = said(receipt);
        if self.status == Status::Bounced { self.go_on(at, chain) } else { self.settle(at) }
    }

    fn unknown(mut self, at: Timestamp, chain: Chain) -> RowOutcome {
        self.status = Status::Unknown;
        self.code = Some(ReasonCode::DeliveryOutcomeUnknown);
        self.deferred_until = None;
        self.await_receipt(at, chain)
    }

    /// Waits for a receipt where the chain says so and has another step; else the row is settled.
    fn await_receipt(mut self, at: Timestamp, chain: Chain) -> RowOutcome {
        if chain.receipt_within_s > 0 && self.has_next(chain) {
            let within = SignedDuration::from_secs(i64::from(chain.receipt_within_s));
            self.receipt_until = Some(at.saturating_add(within).unwrap_or(Timestamp::MAX));
            return self;
        }
        self.settle(at)
    }

    fn lost(mut self, provider: String, again: bool, at: Timestamp, chain: Chain) -> RowOutcome {
        self.claimed = false;
        self.attempts += 1;
        self.provider = provider;
        if again {
            self.code = Some(ReasonCode::DeliveryOutcomeUnknown);
            (self.status, self.deferred_until) = (Status::Deferred, Some(at));
            return self;
        }
        self.unknown(at, chain)
    }

    fn ended(
        mut self,
        status: Status,
        code: ReasonCode,
        at: Timestamp,
        chain: Chain,
    ) -> RowOutcome {
        if self.receipt_until.is_some() {
            // It went out: only what would have followed is called off.
            return self.settle(at);
        }
        if self.is_in_doubt() {
            (self.status, self.code) = (Status::Unknown, Some(ReasonCode::DeliveryOutcomeUnknown));
            return self.settle(at);
        }
        (self.status, self.code) = (status, Some(code));
        match status {
            Status::Failed | Status::Suppressed => self.go_on(at, chain),
            _ => self.settle(at),
        }
    }

    fn receipt(mut self, step: u8, receipt: Receipt, at: Timestamp, chain: Chain) -> RowOutcome {
        if step < self.step && !self.recall(step, receipt) {
            return self;
        }
        let (status, code) = said(receipt);
        let is_news = match receipt {
            Receipt::Bounced(_) if self.is_waiting() => self.is_in_doubt(),
            Receipt::Bounced(_) => {
                (rank(Status::Unknown)..rank(Status::Delivered)).contains(&rank(self.status))
            }
            _ => rank(self.status) < rank(status),
        };
        if !is_news {
            return self;
        }
        let was_open = !self.is_settled();
        (self.status, self.code) = (status, code);
        match (receipt, was_open) {
            (Receipt::Bounced(_), true) => self.go_on(at, chain),
            _ => self.settle(at),
        }
    }

    /// Goes back to an earlier step that reached the recipient after all; false where it did not, or
    /// where nothing is known of it any more.
    fn recall(&mut self, step: u8, receipt: Receipt) -> bool {
        let Some(mut end) = self.earlier.take_if(|end| end.step == step) else { return false };
        if let Receipt::Bounced(code) = receipt {
            (end.status, end.code) = (Status::Bounced, Some(code));
            self.earlier = Some(end);
            return false;
        }
        self.restore(*end);
        true
    }

    fn reopened(self, at: Timestamp) -> RowOutcome {
        let anew = RowOutcome { deferred_until: Some(at), ..RowOutcome::untried(self.index) };
        if self.status != Status::Unknown {
            return anew;
        }
        // One that may have gone out stays in doubt until an attempt or a receipt says more.
        let (attempts, code) = (self.attempts, Some(ReasonCode::DeliveryOutcomeUnknown));
        // Whoever may have it already can tell the copy; of another step it is another message.
        let provider = if self.step == 0 { self.provider } else { String::new() };
        let attempts_before = attempts.saturating_sub(1);
        RowOutcome { attempts, attempts_before, code, provider, resent: true, ..anew }
    }

    fn has_next(&self, chain: Chain) -> bool {
        self.step + 1 < chain.steps
    }

    /// The step did not reach the recipient, for all we know: the next one begins, if there is one.
    fn go_on(mut self, at: Timestamp, chain: Chain) -> RowOutcome {
        if !self.has_next(chain) {
            return self.settle(at);
        }
        let end = StepEnd {
            step: self.step,
            status: self.status,
            code: self.code.take(),
            provider: std::mem::take(&mut self.provider),
            provider_message_id: std::mem::take(&mut self.provider_message_id),
            provider_code: std::mem::take(&mut self.provider_code),
            submitted_at: self.submitted_at.take(),
            sent_at: self.sent_at.take(),
        };
        self.earlier = match self.earlier.take() {
            Some(earlier) if rank(earlier.status) > rank(end.status) => Some(earlier),
            _ => Some(Box::new(end)),
        };
        self.step += 1;
        self.attempts_before = self.attempts;
        (self.receipt_until, self.resent) = (None, false);
        (self.status, self.deferred_until) = (Status::Deferred, Some(at));
        self
    }

    /// The last word, which is that of the step that came furthest.
    fn settle(mut self, at: Timestamp) -> RowOutcome {
        if let Some(earlier) = self.earlier.take()
            && !is_taken(self.status)
            && rank(earlier.status) > rank(self.status)
        {
            self.restore(*earlier);
        }
        (self.claimed, self.resent) = (false, false);
        (self.deferred_until, self.receipt_until) = (None, None);
        self.ended_at = Some(at);
        self
    }

    fn restore(&mut self, end: StepEnd) {
        self.step = end.step;
        (self.status, self.code) = (end.status, end.code);
        self.provider = end.provider;
        self.provider_message_id = end.provider_message_id;
        self.provider_code = end.provider_code;
        (self.submitted_at, self.sent_at) = (end.submitted_at, end.sent_at);
        self.attempts_before = 0;
    }

    fn note_channel(&mut self, channel: ChannelKind) {
        let channel = channel.as_str();
        if self.channels_tried.split('>').any(|tried| tried == channel) {
            return;
        }
        if !self.channels_tried.is_empty() {
            self.channels_tried.push('>');
        }
        self.channels_tried.push_str(channel);
    }
}

impl RowEvent {
    fn name(&self) -> &'static str {
        match self {
            RowEvent::Claimed => "claimed",
            RowEvent::Released => "released",
            RowEvent::Postponed { .. } => "postponed",
            RowEvent::Hurried { .. } => "hurried",
            RowEvent::Tried(_) => "tried",
            RowEvent::Lost { .. } => "lost",
            RowEvent::Held { .. } => "held",
            RowEvent::Ended { .. } => "ended",
            RowEvent::Receipt { .. } => "receipted",
            RowEvent::NoReceipt { .. } => "given up waiting for",
            RowEvent::Declared { .. } => "declared",
            RowEvent::Reopened { .. } => "reopened",
        }
    }
}

/// What a receipt makes of a row.
fn said(receipt: Receipt) -> (Status, Option<ReasonCode>) {
    match receipt {
        Receipt::Delivered => (Status::Delivered, None),
        Receipt::Read => (Status::Read, None),
        Receipt::Bounced(code) => (Status::Bounced, Some(code)),
    }
}

/// True where a provider took the message, and said nothing worse since.
pub(super) fn is_taken(status: Status) -> bool {
    rank(status) >= rank(Status::Submitted)
}

/// How far a message came, for all we know.
pub(super) fn rank(status: Status) -> u8 {
    match status {
        Status::Rejected | Status::Duplicate | Status::Accepted | Status::Deferred => 0,
        Status::Suppressed => 1,
        Status::Failed | Status::Bounced | Status::Expired | Status::Cancelled => 2,
        Status::Unknown => 3,
        Status::Submitted => 4,
        Status::Sent => 5,
        Status::Delivered => 6,
        Status::Read => 7,
    }
}

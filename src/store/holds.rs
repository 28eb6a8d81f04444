//! Held files: listed, let go on, refused.

use jiff::Timestamp;

use super::Store;
use super::engine::{Space, StoreError};
use super::intake::Acceptance;
use super::keys;
use super::records::{BatchRecord, Facts, decode};
use crate::batch::{BatchEvent, BatchState, Decider};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState};

impl Store {
    /// Every batch that is held, or released and not read again yet; oldest first.
    pub fn holds(&self) -> Result<Vec<BatchRecord>, StoreError> {
        self.listed(Space::Holds)
    }

    /// Lets a held batch go on: intake reads its file once more, without asking for approval again.
    /// `Conflict` where the batch is not held (any more). Ring intake's doorbell afterwards.
    pub fn release(
        &self,
        batch: BatchId,
        by: &Decider,
        at: Timestamp,
    ) -> Result<BatchRecord, StoreError> {
        self.end_hold(batch, by, at, BatchEvent::HoldReleased, |_| {})
    }

    /// Refuses a held batch. With `file.approval_needed` its rows count as rejected, with any other
    /// code they do not count. `Conflict` where the batch is not held (any more). Nudge the outbox
    /// afterwards.
    pub fn refuse_held(
        &self,
        batch: BatchId,
        by: &Decider,
        code: ReasonCode,
        at: Timestamp,
    ) -> Result<BatchRecord, StoreError> {
        self.end_hold(batch, by, at, BatchEvent::HoldRefused, |facts| refuse(facts, code))
    }

    /// What is asked of the batch meanwhile, such as its answers once more, stays asked: the end is
    /// written over the very record that it was decided on.
    fn end_hold(
        &self,
        batch: BatchId,
        by: &Decider,
        at: Timestamp,
        event: BatchEvent,
        judge: impl Fn(&mut Facts),
    ) -> Result<BatchRecord, StoreError> {
        let key = keys::batch(batch);
        loop {
            let before = self.engine.get(Space::Batches, &key)?.ok_or(StoreError::Conflict)?;
            let mut record: BatchRecord = decode("batches", &before)?;
            let is_held = record.state == BatchState::Held;
            let hold = record.hold.as_mut().filter(|_| is_held).ok_or(StoreError::Conflict)?;
            hold.ended_by = by.to_string();
            hold.ended_at = Some(at);
            judge(&mut record.facts);
            let numbered = event == BatchEvent::HoldRefused && record.facts.next_seq.is_some();
            let acceptance = Acceptance { numbered, ..Acceptance::default() };
            match self.conclude_on(before, record, event, &acceptance) {
                // The record changed in between.
                Err(StoreError::Conflict) => {}
                result => return result,
            }
        }
    }
}

/// What the ACK of a refused file says.
fn refuse(facts: &mut Facts, code: ReasonCode) {
    facts.state = Some(FileState::Rejected);
    facts.code = Some(code);
    facts.message = code.meaning().to_owned();
    facts.first_send_at = None;
    (facts.rows_accepted, facts.rows_suppressed, facts.rows_deferred) = (0, 0, 0);
    if code == ReasonCode::FileApprovalNeeded {
        facts.rows_rejected = facts.rows_total - facts.rows_duplicate;
    } else {
        (facts.rows_total, facts.rows_rejected, facts.rows_duplicate) = (0, 0, 0);
    }
}

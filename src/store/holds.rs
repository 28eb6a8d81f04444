//! Held files: listed, let go on, refused.

use jiff::Timestamp;

use super::Store;
use super::engine::{Space, StoreError, after_prefix};
use super::intake::Acceptance;
use super::keys;
use super::records::BatchRecord;
use crate::batch::{BatchEvent, Decider};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState};

/// Held batches read at a time.
const PAGE: usize = 256;

impl Store {
    /// Every batch that is held, or released and not read again yet; oldest first.
    pub fn holds(&self) -> Result<Vec<BatchRecord>, StoreError> {
        let (mut from, mut found) = (Vec::new(), Vec::new());
        loop {
            let page = self.engine.scan(Space::Holds, &from, &after_prefix(&[]), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            from = last.clone();
            from.push(0);
            for (key, _) in &page {
                let damaged = StoreError::Damaged { space: "holds" };
                let batch = keys::batch_of(key).ok_or(damaged)?;
                // One that was decided meanwhile may be listed in the page and be over.
                found.extend(self.batch(batch)?);
            }
        }
    }

    /// Lets a held batch go on: intake reads its file once more, without asking for approval again.
    /// `Conflict` where the batch is not held (any more). Ring intake's doorbell afterwards.
    pub fn release(
        &self,
        batch: BatchId,
        by: &Decider,
        at: Timestamp,
    ) -> Result<BatchRecord, StoreError> {
        let record = self.ended_hold(batch, by, at)?;
        self.conclude(record, BatchEvent::HoldReleased, &Acceptance::default())
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
        let mut record = self.ended_hold(batch, by, at)?;
        let facts = &mut record.facts;
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
        let numbered = facts.next_seq.is_some();
        let acceptance = Acceptance { numbered, ..Acceptance::default() };
        self.conclude(record, BatchEvent::HoldRefused, &acceptance)
    }

    fn ended_hold(
        &self,
        batch: BatchId,
        by: &Decider,
        at: Timestamp,
    ) -> Result<BatchRecord, StoreError> {
        let mut record = self.batch(batch)?.ok_or(StoreError::Conflict)?;
        let hold = record.hold.as_mut().ok_or(StoreError::Conflict)?;
        hold.ended_by = by.to_string();
        hold.ended_at = Some(at);
        Ok(record)
    }
}

//! Uploads whose sender may still turn out to have died: interface.md, section 2, `close`.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::UploadEvidence;

/// Uploads of one session that are remembered; more than that end within `settle` in no real session.
const SETTLING_MAX: usize = 1024;

/// The uploads of one session that ended a moment ago.
#[derive(Default)]
pub(super) struct Settling(VecDeque<(Instant, UploadEvidence)>);

impl Settling {
    pub(super) fn add(&mut self, evidence: UploadEvidence, now: Instant, settle: Duration) {
        self.drop_settled(now, settle);
        if self.0.len() >= SETTLING_MAX {
            self.0.pop_front();
        }
        self.0.push_back((now, evidence));
    }

    /// Those for which a loss of the control connection at `now` comes within `settle`.
    pub(super) fn take_unsettled(&mut self, now: Instant, settle: Duration) -> Vec<UploadEvidence> {
        self.drop_settled(now, settle);
        std::mem::take(&mut self.0).into_iter().map(|(_, evidence)| evidence).collect()
    }

    fn drop_settled(&mut self, now: Instant, settle: Duration) {
        while self.0.front().is_some_and(|(ended, _)| *ended + settle <= now) {
            self.0.pop_front();
        }
    }
}

//! Whether one word on a row may stand behind another: what the log of outcomes is asked before each.

use super::outcome::{RowOutcome, is_taken, rank};
use crate::model::Status;

/// What must be remembered of the last word on a row, to judge the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowMark {
    status: Status,
    step: u8,
    is_open: bool,
    /// A copy may have gone out of which nobody knows.
    in_doubt: bool,
    /// A provider said what became of a copy, of this step or the best before: that counts for more than
    /// doubt about another.
    answered: bool,
    attempts: u32,
}

impl RowMark {
    /// Of a row that has no outcome.
    pub const UNTRIED: RowMark = RowMark {
        status: Status::Accepted,
        step: 0,
        is_open: true,
        in_doubt: false,
        answered: false,
        attempts: 0,
    };

    pub fn of(row: &RowOutcome) -> RowMark {
        let ends = [Some(row.status), row.earlier.as_ref().map(|end| end.status)];
        RowMark {
            status: row.status,
            step: row.step,
            is_open: !row.is_settled(),
            in_doubt: row.is_in_doubt() || ends.contains(&Some(Status::Unknown)),
            answered: ends.iter().flatten().any(|s| is_taken(*s) || *s == Status::Bounced),
            attempts: row.attempts,
        }
    }

    /// True where this may be the next word behind `before`. Written apart from the moves themselves: it
    /// says what must never be stored, however it came about.
    pub fn may_follow(self, before: RowMark) -> bool {
        if matches!(self.status, Status::Rejected | Status::Duplicate) {
            return false;
        }
        if before.is_open { self.may_follow_open(before) } else { self.may_follow_settled(before) }
    }

    fn may_follow_open(self, before: RowMark) -> bool {
        let keeps_doubt = !before.in_doubt || self.in_doubt || self.answered;
        // What a provider took stays taken, unless it says otherwise: on its step it is not sent again.
        let keeps_rank = self.step != before.step
            || !is_taken(before.status)
            || rank(self.status) >= rank(before.status)
            || self.status == Status::Bounced;
        let goes_on = !self.is_open || self.step >= before.step;
        keeps_doubt && keeps_rank && goes_on && self.attempts >= before.attempts
    }

    /// Nothing but a resend opens a settled row again; else only a receipt, or what somebody found out
    /// about an unknown one, says more of it.
    fn may_follow_settled(self, before: RowMark) -> bool {
        use Status::{Bounced, Delivered, Expired, Failed, Read, Sent, Submitted, Unknown};
        if self.is_open {
            return self.status == Status::Accepted
                && self.step == 0
                && matches!(before.status, Failed | Expired | Unknown)
                && (self.in_doubt || before.status != Unknown);
        }
        match before.status {
            Unknown => matches!(self.status, Unknown | Failed | Bounced) || is_taken(self.status),
            Submitted | Sent if self.status == Bounced => true,
            _ if matches!(self.status, Delivered | Read) => {
                rank(self.status) >= rank(before.status)
            }
            status => self.status == status,
        }
    }
}

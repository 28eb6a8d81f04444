//! What an operation on a batch leads to, from where the batch stands.

use super::BatchState;
use crate::model::ControlOp;

/// What somebody may ask of a batch: partners what control files and markers can say, the operator also
/// to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchOp {
    Control(ControlOp),
    /// Rows that wait for their next try are tried now.
    Retry,
}

impl BatchOp {
    pub fn as_str(self) -> &'static str {
        match self {
            BatchOp::Control(op) => op.as_str(),
            BatchOp::Retry => "retry",
        }
    }

    pub fn from_text(text: &str) -> Option<BatchOp> {
        match text {
            "retry" => Some(BatchOp::Retry),
            _ => ControlOp::from_text(text).map(BatchOp::Control),
        }
    }
}

/// Where a batch stands for somebody who wants to act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub state: BatchState,
    pub paused: bool,
    /// All its open rows were cancelled.
    pub cancelled: bool,
    /// It was closed, and rows of it are sent again.
    pub reopened: bool,
    /// It was held, and the wait is over.
    pub was_held: bool,
    /// Rows of it ended failed, expired or unknown.
    pub resendable: bool,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It is so already: done twice is done once.
    Nothing,
    Pause,
    Resume,
    /// Rows that were not attempted end `cancelled`.
    Cancel,
    /// The held file goes on.
    Release,
    /// The held file is refused.
    RefuseHeld,
    /// The batch is open again, and its ended rows are sent again.
    Reopen,
    /// The batch is open again already; more of its ended rows are sent again.
    Resend,
    /// The answers are written again.
    Report,
    /// Rows that wait for their next try are due.
    Retry,
}

/// Why the batch cannot take it: the sentence follows the batch's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unfit(pub &'static str);

/// What an operation on a batch, or on one row of it, leads to.
pub fn decide(op: ControlOp, on_row: bool, standing: &Standing) -> Result<Effect, Unfit> {
    use BatchState::{Claimed, Closed, Duplicate, Held, Refused, Released, Running};
    let Standing { state, paused, cancelled, reopened, was_held, resendable } = *standing;
    match (op, state) {
        (ControlOp::Approve, Released) => Ok(Effect::Nothing),
        (_, Claimed | Released) => Err(Unfit("is still being read")),
        (ControlOp::ResendReport, _) => Ok(Effect::Report),
        (_, Duplicate) => Err(Unfit("is a duplicate: nothing of it is sent")),
        (ControlOp::Pause, Running) if paused => Ok(Effect::Nothing),
        (ControlOp::Pause, Running) => Ok(Effect::Pause),
        (ControlOp::Resume, Running) if paused => Ok(Effect::Resume),
        (ControlOp::Resume, Running) => Ok(Effect::Nothing),
        (ControlOp::Pause | ControlOp::Resume, Held) => {
            Err(Unfit("is held: nothing of it is sent before it is approved"))
        }
        (ControlOp::Pause | ControlOp::Resume, _) => Err(Unfit("has nothing left to send")),
        (ControlOp::Cancel, Running) if cancelled => Ok(Effect::Nothing),
        (ControlOp::Cancel, Running) => Ok(Effect::Cancel),
        (ControlOp::Cancel, Held) if on_row => Err(Unfit("is held: cancel the whole file")),
        (ControlOp::Cancel, Held) => Ok(Effect::RefuseHeld),
        (ControlOp::Cancel, Closed) if cancelled => Ok(Effect::Nothing),
        (ControlOp::Cancel, Refused) if was_held => Ok(Effect::Nothing),
        (ControlOp::Cancel, _) => Err(Unfit("has nothing left to cancel")),
        (ControlOp::Approve, Held) => Ok(Effect::Release),
        (ControlOp::Approve, Running | Closed) if was_held => Ok(Effect::Nothing),
        (ControlOp::Approve, Refused) if was_held => {
            Err(Unfit("was refused before it was approved"))
        }
        (ControlOp::Approve, _) => Err(Unfit("is not held: it needs no approval")),
        (ControlOp::Resend, Closed) if resendable => Ok(Effect::Reopen),
        (ControlOp::Resend, Running) if reopened && resendable => Ok(Effect::Resend),
        (ControlOp::Resend, Running) => {
            Err(Unfit("is still being sent: what failed can be resent after the result"))
        }
        (ControlOp::Resend, _) => Err(Unfit("has no row that ended failed, expired or unknown")),
    }
}

/// What it leads to that the rows of a batch are to be tried again which wait for that.
pub fn decide_retry(standing: &Standing) -> Result<Effect, Unfit> {
    match standing.state {
        BatchState::Running if standing.paused => Err(Unfit("is paused: resume it first")),
        BatchState::Running => Ok(Effect::Retry),
        BatchState::Claimed | BatchState::Released => Err(Unfit("is still being read")),
        BatchState::Held => Err(Unfit("is held: nothing of it is sent before it is approved")),
        _ => Err(Unfit("has nothing left to send; what failed can be resent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Standing = Standing {
        state: BatchState::Running,
        paused: false,
        cancelled: false,
        reopened: false,
        was_held: false,
        resendable: false,
    };

    fn check(op: ControlOp, standing: Standing, expected: Option<Effect>) {
        assert_eq!(decide(op, false, &standing).ok(), expected, "{op} on {standing:?}");
    }

    #[test]
    fn an_operation_does_what_the_batch_can_take_and_twice_is_once() {
        let running = PLAIN;
        let paused = Standing { paused: true, ..PLAIN };
        let held = Standing { state: BatchState::Held, ..PLAIN };
        let closed = Standing { state: BatchState::Closed, ..PLAIN };
        let failed = Standing { resendable: true, ..closed };
        let cancelled = Standing { cancelled: true, ..closed };
        let refused = Standing { state: BatchState::Refused, was_held: true, ..PLAIN };
        let approved = Standing { was_held: true, ..PLAIN };
        let again = Standing { reopened: true, resendable: true, ..PLAIN };
        let claimed = Standing { state: BatchState::Claimed, ..PLAIN };
        use ControlOp::{Approve, Cancel, Pause, Resend, ResendReport, Resume};
        check(Pause, running, Some(Effect::Pause));
        check(Pause, paused, Some(Effect::Nothing));
        check(Pause, held, None);
        check(Pause, closed, None);
        check(Resume, paused, Some(Effect::Resume));
        check(Resume, running, Some(Effect::Nothing));
        check(Cancel, running, Some(Effect::Cancel));
        check(Cancel, Standing { cancelled: true, ..PLAIN }, Some(Effect::Nothing));
        check(Cancel, held, Some(Effect::RefuseHeld));
        assert!(
            decide(Cancel, true, &held).is_err(),
            "a held file is cancelled whole or not at all"
        );
        check(Cancel, cancelled, Some(Effect::Nothing));
        check(Cancel, refused, Some(Effect::Nothing));
        check(Cancel, Standing { was_held: false, ..refused }, None);
        check(Cancel, closed, None);
        check(Approve, held, Some(Effect::Release));
        check(Approve, approved, Some(Effect::Nothing));
        check(Approve, Standing { state: BatchState::Released, ..approved }, Some(Effect::Nothing));
        check(Approve, refused, None);
        check(Approve, running, None);
        check(Resend, failed, Some(Effect::Reopen));
        check(Resend, again, Some(Effect::Resend));
        check(Resend, closed, None);
        for (reopened, resendable) in [(false, false), (true, false), (false, true)] {
            check(Resend, Standing { reopened, resendable, ..PLAIN }, None);
        }
        check(ResendReport, refused, Some(Effect::Report));
        for op in ControlOp::ALL {
            check(*op, claimed, None);
        }
        assert_eq!(decide_retry(&running), Ok(Effect::Retry));
        for unfit in [paused, held, closed, failed, refused, claimed] {
            assert!(decide_retry(&unfit).is_err(), "{unfit:?}");
        }
    }

    #[test]
    fn a_refusal_says_what_is_the_matter() {
        use BatchState::{Claimed, Closed, Duplicate, Held, Refused, Released};
        use ControlOp::{Approve, Cancel, Pause, Resend, Resume};
        for (op, state, was_held, sentence) in [
            (Approve, Refused, true, "was refused before it was approved"),
            (Approve, Refused, false, "is not held: it needs no approval"),
            (Approve, Closed, false, "is not held: it needs no approval"),
            (Pause, Held, false, "is held: nothing of it is sent before it is approved"),
            (Resume, Held, false, "is held: nothing of it is sent before it is approved"),
            (Resume, Closed, false, "has nothing left to send"),
            (Cancel, Released, true, "is still being read"),
            (Cancel, Duplicate, false, "is a duplicate: nothing of it is sent"),
            (Resend, Refused, true, "has no row that ended failed, expired or unknown"),
        ] {
            let standing = Standing { state, was_held, ..PLAIN };
            assert_eq!(decide(op, false, &standing), Err(Unfit(sentence)), "{op} on {standing:?}");
        }
        for (state, paused, sentence) in [
            (BatchState::Running, true, "is paused: resume it first"),
            (Claimed, false, "is still being read"),
            (Released, false, "is still being read"),
            (Held, false, "is held: nothing of it is sent before it is approved"),
            (Closed, false, "has nothing left to send; what failed can be resent"),
        ] {
            let standing = Standing { state, paused, ..PLAIN };
            assert_eq!(decide_retry(&standing), Err(Unfit(sentence)), "{standing:?}");
        }
    }

    #[test]
    fn every_operation_is_read_back_from_its_word() {
        assert_eq!(BatchOp::Retry.as_str(), "retry");
        assert_eq!(BatchOp::from_text("retry"), Some(BatchOp::Retry));
        for op in ControlOp::ALL {
            let op_of_batch = BatchOp::Control(*op);
            assert_eq!(op_of_batch.as_str(), op.as_str());
            assert_eq!(BatchOp::from_text(op.as_str()), Some(op_of_batch));
        }
        assert_eq!(BatchOp::from_text("stop"), None);
    }
}

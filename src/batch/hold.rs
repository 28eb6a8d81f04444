//! Why a file that was read waits for somebody, and who may end the wait.

use std::fmt;

use super::verdict::Counts;
use crate::codes::ReasonCode;

/// Accepted files whose rows are remembered, to say what is usual.
pub const USUAL_FILES: usize = 10;
/// Fewer accepted files than this say nothing about what is usual.
const USUAL_FILES_MIN: usize = 3;

/// What a profile wants to be asked about before a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards {
    /// The first file of the profile waits.
    pub first_file_held: bool,
    /// Files of which more rows would be sent wait.
    pub approve_above: Option<u64>,
    /// Files with more than so many times the usual rows wait; 0 asks never.
    pub spike_guard: u64,
    /// Smaller files are no spike, however small the usual ones are.
    pub spike_guard_min_rows: u64,
}

impl Default for Guards {
    fn default() -> Guards {
        Guards {
            first_file_held: false,
            approve_above: None,
            spike_guard: 10,
            spike_guard_min_rows: 100,
        }
    }
}

/// One reason to wait, with the sentence that partners read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldReason {
    pub code: ReasonCode,
    pub message: String,
}

/// Who ended a hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decider {
    /// One of the tenant's accounts, by a marker or control file.
    Account(String),
    /// The operator: a file that came another road than the doors.
    Operator,
    /// The operator at the command line, as this user of the machine.
    OperatorUser(String),
    /// The file whose number was missing came.
    MissingNumber,
    /// A newer upload of the same name.
    NewerFile,
    /// Nobody, within `hold_timeout`.
    Nobody,
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decider::Account(name) => write!(f, "account {name}"),
            Decider::Operator => f.write_str("operator"),
            Decider::OperatorUser(user) => write!(f, "operator:{user}"),
            Decider::MissingNumber => f.write_str("the missing number"),
            Decider::NewerFile => f.write_str("a newer file"),
            Decider::Nobody => f.write_str("hold_timeout"),
        }
    }
}

/// The rows of a usual file: the median of the last accepted ones, the lower of two middles; none
/// while too few are known.
pub fn usual_rows(recent: &[u64]) -> Option<u64> {
    let mut sorted = recent.to_vec();
    sorted.sort_unstable();
    let middle = sorted.len().checked_sub(1)? / 2;
    (sorted.len() >= USUAL_FILES_MIN).then(|| sorted[middle])
}

/// Everything the guards say about a file of which `recent` were the rows of the accepted ones before
/// it; the first reason gives the code. A file of which nothing would be sent never waits.
pub fn reasons_to_hold(counts: Counts, guards: &Guards, recent: &[u64]) -> Vec<HoldReason> {
    let mut reasons = Vec::new();
    if counts.accepted == 0 {
        return reasons;
    }
    let mut wait = |code, message: String| reasons.push(HoldReason { code, message });
    if let Some(usual) = usual_rows(recent)
        && guards.spike_guard > 0
        && counts.total > guards.spike_guard_min_rows
        && counts.total > usual.saturating_mul(guards.spike_guard)
    {
        let (rows, factor) = (counts.total, guards.spike_guard);
        let message = format!("{rows} rows are more than {factor} times the usual {usual}");
        wait(ReasonCode::FileSpikeGuard, message);
    }
    if guards.first_file_held && recent.is_empty() {
        let message = "the first file of a profile waits for approval";
        wait(ReasonCode::FileApprovalNeeded, message.to_owned());
    }
    if let Some(most) = guards.approve_above.filter(|most| counts.accepted > *most) {
        let rows = counts.accepted;
        let message = format!("{rows} rows would be sent; more than {most} wait for approval");
        wait(ReasonCode::FileApprovalNeeded, message);
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accepted: u64, guards: Guards, recent: &[u64], expected: &[ReasonCode]) {
        let counts = Counts { total: accepted + 1, accepted, rejected: 1, duplicate: 0 };
        let found = reasons_to_hold(counts, &guards, recent);
        let codes: Vec<ReasonCode> = found.iter().map(|reason| reason.code).collect();
        assert_eq!(codes, expected, "{accepted} rows after {recent:?}, {guards:?}");
    }

    #[test]
    fn guards_name_every_reason_in_their_order() {
        use ReasonCode::{FileApprovalNeeded, FileSpikeGuard};
        let guards = Guards::default();
        let first = Guards { first_file_held: true, ..guards };
        let above = Guards { approve_above: Some(10), ..guards };
        check(5000, guards, &[], &[]);
        check(5, first, &[], &[FileApprovalNeeded]);
        check(5, first, &[1], &[]);
        check(0, first, &[], &[]);
        check(10, above, &[], &[]);
        check(11, above, &[], &[FileApprovalNeeded]);
        check(11, Guards { first_file_held: true, ..above }, &[], &[FileApprovalNeeded; 2]);
        // Two files say nothing of what is usual, three do.
        check(5000, guards, &[20, 20], &[]);
        check(5000, guards, &[20, 20, 20], &[FileSpikeGuard]);
        check(199, guards, &[20, 20, 20], &[]);
        check(200, guards, &[20, 20, 20], &[FileSpikeGuard]);
        check(99, guards, &[1, 1, 1], &[]);
        check(100, guards, &[1, 1, 1], &[FileSpikeGuard]);
        check(5000, Guards { spike_guard: 0, ..guards }, &[1, 1, 1], &[]);
        check(5000, above, &[20, 20, 20], &[FileSpikeGuard, FileApprovalNeeded]);
    }

    #[test]
    fn who_ended_a_hold_is_said_in_a_word_or_by_name() {
        for (decider, said) in [
            (Decider::Account("acme-drop".to_owned()), "account acme-drop"),
            (Decider::Operator, "operator"),
            (Decider::OperatorUser("ines".to_owned()), "operator:ines"),
            (Decider::MissingNumber, "the missing number"),
            (Decider::NewerFile, "a newer file"),
            (Decider::Nobody, "hold_timeout"),
        ] {
            assert_eq!(decider.to_string(), said);
        }
    }

    #[test]
    fn the_usual_is_the_median_of_the_last_files() {
        for (recent, usual) in [
            (&[][..], None),
            (&[7, 7], None),
            (&[9, 1, 5], Some(5)),
            (&[1, 1_000_000, 1, 1], Some(1)),
            (&[4, 3, 2, 1], Some(2)),
        ] {
            assert_eq!(usual_rows(recent), usual, "{recent:?}");
        }
    }
}

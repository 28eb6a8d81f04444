//! The verdict on a whole file, from its counts.

use crate::codes::ReasonCode;
use crate::model::FileState;

/// How the rows of a file came out. `total = accepted + rejected + duplicate`, always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub total: u64,
    pub accepted: u64,
    pub rejected: u64,
    pub duplicate: u64,
}

/// From when on bad rows refuse the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Share of bad rows that is still accepted, 0 to 1; 0 is all or nothing at any size.
    pub reject_threshold: f64,
    /// Files with fewer rows are not refused for their share of bad rows.
    pub reject_min_rows: u64,
}

/// What the ACK says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    pub state: FileState,
    pub code: Option<ReasonCode>,
}

/// Judges a file that could be read to its end. Duplicates are not bad rows.
pub fn judge(counts: Counts, thresholds: Thresholds) -> Verdict {
    assert_eq!(counts.total, counts.accepted + counts.rejected + counts.duplicate);
    if counts.rejected == 0 {
        return Verdict { state: FileState::Accepted, code: None };
    }
    let judged = counts.accepted + counts.rejected;
    let share = counts.rejected as f64 / judged as f64;
    let over = share > thresholds.reject_threshold;
    let counted = judged >= thresholds.reject_min_rows || thresholds.reject_threshold == 0.0;
    let only_bad = counts.accepted == 0;
    if only_bad || (over && counted) {
        let code = Some(ReasonCode::FileTooManyBadRows);
        return Verdict { state: FileState::Rejected, code };
    }
    Verdict { state: FileState::AcceptedWithErrors, code: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accepted: u64, rejected: u64, duplicate: u64, threshold: f64, expected: FileState) {
        let counts =
            Counts { total: accepted + rejected + duplicate, accepted, rejected, duplicate };
        let thresholds = Thresholds { reject_threshold: threshold, reject_min_rows: 100 };
        let found = judge(counts, thresholds).state;
        assert_eq!(found, expected, "{accepted}/{rejected}/{duplicate} at {threshold}");
    }

    #[test]
    fn bad_rows_refuse_a_file_only_over_the_threshold_or_alone() {
        check(0, 0, 0, 0.2, FileState::Accepted);
        check(0, 0, 5, 0.2, FileState::Accepted);
        check(3, 0, 5, 0.2, FileState::Accepted);
        check(1, 9, 0, 0.2, FileState::AcceptedWithErrors);
        check(80, 20, 0, 0.2, FileState::AcceptedWithErrors);
        check(79, 21, 0, 0.2, FileState::Rejected);
        check(9, 1, 0, 0.0, FileState::Rejected);
        check(0, 1, 9, 0.2, FileState::Rejected);
        check(1, 98, 500, 0.2, FileState::AcceptedWithErrors);
    }
}

//! The life of a batch, from the claim of its file to its last answer.

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchState {
    /// The file is ours; it is being read. After a crash reading starts anew.
    Claimed,
    /// The whole file was refused.
    Refused,
    /// The same file was accepted before.
    Duplicate,
    /// The file was judged and waits for somebody; nothing of it is sent.
    Held,
    /// The wait ended well; the file is being read once more. After a crash reading starts anew.
    Released,
    /// Accepted; rows wait or are being sent.
    Running,
    /// Nothing is left to attempt and every row is final.
    Closed,
}

impl BatchState {
    pub const ALL: [BatchState; 7] = [
        BatchState::Claimed,
        BatchState::Refused,
        BatchState::Duplicate,
        BatchState::Held,
        BatchState::Released,
        BatchState::Running,
        BatchState::Closed,
    ];

    /// True while the file is being read, or its rows are being sent.
    pub const fn is_open(self) -> bool {
        matches!(self, BatchState::Claimed | BatchState::Released | BatchState::Running)
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            BatchState::Claimed => "claimed",
            BatchState::Refused => "refused",
            BatchState::Duplicate => "duplicate",
            BatchState::Held => "held",
            BatchState::Released => "released",
            BatchState::Running => "running",
            BatchState::Closed => "closed",
        }
    }
}

/// What happened to a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchEvent {
    FileRefused,
    FileDuplicate,
    FileHeld,
    /// Somebody let the held file go on.
    HoldReleased,
    /// Somebody refused the held file, or nobody came.
    HoldRefused,
    FileAccepted,
    /// The last row became final.
    RowsSettled,
    /// A file that sends nothing was taken, and all it asks for is done.
    FileCarriedOut,
    /// The same of a marker, which has no rows.
    MarkerCarriedOut,
    /// Rows that had ended are sent again.
    Reopened,
}

/// One thing to be done in the tenant's folders, in this order. Each can be done twice without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Publication {
    /// Answers of an earlier file of the same name go to the archive.
    Supersede,
    Errors,
    Rejected,
    /// The original goes from the batch's folder to the archive.
    Archive,
    Ack,
    /// The messages of a file that is only tried out.
    Rendered,
    Result,
    Final,
    /// The summary, and the end of the progress file.
    Summary,
    /// Result, final and summary of a batch that was opened again go to the archive. The batch is not
    /// closed before that is done.
    Recall,
}

impl Publication {
    pub const ALL: [Publication; 10] = [
        Publication::Supersede,
        Publication::Errors,
        Publication::Rejected,
        Publication::Archive,
        Publication::Ack,
        Publication::Rendered,
        Publication::Result,
        Publication::Final,
        Publication::Summary,
        Publication::Recall,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Publication::Supersede => "supersede",
            Publication::Errors => "errors",
            Publication::Rejected => "rejected",
            Publication::Archive => "archive",
            Publication::Ack => "ack",
            Publication::Rendered => "rendered",
            Publication::Result => "result",
            Publication::Final => "final",
            Publication::Summary => "summary",
            Publication::Recall => "recall",
        }
    }
}

/// A move that the life of a batch does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("batch in state {} cannot take {event:?}", state.as_str())]
pub struct IllegalMove {
    pub state: BatchState,
    pub event: BatchEvent,
}

/// The next state and what must be published for it.
pub fn apply(
    state: BatchState,
    event: BatchEvent,
) -> Result<(BatchState, &'static [Publication]), IllegalMove> {
    use Publication::{Ack, Archive, Errors, Final, Recall, Rejected, Result, Summary, Supersede};
    match (state, event) {
        (BatchState::Claimed, BatchEvent::FileRefused) => {
            Ok((BatchState::Refused, &[Supersede, Errors, Rejected, Archive, Ack]))
        }
        // A duplicate replaces only the ACK; all other answers keep belonging to the earlier file.
        (BatchState::Claimed, BatchEvent::FileDuplicate) => {
            Ok((BatchState::Duplicate, &[Archive, Ack]))
        }
        (BatchState::Claimed, BatchEvent::FileAccepted) => {
            Ok((BatchState::Running, &[Supersede, Errors, Rejected, Archive, Ack]))
        }
        // The original stays with the batch: it is read again, or archived, when the wait ends.
        (BatchState::Claimed, BatchEvent::FileHeld) => {
            Ok((BatchState::Held, &[Supersede, Errors, Rejected, Ack]))
        }
        (BatchState::Held, BatchEvent::HoldReleased) => Ok((BatchState::Released, &[])),
        // From here on the answers of the hold are replaced; those of other files are not touched.
        (BatchState::Held, BatchEvent::HoldRefused)
        | (BatchState::Released, BatchEvent::FileRefused) => {
            Ok((BatchState::Refused, &[Errors, Rejected, Archive, Ack]))
        }
        (BatchState::Released, BatchEvent::FileDuplicate) => {
            Ok((BatchState::Duplicate, &[Errors, Rejected, Archive, Ack]))
        }
        (BatchState::Released, BatchEvent::FileAccepted) => {
            Ok((BatchState::Running, &[Errors, Rejected, Archive, Ack]))
        }
        (BatchState::Running, BatchEvent::RowsSettled) => {
            Ok((BatchState::Closed, &[Result, Final, Summary]))
        }
        (BatchState::Claimed, BatchEvent::FileCarriedOut) => Ok((
            BatchState::Closed,
            &[Supersede, Errors, Rejected, Archive, Ack, Result, Final, Summary],
        )),
        (BatchState::Claimed, BatchEvent::MarkerCarriedOut) => {
            Ok((BatchState::Closed, &[Supersede, Archive, Ack]))
        }
        (BatchState::Closed, BatchEvent::Reopened) => Ok((BatchState::Running, &[Recall])),
        _ => Err(IllegalMove { state, event }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_ends_once_and_the_ack_comes_last_of_its_three() {
        let events = [
            BatchEvent::FileRefused,
            BatchEvent::FileDuplicate,
            BatchEvent::FileHeld,
            BatchEvent::HoldReleased,
            BatchEvent::HoldRefused,
            BatchEvent::FileAccepted,
            BatchEvent::RowsSettled,
            BatchEvent::FileCarriedOut,
            BatchEvent::MarkerCarriedOut,
            BatchEvent::Reopened,
        ];
        let without_ack = [BatchEvent::HoldReleased, BatchEvent::RowsSettled, BatchEvent::Reopened];
        let mut legal = 0;
        for state in BatchState::ALL {
            for event in events {
                let Ok((next, publications)) = apply(state, event) else { continue };
                legal += 1;
                assert_ne!(next, state);
                assert!(publications.is_sorted(), "publications are done in the order of the list");
                if !without_ack.contains(&event) {
                    let last = publications.iter().rfind(|p| **p <= Publication::Ack);
                    assert_eq!(last, Some(&Publication::Ack));
                }
            }
        }
        assert_eq!(legal, 13);
    }

    #[test]
    fn states_and_publications_have_the_words_that_stores_and_answers_hold() {
        let states = BatchState::ALL.map(|state| (state.as_str(), state.is_open()));
        let expected = [
            ("claimed", true),
            ("refused", false),
            ("duplicate", false),
            ("held", false),
            ("released", true),
            ("running", true),
            ("closed", false),
        ];
        assert_eq!(states, expected);
        let publications = Publication::ALL.map(Publication::as_str).join(" ");
        let expected = "supersede errors rejected archive ack rendered result final summary recall";
        assert_eq!(publications, expected);
    }
}

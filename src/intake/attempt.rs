//! One try at a claimed file: read to its end, or given up after too many.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;

use super::IntakeError;
use super::claim::input_version;
use super::concluding::Desk;
use super::settings::TenantSettings;
use crate::batch::BatchEvent;
use crate::codes::ReasonCode;
use crate::model::{FileState, Lane};
use crate::store::{Acceptance, BatchRecord, Facts};
use crate::worker::blocking;

/// One file that was read to its end, or could not be.
pub(super) struct Done {
    pub(super) lane: Lane,
    pub(super) batch: BatchRecord,
    pub(super) result: Result<BatchRecord, IntakeError>,
    /// How much nearer a failure brought the file to being given up.
    pub(super) strikes: u32,
}

/// A file is answered `file.internal` after so many strikes: two panics, or a minute in which its
/// bytes could not be read.
pub(super) const STRIKES_MAX: u32 = 12;

/// Reads one claimed file, or answers one that was given up.
pub(super) async fn read(
    desk: Desk,
    tenant: Arc<TenantSettings>,
    record: BatchRecord,
    now: Timestamp,
    given_up: bool,
) -> Done {
    let (lane, batch) = (record.inbox_lane(), record.clone());
    let result = blocking(move || {
        if given_up {
            return desk.refuse_internal(record);
        }
        catch_unwind(AssertUnwindSafe(|| desk.read_unchanged(&tenant, record, now)))
            .unwrap_or(Err(IntakeError::Panicked))
    })
    .await;
    let strikes = match &result {
        Err(IntakeError::Panicked) => STRIKES_MAX / 2,
        Err(IntakeError::Input { .. }) => 1,
        _ => 0,
    };
    Done { lane, batch, result, strikes }
}

impl Desk {
    /// Concludes the file if nobody wrote into it meanwhile.
    pub(super) fn read_unchanged(
        &self,
        tenant: &TenantSettings,
        record: BatchRecord,
        now: Timestamp,
    ) -> Result<BatchRecord, IntakeError> {
        let folder = self.spool.batch(record.id);
        let before = input_version(&folder.input())?;
        let unchanged = || Ok(input_version(&folder.input())? == before);
        let record = self.conclude(tenant, record, now, &unchanged)?;
        if record.facts.state.is_some_and(|state| state != FileState::Rejected) {
            self.note_odd_size(tenant, &record, now)?;
        }
        Ok(record)
    }

    /// Answers a file that this program cannot read without falling over.
    fn refuse_internal(&self, mut record: BatchRecord) -> Result<BatchRecord, IntakeError> {
        let code = ReasonCode::FileInternal;
        record.facts = Facts {
            state: Some(FileState::Rejected),
            code: Some(code),
            message: code.meaning().to_owned(),
            ..Facts::default()
        };
        record.validated_at = Some(record.claimed_at);
        self.store.clear_chunks(record.id)?;
        Ok(self.store.conclude(record, BatchEvent::FileRefused, &Acceptance::default())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::{RelPath, Root};
    use crate::intake::testing;
    use crate::spool::Spool;
    use crate::store::{SimulatedDisk, Store};

    #[test]
    fn a_file_that_is_given_up_is_answered_and_the_fault_is_ours() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let desk = Desk { store, spool: Spool::open(data.path()).unwrap() };
        let inbox = data.path().join("tenant/inbox");
        std::fs::create_dir_all(&inbox).unwrap();
        std::fs::write(inbox.join("messages_a.csv"), "email,text\n").unwrap();
        let tree = Root::open(&data.path().join("tenant")).unwrap();
        let version = tree.stat(&RelPath::of("inbox/messages_a.csv")).unwrap().version;
        let record = BatchRecord { path: "inbox/messages_a.csv".to_owned(), ..testing::claimed() };
        let record = desk.claim(&tree, record, version, &[]).unwrap().unwrap();
        let done = desk.refuse_internal(record).unwrap();
        let facts = (done.facts.state, done.facts.code);
        assert_eq!(facts, (Some(FileState::Rejected), Some(ReasonCode::FileInternal)));
    }
}

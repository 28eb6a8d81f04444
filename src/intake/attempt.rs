//! One try at a claimed file: read to its end, or given up after too many.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jiff::Timestamp;

use super::IntakeError;
use super::claim::input_version;
use super::concluding::Desk;
use super::retries::Try;
use super::settings::TenantSettings;
use crate::batch::BatchEvent;
use crate::codes::ReasonCode;
use crate::model::{FileState, Lane};
use crate::store::{Acceptance, BatchRecord, Facts};
use crate::worker::blocking;
use crate::world::World;

/// One file that was read to its end, or could not be.
pub(super) struct Done {
    pub(super) lane: Lane,
    pub(super) batch: BatchRecord,
    pub(super) result: Result<BatchRecord, IntakeError>,
}

/// One file, about to be read.
pub(super) struct Reading {
    pub(super) desk: Desk,
    pub(super) tenant: Arc<TenantSettings>,
    pub(super) world: Arc<World>,
    pub(super) record: BatchRecord,
    pub(super) now: Timestamp,
}

impl Reading {
    /// Reads the claimed file, or answers one that is given up.
    pub(super) async fn run(self, how: Try) -> Done {
        let lane = self.record.inbox_lane();
        let (batch, result) = blocking(move || self.try_once(how)).await;
        Done { lane, batch, result }
    }

    /// The record as it is stored when the try begins, and what the try led to.
    fn try_once(mut self, how: Try) -> (BatchRecord, Result<BatchRecord, IntakeError>) {
        match how {
            Try::Plain => {}
            Try::Counted => {
                // Whatever becomes of the process, the next one knows of this try.
                match self.desk.store.set_tries(self.record.id, self.record.facts.tries + 1) {
                    Ok(record) => self.record = record,
                    Err(error) => return (self.record, Err(error.into())),
                }
            }
            Try::GivenUp => {
                let result = self.desk.refuse_internal(self.record.clone());
                return (self.record, result);
            }
        }
        let result = catch_unwind(AssertUnwindSafe(|| {
            let accident = || self.world.mishaps.may_happen(&self.record.path);
            self.desk.read_unchanged(&self.tenant, self.record.clone(), self.now, accident)
        }));
        (self.record, result.unwrap_or(Err(IntakeError::Panicked)))
    }
}

impl Desk {
    /// Concludes the file if nobody wrote into it meanwhile.
    pub(super) fn read_unchanged(
        &self,
        tenant: &TenantSettings,
        record: BatchRecord,
        now: Timestamp,
        accident: impl Fn(),
    ) -> Result<BatchRecord, IntakeError> {
        let folder = self.spool.batch(record.id);
        let before = input_version(&folder.input())?;
        let unchanged = || {
            accident();
            Ok(input_version(&folder.input())? == before)
        };
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

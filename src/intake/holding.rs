//! Files that wait for somebody's word: why, how long, and what ends the wait.

use std::time::Duration;

use jiff::Timestamp;

use super::IntakeError;
use super::concluding::Desk;
use super::facts::cut;
use super::identify::identify;
use super::numbering::{check_place, gap};
use super::reading::Pass;
use super::settings::{ProfileSettings, TenantSettings, Tenants};
use super::station::{Intake, UNANSWERED};
use super::writer::RowWriter;
use crate::batch::{BatchEvent, BatchState, Decider, HoldReason, SequenceRule, reasons_to_hold};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileState};
use crate::store::{Acceptance, BatchRecord, ChunkRecord, HoldRecord, Series, StoreError};
use crate::worker::blocking;

impl Intake {
    /// Takes up released files and ends waits that are over.
    pub(super) async fn take_up_holds(&mut self) -> Result<(), IntakeError> {
        if !std::mem::take(&mut self.look_at_holds) {
            return Ok(());
        }
        let (desk, tenants) = (self.desk.clone(), self.settings.tenants.clone());
        let now = self.world.clock.now();
        let seen = blocking(move || desk.look_at_holds(&tenants, now)).await?;
        self.holds_due = if seen.unanswered { now + UNANSWERED } else { Timestamp::MAX };
        for record in seen.refused {
            self.tell_of_hold(&record, "held file refused");
            self.nudges.outbox.notify_one();
        }
        for record in seen.released {
            let waits = self.waiting.iter().any(|(_, waiting)| waiting.id == record.id);
            if self.busy.contains(&record.inbox_lane()) {
                // It may be the one that is being read.
                self.released_waits = true;
            } else if !waits {
                self.tell_of_hold(&record, "held file goes on");
                self.waiting.push_back((now, record));
            }
        }
        Ok(())
    }

    fn tell_of_hold(&self, record: &BatchRecord, what: &str) {
        let by = record.hold.as_ref().map_or("", |hold| &hold.ended_by);
        tracing::info!(tenant = %record.tenant, batch = %record.id, file = record.name(), by, "{what}");
    }
}

impl Desk {
    /// Why a file that would be accepted waits, the first reason first; nothing once it was released.
    pub(super) fn reasons(
        &self,
        record: &BatchRecord,
        profile: &ProfileSettings,
        series: &Series,
    ) -> Vec<HoldReason> {
        if record.state == BatchState::Released {
            return Vec::new();
        }
        let waits_for = record.facts.seq.filter(|_| profile.sequence == SequenceRule::Hold);
        let early = waits_for.and_then(|number| {
            let missing = check_place(number, &series.numbers, profile.sequence).ok()??;
            let message = gap(missing, number);
            Some(HoldReason { code: ReasonCode::FileSequenceGap, message })
        });
        let counts = record.facts.counts();
        let guards = reasons_to_hold(counts, &profile.guards, &series.recent_rows);
        early.into_iter().chain(guards).collect()
    }

    /// Holds a judged file: its answers say how it was judged, none of its rows is due.
    pub(super) fn hold(
        &self,
        pass: Pass<'_>,
        mut record: BatchRecord,
        chunks: Vec<ChunkRecord>,
        reasons: &[HoldReason],
        content: Option<[u8; 32]>,
    ) -> Result<BatchRecord, IntakeError> {
        let sentences: Vec<&str> = reasons.iter().map(|reason| reason.message.as_str()).collect();
        self.name_closed(record.id, chunks)?;
        // What it remembers of row ids is found out again when it goes on.
        self.remove_row_ids(&record)?;
        let code = reasons.first().map_or(ReasonCode::FileApprovalNeeded, |reason| reason.code);
        record.facts.message = cut(&sentences.join("; "));
        wait(&mut record, code, pass.now, pass.tenant.hold_timeout);
        let numbered = pass.profile.is_numbered();
        let acceptance = Acceptance { content, numbered, ..Acceptance::default() };
        Ok(self.store.conclude(record, BatchEvent::FileHeld, &acceptance)?)
    }

    /// Holds a file without a look at its rows; when it is released it is taken as it is.
    pub(super) fn hold_unread(
        &self,
        tenant: &TenantSettings,
        mut record: BatchRecord,
        now: Timestamp,
        code: ReasonCode,
        message: &str,
    ) -> Result<BatchRecord, IntakeError> {
        let folder = self.spool.batch(record.id);
        self.store.clear_chunks(record.id)?;
        record.validated_at = Some(now);
        self.count_bytes(&mut record, &folder)?;
        if let Ok(identity) = identify(tenant, &record.path) {
            record.facts.kind = Some(identity.kind);
            record.facts.profile.clone_from(&identity.profile.name);
            record.facts.file_ref = cut(&identity.file_ref);
            record.facts.seq = identity.number;
        }
        RowWriter::create(&folder)?.finish(&folder)?;
        record.facts.message = cut(message);
        wait(&mut record, code, now, tenant.hold_timeout);
        Ok(self.store.conclude(record, BatchEvent::FileHeld, &Acceptance::default())?)
    }

    /// The answers are made from the chunks, so they are named; none of them is due.
    pub(super) fn name_closed(
        &self,
        batch: BatchId,
        chunks: Vec<ChunkRecord>,
    ) -> Result<(), IntakeError> {
        let closed: Vec<ChunkRecord> = chunks
            .into_iter()
            .map(|chunk| ChunkRecord { open: 0, deferred: 0, due: None, ..chunk })
            .collect();
        Ok(self.store.put_chunks(batch, &closed)?)
    }

    /// Ends the waits that are over by themselves. Gives the released files that can be read now.
    pub(super) fn look_at_holds(
        &self,
        tenants: &Tenants,
        now: Timestamp,
    ) -> Result<HoldsSeen, IntakeError> {
        let mut seen = HoldsSeen::default();
        for record in self.store.holds()? {
            let until = record.hold.as_ref().map(|hold| hold.until);
            let decided = match record.state {
                BatchState::Released => Ok(record),
                BatchState::Held if until.is_some_and(|until| until <= now) => {
                    let code = ReasonCode::FileApprovalNeeded;
                    self.store.refuse_held(record.id, &Decider::Nobody, code, now)
                }
                BatchState::Held if self.may_go_on(&record, tenants)? => {
                    self.store.release(record.id, &Decider::MissingNumber, now)
                }
                _ => continue,
            };
            match decided {
                Ok(record) if record.state != BatchState::Released => seen.refused.push(record),
                // Its answers so far are made from what reading begins anew.
                Ok(record) if !self.store.is_published(record.id)? => seen.unanswered = true,
                Ok(record) => seen.released.push(record),
                // Somebody else was quicker.
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(seen)
    }

    /// True where a file waited for an earlier number only, and that came.
    fn may_go_on(&self, record: &BatchRecord, tenants: &Tenants) -> Result<bool, IntakeError> {
        let code = record.hold.as_ref().map(|hold| hold.code);
        if code != Some(ReasonCode::FileSequenceGap) {
            return Ok(false);
        }
        let Some(tenant) = tenants.of(&record.tenant) else { return Ok(false) };
        let profile = match record.facts.profile.as_str() {
            "" => &tenant.plain,
            // A profile that left the configuration: the file waits until it is back.
            name => match tenant.profile(name) {
                Some(profile) => profile,
                None => return Ok(false),
            },
        };
        let series = self.store.series((&record.tenant, record.realm()), &profile.name)?;
        Ok(self.reasons(record, profile, &series).is_empty())
    }
}

/// What a look at the held files led to.
#[derive(Debug, Default)]
pub(super) struct HoldsSeen {
    /// To be read.
    pub(super) released: Vec<BatchRecord>,
    /// Nobody came in time.
    pub(super) refused: Vec<BatchRecord>,
    /// A released file waits until the answers of its hold are written.
    pub(super) unanswered: bool,
}

fn wait(record: &mut BatchRecord, code: ReasonCode, since: Timestamp, timeout: Duration) {
    record.facts.state = Some(FileState::Held);
    record.facts.code = Some(code);
    let until = since.saturating_add(timeout).unwrap_or(Timestamp::MAX);
    let (took_number, ended_by, ended_at) = (false, String::new(), None);
    record.hold = Some(HoldRecord { code, since, until, took_number, ended_by, ended_at });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing::tenant;
    use crate::model::{FileState, TenantId};
    use crate::spool::Spool;
    use crate::store::{ControlRecord, Facts, SimulatedDisk, Store};

    fn claimed(tenant: &TenantId, now: Timestamp) -> BatchRecord {
        BatchRecord {
            id: BatchId::from_u64(1),
            tenant: tenant.clone(),
            path: "inbox/messages_a_s5.csv".to_owned(),
            state: BatchState::Claimed,
            account: String::new(),
            proof: None,
            received_at: now,
            claimed_at: now,
            validated_at: None,
            closed_at: None,
            facts: Facts::default(),
            chunks: 0,
            hold: None,
            control: ControlRecord::default(),
        }
    }

    #[test]
    fn a_file_held_unread_is_taken_as_it_is_once_it_is_released() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::simulated(&SimulatedDisk::default()).unwrap();
        let desk = Desk { store: store.clone(), spool: Spool::open(data.path()).unwrap() };
        let (tenant, now) = (tenant("acme"), Timestamp::UNIX_EPOCH);
        let tenants = Tenants::new([tenant.clone()]);
        let record = store.open_batch(claimed(&tenant.id, now)).unwrap();
        let folder = desk.spool.batch(record.id);
        folder.create().unwrap();
        std::fs::write(folder.input(), "phone,text\n01701234567,Whole\n01701234568,Cu").unwrap();

        let code = ReasonCode::FileIncomplete;
        let held = desk.hold_unread(&tenant, record, now, code, "cut").unwrap();
        let facts = &held.facts;
        assert_eq!((held.state, facts.state), (BatchState::Held, Some(FileState::Held)));
        assert_eq!((facts.bytes, facts.rows_total, facts.seq), (43, 0, Some(5)));
        assert!(desk.look_at_holds(&tenants, now).unwrap().released.is_empty());

        store.release(held.id, &Decider::Operator, now).unwrap();
        let early = desk.look_at_holds(&tenants, now).unwrap().released;
        assert!(early.is_empty(), "its first answers are not published yet");
        for (batch, publication) in store.publications(9).unwrap() {
            let ordered = store.ordered(batch, publication).unwrap().unwrap();
            store.published(&ordered).unwrap();
        }
        let released = desk.look_at_holds(&tenants, now).unwrap().released.remove(0);
        let judged = desk.conclude(&tenant, released, now, &|| Ok(true)).unwrap();
        let facts = &judged.facts;
        assert_eq!(facts.state, Some(FileState::AcceptedWithErrors));
        assert_eq!((facts.code, facts.rows_accepted), (Some(ReasonCode::RowCut), 1));
        assert_eq!(store.holds().unwrap(), []);
    }
}

//! From what a partner names to operations on batches: targets found, rights held, each decided.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::IntakeError;
use super::concluding::Desk;
use super::row_memory::{profile_scope, tenant_scope};
use super::same_again::digest_of;
use super::settings::TenantSettings;
use crate::batch::{Decider, Effect, RowOutcome, Unfit};
use crate::codes::ReasonCode;
use crate::model::{BatchId, ControlOp, Realm, Target};
use crate::spool::{LogReader, OutcomeLog};
use crate::store::{BatchRecord, Commands, StoreError};

/// Batches of a campaign that one row may act on.
const CAMPAIGN_MAX: usize = 100;

/// Bytes of outcomes that one file may make us read to know single rows: about ten million rows.
const OUTCOMES_MAX_BYTES: u64 = 1024 * 1024 * 1024;
/// Batches whose outcomes are kept open at once.
const OUTCOMES_OPEN_MAX: usize = 32;

/// Why an operation is not possible; the sentences are the partner's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: ReasonCode,
    pub(super) message: String,
    pub(super) hint: String,
}

impl Refusal {
    pub(super) fn new(code: ReasonCode, message: impl Into<String>, hint: &str) -> Refusal {
        Refusal { code, message: message.into(), hint: hint.to_owned() }
    }
}

/// What one file asks for, so far as it was decided.
pub(super) struct Asking<'a> {
    desk: &'a Desk,
    tenant: &'a TenantSettings,
    /// The account that dropped the file; empty where it came another road.
    account: &'a str,
    /// The realm of the file that asks: batches of what is meant are none of a test's business.
    pub(super) realm: Realm,
    /// The inbox where it was dropped, in which names are looked for.
    inbox: Realm,
    now: Timestamp,
    pub(super) commands: Commands,
    /// Held files that are let go on, or refused.
    held: Vec<(BatchRecord, Effect)>,
    /// The outcomes of batches of which single rows are meant.
    outcomes: HashMap<BatchId, (OutcomeLog, LogReader)>,
    /// Bytes that were read for them.
    outcome_bytes: u64,
}

/// A batch, or one row of it.
type Spot = (BatchRecord, Option<u64>);

impl<'a> Asking<'a> {
    pub(super) fn new(
        desk: &'a Desk,
        tenant: &'a TenantSettings,
        record: &'a BatchRecord,
        now: Timestamp,
    ) -> Asking<'a> {
        let account = record.account.as_str();
        let (realm, inbox) = (record.realm(), Realm::of_path(&record.path));
        let commands = Commands::new(decider(account).to_string(), now);
        let (held, outcomes, outcome_bytes) = (Vec::new(), HashMap::new(), 0);
        Asking { desk, tenant, account, realm, inbox, now, commands, held, outcomes, outcome_bytes }
    }

    /// Decides one operation; `folder` is looked in first where a file is named. Returns what it acts
    /// on, as a sentence names it.
    pub(super) fn ask(
        &mut self,
        op: ControlOp,
        target: &Target,
        folder: Option<&str>,
    ) -> Result<Result<String, Refusal>, IntakeError> {
        let spots = match self.find(target, folder)? {
            Ok(spots) => spots,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut refused = None;
        let mut done = Vec::new();
        for (record, row) in spots {
            match self.ask_one(op, &record, row)? {
                Ok(()) => done.push(record),
                Err(refusal) => refused = Some(refusal),
            }
        }
        // Of a campaign those batches are meant that can take it.
        Ok(match (done.as_slice(), refused) {
            ([], Some(refusal)) => Err(refusal),
            ([record], _) => Ok(named(record, None)),
            (batches, _) => Ok(format!("{} batches", batches.len())),
        })
    }

    fn ask_one(
        &mut self,
        op: ControlOp,
        record: &BatchRecord,
        row: Option<u64>,
    ) -> Result<Result<(), Refusal>, IntakeError> {
        if op == ControlOp::Approve
            && let Some(refusal) = self.may_not_approve(record)
        {
            return Ok(Err(refusal));
        }
        if let Some(row) = row
            && let Some(refusal) = self.row_is_over(op, record, row)?
        {
            return Ok(Err(refusal));
        }
        match self.desk.store.command(&mut self.commands, op, record.id, row)? {
            Err(Unfit(why)) => {
                let code = ReasonCode::RowTargetState;
                let message = format!("{} {why}", named(record, row));
                Ok(Err(Refusal::new(code, message, code.advice())))
            }
            Ok(effect @ (Effect::Release | Effect::RefuseHeld)) => {
                self.held.push((record.clone(), effect));
                Ok(Ok(()))
            }
            Ok(_) => Ok(Ok(())),
        }
    }

    fn may_not_approve(&self, record: &BatchRecord) -> Option<Refusal> {
        let code = ReasonCode::RowValueNotAllowed;
        if !self.tenant.may(self.account).approve {
            let message = "this account may not approve: it lacks the right \"approve\"";
            return Some(Refusal::new(code, message, "let an account that has it approve"));
        }
        if !self.tenant.four_eyes {
            return None;
        }
        let hint = "let another account approve: this tenant asks for four eyes";
        // Whose eyes they are must be known; the operator has the command line.
        if self.account.is_empty() {
            let message = "no account dropped this, so that nobody is known to approve";
            return Some(Refusal::new(code, message, hint));
        }
        (record.account == self.account).then(|| {
            let message = format!("{} was dropped by the same account", named(record, None));
            Refusal::new(code, message, hint)
        })
    }

    fn find(
        &self,
        target: &Target,
        folder: Option<&str>,
    ) -> Result<Result<Vec<Spot>, Refusal>, IntakeError> {
        let (store, tenant) = (&self.desk.store, &self.tenant.id);
        let found: Vec<(BatchId, Option<u64>)> = match target {
            Target::Batch(batch) => vec![(*batch, None)],
            Target::File(path) => {
                let (given, name) = match path.rsplit_once('/') {
                    Some((given, name)) => (Some(given), name),
                    None => (None, path.as_str()),
                };
                let own = match given.or(folder) {
                    Some(folder) => store.newest_named((tenant, self.inbox), Some(folder), name)?,
                    None => None,
                };
                let any = match (own, given) {
                    (None, None) => store.newest_named((tenant, self.inbox), None, name)?,
                    _ => own,
                };
                any.into_iter().map(|batch| (batch, None)).collect()
            }
            Target::Campaign(campaign) => {
                let batches = store.campaign((tenant, self.realm), campaign, CAMPAIGN_MAX + 1)?;
                if batches.len() > CAMPAIGN_MAX {
                    let message = format!("more than {CAMPAIGN_MAX} files have this campaign");
                    let hint = "name the files or batches one by one";
                    return Ok(Err(Refusal::new(ReasonCode::RowTargetState, message, hint)));
                }
                batches.into_iter().map(|batch| (batch, None)).collect()
            }
            Target::Row(row_id) => {
                let found = self.find_row(row_id)?;
                found.into_iter().map(|(batch, row)| (batch, Some(row))).collect()
            }
        };
        let mut spots = Vec::new();
        for (batch, row) in found {
            let is_ours = |record: &BatchRecord| {
                record.tenant == *tenant && (!self.realm.is_test() || record.realm().is_test())
            };
            let record = store.batch(batch)?.filter(is_ours);
            spots.extend(record.map(|record| (record, row)));
        }
        if spots.is_empty() {
            return Ok(Err(unknown(target)));
        }
        Ok(Ok(spots))
    }

    /// The row of a `row_id`, in every scope that names rows beyond their file.
    fn find_row(&self, row_id: &str) -> Result<Option<(BatchId, u64)>, IntakeError> {
        let since = self.now - self.tenant.row_id_window;
        let profiles = self.tenant.profiles.iter().map(|p| p.name.as_str()).chain([""]);
        let profiles: HashSet<String> =
            profiles.map(|name| profile_scope(self.realm, name)).collect();
        let digest = digest_of([row_id]);
        for scope in [tenant_scope(self.realm)].into_iter().chain(profiles) {
            let (memory, oldest) = self.desk.row_memory(&self.tenant.id, &scope, since)?;
            if let Some(found) = memory.find(&[(digest, 0)], oldest)?.pop().flatten() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Why the row itself cannot take it, where its batch could.
    fn row_is_over(
        &mut self,
        op: ControlOp,
        record: &BatchRecord,
        row: u64,
    ) -> Result<Option<Refusal>, IntakeError> {
        if !matches!(op, ControlOp::Cancel | ControlOp::Resend) {
            return Ok(None);
        }
        let outcome = match self.outcome(record, row)? {
            Ok(outcome) => outcome,
            Err(refusal) => return Ok(Some(refusal)),
        };
        let settled = outcome.filter(RowOutcome::is_settled);
        let why = match (op, settled) {
            (ControlOp::Cancel, Some(outcome)) => format!("is {} already", outcome.status),
            (ControlOp::Resend, Some(outcome)) if !outcome.is_resendable() => {
                format!("is {}: only what failed, expired or is unknown is resent", outcome.status)
            }
            _ => return Ok(None),
        };
        let code = ReasonCode::RowTargetState;
        let message = format!("{} {why}", named(record, Some(row)));
        Ok(Some(Refusal::new(code, message, code.advice())))
    }

    fn outcome(
        &mut self,
        record: &BatchRecord,
        row: u64,
    ) -> Result<Result<Option<RowOutcome>, Refusal>, IntakeError> {
        let path = self.desk.spool.batch(record.id).outcomes();
        let found = self.desk.store.chunk_of_row(record.id, record.chunks, row)?;
        let Some(chunk) = found else { return Ok(Ok(None)) };
        if !self.outcomes.contains_key(&record.id) {
            if self.outcome_bytes >= OUTCOMES_MAX_BYTES {
                let message = "this file names single rows of too many large files";
                let hint = "name the rows that are left in another control file";
                return Ok(Err(Refusal::new(ReasonCode::RowTargetState, message, hint)));
            }
            let synced = self.desk.store.outcomes_bytes(record.id)?;
            let log = OutcomeLog::scan(&path, &HashSet::new(), synced)?;
            let Some(reader) = LogReader::open_if_there(&path)? else { return Ok(Ok(None)) };
            self.outcome_bytes += log.good_end();
            if self.outcomes.len() >= OUTCOMES_OPEN_MAX {
                self.outcomes.clear();
            }
            self.outcomes.insert(record.id, (log, reader));
        }
        let (log, reader) = &self.outcomes[&record.id];
        let index = (row - chunk.first_row) as u32;
        Ok(Ok(log.latest(reader, chunk.number)?.remove(&index)))
    }

    /// Ends the holds that were decided on. Each is a commit of its own: done again after a crash, it
    /// is so already.
    pub(super) fn end_holds(&self) -> Result<(), IntakeError> {
        let (store, by) = (&self.desk.store, decider(self.account));
        for (record, effect) in &self.held {
            let waits_for = record.hold.as_ref().map(|hold| hold.code);
            let ended = match effect {
                Effect::Release => store.release(record.id, &by, self.now),
                _ => {
                    let code = waits_for.filter(|code| *code == ReasonCode::FileIncomplete);
                    let code = code.unwrap_or(ReasonCode::FileApprovalNeeded);
                    store.refuse_held(record.id, &by, code, self.now)
                }
            };
            match ended {
                // Somebody else was quicker; whoever came first holds.
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Who decides by dropping a file; one that came another road is the operator's.
fn decider(account: &str) -> Decider {
    match account {
        "" => Decider::Operator,
        account => Decider::Account(account.to_owned()),
    }
}

fn named(record: &BatchRecord, row: Option<u64>) -> String {
    let row = row.map_or(String::new(), |row| format!("row {row} of "));
    format!("{row}{} (batch {})", record.name(), record.id)
}

fn unknown(target: &Target) -> Refusal {
    let (message, hint) = match target {
        Target::File(name) => (
            format!("no file {name:?} was taken yet"),
            "check the name; a file can be acted on once it has its ACK",
        ),
        Target::Batch(batch) => (format!("there is no batch {batch}"), "take it from the ACK"),
        Target::Campaign(campaign) => {
            (format!("no file says #campaign={campaign}"), "check the campaign, or name the files")
        }
        Target::Row(row_id) => (
            format!("no row with the row_id {row_id:?} was accepted"),
            "check the row_id; where it is unique within a file only, name the file",
        ),
    };
    Refusal::new(ReasonCode::RowTargetUnknown, message, hint)
}

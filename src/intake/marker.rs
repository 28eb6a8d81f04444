//! Marker files: an empty `<name>.pause` in the inbox acts on the newest file `<name>`.

use std::collections::HashMap;

use jiff::Timestamp;

use super::IntakeError;
use super::commanding::{Asking, Refusal};
use super::concluding::Desk;
use super::identify::identify;
use super::pairs::{Group, InboxFile};
use super::ready::Readiness;
use super::settings::TenantSettings;
use crate::batch::BatchEvent;
use crate::codes::ReasonCode;
use crate::model::{ControlOp, FileState, Kind, Realm, Target};
use crate::records::FileProblem;
use crate::store::{Acceptance, BatchRecord, StoreError};

/// What a marker's name says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marker<'a> {
    pub(super) op: ControlOp,
    /// The file it acts on.
    pub(super) name: &'a str,
    /// The folder below the inbox in which the marker stands.
    pub(super) folder: &'a str,
}

/// Operations that a marker may ask for.
const OPS: [ControlOp; 4] =
    [ControlOp::Cancel, ControlOp::Pause, ControlOp::Resume, ControlOp::Approve];

impl<'a> Marker<'a> {
    /// Reads a path below the tenant's root, such as `inbox/a.csv.pause`; the ending in any case.
    pub(super) fn of(path: &'a str) -> Option<Marker<'a>> {
        let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
        let (name, ending) = file.rsplit_once('.').filter(|(name, _)| !name.is_empty())?;
        let op = OPS.into_iter().find(|op| ending.eq_ignore_ascii_case(op.as_str()))?;
        let folder = Realm::within(folder).split_once('/').map_or("", |(_, below)| below);
        Some(Marker { op, name, folder })
    }
}

/// True for an empty file with a marker's name.
pub(super) fn is_marker(file: &InboxFile) -> bool {
    file.version.bytes == 0 && Marker::of(&file.path).is_some()
}

/// True for markers and control files: of files that are ready together they come last.
pub(super) fn acts_on_others(tenant: &TenantSettings, path: &str) -> bool {
    let is_control = || identify(tenant, path).is_ok_and(|file| file.kind == Kind::Control);
    Marker::of(path).is_some() || is_control()
}

/// A marker acts on the newest file of its name: while that one is still in the marker's folder and
/// will be taken, the marker waits.
pub(super) fn let_markers_wait(files: &mut [(Group, Readiness)]) {
    let ready_at = |(group, ready): &(Group, Readiness)| (group.file.path.clone(), ready.ready_at);
    let ready: HashMap<String, Timestamp> = files.iter().map(ready_at).collect();
    for (group, readiness) in files {
        let file = group.file.path.rsplit_once('.').map_or("", |(file, _)| file);
        if is_marker(&group.file)
            && let Some(at) = ready.get(file)
        {
            readiness.ready_at = readiness.ready_at.max(*at);
        }
    }
}

impl Desk {
    /// Does what a marker asks for and answers it.
    pub(super) fn conclude_marker(
        &self,
        tenant: &TenantSettings,
        mut record: BatchRecord,
        marker: Marker<'_>,
    ) -> Result<BatchRecord, IntakeError> {
        let folder = self.spool.batch(record.id);
        record.facts.kind = Some(Kind::Control);
        self.count_bytes(&mut record, &folder)?;
        let asked = match may_not(tenant, &record, marker) {
            Some(refusal) => Err(refusal),
            None => self.carry_out_marker(tenant, &record, marker)?,
        };
        match asked {
            Ok(record) => Ok(record),
            Err(Refusal { code, message, hint }) => {
                let problem = FileProblem { hint, ..FileProblem::new(code, message) };
                self.refuse(record, &[problem], &folder, false)
            }
        }
    }

    fn carry_out_marker(
        &self,
        tenant: &TenantSettings,
        record: &BatchRecord,
        marker: Marker<'_>,
    ) -> Result<Result<BatchRecord, Refusal>, IntakeError> {
        let now = record.validated_at.unwrap_or(record.claimed_at);
        let target = Target::File(marker.name.to_owned());
        loop {
            let mut asking = Asking::new(self, tenant, record, now);
            let what = match asking.ask(marker.op, &target, Some(marker.folder))? {
                Ok(what) => what,
                Err(refusal) => return Ok(Err(refusal)),
            };
            asking.end_holds()?;
            let mut record = record.clone();
            record.facts.state = Some(FileState::Accepted);
            record.facts.message = super::facts::cut(&format!("{}: {what}", marker.op));
            record.closed_at = Some(now);
            let acceptance =
                Acceptance { commands: Some(asking.commands), ..Acceptance::default() };
            match self.store.conclude(record, BatchEvent::MarkerCarriedOut, &acceptance) {
                // The batch changed meanwhile, and cannot go on doing so: it is decided anew.
                Err(StoreError::Conflict) => {}
                result => {
                    let record = result?;
                    tracing::info!(tenant = %record.tenant, batch = %record.id,
                        account = record.account, op = marker.op.as_str(), target = what,
                        "marker carried out");
                    return Ok(Ok(record));
                }
            }
        }
    }
}

/// Why the marker is refused whatever it acts on.
fn may_not(tenant: &TenantSettings, record: &BatchRecord, marker: Marker<'_>) -> Option<Refusal> {
    if tenant.suspended {
        let code = ReasonCode::FileTenantSuspended;
        return Some(Refusal::new(code, code.meaning(), code.advice()));
    }
    if record.facts.bytes > 0 {
        let message = format!(
            "a file whose name ends in .{} is a marker and must be empty; nothing was done",
            marker.op
        );
        let hint = "send an empty file of this name, or give the data another name";
        return Some(Refusal::new(ReasonCode::FileKindConflict, message, hint));
    }
    let may = tenant.may(&record.account);
    let (has, right) = match marker.op {
        ControlOp::Approve => (may.approve, "approve"),
        _ => (may.control, "control"),
    };
    if has {
        return None;
    }
    let message = format!("this account may not do this: it lacks the right {right:?}");
    let code = ReasonCode::FileKindNotAllowed;
    Some(Refusal::new(code, message, "let an account that has it drop the marker"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{FileVersion, Proof};

    #[test]
    fn a_marker_waits_for_a_file_that_will_be_taken() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let file = |path: &str, bytes, ready_at| {
            let version = FileVersion { device: 1, inode: 1, bytes, modified_ns: 1 };
            let ready = Readiness {
                proof: Some(Proof::Close),
                received_at: at(0),
                ready_at: at(ready_at),
                account: String::new(),
                given_up: None,
            };
            let path = path.to_owned();
            let file = InboxFile { path, version, evidence: None, trailer: false };
            (Group { file, sidecars: Vec::new() }, ready)
        };
        let mut files = [
            file("inbox/a.csv", 9, 60),
            file("inbox/a.csv.pause", 0, 2),
            file("inbox/b.csv.pause", 0, 2),
            file("inbox/a.csv.cancel", 1, 2),
        ];
        let_markers_wait(&mut files);
        let ready: Vec<i64> = files.iter().map(|f| f.1.ready_at.as_second()).collect();
        assert_eq!(ready, [60, 60, 2, 2]);
    }

    #[test]
    fn an_ending_names_the_operation() {
        let read = |path| Marker::of(path).map(|m| (m.op, m.name, m.folder));
        assert_eq!(read("inbox/a.csv.pause"), Some((ControlOp::Pause, "a.csv", "")));
        assert_eq!(
            read("inbox/messages/a.csv.CANCEL"),
            Some((ControlOp::Cancel, "a.csv", "messages"))
        );
        assert_eq!(read("inbox/INV.approve"), Some((ControlOp::Approve, "INV", "")));
        assert_eq!(
            read("test/inbox/messages/a.csv.pause"),
            Some((ControlOp::Pause, "a.csv", "messages"))
        );
        assert_eq!(read("test/inbox/a.csv.resume"), Some((ControlOp::Resume, "a.csv", "")));
        for path in ["inbox/a.csv", "inbox/.cancel", "inbox/cancel", "inbox/a.csv.resend"] {
            assert_eq!(read(path), None, "{path}");
        }
    }
}

//! Who may do what where: the rights of an account, down to single names.

use super::area::Area;
use super::{HomeError, RelPath, is_temporary_name};
use crate::model::Kind;

/// Who is looking: goes into evidence and decides what may be done. Any set of rights will do, also
/// none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    pub account: String,
    /// `sftp`, `ftps` or `ftp`.
    pub protocol: &'static str,
    /// May put files into `/inbox`, `/test/inbox` and `/media`, and change them there.
    pub may_drop: bool,
    /// May list, read and delete answers, and read the archive.
    pub may_collect: bool,
    /// May put control files and the markers `.cancel`, `.pause`, `.resume` into `/inbox`.
    pub may_control: bool,
    /// May put the marker `.approve` into `/inbox`.
    pub may_approve: bool,
}

const LACKS_DROP: HomeError =
    HomeError::Refused("this account may not drop files: it lacks the right \"drop\"");
const LACKS_COLLECT: HomeError =
    HomeError::Refused("this account may not collect answers: it lacks the right \"collect\"");
const LACKS_CONTROL: HomeError = HomeError::Refused(
    "this account may not cancel, pause or resume files: it lacks the right \"control\"",
);
const LACKS_APPROVE: HomeError =
    HomeError::Refused("this account may not approve files: it lacks the right \"approve\"");
const LACKS_LOOK: HomeError = HomeError::Refused(
    "this account may not look here: it lacks the rights \"drop\" and \"collect\"",
);

/// What a name in an inbox asks of whoever puts it there or takes it away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Drop,
    Control,
    Approve,
    /// A name that is never taken: it gets its meaning when it is renamed.
    AnyOfThem,
}

impl Visitor {
    /// May this be listed, examined and read?
    pub(super) fn check_look(&self, area: Area) -> Result<(), HomeError> {
        match area {
            Area::Inbox(_) if !self.may_put_something() => Err(LACKS_DROP),
            Area::Outbox(_) | Area::Archive if !self.may_collect => Err(LACKS_COLLECT),
            Area::Media if !self.may_drop && !self.may_collect => Err(LACKS_LOOK),
            _ => Ok(()),
        }
    }

    /// May this be put there, renamed or removed?
    pub(super) fn check_change(&self, area: Area, path: &RelPath) -> Result<(), HomeError> {
        match area {
            Area::Inbox(_) => match need(path) {
                Need::Drop if !self.may_drop => Err(LACKS_DROP),
                Need::Control if !self.may_control => Err(LACKS_CONTROL),
                Need::Approve if !self.may_approve => Err(LACKS_APPROVE),
                Need::AnyOfThem if !self.may_put_something() => Err(LACKS_DROP),
                _ => Ok(()),
            },
            Area::Media if !self.may_drop => Err(LACKS_DROP),
            Area::Media => Ok(()),
            Area::Outbox(_) if !self.may_collect => Err(LACKS_COLLECT),
            Area::Outbox(_) => Ok(()),
            Area::Top | Area::Archive | Area::Spec | Area::Test => {
                Err(HomeError::Refused("this folder is read-only"))
            }
        }
    }

    fn may_put_something(&self) -> bool {
        self.may_drop || self.may_control || self.may_approve
    }
}

/// Where folder or name say "control", or the name is a marker, that is the right to have.
fn need(path: &RelPath) -> Need {
    let name = path.name().unwrap_or_default().to_ascii_lowercase();
    let control = Kind::Control.as_str().as_bytes();
    let is = |ending: &[u8]| name.len() > ending.len() && name.ends_with(ending);
    let kind = name.split(|byte| matches!(byte, b'_' | b'.')).next().unwrap_or_default();
    if is_temporary_name(&name) {
        Need::AnyOfThem
    } else if is(b".approve") {
        Need::Approve
    } else if [b".cancel".as_slice(), b".pause", b".resume"].into_iter().any(is)
        || path.parent().name() == Some(control)
        || kind == control
    {
        Need::Control
    } else {
        Need::Drop
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_right_they_need() {
        for (path, expected) in [
            ("inbox/a.csv", Need::Drop),
            ("inbox/messages/a.csv", Need::Drop),
            ("inbox/control.csv", Need::Control),
            ("inbox/controls_1.csv", Need::Drop),
            ("inbox/cancel", Need::Drop),
            ("inbox/.cancel", Need::AnyOfThem),
            ("inbox/control/x.csv", Need::Control),
            ("inbox/control_x.csv", Need::Control),
            ("inbox/Control.desk_x.csv", Need::Control),
            ("inbox/a.csv.cancel", Need::Control),
            ("inbox/messages/a.csv.PAUSE", Need::Control),
            ("inbox/a.csv.resume", Need::Control),
            ("inbox/a.csv.approve", Need::Approve),
            ("test/inbox/a.csv.approve", Need::Approve),
            ("test/inbox/control/a.csv", Need::Control),
            ("inbox/a.csv.approve.part", Need::AnyOfThem),
        ] {
            assert_eq!(need(&RelPath::of(path)), expected, "{path}");
        }
    }
}

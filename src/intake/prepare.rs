//! What is said of a claimed file before its first record is read.

use std::fs::File;

use super::IntakeError;
use super::concluding::Desk;
use super::identify::{Unidentified, identify, nearest_profile};
use super::settings::{ProfileSettings, TenantSettings};
use super::unpack::{Laid, lay_out};
use crate::codes::ReasonCode;
use crate::model::{FileForm, Kind};
use crate::records::{FileProblem, Manifest, ReadSettings, own_directive};
use crate::spool::BatchFolder;
use crate::store::BatchRecord;

/// What is known of a file when its first record is read.
pub(super) struct Prepared<'a> {
    pub(super) profile: &'a ProfileSettings,
    pub(super) file_ref: String,
    pub(super) laid: Laid,
    /// The sequence number that the name gives.
    pub(super) number: Option<u64>,
}

/// Why no record is read.
pub(super) enum Unprepared {
    Refused(Box<FileProblem>),
    Failed(IntakeError),
}

impl From<Unidentified> for Unprepared {
    fn from(why: Unidentified) -> Unprepared {
        let problem = FileProblem::new(why.code, why.message);
        let hint = why.hint.unwrap_or(problem.hint);
        Unprepared::Refused(Box::new(FileProblem { hint, ..problem }))
    }
}

impl Desk {
    /// Everything that can be said before the first record is read.
    pub(super) fn prepare<'a>(
        &self,
        tenant: &'a TenantSettings,
        record: &mut BatchRecord,
        folder: &BatchFolder,
        manifest: Option<&Manifest>,
    ) -> Result<Prepared<'a>, Unprepared> {
        let refuse = |code: ReasonCode, message: String| {
            Unprepared::Refused(Box::new(FileProblem::new(code, message)))
        };
        if tenant.suspended {
            let code = ReasonCode::FileTenantSuspended;
            return Err(refuse(code, code.meaning().to_owned()));
        }
        let identity = identify(tenant, &record.path)?;
        record.facts.kind = Some(identity.kind);
        if !tenant.may_drop(&record.account, identity.kind) {
            let message = format!("this account may not drop {}", identity.kind);
            return Err(refuse(ReasonCode::FileKindNotAllowed, message));
        }
        if identity.kind == Kind::Control && !tenant.may(&record.account).control {
            let message = "this account may not drop control: it lacks the right \"control\"";
            return Err(refuse(ReasonCode::FileKindNotAllowed, message.to_owned()));
        }
        if !matches!(identity.kind, Kind::Messages | Kind::Control) {
            let message =
                format!("this version takes messages and control only, not {}", identity.kind);
            return Err(refuse(ReasonCode::FileKindNotAllowed, message));
        }
        let mut prepared = Prepared {
            profile: identity.profile,
            laid: lay_out(folder, &identity, identity.profile)?,
            file_ref: identity.file_ref.clone(),
            number: identity.number,
        };
        let Some(name) = asked(&prepared.laid, folder, identity.profile, manifest)? else {
            return Ok(prepared);
        };
        let profile = tenant.profile(&name).ok_or_else(|| {
            let message =
                format!("the directive asks for the profile \"{name}\", which does not exist");
            let problem = FileProblem::new(ReasonCode::HeaderDirectiveInvalid, message);
            let hint = nearest_profile(tenant, &name);
            let hint = hint.unwrap_or("ask the operator for the profile's name".to_owned());
            Unprepared::Refused(Box::new(FileProblem { hint, ..problem }))
        })?;
        if let Some(kind) = profile.kind.filter(|kind| *kind != identity.kind) {
            let message = format!("the name says {}, the profile says {kind}", identity.kind);
            return Err(refuse(ReasonCode::FileKindConflict, message));
        }
        // The profile says where a sheet's header stands.
        if prepared.laid.form == FileForm::Workbook && profile.name != identity.profile.name {
            prepared.laid = lay_out(folder, &identity, profile)?;
        }
        prepared.profile = profile;
        Ok(prepared)
    }
}

/// The profile that the file or its manifest asks for.
fn asked(
    laid: &Laid,
    folder: &BatchFolder,
    identified: &ProfileSettings,
    manifest: Option<&Manifest>,
) -> Result<Option<String>, Unprepared> {
    let unreadable = |source| Unprepared::Failed(IntakeError::Input { source });
    let mut settings = ReadSettings { form: laid.form, ..identified.read.clone() };
    if laid.form == FileForm::Objects {
        settings.skip_lines = 0;
    }
    if let Some(manifest) = manifest {
        manifest.announce(&mut settings);
    }
    let text = folder.text().map_err(|error| Unprepared::Failed(error.into()))?;
    let text = File::open(text).map_err(unreadable)?;
    let own = own_directive(text, &settings, "profile").map_err(unreadable)?;
    Ok(own.or_else(|| manifest?.directive("profile").map(str::to_owned)))
}

//! What the publisher must know of tenants.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::style::AnswerStyle;
use crate::model::{OutgoingMessage, TenantId};
use crate::records::ReadSettings;
use crate::spool::StoredRow;
use crate::store::BatchRecord;

/// Finds a tenant's settings as they are now; `None` where it is not configured (any more).
pub type TenantLookup = Arc<dyn Fn(&TenantId) -> Option<TenantAnswers> + Send + Sync>;

/// Is given the messages of a batch, each with its row, until it has enough.
pub type EachMessage<'a> = &'a mut dyn FnMut(&StoredRow<'_>, OutgoingMessage) -> ControlFlow<()>;

/// Tells what a batch would send. The room that sends knows it; answers only write it down.
pub type Rehearse = Arc<
    dyn Fn(&BatchRecord, EachMessage<'_>) -> Result<(), Box<dyn Error + Send + Sync>> + Send + Sync,
>;

/// Where answers go and how.
#[derive(Clone)]
pub struct Settings {
    /// Holds `tenants/<tenant>/`, on one file system with the batches.
    pub data_dir: PathBuf,
    pub tenant: TenantLookup,
    pub rehearse: Rehearse,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

/// One tenant's settings, as far as answers need them.
#[derive(Clone)]
pub struct TenantAnswers {
    /// Dates in the archive's paths are the tenant's.
    pub timezone: TimeZone,
    /// How files of a profile were read, by the profile's name, empty for none: the rejected file is
    /// cut out of the original with the same settings.
    pub read_settings: Arc<dyn Fn(&str) -> ReadSettings + Send + Sync>,
    /// How the answers about files of a profile are written, by its name; empty for no profile.
    pub styles: BTreeMap<String, AnswerStyle>,
}

impl TenantAnswers {
    /// How answers about a file of this profile are written; one that is gone is as none.
    pub(super) fn style(&self, profile: &str) -> AnswerStyle {
        self.styles.get(profile).or_else(|| self.styles.get("")).cloned().unwrap_or_default()
    }
}

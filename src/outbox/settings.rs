//! What the publisher must know of tenants.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::style::AnswerStyle;
use crate::model::TenantId;
use crate::records::ReadSettings;

/// Finds a tenant's settings as they are now; `None` where it is not configured (any more).
pub type TenantLookup = Arc<dyn Fn(&TenantId) -> Option<TenantAnswers> + Send + Sync>;

/// Where answers go and how.
#[derive(Clone)]
pub struct Settings {
    /// Holds `tenants/<tenant>/`, on one file system with the batches.
    pub data_dir: PathBuf,
    pub tenant: TenantLookup,
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

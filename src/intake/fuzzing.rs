//! A way into what names say, for the fuzz targets in `fuzz/`; not part of any build but theirs.

#![allow(unreachable_pub, reason = "what is public here is public to the fuzz targets")]
#![allow(clippy::unwrap_used, reason = "what is not there cannot be fuzzed")]

use super::identify::identify;
use super::marker::Marker;
use super::name_pattern::NamePattern;
use super::pairs::{InboxFile, Sidecar, pair_up};
use super::settings::{SentinelPattern, TenantSettings};
use super::testing;
use crate::model::{FileVersion, Kind};

/// A tenant with profiles of every sort.
pub struct Names(TenantSettings);

/// What a name says of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub kind: Kind,
    pub profile: String,
    pub file_ref: String,
    pub number: Option<u64>,
}

/// A file and its sidecars.
pub type Paired = (String, Vec<String>);

impl Names {
    #[allow(clippy::new_without_default, reason = "made once")]
    pub fn new() -> Names {
        let mut tenant = testing::tenant("acme");
        for (name, pattern, kind, sentinel) in [
            ("billing", "INV_{seq}*.csv", Some(Kind::Messages), None),
            ("export", "KD*.TXT", Some(Kind::Messages), Some(("READY_", ".TXT"))),
            ("contacts", "contacts-*", Some(Kind::Contacts), Some(("", ".go"))),
            ("free", "free_[ab]?_{seq}", None, None),
        ] {
            let mut profile = tenant.plain.clone();
            profile.name = name.to_owned();
            profile.kind = kind;
            profile.matcher = Some(NamePattern::new(pattern).unwrap());
            profile.sentinel = sentinel.map(|(before, after)| SentinelPattern {
                before: before.to_owned(),
                after: after.to_owned(),
            });
            tenant.profiles.push(profile);
        }
        Names(tenant)
    }

    /// What the path of a file says of it, or the code of why it does not.
    pub fn identify(&self, path: &str) -> Result<Said, &'static str> {
        let said = identify(&self.0, path).map_err(|unidentified| unidentified.code.as_str())?;
        Ok(Said {
            kind: said.kind,
            profile: said.profile.name.clone(),
            file_ref: said.file_ref,
            number: said.number,
        })
    }

    /// Sorts files of these names and sizes: those that stand for themselves with their sidecars, and
    /// sidecars without a file.
    pub fn pair_up(&self, files: &[(&str, u64)]) -> (Vec<Paired>, Vec<String>) {
        let files = files.iter().map(|(name, bytes)| InboxFile {
            path: format!("inbox/{name}"),
            version: FileVersion { device: 1, inode: 2, bytes: *bytes, modified_ns: 3 },
            evidence: None,
            trailer: false,
        });
        let found = pair_up(&self.0, files.collect());
        let name = |sidecar: &Sidecar| sidecar.file.name().to_owned();
        let groups = found
            .groups
            .iter()
            .map(|group| (group.file.name().to_owned(), group.sidecars.iter().map(name).collect()));
        (groups.collect(), found.orphans.iter().map(name).collect())
    }
}

/// Operation, name and folder of a marker.
pub fn marker(path: &str) -> Option<(&'static str, &str, &str)> {
    let marker = Marker::of(path)?;
    Some((marker.op.as_str(), marker.name, marker.folder))
}

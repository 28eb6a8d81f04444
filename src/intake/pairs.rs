//! Which files of an inbox belong together: a file, and the sidecars that vouch for it.

use std::collections::HashMap;

use super::marker::Marker;
use super::settings::{SentinelPattern, TenantSettings};
use crate::model::{FileVersion, UploadEvidence};

/// Empty files that say "the file of this name is whole".
const SENTINELS: [&str; 4] = [".done", ".ok", ".fin", ".rdy"];
const MANIFEST: &str = ".manifest.json";
const SHA256: &str = ".sha256";
const MD5: &str = ".md5";
/// More sidecars than this do not belong to one file.
const SIDECARS_MAX: usize = 8;

/// One file in an inbox, as a look found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InboxFile {
    /// Below the tenant's root: `inbox/messages/a.csv`.
    pub(super) path: String,
    pub(super) version: FileVersion,
    /// What a door recorded for this path, of whichever version.
    pub(super) evidence: Option<UploadEvidence>,
    /// Its last line is a trailer; only looked for where that matters.
    pub(super) trailer: bool,
}

/// What a sidecar says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SidecarKind {
    Manifest,
    Sha256,
    Md5,
    /// Only that the file is whole.
    Sentinel,
}

/// A file that speaks of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sidecar {
    pub(super) kind: SidecarKind,
    /// The path of the file it speaks of; of a sentinel perhaps without its extension.
    pub(super) base: String,
    pub(super) file: InboxFile,
}

/// A file with the sidecars that are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) file: InboxFile,
    pub(super) sidecars: Vec<Sidecar>,
}

/// An inbox, sorted out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Paired {
    pub(super) groups: Vec<Group>,
    /// Sidecars whose file is not there.
    pub(super) orphans: Vec<Sidecar>,
}

impl InboxFile {
    pub(super) fn name(&self) -> &str {
        name_of(&self.path)
    }
}

/// Sorts out which of the files are sidecars, and whose.
pub(super) fn pair_up(tenant: &TenantSettings, files: Vec<InboxFile>) -> Paired {
    let (mut groups, mut sidecars) = (Vec::new(), Vec::new());
    for file in files {
        match kind_of(tenant, file.name(), file.version.bytes) {
            Some((kind, base)) => {
                let base = sibling(&file.path, base);
                sidecars.push(Sidecar { kind, base, file });
            }
            None => groups.push(Group { file, sidecars: Vec::new() }),
        }
    }
    let mut orphans = Vec::new();
    let bases = Bases::of(if sidecars.is_empty() { &[] } else { &groups });
    let at: Vec<_> = sidecars.iter().map(|sidecar| bases.find(sidecar)).collect();
    for (sidecar, at) in sidecars.into_iter().zip(at) {
        match at.filter(|at| groups[*at].sidecars.len() < SIDECARS_MAX) {
            Some(at) => groups[at].sidecars.push(sidecar),
            None => orphans.push(sidecar),
        }
    }
    Paired { groups, orphans }
}

/// What a name says of another file, and of which; `None` for a file of its own.
pub(super) fn kind_of<'n>(
    tenant: &TenantSettings,
    name: &'n str,
    bytes: u64,
) -> Option<(SidecarKind, &'n str)> {
    let known = well_known(name).filter(|(kind, _)| *kind != SidecarKind::Sentinel || bytes == 0);
    let own = || {
        let profiles = || tenant.profiles.iter().chain([&tenant.plain]);
        // A pattern that is too wide must not swallow the files themselves.
        let is_file = || profiles().any(|p| p.matcher.as_ref().is_some_and(|m| m.is_match(name)));
        let base = profiles().find_map(|p| p.sentinel.as_ref()?.base_of(name));
        // What asks for something stands for itself, however wide the pattern is.
        base.filter(|_| !is_file() && Marker::of(name).is_none())
    };
    known.or_else(|| Some((SidecarKind::Sentinel, own()?)))
}

/// What the ending of a name says, and the name in front of it. A sentinel is one only where it is empty.
pub(super) fn well_known(name: &str) -> Option<(SidecarKind, &str)> {
    let sentinels = SENTINELS.map(|ending| (ending, SidecarKind::Sentinel));
    let others =
        [(MANIFEST, SidecarKind::Manifest), (SHA256, SidecarKind::Sha256), (MD5, SidecarKind::Md5)];
    let known = others.into_iter().chain(sentinels);
    known.into_iter().find_map(|(ending, kind)| Some((kind, without_ending(name, ending)?)))
}

impl SentinelPattern {
    /// What stands in the place of the `*`, in any case of the letters around it.
    pub(super) fn base_of<'n>(&self, name: &'n str) -> Option<&'n str> {
        let rest = without_ending(name, &self.after)?;
        let head = rest.get(..self.before.len())?;
        let base = &rest[head.len()..];
        (head.eq_ignore_ascii_case(&self.before) && !base.is_empty()).then_some(base)
    }
}

fn without_ending<'n>(name: &'n str, ending: &str) -> Option<&'n str> {
    let at = name.len().checked_sub(ending.len()).filter(|at| *at > 0)?;
    (name.get(at..)?.eq_ignore_ascii_case(ending)).then(|| &name[..at])
}

/// A file's path without its extension; of a packed file also without both of them.
fn stems(path: &str) -> Vec<&str> {
    let without = |path| match str::rsplit_once(path, '.') {
        Some((stem, _)) if !name_of(stem).is_empty() => Some(stem),
        _ => None,
    };
    let stem = without(path);
    let packed = [".gz", ".zip"].iter().any(|ending| without_ending(path, ending).is_some());
    let inner = stem.filter(|_| packed).and_then(without);
    stem.into_iter().chain(inner).collect()
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The path of another name in the same folder.
fn sibling(path: &str, name: &str) -> String {
    match path.rsplit_once('/') {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name.to_owned(),
    }
}

/// Files, by the names that sidecars may give them.
struct Bases(HashMap<(Reason, String), usize>);

/// Why a sidecar belongs to a file, the better reason first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Reason {
    Name,
    Stem,
    NameInAnyCase,
    StemInAnyCase,
}

impl Bases {
    fn of(groups: &[Group]) -> Bases {
        let mut bases = HashMap::new();
        for (at, group) in groups.iter().enumerate() {
            let path = &group.file.path;
            bases.entry((Reason::Name, path.clone())).or_insert(at);
            bases.entry((Reason::NameInAnyCase, path.to_lowercase())).or_insert(at);
            // The sidecar of a file that is not there yet does not belong to the file's marker.
            let is_marker = Marker::of(path).is_some();
            for stem in stems(path).into_iter().filter(|_| !is_marker) {
                bases.entry((Reason::Stem, stem.to_owned())).or_insert(at);
                bases.entry((Reason::StemInAnyCase, stem.to_lowercase())).or_insert(at);
            }
        }
        Bases(bases)
    }

    fn find(&self, sidecar: &Sidecar) -> Option<usize> {
        let (base, lower) = (sidecar.base.clone(), sidecar.base.to_lowercase());
        let stems = sidecar.kind == SidecarKind::Sentinel;
        [
            (true, (Reason::Name, base.clone())),
            (stems, (Reason::Stem, base)),
            (true, (Reason::NameInAnyCase, lower.clone())),
            (stems, (Reason::StemInAnyCase, lower)),
        ]
        .into_iter()
        .filter(|(applies, _)| *applies)
        .find_map(|(_, base)| self.0.get(&base).copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing;

    fn file(name: &str, bytes: u64) -> InboxFile {
        let version = FileVersion { device: 1, inode: 2, bytes, modified_ns: 3 };
        let path = format!("inbox/{name}");
        InboxFile { path, version, evidence: None, trailer: false }
    }

    /// Pairs these files and gives each file with its sidecars, and the orphans behind `-`.
    fn paired(names: &[&str]) -> Vec<String> {
        let mut tenant = testing::tenant("acme");
        let mut export = tenant.plain.clone();
        export.name = "export".to_owned();
        export.matcher = Some(crate::intake::NamePattern::new("KD*.TXT").unwrap());
        let pattern = SentinelPattern { before: "READY_".to_owned(), after: ".TXT".to_owned() };
        export.sentinel = Some(pattern);
        tenant.profiles.push(export);
        // `name+` is a file that holds something.
        let files = names.iter().map(|name| match name.strip_suffix('+') {
            Some(name) => file(name, 5),
            None => file(name, 0),
        });
        let found = pair_up(&tenant, files.collect());
        let names = |all: &[Sidecar]| -> Vec<String> {
            all.iter().map(|sidecar| sidecar.file.name().to_owned()).collect()
        };
        let mut all: Vec<String> = (found.groups.iter())
            .map(|group| format!("{}: {}", group.file.name(), names(&group.sidecars).join(" ")))
            .collect();
        all.extend(names(&found.orphans).iter().map(|name| format!("- {name}")));
        all
    }

    #[test]
    fn sidecars_find_their_files_and_nothing_else_is_one() {
        for (names, expected) in [
            (&["a.csv+"][..], &["a.csv: "][..]),
            (&["a.csv+", "a.csv.done"], &["a.csv: a.csv.done"]),
            (&["a.csv+", "a.csv.Fin", "a.csv.sha256+"], &["a.csv: a.csv.Fin a.csv.sha256"]),
            (&["a.csv.manifest.json+", "a.csv+"], &["a.csv: a.csv.manifest.json"]),
            (&["KUNDEN.OK", "KUNDEN.TXT+"], &["KUNDEN.TXT: KUNDEN.OK"]),
            (&["kunden.ok", "KUNDEN.TXT+"], &["KUNDEN.TXT: kunden.ok"]),
            (&["a.done", "a.csv.gz+"], &["a.csv.gz: a.done"]),
            (&["a.csv.done", "a.csv.gz+"], &["a.csv.gz: a.csv.done"]),
            // The better reason wins.
            (&["A.csv+", "a.csv+", "a.csv.ok"], &["A.csv: ", "a.csv: a.csv.ok"]),
            (&["a.csv+", "a+", "a.ok"], &["a.csv: ", "a: a.ok"]),
            // Digests and manifests speak of whole names only.
            (&["a.csv+", "a.sha256+"], &["a.csv: ", "- a.sha256"]),
            // A marker is empty; what holds something is a file.
            (&["a.csv+", "a.ok+"], &["a.csv: ", "a.ok: "]),
            (&[".done", "b.ok"], &[".done: ", "- b.ok"]),
            // Markers that ask for something are files of their own.
            (&["a.csv+", "a.csv.approve"], &["a.csv: ", "a.csv.approve: "]),
            (&["a.csv.pause", "a.csv.ok"], &["a.csv.pause: ", "- a.csv.ok"]),
            (&["a.csv.pause", "a.csv.pause.ok"], &["a.csv.pause: a.csv.pause.ok"]),
            // No more than eight belong to a file.
            (
                &[
                    "a.csv+",
                    "a.Md5+",
                    "A.md5",
                    "a.csv.md5+",
                    "a.csv.mD5+",
                    "a.csv.Md5+",
                    "a.csv.MD5+",
                    "a.csv.sha256+",
                    "a.csv.done",
                    "a.csv.ok",
                    "a.csv.fin",
                    "a.csv.rdy",
                ],
                &[
                    "a.csv: a.csv.md5 a.csv.mD5 a.csv.Md5 a.csv.MD5 a.csv.sha256 a.csv.done a.csv.ok \
                   a.csv.fin",
                    "- a.Md5",
                    "- A.md5",
                    "- a.csv.rdy",
                ],
            ),
            // The profile's own pattern; it never swallows the files themselves.
            (&["KD1.TXT+", "ready_KD1.txt+"], &["KD1.TXT: ready_KD1.txt"]),
            (&["KD1.TXT+", "READY_KD2.TXT"], &["KD1.TXT: ", "- READY_KD2.TXT"]),
        ] {
            assert_eq!(paired(names), expected, "{names:?}");
        }
    }
}

//! When is a file in an inbox whole? Evidence from the doors and the watcher, else quiet.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::pairs::{Group, InboxFile, Sidecar, SidecarKind};
use super::settings::{MinProof, ProfileSettings};
use crate::codes::ReasonCode;
use crate::model::{BatchId, FileVersion, Lane, Proof, Realm, TenantId};

/// A clock that was put back by less is waited for.
const PUT_BACK_MIN: Duration = Duration::from_secs(60);

/// What the watcher saw of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// A local writer closed the file.
    Closed,
    /// It got its name from a temporary one.
    Renamed,
}

/// What intake itself has seen of a file, since it looks at it.
#[derive(Debug, Clone, Copy)]
struct Sighting {
    version: FileVersion,
    /// Since when it is unchanged, as far as we looked.
    since: Timestamp,
    sign: Option<(Sign, Timestamp)>,
}

/// The sightings of all inboxes.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    seen: HashMap<(TenantId, String), Sighting>,
    /// Versions of archives that were looked through, and whether they are whole: into one that is not
    /// perhaps somebody still writes.
    archives: HashMap<(TenantId, String), (FileVersion, bool)>,
    /// Versions of sidecars that were held against a batch in vain.
    strangers: HashMap<(TenantId, String), (FileVersion, BatchId)>,
    /// What the last look at each inbox found at the ends of its files.
    pub(super) trailers: HashMap<Lane, Trailers>,
}

/// By path: whether this version of a file ends with a trailer.
pub(super) type Trailers = HashMap<String, (FileVersion, bool)>;

/// Why a file is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readiness {
    /// `None` for a file that is given up: no proof that is asked for came in time.
    pub(super) proof: Option<Proof>,
    pub(super) received_at: Timestamp,
    pub(super) ready_at: Timestamp,
    pub(super) account: String,
    /// Why it is given up.
    pub(super) given_up: Option<(ReasonCode, String)>,
}

/// What a file says by itself of being whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Own {
    proof: Proof,
    strength: MinProof,
    /// When it came, as far as is known.
    at: Timestamp,
    ready_at: Timestamp,
    account: String,
    /// An archive that was looked into and is not whole.
    broken: bool,
}

impl Sightings {
    /// Notes what the watcher saw. It speaks of the version that the next look finds, whatever an
    /// earlier look found.
    pub(super) fn sign(&mut self, tenant: &TenantId, path: &str, sign: Sign, now: Timestamp) {
        let unseen = FileVersion { device: 0, inode: 0, bytes: 0, modified_ns: 0 };
        let sighting = Sighting { version: unseen, since: now, sign: Some((sign, now)) };
        self.seen.insert((tenant.clone(), path.to_owned()), sighting);
    }

    /// Notes whether this version of an archive is whole. One that is not waits for another version, or for
    /// so long that nobody can be writing into it any more.
    pub(super) fn looked_through(&mut self, tenant: &TenantId, file: &InboxFile, is_whole: bool) {
        self.archives.insert((tenant.clone(), file.path.clone()), (file.version, is_whole));
    }

    /// Whether an archive is whole; `None` where nobody looked.
    pub(super) fn is_whole(&self, tenant: &TenantId, file: &InboxFile) -> Option<bool> {
        let known = self.archives.get(&(tenant.clone(), file.path.clone()))?;
        (known.0 == file.version).then_some(known.1)
    }

    /// The archives that were looked through, and whether they are whole.
    #[cfg(test)]
    pub(super) fn archives(&self) -> Vec<(String, bool)> {
        self.archives.iter().map(|((_, path), (_, is_whole))| (path.clone(), *is_whole)).collect()
    }

    /// Notes that this version of a sidecar does not belong to a batch.
    pub(super) fn not_of(&mut self, tenant: &TenantId, sidecar: &InboxFile, batch: BatchId) {
        let key = (tenant.clone(), sidecar.path.clone());
        self.strangers.insert(key, (sidecar.version, batch));
    }

    /// The batch to which a sidecar does not belong.
    pub(super) fn held_against(&self, tenant: &TenantId, sidecar: &InboxFile) -> Option<BatchId> {
        let known = self.strangers.get(&(tenant.clone(), sidecar.path.clone()))?;
        (known.0 == sidecar.version).then_some(known.1)
    }

    /// Forgets what is no longer in an inbox of a tenant.
    pub(super) fn keep_only(&mut self, (tenant, realm): &Lane, paths: &HashSet<String>) {
        let is_elsewhere =
            |of: &TenantId, path: &str| of != tenant || Realm::of_path(path) != *realm;
        self.seen.retain(|(of, path), _| is_elsewhere(of, path) || paths.contains(path));
        self.archives.retain(|(of, path), _| is_elsewhere(of, path) || paths.contains(path));
        self.strangers.retain(|(of, path), _| is_elsewhere(of, path) || paths.contains(path));
    }

    /// When and why a file is taken, with the sidecars that are there.
    pub(super) fn readiness(
        &mut self,
        tenant: &TenantId,
        group: &Group,
        profile: &ProfileSettings,
        now: Timestamp,
    ) -> Readiness {
        let own = self.own(tenant, &group.file, profile, now);
        let sidecars: Vec<Timestamp> = group
            .sidecars
            .iter()
            .map(|sidecar| self.sidecar_ready(tenant, sidecar, profile, now))
            .collect();
        // Sidecars are taken with their file, so all of them must be whole.
        let complete = sidecars.iter().max().copied();
        let chosen = proofs(group, &own, profile)
            .into_iter()
            .find(|(proof, strength, _)| fits(profile, *proof) && *strength >= profile.min_proof);
        let account = own.account.clone();
        match chosen {
            Some((proof, _, ready_at)) => Readiness {
                proof: Some(proof),
                received_at: own.at,
                ready_at: complete.map_or(ready_at, |complete| complete.max(ready_at)),
                account,
                given_up: None,
            },
            None => Readiness {
                proof: None,
                received_at: own.at,
                ready_at: later(own.at, profile.pair_timeout),
                account,
                given_up: Some(not_proved(profile)),
            },
        }
    }

    /// A sidecar whose file is not there: when it is whole, and when it is given up.
    pub(super) fn orphan(
        &mut self,
        tenant: &TenantId,
        sidecar: &Sidecar,
        profile: &ProfileSettings,
        now: Timestamp,
    ) -> (Timestamp, Readiness) {
        let own = self.own(tenant, &sidecar.file, profile, now);
        let whole_at = self.sidecar_ready(tenant, sidecar, profile, now);
        let base = sidecar.base.rsplit('/').next().unwrap_or_default();
        let message = format!(
            "the file {base}, to which this one belongs, did not come within {:#}",
            span(profile.pair_timeout)
        );
        let given_up = Readiness {
            proof: None,
            received_at: own.at,
            ready_at: later(own.at, profile.pair_timeout),
            account: own.account,
            given_up: Some((ReasonCode::FilePairMissing, message)),
        };
        (whole_at, given_up)
    }

    /// When a sidecar can be read and taken. An empty one cannot be half there.
    fn sidecar_ready(
        &mut self,
        tenant: &TenantId,
        sidecar: &Sidecar,
        profile: &ProfileSettings,
        now: Timestamp,
    ) -> Timestamp {
        let own = self.own(tenant, &sidecar.file, profile, now);
        if own.proof == Proof::Quiet && sidecar.file.version.bytes == 0 {
            return later(own.at, profile.grace);
        }
        own.ready_at
    }

    fn own(
        &mut self,
        tenant: &TenantId,
        file: &InboxFile,
        profile: &ProfileSettings,
        now: Timestamp,
    ) -> Own {
        let version = file.version;
        let broken = self.is_whole(tenant, file) == Some(false);
        let only_quiet = profile.only_proof == Some(Proof::Quiet);
        let evidence = file.evidence.as_ref().filter(|e| e.version == version && !only_quiet);
        if let Some(evidence) = evidence {
            let wait = match evidence.proof {
                Proof::Close => profile.grace.max(profile.settle),
                _ => profile.grace,
            };
            return Own {
                proof: evidence.proof,
                strength: if evidence.weak { MinProof::Weak } else { strength(evidence.proof) },
                at: evidence.at,
                ready_at: if was_put_back(evidence.at, now) {
                    now
                } else {
                    later(evidence.at, wait)
                },
                account: evidence.account.clone(),
                broken,
            };
        }
        let key = (tenant.clone(), file.path.clone());
        let sighting = self.seen.entry(key).or_insert(Sighting { version, since: now, sign: None });
        if was_put_back(sighting.since, now) {
            sighting.since = now;
            sighting.sign = sighting.sign.map(|(sign, _)| (sign, now));
        }
        if sighting.version != version {
            // A sign that came since the last look speaks of this version.
            let fresh = sighting.sign.filter(|_| sighting.version.inode == 0);
            *sighting = Sighting { version, since: now, sign: fresh };
        }
        let (proof, at, wait) = match sighting.sign.filter(|_| !only_quiet) {
            Some((Sign::Renamed, at)) => (Proof::Rename, at, profile.grace),
            Some((Sign::Closed, at)) => (Proof::Close, at, profile.grace.max(profile.settle)),
            // Whoever writes slowly is waited for as a sidecar would be.
            None if broken => (Proof::Quiet, sighting.since, profile.pair_timeout),
            None => (Proof::Quiet, sighting.since, profile.quiet),
        };
        let ready_at = later(at, wait);
        Own { proof, strength: strength(proof), at, ready_at, account: String::new(), broken }
    }
}

/// Everything that proves a file whole, the best first, each with when it does.
fn proofs(
    group: &Group,
    own: &Own,
    profile: &ProfileSettings,
) -> Vec<(Proof, MinProof, Timestamp)> {
    let mut proofs = Vec::new();
    // Of a file whose close nobody saw, what came later than its last byte tells that it was closed.
    let unseen = own.proof == Proof::Quiet;
    let modified = group.file.version.modified_ns;
    let came_later = |sidecar: &Sidecar| sidecar.file.version.modified_ns >= modified;
    let vouched = if unseen && group.sidecars.iter().any(came_later) {
        later(own.at, profile.grace)
    } else {
        own.ready_at
    };
    let has = |kind: SidecarKind| group.sidecars.iter().any(|sidecar| sidecar.kind == kind);
    if has(SidecarKind::Manifest) {
        proofs.push((Proof::Manifest, MinProof::Strong, vouched));
    }
    if has(SidecarKind::Sentinel) || has(SidecarKind::Sha256) || has(SidecarKind::Md5) {
        proofs.push((Proof::Sentinel, MinProof::Strong, vouched));
    }
    if own.proof == Proof::Rename {
        proofs.push((Proof::Rename, own.strength, own.ready_at));
    }
    if group.file.trailer {
        let at = if unseen { later(own.at, profile.grace) } else { own.ready_at };
        proofs.push((Proof::Trailer, MinProof::Strong, at));
    }
    // Whether it is whole is looked at when it would be taken.
    let asked = profile.only_proof == Some(Proof::Archive) || profile.min_proof > own.strength;
    if asked && !own.broken && is_archive(group.file.name()) {
        proofs.push((Proof::Archive, MinProof::Strong, own.ready_at));
    }
    proofs.push((own.proof, own.strength, own.ready_at));
    proofs
}

/// True for names of files that carry a checksum of their own.
fn is_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    [".gz", ".zip", ".xlsx"].iter().any(|ending| name.ends_with(ending))
}

fn fits(profile: &ProfileSettings, proof: Proof) -> bool {
    match profile.only_proof {
        // A file that was renamed was closed before.
        Some(Proof::Close) => matches!(proof, Proof::Close | Proof::Rename),
        only => only.is_none_or(|only| only == proof),
    }
}

fn strength(proof: Proof) -> MinProof {
    match proof {
        Proof::Quiet => MinProof::Weak,
        Proof::Close => MinProof::Medium,
        _ => MinProof::Strong,
    }
}

/// What is said of a file for which no proof came that is asked for.
fn not_proved(profile: &ProfileSettings) -> (ReasonCode, String) {
    let missing = match profile.only_proof {
        Some(Proof::Manifest) => "no manifest <name>.manifest.json came for this file",
        Some(Proof::Sentinel) => "no marker such as <name>.done came for this file",
        Some(Proof::Rename) => "the file did not get its name from another one such as <name>.tmp",
        Some(Proof::Trailer) => "no line #EOF came at the end of the file",
        Some(Proof::Archive) => "the file did not come as a whole .gz or .zip",
        _ => {
            "nothing proved well enough that the file is whole; send a marker <name>.done after it"
        }
    };
    let code = match profile.only_proof {
        Some(Proof::Manifest | Proof::Sentinel) => ReasonCode::FilePairMissing,
        _ => ReasonCode::FileIncomplete,
    };
    (code, format!("within {:#} {missing}", span(profile.pair_timeout)))
}

/// What was seen lies ahead: the clock was put back since. By the clock it would be waited for as long. A
/// little is waited out.
fn was_put_back(seen: Timestamp, now: Timestamp) -> bool {
    seen > later(now, PUT_BACK_MIN)
}

fn later(at: Timestamp, wait: Duration) -> Timestamp {
    at.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

fn span(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing;
    use crate::model::UploadEvidence;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
    }

    fn group(bytes: u64, evidence: Option<UploadEvidence>) -> Group {
        let path = "inbox/a.csv".to_owned();
        let file = InboxFile { path, version: version(bytes), evidence, trailer: false };
        Group { file, sidecars: Vec::new() }
    }

    fn version(bytes: u64) -> FileVersion {
        FileVersion { device: 1, inode: 2, bytes, modified_ns: 3 }
    }

    fn evidence(proof: Proof, bytes: u64) -> UploadEvidence {
        UploadEvidence {
            tenant: "acme".parse().unwrap(),
            path: "inbox/a.csv".to_owned(),
            account: "erp".to_owned(),
            protocol: "sftp",
            proof,
            weak: false,
            version: version(bytes),
            at: at(0),
        }
    }

    #[test]
    fn evidence_of_another_version_proves_nothing() {
        let tenant = testing::tenant("acme");
        let mut sightings = Sightings::default();
        let close = evidence(Proof::Close, 10);
        let file = group(10, Some(close.clone()));
        let ready = sightings.readiness(&tenant.id, &file, &tenant.plain, at(1));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Close), at(2)));
        let changed = group(11, Some(close));
        let ready = sightings.readiness(&tenant.id, &changed, &tenant.plain, at(1));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Quiet), at(61)));
    }

    #[test]
    fn what_came_before_the_clock_was_put_back_does_not_wait_until_it_is_there_again() {
        let (tenant, day) = (testing::tenant("acme"), 24 * 3600);
        let mut sightings = Sightings::default();
        let seen = group(10, Some(evidence(Proof::Close, 10)));
        let ready = sightings.readiness(&tenant.id, &seen, &tenant.plain, at(-day));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Close), at(-day)));
        let unseen = group(10, None);
        let ready = sightings.readiness(&tenant.id, &unseen, &tenant.plain, at(0));
        assert_eq!(ready.ready_at, at(60));
        let ready = sightings.readiness(&tenant.id, &unseen, &tenant.plain, at(-day));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Quiet), at(60 - day)));
    }

    #[test]
    fn an_archive_that_is_not_whole_waits_for_its_rest_before_it_is_answered() {
        let tenant = testing::tenant("acme");
        let mut sightings = Sightings::default();
        let file = |bytes| {
            let mut group = group(bytes, None);
            group.file.path = "inbox/a.csv.gz".to_owned();
            group
        };
        let ready = sightings.readiness(&tenant.id, &file(5), &tenant.plain, at(0));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Quiet), at(60)));
        sightings.looked_through(&tenant.id, &file(5).file, false);
        let ready = sightings.readiness(&tenant.id, &file(5), &tenant.plain, at(60));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Quiet), at(7200)));
        let ready = sightings.readiness(&tenant.id, &file(9), &tenant.plain, at(70));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Quiet), at(130)));

        // Where a strong proof is asked for, a half archive is none.
        let strong = ProfileSettings { min_proof: MinProof::Strong, ..tenant.plain.clone() };
        let mut group = file(9);
        group.file.evidence = Some(evidence(Proof::Close, 9));
        let ready = sightings.readiness(&tenant.id, &group, &strong, at(70));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Archive), at(2)));
        sightings.looked_through(&tenant.id, &group.file, false);
        let ready = sightings.readiness(&tenant.id, &group, &strong, at(70));
        assert_eq!((ready.proof, ready.ready_at), (None, at(7200)));
    }

    #[test]
    fn a_file_that_grows_is_never_quiet() {
        let tenant = testing::tenant("acme");
        let mut sightings = Sightings::default();
        for second in 0..100 {
            let file = group(second as u64, None);
            let ready = sightings.readiness(&tenant.id, &file, &tenant.plain, at(second));
            assert_eq!(ready.ready_at, at(second + 60));
        }
        let file = group(99, None);
        let ready = sightings.readiness(&tenant.id, &file, &tenant.plain, at(159));
        assert_eq!(ready.ready_at, at(159));
    }

    #[test]
    fn a_local_close_counts_until_the_file_changes_again() {
        let tenant = testing::tenant("acme");
        let mut sightings = Sightings::default();
        sightings.sign(&tenant.id, "inbox/a.csv", Sign::Closed, at(0));
        let ready = sightings.readiness(&tenant.id, &group(5, None), &tenant.plain, at(0));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Close), at(2)));
        let ready = sightings.readiness(&tenant.id, &group(6, None), &tenant.plain, at(1));
        assert_eq!(ready.proof, Some(Proof::Quiet));
    }

    #[test]
    fn a_close_counts_for_a_file_that_was_looked_at_while_it_grew() {
        let tenant = testing::tenant("acme");
        let mut sightings = Sightings::default();
        sightings.readiness(&tenant.id, &group(5, None), &tenant.plain, at(0));
        sightings.sign(&tenant.id, "inbox/a.csv", Sign::Closed, at(1));
        let ready = sightings.readiness(&tenant.id, &group(10, None), &tenant.plain, at(1));
        assert_eq!((ready.proof, ready.ready_at), (Some(Proof::Close), at(3)));
    }

    fn sidecar(kind: SidecarKind, modified_ns: i128, at: Option<i64>) -> Sidecar {
        let path = format!("inbox/a.csv.{kind:?}");
        let version = FileVersion { device: 1, inode: 9, bytes: 0, modified_ns };
        let evidence = at.map(|second| UploadEvidence {
            path: path.clone(),
            at: super::tests::at(second),
            version,
            ..evidence(Proof::Close, 0)
        });
        let file = InboxFile { path, version, evidence, trailer: false };
        Sidecar { kind, base: "inbox/a.csv".to_owned(), file }
    }

    /// What comes of a file under these rules, looked at in second 0: its proof and when it is ready.
    fn check(rules: (Option<Proof>, MinProof), file: &Group, expected: (Option<Proof>, i64)) {
        let tenant = testing::tenant("acme");
        let mut profile = tenant.plain.clone();
        (profile.only_proof, profile.min_proof) = rules;
        let mut sightings = Sightings::default();
        let ready = sightings.readiness(&tenant.id, file, &profile, at(0));
        assert_eq!(
            (ready.proof, ready.ready_at),
            (expected.0, at(expected.1)),
            "{rules:?} {file:?}"
        );
        assert_eq!(ready.given_up.is_some(), ready.proof.is_none());
    }

    #[test]
    fn each_rule_waits_for_its_proof_and_gives_up_in_time() {
        use Proof::{Archive, Close, Manifest, Quiet, Rename, Sentinel, Trailer};
        let (auto, only) = (|min| (None, min), |proof| (Some(proof), MinProof::Weak));
        let closed = |proof| group(10, Some(evidence(proof, 10)));
        let unseen = || group(10, None);
        let with = |mut file: Group, kind, modified: i128, seen| {
            file.sidecars.push(sidecar(kind, modified, seen));
            file
        };
        let trailer = |mut file: Group| {
            file.file.trailer = true;
            file
        };
        let packed = |mut file: Group| {
            file.file.path = "inbox/a.csv.GZ".to_owned();
            file
        };
        let weak = || {
            let weak = UploadEvidence { weak: true, ..evidence(Close, 10) };
            group(10, Some(weak))
        };
        let never = (None, 7200);
        for (rules, file, expected) in [
            (auto(MinProof::Weak), closed(Close), (Some(Close), 2)),
            (auto(MinProof::Medium), unseen(), never),
            (auto(MinProof::Medium), weak(), never),
            (auto(MinProof::Strong), closed(Close), never),
            (auto(MinProof::Strong), closed(Rename), (Some(Rename), 2)),
            (auto(MinProof::Strong), trailer(closed(Close)), (Some(Trailer), 2)),
            (auto(MinProof::Strong), packed(closed(Close)), (Some(Archive), 2)),
            (auto(MinProof::Weak), packed(closed(Close)), (Some(Close), 2)),
            (only(Rename), closed(Close), never),
            (only(Close), closed(Rename), (Some(Rename), 2)),
            (only(Close), unseen(), never),
            (only(Quiet), closed(Close), (Some(Quiet), 60)),
            (only(Trailer), closed(Close), never),
            (only(Trailer), trailer(unseen()), (Some(Trailer), 2)),
            (only(Archive), closed(Close), never),
            (only(Archive), packed(unseen()), (Some(Archive), 60)),
            (only(Sentinel), closed(Close), never),
            (
                only(Sentinel),
                with(closed(Close), SidecarKind::Sentinel, 9, Some(5)),
                (Some(Sentinel), 7),
            ),
            (
                only(Sentinel),
                with(closed(Close), SidecarKind::Md5, 9, Some(5)),
                (Some(Sentinel), 7),
            ),
            (only(Sentinel), with(closed(Close), SidecarKind::Manifest, 9, Some(5)), never),
            (
                only(Manifest),
                with(closed(Close), SidecarKind::Manifest, 9, Some(-9)),
                (Some(Manifest), 2),
            ),
            (only(Manifest), with(closed(Close), SidecarKind::Sentinel, 9, Some(5)), never),
        ] {
            check(rules, &file, expected);
        }
    }

    #[test]
    fn a_sidecar_that_is_there_is_waited_for_and_is_the_better_proof() {
        let with = |mut file: Group, kind, modified: i128, seen| {
            file.sidecars.push(sidecar(kind, modified, seen));
            file
        };
        let unseen = || group(10, None);
        for (file, expected) in [
            (
                with(group(10, Some(evidence(Proof::Close, 10))), SidecarKind::Sha256, 9, Some(5)),
                (Some(Proof::Sentinel), 7),
            ),
            // Nobody saw the file closed: a marker that came after it says so, one that came before not.
            (with(unseen(), SidecarKind::Sentinel, 3, None), (Some(Proof::Sentinel), 2)),
            (with(unseen(), SidecarKind::Sentinel, 2, None), (Some(Proof::Sentinel), 60)),
        ] {
            check((None, MinProof::Weak), &file, expected);
        }
    }

    #[test]
    fn what_is_given_up_is_told_what_was_missing() {
        let mut profile = testing::tenant("acme").plain;
        for (only, code, said) in [
            (Some(Proof::Manifest), ReasonCode::FilePairMissing, "no manifest"),
            (Some(Proof::Sentinel), ReasonCode::FilePairMissing, "no marker"),
            (Some(Proof::Trailer), ReasonCode::FileIncomplete, "within 2h no line #EOF"),
            (None, ReasonCode::FileIncomplete, "<name>.done"),
        ] {
            profile.only_proof = only;
            let (found, message) = not_proved(&profile);
            assert_eq!(found, code);
            assert!(message.contains(said), "{message}");
        }
    }
}

//! When is a file in an inbox whole? Evidence from the doors and the watcher, else quiet.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::settings::{MinProof, ProfileSettings};
use crate::model::{FileVersion, Proof, TenantId, UploadEvidence};

/// Tells intake which tenants' inboxes to look through, and wakes it.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<HashSet<TenantId>>,
    notify: Notify,
}

impl Doorbell {
    pub fn ring(&self, tenant: &TenantId) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
        self.notify.notify_one();
    }

    pub(super) fn take(&self) -> HashSet<TenantId> {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Cancel-safe: a ring that nobody waited for is kept.
    pub(super) async fn rung(&self) {
        self.notify.notified().await;
    }
}

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
pub(super) struct Sightings(HashMap<(TenantId, String), Sighting>);

/// Why a file is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Readiness {
    pub(super) proof: Proof,
    pub(super) received_at: Timestamp,
    pub(super) ready_at: Timestamp,
    pub(super) account: String,
}

impl Sightings {
    /// Notes what the watcher saw. It speaks of the version that the next look finds, whatever an
    /// earlier look found.
    pub(super) fn sign(&mut self, tenant: &TenantId, path: &str, sign: Sign, now: Timestamp) {
        let unseen = FileVersion { device: 0, inode: 0, bytes: 0, modified_ns: 0 };
        let sighting = Sighting { version: unseen, since: now, sign: Some((sign, now)) };
        self.0.insert((tenant.clone(), path.to_owned()), sighting);
    }

    /// Forgets what is no longer in a tenant's inbox.
    pub(super) fn keep_only(&mut self, tenant: &TenantId, paths: &HashSet<String>) {
        self.0.retain(|(of, path), _| of != tenant || paths.contains(path));
    }

    /// When and why a file is ready, if anything so far says it will be.
    pub(super) fn readiness(
        &mut self,
        file: (&TenantId, &str, FileVersion),
        evidence: Option<&UploadEvidence>,
        profile: &ProfileSettings,
        now: Timestamp,
    ) -> Option<Readiness> {
        let (tenant, path, version) = file;
        let later =
            |at: Timestamp, wait: Duration| at.saturating_add(wait).unwrap_or(Timestamp::MAX);
        if let Some(evidence) = evidence.filter(|e| e.version == version) {
            let wait = match evidence.proof {
                Proof::Close => profile.grace.max(profile.settle),
                _ => profile.grace,
            };
            let strength = if evidence.weak { MinProof::Weak } else { strength(evidence.proof) };
            let enough = strength >= profile.min_proof && fits(profile, evidence.proof);
            return enough.then(|| Readiness {
                proof: evidence.proof,
                received_at: evidence.at,
                ready_at: later(evidence.at, wait),
                account: evidence.account.clone(),
            });
        }
        let key = (tenant.clone(), path.to_owned());
        let sighting = self.0.entry(key).or_insert(Sighting { version, since: now, sign: None });
        if sighting.version != version {
            // A sign that came since the last look speaks of this version.
            let fresh = sighting.sign.filter(|_| sighting.version.inode == 0);
            *sighting = Sighting { version, since: now, sign: fresh };
        }
        let (proof, received_at, wait) = match sighting.sign {
            Some((Sign::Renamed, at)) => (Proof::Rename, at, profile.grace),
            Some((Sign::Closed, at)) => (Proof::Close, at, profile.grace.max(profile.settle)),
            None => (Proof::Quiet, sighting.since, profile.quiet),
        };
        let enough = strength(proof) >= profile.min_proof && fits(profile, proof);
        enough.then(|| Readiness {
            proof,
            received_at,
            ready_at: later(received_at, wait),
            account: String::new(),
        })
    }
}

fn fits(profile: &ProfileSettings, proof: Proof) -> bool {
    profile.only_proof.is_none_or(|only| only == proof)
}

fn strength(proof: Proof) -> MinProof {
    match proof {
        Proof::Quiet => MinProof::Weak,
        Proof::Close => MinProof::Medium,
        _ => MinProof::Strong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::testing;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + seconds).unwrap()
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
        let file = (&tenant.id, "inbox/a.csv", version(10));
        let ready = sightings.readiness(file, Some(&close), &tenant.plain, at(1)).unwrap();
        assert_eq!((ready.proof, ready.ready_at), (Proof::Close, at(2)));
        let changed = (&tenant.id, "inbox/a.csv", version(11));
        let ready = sightings.readiness(changed, Some(&close), &tenant.plain, at(1)).unwrap();
        assert_eq!((ready.proof, ready.ready_at), (Proof::Quiet, at(61)));
    }

    #[test]
    fn a_file_that_grows_is_never_quiet() {
        let tenant = testing::tenant("acme");
        let mut sightings = Sightings::default();
        for second in 0..100 {
            let file = (&tenant.id, "inbox/a.csv", version(second as u64));
            let ready = sightings.readiness(file, None, &tenant.plain, at(second)).unwrap();
            assert_eq!(ready.ready_at, at(second + 60));
        }
        let file = (&tenant.id, "inbox/a.csv", version(99));
        let ready = sightings.readiness(file, None, &tenant.plain, at(159)).unwrap();
        assert_eq!(ready.ready_at, at(159));
    }

    #[test]
    fn a_local_close_counts_until_the_file_changes_again() {
        let tenant = testing::tenant("acme");
        let mut sightings = Sightings::default();
        sightings.sign(&tenant.id, "inbox/a.csv", Sign::Closed, at(0));
        let file = (&tenant.id, "inbox/a.csv", version(5));
        let ready = sightings.readiness(file, None, &tenant.plain, at(0)).unwrap();
        assert_eq!((ready.proof, ready.ready_at), (Proof::Close, at(2)));
        let grown = (&tenant.id, "inbox/a.csv", version(6));
        let ready = sightings.readiness(grown, None, &tenant.plain, at(1)).unwrap();
        assert_eq!(ready.proof, Proof::Quiet);
    }

    #[test]
    fn a_close_counts_for_a_file_that_was_looked_at_while_it_grew() {
        let tenant = testing::tenant("acme");
        let mut sightings = Sightings::default();
        let half = (&tenant.id, "inbox/a.csv", version(5));
        sightings.readiness(half, None, &tenant.plain, at(0));
        sightings.sign(&tenant.id, "inbox/a.csv", Sign::Closed, at(1));
        let whole = (&tenant.id, "inbox/a.csv", version(10));
        let ready = sightings.readiness(whole, None, &tenant.plain, at(1)).unwrap();
        assert_eq!((ready.proof, ready.ready_at), (Proof::Close, at(3)));
    }

    #[test]
    fn a_weaker_proof_than_asked_for_never_makes_a_file_ready() {
        let tenant = testing::tenant("acme");
        let mut profile = tenant.plain.clone();
        profile.min_proof = MinProof::Strong;
        let mut sightings = Sightings::default();
        let file = (&tenant.id, "inbox/a.csv", version(10));
        let close = evidence(Proof::Close, 10);
        assert_eq!(sightings.readiness(file, Some(&close), &profile, at(9)), None);
        let rename = evidence(Proof::Rename, 10);
        assert!(sightings.readiness(file, Some(&rename), &profile, at(9)).is_some());
    }
}

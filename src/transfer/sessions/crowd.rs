//! Who is inside, as numbers: the caps on sources, accounts, tenants and everybody.
//!
//! Pure: the table of sessions holds one behind its lock.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use crate::model::TenantId;
use crate::transfer::counters::TurnedAway;
use crate::transfer::desk::Denied;
use crate::transfer::guard::Source;
use crate::transfer::visit::VisitId;

/// How many may be inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Caps {
    pub(super) all: usize,
    /// From one source: an IPv4 address, or an IPv6 network of 64 bits.
    pub(super) source: usize,
    /// Without a login yet.
    pub(super) pending: usize,
}

/// An account of a tenant, and how many sessions each may have.
#[derive(Debug, Clone)]
pub(super) struct Party<'p> {
    pub(super) account: &'p str,
    pub(super) account_max: usize,
    pub(super) tenant: &'p TenantId,
    pub(super) tenant_max: usize,
}

#[derive(Debug, Default)]
pub(super) struct Crowd {
    all: usize,
    sources: Numbers<Source>,
    pending: BTreeMap<VisitId, Source>,
    accounts: Numbers<String>,
    tenants: Numbers<TenantId>,
}

impl Crowd {
    /// Takes a connection in, or says which cap is reached. Where too many wait to log in, somebody
    /// must make room: the answer.
    pub(super) fn open(
        &mut self,
        id: VisitId,
        source: Source,
        caps: Caps,
    ) -> Result<Option<VisitId>, TurnedAway> {
        if self.all >= caps.all {
            return Err(TurnedAway::All);
        }
        if self.sources.of(&source) >= caps.source {
            return Err(TurnedAway::Source);
        }
        let crowded = self.pending.len() >= caps.pending;
        let leaving = if crowded { self.least_deserving() } else { None };
        if let Some(leaving) = leaving {
            self.pending.remove(&leaving);
        }
        self.all += 1;
        self.sources.add(source);
        self.pending.insert(id, source);
        Ok(leaving)
    }

    /// Of those that wait to log in, the oldest of the source that has most of them: a flood from few
    /// places drives out itself, one from everywhere leaves each the time that a login takes.
    fn least_deserving(&self) -> Option<VisitId> {
        let mut waiting: HashMap<Source, (usize, VisitId)> = HashMap::new();
        for (id, source) in &self.pending {
            waiting.entry(*source).or_insert((0, *id)).0 += 1;
        }
        let most = waiting.into_values().max_by(|(a, older), (b, newer)| {
            a.cmp(b).then(newer.cmp(older)) // ids grow with time
        });
        most.map(|(_, oldest)| oldest)
    }

    /// Takes a login in.
    pub(super) fn enter(&mut self, id: VisitId, party: &Party<'_>) -> Result<(), Denied> {
        if self.accounts.of(party.account) >= party.account_max {
            return Err(Denied::TooMany(
                "this account has as many sessions open as it may have; close one and try again",
            ));
        }
        if self.tenants.of(party.tenant) >= party.tenant_max {
            return Err(Denied::TooMany(
                "all accounts together have as many sessions open as they may have; close one and try again",
            ));
        }
        self.accounts.add(party.account.to_owned());
        self.tenants.add(party.tenant.clone());
        self.pending.remove(&id);
        Ok(())
    }

    /// A login ends; its connection may go on.
    pub(super) fn leave(&mut self, account: &str, tenant: &TenantId) {
        self.accounts.remove(account);
        self.tenants.remove(tenant);
    }

    /// A connection is gone.
    pub(super) fn close(&mut self, id: VisitId, source: Source) {
        self.all -= 1;
        self.sources.remove(&source);
        self.pending.remove(&id);
    }
}

/// How many there are of each.
#[derive(Debug)]
struct Numbers<K>(HashMap<K, usize>);

impl<K> Default for Numbers<K> {
    fn default() -> Numbers<K> {
        Numbers(HashMap::new())
    }
}

impl<K: Eq + Hash> Numbers<K> {
    fn of<Q: Eq + Hash + ?Sized>(&self, key: &Q) -> usize
    where
        K: std::borrow::Borrow<Q>,
    {
        self.0.get(key).copied().unwrap_or(0)
    }

    fn add(&mut self, key: K) {
        *self.0.entry(key).or_insert(0) += 1;
    }

    fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        match self.0.get_mut(key) {
            Some(number) if *number > 1 => *number -= 1,
            _ => {
                self.0.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPS: Caps = Caps { all: 4, source: 3, pending: 100 };

    fn source(last: u8) -> Source {
        Source::of(std::net::IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn connections_are_limited_per_source_and_in_all() {
        let mut crowd = Crowd::default();
        for number in 0..3 {
            assert_eq!(crowd.open(VisitId(number), source(1), CAPS), Ok(None));
        }
        assert_eq!(crowd.open(VisitId(3), source(1), CAPS), Err(TurnedAway::Source));
        assert_eq!(crowd.open(VisitId(4), source(2), CAPS), Ok(None));
        assert_eq!(crowd.open(VisitId(5), source(3), CAPS), Err(TurnedAway::All));
        crowd.close(VisitId(0), source(1));
        assert_eq!(crowd.open(VisitId(6), source(1), CAPS), Ok(None));
    }

    #[test]
    fn a_flood_drives_out_itself_and_leaves_who_has_logged_in_alone() {
        let caps = Caps { all: 100, source: 100, pending: 3 };
        let (acme, mut crowd) = ("acme".parse().unwrap(), Crowd::default());
        let party = Party { account: "erp", account_max: 9, tenant: &acme, tenant_max: 9 };
        assert_eq!(crowd.open(VisitId(0), source(1), caps), Ok(None));
        crowd.enter(VisitId(0), &party).unwrap();
        // A stranger waits; then a flood from another place begins.
        assert_eq!(crowd.open(VisitId(1), source(1), caps), Ok(None));
        assert_eq!(crowd.open(VisitId(2), source(2), caps), Ok(None));
        assert_eq!(crowd.open(VisitId(3), source(2), caps), Ok(None));
        assert_eq!(crowd.open(VisitId(4), source(2), caps), Ok(Some(VisitId(2))));
        assert_eq!(crowd.open(VisitId(5), source(2), caps), Ok(Some(VisitId(3))));
        // From everywhere: the oldest goes.
        assert_eq!(crowd.open(VisitId(6), source(3), caps), Ok(Some(VisitId(4))));
        assert_eq!(crowd.open(VisitId(7), source(4), caps), Ok(Some(VisitId(1))));
    }

    #[test]
    fn sessions_are_limited_per_account_and_tenant() {
        let (acme, mut crowd) = ("acme".parse().unwrap(), Crowd::default());
        let party = |account| Party { account, account_max: 2, tenant: &acme, tenant_max: 3 };
        for (number, account, fits) in
            [(0, "a", true), (1, "a", true), (2, "a", false), (3, "b", true), (4, "b", false)]
        {
            let entered = crowd.enter(VisitId(number), &party(account));
            assert_eq!(entered.is_ok(), fits, "{number} {account}");
        }
        crowd.leave("a", &acme);
        crowd.enter(VisitId(5), &party("b")).unwrap();
    }
}

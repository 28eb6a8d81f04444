//! The table of all connections: who may be inside, who is, and how they are asked to leave.

mod crowd;

use std::collections::{BTreeMap, HashMap};
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::crowd::{Caps, Crowd, Party};
use super::accounts::Login;
use super::counters::TurnedAway;
use super::desk::Denied;
use super::guard::Source;
use super::pace::Pace;
use super::visit::{Arrival, Farewell, SessionLine, Visit, VisitId, Who};
use super::{Accounts, Counters, Limits};
use crate::model::TenantId;
use crate::world::World;

/// All connections of all doors.
pub(super) struct Sessions {
    table: Mutex<Table>,
    counters: Arc<Counters>,
    world: Arc<World>,
}

struct Table {
    opened: u64,
    rows: BTreeMap<VisitId, Visit>,
    crowd: Crowd,
    caps: Caps,
    /// Bytes a second of each session, in each direction.
    session_bandwidth: Option<u64>,
    /// The rates that sessions of one tenant share.
    tenants: HashMap<TenantId, Arc<Pace>>,
}

/// Which sessions are meant; what is `None` holds for all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    pub id: Option<String>,
    pub account: Option<String>,
    pub tenant: Option<String>,
}

/// A connection that counts until this is dropped.
pub(super) struct Entry {
    visit: Visit,
    source: Source,
    sessions: Arc<Sessions>,
}

impl Sessions {
    pub(super) fn new(limits: &Limits, counters: Arc<Counters>, world: Arc<World>) -> Sessions {
        let table = Table {
            opened: 0,
            rows: BTreeMap::new(),
            crowd: Crowd::default(),
            caps: caps(limits),
            session_bandwidth: limits.session_bandwidth,
            tenants: HashMap::new(),
        };
        Sessions { table: Mutex::new(table), counters, world }
    }

    /// Takes a connection in, where the caps allow it.
    pub(super) fn open(self: &Arc<Sessions>, arrival: Arrival) -> Result<Entry, TurnedAway> {
        let source = Source::of(arrival.peer.ip());
        let mut table = self.table();
        let id = VisitId(table.opened + 1);
        let caps = table.caps;
        let leaving = table.crowd.open(id, source, caps)?;
        table.opened = id.0;
        if let Some(leaving) = leaving.and_then(|id| table.rows.get(&id)) {
            leaving.cut(Farewell::Crowded);
            self.counters.refused(TurnedAway::Pending);
        }
        let visit = Visit::new(id, arrival, self.counters.clone(), self.world.clone());
        table.rows.insert(id, visit.clone());
        Ok(Entry { visit, source, sessions: self.clone() })
    }

    /// Counts a login that has proved all that is asked, or says which cap is reached. One that was
    /// logged in before leaves first.
    pub(super) fn enter(
        &self,
        visit: &Visit,
        login: &Login,
        protocol: &'static str,
    ) -> Result<(), Denied> {
        let (account, tenant) = (&login.account, &login.tenant);
        let mut table = self.table();
        table.leave(visit);
        let party = Party {
            account: &account.name,
            account_max: account.sessions_max.unwrap_or(usize::MAX),
            tenant: &account.tenant,
            tenant_max: tenant.sessions_max.unwrap_or(usize::MAX),
        };
        table.crowd.enter(visit.id, &party)?;
        let tenant_pace = table.tenant_pace(&tenant.id, tenant.bandwidth, &self.world);
        let session_pace = table.session_bandwidth.map(|rate| new_pace(rate, &self.world));
        visit.paced_by(session_pace.into_iter().chain(tenant_pace).collect());
        visit.entered(Who { login: login.clone(), protocol });
        Ok(())
    }

    /// The connection goes on without a login.
    pub(super) fn leave(&self, visit: &Visit) {
        self.table().leave(visit);
    }

    /// The connections a filter means, oldest first.
    pub(super) fn list(&self, filter: &SessionFilter) -> Vec<SessionLine> {
        self.visits().iter().map(Visit::line).filter(|line| filter.fits(line)).collect()
    }

    /// How many connections each protocol has now, with a login and without.
    pub(super) fn open_by_protocol(&self) -> HashMap<&'static str, usize> {
        let mut open = HashMap::new();
        for visit in self.visits() {
            *open.entry(visit.protocol()).or_default() += 1;
        }
        open
    }

    /// Ends the sessions a filter means, in the middle of whatever runs. The answer is how many.
    pub(super) fn cut(&self, filter: &SessionFilter, why: Farewell) -> usize {
        let visits = self.visits();
        let meant = visits.iter().filter(|visit| filter.fits(&visit.line()));
        meant.map(|visit| visit.cut(why)).count()
    }

    /// Ends the sessions whose accounts are gone, or have expired.
    pub(super) fn review(&self, accounts: &Accounts) {
        let now = self.world.clock.now();
        for visit in self.visits() {
            if visit.who().is_some_and(|who| !accounts.is_current(&who.login, now)) {
                visit.cut(Farewell::Withdrawn);
            }
        }
    }

    /// Brings new limits and the tenants' new rates into force.
    pub(super) fn lay(&self, limits: &Limits, accounts: &Accounts) {
        let mut table = self.table();
        table.caps = caps(limits);
        table.session_bandwidth = limits.session_bandwidth;
        for visit in self.rows(&table) {
            let Some(who) = visit.who() else { continue };
            let Some(tenant) = accounts.tenant(&who.login.account.tenant) else { continue };
            let tenant_pace = table.tenant_pace(&tenant.id, tenant.bandwidth, &self.world);
            let session_pace = table.session_bandwidth.map(|rate| new_pace(rate, &self.world));
            visit.paced_by(session_pace.into_iter().chain(tenant_pace).collect());
        }
        table.tenants.retain(|tenant, _| accounts.tenant(tenant).is_some());
    }

    fn visits(&self) -> Vec<Visit> {
        self.rows(&self.table())
    }

    fn rows(&self, table: &Table) -> Vec<Visit> {
        table.rows.values().cloned().collect()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn leave(&mut self, visit: &Visit) {
        if let Some(who) = visit.who() {
            let account = &who.login.account;
            self.crowd.leave(&account.name, &account.tenant);
            visit.left();
        }
    }

    /// The rate that all sessions of a tenant share: the one they have, unless the rate is another.
    fn tenant_pace(
        &mut self,
        tenant: &TenantId,
        bandwidth: Option<u64>,
        world: &World,
    ) -> Option<Arc<Pace>> {
        let Some(rate) = bandwidth else {
            self.tenants.remove(tenant);
            return None;
        };
        if let Some(pace) = self.tenants.get(tenant).filter(|pace| pace.per_second() == rate) {
            return Some(pace.clone());
        }
        let pace = new_pace(rate, world);
        self.tenants.insert(tenant.clone(), pace.clone());
        Some(pace)
    }
}

impl SessionFilter {
    fn fits(&self, line: &SessionLine) -> bool {
        let fits = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == found)
        };
        fits(&self.id, Some(&line.id))
            && fits(&self.account, line.account.as_deref())
            && fits(&self.tenant, line.tenant.as_ref().map(TenantId::as_str))
    }
}

impl Deref for Entry {
    type Target = Visit;

    fn deref(&self) -> &Visit {
        &self.visit
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut table = self.sessions.table();
        table.leave(&self.visit);
        table.crowd.close(self.visit.id, self.source);
        table.rows.remove(&self.visit.id);
    }
}

fn caps(limits: &Limits) -> Caps {
    Caps {
        all: limits.connections_max,
        source: limits.connections_per_address,
        pending: limits.logins_pending_max,
    }
}

fn new_pace(rate: u64, world: &World) -> Arc<Pace> {
    Arc::new(Pace::new(rate, world.clock.instant().into_std()))
}

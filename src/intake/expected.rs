//! Files that an operator expects: their absence and their odd size become notices, once a day.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::IntakeError;
use super::concluding::Desk;
use super::inbox::profile_of;
use super::settings::{Expected, ProfileSettings, TenantSettings};
use crate::codes::Severity;
use crate::model::{FileState, Notice, Realm, TenantId};
use crate::store::BatchRecord;

/// Batches read from the store at a time.
const PAGE: usize = 256;

/// The days for which nothing is left to say, by tenant and profile.
pub(super) type Settled = HashMap<(TenantId, String), Date>;

impl Desk {
    /// Says which files of a tenant are due by now and did not come today.
    pub(super) fn miss_expected(
        &self,
        tenant: &TenantSettings,
        now: Timestamp,
        settled: &mut Settled,
    ) -> Result<(), IntakeError> {
        for profile in &tenant.profiles {
            let Some(expected) = &profile.expected else { continue };
            let Some(today) = due_today(expected, &tenant.timezone, now) else { continue };
            let key = (tenant.id.clone(), profile.name.clone());
            if settled.get(&key) == Some(&today) {
                continue;
            }
            let (what, about) = (format!("missing {}", profile.name), today.to_string());
            if !self.store.is_noted(&tenant.id, &what, &about)?
                && !self.came_since(tenant, &profile.name, today)?
            {
                let notice = missing(profile, expected, now);
                tracing::warn!(tenant = %tenant.id, profile = profile.name, "expected file is missing");
                self.store.notice_once(&tenant.id, &notice, &what, &about)?;
            }
            settled.insert(key, today);
        }
        Ok(())
    }

    /// Whether a file of the profile was taken on this day of the tenant, and not refused.
    fn came_since(
        &self,
        tenant: &TenantSettings,
        profile: &str,
        day: Date,
    ) -> Result<bool, IntakeError> {
        let Ok(midnight) = day.to_zoned(tenant.timezone.clone()) else { return Ok(false) };
        let is_it = |record: &BatchRecord| {
            record.lane() == (tenant.id.clone(), Realm::Real)
                && match record.facts.state {
                    Some(FileState::Rejected) => false,
                    Some(_) => record.facts.profile == profile,
                    None => profile_of(tenant, &record.path).name == profile,
                }
        };
        let mut before = None;
        loop {
            let page = self.store.batches_before(before, PAGE)?;
            let Some(oldest) = page.last() else { return Ok(false) };
            before = Some(oldest.id);
            let over = oldest.claimed_at < midnight.timestamp();
            let today = |record: &&BatchRecord| record.claimed_at >= midnight.timestamp();
            if page.iter().filter(today).any(is_it) {
                return Ok(true);
            }
            if over {
                return Ok(false);
            }
        }
    }

    /// Says that a file has not its usual size.
    pub(super) fn note_odd_size(
        &self,
        tenant: &TenantSettings,
        record: &BatchRecord,
        now: Timestamp,
    ) -> Result<(), IntakeError> {
        let profile = tenant.profile(&record.facts.profile);
        let expected = profile.and_then(|profile| profile.expected.as_ref());
        let Some(expected) = expected.filter(|_| !record.realm().is_test()) else {
            return Ok(());
        };
        let rows = record.facts.rows_total;
        let few = expected.rows_min.filter(|min| rows < *min);
        let many = expected.rows_max.filter(|max| rows > *max);
        let usual = match (few, many) {
            (Some(min), _) => format!("at least {min}"),
            (_, Some(max)) => format!("at most {max}"),
            (None, None) => return Ok(()),
        };
        let notice = Notice {
            at: now,
            realm: Realm::Real,
            severity: Severity::Warning,
            code: None,
            file: record.name().to_owned(),
            message: format!("the file has {rows} data rows, usual are {usual}"),
            hint: "check that the export ran to its end and was meant".to_owned(),
        };
        let what = format!("odd {}", record.facts.profile);
        let today = now.to_zoned(tenant.timezone.clone()).date().to_string();
        self.store.notice_once(&tenant.id, &notice, &what, &today)?;
        Ok(())
    }
}

/// The tenant's day, where a file was due on it by now. A time that the clock leaps over is due when it
/// would have been; one that it shows twice, at the first of the two.
fn due_today(expected: &Expected, zone: &TimeZone, now: Timestamp) -> Option<Date> {
    let (by, days) = expected.due.as_ref()?;
    let today = now.to_zoned(zone.clone()).date();
    let due = today.to_datetime(*by).to_zoned(zone.clone()).ok()?;
    (days.contains(&today.weekday()) && due.timestamp() <= now).then_some(today)
}

fn missing(profile: &ProfileSettings, expected: &Expected, now: Timestamp) -> Notice {
    let by =
        expected.due.as_ref().map_or(String::new(), |(by, _)| by.strftime(" by %H:%M").to_string());
    let name = &profile.name;
    Notice {
        at: now,
        realm: Realm::Real,
        severity: Severity::Warning,
        code: None,
        file: expected.pattern.clone(),
        message: format!("no file of the profile {name} was taken today{by}"),
        hint: "check that the export ran, and the answers to what it dropped".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{Time, Weekday};

    use super::*;

    fn check(now: &str, by: (i8, i8), days: &[Weekday], expected: Option<&str>) {
        let due = Some((Time::constant(by.0, by.1, 0, 0), days.to_vec()));
        let pattern = String::new();
        let rule = Expected { due, rows_min: None, rows_max: None, pattern };
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let found = due_today(&rule, &zone, now.parse().unwrap());
        assert_eq!(found.map(|day| day.to_string()).as_deref(), expected, "{now} {by:?}");
    }

    #[test]
    fn files_are_due_in_the_tenants_time_on_the_days_that_were_named() {
        use Weekday::{Monday, Sunday, Tuesday};
        check("2026-11-23T07:59:59Z", (9, 0), &[Monday], None);
        check("2026-11-23T08:00:00Z", (9, 0), &[Monday], Some("2026-11-23"));
        check("2026-11-23T08:00:00Z", (9, 0), &[Tuesday], None);
        // Another day already in Berlin.
        check("2026-11-23T23:30:00Z", (0, 15), &[Tuesday], Some("2026-11-24"));
        // In summer an hour earlier.
        check("2026-06-22T07:00:00Z", (9, 0), &[Monday], Some("2026-06-22"));
        // 02:30 is left out on the day the clock leaps forward; 03:30 is in its place.
        check("2026-03-29T01:29:59Z", (2, 30), &[Sunday], None);
        check("2026-03-29T01:30:00Z", (2, 30), &[Sunday], Some("2026-03-29"));
        // 02:30 comes twice on the day it leaps back: the first counts.
        check("2026-10-25T00:29:59Z", (2, 30), &[Sunday], None);
        check("2026-10-25T00:30:00Z", (2, 30), &[Sunday], Some("2026-10-25"));
    }
}

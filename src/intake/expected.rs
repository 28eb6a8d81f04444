//! Files that an operator expects: their absence becomes a notice once a day, their odd size one each.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::IntakeError;
use super::concluding::Desk;
use super::inbox::profile_of;
use super::settings::{Expected, ProfileSettings, TenantSettings};
use super::station::Intake;
use crate::codes::Severity;
use crate::model::{Notice, Realm, TenantId};
use crate::store::BatchRecord;
use crate::worker::blocking;

/// The last day for which nothing is left to say, by tenant and profile.
pub(super) type SettledDays = HashMap<(TenantId, String), Date>;

impl Intake {
    /// Says which expected files did not come.
    pub(super) async fn miss_expected(&mut self) -> Result<(), IntakeError> {
        let (desk, tenants) = (self.desk.clone(), self.settings.tenants.all());
        let (now, mut settled) = (self.world.clock.now(), std::mem::take(&mut self.settled));
        let path_of = |record: &BatchRecord| (record.tenant.clone(), record.path.clone());
        let waiting = self.waiting.iter().map(|(_, record)| path_of(record));
        let being_read = self.being_read.values().cloned();
        let open: Vec<(TenantId, String)> = waiting.chain(being_read).collect();
        let (settled, result) = blocking(move || {
            let said = |tenant| desk.miss_expected(tenant, &open, now, &mut settled);
            let result = tenants.values().map(Arc::as_ref).try_for_each(said);
            (settled, result)
        })
        .await;
        self.settled = settled;
        result
    }
}

impl Desk {
    /// Says which files of a tenant were due by now and did not come, today or on the day before: the
    /// program may have stood still when that one ended. `open` are files that are not judged yet.
    pub(super) fn miss_expected(
        &self,
        tenant: &TenantSettings,
        open: &[(TenantId, String)],
        now: Timestamp,
        settled: &mut SettledDays,
    ) -> Result<(), IntakeError> {
        let today = now.to_zoned(tenant.timezone.clone()).date();
        for profile in &tenant.profiles {
            let Some(expected) = &profile.expected else { continue };
            let is_it = |(of, path): &(TenantId, String)| {
                let is_meant = Realm::of_path(path) == Realm::Real;
                *of == tenant.id && is_meant && profile_of(tenant, path).name == profile.name
            };
            for day in [today.yesterday().unwrap_or(today), today] {
                let key = (tenant.id.clone(), profile.name.clone());
                let is_settled = settled.get(&key).is_some_and(|settled| *settled >= day);
                if is_settled || !is_due(expected, &tenant.timezone, day, now) {
                    continue;
                }
                if !open.iter().any(is_it) && self.is_missed(tenant, profile, day, today)? {
                    let (what, about) = (format!("missing {}", profile.name), day.to_string());
                    let notice = missing(profile, expected, (day, today), now);
                    tracing::warn!(tenant = %tenant.id, profile = profile.name, "expected file is missing");
                    self.store.notice_once(&tenant.id, &notice, &what, &about)?;
                }
                settled.insert(key, day);
            }
        }
        Ok(())
    }

    /// Whether no file of the profile was taken since this day of the tenant began, and nobody said so.
    fn is_missed(
        &self,
        tenant: &TenantSettings,
        profile: &ProfileSettings,
        day: Date,
        today: Date,
    ) -> Result<bool, IntakeError> {
        let what = format!("missing {}", profile.name);
        // Only the last day is remembered; what was said today was said of the day before, too.
        for said in [day, today] {
            if self.store.is_noted(&tenant.id, &what, &said.to_string())? {
                return Ok(false);
            }
        }
        let Ok(midnight) = day.to_zoned(tenant.timezone.clone()) else { return Ok(false) };
        Ok(match self.store.series((&tenant.id, Realm::Real), &profile.name)?.last_taken {
            Some(taken) => taken < midnight.timestamp(),
            // Nobody knows whether a profile that never had a file was there the day before.
            None => day == today,
        })
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
        self.store.notice_once(&tenant.id, &notice, &what, &record.id.to_string())?;
        Ok(())
    }
}

/// Whether a file was due on this day of the tenant by now. A time that the clock leaps over is due when
/// it would have been; one that it shows twice, at the first of the two.
fn is_due(expected: &Expected, zone: &TimeZone, day: Date, now: Timestamp) -> bool {
    let Some((by, days)) = &expected.due else { return false };
    let due = day.to_datetime(*by).to_zoned(zone.clone());
    days.contains(&day.weekday()) && due.is_ok_and(|due| due.timestamp() <= now)
}

fn missing(
    profile: &ProfileSettings,
    expected: &Expected,
    (day, today): (Date, Date),
    now: Timestamp,
) -> Notice {
    let by =
        expected.due.as_ref().map_or(String::new(), |(by, _)| by.strftime(" by %H:%M").to_string());
    let when = if day == today { "today".to_owned() } else { format!("on {day}") };
    let name = &profile.name;
    Notice {
        at: now,
        realm: Realm::Real,
        severity: Severity::Warning,
        code: None,
        file: expected.pattern.clone(),
        message: format!("no file of the profile {name} was taken {when}{by}"),
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
        let now: Timestamp = now.parse().unwrap();
        let today = now.to_zoned(zone.clone()).date();
        let found = is_due(&rule, &zone, today, now).then(|| today.to_string());
        assert_eq!(found.as_deref(), expected, "{now} {by:?}");
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

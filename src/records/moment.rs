//! Times, zones and windows as cells write them.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use crate::codes::ReasonCode;

use super::nearest::did_you_mean;

pub(super) const WINDOW_HINT: &str = "write it like 09:00-20:00";

/// Time zones by name. Remembers the last one: files repeat it row after row.
#[derive(Debug)]
pub(super) struct Zones {
    database: TimeZoneDatabase,
    last: RefCell<Option<(String, TimeZone)>>,
    /// The last part of each name, in lower case, to the name: made when first asked for.
    cities: OnceCell<HashMap<String, String>>,
}

impl Zones {
    /// The zones built into the program: reading a row touches no disk.
    pub(super) fn new() -> Zones {
        Zones {
            database: TimeZoneDatabase::bundled(),
            last: RefCell::new(None),
            cities: OnceCell::new(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<TimeZone> {
        if let Some((last, zone)) = &*self.last.borrow()
            && last == name
        {
            return Some(zone.clone());
        }
        let zone = self.database.get(name).ok()?;
        *self.last.borrow_mut() = Some((name.to_owned(), zone.clone()));
        Some(zone)
    }

    /// What to write for a name that is no zone: that of the city, where one has it.
    pub(super) fn hint(&self, name: &str) -> String {
        let cities = self.cities.get_or_init(|| {
            let names = self.database.available().map(|zone| zone.as_str().to_owned());
            let city = |name: String| Some((name.rsplit_once('/')?.1.to_ascii_lowercase(), name));
            names.filter_map(city).collect()
        });
        match cities.get(&name.to_ascii_lowercase().replace(' ', "_")) {
            Some(zone) => did_you_mean(zone),
            None => ReasonCode::RowZoneUnknown.advice().to_owned(),
        }
    }
}

/// The instant a cell names: in the profile's own format, RFC 3339, or local time in `zone`. A local
/// time inside a daylight-saving gap moves forward, a doubled one is the earlier of the two.
pub(super) fn instant(text: &str, format: Option<&str>, zone: &TimeZone) -> Option<Timestamp> {
    if let Some(instant) = format.and_then(|format| formatted(text, format, zone)) {
        return Some(instant);
    }
    let bytes = text.as_bytes();
    // jiff reads more than the contract allows: week dates, missing minutes, zone names in brackets.
    let shaped = text.is_ascii()
        && bytes.len() >= 16
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':'
        && !text.contains('[');
    if !shaped {
        return None;
    }
    if text[16..].contains(['Z', 'z', '+', '-']) {
        return text.parse().ok();
    }
    local(text.parse().ok()?, zone)
}

/// `46350.41667`: the days since 1900 that a spreadsheet counts, of this century.
pub(super) fn is_serial(text: &str) -> bool {
    let (days, part) = text.split_once(['.', ',']).unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    days.len() == 5 && digits(days) && digits(part) && days >= "36526"
}

fn formatted(text: &str, format: &str, zone: &TimeZone) -> Option<Timestamp> {
    let time = strtime::parse(format, text).ok()?;
    if time.offset().is_some() {
        return time.to_timestamp().ok();
    }
    let date_time =
        time.to_datetime().or_else(|_| time.to_date().map(|d| d.at(0, 0, 0, 0))).ok()?;
    local(date_time, zone)
}

fn local(date_time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    zone.to_ambiguous_timestamp(date_time).compatible().ok()
}

/// Minutes of the day from and to: `09:00-20:00`. The end may be 24:00, or earlier than the start,
/// which means the next day.
pub(super) fn window(text: &str) -> Option<(u16, u16)> {
    let (start, end) = text.split_once('-')?;
    let (start, end) = (minute(start.trim())?, minute(end.trim())?);
    (start != end && start < 24 * 60).then_some((start, end))
}

fn minute(text: &str) -> Option<u16> {
    let bytes = text.as_bytes();
    if bytes.len() != 5
        || bytes[2] != b':'
        || !text.bytes().all(|b| b.is_ascii_digit() || b == b':')
    {
        return None;
    }
    let (hour, minute): (u16, u16) = (text[..2].parse().ok()?, text[3..].parse().ok()?);
    let total = hour * 60 + minute;
    (minute < 60 && total <= 24 * 60).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_the_zone() {
        let zone = Zones::new().get("Europe/Berlin").unwrap();
        for (text, format, expected) in [
            ("2026-11-22T10:00:00Z", None, Some("2026-11-22T10:00:00Z")),
            ("2026-11-22T10:00:00+02:00", None, Some("2026-11-22T08:00:00Z")),
            ("2026-11-22 10:00", None, Some("2026-11-22T09:00:00Z")),
            ("2026-11-22T10:00:30", None, Some("2026-11-22T09:00:30Z")),
            // The gap of 29 March 2026 and the fold of 25 October 2026.
            ("2026-03-29 02:30", None, Some("2026-03-29T01:30:00Z")),
            ("2026-10-25 02:30", None, Some("2026-10-25T00:30:00Z")),
            ("22.11.2026 10:00", Some("%d.%m.%Y %H:%M"), Some("2026-11-22T09:00:00Z")),
            ("22.11.2026", Some("%d.%m.%Y"), Some("2026-11-21T23:00:00Z")),
            ("2026-11-22 10:00", Some("%d.%m.%Y"), Some("2026-11-22T09:00:00Z")),
            ("2026-11-22", None, None),
            ("2026-13-22 10:00", None, None),
            ("2026-11-22 25:00", None, None),
            ("46347.5", None, None),
            ("2026-11-22 10:00[Europe/Berlin]", None, None),
            ("ääääääääääääääääääääää", None, None),
            ("2026-11-22 10:0ä", None, None),
            ("", None, None),
        ] {
            let expected = expected.map(|t| t.parse::<Timestamp>().unwrap());
            assert_eq!(instant(text, format, &zone), expected, "{text}");
        }
    }

    #[test]
    fn windows_are_two_times_of_day() {
        for (text, expected) in [
            ("09:00-20:00", Some((540, 1200))),
            ("20:00 - 06:00", Some((1200, 360))),
            ("00:00-24:00", Some((0, 1440))),
            ("24:00-01:00", None),
            ("9:00-20:00", None),
            ("09:60-20:00", None),
            ("+9:00-20:00", None),
            ("09:00-09:00", None),
            ("", None),
        ] {
            assert_eq!(window(text), expected, "{text}");
        }
    }
}

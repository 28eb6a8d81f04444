//! The hours of the day in which a message may be sent.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// A window whose text is not `HH:MM-HH:MM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("window must be two different times as HH:MM-HH:MM, up to 24:00")]
pub struct InvalidWindow;

/// Minutes of the local day, from inclusive, until exclusive; past midnight where `from > until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub from: u16,
    pub until: u16,
}

/// The window of marketing that names none: 08:00 to 20:00.
pub const MARKETING_WINDOW: Window = Window { from: 8 * 60, until: 20 * 60 };

impl Window {
    pub fn new(from: u16, until: u16) -> Result<Window, InvalidWindow> {
        if from == until || from >= 24 * 60 || until > 24 * 60 {
            return Err(InvalidWindow);
        }
        Ok(Window { from, until })
    }

    pub fn parse(text: &str) -> Result<Window, InvalidWindow> {
        let minutes = |text: &str| -> Option<u16> {
            let (hours, minutes) = text.trim().split_once(':')?;
            if hours.len() > 2 || minutes.len() != 2 {
                return None;
            }
            let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
            (minutes < 60 && hours <= 24).then_some(hours * 60 + minutes)
        };
        let (from, until) = text.split_once('-').ok_or(InvalidWindow)?;
        let from = minutes(from).ok_or(InvalidWindow)?;
        Window::new(from, minutes(until).ok_or(InvalidWindow)?)
    }

    fn holds(self, minute: u16) -> bool {
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }

    /// When a window that is open at `now` closes.
    pub fn closes_at(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let local = now.to_zoned(zone.clone());
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        let is_today = minute < self.until;
        let date = if is_today { Ok(local.date()) } else { local.date().tomorrow() };
        let closing = |date: jiff::civil::Date| {
            let until = i64::from(self.until).minutes();
            let end = date.to_datetime(Time::midnight()).checked_add(until)?;
            zone.to_ambiguous_zoned(end).compatible()
        };
        date.and_then(closing).map_or(Timestamp::MAX, |end| end.timestamp())
    }

    /// `None` where the window is open at `now`; else when it opens next. A start that daylight saving
    /// skips opens at the first moment after it.
    pub fn opens_at(self, now: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let local = now.to_zoned(zone.clone());
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        if self.holds(minute) {
            return None;
        }
        let start = Time::midnight() + i64::from(self.from).minutes();
        let mut date = local.date();
        loop {
            let opens = zone.to_ambiguous_zoned(date.to_datetime(start)).compatible().ok()?;
            if opens.timestamp() > now {
                return Some(opens.timestamp());
            }
            date = date.tomorrow().ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(window: &str, now: &str, expected: Option<&str>) {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let opens = Window::parse(window).unwrap().opens_at(now.parse().unwrap(), &zone);
        let expected = expected.map(|t| t.parse::<Timestamp>().unwrap());
        assert_eq!(opens, expected, "{window} at {now}");
    }

    #[test]
    fn windows_open_in_the_recipients_zone() {
        check("08:00-20:00", "2026-11-22T12:00:00Z", None);
        check("08:00-20:00", "2026-11-22T07:00:00Z", None);
        check("08:00-20:00", "2026-11-22T06:59:59Z", Some("2026-11-22T07:00:00Z"));
        check("08:00-20:00", "2026-11-22T19:00:00Z", Some("2026-11-23T07:00:00Z"));
        check("22:00-06:00", "2026-11-22T02:00:00Z", None);
        check("22:00-06:00", "2026-11-22T12:00:00Z", Some("2026-11-22T21:00:00Z"));
        check("00:00-24:00", "2026-11-22T23:30:00Z", None);
    }

    #[test]
    fn both_nights_of_daylight_saving_are_right() {
        // 2026-03-29 02:30 does not exist in Berlin: the window opens when the clock has jumped.
        check("02:30-05:00", "2026-03-29T00:30:00Z", Some("2026-03-29T01:30:00Z"));
        // 2026-10-25 02:30 comes twice: the first one opens it.
        check("02:30-05:00", "2026-10-25T00:00:00Z", Some("2026-10-25T00:30:00Z"));
    }

    #[test]
    fn an_open_window_closes_at_its_end() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let rows = [
            ("08:00-20:00", "2026-11-22T12:00:00Z", "2026-11-22T19:00:00Z"),
            ("22:00-06:00", "2026-11-22T22:30:00Z", "2026-11-23T05:00:00Z"),
            ("22:00-06:00", "2026-11-22T02:00:00Z", "2026-11-22T05:00:00Z"),
            ("00:00-24:00", "2026-11-22T12:00:00Z", "2026-11-22T23:00:00Z"),
        ];
        for (window, now, expected) in rows {
            let closes = Window::parse(window).unwrap().closes_at(now.parse().unwrap(), &zone);
            assert_eq!(closes, expected.parse().unwrap(), "{window} at {now}");
        }
    }

    #[test]
    fn windows_that_mean_nothing_are_refused() {
        for text in ["", "8-20", "08:00", "08:00-08:00", "24:00-08:00", "08:60-09:00", "a:00-b:00"]
        {
            assert_eq!(Window::parse(text), Err(InvalidWindow), "{text}");
        }
        assert_eq!(Window::parse("8:00 - 24:00"), Ok(Window { from: 480, until: 1440 }));
    }
}

//! What the clocks allow where a recipient is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::window::{Hours, Window};
use crate::model::{country_in, zones_of};

/// What the clocks of places allow. Remembers zones, and the last answer: rows repeat both.
pub struct Calendar {
    home: TimeZone,
    find: fn(&str) -> Option<TimeZone>,
    places: RefCell<HashMap<String, Vec<TimeZone>>>,
    last: RefCell<Option<Answer>>,
}

/// What was said of a window in a place, and when.
struct Answer {
    window: Window,
    place: String,
    at: Timestamp,
    hours: Hours,
}

impl fmt::Debug for Calendar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calendar").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Calendar {
    /// `home` is where those are of whom nothing is known; `find` finds a zone by its name.
    pub fn new(home: TimeZone, find: fn(&str) -> Option<TimeZone>) -> Calendar {
        Calendar { home, find, places: RefCell::default(), last: RefCell::default() }
    }

    /// Where a window stands at `now` for somebody in a place: the name of a zone, what `place_in` makes of
    /// a country, or nothing. Where the zones of a country have no hour of the window in common, the
    /// country says nothing.
    pub fn hours(&self, window: Window, place: &str, now: Timestamp) -> Hours {
        if let Some(last) = &*self.last.borrow()
            && last.window == window
            && last.place == place
            && last.holds_at(now)
        {
            return last.hours;
        }
        let hours = self.find_hours(window, place, now);
        *self.last.borrow_mut() = Some(Answer { window, place: place.to_owned(), at: now, hours });
        hours
    }

    fn find_hours(&self, window: Window, place: &str, now: Timestamp) -> Hours {
        let mut places = self.places.borrow_mut();
        let zones = places.entry(place.to_owned()).or_insert_with(|| self.zones(place));
        let home = || window.hours(now, std::slice::from_ref(&self.home));
        let hours = if zones.is_empty() { home() } else { window.hours(now, zones).or_else(home) };
        hours.expect("every window opens in any one zone")
    }

    fn zones(&self, place: &str) -> Vec<TimeZone> {
        match country_in(place) {
            Some(country) => zones_of(country).filter_map(self.find).collect(),
            None => (self.find)(place).into_iter().collect(),
        }
    }
}

impl Answer {
    /// The clock may have been put back since.
    fn holds_at(&self, now: Timestamp) -> bool {
        let (Hours::Open { until } | Hours::Closed { until }) = self.hours;
        (self.at..until).contains(&now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar() -> Calendar {
        Calendar::new(TimeZone::get("Europe/Berlin").unwrap(), |name| TimeZone::get(name).ok())
    }

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_asked_where_the_recipient_is() {
        let calendar = calendar();
        let now = time("2026-11-22T07:30:00Z");
        let until = |place| match calendar.hours(super::super::MARKETING_WINDOW, place, now) {
            Hours::Open { until } => ("open", until.to_string()),
            Hours::Closed { until } => ("closed", until.to_string()),
        };
        assert_eq!(until(""), ("open", "2026-11-22T19:00:00Z".to_owned()));
        assert_eq!(until("Europe/London"), ("closed", "2026-11-22T08:00:00Z".to_owned()));
        assert_eq!(until("country:GB"), ("closed", "2026-11-22T08:00:00Z".to_owned()));
        assert_eq!(until("country:US"), ("closed", "2026-11-22T18:00:00Z".to_owned()));
        assert_eq!(until("Mars/Base"), until(""), "a zone that is gone says nothing");
    }

    #[test]
    fn each_window_and_each_place_has_its_own_answer() {
        let (calendar, now) = (calendar(), time("2026-11-22T12:00:00Z"));
        let night = Window::parse("22:00-06:00").unwrap();
        let (berlin, london) = ("2026-11-22T21:00:00Z", "2026-11-22T22:00:00Z");
        for (place, opens) in [("", berlin), ("Europe/London", london), ("", berlin)] {
            let until = time(opens);
            assert_eq!(calendar.hours(night, place, now), Hours::Closed { until });
            let day = calendar.hours(super::super::MARKETING_WINDOW, place, now);
            assert!(matches!(day, Hours::Open { .. }), "{place}: {day:?}");
        }
    }

    #[test]
    fn a_country_without_a_common_hour_says_nothing() {
        let narrow = Window::parse("09:00-18:00").unwrap();
        let hours = calendar().hours(narrow, "country:RU", time("2026-11-22T12:00:00Z"));
        assert_eq!(hours, Hours::Open { until: time("2026-11-22T17:00:00Z") });
    }

    #[test]
    fn what_was_said_before_the_clock_was_put_back_is_not_said_again() {
        let calendar = calendar();
        let hours = |now| calendar.hours(super::super::MARKETING_WINDOW, "", time(now));
        let open = Hours::Open { until: time("2026-11-22T19:00:00Z") };
        assert_eq!(hours("2026-11-22T12:00:00Z"), open);
        assert_eq!(hours("2026-11-22T18:59:59Z"), open);
        let closed = Hours::Closed { until: time("2026-11-22T07:00:00Z") };
        assert_eq!(hours("2026-11-22T03:00:00Z"), closed);
        let closed = Hours::Closed { until: time("2026-11-23T07:00:00Z") };
        assert_eq!(hours("2026-11-22T19:00:00Z"), closed);
    }
}

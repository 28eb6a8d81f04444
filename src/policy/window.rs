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

/// Where a window stands at a moment, and until when it stands so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hours {
    Open { until: Timestamp },
    Closed { until: Timestamp },
}

/// The window of marketing that names none: 08:00 to 20:00.
pub const MARKETING_WINDOW: Window = Window { from: 8 * 60, until: 20 * 60 };

/// Openings of single zones that are tried for a moment at which the window is open in all of them. A
/// day has at most two an hour-offset; what is not found by then is not there.
const OPENINGS_MAX: usize = 64;

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

    /// Where the window stands at `now` for somebody who may be in any of these zones: open only where it
    /// is in all of them. `None` where they have no hour in common.
    pub fn hours(self, now: Timestamp, zones: &[TimeZone]) -> Option<Hours> {
        let mut then = now;
        for _ in 0..OPENINGS_MAX {
            let (mut opens, mut closes) = (then, Timestamp::MAX);
            for zone in zones {
                match self.hours_in(then, zone) {
                    Hours::Open { until } => closes = closes.min(until),
                    Hours::Closed { until } => opens = opens.max(until),
                }
            }
            if opens == then {
                let open_now = then == now;
                return Some(if open_now {
                    Hours::Open { until: closes }
                } else {
                    Hours::Closed { until: then }
                });
            }
            then = opens;
        }
        None
    }

    fn hours_in(self, now: Timestamp, zone: &TimeZone) -> Hours {
        let is_open = self.is_open(now, zone);
        let until = self.change_after(now, zone, is_open);
        if is_open { Hours::Open { until } } else { Hours::Closed { until } }
    }

    /// By the local clock: in the night that has an hour twice the window may open twice.
    fn is_open(self, at: Timestamp, zone: &TimeZone) -> bool {
        let local = zone.to_datetime(at);
        let minute = local.hour() as u16 * 60 + local.minute() as u16;
        if self.from < self.until {
            (self.from..self.until).contains(&minute)
        } else {
            minute >= self.from || minute < self.until
        }
    }

    /// The first moment after `now` at which the window is not as it is now: where the clock shows one
    /// of its ends, or where the clock is put forwards or back.
    fn change_after(self, now: Timestamp, zone: &TimeZone, is_open: bool) -> Timestamp {
        let horizon = now.saturating_add(48.hours()).unwrap_or(Timestamp::MAX);
        let jumps = zone.following(now).map(|jump| jump.timestamp());
        let mut moments: Vec<Timestamp> = jumps.take_while(|at| *at < horizon).collect();
        let mut date = zone.to_datetime(now).date();
        for _ in 0..3 {
            for end in [self.from, self.until] {
                let end = date.to_datetime(Time::midnight()).checked_add(i64::from(end).minutes());
                let Ok(end) = end else { continue };
                // An end that is skipped lies at the jump itself; one that comes twice is looked at twice.
                let shown = zone.to_ambiguous_timestamp(end);
                moments.extend(shown.earlier());
                moments.extend(shown.later());
            }
            let Ok(tomorrow) = date.tomorrow() else { break };
            date = tomorrow;
        }
        moments.sort_unstable();
        let is_change = |at: &Timestamp| *at > now && self.is_open(*at, zone) != is_open;
        moments.into_iter().find(is_change).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn zones(names: &[&str]) -> Vec<TimeZone> {
        names.iter().map(|name| TimeZone::get(name).unwrap()).collect()
    }

    fn check(window: &str, names: &[&str], now: &str, expected: Option<Hours>) {
        let hours = Window::parse(window).unwrap().hours(time(now), &zones(names));
        assert_eq!(hours, expected, "{window} at {now} in {names:?}");
    }

    fn open(until: &str) -> Option<Hours> {
        Some(Hours::Open { until: time(until) })
    }

    fn closed(until: &str) -> Option<Hours> {
        Some(Hours::Closed { until: time(until) })
    }

    const BERLIN: &[&str] = &["Europe/Berlin"];

    #[test]
    fn windows_open_and_close_by_the_recipients_clock_to_the_second() {
        for (window, now, expected) in [
            ("08:00-20:00", "2026-11-22T12:00:00Z", open("2026-11-22T19:00:00Z")),
            ("08:00-20:00", "2026-11-22T07:00:00Z", open("2026-11-22T19:00:00Z")),
            ("08:00-20:00", "2026-11-22T06:59:59Z", closed("2026-11-22T07:00:00Z")),
            ("08:00-20:00", "2026-11-22T18:59:59Z", open("2026-11-22T19:00:00Z")),
            ("08:00-20:00", "2026-11-22T19:00:00Z", closed("2026-11-23T07:00:00Z")),
            ("22:00-06:00", "2026-11-22T02:00:00Z", open("2026-11-22T05:00:00Z")),
            ("22:00-06:00", "2026-11-22T22:30:00Z", open("2026-11-23T05:00:00Z")),
            ("22:00-06:00", "2026-11-22T12:00:00Z", closed("2026-11-22T21:00:00Z")),
            ("00:00-24:00", "2026-11-22T23:30:00Z", Some(Hours::Open { until: Timestamp::MAX })),
            ("20:00-24:00", "2026-11-22T22:30:00Z", open("2026-11-22T23:00:00Z")),
            ("00:00-08:00", "2026-11-22T22:30:00Z", closed("2026-11-22T23:00:00Z")),
        ] {
            check(window, BERLIN, now, expected);
        }
    }

    #[test]
    fn in_the_night_that_lacks_an_hour_windows_open_and_close_where_the_clock_jumps() {
        // 29 March 2026: at 01:00 UTC the clock in Berlin goes from 02:00 to 03:00.
        for (window, now, expected) in [
            ("02:30-05:00", "2026-03-29T00:30:00Z", closed("2026-03-29T01:00:00Z")),
            ("02:30-05:00", "2026-03-29T01:00:00Z", open("2026-03-29T03:00:00Z")),
            ("01:00-02:30", "2026-03-29T00:30:00Z", open("2026-03-29T01:00:00Z")),
            ("01:00-02:30", "2026-03-29T01:00:00Z", closed("2026-03-29T23:00:00Z")),
            // It opens and closes within the hour that is not there.
            ("02:10-02:50", "2026-03-28T22:00:00Z", closed("2026-03-30T00:10:00Z")),
            ("08:00-20:00", "2026-03-28T19:30:00Z", closed("2026-03-29T06:00:00Z")),
        ] {
            check(window, BERLIN, now, expected);
        }
    }

    #[test]
    fn in_the_night_that_has_an_hour_twice_the_clock_decides_both_times() {
        // 25 October 2026: at 01:00 UTC the clock in Berlin goes from 03:00 to 02:00.
        for (window, now, expected) in [
            ("02:30-05:00", "2026-10-25T00:00:00Z", closed("2026-10-25T00:30:00Z")),
            ("02:30-05:00", "2026-10-25T00:30:00Z", open("2026-10-25T01:00:00Z")),
            ("02:30-05:00", "2026-10-25T01:00:00Z", closed("2026-10-25T01:30:00Z")),
            ("02:30-05:00", "2026-10-25T01:30:00Z", open("2026-10-25T04:00:00Z")),
            ("01:00-02:30", "2026-10-25T00:40:00Z", closed("2026-10-25T01:00:00Z")),
            ("01:00-02:30", "2026-10-25T01:10:00Z", open("2026-10-25T01:30:00Z")),
            ("08:00-20:00", "2026-10-24T18:30:00Z", closed("2026-10-25T07:00:00Z")),
        ] {
            check(window, BERLIN, now, expected);
        }
    }

    #[test]
    fn of_several_zones_only_their_common_hours_count() {
        let wide = ["America/New_York", "America/Los_Angeles", "Pacific/Honolulu"];
        // 08:00 in Honolulu to 20:00 in New York.
        check("08:00-20:00", &wide, "2026-11-22T14:00:00Z", closed("2026-11-22T18:00:00Z"));
        check("08:00-20:00", &wide, "2026-11-22T18:00:00Z", open("2026-11-23T01:00:00Z"));
        check("08:00-20:00", &wide, "2026-11-23T01:00:00Z", closed("2026-11-23T18:00:00Z"));
        let russia = ["Europe/Kaliningrad", "Asia/Kamchatka"];
        check("08:00-20:00", &russia, "2026-11-22T12:00:00Z", closed("2026-11-23T06:00:00Z"));
        check("09:00-18:00", &russia, "2026-11-22T12:00:00Z", None);
    }

    /// Minute by minute over both nights: what is foretold is what the clock then shows.
    #[test]
    fn what_is_foretold_of_a_window_is_what_comes() {
        let all = [zones(BERLIN), zones(&["Europe/London", "America/New_York"])];
        for window in ["02:30-05:00", "01:00-02:30", "22:00-02:15", "02:10-02:50", "08:00-20:00"] {
            let window = Window::parse(window).unwrap();
            for (zones, start) in all.iter().zip(["2026-03-28T20:00:00Z", "2026-10-24T20:00:00Z"]) {
                let start = time(start);
                let minutes: Vec<Timestamp> =
                    (0..2 * 24 * 60).map(|m| start + m.minutes()).collect();
                let is_open = |at: &Timestamp| zones.iter().all(|zone| window.is_open(*at, zone));
                let open: Vec<bool> = minutes.iter().map(is_open).collect();
                for (n, now) in minutes.iter().enumerate().step_by(7) {
                    let next = (n..minutes.len()).find(|m| open[*m] != open[n]);
                    let next = next.map(|m| minutes[m]);
                    let Some(hours) = window.hours(*now, zones) else {
                        assert!(zones.len() > 1 && next.is_none(), "{window:?} at {now}");
                        continue;
                    };
                    let (found, until) = match hours {
                        Hours::Open { until } => (true, until),
                        Hours::Closed { until } => (false, until),
                    };
                    assert_eq!(found, open[n], "{window:?} at {now}");
                    assert!(next.is_none_or(|next| next == until), "{window:?} at {now}: {until}");
                }
            }
        }
    }

    #[test]
    fn windows_that_mean_nothing_are_refused() {
        for text in [
            "",
            "8-20",
            "08:00",
            "08:00-08:00",
            "24:00-08:00",
            "08:00-24:01",
            "08:00-25:00",
            "08:60-10:00",
            "008:00-09:00",
            "8:0-09:00",
            "8:000-09:00",
            "a:00-b:00",
        ] {
            assert_eq!(Window::parse(text), Err(InvalidWindow), "{text}");
        }
        assert_eq!(Window::parse("8:00 - 24:00"), Ok(Window { from: 480, until: 1440 }));
    }
}

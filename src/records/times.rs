//! When a row is due, until when it may be sent, and where the clock is that says so.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::checker::RowCheck;
use super::layout::Column;
use super::message::MessageRow;
use super::moment;
use super::problem::cut_value;
use super::whereabouts::country_of;
use crate::codes::ReasonCode;
use crate::model::{ChannelKind, place_in, zones_of};

impl RowCheck<'_> {
    /// Zone, window, due time and expiry.
    pub(super) fn times(&mut self, channel: Option<ChannelKind>, message: &mut MessageRow) {
        let given = self.value(Column::Tz);
        let mut zone = None;
        if !given.is_empty() {
            message.tz.push_str(given);
            zone = self.checker.zones.get(given);
            if zone.is_none() {
                let text = format!("there is no time zone {:?}", cut_value(given));
                let hint = self.checker.zones.hint(given);
                self.fault(Column::Tz, ReasonCode::RowZoneUnknown, text, hint);
            }
        }
        let given = self.value(Column::Window);
        if !given.is_empty() {
            message.window = moment::window(given);
            if message.window.is_none() {
                let text = format!("{:?} is not two times of day", cut_value(given));
                self.fault(Column::Window, ReasonCode::RowTimeInvalid, text, moment::WINDOW_HINT);
            }
        }
        let elsewhere = self.recipients_zones(message);
        let zones = match &zone {
            _ if !elsewhere.is_empty() => elsewhere.as_slice(),
            Some(zone) => std::slice::from_ref(zone),
            None => std::slice::from_ref(&self.checker.timezone),
        };
        message.send_at = self.instants(Column::SendAt, zones).into_iter().max();
        message.expires_at = self.expiry(zones, message.send_at);
        self.too_late(channel, message);
    }

    /// Where local times are read where the recipient is, and the row names no zone of its own: the zones of
    /// the recipient's country, which is the row's place from then on.
    fn recipients_zones(&self, message: &mut MessageRow) -> Vec<TimeZone> {
        let is_given = self.is_own(Column::Tz) || self.is_fixed(Column::Tz);
        if !self.checker.by_recipient || is_given {
            return Vec::new();
        }
        let country = country_of(message);
        let zones: Vec<TimeZone> =
            zones_of(&country).filter_map(|name| self.checker.zones.get(name)).collect();
        if !zones.is_empty() {
            message.tz = place_in(&country);
        }
        zones
    }

    /// The end of a message's time: where it comes at several instants, the first behind its beginning, so that
    /// the message is too late nowhere.
    fn expiry(&mut self, zones: &[TimeZone], send_at: Option<Timestamp>) -> Option<Timestamp> {
        let due = send_at.map_or(self.checker.now, |at| at.max(self.checker.now));
        let instants = self.instants(Column::ExpiresAt, zones);
        let in_time = instants.iter().filter(|at| **at > due).min();
        in_time.or(instants.iter().max()).copied()
    }

    /// The instants a column names: its local time may come at several, in several zones. The last is too early
    /// nowhere.
    fn instants(&mut self, column: Column, zones: &[TimeZone]) -> Vec<Timestamp> {
        let given = self.value(column);
        if given.is_empty() {
            return Vec::new();
        }
        let format = self.checker.date_format.as_deref();
        let found = zones.iter().filter_map(|zone| moment::instant(given, format, zone));
        let instants: Vec<Timestamp> = found.collect();
        if instants.is_empty() && moment::is_serial(given) {
            let text = "a spreadsheet program made the time a number of days";
            self.plain_fault(column, ReasonCode::RowCellDamaged, text);
        } else if instants.is_empty() {
            let code = ReasonCode::RowTimeInvalid;
            let text = format!("the time {:?} is not readable", cut_value(given));
            let own_form = given.contains(['.', '/']) && self.checker.date_format.is_none();
            let or = if own_form { "; or ask the operator to set date_format" } else { "" };
            self.fault(column, code, text, format!("{}{or}", code.advice()));
        }
        instants
    }

    /// A message that could not be sent in time even now is refused, not accepted to expire.
    fn too_late(&mut self, channel: Option<ChannelKind>, message: &MessageRow) {
        let now = self.checker.now;
        let due = message.send_at.unwrap_or(now);
        match message.expires_at {
            Some(expiry) if expiry <= now => {
                let text = format!("the message expired at {expiry}, before the file was taken");
                self.plain_fault(Column::ExpiresAt, ReasonCode::RowTooLate, text);
            }
            Some(expiry) if expiry <= due => {
                let text = "the message expires before it is to be sent";
                let hint = "let expires_at be later than send_at";
                self.fault(Column::ExpiresAt, ReasonCode::RowTooLate, text, hint);
            }
            Some(_) => {}
            None => {
                let channel = channel.unwrap_or(ChannelKind::Email);
                if self.checker.max_age.expiry(message.category, channel, due) <= now {
                    let text = format!("the message was due at {due} and is too old to be sent");
                    self.plain_fault(Column::SendAt, ReasonCode::RowTooLate, text);
                }
            }
        }
    }
}

//! What policy is asked about a row.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::settings::Route;
use crate::model::{Category, ChannelKind};
use crate::policy::{Calendar, Question, Sender, Window};
use crate::spool::StoredRow;

/// The question about a row that can go out on a channel until `expires_at`, at the moment `now`.
pub(super) fn question(
    route: &Route,
    row: &StoredRow<'_>,
    channel: ChannelKind,
    expires_at: Timestamp,
    (calendar, now): (&Calendar, Timestamp),
) -> Question {
    let window = row.window.and_then(|(from, until)| Window::new(from, until).ok());
    Question {
        category: row.category.unwrap_or(Category::Marketing),
        consent: route.consent,
        sender: match route.may_send_as(channel, row.sender) {
            true => Sender::Allowed,
            false if row.sender_refused => Sender::Refused,
            false => Sender::Gone,
        },
        send_at: row.send_at,
        expires_at,
        hours: window.map(|window| calendar.hours(window, row.tz, now)),
    }
}

/// The clocks of a tenant's recipients.
pub(super) fn calendar(route: &Route) -> Calendar {
    Calendar::new(route.timezone.clone(), |name| TimeZone::get(name).ok())
}

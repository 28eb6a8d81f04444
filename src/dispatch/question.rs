//! What policy is asked about a row.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::settings::Route;
use crate::model::{Category, ChannelKind};
use crate::policy::{Question, Window};
use crate::spool::StoredRow;

/// The question about a row that can go out on a channel until `expires_at`.
pub(super) fn question<'z>(
    route: &Route,
    row: &StoredRow<'_>,
    channel: ChannelKind,
    expires_at: Timestamp,
    zone: &'z TimeZone,
) -> Question<'z> {
    Question {
        category: row.category.unwrap_or(Category::Marketing),
        consent: route.consent,
        sender_allowed: route.may_send_as(channel, row.sender),
        send_at: row.send_at,
        expires_at,
        window: row.window.and_then(|(from, until)| Window::new(from, until).ok()),
        zone,
    }
}

/// Zones by name, looked up once a chunk.
pub(super) struct Zones<'a> {
    tenant: &'a TimeZone,
    named: HashMap<String, TimeZone>,
}

impl<'a> Zones<'a> {
    pub(super) fn new(tenant: &'a TimeZone) -> Zones<'a> {
        Zones { tenant, named: HashMap::new() }
    }

    pub(super) fn of(&mut self, name: &str) -> &TimeZone {
        if name.is_empty() {
            return self.tenant;
        }
        let tenant = self.tenant;
        self.named
            .entry(name.to_owned())
            .or_insert_with(|| TimeZone::get(name).unwrap_or_else(|_| tenant.clone()))
    }
}

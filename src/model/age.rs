//! How late a message may be.

use std::time::Duration;

use jiff::Timestamp;

use super::words::{Category, ChannelKind};

/// How long a message may wait once it was due, where the row does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaxAge {
    pub authentication: Duration,
    pub email: Duration,
    pub other: Duration,
}

impl Default for MaxAge {
    fn default() -> MaxAge {
        MaxAge {
            authentication: Duration::from_secs(10 * 60),
            email: Duration::from_secs(48 * 3600),
            other: Duration::from_secs(24 * 3600),
        }
    }
}

impl MaxAge {
    /// When a message that became due at `due` has waited too long.
    pub fn expiry(&self, category: Category, channel: ChannelKind, due: Timestamp) -> Timestamp {
        let wait = match (category, channel) {
            (Category::Authentication, _) => self.authentication,
            (_, ChannelKind::Email) => self.email,
            _ => self.other,
        };
        due.saturating_add(wait).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_counts_from_when_the_message_was_due() {
        let due = "2026-11-22T12:00:00Z".parse().unwrap();
        let of = |category, channel| MaxAge::default().expiry(category, channel, due).to_string();
        assert_eq!(of(Category::Authentication, ChannelKind::Email), "2026-11-22T12:10:00Z");
        assert_eq!(of(Category::Service, ChannelKind::Email), "2026-11-24T12:00:00Z");
        assert_eq!(of(Category::Service, ChannelKind::Sms), "2026-11-23T12:00:00Z");
    }
}

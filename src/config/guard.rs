//! The guard of the doors: points, delays, bans.

use super::problem::Complaint;
use super::section::Section;
use super::value;
use super::value::network;
use crate::transfer::{GuardSettings, Points};

/// What `[guard]` says; a source must be bannable by something.
pub(super) fn read(section: &Section<'_>) -> GuardSettings {
    let built_in = GuardSettings::default();
    let points = points(&section.section("points"), &built_in.points);
    let settings = GuardSettings {
        enabled: section.value("enabled", built_in.enabled, value::switch),
        window: section.value("window", built_in.window, value::duration),
        threshold: section.value("threshold", built_in.threshold, value::number(1, 1_000_000)),
        account_threshold: section.value(
            "account_threshold",
            built_in.account_threshold,
            value::number(1, 1_000_000),
        ),
        ban: section.value("ban", built_in.ban, value::duration),
        ban_factor: section.value("ban_factor", built_in.ban_factor, value::decimal(1.0, 100.0)),
        ban_max: section.value("ban_max", built_in.ban_max, value::duration),
        delay: section.value("delay", built_in.delay, value::duration_or_zero),
        delay_max: section.value("delay_max", built_in.delay_max, value::duration_or_zero),
        safe: section.value("safe", built_in.safe, value::list(network)),
        sources_max: section.value(
            "sources_max",
            built_in.sources_max,
            value::number(1, 10_000_000),
        ),
        points,
    };
    if !settings.enabled {
        section.warn("enabled", Complaint::new("lets everybody guess passwords without end"));
    }
    if settings.ban_max < settings.ban {
        section.complain("ban_max", Complaint::new("is shorter than ban"));
    }
    if settings.delay_max < settings.delay {
        section.complain("delay_max", Complaint::new("is shorter than delay"));
    }
    if settings.points.unknown_account != settings.points.wrong_credentials {
        let complaint = Complaint::new("differs from wrong_credentials")
            .hint("with equal points nobody learns from the ban which accounts exist");
        section.warn("points.unknown_account", complaint);
    }
    settings
}

fn points(section: &Section<'_>, built_in: &Points) -> Points {
    let number = || value::number(0, 1_000_000);
    Points {
        unknown_account: section.value("unknown_account", built_in.unknown_account, number()),
        wrong_credentials: section.value("wrong_credentials", built_in.wrong_credentials, number()),
        no_login: section.value("no_login", built_in.no_login, number()),
        garbage: section.value("garbage", built_in.garbage, number()),
    }
}

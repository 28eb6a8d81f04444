//! The providers of a seed: what they are set to, and what they answer when.

use std::cell::RefCell;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use dropchute::faults::{Mood, arrange_moods};
use dropchute::world::World;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::plan::{ATTEMPTS_MAX, Maker, START};

/// A provider as the configuration names it, as far as laws need it.
#[derive(Debug, Clone)]
pub(crate) struct ProviderPlan {
    pub(crate) id: &'static str,
    /// Whoever chose so gets what is unknown twice.
    pub(crate) resends: bool,
    /// Messages a second.
    pub(crate) rate: Option<u32>,
    /// Messages of a new sender on its first day.
    pub(crate) warm_up: Option<u32>,
    pub(crate) delay: Duration,
    pub(crate) concurrency: u32,
}

impl ProviderPlan {
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "provider.{} = {{ kind = \"simulator\", delay = \"{}ms\", concurrency = {}, \
             retry_first = \"2s\", retry_max = \"1m\", attempts_max = {ATTEMPTS_MAX}, \
             on_unknown = \"{}\"",
            self.id,
            self.delay.as_millis(),
            self.concurrency,
            if self.resends { "resend" } else { "hold" },
        );
        if let Some(rate) = self.rate {
            write!(text, ", rate = \"{rate}/s\"").unwrap();
        }
        if let Some(first) = self.warm_up {
            write!(
                text,
                ", warm_up = {{ first = \"{first}/day\", factor = 2, until = \"999/day\" }}"
            )
            .unwrap();
        }
        text.push_str(" }\n");
        text
    }
}

/// While it lasts a provider answers so many of a hundred messages in its own way.
#[derive(Debug, Clone)]
pub(crate) struct Spell {
    provider: &'static str,
    from: Timestamp,
    until: Timestamp,
    percent: u32,
    mood: Mood,
}

impl Maker {
    pub(crate) fn providers(&mut self) -> Vec<ProviderPlan> {
        [("sim", false), ("other", false), ("wa", false), ("mail", true), ("post", false)]
            .map(|(id, resends)| ProviderPlan {
                id,
                resends,
                rate: self.chance(15).then_some(2),
                warm_up: (id != "sim" && self.chance(6)).then(|| self.up_to(6) as u32),
                delay: Duration::from_millis(self.one_of(&[0, 0, 300, 3_000, 40_000])),
                concurrency: self.one_of(&[1, 2, 8, 64]),
            })
            .into()
    }

    /// What a provider goes through: outages, refusals, bans, lost answers; with every kind of hint.
    pub(crate) fn spells(&mut self) -> Vec<Spell> {
        let count = self.one_of(&[0, 0, 1, 1, 2, 3]);
        let start: Timestamp = START.parse().unwrap();
        (0..count)
            .map(|_| {
                let from = start + SignedDuration::from_secs(self.dice.random_range(0..240));
                let hint = self.one_of(&[None, None, Some(0), Some(3), Some(45), Some(7200)]);
                Spell {
                    provider: self.one_of(&["sim", "sim", "other", "mail", "post", "wa"]),
                    from,
                    until: from + SignedDuration::from_secs(self.dice.random_range(1..600)),
                    percent: self.one_of(&[100, 100, 60, 25]),
                    mood: Mood {
                        ending: self.one_of(&[
                            "0107", "0107", "0105", "0105", "0104", "0108", "0101", "0103", "taken",
                        ]),
                        hint: hint.map(Duration::from_secs),
                    },
                }
            })
            .collect()
    }
}

/// Lets providers have their moods from now on, in the life of this world.
pub(crate) fn arrange_spells(spells: &[Spell], world: &Arc<World>, seed: u64) {
    let (spells, world) = (spells.to_vec(), Arc::clone(world));
    let dice = RefCell::new(StdRng::seed_from_u64(seed));
    arrange_moods(move |provider, _| {
        let now = world.clock.now();
        let is_on =
            |spell: &&Spell| spell.provider == provider && (spell.from..spell.until).contains(&now);
        let spell = spells.iter().find(is_on)?;
        (dice.borrow_mut().random_range(0..100) < spell.percent).then_some(spell.mood)
    });
}

//! A provider as dispatch sees it: its channel, its turnstile, and what answers make of it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use super::error::DispatchError;
use super::ramps::{Ramps, Share};
use super::settings::PausedProviders;
use super::turnstile::{self, SharedRates, Turnstile};
use crate::channel::{Channel, OnUnknown, ProviderSettings};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, UntilHint};
use crate::pacing::{Comer, Effects, Later, Limit, Limits, Standing, Word};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::world::World;

/// What all providers stand on.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) store: Store,
    pub(super) world: Arc<World>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tenants: SharedRates,
    /// Wakes the station, which tells tenants of a trouble.
    pub(super) nudge: Arc<Notify>,
}

/// One provider and its state; shared by all attempts.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) channel: Channel,
    turnstile: Arc<Turnstile>,
    ramps: Option<Arc<Ramps>>,
    trouble: Mutex<Option<Trouble>>,
    paused: PausedProviders,
    /// One of the configuration's: metrics know it.
    is_shown: bool,
    ground: Ground,
}

/// Our account is refused: somebody must do something about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) since: Timestamp,
    pub(super) code: ReasonCode,
}

/// Leave to send one message to one provider. Dropped unsettled, it gives back what it took.
#[derive(Debug)]
pub(super) struct Pass {
    inner: turnstile::Pass,
    share: Option<Share>,
}

impl Pass {
    /// The message goes to find out whether the provider is back: that it fails is no attempt.
    pub(super) fn is_probe(&self) -> bool {
        self.inner.is_probe()
    }

    /// What came in the way while it waited for a connection.
    pub(super) fn closed_meanwhile(&self) -> Option<Later> {
        self.inner.closed_meanwhile()
    }
}

impl Provider {
    pub(super) fn new(channel: Channel, paused: PausedProviders, ground: &Ground) -> Provider {
        let settings = channel.settings();
        let limits = Limits {
            rate: settings.rate,
            concurrency: channel.capacity(),
            pair_rate: settings.pair_rate,
            failures_max: settings.failures_max,
        };
        let (tenants, world) = (Arc::clone(&ground.tenants), Arc::clone(&ground.world));
        let ramps = settings.warm_up.map(|warm_up| {
            let (store, world) = (ground.store.clone(), Arc::clone(&ground.world));
            Arc::new(Ramps::new(&settings.id, warm_up, store, world))
        });
        let turnstile = Arc::new(Turnstile::new(&limits, tenants, world));
        let (trouble, ground) = (Mutex::default(), ground.clone());
        Provider { channel, turnstile, ramps, trouble, paused, is_shown: true, ground }
    }

    /// It serves one batch that is only tried out, and ends with it.
    pub(super) fn of_one_batch(self) -> Provider {
        Provider { is_shown: false, ..self }
    }

    pub(super) fn settings(&self) -> &ProviderSettings {
        self.channel.settings()
    }

    pub(super) fn id(&self) -> &str {
        &self.settings().id
    }

    pub(super) fn resends_unknown(&self) -> bool {
        self.settings().on_unknown == OnUnknown::Resend
    }

    /// Waits for the message's turn, or hears that it is better to come again later. Cancel-safe.
    pub(super) async fn pass(
        &self,
        comer: Comer,
        sender: &str,
    ) -> Result<Result<Pass, Later>, DispatchError> {
        let inner = match self.turnstile.pass(comer, |limit| self.count(limit)).await {
            Ok(inner) => inner,
            Err(later) => return Ok(Err(later)),
        };
        // Asked last: who stands in line holds nothing of the day.
        let share = match &self.ramps {
            None => None,
            Some(ramps) => match ramps.share(sender).await? {
                Ok(share) => share,
                Err(later) => {
                    self.count(later.why);
                    return Ok(Err(later));
                }
            },
        };
        Ok(Ok(Pass { inner, share }))
    }

    fn count(&self, limit: Limit) {
        self.ground.metrics.limit_hits.of([limit.as_str()]).inc();
    }

    /// Until when rows need not even be made ready. Where the provider is away, the row that asks first
    /// once a probe is due is promised it.
    pub(super) fn closed_until(&self, now: Timestamp) -> Option<Timestamp> {
        let later = self.turnstile.closed_to()?;
        Some(now.saturating_add(later.wait).unwrap_or(now))
    }

    /// Somebody has mended something: whether the provider is back is found out now.
    pub(super) fn look_now(&self) {
        self.turnstile.look_now();
    }

    /// How long nothing goes, as things stand.
    pub(super) fn rest(&self) -> Option<Duration> {
        self.standing().closed.map(|(rest, _)| rest)
    }

    pub(super) fn standing(&self) -> Standing {
        self.turnstile.standing()
    }

    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Draws the consequences of an attempt for the provider itself. One that was throttled waits as long as
    /// the turnstile says, so that it does not go first again.
    pub(super) fn settle(&self, pass: Pass, attempt: &mut Attempt) {
        let Pass { inner, share } = pass;
        let has_left = !attempt.outcome.is_certainly_not_accepted();
        share.into_iter().for_each(|mut share| share.is_used = has_left);
        let effects = inner.settle(Word::of(attempt));
        if let (Outcome::Throttled(_), Some(rest)) = (attempt.outcome, effects.own_rest) {
            attempt.outcome = Outcome::Throttled(UntilHint(Some(rest)));
        }
        self.tell(effects, attempt);
    }

    /// True where the operator has paused it: rows wait, or take the channel's next provider.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.holds(self.id())
    }

    fn tell(&self, effects: Effects, attempt: &Attempt) {
        let provider = self.id();
        if effects.slowed {
            self.ground.metrics.providers.slowed.of([provider]).inc();
        }
        if effects.slowed && effects.own_rest.is_some() {
            let standing = self.standing();
            tracing::info!(
                provider,
                code = attempt.provider_code,
                concurrency = standing.limit,
                per_second = standing.per_second.map_or(String::new(), |rate| format!("{rate:.1}")),
                "provider asks us to slow down: less is sent to it"
            );
        }
        match effects.opened {
            None => {}
            Some(ReasonCode::DeliveryNetwork) => tracing::warn!(
                provider,
                detail = attempt.detail,
                "provider is away; its rows stay queued, and it is tried now and then"
            ),
            Some(code) => {
                tracing::warn!(
                    provider,
                    rest_s = self.rest().map_or(0, |rest| rest.as_secs()),
                    code = attempt.provider_code,
                    detail = attempt.detail,
                    "provider refuses our account; its rows stay queued"
                );
                self.set_trouble(Some(Trouble { since: self.ground.world.clock.now(), code }));
            }
        }
        if effects.opened.is_some() {
            self.show_closed(1);
        }
        if effects.closed {
            tracing::info!(provider, "provider is back");
            self.show_closed(0);
            self.set_trouble(None);
        }
    }

    fn show_closed(&self, closed: i64) {
        if self.is_shown {
            self.ground.metrics.providers.closed.of([self.id()]).set(closed);
        }
    }

    fn set_trouble(&self, trouble: Option<Trouble>) {
        let is_news = trouble.is_some();
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
        if is_news {
            self.ground.nudge.notify_one();
        }
    }
}

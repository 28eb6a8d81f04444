//! A provider as dispatch sees it: its channel, its rate, and whether it rests.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use super::settings::PausedProviders;
use crate::channel::{Channel, OnUnknown, ProviderSettings};
use crate::codes::ReasonCode;
use crate::model::{Attempt, Outcome, UntilHint};
use crate::pacing::Bucket;
use crate::world::World;

/// Rests of a provider whose account was refused: doubled from the first up to the longest.
const ACCOUNT_REST_FIRST: Duration = Duration::from_secs(30);
const ACCOUNT_REST_MAX: Duration = Duration::from_secs(15 * 60);
/// Rest after "too fast" without a hint.
const THROTTLE_REST: Duration = Duration::from_secs(1);
/// No hint of a provider makes it rest longer.
const HINT_MAX: Duration = Duration::from_secs(3600);

/// One provider and its state; shared by all attempts.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) channel: Channel,
    bucket: Option<Mutex<Bucket>>,
    rest: Mutex<Option<(Timestamp, ReasonCode)>>,
    account_refusals: AtomicU32,
    paused: PausedProviders,
    world: Arc<World>,
}

impl Provider {
    pub(super) fn new(channel: Channel, paused: PausedProviders, world: Arc<World>) -> Provider {
        let rate = channel.settings().rate;
        let bucket =
            rate.map(|rate| Mutex::new(Bucket::new(rate, world.clock.instant().into_std())));
        Provider {
            channel,
            bucket,
            rest: Mutex::new(None),
            account_refusals: AtomicU32::new(0),
            paused,
            world,
        }
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

    /// Waits until the rate allows one more message. Cancel-safe.
    pub(super) async fn wait_for_turn(&self) {
        let Some(bucket) = &self.bucket else { return };
        loop {
            let now = self.world.clock.instant().into_std();
            let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now);
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// True where the operator has paused it: rows wait, or take the channel's next provider.
    pub(super) fn is_paused(&self) -> bool {
        self.paused.holds(self.id())
    }

    /// Until when the provider takes nothing, and why.
    pub(super) fn resting(&self, now: Timestamp) -> Option<(Timestamp, ReasonCode)> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner).filter(|(until, _)| *until > now)
    }

    /// Draws the consequences of an attempt for the provider itself.
    pub(super) fn note(&self, attempt: &Attempt) {
        let now = self.world.clock.now();
        match attempt.outcome {
            Outcome::Accepted => self.account_refusals.store(0, Ordering::Relaxed),
            Outcome::Account => {
                let before = match self.resting(now) {
                    // Attempts that were under way together are one refusal.
                    Some(_) => return,
                    None => self.account_refusals.fetch_add(1, Ordering::Relaxed),
                };
                let rest = ACCOUNT_REST_FIRST
                    .saturating_mul(2_u32.saturating_pow(before.min(10)))
                    .min(ACCOUNT_REST_MAX);
                tracing::warn!(
                    provider = self.id(),
                    rest_s = rest.as_secs(),
                    code = attempt.provider_code,
                    detail = attempt.detail,
                    "provider refuses our account; its rows stay queued"
                );
                let code = attempt.code.unwrap_or(ReasonCode::DeliveryProviderCredentials);
                self.rest_for(now, rest, code);
            }
            Outcome::Throttled(UntilHint(hint)) => {
                let rest = hint.unwrap_or(THROTTLE_REST).min(HINT_MAX);
                tracing::warn!(
                    provider = self.id(),
                    rest_ms = rest.as_millis() as u64,
                    "provider asks us to slow down"
                );
                self.rest_for(now, rest, ReasonCode::DeliveryThrottled);
            }
            _ => {}
        }
    }

    fn rest_for(&self, now: Timestamp, wait: Duration, code: ReasonCode) {
        let until = now.saturating_add(wait).unwrap_or(now);
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        if rest.is_none_or(|(earlier, _)| earlier < until) {
            *rest = Some((until, code));
        }
    }
}

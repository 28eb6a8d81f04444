//! What dispatch says to tenants: their batch is stuck, or nothing goes to one of their providers.

use std::sync::Arc;

use crate::batch::Effect;
use crate::codes::{ReasonCode, Severity};
use crate::model::{BatchId, ControlOp, Notice, Realm, TenantId};
use crate::store::{Commands, StoreError};
use crate::worker::blocking;

use super::error::DispatchError;
use super::provider::Trouble;
use super::station::Dispatch;

impl Dispatch {
    /// Pauses the batches whose messages are refused for one and the same reason; true where it did.
    pub(super) async fn pause_stuck(&mut self) -> Result<bool, DispatchError> {
        let stuck: Vec<(BatchId, String, u32)> = self
            .open()
            .filter(|(_, open)| open.is_stuck())
            .filter_map(|(batch, open)| {
                let (code, count) = open.traffic.stuck_for()?;
                Some((batch, code, count))
            })
            .collect();
        let any = !stuck.is_empty();
        for (batch, code, count) in stuck {
            self.pause_one(batch, &code, count).await?;
        }
        Ok(any)
    }

    /// Said before it is done: after a crash in between it is found again, and said no second time.
    async fn pause_one(
        &mut self,
        batch: BatchId,
        provider_code: &str,
        count: u32,
    ) -> Result<(), DispatchError> {
        let Some(open) = self.open_mut(batch) else { return Ok(()) };
        let (live, halt) = (Arc::clone(&open.live), open.halt.clone());
        let record = &live.record;
        let (now, tenant) = (self.world.clock.now(), record.tenant.clone());
        let message = format!(
            "the provider refused {count} messages of the file one after the other, all with \
             {provider_code:?}: the rest waits"
        );
        let hint =
            "mend what is refused, then resume the file by control file or marker, or cancel it";
        let notice = Notice {
            realm: record.realm(),
            hint: hint.to_owned(),
            ..Notice::warning(now, ReasonCode::PolicyPaused, record.name(), message)
        };
        tracing::warn!(%tenant, %batch, file = record.name(), code = provider_code, refusals = count,
            "batch paused: its messages are refused one after the other");
        self.metrics.limit_hits.of(["pause_after_equal_refusals"]).inc();
        // What is on the wire ends, and nothing else begins before the pause is stored. Where there is no
        // room for that, the next turn tries again.
        halt.cancel();
        let store = self.store.clone();
        blocking(move || {
            let orders = store.batch(batch)?.map_or(0, |record| record.control.orders);
            let what = format!("stuck {batch}");
            store.notice_once(&tenant, &notice, &what, &orders.to_string())?;
            loop {
                let mut commands = Commands::because(ReasonCode::PolicyPaused, now);
                let effect = store.command(&mut commands, ControlOp::Pause, batch, None)?;
                debug_assert!(matches!(effect, Ok(Effect::Pause | Effect::Nothing) | Err(_)));
                match store.carry_out(&commands) {
                    Err(StoreError::Conflict) => {}
                    result => return result,
                }
            }
        })
        .await?;
        if let Some(open) = self.open_mut(batch) {
            open.pause();
        }
        self.outbox.notify_one();
        Ok(())
    }

    /// Tells each tenant that has something to send through a provider that refuses our account, once for
    /// each time that it does.
    pub(super) async fn tell_of_troubles(&mut self) -> Result<(), DispatchError> {
        for (id, trouble) in self.troubles() {
            for tenant in self.tenants_sending_by(&id) {
                let told = (tenant.clone(), id.clone());
                if self.told.get(&told) == Some(&trouble.since) {
                    continue;
                }
                let (store, notice) = (self.store.clone(), notice_of(&id, &trouble));
                let (what, about) = (format!("provider {id}"), trouble.since.to_string());
                blocking(move || store.notice_once(&tenant, &notice, &what, &about)).await?;
                self.told.insert(told, trouble.since);
                self.outbox.notify_one();
            }
        }
        Ok(())
    }

    fn troubles(&self) -> Vec<(String, Trouble)> {
        let all = self.providers.iter();
        all.filter_map(|(id, provider)| Some((id.clone(), provider.trouble()?))).collect()
    }

    fn tenants_sending_by(&self, provider: &str) -> Vec<TenantId> {
        let real = self.lanes_known.keys().filter(|(_, realm)| *realm == Realm::Real);
        let sends_by = |tenant: &TenantId| {
            let route = self.settings.routes.of(tenant);
            route
                .is_some_and(|route| route.channels.values().flatten().any(|name| name == provider))
        };
        real.filter(|(tenant, _)| sends_by(tenant)).map(|(tenant, _)| tenant.clone()).collect()
    }
}

fn notice_of(provider: &str, trouble: &Trouble) -> Notice {
    let message =
        format!("the provider {provider} refuses the account: what goes through it waits");
    Notice {
        severity: Severity::Warning,
        hint: trouble.code.advice().to_owned(),
        ..Notice::warning(trouble.since, trouble.code, "", message)
    }
}

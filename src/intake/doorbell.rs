//! How others wake intake.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::model::TenantId;

/// Tells intake which tenants' inboxes to look through, and wakes it.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<HashSet<TenantId>>,
    /// A held file was let go on.
    released: AtomicBool,
    notify: Notify,
}

impl Doorbell {
    pub fn ring(&self, tenant: &TenantId) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone());
        self.notify.notify_one();
    }

    /// Says that a held file was let go on: it is read again.
    pub fn ring_for_released(&self) {
        self.released.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    pub(super) fn take_released(&self) -> bool {
        self.released.swap(false, Ordering::AcqRel)
    }

    pub(super) fn take(&self) -> HashSet<TenantId> {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Cancel-safe: a ring that nobody waited for is kept.
    pub(super) async fn rung(&self) {
        self.notify.notified().await;
    }
}

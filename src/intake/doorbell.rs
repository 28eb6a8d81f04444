//! How others wake intake.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::model::{Lane, Realm, TenantId};

/// Tells intake which inboxes to look through, and wakes it.
#[derive(Debug, Default)]
pub struct Doorbell {
    rung: Mutex<HashSet<Lane>>,
    /// A held file was let go on.
    released: AtomicBool,
    notify: Notify,
}

impl Doorbell {
    /// For all inboxes of a tenant.
    pub fn ring(&self, tenant: &TenantId) {
        self.ring_for(Realm::ALL.map(|realm| (tenant.clone(), realm)));
    }

    /// For the inbox in which a path lies.
    pub fn ring_at(&self, tenant: &TenantId, path: &str) {
        self.ring_for([(tenant.clone(), Realm::of_path(path))]);
    }

    fn ring_for(&self, lanes: impl IntoIterator<Item = Lane>) {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner).extend(lanes);
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

    pub(super) fn take(&self) -> HashSet<Lane> {
        std::mem::take(&mut *self.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Cancel-safe: a ring that nobody waited for is kept.
    pub(super) async fn rung(&self) {
        self.notify.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_lets_nobody_look_at_held_files() {
        let bell = Doorbell::default();
        bell.ring(&"acme".parse().unwrap());
        assert!(!bell.take_released());
        bell.ring_for_released();
        assert_eq!((bell.take_released(), bell.take_released()), (true, false));
        assert_eq!(bell.take().len(), 1, "the tenant's inbox is looked through all the same");
    }
}

//! One connection: where it comes from, who has logged in, how many transfers run, and its end.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::desk::Notes;

/// A connection as its engine and the accept loop share it; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Visit {
    pub(super) peer: IpAddr,
    /// What the desk writes down until somebody has logged in.
    pub(super) notes: Notes,
    logged_in: Arc<watch::Sender<bool>>,
    transfers: Arc<watch::Sender<usize>>,
    ending: CancellationToken,
    cut: CancellationToken,
}

impl Visit {
    pub(super) fn new(peer: IpAddr) -> Visit {
        let ending = CancellationToken::new();
        Visit {
            peer,
            notes: Notes::default(),
            logged_in: Arc::new(watch::Sender::new(false)),
            transfers: Arc::new(watch::Sender::new(0)),
            cut: CancellationToken::new(),
            ending,
        }
    }

    pub(super) fn login_succeeded(&self) {
        self.logged_in.send_replace(true);
    }

    pub(super) fn is_logged_in(&self) -> bool {
        *self.logged_in.borrow()
    }

    /// A transfer runs until the guard is dropped.
    pub(super) fn transfer(&self) -> Transfer {
        self.transfers.send_modify(|count| *count += 1);
        Transfer(self.transfers.clone())
    }

    /// Returns when no transfer runs.
    pub(super) async fn at_rest(&self) {
        let mut transfers = self.transfers.subscribe();
        // The sender lives in `self`: it cannot be gone.
        let _ = transfers.wait_for(|count| *count == 0).await.is_ok();
    }

    /// Asks the engine to say goodbye as soon as no transfer runs.
    pub(super) fn end(&self) {
        self.ending.cancel();
    }

    /// Asks the engine to stop in the middle of whatever runs, with a clear answer.
    pub(super) fn cut(&self) {
        self.ending.cancel();
        self.cut.cancel();
    }

    /// Returns when the engine is asked to say goodbye.
    pub(super) async fn ending(&self) {
        self.ending.cancelled().await;
    }

    /// Returns when the engine is asked to stop at once.
    pub(super) async fn being_cut(&self) {
        self.cut.cancelled().await;
    }

    /// Waits until `bytes` more may come in from this session.
    pub(super) async fn pace_in(&self, bytes: usize) {
        let _ = bytes;
    }

    /// Waits until `bytes` more may go out to this session.
    pub(super) async fn pace_out(&self, bytes: usize) {
        let _ = bytes;
    }
}

/// See `Visit::transfer`.
#[derive(Debug)]
pub(super) struct Transfer(Arc<watch::Sender<usize>>);

impl Drop for Transfer {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

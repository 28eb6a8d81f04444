//! Where the SSH session hands received bytes to the SFTP task, without ever waiting for a client
//! that waits for us.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// From here on the session waits for the task, and so the client for us. Enough for a batch.
const CALM_BYTES: usize = 1 << 20;
/// What a client may have asked without taking the answers: paramiko asks for a whole file at once,
/// some 40 bytes for each 32 KiB of it.
const ASKED_MAX_BYTES: usize = 16 << 20;

/// A queue of bytes with one sender and one taker.
#[derive(Debug, Default)]
pub(in crate::transfer) struct Inlet {
    state: Mutex<State>,
    arrived: Notify,
    eased: Notify,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// The task waits for the client to take answers. The session must go on reading then: the
    /// client's word that it has room comes the same way as its requests.
    answering: bool,
    closed: bool,
}

/// The client asks on and on and takes no answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transfer) struct TooMuch;

impl Inlet {
    /// Hands in what was received; returns when there is room for more.
    pub(in crate::transfer) async fn push(&self, bytes: &[u8]) -> Result<(), TooMuch> {
        {
            let mut state = self.state();
            if state.closed {
                return Ok(());
            }
            if state.bytes.len() + bytes.len() > ASKED_MAX_BYTES {
                return Err(TooMuch);
            }
            state.bytes.extend_from_slice(bytes);
        }
        self.arrived.notify_one();
        loop {
            {
                let state = self.state();
                if state.bytes.len() <= CALM_BYTES || state.answering || state.closed {
                    return Ok(());
                }
            }
            self.eased.notified().await;
        }
    }

    /// Waits for bytes and adds all there are to `into`. False when the client is gone.
    pub(super) async fn take(&self, into: &mut Vec<u8>) -> bool {
        loop {
            {
                let mut state = self.state();
                if !state.bytes.is_empty() {
                    if into.is_empty() {
                        std::mem::swap(into, &mut state.bytes);
                    } else {
                        into.append(&mut state.bytes);
                    }
                    // A buffer that once was large is not kept for a silent client.
                    state.bytes = Vec::new();
                    break;
                }
                if state.closed {
                    return false;
                }
            }
            self.arrived.notified().await;
        }
        self.eased.notify_one();
        true
    }

    /// Says whether the task waits for the client to take answers.
    pub(super) fn answering(&self, answering: bool) {
        self.state().answering = answering;
        self.eased.notify_one();
    }

    /// No more bytes come, or none are wanted.
    pub(in crate::transfer) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
        self.eased.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn the_session_waits_for_the_disk_but_not_for_the_client() {
        let inlet = Arc::new(Inlet::default());
        let pushing = {
            let inlet = inlet.clone();
            async move { inlet.push(&vec![1; CALM_BYTES + 1]).await }
        };
        tokio::pin!(pushing);
        assert!(futures_util::poll!(&mut pushing).is_pending());
        inlet.answering(true);
        assert_eq!(pushing.await, Ok(()));
        assert_eq!(inlet.push(&vec![1; CALM_BYTES]).await, Ok(()));
        assert_eq!(inlet.push(&vec![1; ASKED_MAX_BYTES]).await, Err(TooMuch));
        let mut bytes = Vec::new();
        assert!(inlet.take(&mut bytes).await);
        assert_eq!(bytes.len(), 2 * CALM_BYTES + 1);
        inlet.close();
        assert!(!inlet.take(&mut bytes).await);
    }
}

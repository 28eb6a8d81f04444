//! Where the SSH session hands received bytes to the SFTP task, without ever waiting for a client
//! that waits for us.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::allowance::Allowance;
use super::frames::{Frames, Input};

/// From here on the session waits for the task, and so the client for us. Enough for a batch.
const CALM_BYTES: usize = 256 << 10;
/// What may be held without asking the allowance: two batches, and a packet that is still coming.
const FREE_BYTES: usize = 1 << 20;

/// A queue of packets with one sender and one taker.
#[derive(Debug)]
pub(in crate::transfer) struct Inlet {
    state: Mutex<State>,
    /// For what a client asks without taking the answers: paramiko asks for a whole file at once, some
    /// 40 bytes for each 32 KiB of it.
    allowance: Allowance,
    arrived: Notify,
    eased: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: Frames,
    /// Bytes the task took and may not have answered yet.
    lent: usize,
    /// Bytes taken from the allowance.
    owed: usize,
    /// The task waits for the client to take answers. The session must go on reading then: the
    /// client's word that it has room comes the same way as its requests.
    answering: bool,
    malformed: bool,
    closed: bool,
}

/// The client asks on and on and takes no answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transfer) struct TooMuch;

/// What there is for the task.
pub(super) enum Arrival {
    Packets(Input),
    Malformed,
    /// The client is gone.
    End,
}

impl Inlet {
    pub(in crate::transfer) fn new(allowance: Allowance) -> Inlet {
        let (arrived, eased) = (Notify::new(), Notify::new());
        Inlet { state: Mutex::default(), allowance, arrived, eased }
    }

    /// Hands in what was received; returns when there is room for more.
    pub(in crate::transfer) async fn push(&self, bytes: &[u8]) -> Result<(), TooMuch> {
        {
            let mut state = self.state();
            if state.closed || state.malformed {
                return Ok(());
            }
            if !state.settle(&self.allowance, bytes.len()) {
                return Err(TooMuch);
            }
            state.malformed = state.frames.push(bytes).is_err();
            if state.frames.has_whole() || state.malformed {
                self.arrived.notify_one();
            }
        }
        loop {
            {
                let state = self.state();
                let calm = state.frames.bytes() <= CALM_BYTES || !state.frames.has_whole();
                if calm || state.answering || state.closed {
                    return Ok(());
                }
            }
            self.eased.notified().await;
        }
    }

    /// Waits for whole packets, and takes all there are. Those taken before are answered now.
    pub(super) async fn take(&self) -> Arrival {
        loop {
            {
                let mut state = self.state();
                if state.frames.has_whole() {
                    let packets = Input::new(state.frames.take_whole());
                    state.lent = packets.bytes();
                    state.settle(&self.allowance, 0);
                    self.eased.notify_one();
                    return Arrival::Packets(packets);
                }
                if state.lent > 0 {
                    state.lent = 0;
                    state.settle(&self.allowance, 0);
                }
                if state.closed {
                    return Arrival::End;
                }
                if state.malformed {
                    return Arrival::Malformed;
                }
            }
            self.arrived.notified().await;
        }
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

    pub(in crate::transfer) fn is_closed(&self) -> bool {
        self.state().closed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Squares accounts with the allowance for what is held and `more`; false where it has not so much.
    fn settle(&mut self, allowance: &Allowance, more: usize) -> bool {
        let owes = (self.frames.bytes() + self.lent + more).saturating_sub(FREE_BYTES);
        if owes > self.owed && !allowance.take(owes - self.owed) {
            return false;
        }
        allowance.give_back(self.owed.saturating_sub(owes));
        self.owed = owes;
        true
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        let owed = self.state().owed;
        self.allowance.give_back(owed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// A whole packet that takes so many bytes.
    fn packet(bytes: usize) -> Vec<u8> {
        let mut packet = ((bytes - 4) as u32).to_be_bytes().to_vec();
        packet.resize(bytes, 1);
        packet
    }

    async fn taken(inlet: &Inlet) -> usize {
        match inlet.take().await {
            Arrival::Packets(packets) => packets.bytes(),
            Arrival::Malformed => panic!("malformed"),
            Arrival::End => 0,
        }
    }

    #[tokio::test]
    async fn the_session_waits_for_the_disk_but_not_for_the_client() {
        let whole = Allowance::new(FREE_BYTES);
        let inlet = Arc::new(Inlet::new(whole.part(2 * FREE_BYTES)));
        let part = packet(CALM_BYTES / 2 + 4);
        assert_eq!(inlet.push(&part).await, Ok(()));
        let pushing = {
            let (inlet, part) = (inlet.clone(), part.clone());
            async move { inlet.push(&part).await }
        };
        tokio::pin!(pushing);
        assert!(futures_util::poll!(&mut pushing).is_pending());
        inlet.answering(true);
        assert_eq!(pushing.await, Ok(()));
        let mut held = 2 * part.len();
        while held + part.len() <= 2 * FREE_BYTES {
            assert_eq!(inlet.push(&part).await, Ok(()));
            held += part.len();
        }
        assert_eq!(inlet.push(&part).await, Err(TooMuch));
        // What is taken is still held until the task comes back for more.
        assert_eq!(taken(&inlet).await, held);
        assert_eq!(inlet.push(&part).await, Err(TooMuch));
        assert!(!whole.take(FREE_BYTES / 2));
        let small = packet(10);
        assert_eq!(inlet.push(&small).await, Ok(()));
        assert_eq!(taken(&inlet).await, small.len());
        assert!(whole.take(FREE_BYTES));
        inlet.close();
        assert!(matches!(inlet.take().await, Arrival::End));
    }

    #[tokio::test]
    async fn the_task_is_not_woken_for_half_a_packet() {
        let inlet = Inlet::new(Allowance::new(0));
        let packet = packet(200_000);
        inlet.push(&packet[..100_000]).await.unwrap();
        let taking = taken(&inlet);
        tokio::pin!(taking);
        assert!(futures_util::poll!(&mut taking).is_pending());
        inlet.push(&packet[100_000..]).await.unwrap();
        assert_eq!(taking.await, packet.len());
        inlet.push(b"\xff\xff\xff\xff").await.unwrap();
        assert!(matches!(inlet.take().await, Arrival::Malformed));
    }
}

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

/// Packets that are answered at once are no more than this together: bulk goes to the task.
const AT_ONCE_BYTES: usize = 8 << 10;

/// A queue of packets with one sender and one taker.
#[derive(Debug)]
pub(super) struct Inlet {
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
    /// The task has nothing to do.
    waiting: bool,
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
    pub(super) fn new(allowance: Allowance) -> Inlet {
        let (arrived, eased) = (Notify::new(), Notify::new());
        Inlet { state: Mutex::default(), allowance, arrived, eased }
    }

    /// Hands in what was received. Where all of it is whole and small, the task waits for work, and
    /// `is_first` says that nothing is on its way out, the packets come back to be answered at once. It
    /// is asked only while the task waits, so that no answer of the task's can slip in between.
    pub(super) fn push(
        &self,
        bytes: &[u8],
        is_first: impl FnOnce() -> bool,
    ) -> Result<Option<Input>, TooMuch> {
        let mut state = self.state();
        if state.closed || state.malformed {
            return Ok(None);
        }
        if !state.settle(&self.allowance, bytes.len()) {
            return Err(TooMuch);
        }
        state.malformed = state.frames.push(bytes).is_err();
        let small = state.frames.is_whole() && state.frames.bytes() <= AT_ONCE_BYTES;
        if state.waiting && small && !state.malformed && is_first() {
            let packets = Input::new(state.frames.take_whole());
            state.lent = packets.bytes();
            return Ok(Some(packets));
        }
        if state.frames.has_whole() || state.malformed {
            self.arrived.notify_one();
        }
        Ok(None)
    }

    /// What was taken at once is answered, but for what is left.
    pub(super) fn answered(&self, left: Input, malformed: bool) {
        let mut state = self.state();
        state.lent = 0;
        state.malformed |= malformed;
        if !malformed {
            // What follows nonsense is not obeyed.
            state.frames.put_back(left);
        }
        state.settle(&self.allowance, 0);
        if state.frames.has_whole() || state.malformed {
            self.arrived.notify_one();
        }
    }

    /// Returns when there is room for more.
    pub(super) async fn has_room(&self) {
        loop {
            {
                let state = self.state();
                let calm = state.frames.bytes() <= CALM_BYTES || !state.frames.has_whole();
                if calm || state.answering || state.closed {
                    return;
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
                state.waiting = false;
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
                state.waiting = true;
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
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.arrived.notify_one();
        self.eased.notify_one();
    }

    pub(super) fn is_closed(&self) -> bool {
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

    /// Hands in, and waits for room, as a session does whose answers are still on their way.
    async fn push(inlet: &Inlet, bytes: &[u8]) -> Result<(), TooMuch> {
        assert!(inlet.push(bytes, || false)?.is_none());
        inlet.has_room().await;
        Ok(())
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
        assert_eq!(push(&inlet, &part).await, Ok(()));
        let pushing = {
            let (inlet, part) = (inlet.clone(), part.clone());
            async move { push(&inlet, &part).await }
        };
        tokio::pin!(pushing);
        assert!(futures_util::poll!(&mut pushing).is_pending());
        inlet.answering(true);
        assert_eq!(pushing.await, Ok(()));
        let mut held = 2 * part.len();
        while held + part.len() <= 2 * FREE_BYTES {
            assert_eq!(push(&inlet, &part).await, Ok(()));
            held += part.len();
        }
        assert_eq!(push(&inlet, &part).await, Err(TooMuch));
        // What is taken is still held until the task comes back for more.
        assert_eq!(taken(&inlet).await, held);
        assert_eq!(push(&inlet, &part).await, Err(TooMuch));
        assert!(!whole.take(FREE_BYTES / 2));
        let small = packet(10);
        assert_eq!(push(&inlet, &small).await, Ok(()));
        assert_eq!(taken(&inlet).await, small.len());
        assert!(whole.take(FREE_BYTES));
        inlet.close();
        assert!(matches!(inlet.take().await, Arrival::End));
    }

    #[tokio::test]
    async fn the_task_is_not_woken_for_half_a_packet() {
        let inlet = Inlet::new(Allowance::new(0));
        let packet = packet(200_000);
        push(&inlet, &packet[..100_000]).await.unwrap();
        let taking = taken(&inlet);
        tokio::pin!(taking);
        assert!(futures_util::poll!(&mut taking).is_pending());
        push(&inlet, &packet[100_000..]).await.unwrap();
        assert_eq!(taking.await, packet.len());
        push(&inlet, b"\xff\xff\xff\xff").await.unwrap();
        assert!(matches!(inlet.take().await, Arrival::Malformed));
    }

    #[tokio::test]
    async fn what_follows_nonsense_is_not_answered() {
        let inlet = Inlet::new(Allowance::new(0));
        let mut taking = Box::pin(inlet.take());
        assert!(futures_util::poll!(&mut taking).is_pending());
        let both = [packet(10), packet(12)].concat();
        let mut input = inlet.push(&both, || true).unwrap().unwrap();
        input.next(|_| ()).unwrap();
        inlet.answered(input, true);
        assert!(matches!(taking.await, Arrival::Malformed));
    }

    #[tokio::test]
    async fn small_packets_are_answered_at_once_where_nothing_is_before_them() {
        let inlet = Inlet::new(Allowance::new(0));
        let small = packet(10);
        // The task is not there yet.
        assert!(inlet.push(&small, || true).unwrap().is_none());
        assert_eq!(taken(&inlet).await, 10);
        let mut taking = Box::pin(taken(&inlet));
        assert!(futures_util::poll!(&mut taking).is_pending());
        let mut input = inlet.push(&[&small[..], &small].concat(), || true).unwrap().unwrap();
        // Two at a time are taken; what is not answered goes to the task, as what comes in halves does.
        input.next(|_| ()).unwrap();
        inlet.answered(input, false);
        assert_eq!(taking.await, 10);
        let mut taking = Box::pin(taken(&inlet));
        assert!(futures_util::poll!(&mut taking).is_pending());
        assert!(inlet.push(&small, || false).unwrap().is_none());
        assert_eq!(taking.await, 10);
        let mut taking = Box::pin(taken(&inlet));
        assert!(futures_util::poll!(&mut taking).is_pending());
        assert!(inlet.push(&[&small[..], &small[..5]].concat(), || true).unwrap().is_none());
        assert_eq!(taking.await, 10);
        let mut taking = Box::pin(taken(&inlet));
        assert!(futures_util::poll!(&mut taking).is_pending());
        let large = packet(AT_ONCE_BYTES);
        assert!(inlet.push(&[&small[5..], &large].concat(), || true).unwrap().is_none());
        assert_eq!(taking.await, 10 + large.len());
    }
}

//! Answers between the SFTP sessions of a connection and its socket: few, so that a client that takes
//! them slowly does not fill our memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;

/// Bytes of answers that were handed to russh and are not written to the socket yet.
const OUT_MAX_BYTES: usize = 128 << 10;

/// Counts what is on its way. russh queues what it is handed, and encrypts all of it before it writes.
#[derive(Debug)]
pub(in crate::transfer) struct Outflow {
    room: Semaphore,
    /// Bytes that russh has encrypted, or dropped with their channel, since it wrote everything.
    done: AtomicUsize,
}

impl Default for Outflow {
    fn default() -> Outflow {
        Outflow { room: Semaphore::new(OUT_MAX_BYTES), done: AtomicUsize::new(0) }
    }
}

impl Outflow {
    /// Waits until the message may go out; `None` where the connection is over.
    pub(super) async fn admit(self: &Arc<Outflow>, bytes: Vec<u8>) -> Option<Bytes> {
        let room = bytes.len().min(OUT_MAX_BYTES);
        self.room.acquire_many(room as u32).await.ok()?.forget();
        Some(Bytes::from_owner(Message { bytes, room, outflow: self.clone() }))
    }

    /// Nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.room.available_permits() == OUT_MAX_BYTES
    }

    /// Lets a message out where nobody else does at this moment.
    pub(super) fn admit_at_once(self: &Arc<Outflow>, bytes: Vec<u8>) -> Bytes {
        let room = self.room.forget_permits(bytes.len());
        Bytes::from_owner(Message { bytes, room, outflow: self.clone() })
    }

    /// Everything encrypted so far was written to the socket.
    pub(in crate::transfer) fn written(&self) {
        self.room.add_permits(self.done.swap(0, Ordering::Relaxed));
    }

    /// The connection is over: nobody waits any more.
    pub(in crate::transfer) fn close(&self) {
        self.room.close();
    }
}

/// A message that says when it is not needed any more.
struct Message {
    bytes: Vec<u8>,
    room: usize,
    outflow: Arc<Outflow>,
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.outflow.done.fetch_add(self.room, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_wait_until_those_before_them_are_written() {
        let outflow = Arc::new(Outflow::default());
        let first = outflow.admit(vec![1; OUT_MAX_BYTES - 1]).await.unwrap();
        let second = outflow.admit(vec![2; 2 * OUT_MAX_BYTES]);
        tokio::pin!(second);
        assert!(futures_util::poll!(&mut second).is_pending());
        outflow.written();
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        assert!(futures_util::poll!(&mut second).is_pending());
        outflow.written();
        assert_eq!(second.await.unwrap().len(), 2 * OUT_MAX_BYTES);
        outflow.close();
        assert!(outflow.admit(vec![3]).await.is_none());
    }
}

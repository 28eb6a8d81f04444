//! SFTP version 3, as OpenSSH speaks it: one task per channel between the SSH session and the disk.
//!
//! The session task hands bytes in through the `Inlet`; a `Session` answers packets in order, in
//! batches, on a blocking thread; answers go out as the client's window allows.

mod handles;
mod inlet;
mod packet;
mod reply;
mod session;

use std::sync::Arc;

use russh::ChannelId;
use russh::server::Handle;

pub(super) use inlet::{Inlet, TooMuch};
pub(super) use session::Session;

use super::visit::Visit;
use crate::worker::blocking;

/// A buffer larger than this is given back when the client is silent.
const IDLE_BUFFER_BYTES: usize = 64 << 10;

/// Serves one channel until the client closes it, or sends what is no SFTP.
pub(super) async fn run(
    mut session: Session,
    inlet: Arc<Inlet>,
    visit: Visit,
    client: Handle,
    channel: ChannelId,
) {
    let mut input = Input::default();
    'channel: while inlet.take(&mut input.bytes).await {
        // Until the answers are on their way this counts as a transfer: a stop waits for it.
        let _busy = visit.transfer();
        loop {
            let (back, rest, answers, result) = blocking(move || {
                let mut answers = Vec::new();
                let result = input.serve(&mut session, &mut answers);
                (session, input, answers, result)
            })
            .await;
            (session, input) = (back, rest);
            let more = !answers.is_empty();
            if more {
                inlet.answering(true);
                let sent = client.data(channel, answers).await;
                inlet.answering(false);
                if sent.is_err() {
                    break 'channel;
                }
            }
            if let Err(packet::Malformed) = result {
                tracing::info!(peer = %visit.peer, "channel closed: not a valid SFTP packet");
                break 'channel;
            }
            if !more {
                break;
            }
        }
    }
    inlet.close();
    // Uploads that are still open are aborted here, which touches the disk.
    blocking(move || drop(session)).await;
    // The session may be gone already, with the channel.
    let _ = client.exit_status_request(channel, 0).await;
    let _ = client.eof(channel).await;
    let _ = client.close(channel).await;
}

/// Received bytes, of which the first `used` are answered.
#[derive(Default)]
struct Input {
    bytes: Vec<u8>,
    used: usize,
}

impl Input {
    fn serve(
        &mut self,
        session: &mut Session,
        answers: &mut Vec<u8>,
    ) -> Result<(), packet::Malformed> {
        let result = session.serve(&self.bytes[self.used..], answers);
        self.used += result.unwrap_or(0);
        // Moving the rest to the front is worth it only where the rest is the smaller part.
        if self.used * 2 >= self.bytes.len() {
            self.bytes.drain(..self.used);
            self.used = 0;
            if self.bytes.len() < IDLE_BUFFER_BYTES && self.bytes.capacity() > IDLE_BUFFER_BYTES {
                self.bytes.shrink_to(IDLE_BUFFER_BYTES);
            }
        }
        result.map(|_| ())
    }
}

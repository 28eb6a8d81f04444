//! SFTP version 3, as OpenSSH speaks it: one task per channel between the SSH session and the disk.
//!
//! The session task hands bytes in through the `Inlet`; a `Session` answers packets in order, in
//! batches; answers go out as the client's window allows.

mod allowance;
mod answers;
mod book;
mod frames;
mod handles;
mod inlet;
mod outflow;
mod packet;
mod reply;
mod session;

use std::sync::Arc;

use russh::ChannelId;
use russh::server::Handle;

use self::answers::Answers;
use self::inlet::Arrival;
pub(super) use allowance::Allowance;
pub(super) use book::Book;
pub(super) use inlet::{Inlet, TooMuch};
pub(super) use outflow::Outflow;
pub(super) use session::Session;

use super::visit::Visit;
use crate::worker::{QuickWork, in_place};

/// The way from a channel to its session and back.
pub(super) struct Way {
    pub(super) inlet: Arc<Inlet>,
    pub(super) outflow: Arc<Outflow>,
    pub(super) client: Handle,
    pub(super) channel: ChannelId,
}

/// Serves one channel until the client closes it, sends what is no SFTP, or is cut.
pub(super) async fn run(mut session: Session, visit: Visit, way: Way) {
    tokio::select! {
        () = visit.being_cut() => {}
        () = serve(&mut session, &visit, &way) => {}
    }
    let Way { inlet, client, channel, .. } = way;
    inlet.close();
    // Uploads that are still open end here, which touches the disk.
    in_place(|| drop(session));
    // The SSH session may be gone already, with the channel.
    let _ = client.exit_status_request(channel, 0).await;
    let _ = client.eof(channel).await;
    let _ = client.close(channel).await;
}

async fn serve(session: &mut Session, visit: &Visit, way: &Way) {
    let Way { inlet, outflow, client, channel } = way;
    let (world, mut work) = (session.world(), QuickWork::default());
    loop {
        let mut input = match inlet.take().await {
            Arrival::Packets(input) => input,
            Arrival::Malformed => return closed(visit),
            Arrival::End => return,
        };
        // Until the answers are on their way this counts as a transfer: a stop waits for it.
        let _busy = visit.transfer();
        visit.pace_in(input.bytes()).await;
        while !input.is_empty() {
            let mut answers = Answers::default();
            let serving = || session.serve(&mut input, &mut answers);
            let result = work.run(|| world.clock.instant(), serving);
            inlet.answering(true);
            while let Some(message) = answers.next() {
                visit.pace_out(message.len()).await;
                let Some(message) = outflow.admit(message).await else { return };
                if client.data(*channel, message).await.is_err() {
                    return;
                }
            }
            inlet.answering(false);
            if let Err(packet::Malformed) = result {
                return closed(visit);
            }
        }
    }
}

/// Serves bytes that are all there, without the SSH around them.
#[cfg(feature = "fuzzing")]
pub(super) fn serve_bytes(session: &mut Session, bytes: &[u8], mut send: impl FnMut(Vec<u8>)) {
    let mut frames = frames::Frames::default();
    // What was whole before nonsense is answered.
    let _malformed = frames.push(bytes).is_err();
    let mut input = frames::Input::new(frames.take_whole());
    while !input.is_empty() {
        let mut answers = Answers::default();
        let result = session.serve(&mut input, &mut answers);
        while let Some(message) = answers.next() {
            send(message);
        }
        if result.is_err() {
            return;
        }
    }
}

fn closed(visit: &Visit) {
    tracing::info!(peer = %visit.peer, "channel closed: not a valid SFTP packet");
}

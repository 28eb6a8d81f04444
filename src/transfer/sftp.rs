//! SFTP version 3, as OpenSSH speaks it: one task per channel between the SSH session and the disk.
//!
//! The SSH session hands bytes in through `Served`; a `Session` answers packets in order, in batches;
//! answers go out as the client's window allows.

mod allowance;
mod answers;
mod book;
mod frames;
mod handles;
mod inlet;
mod outflow;
mod packet;
mod reply;
mod served;
mod session;

use std::sync::Arc;

use russh::ChannelId;
use russh::server::Handle;

use self::answers::Answers;
use self::inlet::Arrival;
pub(super) use allowance::Allowance;
pub(super) use book::Book;
pub(super) use outflow::Outflow;
pub(super) use served::Served;
pub(super) use session::Session;

use super::visit::Visit;
use crate::worker::in_place;

/// Serves one channel until the client closes it, sends what is no SFTP, or is cut.
pub(super) async fn run(served: Arc<Served>, client: Handle, channel: ChannelId) {
    tokio::select! {
        () = served.visit.being_cut() => {}
        () = serve(&served, &client, channel) => {}
    }
    // Uploads that are still open end here, which touches the disk.
    in_place(|| drop(served.end()));
    // The SSH session may be gone already, with the channel.
    let _ = client.exit_status_request(channel, 0).await;
    let _ = client.eof(channel).await;
    let _ = client.close(channel).await;
}

async fn serve(served: &Served, client: &Handle, channel: ChannelId) {
    let Served { inlet, outflow, visit, .. } = served;
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
            let Some(result) = served.serve(&mut input, &mut answers) else { return };
            inlet.answering(true);
            while let Some(message) = answers.next() {
                visit.pace_out(message.len()).await;
                let Some(message) = outflow.admit(message).await else { return };
                if client.data(channel, message).await.is_err() {
                    return;
                }
                // This message waits behind those that are stuck, and counts until it is out.
                served.note_stuck(false);
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

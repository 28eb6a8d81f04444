//! Speed against an SMTP server that is not ours. Run by hand, optimised, with Postfix's `smtp-sink`
//! listening: `smtp-sink -u nobody inet:127.0.0.1:2525 1024`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::{ProviderKind, SmtpSettings, SmtpTls};
use super::{channel, message, send};
use crate::model::{Outcome, OutgoingMessage};
use crate::world::World;

const PORT: u16 = 2525;
const MESSAGES: usize = 20_000;
const CONNECTIONS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs smtp-sink on port 2525"]
#[allow(clippy::disallowed_methods, clippy::print_stderr, reason = "a measurement")]
async fn twenty_thousand_messages_over_eight_connections() {
    let channel = Arc::new(channel(ProviderKind::Smtp(Box::new(SmtpSettings {
        host: "127.0.0.1".to_owned(),
        port: PORT,
        tls: SmtpTls::None,
        connections: CONNECTIONS,
        ..SmtpSettings::default()
    }))));
    let text = "a line of text that is about as long as this one is\n".repeat(40);
    let next = Arc::new(AtomicUsize::new(0));
    let world = World::real();
    let start = world.clock.instant();
    let mut senders = Vec::new();
    for _ in 0..CONNECTIONS * 2 {
        let (channel, next, text) = (channel.clone(), next.clone(), text.clone());
        senders.push(tokio::spawn(async move {
            loop {
                let row = next.fetch_add(1, Ordering::Relaxed);
                if row >= MESSAGES {
                    return;
                }
                let message = OutgoingMessage {
                    message_id: format!("b-{row}@acme.example"),
                    to: format!("user{row}@example.com"),
                    text: text.clone(),
                    ..message()
                };
                let attempt = send(&channel, &message).await;
                assert_eq!(attempt.outcome, Outcome::Accepted, "{attempt:?}");
            }
        }));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let seconds = world.clock.instant().duration_since(start).as_secs_f64();
    eprintln!("{:.0} messages a second", MESSAGES as f64 / seconds);
}

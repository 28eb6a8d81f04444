//! Real sockets against scripted servers.

pub(super) mod black_hole;
mod directory;
mod http;
mod http_server;
mod misbehaving;
mod smtp;
mod smtp_server;
mod throughput;

use std::sync::Arc;

use super::{Channel, ProviderKind, ProviderSettings};
use crate::model::{Attempt, Category, ChannelKind, OutgoingMessage};
use crate::world::World;

pub(super) fn message() -> OutgoingMessage {
    OutgoingMessage {
        message_id: "b-1@acme.example".to_owned(),
        tenant: "acme".into(),
        batch: "b".into(),
        row: 1,
        channel: ChannelKind::Email,
        category: Category::Transactional,
        to: "ann@example.com".to_owned(),
        sender: "Acme <news@acme.example>".into(),
        reply_to: "".into(),
        subject: "Hello".to_owned(),
        text: "Dear Ann".to_owned(),
        html: String::new(),
        template: "".into(),
        lang: "en".into(),
        campaign: "".into(),
        variables: vec![("first_name".into(), "Ann".to_owned())],
        date: "2026-11-22T10:00:00Z".parse().unwrap(),
        attempt: 1,
    }
}

fn channel(kind: ProviderKind) -> Channel {
    Channel::new(ProviderSettings::new("p", kind), Arc::new(World::real())).unwrap()
}

/// Both steps; a failure to get ready counts as the attempt.
async fn send(channel: &Channel, message: &OutgoingMessage) -> Attempt {
    match channel.ready().await {
        Ok(ready) => ready.send(message).await,
        Err(attempt) => attempt,
    }
}

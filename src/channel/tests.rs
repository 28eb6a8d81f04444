//! Real sockets against scripted servers.

use crate::model::{Category, ChannelKind, OutgoingMessage};

pub(super) fn message() -> OutgoingMessage {
    OutgoingMessage {
        message_id: "b-1@acme.example".to_owned(),
        tenant: "acme".to_owned(),
        batch: "b".to_owned(),
        row: 1,
        channel: ChannelKind::Email,
        category: Category::Transactional,
        to: "ann@example.com".to_owned(),
        sender: "Acme <news@acme.example>".to_owned(),
        reply_to: String::new(),
        subject: "Hello".to_owned(),
        text: "Dear Ann".to_owned(),
        html: String::new(),
        template: String::new(),
        lang: "en".to_owned(),
        campaign: String::new(),
        variables: vec![("first_name".to_owned(), "Ann".to_owned())],
        date: "2026-11-22T10:00:00Z".parse().unwrap(),
        attempt: 1,
    }
}

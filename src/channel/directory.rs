//! A provider that writes each message as a file: `.eml` for email, `.json` for the rest.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::answer::lost;
use super::mail::compose;
use super::settings::DirectorySettings;
use crate::model::{Attempt, ChannelKind, Outcome, OutgoingMessage};
use crate::worker::blocking;
use crate::world::World;

/// Longest stem of a file's name, in bytes.
const STEM_BYTES_MAX: usize = 200;

#[derive(Debug)]
pub(super) struct Directory {
    settings: DirectorySettings,
    world: Arc<World>,
}

impl Directory {
    pub(super) fn new(settings: DirectorySettings, world: Arc<World>) -> Directory {
        Directory { settings, world }
    }

    pub(super) async fn send(&self, message: &OutgoingMessage) -> Attempt {
        let (extension, bytes) = if message.channel == ChannelKind::Email {
            match compose(message) {
                Ok(email) => ("eml", email.bytes),
                Err(refused) => return refused,
            }
        } else {
            ("json", json(message))
        };
        let name = format!("{}.{extension}", stem(&message.message_id));
        // Two writers of one name (a row sent again) must not share a temporary file.
        let temporary = format!(".{name}.{:016x}", self.world.dice.next_u64());
        let folder = self.settings.path.clone();
        let target = name.clone();
        match blocking(move || write(&folder, &temporary, &target, &bytes)).await {
            Ok(()) => {
                let mut accepted = Attempt::new(Outcome::Accepted, None, "written");
                accepted.provider_message_id = name;
                accepted
            }
            Err(error) => lost(format!("writing the message's file: {error}")),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the provider's own folder, which no tenant sees")]
fn write(folder: &Path, temporary: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let path = folder.join(temporary);
    let written = File::create_new(&path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&path, folder.join(name))) {
        // Best effort: the error that matters is the first one.
        let _ignored = fs::remove_file(&path);
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn stem(id: &str) -> String {
    let safe = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@') { c } else { '_' }
    };
    let stem: String = id.chars().map(safe).take(STEM_BYTES_MAX).collect();
    if stem.starts_with('.') { format!("_{stem}") } else { stem }
}

fn json(message: &OutgoingMessage) -> Vec<u8> {
    let variables: serde_json::Map<String, serde_json::Value> = message
        .variables
        .iter()
        .map(|(name, value)| (name.to_string(), value.as_str().into()))
        .collect();
    let value = serde_json::json!({
        "message_id": message.message_id,
        "tenant": *message.tenant,
        "batch": *message.batch,
        "row": message.row,
        "channel": message.channel.as_str(),
        "category": message.category.as_str(),
        "to": message.to,
        "sender": *message.sender,
        "reply_to": *message.reply_to,
        "subject": message.subject,
        "text": message.text,
        "html": message.html,
        "template": *message.template,
        "lang": *message.lang,
        "campaign": *message.campaign,
        "variables": variables,
        "date": message.date.to_string(),
        "attempt": message.attempt,
    });
    format!("{value:#}\n").into_bytes()
}

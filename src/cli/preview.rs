//! `preview`: what a file would do, without a daemon, an inbox or a provider.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::args::Global;
use super::check::load;
use super::outcome::{Failure, print};
use super::serve::keep_private;
use super::table::shown;
use crate::app::{Preview, PreviewRequest, preview};
use crate::codes::ReasonCode;
use crate::dispatch::TrialMessage;
use crate::model::{FileState, Kind, OutgoingMessage};
use crate::world::World;

#[derive(Debug, Args)]
pub(super) struct PreviewArgs {
    /// The file to try.
    file: PathBuf,
    /// The tenant who would drop it.
    #[arg(long)]
    tenant: String,
    /// Read it with this profile, whatever its name.
    #[arg(long)]
    profile: Option<String>,
    /// The name it would have in the inbox, such as `messages/x.csv`; by default its own.
    #[arg(long)]
    name: Option<String>,
    /// The account that would drop it; by default one that may drop everything.
    #[arg(long, default_value = "")]
    account: String,
    /// Render the messages of so many rows.
    #[arg(long, default_value_t = 3)]
    messages: usize,
}

pub(super) fn show(global: &Global, args: PreviewArgs) -> Result<(), Failure> {
    let config = load(global)?;
    keep_private();
    let name = args.name.or_else(|| Some(args.file.file_name()?.to_str()?.to_owned()));
    let request = PreviewRequest {
        tenant: args.tenant.parse().context("read --tenant")?,
        name: name.context("the file's name is not UTF-8; give it one with --name")?,
        file: args.file,
        profile: args.profile,
        account: args.account,
        messages_max: args.messages,
    };
    std::fs::File::open(&request.file)
        .with_context(|| format!("open {}", request.file.display()))?;
    let file = request.name.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start runtime")?;
    let preview = runtime
        .block_on(preview(&config, Arc::new(World::real()), request))
        .context("preview the file")?;
    match global.json {
        true => print(format_args!("{:#}", in_json(&preview)))?,
        false => print(format_args!("{}", text(&file, &preview)))?,
    }
    if preview.is_refused() { Err(Failure::Refused) } else { Ok(()) }
}

fn in_json(preview: &Preview) -> Value {
    let facts = &preview.facts;
    let answers = preview
        .answers
        .iter()
        .map(|(name, bytes)| (name.clone(), Value::from(String::from_utf8_lossy(bytes))));
    let message = |TrialMessage { row, step, priority, message }: &TrialMessage| match message {
        Ok(message) => json!({
            "row": row,
            "step": step,
            "priority": priority,
            "channel": message.channel.as_str(),
            "to": message.to,
            "sender": *message.sender,
            "subject": message.subject,
            "text": message.text,
            "html": message.html,
        }),
        Err(code) => json!({ "row": row, "step": step, "code": code.as_str() }),
    };
    json!({
        "state": facts.state.map_or("", FileState::as_str),
        "code": facts.code.map_or("", ReasonCode::as_str),
        "message": facts.message,
        "kind": facts.kind.map_or("", Kind::as_str),
        "profile": facts.profile,
        "rows_total": facts.rows_total,
        "rows_accepted": facts.rows_accepted,
        "rows_rejected": facts.rows_rejected,
        "rows_duplicate": facts.rows_duplicate,
        "rows_suppressed": facts.rows_suppressed,
        "rows_deferred": facts.rows_deferred,
        "warnings": facts.warnings,
        "answers": answers.collect::<serde_json::Map<_, _>>(),
        "messages": preview.messages.iter().map(message).collect::<Vec<_>>(),
    })
}

fn text(file: &str, preview: &Preview) -> String {
    let facts = &preview.facts;
    let state = facts.state.map_or("", FileState::as_str);
    let code = facts.code.map_or_else(String::new, |code| format!(" {code}: {}", facts.message));
    let mut parts = vec![format!(
        "{file}: {state}{code}\nrows: {} accepted ({} suppressed, {} deferred), {} rejected, {} duplicate",
        facts.rows_accepted,
        facts.rows_suppressed,
        facts.rows_deferred,
        facts.rows_rejected,
        facts.rows_duplicate
    )];
    for (name, bytes) in &preview.answers {
        let text = String::from_utf8_lossy(bytes);
        let lines: Vec<String> = text.lines().map(shown).collect();
        parts.push(format!("--- {name}\n{}", lines.join("\n")));
    }
    for TrialMessage { row, step, message, .. } in &preview.messages {
        let place = match step {
            0 => format!("row {row}"),
            _ => format!("row {row}, else"),
        };
        parts.push(match message {
            Ok(message) => rendered(&place, message),
            Err(code) => format!("--- {place}: {code}: {}", code.meaning()),
        });
    }
    parts.join("\n\n")
}

fn rendered(place: &str, message: &OutgoingMessage) -> String {
    let OutgoingMessage { channel, to, sender, subject, text, html, .. } = message;
    let from = if sender.is_empty() { String::new() } else { format!(" from {}", shown(sender)) };
    let mut lines = vec![format!("--- {place}: {channel} to {}{from}", shown(to))];
    if !subject.is_empty() {
        lines.push(format!("Subject: {}", shown(subject)));
    }
    let bodies = [text, html].into_iter().filter(|body| !body.is_empty());
    lines.extend(bodies.flat_map(|body| body.lines()).map(shown));
    lines.join("\n")
}

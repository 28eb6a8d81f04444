//! A stored row becomes a finished message.

use std::collections::HashMap;
use std::sync::Arc;

use super::settings::Route;
use crate::codes::ReasonCode;
use crate::model::{Category, ChannelKind, OutgoingMessage, message_id_for};
use crate::render::{RenderError, Rendered, Template, TemplateSource, needs_rendering};
use crate::spool::{RowHead, StoredRow};
use crate::store::BatchRecord;

/// Why a row has no message; it fails with this code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unrenderable(pub(super) ReasonCode);

/// Renders the rows of one chunk; remembers compiled inline texts, since rows tend to share them.
#[derive(Debug)]
pub(super) struct Composer<'a> {
    record: &'a BatchRecord,
    head: &'a RowHead,
    route: &'a Route,
    tenant: Arc<str>,
    batch: Arc<str>,
    /// Names of the template variables, in the order of the rows' values.
    variables: Vec<Arc<str>>,
    shared: Shared,
    inline: HashMap<(String, String, String), Option<Template>>,
}

/// Texts of the row before, which most rows have too: one copy serves them all.
#[derive(Debug, Default)]
struct Shared {
    sender: Arc<str>,
    reply_to: Arc<str>,
    template: Arc<str>,
    lang: Arc<str>,
    campaign: Arc<str>,
}

fn share(before: &mut Arc<str>, text: &str) -> Arc<str> {
    if **before != *text {
        *before = text.into();
    }
    Arc::clone(before)
}

impl<'a> Composer<'a> {
    pub(super) fn new(
        record: &'a BatchRecord,
        head: &'a RowHead,
        route: &'a Route,
    ) -> Composer<'a> {
        Composer {
            record,
            head,
            route,
            tenant: record.tenant.as_str().into(),
            batch: record.id.to_string().into(),
            variables: head.variables.iter().map(|name| name.as_str().into()).collect(),
            shared: Shared::default(),
            inline: HashMap::new(),
        }
    }

    /// The message of an accepted row as it stands on a step of its chain. The sender is as intake
    /// resolved it.
    pub(super) fn compose(
        &mut self,
        (row, step): (&StoredRow<'_>, u8),
        channel: ChannelKind,
        attempt: u32,
    ) -> Result<OutgoingMessage, Unrenderable> {
        let mut rendered = self.render(row, channel)?;
        if channel == ChannelKind::Sms {
            self.route.sms.finish(&mut rendered.text);
        }
        let record = self.record;
        let variables = self.variables.iter().zip(&row.variables);
        let variables = variables.filter(|(_, value)| !value.is_empty());
        let shared = &mut self.shared;
        Ok(OutgoingMessage {
            message_id: message_id_for((record.id, row.row, step), channel, row.sender),
            tenant: Arc::clone(&self.tenant),
            batch: Arc::clone(&self.batch),
            row: row.row,
            channel,
            category: row.category.unwrap_or(Category::Marketing),
            to: row.to.to_owned(),
            sender: share(&mut shared.sender, row.sender),
            reply_to: share(&mut shared.reply_to, row.reply_to),
            subject: rendered.subject,
            text: rendered.text,
            html: rendered.html,
            template: share(&mut shared.template, row.template),
            lang: share(&mut shared.lang, row.lang),
            campaign: share(&mut shared.campaign, row.campaign),
            variables: variables
                .map(|(name, value)| (Arc::clone(name), (*value).to_owned()))
                .collect(),
            date: record.validated_at.unwrap_or(record.claimed_at),
            attempt,
        })
    }

    /// What a message counts for at limits.
    pub(super) fn cost(&self, message: &OutgoingMessage) -> u32 {
        match message.channel {
            ChannelKind::Sms => self.route.sms.parts(&message.text),
            _ => 1,
        }
    }

    /// The template's parts, each replaced by the row's own where it gives one.
    fn render(
        &mut self,
        row: &StoredRow<'_>,
        channel: ChannelKind,
    ) -> Result<Rendered, Unrenderable> {
        let names = &self.head.variables;
        let lookup = |name: &str| {
            let at = names.iter().position(|n| n == name)?;
            row.variables.get(at).copied().filter(|value| !value.is_empty())
        };
        let mut rendered = Rendered::default();
        if !row.template.is_empty() {
            let template = self
                .route
                .template(row.template, channel, row.lang)
                .ok_or(Unrenderable(ReasonCode::RowTemplateUnknown))?;
            rendered = template.render(&lookup).map_err(unrenderable)?;
        }
        let own = [row.subject, row.text, row.html];
        if own.iter().all(|part| part.is_empty()) {
            return Ok(rendered);
        }
        let own = if own.iter().any(|part| needs_rendering(part)) {
            let key = (row.subject.to_owned(), row.text.to_owned(), row.html.to_owned());
            let template = self.inline.entry(key).or_insert_with(|| {
                Template::compile_inline(TemplateSource {
                    name: "row".to_owned(),
                    subject: row.subject.to_owned(),
                    text: row.text.to_owned(),
                    html: row.html.to_owned(),
                    params: Vec::new(),
                })
                .ok()
            });
            let template = template.as_ref().ok_or(Unrenderable(ReasonCode::RowValueNotAllowed))?;
            template.render(&lookup).map_err(unrenderable)?
        } else {
            let [subject, text, html] = own.map(str::to_owned);
            Rendered { subject, text, html }
        };
        for (part, own) in [
            (&mut rendered.subject, own.subject),
            (&mut rendered.text, own.text),
            (&mut rendered.html, own.html),
        ] {
            if !own.is_empty() {
                *part = own;
            }
        }
        Ok(rendered)
    }
}

fn unrenderable(error: RenderError) -> Unrenderable {
    Unrenderable(match error {
        RenderError::MissingVariable { .. } => ReasonCode::RowVariableMissing,
        RenderError::TooLong | RenderError::OutOfFuel => ReasonCode::RowBodyTooLong,
        _ => ReasonCode::RowValueNotAllowed,
    })
}

//! What a row says, to whom it matters: template or text, language, category, priority.

use crate::codes::ReasonCode;
use crate::model::{Category, ChannelKind};

use super::checker::{RowCheck, is_lang};
use super::layout::{Column, Layout};
use super::message::MessageRow;
use super::nearest::{did_you_mean, nearest};
use super::problem::{cut_value, either};

impl RowCheck<'_> {
    /// Template or text, language and category.
    pub(super) fn content(&mut self, channel: Option<ChannelKind>, message: &mut MessageRow) {
        message.text.push_str(self.value(Column::Text));
        message.html.push_str(self.value(Column::Html));
        let has_text = !message.text.is_empty();
        let has_body = has_text || !message.html.is_empty();
        self.lang(message);
        if has_body && !message.template.is_empty() {
            let own_body = self.is_own(Column::Text) || self.is_own(Column::Html);
            match (own_body, self.is_own(Column::Template)) {
                // The row outranks what directive or profile say for all rows.
                (true, false) => message.template.clear(),
                (false, true) => {
                    message.text.clear();
                    message.html.clear();
                }
                _ => self.fault(
                    Column::Template,
                    ReasonCode::RowValueNotAllowed,
                    "the row gives a template and a text of its own",
                    "keep one of the two",
                ),
            }
        }
        let further: Vec<ChannelKind> = message.further.iter().map(|step| step.channel).collect();
        if !message.template.is_empty() {
            message.template_at = self.template(channel, message);
            for (at, channel) in further.into_iter().enumerate() {
                message.further[at].template_at = self.template(Some(channel), message);
            }
        } else if !has_body {
            let code = ReasonCode::RowBodyEmpty;
            self.row_fault(code, "the row has neither template nor text", code.advice());
        } else if !has_text && channel.into_iter().chain(further).any(|c| c != ChannelKind::Email) {
            let text = "html is for email only, and the row has no text";
            self.row_fault(ReasonCode::RowBodyEmpty, text, "fill the column text");
        }
        self.categories(message);
    }

    /// The template for a channel; notes what is wrong with it.
    fn template(&mut self, channel: Option<ChannelKind>, message: &MessageRow) -> Option<usize> {
        let templates = &self.checker.templates;
        let name = message.template.as_str();
        let found = channel.and_then(|channel| templates.find(name, channel, &message.lang));
        let Some(at) = found else {
            let others = either(templates.named(name).map(|template| template.channel.as_str()));
            let (text, hint) = match channel {
                _ if others.is_empty() => {
                    (format!("there is no template {:?}", cut_value(name)), templates.hint(name))
                }
                Some(channel) => (
                    format!("the template {:?} is not for {channel}", cut_value(name)),
                    format!("it exists for {others}"),
                ),
                None => return None,
            };
            self.fault(Column::Template, ReasonCode::RowTemplateUnknown, text, hint);
            return None;
        };
        let layout = &self.checker.layout;
        for variable in templates.missing(at, layout, self.record) {
            let code = ReasonCode::RowVariableMissing;
            if self.errors.iter().any(|e| e.code == code && e.column_name == variable) {
                // Another step of the row misses it, too.
                continue;
            }
            let text = format!("the template {name} needs a value for {variable}");
            let hint = format!("fill the column {}", Layout::columns_for(variable));
            self.push(None, variable.to_owned(), String::new(), code, text, hint);
        }
        Some(at)
    }

    fn lang(&mut self, message: &mut MessageRow) {
        let given = self.value(Column::Lang);
        message.lang.push_str(given);
        if !given.is_empty() && !is_lang(given) {
            let text = format!("the language tag {:?} is not readable", cut_value(given));
            self.plain_fault(Column::Lang, ReasonCode::RowLangUnknown, text);
        }
    }

    /// The category of each step: templates of different channels may differ.
    fn categories(&mut self, message: &mut MessageRow) {
        let given = self.value(Column::Category);
        let own = Category::parse(given);
        if own.is_none() && !given.is_empty() {
            let words = || Category::ALL.iter().map(|category| category.as_str());
            let text = format!("there is no category {:?}", cut_value(given));
            let hint = match nearest(given, words()) {
                Some(known) => did_you_mean(known),
                None => format!("use {}", either(words())),
            };
            self.fault(Column::Category, ReasonCode::RowValueNotAllowed, text, hint);
        }
        let category = |template_at: Option<usize>| {
            let template = template_at.and_then(|at| self.checker.templates.get(at).category);
            match (own, template) {
                (Some(own), Some(template)) => own.stricter(template),
                (one, other) => {
                    one.or(other).or(self.checker.default_category).unwrap_or(Category::Marketing)
                }
            }
        };
        message.category = category(message.template_at);
        for step in &mut message.further {
            step.category = category(step.template_at);
        }
    }

    pub(super) fn priority(&mut self, message: &mut MessageRow) {
        let given = self.value(Column::Priority);
        if given.is_empty() {
            return;
        }
        match given.parse() {
            Ok(priority @ 1..=9) => message.priority = priority,
            _ => {
                let text = format!("the priority {:?} is no number from 1 to 9", cut_value(given));
                let hint = "write 1 for what is to go out first, to 9 for what can wait";
                self.fault(Column::Priority, ReasonCode::RowNumberInvalid, text, hint);
            }
        }
    }
}

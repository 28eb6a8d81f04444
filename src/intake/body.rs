//! What a row would say: does it give every variable its own text asks for, and how many parts is its SMS?

use std::collections::HashMap;

use super::settings::SmsTexts;
use crate::codes::ReasonCode;
use crate::model::ChannelKind;
use crate::records::{Layout, MessageRow, Record, RowError, nearest};
use crate::render::{Template, TemplateSource, needs_rendering};

/// Remembers compiled texts, since most rows of a file share one.
#[derive(Debug)]
pub(super) struct BodyCheck<'a> {
    sms: &'a SmsTexts,
    compiled: HashMap<(String, String, String), Result<Template, String>>,
}

/// Different inline texts that are remembered; files with more compile each anew.
const REMEMBERED_MAX: usize = 64;

impl<'a> BodyCheck<'a> {
    pub(super) fn new(sms: &'a SmsTexts) -> BodyCheck<'a> {
        BodyCheck { sms, compiled: HashMap::new() }
    }

    /// Adds what is wrong with the row's own subject, text and html, and gives the parts of its SMS; 0 where
    /// none of its channels is SMS.
    pub(super) fn check(
        &mut self,
        row: &MessageRow,
        layout: &Layout,
        record: &Record,
        errors: &mut Vec<RowError>,
    ) -> u16 {
        let sms = self.sms;
        let own = self.own(row, layout, record, errors);
        let Some(template_at) = sms_step(row).filter(|_| errors.is_empty()) else { return 0 };
        let lookup = |name: &str| layout.variable(name, record);
        let template = template_at.and_then(|at| sms.templates.get(at)?.as_deref());
        // As it is sent: the row's own text, else the template's. A row may give a template and a subject.
        let source = if row.text.is_empty() { template } else { own };
        let mut text = match source.map(|source| source.render(&lookup)) {
            Some(Ok(rendered)) => rendered.text,
            // Dispatch says what is wrong with it, should it still be so.
            Some(Err(_)) => return 0,
            None => row.text.clone(),
        };
        sms.rules.finish(&mut text);
        let (parts, most) = (sms.rules.parts(&text), sms.rules.parts_max);
        if parts > most {
            let message = format!("the SMS takes {parts} parts, {most} at most");
            errors.push(fault(row, ReasonCode::RowBodyTooLong, "text", message));
        }
        u16::try_from(parts).unwrap_or(u16::MAX)
    }

    /// The row's own text where it holds placeholders.
    fn own(
        &mut self,
        row: &MessageRow,
        layout: &Layout,
        record: &Record,
        errors: &mut Vec<RowError>,
    ) -> Option<&Template> {
        let own = [&row.subject, &row.text, &row.html];
        if !own.iter().any(|text| needs_rendering(text)) {
            return None;
        }
        let key = (row.subject.clone(), row.text.clone(), row.html.clone());
        if self.compiled.len() >= REMEMBERED_MAX && !self.compiled.contains_key(&key) {
            self.compiled.clear();
        }
        let compiled = self.compiled.entry(key).or_insert_with(|| {
            Template::compile_inline(TemplateSource {
                name: "row".to_owned(),
                subject: row.subject.clone(),
                text: row.text.clone(),
                html: row.html.clone(),
                params: Vec::new(),
            })
            .map_err(|error| error.to_string())
        });
        let template = match compiled {
            Ok(template) => template,
            Err(message) => {
                let fault = fault(row, ReasonCode::RowValueNotAllowed, "text", message.clone());
                let hint = "write a placeholder as {{ name }}; braces that are text as {{ '{{' }}";
                errors.push(RowError { hint: hint.to_owned(), ..fault });
                return None;
            }
        };
        for name in template.variables().iter().filter(|n| layout.variable(n, record).is_none()) {
            let message = format!("the text uses {{{{ {name} }}}}, a variable with no value here");
            let hint = match nearest(name, layout.variable_names()) {
                Some(known) if known != name => format!("did you mean {{{{ {known} }}}}?"),
                _ => format!("fill the column {}", Layout::columns_for(name)),
            };
            let fault = fault(row, ReasonCode::RowVariableMissing, name, message);
            errors.push(RowError { hint, ..fault });
        }
        Some(template)
    }
}

/// The template of the first step that is an SMS; the step may have none.
fn sms_step(row: &MessageRow) -> Option<Option<usize>> {
    let further = row.further.iter().map(|step| (step.channel, step.template_at));
    let mut steps = [(row.channel, row.template_at)].into_iter().chain(further);
    steps.find(|(channel, _)| *channel == ChannelKind::Sms).map(|(_, template_at)| template_at)
}

fn fault(row: &MessageRow, code: ReasonCode, column: &str, message: String) -> RowError {
    RowError {
        line: row.line,
        row: row.row,
        row_id: row.row_id.clone(),
        column: None,
        column_name: column.to_owned(),
        code,
        severity: code.severity(),
        message,
        value: String::new(),
        hint: code.advice().to_owned(),
    }
}
